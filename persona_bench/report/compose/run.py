"""The report of one model on one graded task: its section of the page, and its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from persona_bench.report.compose.cards import stability_cards
from persona_bench.report.figures.accuracy import accuracy_data, accuracy_figure
from persona_bench.report.figures.failures import failures_data, failures_figure, name_of
from persona_bench.report.figures.groups import groups_data, groups_figure
from persona_bench.report.figures.heat_map import heat_map_data, heat_map_figure
from persona_bench.report.figures.lottery import lottery_data, lottery_figure
from persona_bench.report.figures.several import persona_order
from persona_bench.report.figures.style import BASELINE, set_in
from persona_bench.report.figures.voice import voice_data, voice_figure
from persona_bench.report.files import SIZES, metric_table
from persona_bench.report.names import file_stem
from persona_bench.report.page.charts import bar_chart, interval_chart, line_chart, map_chart
from persona_bench.report.page.contents import PageFigure, PageTable, Section
from persona_bench.report.prompts import prompt_page_tables
from persona_bench.report.sensitivity import NOTE, TITLE, sensitivity_lines
from persona_bench.report.tables import (
    by_accuracy,
    conclusion,
    how_little,
    meaning,
    near_zero,
    of_responses,
)
from persona_bench.report.voice import NAMES as SHARE_NAMES
from persona_bench.report.voice import voice_lines
from persona_bench.scoring.sensitivity import ROUTES, UNFOUND
from persona_bench.scoring.voice import SHARES

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.compose.gallery import Gallery
    from persona_bench.report.page.charts import Chart
    from persona_bench.report.runs import Scored
    from persona_bench.scoring.sensitivity import GraderSensitivity
    from persona_bench.scoring.stability import Stability

SHARE = ".3f"
VOICE_FILTERS = {
    "right_in": {"verdict": "correct", "voice": "in voice"},
    "right_out": {"verdict": "correct", "voice": "out of voice"},
    "wrong_in": {"verdict": "wrong", "voice": "in voice"},
    "wrong_out": {"verdict": "wrong", "voice": "out of voice"},
}
"""The responses behind each share on the page."""


def graded_section(
    task: str,
    model: str,
    scored: Scored,
    outcomes: pd.DataFrame,
    gallery: Gallery,
    *,
    by: str = "",
    notes: Sequence[str] = (),
) -> Section:
    """What one model's stability on one task is.

    Args:
        task: Its name; with what `by` is in these outcomes at its end.
        model: As it is shown.
        scored: Its numbers.
        outcomes: Behind them.
        gallery: Where figures go.
        by: The column that is the same in all of these outcomes: level, subject or date.
        notes: Sentences to stand among the notes.
    """
    result, stem = scored.stability, file_stem(task)
    link = {"task": str(outcomes["task"].iloc[0]) if by else task, "model": model}
    if by in ("level", "subject"):
        link[by] = str(outcomes[by].iloc[0])
    little = near_zero(result), how_little(result)
    said = [conclusion(result), *little, *(f"Note: {each}." for each in result.notes)]
    notes = [*said, *notes]
    if scored.voice is not None:
        notes += voice_lines(scored.voice)
    routes = []
    if scored.sensitivity is not None:
        notes += sensitivity_lines(scored.sensitivity)
        routes.append(routes_page_table(stem, scored.sensitivity))
    first, *more = stability_figures(task, model, scored, outcomes, gallery, link)
    return Section(
        name=f"{task}/{model}",
        title=f"{task}: {model}",
        text=[meaning(result)],
        tables=[personas_page_table(stem, result)],
        figures=[first],
        cards=stability_cards(result, link),
        notes=[line for line in notes if line],
        more=[
            *more,
            *prompt_page_tables(stem, scored.prompts),
            *_voice(stem, scored),
            *routes,
            metrics_page_table(stem, result),
            *_groups(stem, scored),
        ],
    )


def stability_figures(
    task: str,
    model: str,
    scored: Scored,
    outcomes: pd.DataFrame,
    gallery: Gallery,
    link: Mapping[str, str],
) -> list[PageFigure]:
    """Accuracy, question map, failures, voice, lottery and groups of a model on a task."""
    result = scored.stability
    look: dict[str, Any] = {"title": f"{model}, {task}", "width": gallery.width}
    with set_in(gallery.font):
        drawn: list[tuple[str, Any, pd.DataFrame, Chart | None]] = [
            (
                "accuracy",
                accuracy_figure(result, **look),
                accuracy_data(result),
                accuracy_chart({model: result}, {model: link}),
            ),
            (
                "heat_map",
                heat_map_figure(outcomes, **look),
                data := heat_map_data(outcomes),
                map_chart(data, link),
            ),
            (
                "failures",
                failures_figure(result, **look),
                data := failures_data(result),
                bar_chart(data, {each: name_of(each) for each in data["outcome"].unique()}, link),
            ),
            (
                "lottery",
                lottery_figure(result, **look),
                data := lottery_data(result),
                lottery_chart({model: data}),
            ),
        ]
        if (voice := scored.voice) is not None:
            data = voice_data(voice)
            chart = bar_chart(data, SHARE_NAMES, link, VOICE_FILTERS)
            drawn.append(("voice", voice_figure(voice, **look), data, chart))
    shown = [
        gallery.draw(kind, figure, data, task=task, chart=chart, numbers=kind != "heat_map")
        for kind, figure, data, chart in drawn
    ]
    return shown + group_figures(task, "", scored, gallery, look)


def group_figures(
    task: str, of: str, scored: Scored, gallery: Gallery, look: Mapping[str, Any]
) -> list[PageFigure]:
    """PSS by level and accuracy by kind of persona: one figure in a file, a chart each here."""
    levels, groups = scored.by_level, scored.groups
    if not levels and not len(groups):
        return []
    with set_in(gallery.font):
        figure, data = groups_figure(levels, groups, **look), groups_data(levels, groups)
    drawn = gallery.draw("by_group", figure, data, task=task, of=of)
    charts = []
    for panel, own in data.groupby("panel", sort=False):
        rows = [str(name) for name in own["group"].unique()]
        metrics = [str(name) for name in own["metric"].unique()]
        series = {NAMES.get(name, name): own[own["metric"] == name] for name in metrics}
        kinds = {name: name for name in rows} if panel == "kind" else None
        title, label = GROUPS[str(panel)]
        chart = interval_chart(rows, series, value="value", label=label, kinds=kinds, by="group")
        name = f"{drawn.name}_{panel}"
        charts.append(PageFigure(name, title + (f": {of}" if of else ""), "", chart, data=own))
    return charts


GROUPS = {
    "level": ("Stability by level", "PSS on the questions of a level"),
    "kind": ("Accuracy by kind of persona", "Accuracy"),
}
NAMES = {"pss": "plain PSS", "pss_corrected": "corrected PSS", "noise_floor": "by chance alone"}


def accuracy_chart(
    results: Mapping[str, Stability], links: Mapping[str, Mapping[str, str]]
) -> Chart:
    """Accuracy under each persona, of one model or of several."""
    tables = {model: result.per_persona for model, result in results.items()}
    pairs = [
        pair
        for table in tables.values()
        for pair in zip(table["persona"], table["kind"], strict=True)
    ]
    kinds = {str(persona): str(kind) for persona, kind in pairs}
    lines = {}
    if len(results) == 1:
        (result,) = results.values()
        baseline = result.per_persona.set_index("persona")["accuracy"].get(BASELINE, math.nan)
        lines = {"mean": result.mean, "no system prompt": float(baseline)}
    return interval_chart(
        persona_order(results),
        tables,
        value="accuracy",
        label=" or ".join(sorted({each.measure.capitalize() for each in results.values()})),
        kinds=kinds,
        lines=lines,
        links=links,
    )


def lottery_chart(curves: Mapping[str, pd.DataFrame]) -> Chart:
    """The persona lottery as ribbons."""
    edges = ("mean", "expected_worst", "expected_best")
    labels = "Personas drawn at random, k", "Expected accuracy"
    return line_chart(curves, "k", edges, labels)


def personas_page_table(stem: str, result: Stability) -> PageTable:
    """One row per persona, the worst first."""
    formats = dict.fromkeys(("accuracy", "expected"), SHARE)
    note = (
        f"{of_responses(result)}; {result.confidence:.0%} intervals; "
        "expected: without the noise, with bands for all personas at once"
    )
    table = by_accuracy(result).iloc[::-1]
    first = ["persona", "kind", "accuracy", "low", "high", "n", "shrunken"]
    table = table[first + [name for name in table.columns if name not in first]]
    table = table.rename(columns=lambda name: str(name).replace(":", ": ").replace("_", " "))
    table = table.rename(columns={"shrunken": "expected"})
    ends = {"accuracy": ("low", "high"), "expected": ("shrunken low", "shrunken high")}
    return PageTable(f"{stem}_personas", "By persona, worst first", table, note, formats, ends)


def routes_page_table(stem: str, found: GraderSensitivity) -> PageTable:
    """One row per persona: the share of each route, and accuracy under both graders."""
    formats = dict.fromkeys((*ROUTES, UNFOUND, "accuracy", "strict_accuracy"), SHARE)
    return PageTable(f"{stem}_routes", TITLE, found.table, NOTE, formats)


def metrics_page_table(stem: str, result: Stability) -> PageTable:
    """One row per metric; counts are in the cards and the files."""
    table = metric_table(result)
    table = table[~table["metric"].isin(SIZES)]
    formats, ends = {"value": SHARE}, {"value": ("low", "high")}
    return PageTable(f"{stem}_stability", "Metrics", table, "", formats, ends)


def _groups(stem: str, scored: Scored) -> list[PageTable]:
    groups = scored.groups
    if not len(groups):
        return []
    shares = [name for name in groups.columns if groups[name].dtype.kind == "f"]
    ends = {"accuracy": ("low", "high")} if {"accuracy", "low", "high"} <= set(shares) else {}
    formats = dict.fromkeys(map(str, shares), SHARE)
    title = "By kind, level and subject"
    return [PageTable(f"{stem}_groups", title, groups, "", formats, ends)]


def _voice(stem: str, scored: Scored) -> list[PageTable]:
    """One row per persona: how often its responses are right and in character."""
    if scored.voice is None:
        return []
    formats = dict.fromkeys((*SHARES, "in_character", "accuracy", "in_voice"), SHARE)
    note = "in_character: right and in voice (a score of 4 or 5), with its interval"
    table, ends = scored.voice.personas, {"in_character": ("low", "high")}
    return [PageTable(f"{stem}_voice", "Right and in character", table, note, formats, ends)]
