"""Uncertainty by resampling: questions redrawn, verdicts exchanged, errors clustered.

Everything here works on two arrays of shape (questions, personas), `correct` and `scored`:
how many responses of a cell are correct (or the sum of their scores), and how many are scored.
Questions are the independent units; the samples of a cell, and the personas on a question, are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from persona_bench.scoring.estimate import NOWHERE, Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

CHUNK_CELLS = 2_000_000
"""Most numbers a chunk of replicates may hold at once: keeps memory flat (some 50 MB)."""


# ------------------------------------------------------------- questions redrawn (bootstrap)
def question_weights(
    n_questions: int,
    resamples: int,
    rng: np.random.Generator,
    *,
    width: int = 0,
    strata: Counts | None = None,
) -> Iterator[Floats]:
    """How often each question is drawn, with replacement, in each bootstrap replicate.

    Yields chunks of shape (replicates, questions), each row adding up to `n_questions`.
    `width` is the number of columns the weights will be multiplied with: it only makes the
    chunks smaller.

    `strata` has a code, 0 up, for each question (see `strata.merged`). Each stratum is then
    redrawn by itself, n - 1 of its n questions, each weighing n / (n - 1): with n of n the
    spread within a stratum of few questions would come out too small (Rao & Wu 1988).

    Raises ValueError for a stratum of one question.
    """
    chunk = max(1, CHUNK_CELLS // max(n_questions, width, 1))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        if strata is None:
            drawn, weight = rng.integers(n_questions, size=(rows, n_questions)), np.float64(1)
        else:
            drawn, weight = _drawn_within(strata, rows, rng)
        drawn += np.arange(rows)[:, None] * n_questions
        counts = np.bincount(drawn.ravel(), minlength=rows * n_questions)
        yield np.asarray(counts.reshape(rows, n_questions) * weight, dtype=np.float64)


def _drawn_within(strata: Counts, rows: int, rng: np.random.Generator) -> tuple[Counts, Any]:
    """Questions drawn, n - 1 of each stratum's n, and the weight of one draw of each question."""
    order, size = np.argsort(strata, kind="stable"), np.bincount(strata)
    if (size == 1).any():
        raise ValueError("a stratum has one question, which can't be redrawn; merge it first")
    first = np.repeat(np.cumsum(size) - size, size - 1)
    drawn = order[first + rng.integers(np.repeat(size, size - 1), size=(rows, first.size))]
    return drawn, (size / (size - 1))[strata]


def bootstrap(
    totals: Floats,
    statistic: Callable[[Floats], Floats],
    resamples: int,
    rng: np.random.Generator,
    *,
    strata: Counts | None = None,
) -> Floats:
    """Bootstrap replicates of a statistic of sums over questions.

    `totals` has shape (questions, columns). `statistic` takes column sums, shape
    (replicates, columns), and returns shape (replicates, metrics). Redrawing questions is
    then one product of matrices, weights @ totals, for all replicates of a chunk. `strata`
    is as for `question_weights`.
    """
    chunks = question_weights(len(totals), resamples, rng, width=totals.shape[1], strata=strata)
    return np.concatenate([statistic(weights @ totals) for weights in chunks])


def two_way_means(
    correct: Counts,
    scored: Counts,
    resamples: int,
    rng: np.random.Generator,
    *,
    strata: Counts | None = None,
) -> Floats:
    """Mean accuracy over personas, questions and personas both redrawn; shape (resamples,).

    Owen's (2007) pigeonhole bootstrap: rows and columns are drawn independently, and a cell
    counts as often as its question times its persona. Its variance is right for what lies in
    questions and in personas, and counts what lies in single cells up to three times: too
    wide, never too narrow. For means only: a set drawn with replacement holds fewer distinct
    personas, so that its extremes, its sd and its pairs of personas are not those of a set
    drawn from the population (for best and worst of k personas see `lottery_curve`).
    """
    personas = correct.shape[1]
    means = []
    for weights in question_weights(
        len(correct), resamples, rng, width=3 * personas, strata=strata
    ):
        (drawn,) = question_weights(personas, len(weights), rng)  # a chunk is small enough
        bottom = weights @ scored
        share = np.divide(weights @ correct, bottom, out=np.zeros(bottom.shape), where=bottom > 0)
        known = drawn * (bottom > 0)
        n = known.sum(axis=1)
        means.append(
            np.divide((share * known).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
        )
    return np.concatenate(means)


def percentile_interval(replicates: Floats, confidence: float) -> Interval:
    """The middle `confidence` of the replicates; NaN where there is nothing to rank."""
    replicates = replicates[~np.isnan(replicates)]
    if replicates.size == 0:
        return NOWHERE
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Interval(float(low), float(high))


def expanded_interval(replicates: Floats, confidence: float, n_questions: int) -> Interval:
    """Percentile interval with its tails moved out for few questions (Hesterberg 2015).

    The bootstrap's spread is too small by sqrt((n-1)/n), and normal tails are too thin where
    the spread itself is estimated: the tail becomes Phi(-sqrt(n/(n-1)) t), with t the
    quantile of Student's t at n-1 degrees of freedom. For smooth statistics of sums over
    questions; NaN for fewer than two.
    """
    if n_questions < 2:
        return NOWHERE
    n = n_questions
    reach = np.sqrt(n / (n - 1)) * student_t.ppf((1 + confidence) / 2, n - 1)
    return percentile_interval(replicates, float(1 - 2 * norm.cdf(-reach)))


# ------------------------------------------------- verdicts exchanged among personas (null)
def null_accuracies(
    correct: Counts, scored: Counts, resamples: int, rng: np.random.Generator
) -> Floats:
    """Accuracies of each persona if personas had no effect, shape (resamples, personas).

    Within each question the numbers correct are exchanged at random among the personas that have
    equally many `scored` responses there. Given no effect of the persona on its verdicts these
    exchanges change nothing, so the test is exact however hard the questions are, however the
    samples of a cell depend on each other, and whichever cells are missing or unscored: a persona
    that lost its hardest questions keeps them lost. A cell with a number of scored responses of its
    own stays where it is.

    The arrays given have the shape (questions, personas). NaN where a persona has no scored
    response.
    """
    right = np.zeros((resamples, correct.shape[1]), dtype=correct.dtype)
    for questions, personas in _exchangeable_blocks(scored):
        block = correct[np.ix_(questions, personas)]
        if personas.size == 1:
            right[:, personas] += block.sum()
            continue
        chunk = max(1, CHUNK_CELLS // block.size)
        for start in range(0, resamples, chunk):
            rows = slice(start, min(start + chunk, resamples))
            right[rows, personas] += _exchanged(block, rows.stop - start, rng)
    with np.errstate(invalid="ignore"):
        accuracies: Floats = right / scored.sum(axis=0)
    return accuracies


def _exchanged(block: Counts, rows: int, rng: np.random.Generator) -> Counts:
    """Column sums of `block` with each of its rows put in random order, `rows` times over.

    Random order by sorting random numbers that carry the cell in their lowest bits: two to
    three times as fast as `rng.permuted`. Two of them are equal, so that their cells come out
    in a fixed order, about once in 2^32 / (number of different cells) pairs.
    """
    values, code = np.unique(block, return_inverse=True)
    scores = block.dtype.kind == "f"  # nearly all differ: their columns take fewer bits
    number = np.arange(block.shape[1]) if scores else code.reshape(block.shape)
    mask = np.uint32((1 << int(number.max()).bit_length()) - 1)
    keys = rng.integers(0, 2**32, size=(rows, *block.shape), dtype=np.uint32)
    keys &= ~mask
    keys |= number.astype(np.uint32)
    keys.sort(axis=2)
    drawn = keys & mask
    sums: Counts = (
        np.take_along_axis(block[None], drawn.astype(np.intp), axis=2) if scores else values[drawn]
    ).sum(axis=1)
    return sums


def _exchangeable_blocks(scored: Counts) -> Iterator[tuple[Counts, Counts]]:
    """Sets of questions and personas whose cells may be exchanged within each question."""
    patterns, member = np.unique(scored, axis=0, return_inverse=True)
    member = member.ravel()
    for i, pattern in enumerate(patterns):
        questions = np.flatnonzero(member == i)
        for n in np.unique(pattern[pattern > 0]):
            yield questions, np.flatnonzero(pattern == n)


def worst_over_best(accuracies: Floats) -> Floats:
    """PSS along the last axis; NaN accuracies are left out, and 0 stands where the best is 0."""
    low = np.fmin.reduce(accuracies, axis=-1)
    high = np.fmax.reduce(accuracies, axis=-1)
    return np.divide(low, high, out=np.where(np.isnan(high), np.nan, 0.0), where=high > 0)


def null_pss(correct: Counts, scored: Counts, resamples: int, rng: np.random.Generator) -> Floats:
    """PSS values, shape (resamples,), if personas had no effect (see `null_accuracies`)."""
    return worst_over_best(null_accuracies(correct, scored, resamples, rng))


def p_value(null: Floats, observed: float) -> float:
    """Share of exchanges with a PSS no higher than the observed one, which counts as one.

    (1 + #{null <= observed}) / (1 + resamples): never 0, and exact (Phipson & Smyth 2010).
    """
    # accuracies are ratios of whole numbers: equal ones may differ in the last bit
    return float((1 + np.count_nonzero(null <= observed + 1e-12)) / (1 + null.size))


# ------------------------------------------------------------------ closed-form errors
def clustered_se(correct: ArrayLike, question: ArrayLike) -> float:
    """Standard error of the mean of `correct`, with responses clustered by `question`.

    sqrt(G/(G-1) * sum_g (sum_{i in g} (y_i - mean))^2) / n over G questions and n scored
    responses: the clustered formula of Miller (2024, arXiv 2411.00640, section 2.2) with
    the usual correction for few clusters. NaN in `correct` is left out. NaN is returned
    for fewer than two questions.

    Raises ValueError where the two have different lengths.
    """
    y = np.asarray(correct, dtype=float)
    groups = pd.Series(np.asarray(question).ravel())
    if y.shape != groups.shape:
        raise ValueError(f"{y.size} verdicts but {groups.size} questions: one each is needed")
    known = ~np.isnan(y)
    if not known.any():
        return float("nan")
    residuals = pd.Series(y[known] - y[known].mean())
    per_question = residuals.groupby(groups[known].to_numpy(), sort=True).sum().to_numpy()
    return influence_se(per_question / known.sum())


def influence_se(influence: Floats, strata: Counts | None = None) -> float:
    """sqrt(G/(G-1) * sum of squares) of G questions' influences, which add up to 0.

    With `strata` (see `strata.merged`) the same within each, about its own mean, and added up.
    NaN for fewer than two questions.
    """
    n = influence.size
    if n < 2:
        return float("nan")
    if strata is None:
        return float(np.sqrt(n / (n - 1) * np.sum(influence**2)))
    size = np.bincount(strata)
    about = influence - (np.bincount(strata, influence) / size)[strata]
    return float(np.sqrt(np.sum(size / (size - 1) * np.bincount(strata, about**2))))


def wilson(accuracy: ArrayLike, n: ArrayLike, confidence: float) -> tuple[Any, Any]:
    """Wilson (1927) score interval for a share; `n` may be an effective, broken number.

    Takes numbers or arrays. Sensible at the ends: (0, z^2/(n+z^2)) at 0 of n.
    """
    p, m = np.asarray(accuracy, dtype=float), np.asarray(n, dtype=float)
    z2 = norm.ppf((1 + confidence) / 2) ** 2
    middle = (p + z2 / (2 * m)) / (1 + z2 / m)
    half = np.sqrt(z2 * (p * (1 - p) / m + z2 / (4 * m**2))) / (1 + z2 / m)
    # rounding must not push the ends past the estimate
    return np.clip(middle - half, 0, p), np.clip(middle + half, p, 1)


def mean_interval(mean: float, se: float, questions: int, confidence: float) -> Interval:
    """Interval of a mean of shares, with `se` its standard error clustered by question.

    Wilson's, on the number of independent responses that would have this standard error,
    mean (1 - mean) / se^2; it stays within 0 and 1 and keeps a width at the ends. Where
    nothing varies, se = 0, each question counts once. With no question: 0 to 1.
    """
    if np.isnan(mean):
        return NOWHERE
    if not questions:
        return Interval(0.0, 1.0)
    n = mean * (1 - mean) / se**2 if se > 0 else float(questions)
    low, high = wilson(mean, n, confidence)
    return Interval(float(low), float(high))
