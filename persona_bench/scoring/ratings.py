"""Judges held against people: do raters agree, does the judge agree with them, what does it cost?

`against_raters` compares one judge's scores with people's on the same responses.
`corrected_fidelity` estimates the PersonaScore that the raters would give to *all* responses, from
few ratings and many verdicts: prediction-powered inference (Angelopoulos et al. 2023,
arXiv 2301.09633), with the slope of PPI++ (arXiv 2311.01453) and clustered by persona, as the
interval of fidelity is. Formulas are in docs/metrics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.scoring.audit import agreement, alpha
from persona_bench.scoring.estimate import UNKNOWN, Result
from persona_bench.scoring.fidelity_means import (
    Mean,
    over_personas,
    score_interval,
    t_interval,
)
from persona_bench.scoring.fidelity_table import HIGHEST, LOWEST, RESPONSE, by_persona
from persona_bench.scoring.resampling import NOWHERE, Floats, Interval, influence_se

FEWEST = 10
"""Rated responses below which fidelity is not corrected: a slope and a spread need some."""


@dataclass(frozen=True)
class CorrectedFidelity(Result):
    """PersonaScore as the raters would give it to all responses; scores are 1 to 5.

    Attributes:
        persona_score, interval: The corrected estimate; Student's t, clustered by persona.
        judged, judged_interval: By the judges alone, on the same responses.
        rated, rated_interval: By the ratings alone.
        slope: How much of the judges' differences between responses the ratings confirm: 1 where
            a point of theirs is a point of the raters', 0 where it is noise (then the ratings
            alone count).
        n_rated, n_responses: Responses with a rating, and all of them.
        n_personas: Personas with a rated response.
        to_halve: Number of rated responses that would halve the interval; None if none would,
            because the rest of its width lies in the number of personas.
        confidence: Level of the intervals.
    """

    persona_score: float
    interval: Interval
    judged: float
    judged_interval: Interval
    rated: float
    rated_interval: Interval
    slope: float
    n_rated: int
    n_responses: int
    n_personas: int
    to_halve: int | None
    confidence: float


@dataclass(frozen=True, eq=False)
class CorrectedVoice(Result):
    """The rates of one model and task as the raters would find them over all responses.

    Attributes:
        rates: One row for `in_voice` and one for `in_character`: rate; value, low, high
            (corrected); judged, judged_low, judged_high (by the judges alone); rated, rated_low,
            rated_high (by the ratings alone); slope (1: what judges call in voice the raters do
            too; 0: judges are noise, and the ratings count alone).
        n_rated, n_judged, n: Responses with a rating, with a judge's score, and all that have text.
        confidence: Level of the intervals.
    """

    rates: pd.DataFrame
    n_rated: int
    n_judged: int
    n: int
    confidence: float


@dataclass(frozen=True)
class AgainstRaters(Result):
    """One judge and the mean of the raters on the same responses.

    Attributes:
        judge: Its name.
        n: Responses that both scored.
        same, within_one: Shares of responses where the judge is less than half a point, and at
            most one point, away from the raters' mean.
        alpha: Krippendorff's between the judge and the raters' mean, interval data.
        bias, interval: Mean of the judge's score less the raters'; t, clustered by persona.
        by_model, by_persona: model (or persona), n, bias, low, high, p_holm: the same for each.
    """

    judge: str
    n: int
    same: float
    within_one: float
    alpha: float
    bias: float
    interval: Interval
    by_model: pd.DataFrame
    by_persona: pd.DataFrame


# ------------------------------------------------------------------------------- the correction
def corrected_fidelity(responses: pd.DataFrame, *, confidence: float = 0.95) -> CorrectedFidelity:
    """Corrects fidelity for the judges' error, from ratings of a random part of the responses.

    The estimate is the judges' PersonaScore, shrunk by `slope`, plus what raters give more or less
    than that, on average over the rated responses. Whatever the judge, it is unbiased for what the
    raters would say; a good judge makes it precise. A response that no judge scored takes the mean
    score of its task as its prediction, which keeps it unbiased.

    Args:
        responses: One row per response that exists, of one model and task: persona, eval_task,
            score (the mean over judges; NaN if unscored), rating (the mean over raters; NaN if not
            rated) and by_rule (true for responses without text, whose score is a rule's).
        confidence: Level of the intervals.

    Raises:
        ValueError: fewer than `FEWEST` responses are rated.
    """
    rating = responses["rating"].to_numpy(float)
    rule = responses["by_rule"].to_numpy(bool)
    rated = ~np.isnan(rating) & ~rule
    n, personas = int(rated.sum()), responses["persona"].to_numpy()
    if n < FEWEST:
        raise ValueError(f"{n} responses are rated, but correcting fidelity takes {FEWEST}")
    judged = over_personas(by_persona(responses).to_numpy())
    predicted = _predictions(responses)
    slope = _slope(rating[rated], predicted[rated])
    weight = _weights(responses)
    known = np.where(rule, predicted, slope * predicted)
    # the correction is the mean residual of the rated, times the weight of all with text
    rest = np.where(rated, rating - slope * predicted, 0.0)
    pull = np.where(rated, weight, 0.0) * weight[~rule].sum() / weight[rated].sum()
    correction = float((pull * rest).sum())
    value = float((weight * known).sum()) + correction
    mean = correction / float(weight[~rule].sum())
    scale = math.sqrt((n - 1) / (n - 2))  # one more degree of freedom went into the slope
    influence = weight * (known - _task_means(responses, weight, known)) + scale * pull * (
        rest - mean
    )
    clusters = pd.Series(influence).groupby(personas).sum().to_numpy()
    of_rated = len(set(personas[rated]))
    estimate = Mean(value, influence_se(clusters), of_rated - 1, of_rated)
    of_people = _by_ratings(responses[rated], rating[rated], weight[rated])
    return CorrectedFidelity(
        persona_score=value,
        interval=t_interval(estimate, confidence, LOWEST, HIGHEST),
        judged=judged.value,
        judged_interval=score_interval(judged, confidence),
        rated=of_people.value,
        rated_interval=t_interval(of_people, confidence, LOWEST, HIGHEST),
        slope=slope,
        n_rated=n,
        n_responses=len(responses),
        n_personas=of_rated,
        to_halve=_to_halve(estimate.se, rest[rated], personas[rated], int((~rule).sum())),
        confidence=confidence,
    )


def _predictions(responses: pd.DataFrame) -> Floats:
    """The judges' scores; where there is none the mean of the task, or of all."""
    score = responses["score"]
    of_task = score.groupby(responses["eval_task"]).transform("mean")
    middle = (LOWEST + HIGHEST) / 2
    return score.fillna(of_task).fillna(score.mean()).fillna(middle).to_numpy(float)


def _slope(rating: Floats, predicted: Floats) -> float:
    """Least-squares slope of ratings on verdicts: the lambda of PPI++ that makes variance least.

    It is the `lambda` of predictions that are averaged over all responses, the rated included.
    """
    about = predicted - predicted.mean()
    square = float((about**2).sum())
    return float((about * rating).sum() / square) if square > 0 else 0.0


def _weights(responses: pd.DataFrame) -> Floats:
    """What each response weighs in PersonaScore; they add up to 1."""
    cell = responses.groupby(["persona", "eval_task"])["persona"].transform("size")
    personas = responses.groupby("eval_task")["persona"].transform("nunique")
    return (1.0 / (cell * personas * responses["eval_task"].nunique())).to_numpy(float)


def _task_means(responses: pd.DataFrame, weight: Floats, values: Floats) -> Floats:
    """Each response's weighted mean of the values of its evaluation task."""
    tasks = responses["eval_task"].to_numpy()
    frame = pd.DataFrame({"top": weight * values, "bottom": weight})
    sums = frame.groupby(tasks)[["top", "bottom"]].transform("sum")
    return (sums["top"] / sums["bottom"]).to_numpy(float)


def _by_ratings(responses: pd.DataFrame, rating: Floats, weight: Floats) -> Mean:
    """The weighted mean of the ratings alone."""
    share = weight / weight.sum()
    value = float((share * rating).sum())
    pulls = pd.Series(share * (rating - value)).groupby(responses["persona"].to_numpy()).sum()
    return Mean(value, influence_se(pulls.to_numpy()), len(pulls) - 1, len(pulls))


def _to_halve(se: float, rest: Floats, personas: Any, size: int) -> int | None:
    """Rated responses at which the standard error would be half; None if it can't get there.

    se^2 = a + b (1/n - 1/N) with b the variance of residuals within personas: more ratings of the
    same personas lower that part alone.
    """
    groups = pd.Series(rest).groupby(personas)
    several = groups.transform("size") > 1
    degrees = int(several.sum()) - int((groups.size() > 1).sum())
    squares = float(((rest - groups.transform("mean")) ** 2)[several].sum())
    within = squares / degrees if degrees > 0 else float(np.var(rest, ddof=1))
    n = len(rest)
    fixed = max(0.0, se**2 - within * (1 / n - 1 / size))
    if within <= 0 or not fixed < se**2 / 4:
        return None
    wanted = math.ceil(1 / ((se**2 / 4 - fixed) / within + 1 / size))
    return wanted if n < wanted <= size else None


# ------------------------------------------------------------------------------- the comparison
def against_raters(rows: pd.DataFrame, judge: str, *, confidence: float = 0.95) -> AgainstRaters:
    """Holds one judge against the raters.

    Args:
        rows: One row per response that both scored: model, persona, score (the judge's), rating
            (the raters' mean).
        judge: Its name.
        confidence: Level of the intervals.
    """
    rows = rows.dropna(subset=["score", "rating"]).reset_index(drop=True)
    off = rows["score"] - rows["rating"]
    whole = _mean_off(off, rows["persona"])
    return AgainstRaters(
        judge=judge,
        n=len(rows),
        same=float((off.abs() < 0.5).mean()),
        within_one=float((off.abs() <= 1).mean()),
        alpha=alpha(rows[["score", "rating"]].to_numpy(float).T) if len(rows) else math.nan,
        bias=whole.value,
        interval=_ends(whole, confidence),
        by_model=_biases(rows, off, "model", rows["persona"], confidence),
        by_persona=_biases(rows, off, "persona", pd.Series(rows.index), confidence),
    )


def _mean_off(off: pd.Series, clusters: pd.Series) -> Mean:
    """Mean of differences and its standard error, clustered."""
    if off.empty:
        return Mean(math.nan, math.nan, math.nan, 0)
    pulls = ((off - off.mean()) / len(off)).groupby(clusters.to_numpy()).sum().to_numpy()
    return Mean(float(off.mean()), influence_se(pulls), len(pulls) - 1, len(pulls))


def _ends(estimate: Mean, confidence: float) -> Interval:
    if estimate.n < 2:
        return NOWHERE
    return t_interval(estimate, confidence, LOWEST - HIGHEST, HIGHEST - LOWEST)


def _biases(
    rows: pd.DataFrame, off: pd.Series, by: str, clusters: pd.Series, confidence: float
) -> pd.DataFrame:
    """Bias within each group, with p-values that are corrected for the number of groups."""
    found = []
    for name, chosen in rows.groupby(by).indices.items():
        estimate = _mean_off(off.iloc[chosen], clusters.iloc[chosen])
        low, high = _ends(estimate, confidence)
        t = estimate.value / estimate.se if estimate.se and estimate.se > 0 else math.nan
        p = 2 * float(stats.t.sf(abs(t), estimate.df)) if not math.isnan(t) else math.nan
        row = {by: name, "n": len(chosen), "bias": estimate.value, "low": low, "high": high}
        found.append({**row, "p": p})
    table = pd.DataFrame(found, columns=[by, "n", "bias", "low", "high", "p"])
    known = table["p"].notna()
    table["p_holm"] = math.nan
    if known.any():
        table.loc[known, "p_holm"] = multipletests(table.loc[known, "p"], method="holm")[1]
    return table.drop(columns="p")


def rated_responses(judged: pd.DataFrame, ratings: pd.DataFrame) -> pd.DataFrame:
    """The responses of one model and task, with the judges' mean score and the raters'.

    Args:
        judged: The judged table of one model and task (`read_judged`).
        ratings: One row per rater and response, with the columns of `RESPONSE` and rating.

    Returns:
        The table that `corrected_fidelity` takes; a response that was never given (`api_error`)
        is not in it.
    """
    rows = judged[judged["reason"] != "api_error"]
    found = rows.groupby(RESPONSE, as_index=False).agg(
        score=("score", "mean"), reason=("reason", "first"), response=("response", "first")
    )
    found["by_rule"] = found["response"].fillna("").astype(str).str.strip() == ""
    means = ratings.groupby(RESPONSE, as_index=False)["rating"].mean()
    return found.drop(columns=["reason", "response"]).merge(means, on=RESPONSE, how="left")


# ------------------------------------------------------------------------------- all of it
@dataclass(frozen=True)
class HeldAgainstRaters(Result):
    """What people's ratings say about raters, judges and fidelity.

    Attributes:
        raters: How many responses each rater scored, by name.
        n: Responses with a rating.
        alpha, interval: Krippendorff's between raters, interval data; NaN with one rater. The
            interval is a bootstrap over personas.
        judges: Each judge against the raters' mean.
        corrected: Fidelity corrected for the judges' error; None where too few are rated, the
            table holds several models or tasks, or what is judged is the voice of graded responses.
    """

    raters: dict[str, int]
    n: int
    alpha: float
    interval: Interval
    judges: list[AgainstRaters]
    corrected: CorrectedFidelity | None


def hold_against_raters(
    judged: pd.DataFrame, ratings: pd.DataFrame, *, confidence: float = 0.95, seed: int = 0
) -> HeldAgainstRaters:
    """Compares raters with each other and with the judges, and corrects fidelity by them.

    Args:
        judged: The judged table (`read_judged`).
        ratings: One row per rater and response of it: model, task, the columns of `RESPONSE`,
            rater and rating.
        confidence: Level of the intervals.
        seed: Seed of the bootstrap of alpha.
    """
    keys = ["model", "task", *RESPONSE]
    wide = ratings.pivot(index=keys, columns="rater", values="rating").reset_index()
    between = UNKNOWN
    if ratings["rater"].nunique() > 1:
        chosen = wide[["persona", *sorted(ratings["rater"].unique())]]
        between = agreement(chosen, confidence=confidence, seed=seed)
    means = ratings.groupby(keys, as_index=False)["rating"].mean()
    compared = [
        against_raters(rows.merge(means, on=keys), str(judge), confidence=confidence)
        for judge, rows in judged.groupby("judge")
    ]
    corrected = None
    one_run = len(judged[["model", "task"]].drop_duplicates()) == 1
    if one_run and len(means) >= FEWEST and judged["eval_task"].isin(EVAL_TASKS).all():
        corrected = corrected_fidelity(rated_responses(judged, ratings), confidence=confidence)
    counts = ratings.groupby("rater").size().sort_index()
    return HeldAgainstRaters(
        raters={str(name): int(n) for name, n in counts.items()},
        n=len(means),
        alpha=between.value,
        interval=between.interval,
        judges=compared,
        corrected=corrected,
    )
