"""`persona-bench compare`: stored runs, paired, on the tasks that they share."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands.places import command_line

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.figures.training import TrainingLog
    from persona_bench.report.runs import Run
    from persona_bench.scoring.compare import Comparison
    from persona_bench.scoring.fidelity_compare import FidelityComparison
    from persona_bench.scoring.voice import VoiceComparison


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_A RUN_B ...",
            help="Output folders of one model each, or NAME=FOLDER; differences are from RUN_A.",
        ),
    ],
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Write tables, figures and the page (index.html) here."),
    ] = None,
    page: Annotated[
        bool, typer.Option(help="Draw figures, and write the page of them and all responses.")
    ] = True,
    common: Annotated[
        bool,
        typer.Option("--common", help="Compare only the questions and personas that all have."),
    ] = False,
    by_method: Annotated[
        bool,
        typer.Option(
            "--by-method",
            help="Compare training methods, with the seed as the unit: METHOD@SEED=FOLDER ...",
        ),
    ] = False,
    allow_different_generation: Annotated[
        bool,
        typer.Option(
            "--allow-different-generation",
            help="Compare runs with other temperature, tokens, samples, ... too, and say so.",
        ),
    ] = False,
    training: Annotated[
        list[str] | None,
        typer.Option(
            "--training", metavar="[NAME=]FOLDER", help="A checkpoint whose training is drawn too."
        ),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap replicates, flips and swaps.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare models on the same questions and personas: accuracy, PSS, fidelity, p-values."""
    from persona_bench.report.comparison import write_comparison
    from persona_bench.report.fidelity import write_fidelity_comparison
    from persona_bench.report.runs import Settings, read_runs
    from persona_bench.scoring.compare import CompareError, restrict_to_common
    from persona_bench.scoring.fidelity_compare import restrict_to_common_verdicts

    found = read_runs(runs)
    if by_method:
        from persona_bench.commands.methods import compare_by_method

        compare_by_method(found, out_folder, confidence=confidence, seed=seed, as_json=as_json)
        return
    if len(found) < 2:
        raise CompareError(f"{', '.join(map(str, runs))}: one model; give two or more to compare")
    logs: dict[str, TrainingLog] = {}
    if training:  # what is wrong with them is said before anything is computed
        from persona_bench.commands.pages import training_logs

        logs = training_logs(training)
    graded, judged = _shared(found)
    tables = {task: {run.name: run.graded[task].outcomes for run in found} for task in graded}
    verdicts = {task: _verdicts(task, found) for task in judged}
    if common:
        tables = {task: _common(each, restrict_to_common) for task, each in tables.items()}
        verdicts = {
            task: _common(each, restrict_to_common_verdicts) for task, each in verdicts.items()
        }
    settings = Settings(confidence, resamples, seed)
    allowed = allow_different_generation
    _check_generation(found, judged, allowed)
    pairs = {task: _compare(each, settings, allowed) for task, each in tables.items()}
    roles = {task: _compare_fidelity(each, settings) for task, each in verdicts.items()}
    voices = {task: _compare_voice(task, found, confidence) for task in pairs}
    spoken = {
        task: {name: {"voice": each.to_dict()} for name, each in of_task.items()}
        for task, of_task in voices.items()
    }
    tests = {
        task: {name: {"entry_tests": _entries(task, found)} for name in of_task}
        for task, of_task in roles.items()
    }
    records = [
        *_records(found, pairs, write_comparison, out_folder, spoken),
        *_records(found, roles, write_fidelity_comparison, out_folder, tests),
    ]
    console = Console()
    if as_json:
        print(json.dumps(records, indent=2))
    else:
        _print(found, pairs, roles, voices, console)
    if out_folder is None:
        return
    if not as_json:
        console.print(f"\nFiles: {escape(str(out_folder))}", soft_wrap=True)
    if page:
        from persona_bench.commands.pages import compare_page

        written = compare_page(
            found, tables, pairs, verdicts, roles, voices, logs, settings, out_folder
        )
        if not as_json:
            console.print(f"Page: {escape(str(written))}", soft_wrap=True)


def _shared(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """Graded tasks that all have, and judged ones that are judged in all.

    A task whose responses no judge has seen is left out with a warning, or, where there is nothing
    else to compare, is an error.
    """
    from persona_bench.scoring.compare import CompareError

    first, others = runs[0], runs[1:]
    graded = [task for task in first.graded if all(task in run.graded for run in others)]
    roles = [task for task in first.judged if all(task in run.judged for run in others)]
    waiting = [(task, run) for task in roles for run in runs if run.judged[task].verdicts is None]
    judged = [task for task in roles if task not in {task for task, _ in waiting}]
    for task, run in waiting:
        words = f"{run.folder}: {task} is not judged yet: run persona-bench judge {run.folder}"
        if not graded and not judged:
            raise CompareError(words)
        warnings.warn(f"{words}; its fidelity is not compared", stacklevel=1)
    if not graded and not judged:
        has = ", ".join(f"{run.folder} has {', '.join(run.of_tasks)}" for run in runs)
        raise CompareError(f"no task in common: {has}")
    return graded, judged


def _verdicts(task: str, runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """By model; refuses judges of one name that are different models, or were asked otherwise."""
    from persona_bench.scoring.compare import CompareError

    made = [{file.about.get("judge"): file.about for file in run.judged[task].judges}
            for run in runs]  # fmt: skip
    for other in made[1:]:
        for name, first in made[0].items():
            second = other.get(name) or first
            for what in ("fingerprint", "parameters"):
                if first.get(what) != second.get(what):
                    raise CompareError(
                        f"{task}: judge {name!r} differs in {what} ({first.get(what)} and "
                        f"{second.get(what)}): judge the runs by the same judge"
                    )
    found = {run.name: run.judged[task].verdicts for run in runs}
    return {name: table for name, table in found.items() if table is not None}


def _entries(task: str, runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The entry tests of a task's judges; one that failed anywhere counts as failed."""
    from persona_bench.commands.fidelity import entry_tests

    files = [file for run in runs for file in run.judged[task].judges]
    failed_last = sorted(files, key=lambda file: not file.entry_test.get("passed"))
    return entry_tests(failed_last)


Restrict = Callable[["pd.DataFrame", "pd.DataFrame"], tuple["pd.DataFrame", "pd.DataFrame"]]


def _common(tables: Mapping[str, pd.DataFrame], restrict: Restrict) -> dict[str, pd.DataFrame]:
    """All tables with only what all of them have."""
    first, *others = tables
    found = dict(tables)
    for _ in range(2):  # the second time round, to what the last of them left
        for name in others:
            found[first], found[name] = restrict(found[first], found[name])
    return found


Pairs = dict[str, "Comparison"]
RolePairs = dict[str, "FidelityComparison"]


def _check_generation(runs: Sequence[Run], judged: Sequence[str], allowed: bool) -> None:
    """Refuses judged runs with different generation settings, or warns where that is allowed.

    Graded ones are checked by `compare` itself.
    """
    import pandas as pd

    from persona_bench.scoring.compare import (
        CompareError,
        different_generation,
        generation_differences,
    )

    for task in judged:
        tables = [
            pd.DataFrame({"generation": [json.dumps(told, sort_keys=True, default=str)]})
            for run in runs
            if (told := run.judged[task].samples.generation)
        ]
        for other in tables[1:]:
            if differing := generation_differences(tables[0], other):
                if not allowed:
                    raise CompareError(f"{task}: {different_generation(differing)}")
                warnings.warn(
                    f"{task}: generated under different settings: {differing}", stacklevel=1
                )


def _compare(
    tables: Mapping[str, pd.DataFrame], settings: Any, allow_different_generation: bool
) -> Pairs:
    from persona_bench.scoring.compare import compare as compare_outcomes

    (_, reference), *others = tables.items()
    return {
        name: compare_outcomes(
            reference,
            table,
            **settings.to_dict(),
            allow_different_generation=allow_different_generation,
        )
        for name, table in others
    }


def _compare_fidelity(tables: Mapping[str, pd.DataFrame], settings: Any) -> RolePairs:
    from persona_bench.scoring.fidelity_compare import compare_fidelity

    (_, reference), *others = tables.items()
    return {
        name: compare_fidelity(reference, table, **settings.to_dict()) for name, table in others
    }


def _compare_voice(task: str, runs: Sequence[Run], confidence: float) -> dict[str, VoiceComparison]:
    """How often each model is right and in character beside the first, where judges were asked."""
    from persona_bench.report.runs import compared_voice

    first, *others = runs
    found = {
        run.name: compared_voice(first.graded[task], run.graded[task], confidence) for run in others
    }
    return {name: each for name, each in found.items() if each is not None}


# ---------------------------------------------------------------------- printed and written


def _made(runs: Sequence[Run], other: str) -> dict[str, Any]:
    by_name = {run.name: run for run in runs}
    pair = {"a": runs[0], "b": by_name[other]}
    told = {letter: {"model": run.name, "results": str(run.folder)} for letter, run in pair.items()}
    return {**told, "command": command_line()}


def _place(out_folder: Path, runs: Sequence[Run], other: str) -> Path:
    """A pair's own folder where there are several pairs."""
    from persona_bench.report.names import file_stem

    pair = f"{file_stem(other)}_vs_{file_stem(runs[0].name)}"
    return out_folder if len(runs) == 2 else out_folder / pair


def _records(
    runs: Sequence[Run],
    found: Mapping[str, Mapping[str, Any]],
    write: Callable[..., list[Path]],
    out_folder: Path | None,
    beside: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Every pair of every task as a record, written where a folder is given.

    `beside` has more to record of each task and model.
    """
    records = []
    for task, others in found.items():
        for name, result in others.items():
            more = beside.get(task, {}).get(name, {})
            record = {"task": task, **_made(runs, name), **result.to_dict(), **more}
            records.append(record)
            if out_folder is not None:
                write(result, _place(out_folder, runs, name), task=task, record=record)
    return records


def _print(
    runs: Sequence[Run],
    pairs: Mapping[str, Pairs],
    roles: Mapping[str, RolePairs],
    voices: Mapping[str, Mapping[str, VoiceComparison]],
    console: Console,
) -> None:
    from persona_bench.report.comparison import print_comparison
    from persona_bench.report.fidelity import print_fidelity_comparison
    from persona_bench.report.voice import voice_comparison_lines

    a = runs[0].name
    for task, others in pairs.items():
        for b, result in others.items():
            print_comparison(result, title=task, a=a, b=b, console=console)
            if b in voices[task]:
                for line in voice_comparison_lines(voices[task][b], a, b):
                    console.print(escape(line), soft_wrap=True)
    for task, of_roles in roles.items():
        for b, found in of_roles.items():
            print_fidelity_comparison(
                found, title=task, a=a, b=b, console=console, entries=_entries(task, runs)
            )
