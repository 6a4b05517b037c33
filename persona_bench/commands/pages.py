"""The page and figures of a scoring, and those of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_bench.commands.places import Places, command_line
from persona_bench.provenance import versions
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.compose.models import (
    GradedModels,
    JudgedModels,
    graded_models_section,
    judged_models_section,
    methods_section,
)
from persona_bench.report.compose.run import graded_section
from persona_bench.report.compose.training import training_responses, training_section
from persona_bench.report.figures.training import (
    TrainingLog,
    read_training,
)
from persona_bench.report.page.contents import PageContents, Section
from persona_bench.report.page.responses import page_responses
from persona_bench.report.page.write import write_page
from persona_bench.report.paper.table import write_table
from persona_bench.report.runs import (
    Scored,
    Settings,
    named,
    scored_outcomes,
    scored_verdicts,
    stability_by_level,
)
from persona_bench.report.voice import voice_comparison_lines
from persona_bench.scoring.outcomes import read_provenance
from persona_bench.scoring.sequential import progress

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.runs import Run
    from persona_bench.scoring.compare import Comparison
    from persona_bench.scoring.fidelity_compare import FidelityComparison
    from persona_bench.scoring.samples import Samples
    from persona_bench.scoring.sensitivity import GraderSensitivity
    from persona_bench.scoring.stability import Stability
    from persona_bench.scoring.variance import VarianceParts
    from persona_bench.scoring.voice import Voice, VoiceComparison

PAGE = "index.html"


def provenance_line(names: Sequence[str], settings: Mapping[str, Any]) -> str:
    """How a figure was made: command, models, versions and seed, in one line."""
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"{command_line()}; models: {', '.join(names)}; {told}; {made}"


def responses_of(names: Mapping[Samples, str]) -> pd.DataFrame:
    """All responses, for the page's browser; each file's model has the name that is given."""
    import pandas as pd

    frames = [page_responses(samples).assign(model=name) for samples, name in names.items()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def with_training(responses: pd.DataFrame, logs: Mapping[str, TrainingLog]) -> pd.DataFrame:
    """The responses, and after them the completions that trainings logged."""
    import pandas as pd

    frames = [responses, *(training_responses(log, name) for name, log in logs.items())]
    return pd.concat([each for each in frames if len(each)] or [responses], ignore_index=True)


def stability_page(
    task: str,
    model: str,
    result: Stability,
    parts: VarianceParts,
    sensitivity: GraderSensitivity | None,
    outcomes: pd.DataFrame,
    folder: Path,
    settings: Mapping[str, Any],
    voice: Voice | None = None,
) -> tuple[Section, list[Path]]:
    """One model on one task: its section, and the files of its figures."""
    gallery = Gallery(folder, provenance_line([model], settings))
    by_level = stability_by_level(outcomes, Settings(**settings))
    scored = Scored(result, parts, by_level, sensitivity, voice)
    return graded_section(task, model, scored, outcomes, gallery), gallery.paths


def score_page(
    results: Path, samples: Sequence[Samples], places: Places, sections: Sequence[Section]
) -> Path:
    """Writes the page of a scoring; returns it."""
    shown = {each: places.name(each.model) for each in samples}
    names = list(dict.fromkeys(shown.values()))
    tasks = list(dict.fromkeys(each.task for each in samples))
    told = read_provenance(results)
    contents = PageContents(
        title=", ".join(names),
        summary=[f"{', '.join(names)} on {', '.join(tasks)}.", *_unfinished(samples, shown)],
        sections=sections,
        responses=responses_of(shown),
        provenance={
            "command": command_line(),
            "results": str(results),
            "scored_with": versions(),
            "runs": {f"{task} of {places.name(model)}": run for (model, task), run in told.items()},
        },
    )
    return write_page(contents, places.folder / PAGE)


def _unfinished(samples: Sequence[Samples], shown: Mapping[Samples, str]) -> list[str]:
    parts = [(each, part) for each in samples if (part := each.told.get("unfinished"))]
    plans = [(each, plan) for each in samples if (plan := each.told.get("until"))]
    return [
        f"{each.task} of {shown[each]} is an unfinished run: {part['stored']:,} of "
        f"{part['asked']:,} responses."
        for each, part in parts
    ] + [f"{each.task} of {shown[each]}. {progress(plan)}." for each, plan in plans]


def compare_page(
    runs: Sequence[Run],
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    pairs: Mapping[str, Mapping[str, Comparison]],
    verdicts: Mapping[str, Mapping[str, pd.DataFrame]],
    roles: Mapping[str, Mapping[str, FidelityComparison]],
    voices: Mapping[str, Mapping[str, VoiceComparison]],
    training: Mapping[str, TrainingLog],
    settings: Settings,
    folder: Path,
) -> Path:
    """Writes `tables/`, `figures/` and the page of a comparison; returns the page."""
    names = [run.name for run in runs]
    gallery = Gallery(folder / "figures", provenance_line(names, settings.to_dict()))
    graded = [_graded(task, runs, each, pairs[task], settings) for task, each in tables.items()]
    judged = _judged(runs, verdicts, roles, settings)
    overview, methods = methods_section(
        names, graded, judged, gallery, seeds_of(runs), settings.confidence
    )
    sections, papers = [overview], [methods]
    for of_task in graded:
        section, more = graded_models_section(of_task, gallery)
        for name, found in voices.get(of_task.task, {}).items():
            said = voice_comparison_lines(found, names[0], name)
            section = replace(section, text=[*section.text, *said])
        sections.append(section)
        papers += more
    sections += [judged_models_section(each) for each in judged]
    if training:
        sections.append(training_section(training, gallery))
    for paper in papers:
        write_table(paper, folder / "tables")
    shown = {each.samples: run.name for run in runs for each in run.of_tasks.values()}
    contents = PageContents(
        title=" and ".join(names) if len(names) == 2 else ", ".join(names),
        summary=[
            f"{len(names)} models on the same questions under the same personas; what is said of "
            f"differences is from {names[0]}.",
        ],
        sections=sections,
        responses=with_training(responses_of(shown), training),
        provenance={
            "command": command_line(),
            "settings": settings.to_dict(),
            "scored_with": versions(),
            "runs": {
                run.name: {"results": str(run.folder), "tasks": run.provenance()} for run in runs
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
            name: compare_information(reference, table, **settings.to_dict())
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


def training_logs(given: Sequence[str]) -> dict[str, TrainingLog]:
    """The logs of `[NAME=]FOLDER`s of `persona-bench train`, by their names.

    Raises:
        ValueError: a folder without a log.
    """
    found = {}
    for each in given:
        name, folder = named(each)
        found[name or folder.name] = read_training(folder)
    return found
