"""Simulated judges and raters whose truth is known; docs/fidelity.md has 1,000 runs of each.

Five evaluation tasks with 10 questions of each persona's own. A response's quality is a latent
normal value: 3.5 + persona (sd 0.5) + question (sd 0.8); two raters each see it with an error (sd
0.5) and round to 1 to 5. A judge sees it with an error (sd 0.4), is 0.5 points kinder, likes some
personas (sd 0.3, whatever they say), and gives a stated share of its scores at random. The truth is
what raters say on average over personas and questions like these.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.scoring.ratings import CorrectedFidelity, corrected_fidelity
from scripts.fidelity_study import expected, rounded

MEAN, PERSONA_SD, QUESTION_SD, RATER_SD = 3.5, 0.5, 0.8, 0.5
QUESTIONS, RATERS = 10, 2
JUDGE_SD, KINDER, LIKES_SD = 0.4, 0.5, 0.3
TRUTH = float(expected(MEAN, float(np.sqrt(PERSONA_SD**2 + QUESTION_SD**2 + RATER_SD**2))))


def table(personas: int, errs: float, rated: int, rng: np.random.Generator) -> pd.DataFrame:
    """Responses as `corrected_fidelity` takes them, with so many rated ones.

    Args:
        personas: Number of personas.
        errs: Share of the judge's scores that are random.
        rated: Number of rated responses.
        rng: Source of randomness.
    """
    shape = (personas, len(EVAL_TASKS), QUESTIONS)
    quality = MEAN + rng.normal(0, PERSONA_SD, (personas, 1, 1)) + rng.normal(0, QUESTION_SD, shape)
    likes = rng.normal(0, LIKES_SD, (personas, 1, 1))
    score = rounded(quality + KINDER + likes + rng.normal(0, JUDGE_SD, shape))
    at_random = rng.random(shape) < errs
    score = np.where(at_random, rng.integers(1, 6, shape), score)
    raters = [rounded(quality + rng.normal(0, RATER_SD, shape)) for _ in range(RATERS)]
    index = pd.MultiIndex.from_product(
        [range(personas), EVAL_TASKS, range(QUESTIONS)], names=["persona", "eval_task", "question"]
    )
    made = pd.DataFrame({"score": score.ravel()}, index=index).reset_index()
    rating = np.mean(raters, axis=0).ravel()
    chosen = rng.permutation(len(made))[:rated]
    made["rating"] = np.nan
    made.loc[chosen, "rating"] = rating[chosen]
    return made.assign(by_rule=False, sample=0)


def study(
    personas: int, errs: float, rated: int, tables: int, rng: np.random.Generator
) -> dict[str, float]:
    """Coverage and mean width of the three intervals over many tables."""
    found: list[CorrectedFidelity] = [
        corrected_fidelity(table(personas, errs, rated, rng)) for _ in range(tables)
    ]
    out: dict[str, float] = {}
    for name in ("interval", "judged_interval", "rated_interval"):
        ends = np.array([getattr(each, name) for each in found])
        out[f"{name}_covers"] = float(((ends[:, 0] <= TRUTH) & (ends[:, 1] >= TRUTH)).mean())
        out[f"{name}_width"] = float((ends[:, 1] - ends[:, 0]).mean())
    return out
