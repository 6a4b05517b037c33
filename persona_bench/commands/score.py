"""`persona-bench score`: what a finished run says, printed and written."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options
from persona_bench.provenance import versions

SETTINGS = ("confidence", "resamples", "seed", "stratify", "population", "stable_from")


def score(
    results: Annotated[Path, typer.Argument(help="lm-eval's --output_path.")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where files go; RESULTS/scores by default.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap and permutation draws.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    by: Annotated[
        str | None,
        typer.Option(help="Each level, subject or date by itself, e.g. --by level (difficulty)."),
    ] = None,
    stratify: Annotated[
        str | None, typer.Option(help="Redraw questions within each level or subject.")
    ] = None,
    population: Annotated[
        str, typer.Option(help="questions; or personas: the mean's interval is over these too.")
    ] = "questions",
    stable_from: Annotated[
        float, typer.Option("--stable-from", help="PSS from which on a model counts as stable.")
    ] = 0.95,
    regrade: Annotated[
        bool, typer.Option("--regrade", help="Grade the stored responses again first, no model.")
    ] = False,
    confirm_run_unsafe_code: options.ConfirmUnsafe = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Score an lm-eval output folder: accuracy per persona, PSS and its noise floor."""
    if regrade:
        from persona_bench.harness.regrade import regrade as grade_again

        for done in grade_again(results, confirm_run_unsafe_code=confirm_run_unsafe_code):
            told = f"{done.changed:,} of {done.responses:,} verdicts changed ({done.file.name})"
            Console(stderr=True).print(escape(f"{done.task} of {done.model}: {told}"))
    folder = out_folder or (results if results.is_dir() else results.parent) / "scores"
    settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
    of_stability = {"stratify": stratify, "population": population, "stable_from": stable_from}
    score_folder(results, folder, by=by, as_json=as_json, of_stability=of_stability, **settings)


def score_folder(
    results: Path,
    folder: Path,
    *,
    by: str | None = None,
    as_json: bool = False,
    of_stability: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[Path]:
    """Scores every model and task in a folder, prints them and writes files and figures.

    `settings` (confidence, resamples, seed) are for every number, `of_stability` for those of
    `stability` alone.
    """
    from persona_bench.report.files import write_stability
    from persona_bench.report.parts import parts_record, print_parts, write_parts
    from persona_bench.report.tables import print_stability
    from persona_bench.scoring.contrasts import contrasts
    from persona_bench.scoring.outcomes import read_outcomes, read_provenance
    from persona_bench.scoring.stability import stability
    from persona_bench.scoring.variance import variance_parts

    outcomes = read_outcomes(results)
    with warnings.catch_warnings():  # said once is enough
        warnings.simplefilter("ignore")
        runs = read_provenance(results)
    if by not in (None, "level", "subject", "date"):
        raise ValueError(f"--by {by} is unknown: use level, subject or date")
    groups = list(outcomes.groupby(["model", "task", *([by] if by else [])], sort=False))
    shown = _short_names([str(model) for model in outcomes["model"].unique()])
    out, written, printed = Console(), [], []
    for (model, task, *parts), rows in groups:
        title = "-".join([str(task), *(str(part) for part in parts if part)])
        result = stability(rows, **settings, **(of_stability or {}))
        found = variance_parts(rows, **settings), contrasts(rows, **settings)
        place = folder / _safe(shown[str(model)]) if len(shown) > 1 else folder
        provenance = {
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "results": str(results),
            "run": runs[str(model), str(task)],
            "scored_with": versions(),
            "settings": {key: getattr(result, key) for key in SETTINGS},
        }
        beside = parts_record(*found)
        written += write_stability(
            result,
            place,
            model=shown[str(model)],
            task=title,
            provenance=provenance,
            beside=beside,
        )
        written += write_parts(*found, place, task=title)
        if as_json:
            printed.append({"model": model, "task": title, **result.to_dict(), **beside})
        else:
            print_stability(result, title=f"{title} · {shown[str(model)]}", console=out)
            print_parts(*found, out)
            for line in _of_programs(rows, runs[str(model), str(task)].get("task") or {}):
                out.print(escape(line), soft_wrap=True)
    if as_json:
        print(json.dumps(printed, indent=2))
    else:
        out.print(f"\nFiles and figures: {escape(str(folder))}", soft_wrap=True)
    return written


def _of_programs(rows: Any, told: dict[str, Any]) -> list[str]:
    """What there is to say of a task that runs programs: whose tests, which sandbox, pass@k."""
    if "sandbox" not in told:
        return []
    from persona_bench.scoring.pass_at_k import pass_at_k

    lines = []
    if set(told["tests"]) != {"private"}:
        counts = ", ".join(f"{name} tests {count:,}" for name, count in told["tests"].items())
        lines.append(f"Graded on other than LiveCodeBench's tests ({counts}): not its pass@1.")
    if told["sandbox"] == "none":
        lines.append("Programs were run without a sandbox (unsafe_no_sandbox).")
    if (rows["reason"] == "no_sandbox").any():
        why = told.get("sandbox_missing") or "a sandbox was there at the start, but not later"
        lines.append(f"Programs could not be run: {why}.")
    samples = int(rows.groupby(["persona", "question"]).size().max())
    for k in sorted({1, samples}) if samples > 1 else ():
        value = pass_at_k(rows, k)
        lines.append(f"pass@{k}: mean over personas {value.mean():.3f}, worst {value.min():.3f}.")
    return lines


def _short_names(models: list[str]) -> dict[str, str]:
    """A folder's own name for each model that is a path, where no two are the same."""
    short = {model: Path(model).name if Path(model).is_absolute() else model for model in models}
    return short if len(set(short.values())) == len(short) else {model: model for model in models}


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
