"""Every reference answer of MATH-500 and AIME 2024, in many wordings, and against its neighbour."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_bench.grading.extract import find_boxes
from persona_bench.grading.maths import grade_all
from persona_bench.grading.shape import split_outside

Wording = Callable[[str], str]

WORDINGS: dict[str, Wording] = {
    "boxed": lambda a: rf"So it is $\boxed{{{a}}}$.",
    "pirate with dollars": lambda a: (
        rf"Arr, for $3 the treasure be $\boxed{{{a}}}$, matey! It took me 5 days and $12."
    ),
    "first a wrong box": lambda a: (
        rf"I thought it was $\boxed{{99999}}$ at first. But no: it is $\boxed{{{a}}}$."
    ),
    "minerva": lambda a: (
        f"We have 3 cases. Final Answer: The final answer is ${a}$. I hope it is correct."
    ),
    "the answer is": lambda a: f"It took 3 steps and $20. The answer is ${a}$.",
    "the answer be": lambda a: rf"The answer be \({a}\), ye scurvy dog, and it cost $5.",
    "bold label": lambda a: f"From 3 and 4 it follows.\n\n**Answer:** ${a}$",
    "bold value": lambda a: f"Ahoy! The answer is **{a}**, matey.",
    "no delimiters": lambda a: f"Having tried 7 ways, my final answer: {a}.",
    "heading": lambda a: f"Steps 1 and 2.\n\n### Final Answer\n\n\\[\n{a}\n\\]\n",
    "after thinking": lambda a: (
        rf"<think>\boxed{{4}}? The answer is 8.</think>Thus \[ \boxed{{{a}}} \]"
    ),
    "framed": lambda a: rf"Hark! \fbox{{ ${a}$ }} is what I found, in 3 steps.",
    "space and full stop inside": lambda a: rf"So we get \[\boxed{{\;{a}\;.}}\]",
    "boxes in a row of steps": lambda a: (
        rf"1. \fbox{{11}} 2. \fbox{{12}} 3. $\boxed{{{a}}}$ Done. 4"
    ),
    "last expression": lambda a: f"We had 17 coins. So finally it is ${a}$.",
    "after a name": lambda a: f"Final Answer: The value of $x$ is ${a}$.",
    "a name in the box": lambda a: rf"Thus $\boxed{{{named(a)}}}$.",
    "a box for each member": lambda a: (
        "We get " + " and ".join(rf"$\boxed{{{member}}}$" for member in members(a)) + "."
    ),
    "tag": lambda a: f"<think>Is it 4?</think><answer>{a}</answer> That took 3 minutes.",
    "respelt": lambda a: rf"$\boxed{{{respelt(a)}}}$",
}


def named(answer: str) -> str:
    """The answer with a name before it; one that has a name, or is an inequality, as it is."""
    if "=" in answer or "<" in answer or r"\le" in answer.replace(r"\left", ""):
        return answer
    if "matrix" in answer:
        return rf"\mathbf{{v}} = {answer}"
    return f"(x,y) = {answer}" if answer.startswith((r"\left(", "(")) else f"x = {answer}"


def members(answer: str) -> list[str]:
    """The members of a list; any other answer alone."""
    thousands = (re.fullmatch(r"[\d,\\!$ ]+", answer) and "!" in answer) or answer == "58,500"
    return [answer] if thousands else split_outside(answer, ",")


def respelt(answer: str) -> str:
    """The same answer in another spelling of LaTeX."""
    if "matrix" not in answer and r"\text{(" not in answer:
        answer = answer.replace(r"\left", "").replace(r"\right", "").replace(r"\\", r"\\ ")
        answer = answer.replace("(", r"\left( ").replace(")", r"\right)")
    answer = answer.replace(r"\frac", r"\dfrac").replace(r"\ddfrac", r"\tfrac")
    return answer.replace("pmatrix", "bmatrix").replace(",", ", ").replace(r"\!", "{}") + r"\ "


RESPELT_APART = {"10,\\!080", "58,500", "\\$32,\\!348", "11,\\! 111,\\! 111,\\! 100"}
"""With a space after the comma these thousands are lists, another answer."""

SAME_AS_NEXT = {22: ("5", "x=5"), 186: ("7", "7"), 403: ("3", "3")}
"""Row (from 0) and the two answers, wherever a row of MATH-500 and the next have equal answers:
found by reading through the file, not by the grader."""


def shifted(answers: list[str]) -> list[str]:
    return answers[1:] + answers[:1]


def test_list_of_equal_neighbours_is_true(math500: list[str]) -> None:
    neighbours = list(zip(math500, shifted(math500), strict=True))
    assert {row: neighbours[row] for row in SAME_AS_NEXT} == SAME_AS_NEXT
    alike = {row for row, (one, next_one) in enumerate(neighbours) if one == next_one}
    assert alike <= set(SAME_AS_NEXT)


@pytest.mark.parametrize("name", WORDINGS)
def test_math500_reference_is_correct(name: str, math500: list[str]) -> None:
    asked = [a for a in math500 if name != "respelt" or a not in RESPELT_APART]
    verdicts = grade_all([WORDINGS[name](answer) for answer in asked], asked)
    missed = [(a, v) for a, v in zip(asked, verdicts, strict=True) if v.verdict != "correct"]
    assert missed == []


@pytest.mark.parametrize("name", WORDINGS)
def test_math500_next_reference_is_wrong(name: str, math500: list[str]) -> None:
    verdicts = grade_all([WORDINGS[name](answer) for answer in math500], shifted(math500))
    accepted = {row for row, v in enumerate(verdicts) if v.verdict != "wrong"}
    assert accepted == set(SAME_AS_NEXT)


@pytest.mark.parametrize("name", WORDINGS)
@pytest.mark.parametrize("padded", [False, True])
def test_aime(name: str, padded: bool, aime24: list[str]) -> None:
    written = [answer.zfill(3) if padded else answer for answer in aime24]
    responses = [WORDINGS[name](answer) for answer in written]
    verdicts = grade_all(responses, aime24, integer=True)
    assert [v.verdict for v in verdicts] == ["correct"] * 30
    # no two neighbours of AIME 2024 have the same answer
    wrong = grade_all(responses, shifted(aime24), integer=True)
    assert [v.reason for v in wrong] == ["wrong_answer"] * 30


@pytest.fixture(scope="module")
def unboxed(data_dir: Path) -> tuple[list[str], list[str]]:
    """Human solutions of MATH-train whose box is taken away, and their references.

    What stood in the box stays in the sentence: "Hence the largest value is $3$."
    """
    file = data_dir / "math_train/math_train_7500.jsonl"
    responses, answers = [], []
    for line in file.read_text(encoding="utf-8").splitlines()[:1000]:
        row = json.loads(line)
        boxes, _ = find_boxes(row["solution"])
        if len(boxes) == 1 and row["answer"] and "[asy]" not in row["solution"]:
            start, end, text = boxes[0]
            responses.append(row["solution"][:start] + text + row["solution"][end:])
            answers.append(row["answer"])
    return responses, answers


def test_human_solutions_are_read_without_their_box(unboxed: tuple[list[str], list[str]]) -> None:
    responses, answers = unboxed
    verdicts = [v.verdict for v in grade_all(responses, answers)]
    assert len(verdicts) > 600
    assert "unscored" not in verdicts
    assert verdicts.count("correct") > 0.94 * len(verdicts)


def test_human_solutions_are_wrong_beside_the_next_answer(
    unboxed: tuple[list[str], list[str]],
) -> None:
    responses, answers = unboxed
    pairs = zip(answers, shifted(answers), grade_all(responses, shifted(answers)), strict=True)
    accepted = [(own, other) for own, other, v in pairs if v.verdict != "wrong"]
    assert [pair for pair in accepted if pair[0] != pair[1]] == []
