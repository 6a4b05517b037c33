from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from persona_bench.scoring import resampling
from persona_bench.scoring.resampling import (
    bootstrap,
    clustered_se,
    mean_interval,
    null_accuracies,
    null_pss,
    p_value,
    percentile_interval,
    question_weights,
    wilson,
    worst_over_best,
)

Cell = tuple[int, int]
"""correct, scored"""


def every_exchange(rows: list[list[Cell]], responses: list[list[int]]) -> list[float]:
    """PSS of every table that comes from exchanging cells with equally many responses."""
    ways = []
    for cells, n in zip(rows, responses, strict=True):
        orders = [
            order
            for order in itertools.permutations(range(len(cells)))
            if all(n[i] == n[j] for i, j in enumerate(order))
        ]
        ways.append([[cells[j] for j in order] for order in orders])
    found = []
    for exchanged in itertools.product(*ways):
        correct = np.array([[c for c, _ in row] for row in exchanged]).sum(axis=0)
        scored = np.array([[n for _, n in row] for row in exchanged]).sum(axis=0)
        known = scored > 0
        acc = correct[known] / scored[known]
        found.append(acc.min() / acc.max() if acc.max() > 0 else 0.0)
    return found


@pytest.mark.parametrize(
    "rows",
    [
        # one sample per cell
        [[(1, 1), (0, 1), (0, 1)], [(1, 1), (1, 1), (0, 1)], [(1, 1), (0, 1), (0, 1)]],
        # four samples, which stay together
        [[(4, 4), (1, 4), (0, 4)], [(3, 4), (2, 4), (2, 4)]],
        # a missing cell stays, and so does one with a number of scored responses of its own
        [[(2, 2), (1, 1), (0, 2)], [(1, 2), (0, 2), (2, 2)]],
        [[(1, 1), (0, 0), (0, 1)], [(4, 4), (1, 1), (0, 1)], [(1, 1), (1, 1), (0, 1)]],
    ],
)
def test_null_against_every_exchange(rows: list[list[Cell]]) -> None:
    correct = np.array([[c for c, _ in row] for row in rows])
    scored = np.array([[n for _, n in row] for row in rows])
    exact = np.array(every_exchange(rows, scored.tolist()))
    drawn = null_pss(correct, scored, 20_000, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(exact.mean(), abs=0.01)
    observed = float(worst_over_best(correct.sum(axis=0) / scored.sum(axis=0)))
    assert p_value(drawn, observed) == pytest.approx(np.mean(exact <= observed + 1e-12), abs=0.015)
    # every value that can occur does, and no other
    assert set(np.round(drawn, 9)) == set(np.round(exact, 9))


def test_exchanges_keep_every_question_whole() -> None:
    rng = np.random.default_rng(1)
    n = np.full((1, 6), 3)
    correct = rng.integers(0, 4, size=(1, 6))
    for row in null_accuracies(correct, n, 50, rng):
        assert sorted(row * 3) == pytest.approx(sorted(correct[0]))


def test_chunks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = np.random.default_rng(0).random((20, 5))
    whole = bootstrap(totals, lambda s: s, 100, np.random.default_rng(3))
    correct, n = (totals > 0.5).astype(int), np.ones((20, 5), dtype=int)
    null = null_pss(correct, n, 100, np.random.default_rng(3))
    monkeypatch.setattr(resampling, "CHUNK_CELLS", 700)
    assert np.allclose(whole, bootstrap(totals, lambda s: s, 100, np.random.default_rng(3)))
    assert np.array_equal(null, null_pss(correct, n, 100, np.random.default_rng(3)))


def test_weights_redraw_as_many_questions_as_there_are() -> None:
    chunks = list(question_weights(7, 5000, np.random.default_rng(0)))
    weights = np.concatenate(chunks)
    assert weights.shape == (5000, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.06)
    assert weights.var() == pytest.approx(6 / 7, abs=0.03)  # multinomial: n p (1 - p)


def test_p_value_counts_the_observed_and_forgives_rounding() -> None:
    assert p_value(np.array([0.5, 0.6, 0.7]), 0.1) == 1 / 4
    assert p_value(np.array([0.1 + 0.2, 0.9]), 0.3) == 2 / 3


def test_worst_over_best() -> None:
    acc = np.array([[0.2, 0.4], [0, 0], [math.nan, 0.3], [math.nan, math.nan]])
    assert worst_over_best(acc) == pytest.approx([0.5, 0, 1, math.nan], nan_ok=True)


def test_percentile_interval() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert np.isnan(percentile_interval(np.array([math.nan]), 0.9)).all()


# ------------------------------------------------------------------------ closed forms
def test_clustered_se_by_hand() -> None:
    # mean 0.5; sums of residuals: a 1, b -1; sqrt(2/1 * 2) / 4
    assert clustered_se([1, 1, 0, 0], ["a", "a", "b", "b"]) == pytest.approx(0.5)
    # each question balanced: nothing between questions
    assert clustered_se([1, 0, 1, 0], ["a", "a", "b", "b"]) == 0
    # one response a question: the plain standard error, sd (ddof 1) / sqrt(n)
    y = [1, 0, 0, 1, 1]
    assert clustered_se(y, list("abcde")) == pytest.approx(np.std(y, ddof=1) / math.sqrt(5))
    assert clustered_se([1, math.nan, 0], list("abc")) == pytest.approx(0.5)


def test_clustered_se_without_enough_questions() -> None:
    assert math.isnan(clustered_se([1, 0], ["a", "a"]))
    assert math.isnan(clustered_se([math.nan], ["a"]))
    with pytest.raises(ValueError, match="2 verdicts but 1 questions"):
        clustered_se([1, 0], ["a"])


def test_clustered_se_against_redrawn_questions() -> None:
    rng = np.random.default_rng(4)
    difficulty = rng.random(200)
    y = (rng.random((200, 6)) < difficulty[:, None]).astype(float)
    means = y.mean(axis=1)[rng.integers(200, size=(4000, 200))].mean(axis=1)
    se = clustered_se(y.ravel(), np.repeat(np.arange(200), 6))
    assert se == pytest.approx(means.std(), rel=0.05)


@settings(deadline=2000)
@given(st.integers(1, 200), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_against_scipy(n: int, share: float, confidence: float) -> None:
    k = round(share * n)
    low, high = wilson(k / n, n, confidence)
    expected = binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= k / n <= high <= 1


def test_mean_interval() -> None:
    # at 0 each question counts once; 0 to 1 where there is none
    assert mean_interval(0.0, 0.0, 30, 0.95) == pytest.approx((0, 0.1135), abs=1e-4)
    assert mean_interval(0.0, 0.0, 0, 0.95) == (0, 1)
    # with many effective responses: mean +- 1.96 se
    assert mean_interval(0.4, 0.01, 500, 0.95) == pytest.approx((0.3804, 0.4196), abs=5e-4)
    assert np.isnan(mean_interval(math.nan, math.nan, 5, 0.95)).all()
