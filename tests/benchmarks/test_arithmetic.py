"""Generated arithmetic: answers checked by a second way of working them out."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from persona_bench.benchmarks.arithmetic import BENCHMARK, LEVELS, PER_LEVEL, load


def worked_out(problem: str) -> int:
    """The answer from the text alone, by rules that the generator does not use."""
    n = [int(x) for x in re.findall(r"\d+", problem)]
    if match := re.fullmatch(r"What is ([\d +*-]+)\?", problem):
        return int(eval(match[1]))
    if "buys" in problem and "more" in problem:
        return n[0] + n[1]
    if "gives" in problem:
        return n[0] - n[1]
    if "boxes" in problem:
        return n[0] * n[1]
    if "coins each" in problem:
        return n[2] - n[0] * n[1]
    if "bus" in problem:
        return n[0] - n[1] + n[2] - n[3]
    assert "equally" in problem
    total = n[0] + n[1]
    assert total % n[2] == 0
    return total // n[2] + n[3]


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_every_answer_is_right_and_no_question_stands_twice(seed: int) -> None:
    questions = load(None, seed)
    assert Counter(q.level for q in questions) == dict.fromkeys(LEVELS, PER_LEVEL)
    assert len({q.problem for q in questions}) == len(questions)
    assert len({q.id for q in questions}) == len(questions)
    for question in questions:
        assert int(question.answer) == worked_out(question.problem), question
        assert int(question.answer) >= 0


def test_a_seed_gives_the_same_questions_and_another_seed_others() -> None:
    assert load(None, 5) == load(None, 5)
    stories = [{q.problem for q in load(None, seed) if q.level == "5"} for seed in (5, 6)]
    assert not stories[0] & stories[1]  # one-digit sums can't help meeting


def test_fewer_questions_a_level_are_a_part_of_more() -> None:
    assert {q.problem for q in load(None, 0, per_level=5)} < {q.problem for q in load(None, 0)}
    with pytest.raises(ValueError, match="per_level=41"):
        load(None, 0, per_level=41)


def test_the_first_questions_mix_the_levels() -> None:
    assert {q.level for q in load(None, 0)[:5]} == set(LEVELS)


def test_the_grader_reads_integers() -> None:
    verdicts = BENCHMARK.grade(
        ["Arr, 'tis \\boxed{017}!", "\\boxed{18}"], ["17", "17"], truncated=[False, False]
    )
    assert [v.verdict for v in verdicts] == ["correct", "wrong"]


def test_levels_and_their_size_are_knobs() -> None:
    assert BENCHMARK.configured
    chosen = BENCHMARK.configured(
        None, {"levels": BENCHMARK.knobs["levels"]("2+4"), "per_level": 120}
    )
    questions = chosen.load(None, 0)
    assert Counter(q.level for q in questions) == {"2": 120, "4": 120}
    assert len({q.id for q in questions}) == len({q.problem for q in questions}) == 240
    assert [q for q in questions if int(q.id.split("/")[2]) <= PER_LEVEL] == questions[:80]
    assert {q.problem for q in load(None, 0) if q.level in "24"} == {
        q.problem for q in questions[:80]
    }
    for given in ("6", [], "1,x"):
        with pytest.raises(ValueError, match="levels"):
            BENCHMARK.knobs["levels"](given)
    with pytest.raises(ValueError, match="at least 1"):
        BENCHMARK.knobs["per_level"](0)
    with pytest.raises(ValueError, match="between 1 and 40"):
        load(None, 0, per_level=41, levels=("1", "2"))
