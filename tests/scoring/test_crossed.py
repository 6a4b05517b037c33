"""The model of single cells against what is known of simulated tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from persona_bench.scoring.crossed import fit_crossed
from tests.scoring.simulated import cells_of


def drawn(
    questions: int, effects: list[float], samples: int, rng: np.random.Generator, mixed: float = 0.0
) -> np.ndarray:
    ease = 1.5 * rng.standard_normal((questions, 1))
    own = mixed * rng.standard_normal((questions, len(effects)))
    return rng.binomial(samples, expit(ease + np.array(effects) + own))


@pytest.mark.parametrize("samples", [1, 4])
def test_on_a_complete_table_accuracies_are_the_observed_ones(samples: int) -> None:
    correct = drawn(200, [-1.5, 0, 0.3, 0.8], samples, np.random.default_rng(0))
    fit = fit_crossed(cells_of(correct, np.full(correct.shape, samples)))
    assert fit.accuracy == pytest.approx(correct.mean(axis=0) / samples, abs=0.003)


def test_accuracies_of_personas_that_were_asked_harder_questions() -> None:
    rng = np.random.default_rng(1)
    ease = 1.5 * rng.standard_normal((4000, 1))
    effects = np.array([-0.8, 0.0, 0.0, 0.0, 0.0, 0.0])
    chance = expit(ease + effects)
    scored = np.ones(chance.shape, dtype=int)
    scored[(ease[:, 0] < 0) & (rng.random(4000) < 0.6), 1] = 0  # persona 1 lost its hard questions
    correct = rng.binomial(scored, chance)
    fit = fit_crossed(cells_of(correct, scored))
    assert correct[:, 1].sum() / scored[:, 1].sum() > 0.58  # where 0.5 is true
    assert fit.accuracy == pytest.approx(chance.mean(axis=0), abs=0.02)


@pytest.mark.parametrize(
    ("samples", "mixed", "missing"), [(1, 0.0, 0.0), (1, 0.0, 0.6), (8, 0.0, 0.0), (8, 2.0, 0.0)]
)
def test_errors_are_as_large_as_said(samples: int, mixed: float, missing: float) -> None:
    rng = np.random.default_rng(2)
    seen, said = [], []
    for _ in range(150):
        correct = drawn(100, [0.0] * 6, samples, rng, mixed)
        scored = np.where(rng.random(correct.shape) < missing, 0, samples)
        keep = scored.any(axis=1)
        fit = fit_crossed(cells_of(np.minimum(correct, scored)[keep], scored[keep]))
        seen.append(fit.accuracy.var(ddof=1))
        said.append(fit.variance.mean())
    # 150 tables of 6 personas: an error of 5%
    assert np.mean(said) == pytest.approx(np.mean(seen), rel=0.15)


def test_interaction_shows_as_overdispersion_however_many_samples_there_are() -> None:
    rng = np.random.default_rng(3)
    said = {}
    for samples in (1, 4, 16):
        correct = drawn(300, [0.0] * 8, samples, rng, mixed=2.0)
        fit = fit_crossed(cells_of(correct, np.full(correct.shape, samples)))
        said[samples] = fit.overdispersion, np.sqrt(fit.variance.mean())
    assert said[1][0] == pytest.approx(1, abs=0.05)
    assert said[16][0] > 4
    # sixteen samples do not make the error four times smaller: questions are what is lacking
    assert 0.5 < said[16][1] / said[1][1] < 0.9


def test_questions_that_all_personas_solve_leave_an_error() -> None:
    correct = np.zeros((40, 5), dtype=int)
    correct[:20] = 1
    fit = fit_crossed(cells_of(correct, np.ones_like(correct)))
    # half a disagreement counts as seen: 0.25 / (40 x 41)
    assert (fit.variance >= 0.25 / 40 / 41 - 1e-12).all()
    assert (np.sqrt(fit.variance) < 0.03).all()


def test_a_persona_with_nothing_correct_stays_finite() -> None:
    correct = drawn(60, [0.0, 0.0, 0.0], 1, np.random.default_rng(4))
    correct[:, 0] = 0
    fit = fit_crossed(cells_of(correct, np.ones_like(correct)))
    assert np.isfinite(fit.effect).all()
    assert fit.accuracy[0] < 0.01
    assert np.isfinite(fit.variance).all()


def test_one_persona_is_refused() -> None:
    ones = np.ones((5, 1), dtype=int)
    with pytest.raises(ValueError, match="two personas"):
        fit_crossed(cells_of(ones, ones))


def test_variance_of_plain_accuracies_because_personas_lack_some_questions() -> None:
    rng = np.random.default_rng(6)
    chance = np.tile(expit(1.5 * rng.standard_normal((400, 1))), 6)
    correct = rng.binomial(4, chance)
    assert fit_crossed(cells_of(correct, np.full(chance.shape, 4))).missing_variance == 0
    masks = rng.random((60, *chance.shape)) < 0.5
    seen = (masks * chance).sum(axis=1) / masks.sum(axis=1)  # without noise, half of the questions
    there = 4 * masks[0]
    fit = fit_crossed(cells_of(np.where(masks[0], correct, 0), there))
    assert fit.missing_variance == pytest.approx(seen.var(), rel=0.25)
