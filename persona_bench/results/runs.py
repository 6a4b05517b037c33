"""Everything that is known of the models in some folders, read once: `read_folder`, `read_runs`."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.results.judged import JudgeFile, judge_files, judged_table
from persona_bench.results.other_run import Choice, OtherRun
from persona_bench.results.outcomes import graded_outcomes, read_responses
from persona_bench.results.samples import (
    NoSamplesError,
    OutcomesError,
    Samples,
    newest_samples,
    progress,
)
from persona_bench.results.sources import read_source
from persona_bench.texts import file_stem

STEPS = ("final", "best", "model", "checkpoint", "merged")
"""Names of folders that name no model by themselves, as `checkpoint-40` does not."""


@dataclass(frozen=True, eq=False)
class TaskResults:
    """One model's results on one task.

    Attributes:
        samples: The files they were read from, with the facts of the run.
        responses: One row per response (`schema.Outcome`).
        outcomes: The rows to score, those of questions that have all their personas; None where
            responses are judged instead of graded.
        judges: The judges' files.
        verdicts: What the judges found of judged responses, one row per response and judge
            (`schema.Judgement`); None where no judge was asked yet.
        voice: What the judges found of the voice of graded responses, in the same columns; None
            where no judge was asked.
        trace: What `persona-bench trace` wrote of these responses; empty where it did not.
        likelihoods: The likelihoods behind its persona information; None where there are none.
    """

    samples: Samples
    responses: pd.DataFrame
    outcomes: pd.DataFrame | None = None
    judges: Sequence[JudgeFile] = ()
    verdicts: pd.DataFrame | None = None
    voice: pd.DataFrame | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)
    likelihoods: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """What one model answered.

    Attributes:
        name: The name that reports show.
        model: The name that the results files have.
        folder: Where it was read from.
        tasks: By the task's name.
    """

    name: str
    model: str
    folder: Path
    tasks: Mapping[str, TaskResults]

    @property
    def outcomes(self) -> dict[str, pd.DataFrame]:
        """The outcomes of each graded task."""
        return {
            task: each.outcomes for task, each in self.tasks.items() if each.outcomes is not None
        }

    @property
    def judged(self) -> dict[str, TaskResults]:
        """The tasks whose responses are judged."""
        return {task: each for task, each in self.tasks.items() if each.outcomes is None}

    @property
    def verdicts(self) -> dict[str, pd.DataFrame]:
        """The judges' verdicts of each judged task that some judge was asked about."""
        return {
            task: each.verdicts for task, each in self.tasks.items() if each.verdicts is not None
        }

    @property
    def voices(self) -> dict[str, pd.DataFrame]:
        """The judges' verdicts on the voice of each graded task that some judge was asked about."""
        return {task: each.voice for task, each in self.tasks.items() if each.voice is not None}

    @property
    def checkpoint(self) -> tuple[str, str] | None:
        """Method and seed of the model: from a name `METHOD@SEED`, else from what
        `persona-bench train` wrote beside the weights; None where neither tells."""
        method, at, seed = self.name.rpartition("@")
        if at and method and seed:
            return method, seed
        for each in self.tasks.values():
            if training := each.samples.facts.get("training"):
                return str(training["method"]), str(training["seed"])
        return None


def read_folder(
    folder: Path, *more: Path, asked: bool = False, choice: Choice | None = None
) -> list[Run]:
    """The models of one output folder, with the newest results of each task; graded tasks first.

    Args:
        folder: An output folder, one samples file, or results of another program (`sources`).
        more: Further results of another program, read with the first as one.
        asked: Whether to read what was asked, too (the columns `schema.ASKED`).
        choice: What is chosen about another program's logs.

    Raises:
        OutcomesError: no results there, or a file that can't be read.
    """
    others = read_source([folder, *more], choice or Choice())
    if others is not None:
        return _other_runs(others, folder, asked)
    by_model: dict[str, list[Samples]] = {}
    for samples in newest_samples(folder):
        by_model.setdefault(samples.model, []).append(samples)
    runs = []
    for model, files in by_model.items():
        files.sort(key=lambda each: each.judged)
        tasks = {each.task: _read_task(each, folder, asked) for each in files}
        runs.append(Run(_shown(model), model, folder, tasks))
    return runs


def _read_task(samples: Samples, folder: Path, asked: bool) -> TaskResults:
    responses = read_responses(samples, asked=asked or samples.judged)  # how each of them ended
    judges = judge_files(samples)
    verdicts = judged_table(judges) if judges else None
    if not samples.judged:
        outcomes = graded_outcomes(samples, responses)
        likelihoods = _trace(samples, folder)[1] if "turns" in samples.facts else None
        return TaskResults(
            samples, responses, outcomes, judges, voice=verdicts, likelihoods=likelihoods
        )
    trace, likelihoods = _trace(samples, folder)
    return TaskResults(
        samples, responses, None, judges, verdicts, trace=trace, likelihoods=likelihoods
    )


def _other_runs(others: Sequence[OtherRun], folder: Path, asked: bool) -> list[Run]:
    by_model: dict[str, dict[str, TaskResults]] = {}
    for each in others:
        responses, outcomes = each.responses(asked=asked), each.outcomes(asked=asked)
        by_model.setdefault(each.model, {})[each.task] = TaskResults(each, responses, outcomes)
    return [Run(_shown(model), model, folder, tasks) for model, tasks in by_model.items()]


def _shown(model: str) -> str:
    """A model's name without the folders above it; `rlvr-1/checkpoint-40` keeps its training's."""
    path = Path(model)
    if not path.is_absolute() and not os.path.isdir(model):
        return model
    is_step = path.name.startswith("checkpoint-") or path.name in STEPS
    return f"{path.parent.name}/{path.name}" if is_step and path.parent.name else path.name


def _trace(samples: Samples, folder: Path) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """The newest trace of exactly these responses, in the folder or in `scores` beside it."""
    root = folder if folder.is_dir() else folder.parent
    stem = f"{file_stem(samples.task)}_trace"
    files = {*root.rglob(f"{stem}.json"), *(root.parent / "scores").rglob(f"{stem}.json")}
    for file in sorted(files, key=lambda each: each.stat().st_mtime, reverse=True):
        try:
            trace = dict(json.loads(file.read_text(encoding="utf-8")))
            run = trace["provenance"]["run"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if trace.get("model") == samples.model and run.get("samples_file") == samples.file.name:
            table = file.with_name(f"{stem}_likelihoods.csv")
            return trace, pd.read_csv(table) if table.is_file() else None
    return {}, None


def read_runs(
    given: Sequence[str | Path], *, leave_empty: bool = False, asked: bool = False
) -> list[Run]:
    """The models of some output folders, in that order.

    Args:
        given: Folders, or `NAME=FOLDER` to name the model that is in it. One that holds several
            models gives all of them.
        leave_empty: Drop folders without samples, with a warning, if others have some.
        asked: Whether to read what was asked, too (the columns `schema.ASKED`).

    Raises:
        OutcomesError: a folder without results, a name for a folder with several models, or two
            models with one name.
    """
    runs: list[Run] = []
    empty = 0
    for each in given:
        name, folder = split_name(each)
        try:
            models = read_folder(folder, asked=asked)
        except NoSamplesError:
            empty += 1
            if leave_empty and empty < len(given):
                warnings.warn(f"left out: {folder}, which has no samples", stacklevel=2)
                continue
            raise
        if name and len(models) > 1:
            raise OutcomesError(
                f"{folder} holds {len(models)} models ({', '.join(run.model for run in models)}), "
                f"and {name!r} names one: give that model's own folder below it"
            )
        runs += [replace(run, name=name or run.name) for run in models]
    for run in runs:
        _warn_of_early_looks(run)
    return _with_different_names(runs)


def split_name(given: str | Path) -> tuple[str, Path]:
    """`NAME=FOLDER` as the two; the name is empty where there is none."""
    text = str(given)
    if "=" in text and not Path(text).exists():
        name, _, folder = text.partition("=")
        if name and folder:
            return name, Path(folder)
    return "", Path(text)


def _warn_of_early_looks(run: Run) -> None:
    for task, each in run.tasks.items():
        facts = each.samples.facts
        if part := facts.get("unfinished"):
            warnings.warn(
                f"{task} of {run.model} is an unfinished run: {part['stored']:,} of "
                f"{part['asked']:,} responses",
                stacklevel=3,
            )
        plan = facts.get("until")
        if plan and not plan.get("over"):
            warnings.warn(f"{task} of {run.model}. {progress(plan)}", stacklevel=3)


def _with_different_names(runs: list[Run]) -> list[Run]:
    """Runs of one model in several folders are told apart by their folders.

    Files are named after them, so that names have to differ in letters and digits.
    """
    names = [run.name for run in runs]
    named = [_with_folder(run) if names.count(run.name) > 1 else run for run in runs]
    stems = [file_stem(run.name) for run in named]
    if twice := [run.name for run, stem in zip(named, stems, strict=True) if stems.count(stem) > 1]:
        raise OutcomesError(
            f"{len(twice)} of these are called {' or '.join(dict.fromkeys(twice))}: name them, as "
            "in base=FOLDER tuned=FOLDER"
        )
    return named


def _with_folder(run: Run) -> Run:
    """The run named by its model and the folder given, or the one above it if that is the model."""
    folder = run.folder.parent if run.folder.name == run.name else run.folder
    return replace(run, name=f"{run.name} ({folder.name})")
