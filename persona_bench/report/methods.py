"""`persona-bench compare --by-method`: training methods, with the seed as the unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from persona_bench.report.fidelity import judges_in_words
from persona_bench.report.names import file_stem
from persona_bench.report.places import command_line
from persona_bench.report.runs import Settings, scored_verdicts
from persona_bench.report.tables import format_p, interval, number, plain_table
from persona_bench.results.runs import Run
from persona_bench.scoring.comparable import CompareError
from persona_bench.scoring.methods import MethodComparison, compare_methods


def compare_by_method(
    runs: Sequence[Run],
    out_folder: Path | None,
    *,
    allow_different_generation: bool = False,
    as_json: bool,
) -> None:
    """Compare every other method with the first one, task by task.

    Args:
        runs: Checkpoints whose method and seed are known.
        out_folder: Where the tables go; None writes nothing.
        allow_different_generation: As in `compare`.
        as_json: Print JSON instead of tables.

    Raises:
        CompareError: a checkpoint without a method or seed, two with the same ones, fewer than two
            methods, a method with a single seed, or checkpoints that were not asked the same.
    """
    checkpoints = _checkpoints(runs)
    methods = list(dict.fromkeys(method for method, _ in checkpoints))
    if len(methods) < 2:
        raise CompareError(f"one method ({methods[0]}): give checkpoints of two or more")
    tasks = [task for task in runs[0].outcomes if all(task in run.outcomes for run in runs)]
    if not tasks:
        raise CompareError("no graded task in common: methods are compared by accuracy first")
    scores = _scores(checkpoints)
    results: list[tuple[str, MethodComparison]] = []
    for task in tasks:
        outcomes = _outcomes(checkpoints, task)
        for other in methods[1:]:
            result = compare_methods(
                outcomes,
                scores,
                methods=(methods[0], other),
                allow_different_generation=allow_different_generation,
            )
            results.append((task, result))
    judged = _judged_by(checkpoints)
    said = {"judges": judged} if judged else {}
    records = [
        {"task": task, "command": command_line(), **result.to_dict(), **said}
        for task, result in results
    ]
    if as_json:
        print(json.dumps(records, indent=2))
    else:
        console = Console()
        for task, result in results:
            _print(task, result, console)
        if judged:
            console.print(f"Note: fidelity judged by {escape(judged)}.", soft_wrap=True)
    if out_folder is not None:
        _write(results, records, out_folder)
        if not as_json:
            console.print(f"\nFiles: {escape(str(out_folder))}", soft_wrap=True)


def _checkpoints(runs: Sequence[Run]) -> dict[tuple[str, str], Run]:
    """The runs by method and seed."""
    checkpoints: dict[tuple[str, str], Run] = {}
    for run in runs:
        checkpoint = run.checkpoint
        if checkpoint is None:
            raise CompareError(
                f"{run.folder}: its method and seed are not known; name them, as in "
                f"rlvr@1={run.folder}"
            )
        if checkpoint in checkpoints:
            method, seed = checkpoint
            raise CompareError(
                f"{checkpoints[checkpoint].folder} and {run.folder} are both {method} with seed "
                f"{seed}"
            )
        checkpoints[checkpoint] = run
    return checkpoints


def _outcomes(checkpoints: dict[tuple[str, str], Run], task: str) -> pd.DataFrame:
    """One table of all checkpoints."""
    tables = {key: run.outcomes[task] for key, run in checkpoints.items()}
    return pd.concat(
        [table.assign(method=method, seed=seed) for (method, seed), table in tables.items()],
        ignore_index=True,
    )


def _scores(checkpoints: dict[tuple[str, str], Run]) -> pd.DataFrame | None:
    """Fidelity and persona information of the judged tasks that all checkpoints have."""
    rows: list[tuple[str, str, str, float]] = []
    for (method, seed), run in checkpoints.items():
        several = len(run.judged) > 1
        for task, judged in run.judged.items():
            end = f" ({task})" if several else ""
            if judged.verdicts is not None:
                score = scored_verdicts(judged.verdicts, Settings()).persona_score
                rows.append((method, seed, f"fidelity{end}", score))
            information = (judged.trace.get("persona_information") or {}).get("information")
            if information is not None:
                rows.append((method, seed, f"persona_information{end}", float(information)))
    table = pd.DataFrame(rows, columns=["method", "seed", "metric", "value"])
    counts = table["metric"].value_counts()
    complete = counts[counts == len(checkpoints)].index
    return table[table["metric"].isin(complete)] if len(complete) else None


def _judged_by(checkpoints: dict[tuple[str, str], Run]) -> str:
    """The judges behind the fidelity, with their entry tests; empty where nothing is judged."""
    tables = [table for run in checkpoints.values() for table in run.verdicts.values()]
    return judges_in_words(pd.concat(tables)) if tables else ""


# ---------------------------------------------------------------------- printed and written


def _print(task: str, result: MethodComparison, console: Console) -> None:
    """Prints one comparison of two methods."""
    console.print(Text(f"{task}: {result.b} - {result.a}, over seeds", style="bold"))
    table = plain_table()
    for name in ("metric", result.a, result.b, "difference", f"{result.confidence:.0%} interval",
                 "p", "sd of seeds"):  # fmt: skip
        table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    means = result.per_method.set_index(["method", "metric"])["mean"]
    for row in result.table.to_dict("records"):
        name = str(row["metric"])
        own = [number(float(means[method, name])) for method in (result.a, result.b)]
        difference = f"{row['difference']:+.3f}"
        p = format_p(row["p_value"]).removeprefix("p ").removeprefix("= ")
        ends = interval((row["low"], row["high"]))
        table.add_row(name, *own, difference, ends, p, number(row["seed_sd"]))
    console.print(table)
    seeds = result.table.iloc[0]
    test = "paired t test" if result.paired else "two-sample t test"
    console.print(
        f"{test} over {seeds['seeds_a']} and {seeds['seeds_b']} seeds; questions and personas are "
        "the same for all and count as fixed."
    )
    for note in result.notes:
        console.print(f"Note: {escape(note)}.")


def _write(
    results: Sequence[tuple[str, MethodComparison]], records: Sequence[dict[str, Any]], folder: Path
) -> None:
    """Writes `<task>_methods.csv`, `_methods_means.csv`, `_methods_seeds.csv`; `methods.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in dict.fromkeys(task for task, _ in results):
        of_task = [result for own, result in results if own == task]
        for name, end in (("table", ""), ("per_method", "_means"), ("per_seed", "_seeds")):
            tables = [getattr(result, name) for result in of_task]
            if name == "table":
                tables = [
                    table.assign(a=result.a, b=result.b)
                    for table, result in zip(tables, of_task, strict=True)
                ]
            joined = pd.concat(tables, ignore_index=True).drop_duplicates()
            joined.to_csv(folder / f"{file_stem(task)}_methods{end}.csv", index=False)
    text = json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "methods.json").write_text(text + "\n", encoding="utf-8")
