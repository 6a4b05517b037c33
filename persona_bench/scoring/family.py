"""PSS and its family: every metric, what it is in a line, and how it comes from counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.resampling import Floats, worst_over_best

DEFINITIONS: dict[str, str] = {
    "pss": "worst / best accuracy over personas; 1 is perfectly stable, 0 where the best is 0",
    "pss_mean": "mean / best accuracy over personas; 0 where the best is 0",
    "pss_cv": "1 - sd / mean of the accuracies over personas; 0 where the mean is 0, can be < 0",
    "agreement": "chance that two personas, one sample each, get the same verdict on a question; "
    "undefined for scores",
    "answer_agreement": "chance that two personas, one sample each, give the same answer to a "
    "question, right or wrong; no answer agrees with none",
    "answer_agreement_self": "the same for two samples of one persona: what sampling alone leaves",
    "solid": "questions solved under every persona / solved under any; "
    "solved: more than half of the scored samples are correct; undefined for scores",
    "mean": "mean over personas of accuracy, correct / (correct + wrong), or of the mean score",
    "worst": "lowest accuracy of a persona",
    "best": "highest accuracy of a persona",
    "spread": "best - worst accuracy over personas",
    "sd": "standard deviation of the accuracies over these personas (divisor: their number)",
    "mean_se": "standard error of the mean accuracy, clustered by question, personas fixed",
    "noise_floor": "mean PSS if personas had no effect: "
    "verdicts exchanged among personas within each question",
    "p_value": "chance of a PSS this low or lower if personas had no effect",
    "pss_corrected": "worst / best of the accuracies expected on questions like these, without the "
    "noise of sampling and of single questions; median and interval of a hierarchical model",
    "pss_corrected_asked": "the same on the questions asked; needs two samples per cell",
    "probability_unstable": "posterior probability that the ratio of expected accuracies is below "
    "the threshold of `stable`",
    "persona_sd": "standard deviation over these personas of their expected accuracies, without "
    "the noise",
    "persona_sd_logit": "standard deviation over these personas of their effects in log-odds, "
    "without the noise",
    "worst_minus_control": "lowest expected accuracy of a persona - that of the control",
    "worst_minus_best": "lowest - highest expected accuracy of a persona, without the noise",
    "worst_odds_ratio": "log-odds ratio of the lowest to the highest expected accuracy",
    "minimum_detectable": "highest PSS below 1 that this design tells from no effect with 80% "
    "power, one persona being worse than the rest; 0: none",
    "mean_if_unscored": "mean accuracy with all that is unscored wrong, and with all of it right",
    "pss_if_unscored": "PSS with all that is unscored wrong, and with all of it right",
    "pss_bounds": "lowest and highest PSS over every way the unscored could have come out",
}

METRICS = (
    "pss", "pss_mean", "pss_cv", "agreement", "solid", "mean", "worst", "best", "spread", "sd",
)  # fmt: skip
"""The metrics with an interval, in the order of the columns of `metrics_of`."""


def totals_of(cells: Cells) -> Floats:
    """What each question adds to the sums that all metrics are functions of.

    Columns: correct per persona, scored per persona, agreeing pairs of personas, pairs of
    personas, solved under every persona, solved under any.
    """
    there = cells.scored > 0
    share = np.divide(cells.correct, cells.scored, out=np.zeros(there.shape), where=there)
    n, ones, squares = there.sum(axis=1), share.sum(axis=1), (share**2).sum(axis=1)
    zeros = n - ones
    zero_squares = n - 2 * ones + squares
    # over pairs: sum_{p<q} x_p x_q = ((sum x)^2 - sum x^2) / 2, for right and for wrong
    agreeing = (ones**2 - squares + zeros**2 - zero_squares) / 2
    solved = 2 * cells.correct > cells.scored
    every = (solved | ~there).all(axis=1) & there.any(axis=1)
    rest = np.stack([agreeing, n * (n - 1) / 2, every, solved.any(axis=1)], axis=1)
    if not cells.has_verdicts:  # of scores, nothing agrees and nothing is solved
        rest = np.full(rest.shape, np.nan)
    return np.concatenate([cells.correct, cells.scored, rest], axis=1, dtype=np.float64)


def accuracies(sums: Floats) -> Floats:
    """Accuracy per persona from column sums of `totals_of`; NaN where nothing is scored."""
    personas = (sums.shape[-1] - 4) // 2
    with np.errstate(invalid="ignore"):
        return sums[..., :personas] / sums[..., personas : 2 * personas]


def metrics_of(sums: Floats) -> Floats:
    """`METRICS` in shape (replicates, metrics) from sums in shape (replicates, columns)."""
    accuracy = accuracies(sums)
    agreeing, pairs, every, some = sums[:, -4:].T
    worst, best = np.fmin.reduce(accuracy, axis=1), np.fmax.reduce(accuracy, axis=1)
    known = ~np.isnan(accuracy)
    n = known.sum(axis=1)
    mean = _ratio(np.where(known, accuracy, 0.0).sum(axis=1), n, empty=np.nan)
    mean = np.clip(mean, worst, best)  # of equal accuracies it may miss them by a rounding
    deviation = np.where(known, accuracy - mean[:, None], 0.0)
    sd = np.sqrt(_ratio((deviation**2).sum(axis=1), n, empty=np.nan))
    nothing = np.where(n > 0, 0.0, np.nan)
    values = {
        "pss": worst_over_best(accuracy),
        "pss_mean": _ratio(mean, best, empty=nothing),
        "pss_cv": _ratio(mean - sd, mean, empty=nothing),
        "agreement": _ratio(agreeing, pairs, empty=np.nan),
        "solid": _ratio(every, some, empty=np.where(np.isnan(some), np.nan, nothing)),
        "mean": mean,
        "worst": worst,
        "best": best,
        "spread": best - worst,
        "sd": sd,
    }
    return np.stack([values[name] for name in METRICS], axis=1)


def _ratio(top: Floats, bottom: Any, *, empty: Any) -> Floats:
    """top / bottom, and `empty` where the bottom is not above 0."""
    out = np.broadcast_to(np.asarray(empty, dtype=float), top.shape).copy()
    return np.divide(top, bottom, out=out, where=bottom > 0)
