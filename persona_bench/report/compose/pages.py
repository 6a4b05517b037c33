"""The page and figures of a scoring, and those of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from persona_bench.provenance import versions
from persona_bench.report.compose.drift import drift_section
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.compose.models import (
    GradedModels,
    JudgedModels,
    graded_models_section,
    judged_models_section,
    overview_section,
)
from persona_bench.report.compose.run import graded_section
from persona_bench.report.drift import drift_comparison_lines, drift_of, drifting
from persona_bench.report.page.contents import PageContents, PageTable, Section
from persona_bench.report.page.responses import page_responses
from persona_bench.report.page.write import write_page
from persona_bench.report.places import Places, command_line
from persona_bench.report.runs import (
    Scored,
    Settings,
    scored_outcomes,
    scored_verdicts,
    stability_by_level,
)
from persona_bench.report.voice import voice_comparison_lines
from persona_bench.results.samples import progress

if TYPE_CHECKING:
    from persona_bench.results.runs import Run, TaskResults
    from persona_bench.scoring.compare import Comparison
    from persona_bench.scoring.drift import DriftComparison
    from persona_bench.scoring.fidelity_compare import FidelityComparison
    from persona_bench.scoring.sensitivity import GraderSensitivity
    from persona_bench.scoring.stability import Stability
    from persona_bench.scoring.voice import Voice, VoiceComparison
    from persona_bench.scoring.wordings import PromptEffects

PAGE = "index.html"


class Trainings(Protocol):
    """Trainings whose curves and completions a page shows."""

    def section(self, gallery: Gallery) -> Section:
        """Their section, with figures."""

    def responses(self) -> list[pd.DataFrame]:
        """The logged completions of each, for `PageContents.responses`."""


class PaperTables(Protocol):
    """What makes the tables of a comparison: `persona_bench.extras.paper.comparison`."""

    def overview_table(
        self,
        names: Sequence[str],
        graded: Sequence[GradedModels],
        judged: Sequence[JudgedModels],
        methods: Mapping[str, Sequence[str]],
        confidence: float,
    ) -> Any:
        """All models on all tasks."""

    def task_tables(self, models: GradedModels) -> list[Any]:
        """The models on one task."""

    def write_tables(self, tables: Sequence[Any], folder: Path) -> list[PageTable]:
        """Writes tables as files; returns them for the page."""


def provenance_line(names: Sequence[str], settings: Mapping[str, Any]) -> str:
    """How a figure was made: command, models, versions and seed, in one line."""
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"{command_line()}; models: {', '.join(names)}; {told}; {made}"


def responses_of(results: Sequence[tuple[str, TaskResults]]) -> pd.DataFrame:
    """All responses, for the page's browser; each task's model has the name that is given."""
    frames = [page_responses(each).assign(model=name) for name, each in results]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def stability_page(
    task: str,
    model: str,
    result: Stability,
    groups: pd.DataFrame,
    sensitivity: GraderSensitivity | None,
    outcomes: pd.DataFrame,
    folder: Path,
    settings: Settings,
    voice: Voice | None = None,
    prompts: PromptEffects | None = None,
    notes: Sequence[str] = (),
) -> tuple[Section, list[Path]]:
    """One model on one task: its section, and the files of its figures."""
    gallery = Gallery(folder, provenance_line([model], asdict(settings)))
    same = [each for each in ("level", "subject", "date") if outcomes[each].nunique() == 1]
    by = same[0] if same and task != str(outcomes["task"].iloc[0]) else ""
    levels = stability_by_level(outcomes, settings)
    scored = Scored(result, groups, levels, sensitivity, prompts, voice)
    return graded_section(task, model, scored, outcomes, gallery, by=by, notes=notes), gallery.paths


def score_page(
    results: Path, tasks: Sequence[TaskResults], places: Places, sections: Sequence[Section]
) -> Path:
    """Writes the page of a scoring; returns it."""
    shown = [(places.name(each.samples.model), each) for each in tasks]
    names = list(dict.fromkeys(name for name, _ in shown))
    titles = list(dict.fromkeys(each.samples.task for each in tasks))
    contents = PageContents(
        title=", ".join(names),
        summary=[f"{', '.join(names)} on {', '.join(titles)}.", *_unfinished(shown)],
        sections=sections,
        responses=responses_of(shown),
        provenance={
            "command": command_line(),
            "results": str(results),
            "scored_with": versions(),
            "runs": {
                f"{each.samples.task} of {name}": each.samples.provenance for name, each in shown
            },
        },
    )
    return write_page(contents, places.folder / PAGE)


def _unfinished(results: Sequence[tuple[str, TaskResults]]) -> list[str]:
    runs = [(f"{each.samples.task} of {name}", each.samples.facts) for name, each in results]
    parts = [(run, facts["unfinished"]) for run, facts in runs if facts.get("unfinished")]
    plans = [(run, facts["until"]) for run, facts in runs if facts.get("until")]
    return [
        f"{run} is an unfinished run: {part['stored']:,} of {part['asked']:,} responses."
        for run, part in parts
    ] + [f"{run}. {progress(plan)}." for run, plan in plans]


def compare_page(
    runs: Sequence[Run],
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    pairs: Mapping[str, Mapping[str, Comparison]],
    verdicts: Mapping[str, Mapping[str, pd.DataFrame]],
    roles: Mapping[str, Mapping[str, FidelityComparison]],
    voices: Mapping[str, Mapping[str, VoiceComparison]],
    drifts: Mapping[str, Mapping[str, DriftComparison]],
    training: Trainings | None,
    paper: PaperTables | None,
    settings: Settings,
    folder: Path,
    look: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `tables/`, `figures/` and the page of a comparison; returns the page.

    `look` has the width (inches) and the font (`sans` or `serif`) of the figures.
    """
    names = [run.name for run in runs]
    made = provenance_line(names, asdict(settings))
    gallery = Gallery(folder / "figures", made, **(look or {}))
    graded = [_graded(task, runs, each, pairs[task], settings) for task, each in tables.items()]
    judged = _judged(runs, verdicts, roles, settings)
    overview: list[PageTable] = []
    of_tasks: dict[str, list[PageTable]] = {}
    if paper is not None:
        table = paper.overview_table(names, graded, judged, seeds_of(runs), settings.confidence)
        overview = paper.write_tables([table], folder / "tables")
        for each in graded:
            of_tasks[each.task] = paper.write_tables(paper.task_tables(each), folder / "tables")
    sections: list[Section] = []
    for each in graded:
        section = graded_models_section(each, gallery, of_tasks.get(each.task, ()))
        said = [
            line
            for name, found in voices[each.task].items()
            for line in voice_comparison_lines(found, names[0], name)
        ]
        sections.append(replace(section, notes=[*section.notes, *said]))
    sections.append(overview_section(graded, judged, gallery, overview))  # the cards are first
    for task, of_drift in drifts.items():
        found = {
            run.name: drifted
            for run in runs
            if (parts := [run.tasks[name] for name in drifting(run.tasks).get(task, ())])
            and (drifted := drift_of(parts, settings.confidence, {})) is not None
        }
        said = [
            line for name, told in of_drift.items()
            for line in drift_comparison_lines(told, names[0], name)
        ]  # fmt: skip
        sections.append(drift_section(task, found, gallery, said, of_drift))
    sections += [judged_models_section(each) for each in judged]
    shown = [(run.name, each) for run in runs for each in run.tasks.values()]
    responses = [responses_of(shown)]
    if training is not None:
        sections.append(training.section(gallery))
        responses += training.responses()
    contents = PageContents(
        title=" and ".join(names) if len(names) == 2 else ", ".join(names),
        summary=[
            f"{len(names)} models on the same questions under the same personas; what is said of "
            f"differences is from {names[0]}.",
        ],
        sections=sections,
        responses=pd.concat(
            [each for each in responses if len(each)] or responses[:1], ignore_index=True
        ),
        provenance={
            "command": command_line(),
            "settings": asdict(settings),
            "scored_with": versions(),
            "runs": {
                run.name: {
                    "results": str(run.folder),
                    "tasks": {task: each.samples.provenance for task, each in run.tasks.items()},
                }
                for run in runs
            },
        },
    )
    return write_page(contents, folder / PAGE)


def seeds_of(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The names of the checkpoints of each method that has several seeds among the runs."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        if run.checkpoint is not None:
            method, seed = run.checkpoint
            found.setdefault(method, {})[seed] = run.name
    return {method: list(own.values()) for method, own in found.items() if len(own) > 1}


def _graded(
    task: str,
    runs: Sequence[Run],
    tables: Mapping[str, pd.DataFrame],
    pairs: Mapping[str, Comparison],
    settings: Settings,
) -> GradedModels:
    scored = {name: scored_outcomes(table, settings) for name, table in tables.items()}
    return GradedModels(task, scored, tables, pairs)


def _judged(
    runs: Sequence[Run],
    verdicts: Mapping[str, Mapping[str, pd.DataFrame]],
    roles: Mapping[str, Mapping[str, FidelityComparison]],
    settings: Settings,
) -> list[JudgedModels]:
    """What there is of the judged tasks that all have: scores, traces, or both."""
    from persona_bench.scoring.information_compare import compare_information

    found = []
    for task in [task for task in runs[0].judged if all(task in run.judged for run in runs)]:
        traces = {run.name: run.judged[task].trace for run in runs if run.judged[task].trace}
        known = {
            run.name: table for run in runs if (table := run.judged[task].likelihoods) is not None
        }
        reference = known.get(runs[0].name)
        others = {name: table for name, table in known.items() if name != runs[0].name}
        information = {
            name: compare_information(reference, table, **asdict(settings))
            for name, table in others.items()
            if reference is not None
        }
        fidelities = {
            name: scored_verdicts(table, settings) for name, table in verdicts.get(task, {}).items()
        }
        if fidelities or traces:
            each = JudgedModels(task, fidelities, roles.get(task, {}), traces, information)
            found.append(each)
    return found
