"""`persona-bench compare`: two stored runs, paired, on the tasks they share."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    import pandas as pd


def compare(
    a: Annotated[Path, typer.Argument(help="lm-eval's --output_path of one model.")],
    b: Annotated[Path, typer.Argument(help="Of the other; differences are B - A.")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Write tables and JSON here.")
    ] = None,
    common: Annotated[
        bool,
        typer.Option("--common", help="Compare only the questions and personas that both have."),
    ] = False,
    confidence: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap replicates, flips and swaps.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare two models on the same questions and personas: accuracy, PSS, fidelity, p-values."""
    from persona_bench.report.comparison import print_comparison, write_comparison
    from persona_bench.report.fidelity import (
        print_fidelity_comparison,
        write_fidelity_comparison,
    )
    from persona_bench.scoring.compare import CompareError, restrict_to_common
    from persona_bench.scoring.compare import compare as compare_outcomes
    from persona_bench.scoring.fidelity_compare import (
        compare_fidelity,
        restrict_to_common_verdicts,
    )

    name_a, tasks_a, judged_a, unjudged = _one_model(a)
    name_b, tasks_b, judged_b, unjudged_b = _one_model(b)
    unjudged |= unjudged_b
    shared = [task for task in tasks_a if task in tasks_b]
    shared_judged = [task for task in judged_a if task in judged_b]
    for task, folder in unjudged.items():
        words = f"{folder}: {task} is not judged yet: run persona-bench judge {folder}"
        if not shared and not shared_judged:
            raise CompareError(words)
        warnings.warn(f"{words}; its fidelity is not compared", stacklevel=1)
    if not shared and not shared_judged:
        raise CompareError(
            f"no task in common: {a} has {', '.join([*tasks_a, *judged_a])}, {b} has "
            f"{', '.join([*tasks_b, *judged_b])}"
        )
    made = {
        "a": {"model": name_a, "results": str(a)},
        "b": {"model": name_b, "results": str(b)},
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    console, printed = Console(), []
    for task in shared:
        one, other = tasks_a[task], tasks_b[task]
        if common:
            one, other = restrict_to_common(one, other)
        result = compare_outcomes(one, other, confidence=confidence, resamples=resamples, seed=seed)
        record = {"task": task, **made, **result.to_dict()}
        printed.append(record)
        if out_folder is not None:
            write_comparison(result, out_folder, task=task, record=record)
        if not as_json:
            print_comparison(result, title=task, a=name_a, b=name_b, console=console)
    for task in shared_judged:
        _same_judges(task, a, b)
        one, other = judged_a[task], judged_b[task]
        if common:
            one, other = restrict_to_common_verdicts(one, other)
        found = compare_fidelity(one, other, confidence=confidence, resamples=resamples, seed=seed)
        record = {"task": task, **made, **found.to_dict()}
        printed.append(record)
        if out_folder is not None:
            write_fidelity_comparison(found, out_folder, task=task, record=record)
        if not as_json:
            print_fidelity_comparison(found, title=task, a=name_a, b=name_b, console=console)
    if as_json:
        print(json.dumps(printed, indent=2))
    elif out_folder is not None:
        console.print(f"\nFiles: {escape(str(out_folder))}", soft_wrap=True)


def _same_judges(task: str, a: Path, b: Path) -> None:
    """Refuses judges that have one name and are different models, or were asked otherwise."""
    from persona_bench.scoring.compare import CompareError
    from persona_bench.scoring.judged import judge_files
    from persona_bench.scoring.samples import newest_samples

    made = []
    for folder in (a, b):
        (samples,) = [each for each in newest_samples(folder, judged=True) if each.task == task]
        files = [file.about for file in judge_files(samples)]
        made.append({each.get("judge"): each for each in files})
    for name, first in made[0].items():
        second = made[1].get(name) or first
        for what in ("fingerprint", "parameters"):
            if first.get(what) != second.get(what):
                raise CompareError(
                    f"{task}: judge {name!r} differs in {what} ({first.get(what)} and "
                    f"{second.get(what)}): judge both runs by the same judge"
                )


Tables = dict[str, "pd.DataFrame"]


def _one_model(folder: Path) -> tuple[str, Tables, Tables, dict[str, Path]]:
    """The model of an output folder; its outcomes by task, and its judged tables by task.

    Last, the judged tasks that no judge has judged yet, with the folder.
    """
    from persona_bench.scoring.compare import CompareError
    from persona_bench.scoring.judged import judge_files, read_judged
    from persona_bench.scoring.outcomes import read_outcomes
    from persona_bench.scoring.samples import find_samples, newest_samples

    everything = find_samples(folder)
    models = list(dict.fromkeys(samples.model for samples in everything))
    if len(models) > 1:
        raise CompareError(
            f"{folder} holds {len(models)} models ({', '.join(models)}): give one model's own "
            "folder below it"
        )
    graded: Tables = {}
    if not everything or not all(samples.judged for samples in everything):
        outcomes = read_outcomes(folder)
        graded = {str(task): rows for task, rows in outcomes.groupby("task", sort=False)}
    judged: Tables = {}
    unjudged: dict[str, Path] = {}
    if any(samples.judged for samples in everything):
        for samples in newest_samples(folder, judged=True):
            if judge_files(samples):
                judged[samples.task] = read_judged(samples.file)
            else:
                unjudged[samples.task] = folder
    name = models[0]
    return Path(name).name if Path(name).is_absolute() else name, graded, judged, unjudged
