"""The Rasch fit against statsmodels, against known effects, and at its edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from persona_bench.extras.screening.rasch import RaschFit, fit_counts, fit_rasch


def outcomes_of(verdicts: np.ndarray) -> pd.DataFrame:
    """One row a cell that is not -1."""
    row, column = np.nonzero(verdicts >= 0)
    return pd.DataFrame(
        {
            "question": [f"q{i:02d}" for i in row],
            "persona": [f"p{j}" for j in column],
            "correct": verdicts[row, column].astype(float),
        }
    )


def test_without_penalty_it_is_the_logit_of_statsmodels() -> None:
    discrete = pytest.importorskip("statsmodels.discrete.discrete_model")
    rng = np.random.default_rng(3)
    logit = rng.normal(size=(12, 1)) + np.linspace(-0.8, 0.8, 4)
    n = rng.integers(4, 9, size=logit.shape)  # samples a cell, so that no cell separates
    n[0, 1] = n[5, 3] = 0
    c = rng.binomial(n, expit(logit))
    row, column = (np.repeat(index.ravel(), n.ravel()) for index in np.indices(n.shape))
    y = np.concatenate([np.arange(m) < k for k, m in zip(c.flat, n.flat, strict=True)])
    dummies = np.eye(12)[row], np.eye(4)[column][:, 1:]
    reference = discrete.Logit(y.astype(float), np.hstack(dummies)).fit(disp=0, tol=1e-10)

    fit = fit_counts(c, n, persona_sd=np.inf, question_sd=np.inf)
    contrasts = fit.effect[1:] - fit.effect[0]
    np.testing.assert_allclose(contrasts, reference.params[12:], atol=1e-5)
    np.testing.assert_allclose(fit.ease + fit.effect[0], reference.params[:12], atol=1e-5)
    # se of an effect less the mean effect, from the covariance of the dummies
    covariance = np.zeros((4, 4))
    covariance[1:, 1:] = reference.cov_params()[12:, 12:]
    around = np.eye(4) - 1 / 4
    np.testing.assert_allclose(fit.se, np.sqrt(np.diag(around @ covariance @ around)), rtol=1e-4)


def drawn(share: float, seed: int = 0) -> tuple[RaschFit, np.ndarray, np.ndarray]:
    """A fit of a random table of 200 x 30, its true effects and verdicts (-1: not asked)."""
    rng = np.random.default_rng(seed)
    effect = 0.6 * rng.normal(size=30)
    p = expit(1.5 * rng.normal(size=(200, 1)) + effect)
    verdicts = np.where(rng.random(p.shape) < share, (rng.random(p.shape) < p).astype(int), -1)
    return fit_rasch(outcomes_of(verdicts)), effect[np.argsort([f"p{j}" for j in range(30)])], p


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_the_fit_recovers_effects_within_its_standard_errors(share: float) -> None:
    z = []
    for seed in range(8):
        fit, effect, _ = drawn(share, seed)
        z.append((fit.effect - (effect - effect.mean())) / fit.se)
    # 240 standardised errors: sd within 4 standard errors of 1 (4 / sqrt(480) = 0.18)
    assert np.std(np.concatenate(z)) == pytest.approx(1.0, abs=0.18)
    assert fit.question_sd == pytest.approx(1.5, abs=0.4)


def test_the_fit_reproduces_each_persona_s_share_of_correct_responses() -> None:
    verdicts = np.random.default_rng(1).integers(-1, 2, size=(40, 5))
    table = outcomes_of(verdicts)
    fit = fit_rasch(table, persona_sd=np.inf, question_sd=1.0)
    expected = fit.probabilities(fit.effect)
    asked = verdicts >= 0
    np.testing.assert_allclose(
        (expected * asked).sum(0), (verdicts * asked).sum(0), atol=1e-5
    )  # the score equations of the unpenalised side


def test_an_estimated_spread_shrinks_effects_that_are_only_noise() -> None:
    verdicts = np.random.default_rng(2).integers(0, 2, size=(60, 12))
    free, shrunk = (fit_rasch(outcomes_of(verdicts), persona_sd=sd) for sd in (10.0, None))
    assert np.abs(shrunk.effect).max() < 0.5 * np.abs(free.effect).max()


def test_all_right_all_wrong_and_unscored_stay_finite() -> None:
    verdicts = np.random.default_rng(4).integers(0, 2, size=(30, 4))
    verdicts[:, 0], verdicts[:, 1] = 1, 0
    table = outcomes_of(verdicts)
    table.loc[table.index[::7], "correct"] = np.nan
    fit = fit_rasch(table)
    assert np.isfinite(fit.effect).all()
    assert fit.effect.argmax() == 0
    assert fit.effect.argmin() == 1


def test_accuracy_is_the_mean_over_questions() -> None:
    fit, _, _ = drawn(0.5)
    exact = expit(fit.ease[:, None] + fit.effect).mean(axis=0)
    np.testing.assert_allclose(fit.accuracy(fit.effect), exact, atol=1e-3)


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two of each"):
        fit_rasch(outcomes_of(np.ones((5, 1), dtype=int)))
    with pytest.raises(ValueError, match="lack the column"):
        fit_rasch(pd.DataFrame({"persona": ["a"]}))
