"""Kendall's tau-b of many rows at once: does accuracy follow an expected order?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from persona_bench.scoring.resampling import Floats, Interval, percentile_interval


def tau_b(values: Floats, order: ArrayLike) -> Floats:
    """Kendall's tau-b between each row of `values` and `order`.

    (concordant - discordant) / sqrt(pairs untied in the row * pairs untied in the order)
    (Kendall 1945), as `scipy.stats.kendalltau` gives it, by comparing all pairs of columns
    for all rows together.

    Args:
        values: Shape (replicates, personas); NaN where a persona has no value, which leaves
            its pairs out.
        order: Shape (personas,); equal places are ties.

    Returns:
        Shape (replicates,), from -1 to 1; NaN where all of a row, or all of the order, is tied.
    """
    place = np.asarray(order, dtype=float)
    i, j = np.triu_indices(place.size, k=1)
    risen = np.sign(values[:, i] - values[:, j])
    expected = np.where(np.isnan(risen), 0.0, np.sign(place[i] - place[j]))
    risen = np.nan_to_num(risen)
    # signs squared are 1 for an untied pair and 0 for a tied one
    untied = (risen**2).sum(axis=1) * (expected**2).sum(axis=1)
    agreeing = (risen * expected).sum(axis=1)
    out = np.full(len(values), np.nan)
    return np.divide(agreeing, np.sqrt(untied), out=out, where=untied > 0)


def tau_interval(seen: Floats, drawn: Floats, order: ArrayLike, confidence: float) -> Interval:
    """Interval for tau-b of the expected accuracies, from bootstrap replicates of accuracies.

    Noise in the accuracies pulls tau towards 0, and redrawing questions pulls a second time.
    So the end nearer to 0 is the bootstrap's percentile, which lies too near to 0 if anything.
    The end away from 0 is the tau of the case in which every pair of personas that can't be
    told apart stands in the order that tau's sign says: pairs are told apart at `confidence`
    for all of them together (max-|t| over the replicates).

    `seen` has shape (personas,), `drawn` (replicates, personas).
    """
    place = np.asarray(order, dtype=float)
    tau = float(tau_b(seen[None], place)[0])
    sign = -1.0 if tau < 0 else 1.0
    near = percentile_interval(sign * tau_b(drawn, place), confidence)
    i, j = np.triu_indices(place.size, k=1)
    expected = np.sign(place[i] - place[j])
    gap, error = seen[i] - seen[j], drawn[:, i] - drawn[:, j] - (seen[i] - seen[j])
    spread = np.nanstd(error, axis=0)
    moves = spread > 0  # a pair that no replicate moves is taken as it is
    largest = np.nanmax(np.abs(error[:, moves]) / spread[moves], axis=1, initial=0.0)
    unclear = np.abs(gap) <= np.quantile(largest, confidence) * spread
    stands = np.where(unclear, sign * expected, np.sign(gap)) * expected
    far = sign * stands.sum() / np.sqrt(expected.size * (expected**2).sum())
    low, high = min(near.low, sign * tau), max(near.high, sign * tau, far)
    return Interval(low, high) if sign > 0 else Interval(-high, -low)
