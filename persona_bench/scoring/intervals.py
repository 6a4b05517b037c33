"""Intervals of the metrics; docs/metrics.md has the coverage that was measured."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.estimate import NOWHERE, UNKNOWN, Estimate
from persona_bench.scoring.family import METRICS, accuracies, metrics_of, totals_of
from persona_bench.scoring.resampling import (
    Counts,
    Floats,
    Interval,
    bootstrap,
    influence_se,
    mean_interval,
    wilson,
)

EXTREMES = ("pss", "pss_mean", "pss_cv", "worst", "best", "spread", "sd")
"""Metrics that noise pushes one way, in the order of the columns of `_noise`."""


def with_intervals(
    cells: Cells,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
    strata: Counts | None = None,
) -> dict[str, Estimate]:
    """Each metric with its interval, keyed as in `Stability`.

    `strata` has a code for each question with something scored (see `strata.merged`).
    """
    cells = cells.scored_only()
    if not cells.personas:
        return dict.fromkeys(METRICS, UNKNOWN)
    totals = totals_of(cells)
    sums = totals.sum(axis=0, keepdims=True)
    values = dict(zip(METRICS, metrics_of(sums)[0].tolist(), strict=True))
    replicates = bootstrap(
        totals, lambda s: np.hstack([metrics_of(s), _noise(s, sums)]), resamples, rng, strata=strata
    )
    intervals = _extreme_intervals(values, sums[0], replicates, confidence)
    intervals |= _mean_intervals(values, cells, totals, confidence, strata)
    if len(cells.personas) == 1:  # nothing to compare: these are what they are by definition
        intervals |= {m: Interval(values[m], values[m]) for m in ("pss", "pss_mean", "pss_cv")}
    return {name: Estimate(value, *intervals[name]) for name, value in values.items()}


def _log_accuracies(sums: Floats) -> Floats:
    """Log accuracy per persona; half a response added to both verdicts keeps it finite."""
    personas = (sums.shape[-1] - 4) // 2
    right, n = sums[..., :personas], sums[..., personas : 2 * personas]
    return np.log((right + 0.5) / (n + 1))


def _over_mean(logs: Floats) -> Floats:
    return logs - np.log(np.exp(logs).mean(axis=1, keepdims=True))


def _noise(sums: Floats, observed: Floats) -> Floats:
    """How large each of `EXTREMES` is in the noise alone: in replicate minus observed.

    Shape (replicates, 7). For the ratios to the best, on the log scale.
    """
    error = accuracies(sums) - accuracies(observed)
    error = np.nan_to_num(error)  # a persona that this replicate did not draw
    logs, observed_logs = _log_accuracies(sums), _log_accuracies(observed)
    accuracy = np.nan_to_num(accuracies(sums))
    mean = accuracy.mean(axis=1, keepdims=True)
    relative = np.divide(accuracy, mean, out=np.ones_like(accuracy), where=mean > 0)
    base = accuracies(observed)
    relative_error = relative - (base / base.mean() if base.any() else 1.0)
    columns = {
        "pss": np.ptp(logs - observed_logs, axis=1),
        "pss_mean": (_over_mean(logs) - _over_mean(observed_logs)).max(axis=1),
        "pss_cv": relative_error.std(axis=1),
        "worst": (-error).max(axis=1),
        "best": error.max(axis=1),
        "spread": np.ptp(error, axis=1),
        "sd": error.std(axis=1),
    }
    return np.stack([columns[name] for name in EXTREMES], axis=1)


def _extreme_intervals(
    values: dict[str, float], sums: Floats, replicates: Floats, confidence: float
) -> dict[str, Interval]:
    """Intervals for metrics that noise pushes one way: best up, worst and PSS down.

    Towards more difference between personas: the percentile of the bootstrap, which noise
    has pushed that way twice. Towards less: spread, sd, max and -min are sublinear,
    f(truth) >= f(seen) - f(noise), so the estimate less the upper percentile of f(noise),
    on the log scale for ratios. Each end holds by itself, hence coverage is at least
    `confidence` up to the error of the bootstrap; docs/metrics.md has what was measured.
    """
    tail = (1 - confidence) / 2
    drawn, noise = np.split(replicates, [len(METRICS)], axis=1)
    low, high = (
        {m: np.nanquantile(drawn[:, METRICS.index(m)], q) for m in EXTREMES}
        for q in (tail, 1 - tail)
    )
    # range and sd are the same for noise and -noise, so one tail holds both of its signs
    both = dict(zip(EXTREMES, np.quantile(noise, confidence, axis=0), strict=True))
    one = dict(zip(EXTREMES, np.quantile(noise, 1 - tail, axis=0), strict=True))
    logs = _log_accuracies(sums[None, :])
    above = {
        "pss": np.exp(both["pss"] - np.ptp(logs)),
        "pss_mean": np.exp(one["pss_mean"] - _over_mean(logs).max()),
        "pss_cv": values["pss_cv"] + both["pss_cv"],
        "worst": values["worst"] + one["worst"],
    }
    below = {
        "best": values["best"] - one["best"],
        "spread": values["spread"] - both["spread"],
        "sd": values["sd"] - both["sd"],
    }
    out = {m: (min(low[m], values[m]), min(1.0, max(v, values[m]))) for m, v in above.items()}
    out |= {m: (max(0.0, v), max(high[m], values[m])) for m, v in below.items()}
    return {m: Interval(float(a), float(b)) for m, (a, b) in out.items()}


def _mean_intervals(
    values: dict[str, float],
    cells: Cells,
    totals: Floats,
    confidence: float,
    strata: Counts | None,
) -> dict[str, Interval]:
    """Intervals for the metrics that are means of shares over questions."""
    n = len(cells.questions)
    se = influence_se(cells.influence.sum(axis=1), strata)
    if not cells.has_verdicts:
        mean = mean_interval(values["mean"], se * _few(n, confidence), n, confidence)
        return {"mean": mean, "agreement": NOWHERE, "solid": NOWHERE}
    agreeing, pairs, _, some = totals[:, -4:].T
    solved, compared = int(some.sum()), int((pairs > 0).sum())
    pull = (agreeing - values["agreement"] * pairs) / pairs.sum() if compared else agreeing
    pull_se = influence_se(pull, strata)
    return {
        "mean": mean_interval(values["mean"], se, n, confidence),
        "agreement": mean_interval(values["agreement"], pull_se, compared, confidence),
        # given how many questions are solved at all, a plain share of them
        "solid": mean_interval(values["solid"], 0.0, solved, confidence),
    }


def accuracy_intervals(cells: Cells, confidence: float) -> tuple[Floats, Floats]:
    """Wilson intervals of the accuracies, on the number of independent responses.

    Samples of one question are alike: the clustered variance over the binomial one says by
    how much (the design effect), and n is divided by it (Kish 1965). The larger of the
    persona's own and the one pooled over personas is taken: at 0 or n of n, where a
    persona's own can't be seen, the pooled one still can. It lies between 1 and the number
    of samples a question, so that with one sample this is Wilson's own interval. Scores vary less
    than verdicts, so that for them it may lie below 1; their spread is estimated, which Student's
    quantile allows for.
    """
    n, accuracy = cells.scored.sum(axis=0), cells.accuracy
    n_personas = max(1, int((n > 0).sum()))
    questions = max(2, len(cells.questions))
    clustered = (cells.influence**2).sum(axis=0) * n_personas**2 * questions / (questions - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        binomial = accuracy * (1 - accuracy) / n
        own = clustered / binomial
        pooled = np.nansum(clustered) / np.nansum(binomial)
        most = (cells.scored**2).sum(axis=0) / n
        least = 1.0
        if not cells.has_verdicts:
            least, wider = 0.0, _few(questions, confidence) ** 2
            own, pooled = own * wider, pooled * wider
        effect = np.clip(np.fmax(own, pooled), least, np.fmax(most, 1))
        # nothing varies anywhere: the samples of a question may all be one and the same
        effect = np.where(np.isnan(effect), most, effect)
        low, high = wilson(accuracy, n / effect, confidence)
    return low, high


def _few(n: int, confidence: float) -> float:
    """How much wider an interval is whose standard error is estimated from n questions."""
    if n < 2:
        return 1.0
    at = (1 + confidence) / 2
    return float(student.ppf(at, n - 1) / norm.ppf(at))
