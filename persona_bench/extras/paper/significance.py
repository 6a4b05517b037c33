"""Which differences from a reference are more than noise, and by which test: letters in tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from statsmodels.stats.multitest import multipletests

from persona_bench.scoring.compare import METRICS, Comparison

TEST_MARKS: dict[str, str] = {"flip": "f", "swap": "s", "draws": "d"}
"""The letter of each test in `scoring.compare.TESTS`."""

STABILITY_TESTS = (
    "f: signs of the questions' differences flipped; s: the two models' responses swapped; d: "
    "draws of the corrected PSS."
)


def holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """Which are below the level when all of them are looked at (Holm 1979); NaN never is."""
    defined = {name: p for name, p in p_values.items() if not math.isnan(p)}
    if not defined:
        return set()
    rejected = multipletests(list(defined.values()), alpha=level, method="holm")[0]
    return {name for name, yes in zip(defined, rejected, strict=True) if yes}


def level_of(comparisons: Mapping[str, Any]) -> float:
    """What p-values are held against: one less the confidence of the comparisons."""
    return 1 - float(next(iter(comparisons.values())).confidence) if comparisons else 0.05


def stability_marks(comparisons: Mapping[str, Comparison]) -> dict[tuple[str, str], str]:
    """The letters of models that differ from the reference, by model and metric.

    p-values are corrected for the number of models, metric by metric.
    """
    tables = {
        model: {str(row["metric"]): row for row in each.metrics.to_dict("records")}
        for model, each in comparisons.items()
    }
    marks: dict[tuple[str, str], str] = {}
    for metric in METRICS:
        p_values = {model: float(rows[metric]["p_value"]) for model, rows in tables.items()}
        for model in holm(p_values, level_of(comparisons)):
            marks[model, metric] = TEST_MARKS[str(tables[model][metric]["test"])]
    return marks


def against(reference: str, others: int) -> str:
    """What a letter means."""
    corrected = f", corrected for the {others} models held against it (Holm)" if others > 1 else ""
    return f"A letter: differs from {reference} by this test{corrected}."
