"""Accuracy per persona with intervals, of one model or of several.

    result = stability(outcomes)
    figure = accuracy_figure(result, title="My model on MATH-500")
    save_figure(figure, Path("figures/accuracy"), data=accuracy_data(result))

One model: colour and marker say the group of each persona. Several: one line per model in each row,
told apart by colour, in the order of the legend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D

from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.rows import Rows, draw_interval
from persona_bench.report.figures.several import by_model, persona_order, size_notes
from persona_bench.report.figures.style import (
    BASELINE,
    GROUP_LOOKS,
    limits,
    look_of,
    marker_look,
    model_colours,
    share_ticks,
    styled,
    with_interval,
)
from persona_bench.report.names import group_of
from persona_bench.report.tables import format_p, number, printable
from persona_bench.scoring.stability import Stability

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from persona_bench.report.figures.style import PaperFigure

COLUMNS = [
    "model", "persona", "kind", "accuracy", "low", "high", "n", "mean", "mean_low", "mean_high",
]  # fmt: skip
MEAN_LINE: dict[str, Any] = {"color": "#777777", "linewidth": 0.9, "zorder": 1.5}
BASELINE_LINE: dict[str, Any] = {
    "color": "#000000", "linewidth": 0.9, "dashes": (4, 3), "zorder": 1.6,
}  # fmt: skip
APART = 0.075
"""Inches from one model to the next within a row."""


def accuracy_figure(
    result: Stability | Mapping[str, Stability], *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """Accuracy of each persona with its interval, best first; height grows with the personas.

    Args:
        result: One model's stability on one benchmark, or that of several by their names.
        title: What it is of: begins the caption.
        width: Inches.
    """
    results = by_model(result)
    data = _table(results)
    colours = model_colours(results)
    several = len(results) > 1
    with styled():
        if several:
            legends = [[_model_handle(model, colour) for model, colour in colours.items()]]
        else:
            legends = [group_handles(data["kind"]), _line_handles(data)]
        page = Page(title, _notes(results), legends if len(data) else [], width=width)
        if data.empty:
            return page.say("nothing to show")
        rows = Rows(page, persona_order(results), least=(APART * len(results) + 0.05) * several)
        axes = page.axes(rows.total, left=rows.left, xlabel="Accuracy", top=rows.top)
        rows.put_on(axes)
        axes.grid(axis="x")
        axes.set_xlim(*limits(data[["accuracy", "low", "high"]].to_numpy().ravel().tolist()))
        share_ticks(axes.xaxis)
        if not several:
            _draw_lines(axes, data)
        for i, model in enumerate(results):
            own = data[data["model"] == model]
            for row in own.to_dict("records"):
                at = rows.at[row["persona"]] + APART * (i - (len(results) - 1) / 2) * several
                look = (colours[model], "o") if several else look_of(row["kind"])
                size = 3.6 if several else rows.marker
                draw_interval(axes, (row["low"], row["high"]), row["accuracy"], at, look, size)
    return page.figure


def accuracy_data(result: Stability | Mapping[str, Stability]) -> pd.DataFrame:
    """What `accuracy_figure` shows, one row per model and persona from the top.

    `mean` and its interval are those of the mean over personas. Of one model `model` is left out.
    """
    table = _table(by_model(result))
    return table.drop(columns="model") if isinstance(result, Stability) else table


def _table(results: Mapping[str, Stability]) -> pd.DataFrame:
    order = persona_order(results)
    tables = []
    for model, each in results.items():
        own = each.per_persona.set_index("persona")
        own = own.loc[[name for name in order if name in own.index]].reset_index()
        low, high = each.mean.interval
        tables.append(own.assign(model=model, mean=each.mean, mean_low=low, mean_high=high))
    return (
        pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)
    )


def _draw_lines(axes: Axes, data: pd.DataFrame) -> None:
    if not math.isnan(mean := data["mean"].iloc[0]):
        axes.axvline(mean, **MEAN_LINE)
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        axes.axvline(baseline.iloc[0], **BASELINE_LINE)


def group_handles(kinds: Iterable[str]) -> list[Artist]:
    """The legend of the groups of personas that occur."""
    found = {group_of(kind) for kind in kinds}
    return [
        Line2D([], [], color=colour, label=group, **marker_look(marker, 5.5))
        for group, (colour, marker) in GROUP_LOOKS.items()
        if group in found
    ]


def _model_handle(model: str, colour: str) -> Artist:
    look: dict[str, Any] = marker_look("o", 4) | {"linestyle": "-", "linewidth": 1.3}
    return Line2D([], [], color=colour, label=printable(model), **look)


def _line_handles(data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = []
    if data["mean"].notna().any():
        handles.append(Line2D([], [], label="mean over personas", **MEAN_LINE))
    if data.loc[data["persona"] == BASELINE, "accuracy"].notna().any():
        handles.append(Line2D([], [], label="no system prompt", **BASELINE_LINE))
    return handles


def _notes(results: Mapping[str, Stability]) -> list[str]:
    notes = ["Accuracy is correct / scored responses", *size_notes(results)]
    for model, result in results.items():
        percent = f"{result.confidence:.0%}"
        corrected = with_interval(
            result.pss_corrected, result.pss_corrected.interval, f"{percent} interval"
        )
        chance = f"by chance alone {number(result.noise_floor)}; {format_p(result.p_value)}"
        notes.append(f"{printable(model)}: ".lstrip(": ") + f"corrected PSS {corrected}; {chance}")
    return notes
