"""Posterior draws of persona effects: no effect, spread, an outlier, two groups."""

from __future__ import annotations

import numpy as np
import pytest

from persona_bench.extras.screening.effects import draw_effects, free_mixture, spread_mixtures

N = 64


def estimates(true: np.ndarray, se: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(seed).normal(size=len(true))
    return true + se * noise, np.full(len(true), se)


def ranges(true: np.ndarray, se: float, seeds: int = 10) -> np.ndarray:
    """Mean drawn range of the effects less the true one, by seed."""
    out = []
    for seed in range(seeds):
        draws = draw_effects(*estimates(true, se, seed), 500, np.random.default_rng(seed))
        out.append(np.ptp(draws, axis=1).mean() - np.ptp(true))
    return np.array(out)


def test_pure_noise_is_not_taken_for_a_range() -> None:
    assert np.ptp(estimates(np.zeros(N), 0.3, 0)[0]) > 1.0  # what the estimates alone show
    assert ranges(np.zeros(N), 0.3).mean() < 0.35


@pytest.mark.parametrize(
    ("true", "tolerance"),
    [
        (0.8 * np.random.default_rng(9).normal(size=N), 0.35),
        (np.r_[-2.0, np.zeros(N - 1)], 0.35),
        (np.repeat([-0.75, 0.75], N // 2), 0.35),
    ],
    ids=["normal", "one outlier", "two groups"],
)
def test_the_range_of_real_effects_is_found(true: np.ndarray, tolerance: float) -> None:
    found = ranges(true, 0.25)
    naive = np.ptp(estimates(true, 0.25, 0)[0]) - np.ptp(true)
    assert abs(found.mean()) < tolerance
    assert abs(found.mean()) < abs(naive) or abs(naive) < 0.2


def test_exact_estimates_are_kept() -> None:
    effect = np.linspace(-1, 1, 20)
    draws = draw_effects(effect, np.full(20, 1e-3), 200, np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(axis=0), effect, atol=0.06)  # 0.05: the grid's step


def test_shares_add_up_and_the_outlier_is_told_apart() -> None:
    effect, se = estimates(np.r_[-2.0, np.zeros(N - 1)], 0.2, 1)
    mixtures, weights = spread_mixtures(effect, se)
    assert weights.sum() == pytest.approx(1.0)
    for mixture in (*mixtures, free_mixture(effect, se)):
        np.testing.assert_allclose(mixture.share.sum(axis=1), 1.0)
    best = max(mixtures, key=lambda m: m.log_likelihood)
    assert best.share[0, 1] > 0.99
    assert best.share[1:, 1].max() < 0.1
