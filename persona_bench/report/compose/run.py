"""The report of one model on one graded task: its section of the page, and its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.report.figures.accuracy import accuracy_data, accuracy_figure
from persona_bench.report.figures.failures import failures_data, failures_figure
from persona_bench.report.figures.groups import groups_data, groups_figure
from persona_bench.report.figures.heat_map import heat_map_data, heat_map_figure
from persona_bench.report.figures.lottery import lottery_data, lottery_figure
from persona_bench.report.figures.voice import voice_data, voice_figure
from persona_bench.report.files import metric_table
from persona_bench.report.names import file_stem
from persona_bench.report.page.contents import PageFigure, PageTable, Section
from persona_bench.report.sensitivity import NOTE, TITLE, sensitivity_lines
from persona_bench.report.tables import conclusion, extremes, how_little, meaning, size
from persona_bench.report.voice import voice_lines
from persona_bench.scoring.sensitivity import ROUTES, UNFOUND
from persona_bench.scoring.voice import SHARES

if TYPE_CHECKING:
    from persona_bench.report.compose.gallery import Gallery
    from persona_bench.report.runs import Scored
    from persona_bench.scoring.sensitivity import GraderSensitivity
    from persona_bench.scoring.stability import Stability

SHARE = ".3f"


def graded_section(
    task: str, model: str, scored: Scored, outcomes: pd.DataFrame, gallery: Gallery
) -> Section:
    """What one model's stability on one task is."""
    result, stem = scored.stability, file_stem(task)
    said = [f"{size(result)}.", meaning(result), conclusion(result), how_little(result)]
    said += [f"{line}." for line in extremes(result)]
    said += [f"Note: {note}." for note in result.notes]
    if scored.voice is not None:
        said += voice_lines(scored.voice)
    routes = []
    if scored.sensitivity is not None:
        said += sensitivity_lines(scored.sensitivity)
        routes.append(routes_page_table(stem, scored.sensitivity))
    return Section(
        name=f"{task}/{model}",
        title=f"{task}: {model}",
        text=[line for line in said if line],
        tables=[
            personas_page_table(stem, result),
            *routes,
            metrics_page_table(stem, result),
            *_groups(stem, scored),
            *_voice(stem, scored),
        ],
        figures=stability_figures(task, model, scored, outcomes, gallery),
    )


def stability_figures(
    task: str, model: str, scored: Scored, outcomes: pd.DataFrame, gallery: Gallery
) -> list[PageFigure]:
    """Accuracy, lottery, heat map, groups and reasons for failure of one model on one task."""
    result, title, groups = scored.stability, f"{model}, {task}", scored.parts.groups
    drawn = [
        ("accuracy", accuracy_figure(result, title=title), accuracy_data(result)),
        ("lottery", lottery_figure(result, title=title), lottery_data(result)),
        ("heat_map", heat_map_figure(outcomes, title=title), heat_map_data(outcomes)),
        ("failures", failures_figure(result, title=title), failures_data(result)),
    ]
    if scored.voice is not None:
        found = scored.voice
        drawn.append(("voice", voice_figure(found, title=title), voice_data(found)))
    if scored.by_level or len(groups):
        figure = groups_figure(scored.by_level, groups, title=title)
        drawn.append(("by_group", figure, groups_data(scored.by_level, groups)))
    return [gallery.draw(kind, figure, data, task=task) for kind, figure, data in drawn]


def personas_page_table(stem: str, result: Stability) -> PageTable:
    """One row per persona."""
    shrunken = ("shrunken", "shrunken_low", "shrunken_high")
    formats = dict.fromkeys(("accuracy", "low", "high", *shrunken), SHARE)
    note = (
        f"accuracy: correct share of the n scored responses; {result.confidence:.0%} intervals; "
        "shrunken: expected accuracy without the noise, with bands for all personas at once"
    )
    table = result.per_persona.rename(columns=lambda name: str(name).replace(":", ": "))
    return PageTable(f"{stem}_personas", "By persona", table, note, formats)


def routes_page_table(stem: str, found: GraderSensitivity) -> PageTable:
    """One row per persona: the share of each route, and accuracy under both graders."""
    formats = dict.fromkeys((*ROUTES, UNFOUND, "accuracy", "strict_accuracy"), SHARE)
    return PageTable(f"{stem}_routes", TITLE, found.table, NOTE, formats)


def metrics_page_table(stem: str, result: Stability) -> PageTable:
    """A row a metric."""
    formats = dict.fromkeys(("value", "low", "high"), SHARE)
    return PageTable(f"{stem}_stability", "Metrics", metric_table(result), "", formats)


def _groups(stem: str, scored: Scored) -> list[PageTable]:
    groups = scored.parts.groups
    if not len(groups):
        return []
    shares = [name for name in groups.columns if groups[name].dtype.kind == "f"]
    table = PageTable(
        f"{stem}_groups", "By kind, level and subject", groups, "", dict.fromkeys(shares, SHARE)
    )
    return [table]


def _voice(stem: str, scored: Scored) -> list[PageTable]:
    """One row per persona: how often its responses are right and in character."""
    if scored.voice is None:
        return []
    formats = dict.fromkeys((*SHARES, "in_character", "accuracy", "in_voice", "low", "high"), SHARE)
    note = "in_character: right and in voice (a score of 4 or 5), with its interval"
    table = scored.voice.personas
    return [PageTable(f"{stem}_voice", "Right and in character", table, note, formats)]
