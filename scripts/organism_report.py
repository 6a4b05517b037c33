"""Tables and figures of the model-organism study, from what `scripts/organism.py` has stored.

`summary.csv` has one row per checkpoint, `methods.csv` one per comparison and metric, with the seed
as the unit. Differences are shown while seeds are missing; p-values only once all planned seeds of
a comparison are there, so that nobody can stop at a lucky moment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from persona_bench.extras.traces.identifiability import identifiability
from persona_bench.extras.training.curves import TrainingLog, read_training, training_figure
from persona_bench.extras.training.personas import training_personas_figure
from persona_bench.report.figures.accuracy import accuracy_figure
from persona_bench.report.figures.frontier import frontier_figure
from persona_bench.report.figures.style import save_figure
from persona_bench.scoring.information import persona_information
from persona_bench.scoring.methods import compare_methods
from persona_bench.scoring.resampling import clustered_se, mean_interval
from persona_bench.scoring.stability import Stability, stability
from scripts.organism_families import SEEN, families

RESAMPLES = 2000
STARTS = ("warm", "base")
FIDELITY = ("marker_rate", "persona_information", "identifiability")


class Hypothesis(NamedTuple):
    """A comparison of two methods, b less a, and what it is expected to show."""

    study: str
    a: str
    b: str
    seeds: int
    claims: dict[str, str]
    """Metric -> the hypothesis that it decides; `up` and `down` are in `signs`."""
    signs: dict[str, int]


HYPOTHESES = (
    Hypothesis(
        "organism",
        "warm",
        "rlvr",
        8,
        {"pss_corrected": "H1 stability", "marker_rate": "H1 fidelity"},
        {"pss_corrected": 1, "marker_rate": -1},
    ),
    Hypothesis(
        "organism",
        "rlvr",
        "permix",
        8,
        {"pss_corrected": "H2", "marker_rate": "H3"},
        {"pss_corrected": 1, "marker_rate": 1},
    ),
    Hypothesis(
        "natural", "rlvr", "permix", 4, {"pss_corrected": "H2 natural"}, {"pss_corrected": 1}
    ),
)


class Checkpoint(NamedTuple):
    """What is stored of one checkpoint."""

    folder: Path
    facts: dict[str, Any]

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv.gz", keep_default_na=False, na_values=[""])


def checkpoints(results: Path) -> list[Checkpoint]:
    """All that are finished, the starts first, then by study, method and seed."""
    found = []
    for file in (results / "seeds").glob("*/facts.json"):
        found.append(Checkpoint(file.parent, json.loads(file.read_text())))
    studies = ("start", "organism", "natural", "exploratory")
    methods = ("warm", "base", "rlvr", "permix")

    def place(each: Checkpoint) -> tuple[Any, ...]:
        method = each.facts["method"]
        known = methods.index(method) if method in methods else len(methods)
        return studies.index(each.facts["study"]), known, method, each.facts["seed"] or 0

    return sorted(found, key=place)


def summary_row(checkpoint: Checkpoint) -> dict[str, Any]:
    """One checkpoint's numbers, with intervals over questions."""
    facts = checkpoint.facts
    verdicts = checkpoint.table("verdicts")
    stable = stability(verdicts, resamples=RESAMPLES)
    roles = checkpoint.table("roleplay").fillna({"response": ""})
    information = persona_information(checkpoint.table("likelihoods"), resamples=RESAMPLES)
    identified = identifiability(roles, permutations=0)
    marked = float(roles["marked"].mean())
    low, high = mean_interval(
        marked, clustered_se(roles["marked"], roles["question"]), roles["question"].nunique(), 0.95
    )
    return {
        "arm": facts["study"],
        "method": facts["method"],
        "seed": facts["seed"],
        "accuracy": stable.mean,
        "worst": stable.worst,
        "best": stable.best,
        "pss": stable.pss,
        "pss_corrected": stable.pss_corrected,
        "pss_corrected_low": stable.pss_corrected.low,
        "pss_corrected_high": stable.pss_corrected.high,
        "marker_rate": marked,
        "marker_rate_low": low,
        "marker_rate_high": high,
        "persona_information": information.value,
        "identifiability": identified.accuracy,
        "steps": facts["steps"],
        "draws": facts.get("draws"),
        "unscored": stable.unscored,
        "warm_sha256": facts["warm_sha256"],
    }


def summary(results: Path, *, anew: bool) -> pd.DataFrame:
    """One row per checkpoint; unless `anew`, rows of `summary.csv` are taken as they are."""
    file = results / "summary.csv"
    known: dict[tuple[str, ...], Mapping[Any, Any]] = {}
    if file.is_file() and not anew:
        for row in pd.read_csv(file, dtype={"seed": "Int64"}).to_dict("records"):
            known[_key(row)] = row
    rows = []
    for each in checkpoints(results):
        rows.append(known.get(_key_of(each)) or summary_row(each))
    table = pd.DataFrame(rows)
    return table.astype({"seed": "Int64", "draws": "Int64"}) if len(table) else table


def _key(row: Mapping[Any, Any]) -> tuple[str, ...]:
    seed = "" if row["seed"] is None or pd.isna(row["seed"]) else str(int(row["seed"]))
    return row["arm"], row["method"], seed


def _key_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    return _key({"arm": checkpoint.facts["study"], **checkpoint.facts})


# ---------------------------------------------------------------------- methods


def methods_table(found: list[Checkpoint], table: pd.DataFrame) -> pd.DataFrame:
    """Every hypothesis with its difference over seeds, and its p-value once all seeds are there."""
    rows = []
    for each in HYPOTHESES:
        a = _of(found, each.study, each.a)
        b = _of(found, each.study, each.b)
        if each.a in STARTS and a:
            a = dict.fromkeys(b, a[0])  # one warm start: every seed is held against it
        seeds = sorted(a.keys() & b.keys())
        if len(seeds) < 2:
            continue
        outcomes, scores = [], []
        for method, own in ((each.a, a), (each.b, b)):
            for seed in seeds:
                outcomes.append(own[seed].table("verdicts").assign(method=method, seed=seed))
                row = _row_of(table, own[seed])
                scores += [
                    {"method": method, "seed": seed, "metric": name, "value": row[name]}
                    for name in FIDELITY
                ]
        compared = compare_methods(
            pd.concat(outcomes), pd.DataFrame(scores), methods=(each.a, each.b)
        )
        means = compared.per_method.set_index(["method", "metric"])["mean"]
        complete = len(seeds) >= each.seeds
        for found_row in compared.table.to_dict("records"):
            name = found_row["metric"]
            one_sided = _one_sided(found_row, each.signs[name]) if name in each.signs else math.nan
            rows.append(
                {
                    "arm": each.study,
                    "a": each.a,
                    "b": each.b,
                    "metric": name,
                    "hypothesis": each.claims.get(name, ""),
                    "mean_a": means[each.a, name],
                    "mean_b": means[each.b, name],
                    "difference": found_row["difference"],
                    "low": found_row["low"],
                    "high": found_row["high"],
                    "seeds": len(seeds),
                    "planned": each.seeds,
                    "p_one_sided": one_sided if complete else math.nan,
                }
            )
    return _with_holm(pd.DataFrame(rows))


def _of(found: list[Checkpoint], study: str, method: str) -> dict[int, Checkpoint]:
    study = "start" if method in STARTS else study
    return {
        each.facts["seed"] or 0: each
        for each in found
        if (each.facts["study"], each.facts["method"]) == (study, method)
    }


def _row_of(table: pd.DataFrame, checkpoint: Checkpoint) -> Mapping[Any, Any]:
    wanted = _key_of(checkpoint)
    return next(row for row in table.to_dict("records") if _key(row) == wanted)


def _one_sided(row: Mapping[Any, Any], sign: int) -> float:
    half = row["p_value"] / 2
    return float(half if sign * row["difference"] > 0 else 1 - half)


def _with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """Adds `p_holm`: H2 and H3 together, by Holm (1979)."""
    if table.empty:
        return table
    table["p_holm"] = math.nan
    both = table[table["hypothesis"].isin(["H2", "H3"])]["p_one_sided"].sort_values()
    if both.isna().any():
        return table
    highest = 0.0
    for place, (index, p) in enumerate(both.items()):
        highest = max(highest, min(1.0, p * (len(both) - place)))
        table.loc[index, "p_holm"] = highest
    return table


# ---------------------------------------------------------------------- figures


def by_method(found: list[Checkpoint], study: str) -> dict[str, Stability]:
    """Stability of each method, the verdicts of its seeds as samples."""
    start = "warm" if study == "organism" else "base"
    tables = {}
    for method in (start, "rlvr", "permix"):
        own = [
            each.table("verdicts").assign(sample=number)
            for number, each in enumerate(_of(found, study, method).values())
        ]
        if own:
            tables[method] = stability(pd.concat(own), resamples=RESAMPLES)
    return tables


def figures(results: Path, found: list[Checkpoint], table: pd.DataFrame) -> None:
    main = table[
        (table["arm"] == "organism") | ((table["arm"] == "start") & (table["method"] == "warm"))
    ].assign(seed=lambda rows: rows["seed"].astype(str))
    title = "Model organism: robustness and role play by method"
    frontier = frontier_figure(main, y="marker_rate", title=title)
    save_figure(frontier, results / "frontier")
    by_family = accuracy_figure(
        by_method(found, "organism"), title="Accuracy by family, before and after (all seeds)"
    )
    save_figure(by_family, results / "families")
    logs = {
        method: of_families([read_training(each.folder) for each in own.values()])
        for method in ("rlvr", "permix")
        if (own := _of(found, "organism", method))
    }
    if logs:
        curves = training_figure(logs, title="Training, mean over seeds")
        save_figure(curves, results / "training")
    if "permix" in logs:
        by_family = training_personas_figure(logs["permix"], title="PerMix by family, all seeds")
        save_figure(by_family, results / "training-families")


def of_families(logs: Sequence[TrainingLog]) -> TrainingLog:
    """The logs of several seeds as one: means per step, and personas by family."""
    steps = pd.concat([log.steps for log in logs]).groupby("step").mean(numeric_only=True)
    personas = pd.concat([log.personas for log in logs], ignore_index=True)
    personas["persona"] = personas["persona"].str.replace(r"-\d+$", "", regex=True)
    kinds = {name: family.wordings[0].kind for name, family in families(SEEN).items()}
    return TrainingLog(steps.reset_index(), personas, kinds)


def write_report(results: Path, *, anew: bool = True) -> None:
    """Writes `summary.csv`, `methods.csv` and the figures of all that is finished."""
    found = checkpoints(results)
    if not found:
        print(f"{results} has no finished checkpoint yet")
        return
    table = summary(results, anew=anew)
    table.to_csv(results / "summary.csv", index=False, float_format="%.4f")
    print(table.to_string(index=False))
    methods = methods_table(found, table)
    if len(methods):
        methods.to_csv(results / "methods.csv", index=False, float_format="%.4f")
        print(methods.to_string(index=False))
    figures(results, found, table)
