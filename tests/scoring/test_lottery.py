from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_bench.scoring.lottery import lottery_curve


def test_by_hand() -> None:
    curve = lottery_curve([0.2, 0.4, 0.9])
    assert list(curve.columns) == ["k", "expected_best", "expected_worst"]
    assert curve["k"].tolist() == [1, 2, 3]
    # pairs: (0.2, 0.4), (0.2, 0.9), (0.4, 0.9)
    assert curve["expected_best"].tolist() == pytest.approx([0.5, (0.4 + 0.9 + 0.9) / 3, 0.9])
    assert curve["expected_worst"].tolist() == pytest.approx([0.5, (0.2 + 0.2 + 0.4) / 3, 0.2])


@settings(deadline=2000)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_against_every_draw(accuracies: list[float]) -> None:
    curve = lottery_curve(accuracies)
    for k, best, worst in curve.itertuples(index=False):
        draws = list(itertools.combinations(accuracies, int(k)))
        assert best == pytest.approx(np.mean([max(d) for d in draws]))
        assert worst == pytest.approx(np.mean([min(d) for d in draws]))


def test_as_pass_at_k_where_accuracies_are_zero_or_one() -> None:
    n, c = 10, 3
    curve = lottery_curve([1.0] * c + [0.0] * (n - c))
    expected = [1 - math.comb(n - c, k) / math.comb(n, k) for k in range(1, n + 1)]
    assert curve["expected_best"].tolist() == pytest.approx(expected)


def test_many_personas_do_not_overflow() -> None:
    curve = lottery_curve(np.linspace(0, 1, 2000).tolist())
    assert np.isfinite(curve.to_numpy()).all()
    assert (np.diff(curve["expected_best"]) >= -1e-12).all()
    # mean of the largest of k out of 1..n is k (n + 1) / (k + 1)
    k = curve["k"]
    assert np.allclose(curve["expected_best"], (k * 2001 / (k + 1) - 1) / 1999)


def test_unscored_personas_are_left_out() -> None:
    assert lottery_curve([0.5, math.nan])["k"].tolist() == [1]
    assert lottery_curve([]).empty
