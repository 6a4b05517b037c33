"""Drift over a conversation on the page: of one model, or of several beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.report.drift import NAMES, drift_lines
from persona_bench.report.figures.drift import PANELS, TOLD, drift_data, drift_figure
from persona_bench.report.figures.style import set_in
from persona_bench.report.names import file_stem
from persona_bench.report.page.charts import line_chart
from persona_bench.report.page.contents import PageFigure, PageTable, Section

if TYPE_CHECKING:
    from persona_bench.report.compose.gallery import Gallery
    from persona_bench.scoring.drift import Drift, DriftComparison

MEANING = (
    "So many rounds of conversation stand between the system message and the question: scripted "
    "turns of a user, answered by the model under its persona. A slope is the change per round, "
    "with an interval clustered by conversation. The rounds stand under each response."
)


def drift_section(
    task: str,
    results: Mapping[str, Drift],
    gallery: Gallery,
    said: Sequence[str] = (),
    comparisons: Mapping[str, DriftComparison] | None = None,
) -> Section:
    """The drift of one model or of several on a task.

    Args:
        task: Its name, without turns.
        results: By model.
        gallery: Where the figure goes.
        said: Sentences on how the models differ.
        comparisons: By model, the slopes beside the first model's.
    """
    one = next(iter(results)) if len(results) == 1 else ""
    data, stem = drift_data(results), file_stem(task)
    title = ", ".join(part for part in (one, task) if part)
    with set_in(gallery.font):
        figure = drift_figure(results, title=title, width=gallery.width)
    drawn = gallery.draw("drift", figure, data, task=task)
    charts = []
    for measure in [name for name in PANELS if name in set(data["measure"])]:
        own = data[data["measure"] == measure]
        curves = {str(model): rows for model, rows in own.groupby("model", sort=False)}
        name = {**NAMES, "told": f"share {TOLD}"}[measure]
        edges = ("value", "low", "high") if own["low"].notna().all() else ("value",)
        labels = ("Turns of conversation", name[0].upper() + name[1:])
        charts.append(PageFigure(f"{drawn.name}_{measure}", f"{labels[1]} over a conversation", "",
                                 line_chart(curves, "turns", edges, labels), data=own))  # fmt: skip
    tables = [
        _table(stem, results, "slopes", "Slopes", "change per round", ".4f", "slope"),
        _table(stem, results, "told", "Told from the control", f"p_value: {_TEST}", ".3f",
               "accuracy"),
        _table(stem, results, "lost", "From when on a persona is no longer told from the control",
               "last_told and lost_from are numbers of turns", ".0f"),
    ]  # fmt: skip
    for model, each in (comparisons or {}).items():
        tables.insert(
            0,
            PageTable(f"{stem}_drift_{file_stem(model)}", f"Slopes: {model} beside the first model",
                      each.slopes, "change per round; paired by persona and question",
                      dict.fromkeys(("a", "b", "difference"), ".4f") | {"p_value": ".3g"},
                      {"difference": ("low", "high")}),
        )  # fmt: skip
    lines = list(said) or [line for found in results.values() for line in drift_lines(found)]
    return Section(
        name=f"drift/{task}/{one}",
        title=": ".join(part for part in (task, one) if part) + ", over a conversation",
        text=[*lines, MEANING],
        tables=[each for each in tables[:-2] if len(each.table)],
        figures=charts,
        more=[each for each in tables[-2:] if len(each.table)],
    )


_TEST = (
    "one-sided, of telling the persona's response from the control's to the same question no "
    "better than by chance, with scripts as the sample"
)


def _table(
    stem: str,
    results: Mapping[str, Drift],
    name: str,
    title: str,
    note: str,
    form: str,
    value: str = "",
) -> PageTable:
    """A table of each model's drift; with a column `model` where there are several."""
    parts = [
        table if len(results) == 1 else table.assign(model=model)[["model", *table.columns]]
        for model, found in results.items()
        if len(table := getattr(found, name))
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    formats = {column: form for column in (value, "last_told", "lost_from") if column in table}
    ends = {value: ("low", "high")} if value in table else {}
    return PageTable(f"{stem}_drift_{name}", title, table, note,
                     {**formats, **({"p_value": ".3g"} if "p_value" in table else {})},
                     ends)  # fmt: skip
