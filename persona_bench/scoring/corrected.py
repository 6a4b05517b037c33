"""Noise-corrected PSS: the ratio of the worst to the best *expected* accuracy.

The plain score is a ratio of extremes of noisy numbers, which noise alone drives apart. Here the
noise of each persona's accuracy is measured (`noise_share`), the accuracies are put on a scale on
which it is the same for all of them, and a hierarchical model (`mixture`) says which true
accuracies they are likely to stem from. docs/calibration.md has the bias and the coverage that
were measured, and the other ways that were tried.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.mixture import draw_extremes
from persona_bench.scoring.resampling import (
    NOWHERE,
    Counts,
    Floats,
    Interval,
    worst_over_best,
)

CHAINS = 64
DRAWS = 60
"""Draws kept of each chain: 64 x 60 in all."""

TAIL = 0.5
"""Share of the draws that an interval leaves out, over 1 - confidence. Draws of a posterior miss a
fixed truth somewhat more often than they say, where personas differ in ways that the prior finds
unlikely; so a 95% interval is the middle 97.5% of the draws (docs/calibration.md)."""

UNSEEN = 0.5
"""Disagreements that count as seen where fewer were: that personas agreed on all of a few questions
doesn't show that noise is none, and one differing verdict would else be proof of an effect."""

STABLE_FROM = 0.95
"""PSS from which on a model counts as stable: the worst persona costs at most one twentieth."""

Population = Literal["asked", "questions"]


class Corrected(NamedTuple):
    """Median and interval of the ratio, given the table."""

    pss: float
    interval: Interval


UNKNOWN = Corrected(math.nan, NOWHERE)


def corrected_pss(
    cells: Cells,
    confidence: float,
    rng: np.random.Generator,
    *,
    population: Population = "asked",
) -> Corrected:
    """The noise-corrected PSS of a table.

    Args:
        cells: The counts.
        confidence: Level of the interval.
        rng: Where the draws come from.
        population: `asked`: expected accuracies on the questions that were asked; with one sample
            a cell, what a persona does to single questions can't be told from noise and counts as
            noise. `questions`: on all questions like these; needs two samples a cell.

    Returns:
        NaN where nothing is scored or nothing is correct, where fewer than two personas are scored,
        and for `questions` where fewer than half of the cells have two scored samples, or where
        there is a single question.
    """
    draws = corrected_draws(cells.scored_only(), rng, population=population)
    return UNKNOWN if draws is None else summarise(draws, confidence)


def corrected_draws(
    cells: Cells, rng: np.random.Generator, *, population: Population = "asked"
) -> Floats | None:
    """Draws of the noise-corrected PSS, in no order; None where `corrected_pss` gives NaN."""
    if len(cells.personas) < 2 or not cells.correct.any():
        return None
    if population == "asked":
        accuracy = np.broadcast_to(cells.accuracy, (CHAINS, len(cells.personas)))
        share = noise_share(cells.correct, cells.scored)
    elif _has_samples(cells.scored) and len(cells.questions) > 1:
        accuracy, share = _without_common_error(cells, rng)
    else:
        return None
    effective = np.broadcast_to(cells.scored.sum(axis=0) / share, accuracy.shape)
    return ratio_draws(accuracy, effective, rng, draws=DRAWS).ravel()


def summarise(draws: Floats, confidence: float) -> Corrected:
    """Median and interval of draws of the ratio."""
    tail = (1 - confidence) / 2 * TAIL
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail])
    return Corrected(float(middle), Interval(float(low), float(high)))


def ratio_draws(
    accuracy: Floats,
    effective: Floats,
    rng: np.random.Generator,
    *,
    draws: int,
    components: int | None = None,
) -> Floats:
    """Draws of worst / best true accuracy, shape (draws, chains).

    Args:
        accuracy: Measured, shape (chains, personas).
        effective: Independent responses that would leave as much noise, same shape.
        rng: Where the draws come from.
        draws: How many of each chain.
        components: Normal distributions in the mixture; by default as many as `mixture` says.

    Accuracies are put on the scale 2 arcsin sqrt((x + 3/8) / (n + 3/4)) of Anscombe (1948), on
    which the variance of the noise is 1 / (n + 1/2) whatever the accuracy.
    """
    share = (accuracy * effective + 3 / 8) / (effective + 3 / 4)
    angle = 2 * np.arcsin(np.sqrt(share))
    chosen = {} if components is None else {"components": components}
    ends = draw_extremes(angle, 1 / (effective + 0.5), rng, draws=draws, **chosen)
    worst, best = (np.sin(np.clip(end, 0, np.pi) / 2) ** 2 for end in ends)
    return np.divide(worst, best, out=np.ones_like(worst), where=best > 0)


# ---------------------------------------------------------------- what can be concluded
def conclude(interval: Interval, stable_from: float = STABLE_FROM) -> str:
    """`stable` where the interval lies from `stable_from` on, `unstable` where it lies below."""
    if interval.low >= stable_from:
        return "stable"
    return "unstable" if interval.high < stable_from else "undetermined"


def detectable_pss(null: Floats, power: float = 0.8, level: float = 0.05) -> float:
    """The highest true PSS, with one persona worse than all others, that would be noticed.

    Args:
        null: Accuracies if personas had no effect (`resampling.null_accuracies`), shape
            (replicates, personas).
        power: How often it is to be noticed.
        level: Of the test of the PSS against its noise floor.

    Returns:
        To three digits; 0 where not even a persona with nothing correct would be, NaN with fewer
        than two personas. The accuracy of the worse persona keeps its noise, narrowed as that of a
        binomial is.
    """
    null = null[:, ~np.isnan(null).any(axis=0)]
    if null.shape[1] < 2 or not null.any():
        return math.nan
    mean = null.mean()
    bound = np.quantile(worst_over_best(null), level)
    own, rest = null[:, 0], null[:, 1:]
    low, high = rest.min(axis=1), rest.max(axis=1)

    def noticed(ratio: float) -> bool:
        spread = math.sqrt(ratio * (1 - ratio * mean) / (1 - mean)) if mean < 1 else 1.0
        harmed = np.maximum(ratio * mean + spread * (own - mean), 0)
        seen = np.minimum(harmed, low) / np.maximum(np.maximum(harmed, high), 1e-12)
        return bool((seen < bound).mean() >= power)

    if not noticed(0.0):
        return 0.0
    few, many = 0.0, 1.0
    while many - few > 5e-4:
        middle = (few + many) / 2
        few, many = (middle, many) if noticed(middle) else (few, middle)
    return round(few, 3)


# ------------------------------------------------------------------ how large the noise is
def noise_share(correct: Counts, scored: Counts) -> float:
    """Variance of the noise in a persona's accuracy, over the binomial acc (1 - acc) / n.

    Below 1, as most questions are easy or hard rather than of the same difficulty. Arrays of
    shape (questions, personas). Where at least half of the cells have two scored samples or more,
    from the variance within cells; else from how often two personas disagree on a question, over
    the half of the pairs of personas that are closest in accuracy (a harmful persona would
    otherwise pass for noise). At least what `UNSEEN` says; 1 where nothing varies at all.
    """
    noise, binomial = (_within if _has_samples(scored) else _between)(correct, scored)
    if binomial <= 0:
        return 1.0
    return float(min(1.0, noise / binomial))


def _has_samples(scored: Counts) -> bool:
    return bool(2 * (scored >= 2).sum() >= (scored >= 1).sum())


def _within(correct: Counts, scored: Counts) -> tuple[float, float]:
    """Variance of single responses: within cells, and as if all questions were alike."""
    several = scored >= 2
    n, x = np.where(several, scored, 0), np.where(several, correct, 0)
    total = n.sum(axis=0)
    accuracy = np.divide(x.sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)
    noise = np.divide(x * (n - x), n - 1, out=np.zeros(n.shape), where=several)
    return max(float(noise.sum()), UNSEEN), float((total * accuracy * (1 - accuracy)).sum())


def _between(correct: Counts, scored: Counts) -> tuple[float, float]:
    """The same from pairs of personas, by half the variance of their difference."""
    there = (scored > 0).astype(float)
    share = np.divide(correct, scored, out=np.zeros(there.shape), where=scored > 0)
    common = there.T @ there
    first, second = np.triu_indices(len(common), 1)
    common = common[first, second]
    known = common > 1
    first, second, common = first[known], second[known], common[known]
    if not common.size:
        return 0.0, 0.0
    mean = (share.T @ there)[first, second] / common, (share.T @ there)[second, first] / common
    square = ((share**2).T @ there)[first, second] + ((share**2).T @ there)[second, first]
    product = (share.T @ share)[first, second]
    gap = mean[0] - mean[1]
    noise = ((square - 2 * product) / common - gap**2) * common / (common - 1) / 2
    binomial = (mean[0] * (1 - mean[0]) + mean[1] * (1 - mean[1])) / 2
    noise = np.maximum(noise, UNSEEN / 2 / (common + 1))
    close = np.argsort(np.abs(gap), kind="stable")[: max(1, (gap.size + 1) // 2)]
    return float((noise * common)[close].sum()), float((binomial * common)[close].sum())


def _without_common_error(cells: Cells, rng: np.random.Generator) -> tuple[Floats, float]:
    """Accuracies as other questions might have shown them, and the noise that then remains.

    Drawing other questions moves all personas together, which a ratio hardly feels, and each one
    a little by itself. For each chain the common part is drawn and taken off (by each persona's
    regression on the mean over personas); the rest is noise.

    Returns:
        Accuracies, shape (CHAINS, personas), and the noise share.
    """
    there = cells.scored > 0
    share = np.divide(cells.correct, cells.scored, out=np.zeros(there.shape), where=there)
    n_questions, n_personas = there.shape
    question = share.sum(axis=1) / there.sum(axis=1)
    pull = question - question.mean()
    spread = float((pull**2).sum())
    mean = share.sum(axis=0) / there.sum(axis=0)
    off = np.where(there, share - mean, 0.0)
    slope = (off.T @ pull) / spread if spread > 0 else np.ones(n_personas)
    common = rng.standard_normal(CHAINS) * math.sqrt(spread / (n_questions - 1) / n_questions)
    accuracy = np.clip(cells.accuracy - common[:, None] * slope, 0.0, 1.0)
    # what is left adds up to about 0 over personas: one degree of freedom a question is gone
    left = np.where(there, off - pull[:, None] * slope, 0.0)
    variance = (left**2).sum(axis=0) / there.sum(axis=0) * n_personas / (n_personas - 1)
    binomial = cells.accuracy * (1 - cells.accuracy)
    per_response = cells.scored.sum(axis=0) / there.sum(axis=0)
    known = binomial > 0
    if not known.any():
        return accuracy, 1.0
    noise = np.maximum(variance * per_response, UNSEEN / 2 / (n_questions + 1))
    return accuracy, float(noise[known].sum() / binomial[known].sum())
