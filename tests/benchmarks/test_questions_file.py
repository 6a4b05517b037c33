"""Questions of the user's own, from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks.questions_file import (
    QuestionsError,
    benchmark_of_file,
    grade,
    read_questions,
)
from persona_bench.harness.run import Asked, RunError, load_tasks
from persona_bench.harness.tasks import PersonaTask

SUM = {"question": "What is 7 * 8?", "answer": 56, "level": 2, "subject": "products"}
FRUIT = {"question": "Which is a fruit?", "choices": ["pear", "stone", "Tin can"], "answer": "pear"}
CAPITAL = {"question": "Capital of France?", "answer": "Paris", "grader": "exact", "id": "fr"}
YEAR = {"question": "Name a year of the war.", "answer": r"\b191[4-8]\b", "grader": "regex"}
DOUBLE = {"question": "Double it.", "answer": [["2\n", "4"], ["5\n", "10"]], "grader": "python"}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows))
    return path


def test_each_line_is_a_question_with_the_grader_that_fits_it(tmp_path: Path) -> None:
    file = write(tmp_path / "my questions.jsonl", SUM, FRUIT, "", CAPITAL, YEAR, DOUBLE)
    benchmark = benchmark_of_file(file)
    assert benchmark.name == "my_questions"
    assert benchmark.unsafe_code
    questions = benchmark.load(None, 0)
    assert [question.id for question in questions] == ["1", "2", "fr", "5", "6"]
    assert [question.answer for question in questions] == [
        "56", "choice: A. pear", "exact: Paris", r"regex: \b191[4-8]\b",
        'python: [["2\\n", "4"], ["5\\n", "10"]]',
    ]  # fmt: skip
    assert questions[0].problem == "What is 7 * 8?\n\nPut your final answer within \\boxed{}."
    assert questions[0].level == "2"
    assert "A. pear\nB. stone\nC. Tin can" in questions[1].problem


@pytest.mark.parametrize(
    ("reference", "response", "verdict"),
    [
        ("56", r"It is \boxed{56}", "correct"),
        ("56", r"It is \boxed{57}", "wrong_answer"),
        ("exact: Paris", r"\boxed{\text{ paris }}", "correct"),
        ("exact: Paris", "Well.\nAnswer: **Paris**.", "correct"),
        ("exact: Paris", "Not Paris\nbut London", "no_answer"),
        ("exact: Paris", "Parish", "wrong_answer"),
        ("choice: A. pear", r"\boxed{A}", "correct"),
        ("choice: A. pear", r"\boxed{(A) pear}", "correct"),
        ("choice: A. pear", r"\boxed{Pear}", "correct"),
        ("choice: A. pear", "The answer is A.", "correct"),
        ("choice: A. pear", r"\boxed{B}", "wrong_answer"),
        ("choice: A. pear", "A stone is no fruit", "wrong_answer"),
        (r"regex: \b191[4-8]\b", "In 1916, I think.", "correct"),
        (r"regex: \b191[4-8]\b", "In 1920.", "wrong_answer"),
        ("exact: Paris", "<think>Paris?</think>London", "wrong_answer"),
    ],
)
def test_a_response_is_graded_by_what_its_reference_names(
    reference: str, response: str, verdict: str
) -> None:
    (found,) = grade([response], [reference], truncated=[False])
    assert (found.reason or found.verdict) == verdict


def test_a_cut_off_response_is_truncated_with_mixed_graders_too() -> None:
    found = grade(
        [r"\boxed{5}", "so I think that\nthe", r"\boxed{b}"],
        ["5", "exact: Paris", "choice: B. stone"],
        truncated=[False, True, False],
    )
    assert [each.reason for each in found] == ["", "truncated", ""]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{'question': 1}", r"q.jsonl:2: not JSON .*write one object per line"),
        ("[1]", r":2: not an object: write"),
        ({"answer": "1"}, r":2: the question is missing"),
        ({"question": "x"}, r":2: the answer is missing"),
        ({"question": "x", "anwser": "1"}, r":2: there is no field 'anwser': write 'answer'"),
        ({**SUM, "grader": "math"}, r":2: there is no grader 'math': use maths, exact"),
        ({**FRUIT, "answer": "D"}, r":2: answer='D' is not one of the choices.*from A to C"),
        ({**FRUIT, "choices": ["B", "A"], "answer": "A"}, r":2: .* letter of another"),
        ({**FRUIT, "choices": ["pear"]}, r":2: 'choices' must be a list of 2 to 26"),
        ({**SUM, "grader": "choice"}, r":2: .*'choices' belong together"),
        ({**YEAR, "answer": "("}, r":2: the answer is no regular expression"),
        ({**DOUBLE, "answer": [["1"]]}, r":2: .*\[input, output\] pairs"),
        ({**SUM, "level": [1]}, r":2: level=\[1\] must be text"),
        ({**SUM, "id": "1"}, r":2: the id '1' is that of line 1 already"),
    ],
)
def test_a_mistake_names_its_line_and_how_to_mend_it(
    tmp_path: Path, row: Any, message: str
) -> None:
    with pytest.raises(QuestionsError, match=message):
        read_questions(write(tmp_path / "q.jsonl", SUM, row))


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    lines = '{"question": "2 + 2?", "answer": 4}\n{"question": "Où?", "answer": "là"}\n'
    file.write_bytes(lines.encode("latin-1"))
    with pytest.raises(QuestionsError, match=r"q.jsonl:2: not UTF-8 .*save the file as UTF-8"):
        read_questions(file)
    file.write_bytes(lines.replace("\n", "\r\n").encode("utf-8-sig"))
    assert [question.answer for question in read_questions(file)] == ["4", "là"]


def test_a_file_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(QuestionsError, match="there is no such file"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(QuestionsError, match="the file is empty"):
        read_questions(write(tmp_path / "empty.jsonl", ""))


def test_a_file_is_a_task_like_the_benchmarks(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", SUM, FRUIT)
    (task,) = load_tasks([Asked(f"file:{file}", {"persona_set": "demo", "n_questions": 1})], {})
    assert isinstance(task, PersonaTask)
    assert task.task_name == "persona_mine"
    assert len(task.dataset["test"]) == 6
    facts = task.facts(None)
    assert facts["questions_file"] == "mine.jsonl"
    assert len(facts["questions_sha256"]) == 64
    programs = write(tmp_path / "programs.jsonl", DOUBLE)
    with pytest.raises(RunError, match=r"runs programs .*confirm_run_unsafe_code"):
        load_tasks([Asked(f"file:{programs}")], {})
