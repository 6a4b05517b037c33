"""Noise-corrected PSS: worst / best of the accuracies *expected on questions like these*.

The plain score is a ratio of extremes of noisy numbers, which noise alone drives apart. Here the
accuracies and their errors come from a model of single cells (`crossed`), for which persona x
question interaction and sampling are noise; a hierarchical prior over the personas (`mixture`) says
which true accuracies they are likely to stem from. docs/calibration.md has the bias and the
coverage that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.crossed import EASES, UNSEEN, Crossed, fit_crossed
from persona_bench.scoring.estimate import UNKNOWN, Estimate
from persona_bench.scoring.mixture import draw_true
from persona_bench.scoring.resampling import Floats, Interval, worst_over_best

CHAINS = 64
DRAWS = 60
"""Draws kept of each chain: 64 x 60 in all."""

TAIL = 0.3
"""Share of the draws that an interval leaves out, over 1 - confidence. Draws of a posterior miss a
fixed truth somewhat more often than they say, where personas differ in ways that the prior finds
unlikely; so a 95% interval is the middle 98.5% of the draws (docs/calibration.md)."""

ASKED_CELLS = 0.9
"""Share of the cells that need two scored samples for an estimate on the questions asked."""

LOSSES = np.linspace(0, 12, 121)
"""By which one persona's effect may be lower, in log-odds."""

STABLE_FROM = 0.95
"""PSS from which on a model counts as stable: the worst persona costs at most one twentieth."""


Conclusion = Literal["stable", "unstable", "undetermined"]


@dataclass(frozen=True)
class Posterior:
    """Draws of what is true of each persona, shape (draws, chains, personas)."""

    personas: list[str]
    accuracy: Floats
    """Expected on questions like these. Each chain has its own draw of such questions."""
    effect: Floats
    """In log-odds, on the questions of the fit."""
    fit: Crossed

    @property
    def pss(self) -> Floats:
        """Shape (draws, chains)."""
        return worst_over_best(self.accuracy)


def posterior(
    cells: Cells,
    rng: np.random.Generator,
    weights: Floats | None = None,
    *,
    chains: int = CHAINS,
) -> Posterior | None:
    """Draws of the accuracies expected on questions like these.

    Args:
        cells: The counts.
        rng: Where the draws come from.
        weights: How much each question counts in each chain, shape (chains, questions), as
            `question_draws` gives them. For two models on the same questions, give both the same.
        chains: How many chains there are; fewer are faster and give coarser intervals.

    Returns:
        None where fewer than two personas or fewer than two questions are scored, or where nothing
        is correct. Questions and personas without a scored response are left out.
    """
    questions = cells.scored.any(axis=1)
    cells = cells.scored_only()
    if min(cells.scored.shape) < 2 or not cells.correct.any():
        return None
    if weights is None:
        weights = question_draws(len(cells.questions), rng, chains)
    else:
        weights = weights[:, questions]
        weights = weights / weights.sum(axis=1, keepdims=True)
    fit = fit_crossed(cells)
    alike = (chains, 1)
    seen = true_accuracies(np.tile(fit.accuracy, alike), np.tile(fit.variance, alike), rng)
    return on_other_questions(cells.personas, fit, seen, weights)


def on_other_questions(
    personas: list[str], fit: Crossed, seen: Floats, weights: Floats
) -> Posterior:
    """Accuracies on the questions of the fit, shape (draws, chains, personas), as they would be on
    each chain's own draw of questions."""
    grid = np.linspace(EASES[0], EASES[-1], 8 * EASES.size)
    here = fit.accuracies(grid, np.full((1, len(fit.eases)), 1 / len(fit.eases)))[0]
    effect = np.interp(seen, here, grid)
    moved = fit.accuracies(grid, weights) - here
    shift = [np.interp(effect[:, i], grid, each) for i, each in enumerate(moved)]
    return Posterior(personas, np.clip(seen + np.stack(shift, axis=1), 0.0, 1.0), effect, fit)


def question_draws(questions: int, rng: np.random.Generator, chains: int = CHAINS) -> Floats:
    """Weights of the questions in each chain (the Bayesian bootstrap, Rubin 1981)."""
    weights = rng.standard_exponential((chains, questions))
    return weights / weights.sum(axis=1, keepdims=True)


def true_accuracies(
    accuracy: Floats, variance: Floats, rng: np.random.Generator, *, shrink: bool = True
) -> Floats:
    """Draws of shape (DRAWS, chains, personas), given measured accuracies and their errors.

    Both have the shape (chains, personas): one table in all chains, or one in each. Accuracies are
    put on the scale 2 arcsin sqrt((x + 3/8) / (n + 3/4)) of Anscombe (1948), with n the number of
    independent responses that would leave as much noise. On it the variance of the noise is
    1 / (n + 1/2), whatever the accuracy, and an accuracy of 0 has noise too. Unless `shrink`, the
    draws are what was measured and noise, without the prior that draws personas together.
    """
    n = np.maximum(accuracy * (1 - accuracy), 1e-9) / variance
    angle = 2 * np.arcsin(np.sqrt((accuracy * n + 3 / 8) / (n + 3 / 4)))
    noise = 1 / (n + 0.5)
    if shrink:
        true = draw_true(angle, noise, rng, draws=DRAWS)
    else:
        true = angle + np.sqrt(noise) * rng.standard_normal((DRAWS, *angle.shape))
    drawn: Floats = np.sin(np.clip(true, 0, np.pi) / 2) ** 2
    return drawn


# ---------------------------------------------------------------------------- the estimate
def corrected_pss(
    cells: Cells, confidence: float, rng: np.random.Generator, *, chains: int = CHAINS
) -> Estimate:
    """The noise-corrected PSS of a table; NaN where `posterior` is None."""
    found = posterior(cells, rng, chains=chains)
    return UNKNOWN if found is None else summarise(found.pss, confidence)


def corrected_pss_asked(cells: Cells, confidence: float, rng: np.random.Generator) -> Estimate:
    """The same on the questions asked, where persona x question interaction is no noise.

    NaN where fewer than `ASKED_CELLS` of the cells have two scored samples, so that noise and
    interaction can't be told apart; where fewer than two personas are scored; and where nothing is
    correct.
    """
    cells = cells.scored_only()
    n, several = cells.scored, cells.scored >= 2
    if len(cells.personas) < 2 or not cells.correct.any() or several.mean() < ASKED_CELLS:
        return UNKNOWN
    noise = np.where(several, cells.sampling_variance * n**2, 0.0)
    total, accuracy = n.sum(axis=0), cells.accuracy
    binomial = float((total * accuracy * (1 - accuracy)).sum())
    # pooled over personas: how much of the variance that equally hard questions would have is noise
    share = min(1.0, max(float(noise.sum()), UNSEEN) / binomial) if binomial else 1.0
    variance = np.maximum(accuracy * (1 - accuracy), 1e-9) * share / total
    alike = (CHAINS, 1)
    drawn = true_accuracies(np.tile(accuracy, alike), np.tile(variance, alike), rng)
    return summarise(worst_over_best(drawn), confidence)


def summarise(draws: Floats, confidence: float) -> Estimate:
    """Median and interval of draws."""
    tail = (1 - confidence) / 2 * TAIL
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail])
    return Estimate(middle, low, high)


def simultaneous_bands(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Bounds that hold for all columns at once in the draws, shape (draws, columns).

    The same rank is taken from either end of each column, as far out as it takes (Besag et al.
    1995, section 6.3).
    """
    ordered = np.sort(draws, axis=0)
    ranks = draws.argsort(axis=0).argsort(axis=0)
    last = len(draws) - 1
    outermost = np.maximum(ranks, last - ranks).max(axis=1)
    k = int(np.ceil(np.quantile(outermost, 1 - (1 - confidence) * TAIL)))
    return ordered[last - k], ordered[k]


# ---------------------------------------------------------------- what can be concluded
def conclude(interval: Interval, stable_from: float = STABLE_FROM) -> Conclusion:
    """`stable` where the interval lies from `stable_from` on, `unstable` where it lies below."""
    if interval.low >= stable_from:
        return "stable"
    return "unstable" if interval.high < stable_from else "undetermined"


def detectable_pss(fit: Crossed) -> float:
    """The highest true PSS that a run of this design tells from no effect, one persona being worse.

    All personas but one have the mean accuracy of `fit`, and one has a lower effect in log-odds.
    The test is that of the plain PSS against its noise floor at 5%, with 80% power. Verdicts of the
    worse persona take part in the exchanges, so that they widen the floor too. Where cells are
    missing, plain accuracies differ by the questions that a persona lacks, under the floor as well.
    The questions of a run are a draw, so the power is averaged over harder and easier ones.

    Returns:
        To three digits; 0 where not even a persona with nothing correct would be noticed.
    """
    personas, questions = len(fit.effect), len(fit.eases)
    ease = fit.eases.mean(axis=0)
    usual = float(np.interp(fit.accuracy.mean(), expit(EASES[:, None] + EASES).T @ ease, EASES))
    chance = expit(EASES + usual)
    lower = expit(EASES + usual - LOSSES[:, None])
    noise = float(np.median(fit.variance)) / max(float(ease @ (chance * (1 - chance))), 1e-12)
    normal = np.random.default_rng(0).standard_normal((2000, personas))

    def seen(accuracy: Floats, variance: Floats) -> Floats:
        """PSS of noisy accuracies; the noise is that of shares, so that they stay in 0 to 1."""
        n = np.maximum(accuracy * (1 - accuracy), 1e-9) / np.maximum(variance, 1e-12)
        angle = np.arcsin(np.sqrt(np.clip(accuracy, 0, 1))) + normal / (2 * np.sqrt(n))
        return worst_over_best(np.sin(np.clip(angle, 0, np.pi / 2)) ** 2)

    def power_at(ratio: float, ease: Floats) -> float:
        left = lower @ ease / (chance @ ease)
        loss = np.interp(ratio, left[::-1], LOSSES[::-1])
        worse = expit(EASES + usual - loss)
        accuracy = np.full(personas, ease @ chance)
        variance = np.full(personas, noise * float(ease @ (chance * (1 - chance))))
        accuracy[0] = ease @ worse
        variance[0] = noise * float(ease @ (worse * (1 - worse)))
        variance += fit.missing_variance
        gap = float(ease @ (chance - worse) ** 2) / questions / personas
        floor = seen(np.full(personas, accuracy.mean()), np.full(personas, variance.mean() + gap))
        return float((seen(accuracy, variance) < np.quantile(floor, 0.05)).mean())

    # Gauss-Hermite quadrature over the mean accuracy on the questions drawn
    off = chance - ease @ chance
    tilt = np.sqrt(3) * (fit.eases @ chance).std() / np.sqrt(questions) * off
    tilt /= max(float(ease @ off**2), 1e-12)
    draws = [np.maximum(ease * (1 + sign * tilt), 0) for sign in (0, 1, -1)]

    def lacking(ratio: float) -> float:
        found = [power_at(ratio, each / each.sum()) for each in draws]
        return 0.8 - float(np.dot(found, (2 / 3, 1 / 6, 1 / 6)))

    if lacking(0.0) > 0:
        return 0.0
    return round(float(brentq(lacking, 0.0, 1.0, xtol=1e-3)), 3)
