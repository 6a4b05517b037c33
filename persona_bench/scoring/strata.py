"""Other ways to redraw than plain questions: within strata, and personas as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.estimate import Estimate
from persona_bench.scoring.frames import labels
from persona_bench.scoring.resampling import (
    Counts,
    expanded_interval,
    two_way_means,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def strata_of(
    table: pd.DataFrame, cells: Cells, stratify: str | None
) -> tuple[Counts | None, list[str]]:
    """A code for each question with something scored, and notes on what had to be merged.

    None where nothing is to be stratified. Raises ValueError where the column is not there,
    says nothing for some question, or says two things for one.
    """
    if stratify is None:
        return None, []
    if stratify not in table.columns:
        raise ValueError(
            f"stratify is {stratify!r}, but the outcomes have no such column; they have "
            f"{', '.join(map(str, table.columns))}"
        )
    scored = cells.scored_only()
    found = labels(table, "question", stratify, scored.questions)
    if "" in found:
        raise ValueError(
            f"question {scored.questions[found.index('')]} has no {stratify}: stratify by a column "
            "that every question has a value in"
        )
    if len(found) < 2:
        return None, []  # nothing to redraw in any case
    codes, joined = merged(found)
    if not joined:
        return codes, []
    return codes, [
        f"{stratify} {', '.join(joined)}: merged into one stratum, as a single question can't be "
        "redrawn by itself"
    ]


def merged(found: Sequence[str]) -> tuple[Counts, list[str]]:
    """Codes of the strata, 0 up, and the names of those that had to be merged.

    A stratum of one question can't be redrawn. Kept fixed it would count as known without
    error; instead all of these form one stratum, with the smallest other one where there is
    only one, which makes intervals a little too wide rather than too narrow ("collapsed
    strata": Wolter 2007, section 2.5).
    """
    names, codes, size = np.unique(np.asarray(found, str), return_inverse=True, return_counts=True)
    single = np.flatnonzero(size == 1)
    if single.size == 1 and size.size > 1:
        single = np.sort(np.append(single, np.where(size == 1, np.inf, size).argmin()))
    codes = np.where(np.isin(codes, single), names.size, codes)
    return np.unique(codes, return_inverse=True)[1], [str(name) for name in names[single]]


def of_population(
    metrics: Mapping[str, Estimate],
    cells: Cells,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
    strata: Counts | None,
) -> dict[str, Estimate]:
    """The metrics with an interval for a population of personas: that of the mean alone."""
    estimates = {name: Estimate(value) for name, value in metrics.items()}
    scored = cells.scored_only()
    if scored.scored.size:
        means = two_way_means(scored.correct, scored.scored, resamples, rng, strata=strata)
        ends = expanded_interval(means, confidence, min(scored.scored.shape))
        estimates["mean"] = Estimate(metrics["mean"], *ends)
    return estimates
