"""Accuracy per persona with intervals, several models side by side: a forest plot.

    results = {"base": stability(base), "permix": stability(permix)}
    save_figure(forest_figure(results), Path("figures/forest"), data=forest_data(results))

A panel a model, with the same rows in each, or where panels find no room one panel with a line for
each model in a row. The persona that is best on average is on top, the mean over personas stands
below the last one. One model alone shows more in `accuracy_figure`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.lines import Line2D

from persona_bench.report.figures.accuracy import BASELINE_LINE, MEAN_LINE
from persona_bench.report.figures.layout import Page, page_width
from persona_bench.report.figures.rows import Rows, draw_interval
from persona_bench.report.figures.several import (
    fit_beside,
    inset_of,
    label_share,
    panels,
    persona_order,
    size_notes,
)
from persona_bench.report.figures.style import (
    BASELINE,
    limits,
    marker_look,
    model_looks,
    share_ticks,
    styled,
)
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from persona_bench.scoring.stability import Stability

COLUMNS = [
    "model", "persona", "kind", "accuracy", "low", "high", "n", "mean", "mean_low", "mean_high",
]  # fmt: skip
MEAN = "mean over personas"
APART = 0.075
"""Inches from one model to the next within a row."""


def forest_figure(results: Mapping[str, Stability], *, title: str = "", columns: int = 2) -> Figure:
    """Accuracy of each persona with its interval under each model; height grows with the personas.

    Args:
        results: Each model's stability on the same benchmark, by the model's name.
        title: Above the figure.
        columns: Width: 1 or 2 columns of a paper.
    """
    data = forest_data(results)
    looks = model_looks(results)
    with styled():
        beside = fit_beside(page_width(columns), len(results))
        handles = _line_handles(data) if beside else _model_handles(looks)
        page = Page(title, size_notes(results), [handles if len(data) else []], columns=columns)
        if data.empty:
            return page.say("no models")
        names = [*persona_order(results), MEAN]
        xlabel = "Accuracy (correct / scored responses)"
        if beside:
            rows = Rows(page, names, label=label_share(page.width, len(results)))
            made = panels(page, rows, list(results) if len(results) > 1 else [""], xlabel=xlabel)
        else:
            rows = Rows(page, names, least=APART * (len(results) + 1))
            axes = page.axes(rows.total, left=rows.left, xlabel=xlabel, top=rows.top)
            rows.put_on(axes)
            made = [axes] * len(results)
        ends = limits(data[["accuracy", "low", "high", "mean_low", "mean_high"]].to_numpy().ravel())
        for axes in dict.fromkeys(made):
            _set_axes(axes, ends, rows, inset_of(made) if beside else 0.0)
        for i, (axes, model) in enumerate(zip(made, results, strict=True)):
            own = data[data["model"] == model]
            if beside:
                _draw_lines(axes, own)
            dodged = 0.0 if beside else APART * (i - (len(results) - 1) / 2)
            size = rows.marker if beside else 3.6
            _draw(axes, own, rows, looks[model], dodged, size)
    return page.figure


def forest_data(results: Mapping[str, Stability]) -> pd.DataFrame:
    """What `forest_figure` shows, one row per model and persona, from the top of each panel.

    `mean` and its interval, in the last row of the figure, are those of the mean over personas.
    """
    order = persona_order(results)
    tables = []
    for model, result in results.items():
        own = result.per_persona.set_index("persona")
        own = own.loc[[name for name in order if name in own.index]].reset_index()
        low, high = result.mean.interval
        tables.append(own.assign(model=model, mean=result.mean, mean_low=low, mean_high=high))
    return (
        pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)
    )


def _set_axes(axes: Axes, ends: tuple[float, float], rows: Rows, inset: float) -> None:
    axes.grid(axis="both")
    axes.set_xlim(*ends)
    share_ticks(axes.xaxis, inset)
    axes.axhline(2 * rows.y[-1] - rows.total, color="#444444", linewidth=0.6)


def _draw_lines(axes: Axes, data: pd.DataFrame) -> None:
    if not math.isnan(mean := data["mean"].iloc[0]):
        axes.axvline(mean, **MEAN_LINE)
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        axes.axvline(baseline.iloc[0], **BASELINE_LINE)


def _draw(
    axes: Axes,
    data: pd.DataFrame,
    rows: Rows,
    look: tuple[str, str],
    dodged: float,
    size: float,
) -> None:
    for row in data.to_dict("records"):
        ends, at = (row["low"], row["high"]), rows.at[row["persona"]] + dodged
        draw_interval(axes, ends, row["accuracy"], at, look, size)
    first = data.iloc[0]
    ends, at = (first["mean_low"], first["mean_high"]), rows.y[-1] + dodged
    draw_interval(axes, ends, first["mean"], at, look, size)


def _model_handles(looks: dict[str, tuple[str, str]]) -> list[Artist]:
    return [
        Line2D([], [], color=colour, label=printable(model), **marker_look(marker, 5))
        for model, (colour, marker) in looks.items()
    ]


def _line_handles(data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = []
    if data["mean"].notna().any():
        handles.append(Line2D([], [], label=MEAN, **MEAN_LINE))
    if data.loc[data["persona"] == BASELINE, "accuracy"].notna().any():
        handles.append(Line2D([], [], label=f"no persona ({BASELINE})", **BASELINE_LINE))
    return handles
