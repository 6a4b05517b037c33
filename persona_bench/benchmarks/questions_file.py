r"""Your own questions: a JSONL file with one question per line.

    {"question": "What is 7 * 8?", "answer": "56"}
    {"question": "Which is a fruit?", "choices": ["pear", "stone"], "answer": "pear"}

    persona-bench run --tasks file:questions.jsonl --model-args pretrained=...

`question` and `answer` are needed; `choices`, `level`, `subject`, `id` and `grader` may be there.
What else a line holds is not read. The grader is `choice` where there are choices, else `maths`:

- `maths`: the value in \boxed{} (or stated otherwise) equals the answer as mathematics.
- `exact`: the text in \boxed{} or after "Answer:" is the answer, but for case and white space.
- `choice`: the letter in \boxed{} is that of the answer; the answer is a letter or a choice's text.
- `regex`: the answer is a regular expression that is found somewhere in the response.
- `python`: the program in the last fenced block prints the answer; or the answer is a list of
  [input, output] pairs, of what the program reads and has to print.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from persona_bench.benchmarks.base import Benchmark, Question
from persona_bench.grading import Verdict, code, maths
from persona_bench.grading.extract import find_boxes
from persona_bench.grading.reasoning import final_part
from persona_bench.grading.refusal import is_refusal

GRADERS = ("maths", "exact", "choice", "regex", "python")
FIELDS = ("question", "answer", "choices", "level", "subject", "id", "grader")
VERSION = "own questions 1"
BOXED = "Put your final answer within \\boxed{}."
ENDINGS = {
    "maths": BOXED,
    "exact": BOXED,
    "choice": "Put the letter of your answer within \\boxed{}.",
    "regex": "",
    "python": "Write a Python program that reads its input from stdin and prints the answer to "
    "stdout, within ```python and ```.",
}
_LETTER = re.compile(r"\W*([A-Za-z])(?:[.:),].*|\W*)", re.DOTALL)
"""A letter that stands alone, or before what it stands for."""
_STATED = re.compile(r"\banswer(?: is)?\s*:?\s*\**\s*(.+)", re.IGNORECASE)


class QuestionsError(ValueError):
    """A file of questions that can't be used; the message names the line and what to do."""


@lru_cache(maxsize=8)
def benchmark_of_file(path: Path) -> Benchmark:
    """The benchmark of a file of questions.

    Raises:
        QuestionsError: no such file, or a line that is no question.
    """
    questions = read_questions(path)
    graders = sorted({_split(question.answer)[0] for question in questions})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Benchmark(
        name=re.sub(r"\W+", "_", path.stem),
        load=lambda data_dir, seed: questions,
        prompt=str,
        grade=grade,
        grader=grader_version(graders),
        record=lambda ids: {"questions_file": path.name, "questions_sha256": digest},
        unsafe_code="python" in graders,
    )


def read_questions(path: Path) -> list[Question]:
    """The questions of a file; a question's answer says its grader, as in `exact: Paris`.

    Raises:
        QuestionsError: see `benchmark_of_file`.
    """
    if not path.is_file():
        raise QuestionsError(f"{path}: there is no such file: give a JSONL file of questions")
    questions: list[Question] = []
    lines: dict[str, int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                question = _question(line, number)
            except QuestionsError as error:
                raise QuestionsError(f"{path}:{number}: {error}") from None
            if question.id in lines:
                raise QuestionsError(
                    f"{path}:{number}: the id {question.id!r} is that of line "
                    f"{lines[question.id]} already: give each question its own"
                )
            lines[question.id] = number
            questions.append(question)
    if not questions:
        raise QuestionsError(f"{path}: the file is empty: write one question per line")
    return questions


def _question(line: bytes, number: int) -> Question:
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise QuestionsError(f"not UTF-8 ({error}): save the file as UTF-8") from None
    except ValueError as error:
        raise QuestionsError(
            f"not JSON ({error}): write one object per line, such as "
            '{"question": "What is 7 * 8?", "answer": "56"}'
        ) from None
    if not isinstance(row, dict):
        raise QuestionsError('not an object: write {"question": ..., "answer": ...}')
    for name in row:
        if name not in FIELDS and (close := get_close_matches(name, FIELDS, n=1, cutoff=0.8)):
            raise QuestionsError(f"there is no field {name!r}: write {close[0]!r}")
    return question_of(row, str(number))


def question_of(row: Mapping[str, Any], name: str) -> Question:
    """The question of a row with the fields `FIELDS`.

    Args:
        row: The fields; others are not read.
        name: Its id, where the row has none.

    Raises:
        QuestionsError: a field is missing, or is something else than it should be.
    """
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise QuestionsError("the question is missing: give it as text under 'question'")
    choices = row.get("choices")
    grader = row.get("grader") or ("choice" if choices else "maths")
    if grader not in GRADERS:
        raise QuestionsError(f"there is no grader {grader!r}: use {', '.join(GRADERS)}")
    if (grader == "choice") != bool(choices):
        raise QuestionsError(
            "the grader 'choice' and the field 'choices' belong together: give both or neither"
        )
    answer = row.get("answer")
    if answer is None or answer == "":
        raise QuestionsError("the answer is missing: give it under 'answer'")
    if choices:
        text += "\n\n" + "\n".join(_lettered(choices))
    ending = ENDINGS[grader]
    return Question(
        id=name if row.get("id") in (None, "") else str(row["id"]),
        problem=f"{text}\n\n{ending}" if ending else text,
        answer=_reference(grader, answer, choices),
        level=_name(row, "level"),
        subject=_name(row, "subject"),
    )


def _name(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if value is not None and not isinstance(value, (str, int)):
        raise QuestionsError(f"{field}={value!r} must be text or a whole number")
    return "" if value is None else str(value)


def _lettered(choices: Any) -> list[str]:
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(string.ascii_uppercase):
        raise QuestionsError("'choices' must be a list of 2 to 26 answers")
    if len({str(each).strip() for each in choices}) < len(choices):
        raise QuestionsError("two of the choices are the same: leave one out")
    return [f"{letter}. {each}" for letter, each in zip(string.ascii_uppercase, choices)]  # noqa: B905


def _reference(grader: str, answer: Any, choices: Any) -> str:
    """What the grader goes by, with its name before it; an answer in mathematics stands alone."""
    if grader == "python":
        return f"python: {json.dumps(_cases(answer))}"
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        raise QuestionsError(f"answer={answer!r} must be text or a number")
    answer = str(answer).strip()
    if grader == "maths":
        return answer
    if grader == "regex":
        try:
            re.compile(answer)
        except re.error as error:
            raise QuestionsError(f"the answer is no regular expression: {error}") from None
    if grader == "choice":
        lettered = _lettered(choices)
        fitting = [each for each in lettered if answer in (each[0], each[3:].strip())]
        if len(fitting) > 1:
            raise QuestionsError(
                f"answer={answer!r} is the text of one choice and the letter of another: order "
                "the choices so that each letter is its own choice's"
            )
        if not fitting:
            raise QuestionsError(
                f"answer={answer!r} is not one of the choices: give a choice's text, or its letter "
                f"from A to {lettered[-1][0]}"
            )
        answer = fitting[0]
    return f"{grader}: {answer}"


def _cases(answer: Any) -> list[list[str]]:
    """Pairs of what a program reads and what it has to print."""
    if isinstance(answer, (str, int, float)) and not isinstance(answer, bool):
        return [["", str(answer)]]
    pairs = answer if isinstance(answer, list) else []
    if not pairs or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)
        for pair in pairs
    ):
        raise QuestionsError(
            "the answer to a question for a program must be what it prints, or a list of "
            "[input, output] pairs of text"
        )
    return pairs


# ---------------------------------------------------------------------- grading


def grade(
    responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
) -> list[Verdict]:
    """The verdicts, each by the grader that its reference names."""
    found: dict[int, Verdict] = {}
    kinds = [_split(gold)[0] for gold in golds]
    for kind in sorted(set(kinds)):
        places = [place for place, each in enumerate(kinds) if each == kind]
        verdicts = _GRADERS[kind](
            [responses[place] for place in places],
            [_split(golds[place])[1] for place in places],
            truncated=[truncated[place] for place in places],
        )
        found |= dict(zip(places, verdicts, strict=True))
    return [found[place] for place in range(len(golds))]


def _split(reference: str) -> tuple[str, str]:
    kind, found, rest = reference.partition(": ")
    return (kind, rest) if found and kind in GRADERS else ("maths", reference)


def grader_version(names: Sequence[str]) -> str:
    """Names and versions of graders."""
    versions = {"maths": maths.GRADER, "python": code.GRADER}
    return f"{VERSION}: {', '.join(versions.get(name, name) for name in names)}"


def _one_by_one(judge: Callable[[str, str], tuple[bool, str]]) -> Any:
    """A grader that looks at each response by itself."""

    def grade_all(
        responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
    ) -> list[Verdict]:
        verdicts = []
        for response, gold, cut in zip(responses, golds, truncated, strict=True):
            right, answer = judge(final_part(response)[0], gold)
            if right:
                verdicts.append(Verdict("correct", "", answer))
            elif cut:
                verdicts.append(Verdict("wrong", "truncated", answer))
            elif answer:
                verdicts.append(Verdict("wrong", "wrong_answer", answer))
            else:
                reason = "refused" if is_refusal(response) else "no_answer"
                verdicts.append(Verdict("wrong", reason))
        return verdicts

    return grade_all


def _stated(text: str) -> str:
    """What a response gives as its answer: its last box, else after "Answer:", else all of it."""
    boxes, _ = find_boxes(text)
    if boxes:
        answer = boxes[-1].text
        inner = re.fullmatch(r"\\text\w*\{(.*)\}", answer.strip(), re.DOTALL)
        return (inner[1] if inner else answer).strip()
    if stated := _STATED.findall(text):
        return str(stated[-1]).strip(" *`\"'.")
    whole = text.strip().strip("*`\"'.")
    return whole if "\n" not in whole else ""


def _exact(text: str, gold: str) -> tuple[bool, str]:
    answer = _stated(text)
    return _squeeze(answer) == _squeeze(gold), answer


def _choice(text: str, gold: str) -> tuple[bool, str]:
    answer = _stated(text)
    if _squeeze(answer) == _squeeze(gold[3:]):
        return True, answer
    letter = _LETTER.fullmatch(answer)
    return letter is not None and letter[1].upper() == gold[0], answer


def _regex(text: str, gold: str) -> tuple[bool, str]:
    match = re.search(gold, text)
    return bool(match), match[0] if match else text.strip()[:80]


def _squeeze(text: str) -> str:
    return " ".join(text.split()).casefold()


def _python(
    responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
) -> list[Verdict]:
    return code.grade_all(responses, golds, _suite, truncated=truncated)


def _suite(gold: str) -> code.Suite:
    return code.Suite(tuple(code.Case(given, wanted) for given, wanted in json.loads(gold)))


_GRADERS: dict[str, Any] = {
    "maths": maths.grade_all,
    "exact": _one_by_one(_exact),
    "choice": _one_by_one(_choice),
    "regex": _one_by_one(_regex),
    "python": _python,
}
