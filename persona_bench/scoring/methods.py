"""Two training methods, each with several seeds: does one do better, or did its seeds?

    from persona_bench import compare_methods

    result = compare_methods(outcomes)  # the tidy table, with the columns method and seed
    print(result.table)

Two checkpoints of one method differ too. A p-value between two checkpoints speaks of these two
checkpoints, however many questions they answered; a sentence about a *method* needs several
trainings of each. So the seed is the unit here: every metric is computed once per checkpoint, and
a t test compares these few numbers. Questions and personas are the same for all checkpoints and
count as fixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import nct
from scipy.stats import t as student

from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.comparable import (
    CompareError,
    check_comparable,
    different_generation,
    generation_differences,
)
from persona_bench.scoring.compare import ACCURACIES_DIFFER, NO_PLAIN_TEST
from persona_bench.scoring.corrected import corrected_pss
from persona_bench.scoring.estimate import Result
from persona_bench.scoring.resampling import worst_over_best
from persona_bench.scoring.sequential import early_of

STABILITY_METRICS = ("mean", "worst", "best", "pss", "pss_corrected")
"""Metrics that are computed from verdicts; `scores` may add others."""


@dataclass(frozen=True)
class MethodComparison(Result):
    """How method b differs from method a, with the seed as the unit."""

    a: str
    b: str
    table: pd.DataFrame
    """One row per metric. `metric`; `difference`: mean over the seeds of b less that of a; `low`,
    `high`: its confidence interval; `p_value`: two-sided; `seeds_a`, `seeds_b`: checkpoints behind
    it; `seed_sd`: standard deviation between seeds of one method, pooled over both methods. Where
    the mean accuracies differ, `pss` has no interval and no p-value (see `compare`)."""
    per_method: pd.DataFrame
    """One row per method and metric: `method, metric, mean, low, high, seed_sd, seeds`."""
    per_seed: pd.DataFrame
    """One row per checkpoint and metric: `method, seed, metric, value`."""
    paired: bool
    """Whether both methods have the same seeds, so that the test is of differences per seed."""
    confidence: float
    notes: tuple[str, ...] = ()


def compare_methods(
    outcomes: pd.DataFrame,
    scores: pd.DataFrame | None = None,
    *,
    methods: tuple[str, str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    allow_different_generation: bool = False,
) -> MethodComparison:
    """Compare two training methods over their seeds, b against a.

    With the same seeds in both methods the test is a paired t test of the differences per seed
    (n - 1 degrees of freedom). Otherwise it is a two-sample t test: with a pooled variance where
    both methods have equally many seeds, where it holds its level under unequal variances too, and
    Welch's (1947) where they have not.

    Args:
        outcomes: The tidy table of one task with the columns `method, seed, persona, question,
            correct`; every checkpoint (method and seed) has answered the same questions under the
            same personas.
        scores: Other metrics of the same checkpoints, one row per value: `method, seed, metric,
            value`, such as fidelity or persona information.
        methods: Which two methods, a then b; by default the two that `outcomes` has, in order of
            appearance.
        confidence: Level of the intervals.
        seed: Seed of the draws behind the corrected PSS.
        allow_different_generation: As in `compare`.

    Raises:
        CompareError: not exactly two methods, a method with a single seed, checkpoints that differ
            in task, questions, personas, prompts, graders or generation settings, or a run that is
            unfinished.
        ValueError: a table that `stability` would refuse.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1")
    a, b = _two_methods(outcomes, methods)
    chosen = outcomes[outcomes["method"].astype(str).isin([a, b])]
    told = _check_seeds(chosen, a, b, allow_different_generation)
    per_seed = pd.concat([stability_per_seed(chosen, seed=seed), _others(scores, a, b)])
    per_seed = per_seed.reset_index(drop=True)
    metrics = list(dict.fromkeys(per_seed["metric"]))
    values = {key: rows.set_index("seed")["value"] for key, rows in
              per_seed.dropna(subset=["value"]).groupby(["method", "metric"])}  # fmt: skip
    nothing = pd.Series(dtype=float)
    rows = [
        {"metric": name, **seed_difference(values.get((a, name), nothing),
                                       values.get((b, name), nothing), confidence)._asdict()}
        for name in metrics
    ]  # fmt: skip
    own = [
        {"method": method, "metric": name,
         **mean_over_seeds(values.get((method, name), nothing), confidence)}
        for method in (a, b) for name in metrics
    ]  # fmt: skip
    seeds = {method: set(chosen.loc[chosen["method"].astype(str) == method, "seed"].map(str))
             for method in (a, b)}  # fmt: skip
    notes = (*told, *_notes(seeds[a], seeds[b], a, b))
    table = pd.DataFrame(rows)
    plain = table["metric"] == "pss"
    if (table.loc[table["metric"] == "mean", "p_value"] <= ACCURACIES_DIFFER).any():
        table.loc[plain, ["low", "high", "p_value"]] = math.nan
        notes = (*notes, NO_PLAIN_TEST)
    return MethodComparison(
        a=a,
        b=b,
        table=table,
        per_method=pd.DataFrame(own),
        per_seed=per_seed,
        paired=seeds[a] == seeds[b],
        confidence=confidence,
        notes=notes,
    )


def stability_per_seed(outcomes: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The metrics `STABILITY_METRICS` of each checkpoint.

    Args:
        outcomes: As in `compare_methods`, with any number of methods.
        seed: Seed of the draws behind the corrected PSS.

    Returns:
        One row per checkpoint and metric: `method, seed, metric, value`. NaN where a metric is
        not defined, as the PSS with nothing correct.
    """
    rows = []
    for (method, trained), table in outcomes.groupby(["method", "seed"], sort=False):
        cells = Cells.count(check(table.drop(columns=["model"], errors="ignore")))
        accuracy = cells.accuracy
        if np.isnan(accuracy).any():
            named = ", ".join(np.asarray(cells.personas)[np.isnan(accuracy)])
            raise CompareError(
                f"method {method}, seed {trained}: nothing is scored under {named}; grade it, or "
                "drop these personas from all checkpoints"
            )
        corrected = corrected_pss(cells, 0.95, np.random.default_rng(seed))
        found = {
            "mean": accuracy.mean(),
            "worst": accuracy.min(),
            "best": accuracy.max(),
            "pss": float(worst_over_best(accuracy[None])[0]),
            "pss_corrected": corrected.value,
        }
        rows += [(str(method), str(trained), name, float(v)) for name, v in found.items()]
    return pd.DataFrame(rows, columns=["method", "seed", "metric", "value"])


# ------------------------------------------------------------------- may they be compared?
def _two_methods(outcomes: pd.DataFrame, methods: Sequence[str] | None) -> tuple[str, str]:
    if lacking := [name for name in ("method", "seed") if name not in outcomes.columns]:
        raise CompareError(
            f"outcomes lack the column(s) {', '.join(lacking)}: each response needs the training "
            "method and the seed of its checkpoint"
        )
    if outcomes.empty:
        raise ValueError("outcomes are empty: there is no response to score")
    if outcomes[["method", "seed"]].isna().any(axis=None):
        raise CompareError("some responses name no method or no seed: fill both columns")
    there = list(dict.fromkeys(outcomes["method"].astype(str)))
    wanted = list(methods) if methods is not None else there
    if len(wanted) != 2 or len(set(wanted)) != 2:
        raise CompareError(
            f"two methods are compared, and here is {' and '.join(wanted) or 'none'}: name them, "
            "as in methods=('rlvr', 'permix')"
        )
    if unknown := [name for name in wanted if name not in there]:
        raise CompareError(f"no response of method {unknown[0]}: there is {', '.join(there)}")
    return wanted[0], wanted[1]


def _check_seeds(
    outcomes: pd.DataFrame, a: str, b: str, allow_different_generation: bool
) -> tuple[str, ...]:
    """Refuses checkpoints that can't be compared; notes on those that can."""
    cells: dict[tuple[str, str], set[tuple[str, str]]] = {}
    tables = {
        (str(method), str(trained)): rows.astype({"persona": str, "question": str})
        for (method, trained), rows in outcomes.groupby(["method", "seed"], sort=False)
    }
    for name, rows in tables.items():
        if (early := early_of(rows)) and not early.looks:
            raise CompareError(f"{name[0]} with seed {name[1]} is unfinished: finish the run first")
        pairs = rows[["persona", "question"]].drop_duplicates()
        cells[name] = set(pairs.itertuples(index=False, name=None))
    for method in (a, b):
        seeds = [trained for own, trained in cells if own == method]
        if len(seeds) < 2:
            raise CompareError(
                f"{method} has a single seed ({seeds[0]}): what differs between two checkpoints "
                "can be the seed as well as the method, so nothing can be said of the method; "
                "train it with at least two seeds, or compare the two checkpoints as checkpoints"
            )
    (first, reference), *others = cells.items()
    for name, own in others:
        if own != reference:
            only = len(reference - own), len(own - reference)
            raise CompareError(
                f"{first[0]} with seed {first[1]} and {name[0]} with seed {name[1]} were not asked "
                f"the same: {only[0]} persona x question cells are only in the first, {only[1]} "
                "only in the second; run all checkpoints on the same questions and personas"
            )
    reference_rows, *other_rows = tables.values()
    different: dict[str, None] = {}
    for rows in other_rows:
        check_comparable(reference_rows, rows)
        if differing := generation_differences(reference_rows, rows):
            if not allow_different_generation:
                raise CompareError(different_generation(differing))
            different[f"generated under different settings: {differing}"] = None
    return tuple(different)


def _others(scores: pd.DataFrame | None, a: str, b: str) -> pd.DataFrame:
    columns = ["method", "seed", "metric", "value"]
    if scores is None:
        return pd.DataFrame(columns=columns)
    if lacking := [name for name in columns if name not in scores.columns]:
        raise CompareError(f"scores lack the column(s) {', '.join(lacking)}")
    table = scores[columns].astype({"method": str, "seed": str, "metric": str})
    if table.duplicated(columns[:3]).any():
        row = table[table.duplicated(columns[:3])].iloc[0]
        raise CompareError(
            f"scores give {row['metric']} of {row['method']} with seed {row['seed']} twice"
        )
    return table[table["method"].isin([a, b])]


def _notes(seeds_a: set[str], seeds_b: set[str], a: str, b: str) -> tuple[str, ...]:
    found = []
    if seeds_a != seeds_b and seeds_a & seeds_b:
        found.append(
            f"{a} and {b} share only some of their seeds: their checkpoints are not paired"
        )
    if (fewest := min(len(seeds_a), len(seeds_b))) < 4:
        found.append(
            f"{fewest} seeds of a method give a wide interval: only large differences can be seen"
        )
    return tuple(found)


# ----------------------------------------------------------------------- the t tests
class SeedDifference(NamedTuple):
    difference: float
    low: float
    high: float
    p_value: float
    seeds_a: int
    seeds_b: int
    seed_sd: float


def seed_difference(a: pd.Series, b: pd.Series, confidence: float) -> SeedDifference:
    """The t test of one metric; `a` and `b` hold one value per seed, indexed by seed."""
    n, m = len(a), len(b)
    if not n or not m:
        return SeedDifference(math.nan, math.nan, math.nan, math.nan, n, m, math.nan)
    gap = float(b.mean() - a.mean())
    if n < 2 or m < 2:
        return SeedDifference(gap, math.nan, math.nan, math.nan, n, m, math.nan)
    variances = float(a.var()), float(b.var())
    pooled = ((n - 1) * variances[0] + (m - 1) * variances[1]) / (n + m - 2)
    if set(a.index) == set(b.index):
        squared, freedom = float((b - a[b.index]).var()) / n, float(n - 1)
    elif n == m:
        squared, freedom = 2 * pooled / n, float(2 * n - 2)
    else:
        parts = variances[0] / n, variances[1] / m
        squared = sum(parts)
        share = parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)
        freedom = squared**2 / share if share else math.nan
    if squared <= 1e-24:  # all seeds alike, as where a metric is at its bound
        p = 1.0 if abs(gap) < 1e-12 else math.nan
        return SeedDifference(gap, math.nan, math.nan, p, n, m, math.sqrt(pooled))
    se = math.sqrt(squared)
    half = float(student.ppf((1 + confidence) / 2, freedom)) * se
    p = 2 * float(student.sf(abs(gap) / se, freedom))
    return SeedDifference(gap, gap - half, gap + half, p, n, m, math.sqrt(pooled))


def mean_over_seeds(values: pd.Series, confidence: float) -> dict[str, Any]:
    """`mean`, its t interval `low` and `high`, `seed_sd` and `seeds` of one value per seed; with a
    single seed interval and standard deviation are NaN."""
    n = len(values)
    sd = float(values.std()) if n > 1 else math.nan
    half = float(student.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n) if n > 1 else sd
    mean = float(values.mean()) if n else math.nan
    return {"mean": mean, "low": mean - half, "high": mean + half, "seed_sd": sd, "seeds": n}


# ------------------------------------------------------------------------- planning
def power_of_seeds(
    seeds: int, difference: float, sd: float, *, level: float = 0.05, one_sided: bool = False
) -> float:
    """Probability that a paired t test over `seeds` seeds finds a true difference.

    Args:
        seeds: Trainings of each method.
        difference: True difference between the methods, above 0.
        sd: Standard deviation of the difference per seed, above 0; for two methods whose seeds
            have nothing in common, the standard deviation between seeds times the square root of 2.
        level: Level of the test.
        one_sided: Whether only a difference in the expected direction counts.
    """
    if seeds < 2:
        return 0.0
    shift = difference / sd * math.sqrt(seeds)
    bound = float(student.ppf(1 - (level if one_sided else level / 2), seeds - 1))
    power = float(nct.sf(bound, seeds - 1, shift))
    return power if one_sided else power + float(nct.cdf(-bound, seeds - 1, shift))


def seeds_needed(
    difference: float,
    sd: float,
    *,
    power: float = 0.8,
    level: float = 0.05,
    one_sided: bool = False,
    most: int = 1000,
) -> int | None:
    """The fewest seeds of each method with which a true difference is found with that power.

    Arguments as in `power_of_seeds`. None where even `most` seeds are too few.

    Raises:
        ValueError: difference or sd not above 0.
    """
    if difference <= 0 or sd <= 0:
        raise ValueError(f"difference ({difference}) and sd ({sd}) must be above 0")
    for seeds in range(2, most + 1):
        if power_of_seeds(seeds, difference, sd, level=level, one_sided=one_sided) >= power:
            return seeds
    return None


__all__ = [
    "STABILITY_METRICS", "MethodComparison", "compare_methods", "power_of_seeds", "seeds_needed",
    "stability_per_seed",
]  # fmt: skip
