"""Means of scores with what they can vary by: over personas, and over a persona's questions."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from persona_bench.scoring.fidelity_table import HIGHEST, LOWEST
from persona_bench.scoring.resampling import (
    NOWHERE,
    Floats,
    Interval,
    influence_se,
    mean_interval,
)

NO_SPREAD = 1e-9
"""A standard error below this is rounding."""


class Mean(NamedTuple):
    """A mean with its standard error, degrees of freedom, and number of independent units."""

    value: float
    se: float
    df: float
    n: float


def weights(scores: Floats) -> Floats:
    """What each score of shape (personas, tasks) weighs in PersonaScore; 0 where it is NaN.

    One over the number of personas with a score on the task, over the number of such tasks.
    """
    known = ~np.isnan(scores)
    personas, tasks = known.sum(axis=0), max(1, int(known.any(axis=0).sum()))
    return np.asarray(known / np.maximum(personas, 1) / tasks, dtype=np.float64)


def over_personas(scores: Floats) -> Mean:
    """PersonaScore of scores of shape (personas, tasks), with personas as the sample.

    Personas are the independent units: a persona's questions are its own, and its tasks share
    what the model knows of it. The standard error is the cluster-robust one, from what each
    persona adds, sum over tasks of weight * (score - task score). Where all personas have all
    tasks this is exactly the standard deviation of the personas' own PersonaScores over the root of
    their number, so that the interval is the plain t-interval of these, df = personas - 1. A
    persona without a score on a task adds nothing there: it is left out of that task's mean alone.
    """
    n = int((~np.isnan(scores)).any(axis=1).sum())
    if not n:
        return Mean(math.nan, math.nan, math.nan, 0)
    weight, known = weights(scores), np.nan_to_num(scores)
    task = (weight * known).sum(axis=0) / np.where(weight.any(axis=0), weight.sum(axis=0), 1.0)
    adds = (weight * (known - task)).sum(axis=1)[weight.any(axis=1)]
    return Mean(float((weight * known).sum()), influence_se(adds), n - 1, n)


def over_questions(responses: pd.DataFrame) -> pd.DataFrame:
    """Each persona's PersonaScore with its questions as the sample, drawn within each task.

    The mean over tasks of task means; its variance is the sum of the tasks' own, each clustered
    by question with G/(G-1) for G questions, over the number of tasks squared. Degrees of freedom
    after Satterthwaite (1946): (sum of v)^2 / sum of v^2 / (G-1). Tasks are not pooled: scores
    vary far less on some of them (toxicity) than on others.

    Returns:
        value, se, df, n (questions), indexed by persona; se is NaN where a task has one question.
    """
    scored = responses.dropna(subset=["score"])
    cell = scored.groupby(["persona", "eval_task"])["score"]
    pull = (scored["score"] - cell.transform("mean")) / cell.transform("size")
    keys = [scored[name] for name in ("persona", "eval_task", "question")]
    squares = pull.groupby(keys).sum().pow(2).groupby(level=["persona", "eval_task"])
    size = squares.size()
    free = (size - 1).where(size > 1)
    variance = squares.sum() * size / free
    parts = pd.DataFrame({"mean": cell.mean(), "v": variance, "v2": variance**2 / free, "n": size})
    by = parts.groupby(level="persona")
    tasks = by.size()
    # a sum with a NaN in it is NaN: then nothing is known of one of the tasks
    v, v2 = (by[name].sum(min_count=1).where(by[name].count() == tasks) for name in ("v", "v2"))
    return pd.DataFrame(
        {
            "value": by["mean"].mean(),
            "se": np.sqrt(v) / tasks,
            "df": v**2 / v2.where(v2 > 0),
            "n": by["n"].sum(),
        }
    )


def t_interval(estimate: Mean, confidence: float, lowest: float, highest: float) -> Interval:
    """Student's t, within `lowest` and `highest`; NaN with fewer than two independent units."""
    value, se, df, n = estimate
    if n < 2 or math.isnan(se):
        return NOWHERE
    half = 0.0 if se < NO_SPREAD else float(student_t.ppf((1 + confidence) / 2, df)) * se
    return Interval(max(lowest, value - half), min(highest, value + half))


def score_interval(estimate: Mean, confidence: float, *, lowest: float = LOWEST) -> Interval:
    """`t_interval` of a score; where nothing varies, and t would have no width, Wilson's.

    Then the score's place between the ends is taken as a share of n independent units: no
    bounded score varies more, so this errs to the wide side (5.0 throughout with 10 personas:
    3.9 to 5).
    """
    if estimate.n < 2 or not estimate.se < NO_SPREAD:
        return t_interval(estimate, confidence, lowest, HIGHEST)
    width = HIGHEST - lowest
    share = min(1.0, max(0.0, (estimate.value - lowest) / width))
    low, high = mean_interval(share, 0.0, int(estimate.n), confidence)
    return Interval(lowest + width * low, lowest + width * high)
