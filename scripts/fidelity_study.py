"""How often do the intervals of fidelity hold the truth, and does the gate pass at its margin?

Prints tables that docs/metrics.md and docs/methods_and_gates.md have.

    python -m scripts.fidelity_study

Five evaluation tasks with 10 questions of each persona's own. A response's score is a latent normal
value, mean + persona effect (sd 0.5, the same for all tasks) + question effect (sd 0.8), rounded to
1 to 5.
"""

from __future__ import annotations

import argparse
import itertools
import warnings

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.scoring.fidelity_means import (
    Mean,
    over_personas,
    over_questions,
    score_interval,
)
from scripts.simulation import markdown

PERSONA_SD, QUESTION_SD, QUESTIONS = 0.5, 0.8, 10
MEANS = (3.5, 4.8)
MARGIN, CHANGE_SD = 0.2, 0.4
ENDS = np.array([1.5, 2.5, 3.5, 4.5])


def expected(mean: np.ndarray | float, sd: float) -> np.ndarray:
    """Mean of a normal value rounded to 1 to 5."""
    above = stats.norm.sf((ENDS - np.asarray(mean)[..., None]) / sd)
    return np.asarray(1 + above.sum(axis=-1))


def rounded(latent: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(latent), 1, 5)


def of_personas(mean: float, personas: int, tables: int, rng: np.random.Generator) -> list[float]:
    """Coverage and mean width of the interval over personas."""
    truth = float(expected(mean, float(np.hypot(PERSONA_SD, QUESTION_SD))))
    held, width = 0, 0.0
    for _ in range(tables):
        effect = rng.normal(0, PERSONA_SD, (personas, 1, 1))
        noise = rng.normal(0, QUESTION_SD, (personas, len(EVAL_TASKS), QUESTIONS))
        low, high = score_interval(
            over_personas(rounded(mean + effect + noise).mean(axis=2)), confidence=0.95
        )
        held += low <= truth <= high
        width += high - low
    return [held / tables, width / tables]


def of_one(mean: float, questions: int, tables: int, rng: np.random.Generator) -> list[float]:
    """Coverage and mean width of one persona's interval, given the persona."""
    effect = rng.normal(0, PERSONA_SD, tables)
    noise = rng.normal(0, QUESTION_SD, (tables, len(EVAL_TASKS), questions))
    scores = rounded(mean + effect[:, None, None] + noise)
    index = pd.MultiIndex.from_product(
        [range(tables), EVAL_TASKS, range(questions)], names=["persona", "eval_task", "question"]
    )
    found = over_questions(pd.DataFrame({"score": scores.ravel()}, index=index).reset_index())
    ends = [
        score_interval(Mean(*map(float, row)), confidence=0.95)
        for row in found[["value", "se", "df", "n"]].to_numpy()
    ]
    low, high = np.array(ends).T
    truth = expected(mean + effect, QUESTION_SD)
    return [float(((low <= truth) & (truth <= high)).mean()), float((high - low).mean())]


def at_the_margin(mean: float, personas: int, tables: int, rng: np.random.Generator) -> list[float]:
    """How often the gate passes, and fails, a checkpoint that is worse by just its margin of 0.2.

    A persona is played worse by its own amount, with sd 0.4 between personas. The gate's bounds are
    those of the paired t-interval over personas (`compare_fidelity`), each with half the level.
    """
    sd = float(np.hypot(PERSONA_SD, QUESTION_SD))
    wide = float(np.hypot(sd, CHANGE_SD))
    truth = float(expected(mean, sd)) - MARGIN
    lower = brentq(lambda m: float(expected(m, wide)) - truth, -5, 9)
    shape = tables, personas, 1
    effect, change = rng.normal(0, PERSONA_SD, shape), rng.normal(0, CHANGE_SD, shape)
    noise = rng.normal(0, QUESTION_SD, (2, tables, personas, len(EVAL_TASKS) * QUESTIONS))
    new, old = rounded(lower + effect + change + noise[0]), rounded(mean + effect + noise[1])
    own = (new - old).mean(axis=2)
    se = own.std(axis=1, ddof=1) / np.sqrt(personas) + 1e-12
    t, bound = (own.mean(axis=1) + MARGIN) / se, stats.t.isf(0.05 / 2, personas - 1)
    return [float((t > bound).mean()), float((t < -bound).mean())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=2000)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    sd = float(np.hypot(PERSONA_SD, QUESTION_SD))
    rows, gate = [], []
    for name, run, settings in (
        ("personas", of_personas, (3, 6, 16, 50)),
        ("questions per task of one persona", of_one, (2, 5, 10)),
    ):
        for setting, mean in itertools.product(settings, MEANS):
            coverage, width = run(mean, setting, args.tables, rng)
            row = {"interval over": f"{setting} {name}", "mean": float(expected(mean, sd))}
            rows.append({**row, "coverage": coverage, "width": width})
    for personas, mean in itertools.product((4, 6, 10, 16, 50), MEANS):
        passes, fails = at_the_margin(mean, personas, args.tables, rng)
        row = {"personas": personas, "mean": float(expected(mean, sd))}
        gate.append({**row, "passes": passes, "fails": fails})
    print(f"{markdown(pd.DataFrame(rows))}\n\nThe gate at a true loss of {MARGIN}:\n")
    print(markdown(pd.DataFrame(gate)))


if __name__ == "__main__":
    main()
