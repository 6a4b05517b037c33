"""Several runs compared in pairs with the first of them: printed, written, and on a page."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from persona_bench.report.comparison import print_comparison, write_comparison
from persona_bench.report.compose.pages import PaperTables, Trainings, compare_page
from persona_bench.report.drift import (
    compared_drifts,
    drift_comparison_lines,
    write_drift_comparison,
)
from persona_bench.report.fidelity import print_fidelity_comparison, write_fidelity_comparison
from persona_bench.report.names import file_stem
from persona_bench.report.places import command_line
from persona_bench.report.rankings import ranking_line
from persona_bench.report.runs import Settings, compared_voice, scored_voice
from persona_bench.report.score_judged import entry_tests
from persona_bench.report.voice import voice_comparison_lines
from persona_bench.results.runs import Run
from persona_bench.scoring.as_published import (
    PublishedComparison,
    as_published,
    compare_published,
)
from persona_bench.scoring.comparable import (
    CompareError,
    different_generation,
    generation_differences,
    restrict_to_common,
)
from persona_bench.scoring.compare import Comparison
from persona_bench.scoring.compare import compare as compare_outcomes
from persona_bench.scoring.drift import DriftComparison
from persona_bench.scoring.estimate import plain
from persona_bench.scoring.fidelity_compare import (
    FidelityComparison,
    compare_fidelity,
    restrict_to_common_verdicts,
)
from persona_bench.scoring.rankings import Ranking, ranking_agreement
from persona_bench.scoring.voice import VoiceComparison

Pairs = dict[str, Comparison]
RolePairs = dict[str, FidelityComparison]
Restrict = Callable[[pd.DataFrame, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]

RESAMPLES = 10_000
"""Bootstrap replicates, sign flips and label swaps."""


def compare_runs(
    runs: Sequence[Run],
    out_folder: Path | None,
    *,
    common: bool = False,
    allow_different_generation: bool = False,
    trainings: Trainings | None = None,
    paper: PaperTables | None = None,
    look: Mapping[str, Any] | None = None,
    page: bool = True,
    as_json: bool = False,
) -> None:
    """Compare every other run with the first one, on the tasks that all have.

    Args:
        runs: One model each.
        out_folder: Where tables, figures and the page go; None writes nothing.
        common: Compare only the questions and personas that all have.
        allow_different_generation: Compare runs with different generation settings too.
        trainings: Trainings that the page shows.
        paper: What makes the paper's tables; None leaves them out.
        look: The `width` (inches) and the `font` (`sans` or `serif`) of the figures.
        page: Draw figures, and write the page.
        as_json: Print JSON instead of tables.

    Raises:
        CompareError: fewer than two runs, no task in common, or runs that can't be compared.
    """
    if len(runs) < 2:
        raise CompareError(f"{runs[0].folder}: one model; give two or more to compare")
    graded, judged = _shared(runs)
    tables = {task: {run.name: run.outcomes[task] for run in runs} for task in graded}
    verdicts = {task: _verdicts(task, runs) for task in judged}
    if common:
        tables = {task: _common(each, restrict_to_common) for task, each in tables.items()}
        verdicts = {
            task: _common(each, restrict_to_common_verdicts) for task, each in verdicts.items()
        }
    settings = Settings(resamples=RESAMPLES)
    allowed = allow_different_generation
    _check_generation(runs, judged, allowed)
    pairs = {task: _compare(each, settings, allowed) for task, each in tables.items()}
    roles = {task: _compare_fidelity(each, settings) for task, each in verdicts.items()}
    voices = {task: _compare_voice(task, runs, each, settings) for task, each in tables.items()}
    rankings = {task: ranking_agreement(each) for task, each in tables.items()}
    beside = {
        task: {
            name: {"ranking": rankings[task].to_dict()}
            | ({"voice": voices[task][name].to_dict()} if name in voices[task] else {})
            for name in others
        }
        for task, others in pairs.items()
    }
    published = {
        task: {run.name: _compare_published(task, runs[0], run) for run in runs[1:]}
        for task in roles
    }
    tests = {
        task: {
            name: {
                "entry_tests": _entries(task, runs),
                "as_published": plain(published[task][name]),
            }
            for name in others
        }
        for task, others in roles.items()
    }
    drifts = compared_drifts(runs, settings.confidence)
    records = [
        *_records(runs, pairs, write_comparison, out_folder, beside),
        *_records(runs, roles, write_fidelity_comparison, out_folder, tests),
        *_records(runs, drifts, write_drift_comparison, out_folder, {}),
    ]
    console = Console()
    if as_json:
        print(json.dumps(records, indent=2))
    else:
        _print(runs, pairs, roles, voices, published, drifts, rankings, console)
    if out_folder is None:
        return
    if not as_json:
        console.print(f"\nFiles: {escape(str(out_folder))}", soft_wrap=True)
    if page:
        written = compare_page(
            runs,
            tables,
            pairs,
            verdicts,
            roles,
            voices,
            drifts,
            trainings,
            paper,
            settings,
            out_folder,
            look,
        )
        if not as_json:
            console.print(f"Page: {escape(str(written))}", soft_wrap=True)


def _shared(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """The graded tasks that all runs have, and the judged ones that are judged in all runs.

    A task whose responses no judge has scored is dropped with a warning, or is an error if there is
    nothing else to compare.
    """
    first, others = runs[0], runs[1:]
    graded = [task for task in first.outcomes if all(task in run.outcomes for run in others)]
    roles = [task for task in first.judged if all(task in run.judged for run in others)]
    waiting = [(task, run) for task in roles for run in runs if run.judged[task].verdicts is None]
    judged = [task for task in roles if task not in {task for task, _ in waiting}]
    for task, run in waiting:
        words = f"{run.folder}: {task} is not judged yet: run persona-bench judge {run.folder}"
        if not graded and not judged:
            raise CompareError(words)
        warnings.warn(f"{words}; its fidelity is not compared", stacklevel=1)
    if not graded and not judged:
        has = ", ".join(f"{run.folder} has {', '.join(run.tasks)}" for run in runs)
        raise CompareError(f"no task in common: {has}")
    return graded, judged


def _verdicts(task: str, runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """The verdicts by model.

    Raises:
        CompareError: judges with the same name are different models, or were asked differently.
    """
    judges_of_runs = [
        {file.about.get("judge"): file.about for file in run.judged[task].judges} for run in runs
    ]
    for others in judges_of_runs[1:]:
        for name, first in judges_of_runs[0].items():
            second = others.get(name) or first
            for what in ("fingerprint", "parameters"):
                if first.get(what) != second.get(what):
                    raise CompareError(
                        f"{task}: judge {name!r} differs in {what} ({first.get(what)} and "
                        f"{second.get(what)}): judge the runs by the same judge"
                    )
    return {run.name: run.verdicts[task] for run in runs}


def _entries(task: str, runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The entry tests of a task's judges; one that failed anywhere counts as failed."""
    files = [file for run in runs for file in run.judged[task].judges]
    failed_last = sorted(files, key=lambda file: not file.entry_test.get("passed"))
    return entry_tests(failed_last)


def _compare_published(task: str, a: Run, b: Run) -> PublishedComparison | None:
    """The difference under PersonaGym's published protocol, where both were judged by it."""
    found = [
        as_published([file.as_published for file in run.judged[task].judges]) for run in (a, b)
    ]
    first, second = found
    return compare_published(first, second) if first and second else None


def _common(tables: Mapping[str, pd.DataFrame], restrict: Restrict) -> dict[str, pd.DataFrame]:
    """The tables, each with only the questions and personas that all of them have."""
    first, *others = tables
    kept = dict(tables)
    for _ in range(2):  # the second round applies what later tables lack to earlier ones
        for name in others:
            kept[first], kept[name] = restrict(kept[first], kept[name])
    return kept


def _check_generation(runs: Sequence[Run], judged: Sequence[str], allowed: bool) -> None:
    """Checks that judged runs have the same generation settings, or warns if others are allowed.

    `scoring.compare.compare` checks graded runs itself.

    Raises:
        CompareError: they differ, and that is not allowed.
    """
    for task in judged:
        tables = [
            pd.DataFrame({"generation": [json.dumps(generation, sort_keys=True, default=str)]})
            for run in runs
            if (generation := run.judged[task].samples.generation)
        ]
        for other in tables[1:]:
            if differing := generation_differences(tables[0], other):
                if not allowed:
                    raise CompareError(f"{task}: {different_generation(differing)}")
                warnings.warn(
                    f"{task}: generated under different settings: {differing}", stacklevel=1
                )


def _compare(
    tables: Mapping[str, pd.DataFrame], settings: Settings, allow_different_generation: bool
) -> Pairs:
    """Every other model compared with the first one, by model."""
    (_, reference), *others = tables.items()
    return {
        name: compare_outcomes(
            reference,
            table,
            **asdict(settings),
            allow_different_generation=allow_different_generation,
        )
        for name, table in others
    }


def _compare_fidelity(tables: Mapping[str, pd.DataFrame], settings: Settings) -> RolePairs:
    """The same for the fidelity of the models."""
    (_, reference), *others = tables.items()
    return {name: compare_fidelity(reference, table, **asdict(settings)) for name, table in others}


def _compare_voice(
    task: str, runs: Sequence[Run], tables: Mapping[str, pd.DataFrame], settings: Settings
) -> dict[str, VoiceComparison]:
    """How often each model is right and in character beside the first, where judges were asked."""
    first, *others = (
        scored_voice(tables[run.name], run.voices.get(task), settings.confidence) for run in runs
    )
    compared = {
        run.name: compared_voice(first, each) for run, each in zip(runs[1:], others, strict=True)
    }
    return {name: each for name, each in compared.items() if each is not None}


# ---------------------------------------------------------------------- printed and written


def _provenance(runs: Sequence[Run], other: str) -> dict[str, Any]:
    """Which two models a record compares, and by which command."""
    by_name = {run.name: run for run in runs}
    pair = {"a": runs[0], "b": by_name[other]}
    models = {
        letter: {"model": run.name, "results": str(run.folder)} for letter, run in pair.items()
    }
    return {**models, "command": command_line()}


def _place(out_folder: Path, runs: Sequence[Run], other: str) -> Path:
    """The folder of a pair: one of its own if there are several pairs."""
    pair = f"{file_stem(other)}_vs_{file_stem(runs[0].name)}"
    return out_folder if len(runs) == 2 else out_folder / pair


def _records(
    runs: Sequence[Run],
    results: Mapping[str, Mapping[str, Any]],
    write: Callable[..., list[Path]],
    out_folder: Path | None,
    beside: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Every pair of every task as a record, written where a folder is given.

    `beside` has more to record of each task and model.
    """
    records = []
    for task, others in results.items():
        for name, result in others.items():
            more = beside.get(task, {}).get(name, {})
            record = {"task": task, **_provenance(runs, name), **result.to_dict(), **more}
            records.append(record)
            if out_folder is not None:
                write(result, _place(out_folder, runs, name), task=task, record=record)
    return records


def _print(
    runs: Sequence[Run],
    pairs: Mapping[str, Pairs],
    roles: Mapping[str, RolePairs],
    voices: Mapping[str, Mapping[str, VoiceComparison]],
    published: Mapping[str, Mapping[str, PublishedComparison | None]],
    drifts: Mapping[str, Mapping[str, DriftComparison]],
    rankings: Mapping[str, Ranking],
    console: Console,
) -> None:
    a = runs[0].name
    for task, others in pairs.items():
        for b, result in others.items():
            print_comparison(result, title=task, a=a, b=b, console=console)
            if b in voices[task]:
                for line in voice_comparison_lines(voices[task][b], a, b):
                    console.print(escape(line), soft_wrap=True)
        if line := ranking_line(rankings[task]):
            console.print(escape(line))
    for task, of_drift in drifts.items():
        for b, told in of_drift.items():
            for line in drift_comparison_lines(told, a, b):
                console.print(escape(f"{task}. {line}"), soft_wrap=True)
    for task, of_roles in roles.items():
        for b, fidelities in of_roles.items():
            print_fidelity_comparison(
                fidelities,
                title=task,
                a=a,
                b=b,
                console=console,
                entries=_entries(task, runs),
                published=published[task][b],
            )
