"""Training questions: generated arithmetic, GSM8K, the MATH training split, or a file of one's own.

Each source is put and graded as a benchmark is: the verifier that scores the benchmark gives the
reward.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from persona_bench.benchmarks import arithmetic, livecodebench, math500
from persona_bench.benchmarks.base import Benchmark, Grader, Question, choose_questions
from persona_bench.benchmarks.sources import HubFile, read_rows
from persona_bench.grading import Verdict, code
from persona_bench.grading.maths import GRADER, grade_all
from persona_bench.train.config import Data, TrainError

GENERATED = 1000
"""Arithmetic questions where no number is given."""

IN_VAIN = 20
"""Seeds in a row without a new question, after which there are no more."""

FIRST_SEED = 1_000_000
"""Of the arithmetic trained on: far from the seeds that evaluations use."""

ROLES = ("system", "user", "assistant")
"""Of the messages of a conversation."""

TESTS = '{"tests": '
"""How a reference begins that holds the tests of a program."""

PROMPT = "messages"
"""The key of `Question.extra` with a conversation before its response, as JSON."""

GSM8K = HubFile(
    mirror="gsm8k/train.jsonl",
    repo_id="openai/gsm8k",
    filename="main/train-00000-of-00001.parquet",
    revision="740312add88f781978c0658806c59bc2815b9866",
)
MATH_MIRROR = "math_train/math_train_7500.jsonl"
MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
MATH = [
    HubFile(
        mirror=MATH_MIRROR,
        repo_id="EleutherAI/hendrycks_math",
        filename=f"{subject}/train-00000-of-00001.parquet",
        revision="21a5633873b6a120296cce3e2df9d5550074f4a3",
    )
    for subject in MATH_SUBJECTS
]


def training_source(data: Data, seed: int) -> tuple[Benchmark, list[Question]]:
    """Where questions come from (how they are put and graded), and those to train on.

    Each question's `extra` has its `solution`, what SFT learns.

    Args:
        data: Which.
        seed: Seed of the draw of `n_questions`, and of generated questions.

    Raises:
        TrainError: no such source, level, or number of questions.
        SourceError: a file can't be had.
    """
    makers: dict[str, Callable[[Data, int], tuple[Benchmark, list[Question]]]] = {
        "arithmetic": _arithmetic,
        "gsm8k": _gsm8k,
        "math": _math,
    }
    if data.source in makers:
        benchmark, questions = makers[data.source](data, seed)
    elif data.source.endswith((".jsonl", ".parquet")):
        benchmark, questions = _own_file(Path(data.source))
    else:
        raise TrainError(
            f"data.source: there is no {data.source!r}: use {', '.join(makers)}, or a .jsonl file "
            "with question and answer"
        )
    if data.levels is not None:
        known = sorted({question.level for question in questions} - {""})
        if unknown := sorted(set(data.levels) - set(known)):
            raise TrainError(
                f"data.levels: {data.source} has no level {unknown[0]!r}: "
                + (f"it has {', '.join(known)}" if known else "its questions have none")
            )
        questions = [question for question in questions if question.level in data.levels]
    try:
        return benchmark, choose_questions(questions, data.n_questions, seed)
    except ValueError as error:
        raise TrainError(f"data: {error}") from None


def _arithmetic(data: Data, seed: int) -> tuple[Benchmark, list[Question]]:
    """Questions that no one meets at the evaluation's own seed."""
    wanted = data.n_questions or GENERATED
    levels = data.levels or tuple(arithmetic.LEVELS)
    if unknown := sorted(set(levels) - set(arithmetic.LEVELS)):
        raise TrainError(
            f"data.levels: arithmetic has no level {unknown[0]!r}: "
            f"it has {', '.join(arithmetic.LEVELS)}"
        )
    seen = {normalised(question.problem) for question in evaluation_sums()}
    found: list[Question] = []
    in_vain = 0
    for number in count(FIRST_SEED * (seed + 1)):
        before = len(found)
        for question in arithmetic.load(None, number, levels=levels):
            if (text := normalised(question.problem)) not in seen:
                seen.add(text)
                found.append(_with_solution(question, _boxed(question.answer)))
        if len(found) >= wanted:
            cut = data.n_questions is None
            return arithmetic.BENCHMARK, choose_questions(found, wanted, seed) if cut else found
        in_vain = in_vain + 1 if len(found) == before else 0
        if in_vain == IN_VAIN:
            raise TrainError(
                f"data.n_questions: {wanted} are wanted, but arithmetic has only {len(found)} "
                f"questions of level {', '.join(levels)} that no evaluation asks: ask for fewer"
            )
    raise AssertionError


def evaluation_sums() -> list[Question]:
    """All questions that `persona_arithmetic` can ask at its own seed, whatever its knobs."""
    return [
        question
        for level in arithmetic.LEVELS
        for question in arithmetic.load(
            None, 0, arithmetic.MOST.get(level, arithmetic.MOST_OF_OTHERS), (level,)
        )
    ]


def _gsm8k(data: Data, seed: int) -> tuple[Benchmark, list[Question]]:
    path = GSM8K.locate(data.data_dir)
    questions = []
    for number, row in enumerate(read_rows(path, ("question", "answer"))):
        worked, _, answer = row["answer"].rpartition("####")
        answer = answer.strip().replace(",", "")
        text = re.sub(r"<<.*?>>", "", worked).strip()
        question = Question(f"gsm8k/{number}", row["question"], answer)
        questions.append(_with_solution(question, f"{text}\n{_boxed(answer)}"))
    return _mathematics("gsm8k", questions, integer=False), questions


def _math(data: Data, seed: int) -> tuple[Benchmark, list[Question]]:
    paths = {file.locate(data.data_dir) for file in MATH}  # the mirror has them in one
    questions = []
    for path in sorted(paths):
        for number, row in enumerate(read_rows(path, ("problem", "solution", "level"))):
            answer = row["answer"] if "answer" in row else _last_box(row["solution"])
            if not answer:  # two rows have none
                continue
            question = Question(
                f"math/{row.get('index', f'{path.parent.name}/{number}')}",
                row["problem"],
                answer,
                str(row["level"]).removeprefix("Level "),
                str(row.get("subject") or row.get("type") or ""),
            )
            questions.append(_with_solution(question, row["solution"]))
    return _mathematics("math", questions, integer=False), questions


def _own_file(path: Path) -> tuple[Benchmark, list[Question]]:
    """Rows with `question` and `answer`, or conversations (see `Data.source`).

    Where each conversation is a single message of the user, that message is a question put as it
    stands, and everything that takes questions takes it.
    """
    if not path.is_file():
        raise TrainError(f"data.source: there is no file {path}")
    questions = []
    for number, row in enumerate(read_rows(path, ())):
        where = f"{path}:{number + 1}"
        if not isinstance(row, dict):
            raise TrainError(f"{where}: a row is a mapping, and this one is {row!r}")
        _check_text(row, where)
        name, level = (row.get(key) for key in ("id", "level"))
        answer = "" if row.get("answer") is None else str(row["answer"])
        if "messages" in row or "prompt" in row:
            prompt, solution = _conversation(row, where)
            problem = next((m["content"] for m in reversed(prompt) if m["role"] == "user"), "")
            extra = {PROMPT: json.dumps(prompt), "solution": solution}
        elif "question" in row and row.get("tests"):
            problem, answer = str(row["question"]), _tests(row, where)
            extra = {"solution": str(row.get("solution") or "")}
        elif "question" in row and answer:
            problem = str(row["question"])
            extra = {"solution": str(row.get("solution") or _boxed(answer))}
        else:
            raise TrainError(
                f"{where}: a row has question and answer, question and tests, messages, or prompt "
                f"and completion; this one has {', '.join(row) or 'nothing'}"
            )
        questions.append(
            Question(
                str(number if name is None else name),
                problem,
                answer,
                "" if level is None else str(level),
                extra=extra,
            )
        )
    if len({question.id for question in questions}) < len(questions):
        raise TrainError(f"{path}: an id stands twice; give each question its own, or none")
    programs = [question for question in questions if question.answer.startswith(TESTS)]
    if not programs and all(_is_one_message(question) for question in questions):
        questions = [_with_solution(question, question.extra["solution"]) for question in questions]
        return _mathematics(path.stem, questions, integer=False, prompt=str), questions
    if not programs:
        return _mathematics(path.stem, questions, integer=False), questions
    if len(programs) < len(questions):
        raise TrainError(f"{path}: some rows have tests and some have none: train on one of both")

    def load(data_dir: Path | None, seed: int) -> list[Question]:
        return questions

    return Benchmark(
        path.stem, load, livecodebench.prompt, grader("code"), code.GRADER, domain="programming"
    ), questions


def grader(kind: str) -> Grader:
    """What grades answers of a source: `math` (`gsm8k`, files), `arithmetic`, or `code`.

    Raises:
        TrainError: there is no such kind.
    """
    if kind == "arithmetic":
        return arithmetic.BENCHMARK.grade
    if kind == "code":
        return _grade_code
    if kind in ("math", "gsm8k") or kind.endswith((".jsonl", ".parquet")):
        return partial(grade_all, integer=False)
    raise TrainError(f"there is no grader for {kind!r}: use math, arithmetic or code")


def _grade_code(
    responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
) -> list[Verdict]:
    """Runs the programs in the sandbox on the tests that the references hold."""
    return code.grade_all(responses, golds, _suite, truncated=truncated, size_of=len)


def _suite(reference: str) -> code.Suite:
    told = json.loads(reference)
    return code.Suite(tuple(code.Case(*case) for case in told["tests"]), told["function"])


def _tests(row: Mapping[str, Any], where: str) -> str:
    """The tests of a programming question as its reference; `_suite` reads them."""
    tests = row["tests"]
    if not isinstance(tests, (list, tuple)) or not all(
        isinstance(test, Mapping) and isinstance(test.get(key), str)
        for test in tests
        for key in ("input", "output")
    ):
        raise TrainError(f"{where}: tests must be a list of mappings with input and output as text")
    cases = [[test["input"], test["output"]] for test in tests]
    return json.dumps({"tests": cases, "function": str(row.get("function") or "")})


def _check_text(row: Mapping[str, Any], where: str) -> None:
    """Refuses half of a surrogate pair, which JSON's escapes can hold and no tokenizer takes."""
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise TrainError(
            f"{where}: half of a surrogate pair stands there without its other half, as in "
            '"\\ud83d" without "\\ude00": write the character itself, or both halves'
        ) from None


def _conversation(row: Mapping[str, Any], where: str) -> tuple[list[dict[str, str]], str]:
    """The messages before the response, and the response; empty where the row has none."""
    if "messages" in row:
        messages = _messages(row["messages"], f"{where}: messages")
        said = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    else:
        messages = _messages(row["prompt"], f"{where}: prompt", role="user")
        completion = row.get("completion")
        said = (
            "" if completion is None
            else _messages(completion, f"{where}: completion", role="assistant")[-1]["content"]
        )  # fmt: skip
    if not messages or messages[-1]["role"] != "user":
        raise TrainError(f"{where}: the response must follow a user's message")
    return messages, said


def _messages(given: Any, where: str, role: str = "") -> list[dict[str, str]]:
    """Chat messages, copied; a mere text is one message of `role`, where there is one."""
    if isinstance(given, str) and role:
        return [{"role": role, "content": given}]
    whole = isinstance(given, list) and given
    if not whole or not all(
        isinstance(m, Mapping) and m.get("role") in ROLES and isinstance(m.get("content"), str)
        for m in given
    ):
        raise TrainError(
            f"{where}: must be a list of messages, each with a role ({', '.join(ROLES)}) and "
            "content, which is text"
        )
    return [{"role": m["role"], "content": m["content"]} for m in given]


def _is_one_message(question: Question) -> bool:
    conversation = json.loads(question.extra.get(PROMPT, "[]"))
    return [message["role"] for message in conversation] == ["user"]


def _mathematics(
    name: str,
    questions: list[Question],
    *,
    integer: bool,
    prompt: Callable[[str], str] = math500.prompt,
) -> Benchmark:
    def load(data_dir: Path | None, seed: int) -> list[Question]:
        return questions

    grade = partial(grade_all, integer=integer)
    return Benchmark(name, load, prompt, grade, GRADER, domain="mathematics")


def _with_solution(question: Question, solution: str) -> Question:
    fields: dict[str, Any] = {**vars(question), "extra": {"solution": solution}}
    return Question(**fields)


def _boxed(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


def _last_box(solution: str) -> str:
    """What the last `\\boxed` holds: its braces in balance, or `\\boxed 2`; empty without one."""
    start = solution.rfind("\\boxed")
    rest = solution[start + len("\\boxed") :].lstrip() if start >= 0 else ""
    if not rest.startswith("{"):
        return re.split(r"[\s$]", rest, maxsplit=1)[0].rstrip(".,") if rest else ""
    depth = 0
    for place, sign in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth == 0:
            return rest[1:place].strip()
    return ""


def normalised(text: str) -> str:
    """A text for comparison: letters and digits and signs, without case and white space."""
    return re.sub(r"\s+", "", text).lower()
