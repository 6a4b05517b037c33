"""Training questions: arithmetic, GSM8K, the MATH training split, datasets of the hub, and files.

Each source is put and graded as a benchmark is: the verifier that scores the benchmark gives the
reward.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from persona_bench.benchmarks import arithmetic, livecodebench, math500
from persona_bench.benchmarks.base import Benchmark, Grader, Question, choose_questions
from persona_bench.benchmarks.sources import HubFile, read_rows
from persona_bench.grading import Verdict, code
from persona_bench.grading.maths import GRADER, grade_all
from persona_bench.hub import PREFIX, HubError, hub_rows, renamed
from persona_bench.train.config import BUILT_IN, Rows, TrainError

GENERATED = 1000
"""Arithmetic questions where no number is given."""

IN_VAIN = 20
"""Seeds in a row without a new question, after which there are no more."""

FIRST_SEED = 1_000_000
"""First seed of the arithmetic trained on: far from the seeds that evaluations use."""

ROLES = ("system", "user", "assistant")
"""Roles in a conversation."""

FILES = (".jsonl", ".parquet")
"""Suffixes of files with rows."""

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


class Loaded(NamedTuple):
    """The questions of a source.

    Attributes:
        benchmark: How they are put and graded.
        questions: Each with its `solution` in `extra`: what sft learns.
        commit: The commit of a dataset of the hub; empty for other sources.
    """

    benchmark: Benchmark
    questions: list[Question]
    commit: str = ""


def training_source(
    source: str, rows: Rows, seed: int, data_dir: Path | None = None, commit: str = ""
) -> Loaded:
    """Loads the questions of a source.

    Args:
        source: As in `Data.source`.
        rows: Which of its rows.
        seed: Seed of the draw of `n_questions`, and of generated questions.
        data_dir: Mirror folder of the built-in sources' files.
        commit: Of a dataset of the hub, in place of its revision: what an earlier start found.

    Raises:
        TrainError: no such source, column, level, or number of questions.
        SourceError: a file can't be had.
    """
    commit_read = ""
    if source == "arithmetic":
        benchmark, questions = _arithmetic(rows, seed)
    elif source == "gsm8k":
        benchmark, questions = _gsm8k(data_dir)
    elif source == "math":
        benchmark, questions = _math(data_dir)
    elif source.startswith(PREFIX):
        revision = commit or rows.revision
        try:
            table, commit_read = hub_rows(
                source,
                split=rows.split or "train",
                config=rows.config,
                revision=revision,
                columns=rows.columns,
            )
        except HubError as error:
            raise TrainError(f"data.source: {error}") from None
        benchmark, questions = _from_rows(table, source, f"{source} row ")
    elif Path(source).suffix in FILES:
        if not Path(source).is_file():
            raise TrainError(f"data.source: there is no file {source}")
        table = read_rows(Path(source), ())
        for number, row in enumerate(table):
            if not isinstance(row, dict):
                raise TrainError(f"{source}:{number + 1}: a row is a mapping, this one is {row!r}")
        try:
            table = renamed(table, rows.columns or {}, source)
        except HubError as error:
            raise TrainError(f"data.columns: {error}") from None
        benchmark, questions = _from_rows(table, Path(source).stem, f"{source}:")
    else:
        raise TrainError(
            f"data.source: there is no {source!r}: use {', '.join(BUILT_IN)}, hub:ORG/NAME, or a "
            ".jsonl or .parquet file with question and answer"
        )
    if rows.levels is not None:
        levels = sorted({question.level for question in questions} - {""})
        if unknown := sorted(set(rows.levels) - set(levels)):
            raise TrainError(
                f"data.levels: {source} has no level {unknown[0]!r}: "
                + (f"it has {', '.join(levels)}" if levels else "its questions have none")
            )
        questions = [question for question in questions if question.level in rows.levels]
    try:
        return Loaded(benchmark, choose_questions(questions, rows.n_questions, seed), commit_read)
    except ValueError as error:
        raise TrainError(f"data: {error}") from None


def _arithmetic(rows: Rows, seed: int) -> tuple[Benchmark, list[Question]]:
    """Questions that no one meets at the evaluation's own seed."""
    wanted = rows.n_questions or GENERATED
    levels = rows.levels or tuple(arithmetic.LEVELS)
    if unknown := sorted(set(levels) - set(arithmetic.LEVELS)):
        raise TrainError(
            f"data.levels: arithmetic has no level {unknown[0]!r}: "
            f"it has {', '.join(arithmetic.LEVELS)}"
        )
    seen = {normalised(question.problem) for question in evaluation_sums()}
    questions: list[Question] = []
    in_vain = 0
    for number in count(FIRST_SEED * (seed + 1)):
        before = len(questions)
        for question in arithmetic.load(None, number, levels=levels):
            if (text := normalised(question.problem)) not in seen:
                seen.add(text)
                questions.append(_with_solution(question, _boxed(question.answer)))
        if len(questions) >= wanted:
            cut = rows.n_questions is None
            return arithmetic.BENCHMARK, choose_questions(
                questions, wanted, seed
            ) if cut else questions
        in_vain = in_vain + 1 if len(questions) == before else 0
        if in_vain == IN_VAIN:
            raise TrainError(
                f"data.n_questions: {wanted} are wanted, but arithmetic has only {len(questions)} "
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


def _gsm8k(data_dir: Path | None) -> tuple[Benchmark, list[Question]]:
    table = read_rows(GSM8K.locate(data_dir), ("question", "answer"))
    benchmark, questions = _from_rows(table, "gsm8k", "gsm8k:")
    return benchmark, [replace(question, id=f"gsm8k/{question.id}") for question in questions]


def _math(data_dir: Path | None) -> tuple[Benchmark, list[Question]]:
    paths = {file.locate(data_dir) for file in MATH}  # the mirror has them in one
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
    return _maths("math", questions), questions


def _from_rows(
    table: Sequence[dict[str, Any]], name: str, where: str
) -> tuple[Benchmark, list[Question]]:
    """Questions from rows as `Data.source` describes them.

    Where each conversation is a single message of the user, that message is a question put as it
    stands, and everything that takes questions takes it.

    Args:
        table: The rows.
        name: The benchmark's.
        where: Goes before the number of a row in messages.

    Raises:
        TrainError: a row can't be read; the message names it.
    """
    questions = [_question(row, number, f"{where}{number + 1}") for number, row in enumerate(table)]
    if len({question.id for question in questions}) < len(questions):
        raise TrainError(
            f"{where.rstrip(': ')}: an id stands twice; give each question its own, or none"
        )
    programs = [question for question in questions if question.answer.startswith(TESTS)]
    others = [question for question in questions if not question.answer.startswith(TESTS)]
    if programs and others:
        parts = [(_coding(name, programs), programs), (_maths(name, others), others)]
        benchmark, both = together(name, parts)
        place = {question.id: number for number, question in enumerate(questions)}
        return benchmark, sorted(both, key=lambda question: place[question.id])
    if programs:
        return _coding(name, programs), programs
    if all(_is_one_message(question) for question in questions):
        plain = [_with_solution(question, question.extra["solution"]) for question in questions]
        return _maths(name, plain, prompt=str), plain
    return _maths(name, questions), questions


def _question(row: dict[str, Any], number: int, where: str) -> Question:
    """One row as a question."""
    _check_text(row, where)
    name, level = (row.get(key) for key in ("id", "level"))
    given = "" if row.get("answer") is None else str(row["answer"])
    answer, worked = _worked(given)
    own = str(row.get("solution") or "")
    if row.get("messages") is not None or row.get("prompt") is not None:
        prompt, solution = _conversation(row, where)
        problem = next((m["content"] for m in reversed(prompt) if m["role"] == "user"), "")
        extra = {PROMPT: json.dumps(prompt), "solution": solution or worked}
    elif row.get("question") is not None and row.get("tests"):
        problem, answer = str(row["question"]), _tests(row, where)
        extra = {"solution": own}
    elif row.get("question") is not None and answer:
        problem = str(row["question"])
        extra = {"solution": own if own and own != given else worked or _boxed(answer)}
    else:
        raise TrainError(
            f"{where}: a row has question and answer, question and tests, messages, or prompt "
            f"and completion; this one has {', '.join(row) or 'nothing'}; data.columns gives "
            "columns these names"
        )
    return Question(
        str(number if name is None else name),
        problem,
        answer,
        "" if level is None else str(level),
        extra=extra,
    )


def together(
    name: str, parts: Sequence[tuple[Benchmark, Sequence[Question]]]
) -> tuple[Benchmark, list[Question]]:
    """Questions of several benchmarks as one, each put as its own benchmark puts it.

    The text of a question becomes the whole message to the model. Answers that are not programs
    are graded as mathematics, and as integers where every part is arithmetic.
    """
    questions = [
        question
        if PROMPT in question.extra
        else replace(question, problem=benchmark.prompt(question.problem))
        for benchmark, own in parts
        for question in own
    ]
    sums = all(benchmark.name == "arithmetic" for benchmark, _ in parts)
    names = " ".join(dict.fromkeys(benchmark.grader for benchmark, _ in parts))
    grade = partial(grade_rows, integer=sums)
    return Benchmark(name, lambda *_: questions, str, grade, names), questions


def grader(kind: str) -> Grader:
    """What grades answers of a source: `arithmetic`, or `math` for all others, `code` among them.

    Raises:
        TrainError: there is no such kind.
    """
    if kind == "arithmetic":
        return arithmetic.BENCHMARK.grade
    if kind in ("math", "gsm8k", "code") or kind.startswith(PREFIX) or Path(kind).suffix in FILES:
        return grade_rows
    raise TrainError(f"there is no grader for {kind!r}: use math, arithmetic or code")


def grade_rows(
    responses: Sequence[str],
    golds: Sequence[str],
    *,
    truncated: Sequence[bool],
    integer: bool = False,
) -> list[Verdict]:
    """Grades programs on their tests in the sandbox, and all else as mathematics."""
    by_place: dict[int, Verdict] = {}
    for programs in (True, False):
        chosen = [i for i, gold in enumerate(golds) if gold.startswith(TESTS) == programs]
        texts, own = [responses[i] for i in chosen], [golds[i] for i in chosen]
        cut = [truncated[i] for i in chosen]
        if chosen and programs:
            verdicts = code.grade_all(texts, own, _suite, truncated=cut, size_of=len)
        elif chosen:
            verdicts = grade_all(texts, own, truncated=cut, integer=integer)
        else:
            continue
        by_place.update(zip(chosen, verdicts, strict=True))
    return [by_place[i] for i in range(len(golds))]


def _suite(reference: str) -> code.Suite:
    data = json.loads(reference)
    return code.Suite(tuple(code.Case(*case) for case in data["tests"]), data["function"])


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
        solution = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    else:
        messages = _messages(row["prompt"], f"{where}: prompt", role="user")
        completion = row.get("completion")
        solution = (
            "" if completion is None
            else _messages(completion, f"{where}: completion", role="assistant")[-1]["content"]
        )  # fmt: skip
    if not messages or messages[-1]["role"] != "user":
        raise TrainError(f"{where}: the response must follow a user's message")
    return messages, solution


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


def _maths(
    name: str, questions: list[Question], prompt: Callable[[str], str] = math500.prompt
) -> Benchmark:
    return Benchmark(name, lambda *_: questions, prompt, grade_rows, GRADER, domain="mathematics")


def _coding(name: str, questions: list[Question]) -> Benchmark:
    prompt = livecodebench.prompt
    return Benchmark(name, lambda *_: questions, prompt, grade_rows, code.GRADER, "programming")


def _with_solution(question: Question, solution: str) -> Question:
    return replace(question, extra={"solution": solution})


def _boxed(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


def _worked(text: str) -> tuple[str, str]:
    """The final answer of a worked solution, and the solution; a mere answer has none."""
    if "####" in text:  # GSM8K
        worked, _, answer = text.rpartition("####")
        answer = answer.strip().replace(",", "")
        return answer, f"{re.sub(r'<<.*?>>', '', worked).strip()}\n{_boxed(answer)}"
    return (_last_box(text), text) if "\\boxed" in text else (text, "")


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
