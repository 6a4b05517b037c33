"""A Rasch model of a sparse table: how easy each question is, how much each persona helps.

logit P(correct) = ease of the question + effect of the persona. A persona that was asked
few questions can then be compared with one that was asked others, which is what PromptEval
does for prompts (Maia Polo et al. 2024, arXiv 2405.17202; its simplest model).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.resampling import Floats

PERSONA_SD = 10.0
"""Default prior of an effect, in log-odds: too wide to shrink, it only keeps 0 of n finite."""

_LARGEST_STEP = 4.0  # log-odds in one Newton step
_CONVERGED = 1e-6


@dataclass(frozen=True)
class RaschFit:
    """Effects and eases in log-odds, in the order of `personas` and `questions`.

    Effects are measured from their own mean, so that `se` is that of a contrast with the
    average persona, and eases from the same point.
    """

    personas: list[str]
    questions: list[str]
    effect: Floats
    se: Floats
    ease: Floats
    question_mean: float
    question_sd: float
    """Mean and sd of the eases in the population of questions, as estimated or given."""

    def probabilities(self, effect: Floats) -> Floats:
        """P(correct) of a persona with each effect, shape (questions, effects)."""
        return expit(self.ease[:, None] + effect)

    def accuracy(self, effect: ArrayLike) -> Floats:
        """Expected accuracy over the fit's questions, in the shape of `effect`."""
        effect = np.asarray(effect, dtype=float)
        grid = between(effect)
        return np.interp(effect, grid, self.probabilities(grid).mean(axis=0))


def between(effect: Floats, points: int = 64) -> Floats:
    """Effects to interpolate between: accuracy is smooth in them, and draws are many."""
    return np.linspace(effect.min() - 0.01, effect.max() + 0.01, points)


def fit_rasch(
    outcomes: pd.DataFrame,
    *,
    persona_sd: float | None = PERSONA_SD,
    question_sd: float | None = None,
) -> RaschFit:
    """Fits the Rasch model to the tidy table; missing cells and unscored responses are left out.

    Penalised maximum likelihood, with Gaussian priors on both sides. `question_sd` None
    estimates the spread of the questions (see `fit_counts`), and so does `persona_sd` None
    for the personas, whose effects are then shrunk; infinity means no prior.

    Raises:
        ValueError: an unsound table (as `stability`), or fewer than two personas or
            questions with a scored response.
    """
    cells = Cells.count(check(outcomes)).scored_only()
    if len(cells.personas) < 2 or len(cells.questions) < 2:
        raise ValueError(
            f"{len(cells.personas)} persona(s) and {len(cells.questions)} question(s) have a "
            "scored response: a Rasch model needs at least two of each"
        )
    return fit_counts(
        cells.correct,
        cells.scored,
        cells.personas,
        cells.questions,
        persona_sd=persona_sd,
        question_sd=question_sd,
    )


def fit_counts(
    correct: ArrayLike,
    scored: ArrayLike,
    personas: list[str] | None = None,
    questions: list[str] | None = None,
    *,
    persona_sd: float | None = PERSONA_SD,
    question_sd: float | None = None,
) -> RaschFit:
    """`fit_rasch` on counts of shape (questions, personas).

    Newton's method; eases are eliminated first (their block of the Hessian is diagonal), so
    that a step costs one personas × personas system. A spread to be estimated is the EM
    fixed point mean(mode^2 + variance), with the variance of Laplace's approximation.
    """
    c, n = np.asarray(correct, dtype=float), np.asarray(scored, dtype=float)
    q_var = 2.0 if question_sd is None else question_sd**2
    p_var = 0.25 if persona_sd is None else persona_sd**2
    level = float(logit((c.sum() + 0.5) / (n.sum() + 1)))
    ease, effect = np.full(c.shape[0], level), np.zeros(c.shape[1])
    estimated = question_sd is None or persona_sd is None
    for _ in range(30 if estimated else 0):
        ease, effect, covariance, weight = _newton(c, n, ease, effect, level, q_var, p_var, steps=3)
        old = np.array([level, q_var, p_var])
        level = float(ease.mean())
        if question_sd is None:
            q_var = float(np.mean((ease - level) ** 2 + 1 / weight))
        if persona_sd is None:
            p_var = float(np.mean(effect**2 + np.diag(covariance)))
        is_finite = np.isfinite(old)
        change = np.abs(np.array([level, q_var, p_var])[is_finite] - old[is_finite])
        if np.all(change < 0.01 * (0.1 + np.abs(old[is_finite]))):
            break
    ease, effect, covariance, _ = _newton(c, n, ease, effect, level, q_var, p_var)
    centre = effect.mean()
    # of a contrast with the mean persona: row and column means taken out
    around = covariance - covariance.mean(0) - covariance.mean(1)[:, None] + covariance.mean()
    return RaschFit(
        personas=personas or [str(j) for j in range(c.shape[1])],
        questions=questions or [str(i) for i in range(c.shape[0])],
        effect=effect - centre,
        se=np.sqrt(np.diag(around)),
        ease=ease + centre,
        question_mean=float(level + centre),
        question_sd=float(np.sqrt(q_var)),
    )


def _newton(
    c: Floats,
    n: Floats,
    ease: Floats,
    effect: Floats,
    level: float,
    q_var: float,
    p_var: float,
    *,
    steps: int = 50,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Mode of both, the effects' covariance, and the eases' curvature, for fixed priors."""
    flat = np.isinf(q_var) and np.isinf(p_var)
    for _ in range(steps):
        p = expit(ease[:, None] + effect)
        residual, w = c - n * p, n * p * (1 - p)
        slope_q = residual.sum(1) - (ease - level) / q_var
        slope_p = residual.sum(0) - effect / p_var
        curve_q, curve_p = w.sum(1) + 1 / q_var, w.sum(0) + 1 / p_var
        pull = w / curve_q[:, None]
        system = np.diag(curve_p) - w.T @ pull
        if flat:  # only contrasts are determined: the effects add up to 0
            system = system + curve_p.mean()
        step_p = np.linalg.solve(system, slope_p - pull.T @ slope_q)
        step_q = (slope_q - w @ step_p) / curve_q
        largest = max(np.abs(step_p).max(), np.abs(step_q).max())
        shorten = min(1.0, _LARGEST_STEP / largest) if largest else 1.0
        ease, effect = ease + shorten * step_q, effect + shorten * step_p
        if largest < _CONVERGED:
            break
    return ease, effect, np.linalg.inv(system), curve_q
