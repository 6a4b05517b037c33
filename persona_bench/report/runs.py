"""Stored runs, read and scored: what a report of one or several models is made of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.report.names import file_stem
from persona_bench.scoring.compare import CompareError
from persona_bench.scoring.fidelity import Fidelity, fidelity
from persona_bench.scoring.judged import JudgeFile, judge_files, read_judged, read_voice
from persona_bench.scoring.outcomes import read_outcomes, read_provenance
from persona_bench.scoring.samples import NoSamplesError, Samples, newest_samples
from persona_bench.scoring.sensitivity import GraderSensitivity
from persona_bench.scoring.sequential import progress
from persona_bench.scoring.stability import Stability, stability
from persona_bench.scoring.variance import VarianceParts, variance_parts
from persona_bench.scoring.voice import Voice, VoiceComparison, VoiceError, compare_voice, voice


@dataclass(frozen=True)
class Graded:
    """One model on one task whose responses are right or wrong."""

    samples: Samples
    outcomes: pd.DataFrame

    @property
    def voice(self) -> pd.DataFrame:
        """What judges said of the voice of the responses; empty where no judge was asked."""
        return read_voice(self.samples)


@dataclass(frozen=True)
class Judged:
    """One model on one task whose responses are judged.

    Attributes:
        samples: The responses.
        verdicts: As `read_judged` gives them; None where no judge was asked yet.
        trace: What `persona-bench trace` wrote of these responses; empty where it did not.
        likelihoods: The likelihoods behind its persona information; None where there are none.
    """

    samples: Samples
    verdicts: pd.DataFrame | None
    trace: Mapping[str, Any] = field(default_factory=dict)
    likelihoods: pd.DataFrame | None = None

    @property
    def judges(self) -> list[JudgeFile]:
        """The judges' files."""
        return judge_files(self.samples)


@dataclass(frozen=True)
class Run:
    """What one model answered.

    Attributes:
        name: As it is shown.
        model: As the results name it.
        folder: Where it was read from.
        graded: By task.
        judged: By task.
    """

    name: str
    model: str
    folder: Path
    graded: Mapping[str, Graded]
    judged: Mapping[str, Judged]

    @property
    def checkpoint(self) -> tuple[str, str] | None:
        """Method and seed of the model: from a name `METHOD@SEED`, else from what
        `persona-bench train` wrote beside the weights; None where neither tells."""
        method, at, seed = self.name.rpartition("@")
        if at and method and seed:
            return method, seed
        for each in self.of_tasks.values():
            if training := each.samples.told.get("training"):
                return str(training["method"]), str(training["seed"])
        return None

    @property
    def of_tasks(self) -> dict[str, Graded | Judged]:
        """All of it by task, the graded ones first."""
        return {**self.graded, **self.judged}

    def provenance(self) -> dict[str, dict[str, Any]]:
        """How each task was run, by task."""
        with warnings.catch_warnings():  # said when it was read
            warnings.simplefilter("ignore")
            return {
                task: read_provenance(each.samples.file)[self.model, task]
                for task, each in self.of_tasks.items()
            }


def read_runs(given: Sequence[str | Path], *, leave_empty: bool = False) -> list[Run]:
    """The models of some output folders, in that order.

    Args:
        given: Folders, or `NAME=FOLDER` to name the model that is in it. One that holds several
            models gives all of them.
        leave_empty: Leave out folders without samples, with a warning, if others have some.

    Raises:
        CompareError: a name for a folder with several models, or two models with one name.
        OutcomesError: a folder without results.
    """
    found: list[Run] = []
    empty: list[NoSamplesError] = []
    for each in given:
        name, folder = named(each)
        by_model: dict[str, list[Samples]] = {}
        try:
            newest = newest_samples(folder)
        except NoSamplesError as error:
            empty.append(error)
            if leave_empty and len(empty) < len(given):
                warnings.warn(f"left out: {folder}, which has no samples", stacklevel=2)
                continue
            raise
        for samples in newest:
            by_model.setdefault(samples.model, []).append(samples)
        if name and len(by_model) > 1:
            raise CompareError(
                f"{folder} holds {len(by_model)} models ({', '.join(by_model)}), and {name!r} "
                "names one: give that model's own folder below it"
            )
        found += [_run(name, model, folder, samples_of) for model, samples_of in by_model.items()]
    return _unlike(found)


def named(given: str | Path) -> tuple[str, Path]:
    """`NAME=FOLDER` as the two; the name is empty where there is none."""
    text = str(given)
    if "=" in text and not Path(text).exists():
        name, _, folder = text.partition("=")
        if name and folder:
            return name, Path(folder)
    return "", Path(text)


def _run(name: str, model: str, folder: Path, samples_of: Iterable[Samples]) -> Run:
    graded: dict[str, Graded] = {}
    judged: dict[str, Judged] = {}
    for samples in samples_of:
        if part := samples.told.get("unfinished"):
            warnings.warn(
                f"{samples.task} of {model} is an unfinished run: {part['stored']:,} of "
                f"{part['asked']:,} responses",
                stacklevel=3,
            )
        plan = samples.told.get("until")
        if plan and not plan.get("over"):
            warnings.warn(f"{samples.task} of {model}. {progress(plan)}", stacklevel=3)
        if samples.judged:
            verdicts = read_judged(samples.file) if judge_files(samples) else None
            judged[samples.task] = Judged(samples, verdicts, *trace_of(samples, folder))
        else:
            graded[samples.task] = Graded(samples, read_outcomes(samples.file))
    path = Path(model)
    shown = path.name if path.is_absolute() or path.is_dir() else model
    return Run(name or shown, model, folder, graded, judged)


def trace_of(samples: Samples, folder: Path) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """The newest trace of exactly these responses, in the folder or in `scores` beside it."""
    root = folder if folder.is_dir() else folder.parent
    stem = f"{file_stem(samples.task)}_trace"
    files = {*root.rglob(f"{stem}.json"), *(root.parent / "scores").rglob(f"{stem}.json")}
    for file in sorted(files, key=lambda each: each.stat().st_mtime, reverse=True):
        try:
            told = dict(json.loads(file.read_text(encoding="utf-8")))
            run = told["provenance"]["run"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if told.get("model") == samples.model and run.get("samples_file") == samples.file.name:
            table = file.with_name(f"{stem}_likelihoods.csv")
            return told, pd.read_csv(table) if table.is_file() else None
    return {}, None


def _unlike(runs: list[Run]) -> list[Run]:
    """Runs of one model in several folders are named by their folders.

    Files are named after them, so that names have to differ in letters and digits.
    """
    names = [run.name for run in runs]
    own = [replace(run, name=run.folder.name) if names.count(run.name) > 1 else run for run in runs]
    stems = [file_stem(run.name) for run in own]
    if twice := [run.name for run, stem in zip(own, stems, strict=True) if stems.count(stem) > 1]:
        raise CompareError(
            f"{len(twice)} of these are called {' or '.join(dict.fromkeys(twice))}: name them, as "
            "in base=FOLDER tuned=FOLDER"
        )
    return own


# ---------------------------------------------------------------------- scored


@dataclass(frozen=True)
class Settings:
    """Of the intervals and tests.

    Attributes:
        confidence: Level of the intervals.
        resamples: Bootstrap replicates, exchanges, flips and swaps.
        seed: Seed of all that is random.
    """

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As arguments."""
        return {"confidence": self.confidence, "resamples": self.resamples, "seed": self.seed}


@dataclass(frozen=True)
class Scored:
    """The numbers of one model on one graded task."""

    stability: Stability
    parts: VarianceParts
    by_level: Mapping[str, Stability]
    """Of the questions of each level; empty with fewer than two levels."""
    sensitivity: GraderSensitivity | None = None
    """What a strict grader would give; None where routes are not recorded, or not asked for."""
    voice: Voice | None = None
    """How often responses are right and in character; None where no judge was asked."""


def scored_outcomes(outcomes: pd.DataFrame, settings: Settings) -> Scored:
    """Stability, its parts, and stability level by level."""
    told = settings.to_dict()
    with warnings.catch_warnings():  # they are in the notes
        warnings.simplefilter("ignore")
        return Scored(
            stability(outcomes, **told),
            variance_parts(outcomes, **told),
            stability_by_level(outcomes, settings),
        )


def stability_by_level(outcomes: pd.DataFrame, settings: Settings) -> dict[str, Stability]:
    """Of the questions of each level; empty with fewer than two levels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = {
            str(level): stability(rows, **settings.to_dict())
            for level, rows in outcomes.groupby("level", sort=True)
            if str(level)
        }
    return levels if len(levels) > 1 else {}


def scored_verdicts(verdicts: pd.DataFrame, settings: Settings) -> Fidelity:
    """Fidelity of one model on one task."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fidelity(verdicts, confidence=settings.confidence)


def scored_voice(
    outcomes: pd.DataFrame, judged: pd.DataFrame, confidence: float = 0.95
) -> Voice | None:
    """How often one model is right and in character; None where that is not known."""
    try:
        return voice(outcomes, judged, confidence=confidence) if len(judged) else None
    except VoiceError:
        return None


def compared_voice(a: Graded, b: Graded, confidence: float = 0.95) -> VoiceComparison | None:
    """Two models' voices on one task; None, with a warning where both are judged, if they can't be
    compared."""
    found = [scored_voice(each.outcomes, each.voice, confidence) for each in (a, b)]
    if found[0] is None or found[1] is None:
        return None
    try:
        return compare_voice(found[0], found[1])
    except VoiceError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
