"""Accuracy and stability by kind of persona, by level of difficulty, and by subject.

`scores_by_group(outcomes)` gives them for the outcomes of one model on one task.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.frames import check_settings, labels
from persona_bench.scoring.resampling import (
    NOWHERE,
    influence_se,
    mean_interval,
    null_pss,
    p_value,
    percentile_interval,
    worst_over_best,
)

COLUMNS = (
    "by", "group", "accuracy", "low", "high", "pss", "noise_floor", "noise_floor_low",
    "noise_floor_high", "p_value", "spread", "worst", "best", "n_personas", "n_questions", "n",
)  # fmt: skip


def scores_by_group(
    outcomes: pd.DataFrame, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The table of groups of one model on one benchmark, as `group_table` describes it.

    Args:
        outcomes: As for `stability`; kind, level and subject are used if the table has them.
        confidence: Level of the intervals and of the noise floor's band.
        resamples: Number of exchanges behind each noise floor.
        seed: Seed of the exchanges.

    Raises:
        ValueError: as `stability` does.
    """
    check_settings(confidence, resamples)
    table = check(outcomes)
    cells = Cells.count(table).scored_only()
    kinds = np.array(labels(table, "persona", "kind", cells.personas), dtype=object)
    _, seeds = np.random.SeedSequence(seed).spawn(2)  # the first is of the variance parts
    return group_table(table, cells, kinds, confidence, resamples, np.random.default_rng(seeds))


def group_table(
    table: pd.DataFrame,
    cells: Cells,
    kinds: Any,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row per group, with the columns `COLUMNS`; empty if nothing is grouped.

    by, group ("kind", "expert"), accuracy (mean over the group's personas) with its interval
    clustered by question, the PSS of the group's personas on the group's questions with its
    noise floor, band and p-value, spread, worst and best accuracy, and n, the scored
    responses. `kinds` has a label for each of `cells.personas`. Groups are in the order of
    their names, numbers as numbers; a single group with no name is left out, and a group
    with one persona has no noise floor.
    """
    rows = []
    for name in _groups(kinds):
        group = cells.only(personas=kinds == name)
        rows.append({"by": "kind", "group": name, **_row(group, confidence, resamples, rng)})
    for by in ("level", "subject"):
        given = np.array(labels(table, "question", by, cells.questions), dtype=object)
        for name in _groups(given):
            group = cells.only(questions=given == name)
            rows.append({"by": by, "group": name, **_row(group, confidence, resamples, rng)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _groups(given: Any) -> list[str]:
    names = sorted(
        set(given), key=lambda name: (not name.isdecimal(), len(name) * name.isdecimal(), name)
    )
    return [] if names == [""] else names


def _row(
    cells: Cells, confidence: float, resamples: int, rng: np.random.Generator
) -> dict[str, Any]:
    cells = cells.scored_only()
    accuracy = cells.accuracy
    n_questions, n_personas = cells.scored.shape
    mean = float(accuracy.mean())
    se = influence_se(cells.influence.sum(axis=1))
    low, high = mean_interval(mean, se, n_questions, confidence)
    pss = float(worst_over_best(accuracy))
    floor, band, p = math.nan, NOWHERE, math.nan
    if n_personas > 1:
        null = null_pss(cells.correct, cells.scored, resamples, rng)
        floor, band, p = (
            float(null.mean()),
            percentile_interval(null, confidence),
            p_value(null, pss),
        )
    return {
        "accuracy": mean,
        "low": low,
        "high": high,
        "pss": pss,
        "noise_floor": floor,
        "noise_floor_low": band.low,
        "noise_floor_high": band.high,
        "p_value": p,
        "spread": float(np.ptp(accuracy)),
        "worst": float(accuracy.min()),
        "best": float(accuracy.max()),
        "n_personas": n_personas,
        "n_questions": n_questions,
        "n": int(cells.scored.sum()),
    }
