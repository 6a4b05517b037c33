"""The entry test for judges: its pairs, and what becomes of judges that pass or fail it."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.judge.entry_test import BAR, Pair, entry_pairs, grade
from persona_bench.judge.prompts import Item
from tests.support.command import Command, sentence
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.judged_run import shown

PAIRS = entry_pairs()
CALLS = 2 * len(PAIRS)
RIGHT = {(pair.right.persona, pair.right.response) for pair in PAIRS}

Score = Callable[[Item], int | None]


def asked(score: Score) -> Callable[[dict[str, Any], int], Reply]:
    """A judge that scores what it is shown; one that gives None is not readable."""

    def answer(body: dict[str, Any], _: int) -> Reply:
        seen = shown(body)
        found = score(Item(seen.eval_task, seen.persona, seen.question, seen.response))
        return Reply("no idea") if found is None else Reply(verdict(found))

    return answer


def knows(item: Item) -> int:
    """A judge that knows who said what; of what is not in the test it says 3."""
    return 5 if (item.persona, item.response) in RIGHT else 3


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


def overlap(item: Item) -> int:
    """Counts the persona's words in the response."""
    return min(5, 1 + len(words(item.persona) & words(item.response)))


def length(item: Item) -> int:
    return min(5, 1 + len(item.response) // 60)


def admirer(item: Item) -> int:
    """Likes personas whose descriptions are full of praise."""
    praise = "wis|admir|brilliant|love|kind|great|ace|famous|master|honour|star|hero|saint|celebrat"
    return min(5, 2 + len(re.findall(praise, item.persona)))


def accuracy(score: Score, level: str = "") -> float:
    chosen = [pair for pair in PAIRS if level in ("", pair.level)]
    points = [
        (a > b) + (a == b) / 2
        for pair in chosen
        for a, b in [(score(pair.right) or 0, score(pair.wrong) or 0)]
    ]
    return sum(points) / len(points)


# ------------------------------------------------------------------------------- the pairs
def test_there_are_pairs_of_five_difficulties() -> None:
    assert len(PAIRS) >= 80
    assert len(set(PAIRS)) == len(PAIRS)
    counts = Counter(pair.level for pair in PAIRS)
    assert list(counts) == ["plain", "voice", "flattery", "length", "near"]
    assert min(counts.values()) >= 16
    assert {pair.right.eval_task for pair in PAIRS} <= set(EVAL_TASKS)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.level}: {pair.right.question}")
def test_a_pair_differs_in_persona_or_in_response(pair: Pair) -> None:
    right, wrong = pair.right, pair.wrong
    assert (right.eval_task, right.question) == (wrong.eval_task, wrong.question)
    assert (right.persona == wrong.persona) != (right.response == wrong.response)
    if pair.level == "length":
        a, b = len(right.response), len(wrong.response)
        assert abs(a - b) <= 0.08 * max(a, b)


@pytest.mark.parametrize("shortcut", [overlap, length, admirer])
def test_no_shortcut_passes(shortcut: Callable[[Item], int]) -> None:
    assert accuracy(shortcut) < 0.6
    for level in ("length", "near"):
        assert 0.3 < accuracy(shortcut, level) < 0.7
    assert accuracy(admirer, "flattery") < 0.2
    assert 0.3 < accuracy(lambda item: len(item.response), "voice") < 0.7


def test_ties_count_half_and_what_cannot_be_read_is_wrong() -> None:
    n = len(PAIRS)
    same = grade("j", [{"score": 4}] * CALLS)
    assert (same.accuracy, same.passed, same.unread) == (0.5, False, 0)
    assert same.interval.low < 0.5 < same.interval.high
    known = [{"score": 5}] * n + [{"score": 2}] * n
    assert grade("j", known).accuracy == 1
    assert grade("j", known).interval.low > BAR
    unread = [{"score": None}] * 21 + known[21:]
    found = grade("j", unread)
    assert found.accuracy == pytest.approx(1 - 21 / n)
    assert found.unread == 21
    assert "21 with a verdict that can't be read" in found.words


# ------------------------------------------------------------------------------- the bar
def erring(error: float, seed: int) -> Score:
    """A judge that knows who said what, and gives a share of its verdicts the other way round."""

    def score(item: Item) -> int:
        right = (item.persona, item.response) in RIGHT
        draw = random.Random(f"{seed}/{item.persona}/{item.response}").random()
        return 5 if right != (draw < error) else 2

    return score


def share_that_passes(error: float, pairs: int, bar: float = BAR) -> float:
    """The probability that a judge with this error rate reaches the bar on so many pairs.

    The judge knows which response of a pair is in character and scores it 5, the other 2, but each
    verdict is the other score with probability `error`. docs/fidelity.md has the table.
    """
    of_pair = np.array([error**2, 2 * error * (1 - error), (1 - error) ** 2])  # 0, 1/2, 1 points
    points = np.ones(1)
    for _ in range(pairs):
        points = np.convolve(points, of_pair)
    return float(points[np.arange(len(points)) / 2 >= bar * pairs - 1e-9].sum())


@pytest.mark.parametrize(("error", "passes"), [(0.05, 1.0), (0.15, 0.960), (0.30, 0.002)])
def test_the_bar_lets_good_judges_in_and_bad_ones_out(error: float, passes: float) -> None:
    assert share_that_passes(error, len(PAIRS)) == pytest.approx(passes, abs=0.0015)
    judges = 200
    let_in = [accuracy(erring(error, seed)) >= BAR for seed in range(judges)]
    noise = 4 * (passes * (1 - passes) / judges) ** 0.5 + 0.005
    assert sum(let_in) / judges == pytest.approx(passes, abs=noise)


@pytest.mark.parametrize("error", [0.05, 0.15, 0.30])
def test_a_judge_with_a_stated_error_rate_takes_the_test(
    error: float, persona_bench: Command
) -> None:
    score = erring(error, 1)
    with JudgeServer(asked(score)) as server:
        call = ("judge", "--judge", "judge", "--base-url", server.url, "--entry-test")
        ran = persona_bench(*call)
    assert f"the entry test for judges: {accuracy(score):.0%} [" in ran.err
    assert accuracy(score) == pytest.approx(1 - error, abs=0.1)
    assert (ran.code == 0) == (error < 0.2)


# ------------------------------------------------------------------------------- the command
def test_a_judge_that_passes_judges_and_reports_say_so(out: Path, persona_bench: Command) -> None:
    with JudgeServer(asked(knows)) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url)
        ran = persona_bench(*call, "--entry-test")
        assert ran.code == 0, ran.err
        assert len(server.requests) == CALLS + 60
        said = "judge passed the entry test for judges: 100% [96%, 100%] of 84 pairs"
        assert said in ran.err
        assert said in ran.out
        assert "judge has not taken" not in ran.out
        persona_bench(*call)  # once taken it stands
        assert len(server.requests) == CALLS + 60
    scores = json.loads((out / "scores" / "persona_roleplay_fidelity.json").read_text())
    assert scores["entry_tests"]["judge"]["accuracy"] == 1
    assert scores["judges"][0]["entry_test"] == 1
    assert said in persona_bench("score", out, "--no-page").out
    ran = persona_bench("gate", out, out)
    assert "Note: judged by judge (entry test 100%)." in ran.out
    assert said in persona_bench("compare", out, f"b={out}").out
    assert "judge (entry test 100%)" in persona_bench("leaderboard", out).out
    page = unescape((out / "scores" / "index.html").read_text())
    assert "Mean over tasks and judges, judge (entry test 100%)" in page


def test_a_judge_that_fails_judges_nothing_unless_told(out: Path, persona_bench: Command) -> None:
    with JudgeServer(asked(length)) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url)
        ran = persona_bench(*call, "--entry-test")
        assert re.search(
            r"judge has not passed the entry test \(4\d%, where 80% are asked for\), so it judges "
            "nothing: take another judge, or have it judge all the same with --no-entry-test",
            sentence(ran),
        )
        assert "judge FAILED the entry test" in ran.err
        assert len(server.requests) == CALLS
        assert not list(out.rglob("judged_*"))
        assert "has not passed" in sentence(persona_bench(*call))  # nor later
        assert len(server.requests) == CALLS
        ran = persona_bench(*call, "--no-entry-test")
        assert ran.code == 0
        assert "WARNING: judge FAILED the entry test" in ran.out
        assert len(server.requests) == CALLS + 60


def test_a_file_of_judges_asks_for_the_test(
    out: Path, tmp_path: Path, persona_bench: Command
) -> None:
    file = tmp_path / "judge.yaml"
    with JudgeServer(asked(length)) as server:
        settings = {"models": ["judge"], "base_url": server.url}
        file.write_text(json.dumps({**settings, "entry_test": True}))
        assert "has not passed" in sentence(persona_bench("judge", out, "--judge", file))
        assert len(server.requests) == CALLS
        assert persona_bench("judge", out, "--judge", file, "--no-entry-test").code == 0
        file.write_text(json.dumps({**settings, "entry_test": False}))
        ran = persona_bench("judge", out, "--judge", file)
        assert "WARNING: judge FAILED the entry test" in ran.out


def test_without_the_test_it_is_said(out: Path, persona_bench: Command) -> None:
    with JudgeServer(asked(knows)) as server:
        ran = persona_bench("judge", out, "--judge", "judge", "--base-url", server.url)
    assert "The judge judge has not taken the entry test" in ran.out
    assert "Note: judged by judge (no entry test)." in persona_bench("gate", out, out).out


def test_it_works_without_a_run(persona_bench: Command) -> None:
    with JudgeServer(asked(knows), models=("judge", "other")) as server:
        call = ("judge", "--judge", "judge", "--judge", "other", "--base-url", server.url)
        ran = persona_bench(*call, "--entry-test", "--dry-run")
        assert f"{2 * CALLS} calls" in ran.out
        assert not server.requests
        ran = persona_bench(*call, "--entry-test")
        assert ran.code == 0
        assert ran.err.count("passed the entry test") == 2
        assert len(server.requests) == 2 * CALLS
        assert "give the run's --output-path" in sentence(persona_bench(*call))


def test_a_test_that_is_cut_short_goes_on(
    out: Path, tmp_path: Path, persona_bench: Command
) -> None:
    file = tmp_path / "judge.yaml"
    with JudgeServer(asked(knows)) as server:
        settings = {"models": ["judge"], "gen_kwargs": {"max_tokens": 100}}
        file.write_text(json.dumps({**settings, "base_url": server.url}))
        call = ("judge", out, "--judge", file, "--entry-test")
        priced = (*call, "--price", "0,1000")
        ran = persona_bench(*priced, "--max-cost", "1")
        assert "the entry test of 'judge' was not finished" in sentence(ran)
        assert 0 < (before := len(server.requests)) < CALLS
        assert persona_bench(*priced, "--max-cost", "100").code == 0
        assert before < len(server.requests) == CALLS + 60


def test_a_judge_that_cannot_be_read_fails(out: Path, persona_bench: Command) -> None:
    with JudgeServer(asked(lambda _: None)) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url, "--entry-test")
        ran = persona_bench(*call)
    assert "has not passed the entry test (0%" in sentence(ran)
    assert "84 with a verdict that can't be read" in ran.err
