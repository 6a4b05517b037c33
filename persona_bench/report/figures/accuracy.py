"""Accuracy per persona, with intervals.

figure = accuracy_figure(stability(outcomes), title="my model on math500")
save_figure(figure, Path("figures/accuracy"))  # accuracy.png, accuracy.pdf, accuracy.svg
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from persona_bench.report.figures.layout import Page
from persona_bench.report.figures.rows import Rows, draw_interval
from persona_bench.report.figures.style import (
    BASELINE,
    KIND_COLOURS,
    OTHER_COLOUR,
    OTHER_MARKER,
    limits,
    look_of,
    marker_look,
    share_ticks,
    styled,
    with_interval,
)
from persona_bench.report.tables import by_accuracy, format_p, number, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from persona_bench.scoring.stability import Stability


MEAN_LINE: dict[str, Any] = {"color": "#444444", "linewidth": 0.9, "zorder": 1.5}
BASELINE_LINE: dict[str, Any] = {
    "color": "#000000", "linewidth": 0.9, "dashes": (4, 3), "zorder": 1.6,
}  # fmt: skip


def accuracy_figure(result: Stability, *, title: str = "", columns: int = 2) -> Figure:
    """Accuracy of each persona with its interval, best first; height grows with the personas.

    Args:
        result: One model's stability on one benchmark.
        title: Above the figure.
        columns: Width: 1 or 2 columns of a paper.
    """
    data = accuracy_data(result)
    with styled():
        legends = [kind_handles(data["kind"]), _line_handles(result, data)]
        page = Page(title, _accuracy_notes(result), legends, columns=columns)
        rows = Rows(page, list(data["persona"]))
        xlabel = "Accuracy (correct / scored responses)"
        axes = page.axes(rows.total, left=rows.left, xlabel=xlabel, top=rows.top)
        rows.put_on(axes)
        _draw_accuracies(axes, data, rows)
    return page.figure


def accuracy_data(result: Stability) -> pd.DataFrame:
    """What `accuracy_figure` shows, one row per persona from the top; `mean` is its line."""
    columns = ["persona", "kind", "accuracy", "low", "high", "n"]
    return by_accuracy(result)[columns].assign(mean=result.mean)


# ------------------------------------------------------------------------ accuracy per persona
def _draw_accuracies(axes: Axes, data: pd.DataFrame, rows: Rows) -> None:
    axes.grid(axis="both")
    axes.set_xlim(*limits([*data["low"], *data["high"], *data["accuracy"]]))
    share_ticks(axes.xaxis)
    if not math.isnan(mean := data["mean"].iloc[0]):
        axes.axvline(mean, **MEAN_LINE)
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        axes.axvline(baseline.iloc[0], **BASELINE_LINE)
    for row, at in zip(data.to_dict("records"), rows.y, strict=True):
        ends = row["low"], row["high"]
        draw_interval(axes, ends, row["accuracy"], at, look_of(row["kind"]), rows.marker)


def kind_handles(kinds: Iterable[str]) -> list[Artist]:
    """The legend of the kinds that occur."""
    found = set(kinds)
    handles: list[Artist] = []
    for kind in [kind for kind in KIND_COLOURS if kind in found]:
        colour, marker = look_of(kind)
        name = kind.replace("_", " ")
        handles.append(Line2D([], [], color=colour, label=name, **marker_look(marker, 5.5)))
    if found - set(KIND_COLOURS):
        look = marker_look(OTHER_MARKER, 5.5)
        handles.append(Line2D([], [], color=OTHER_COLOUR, label="other kind", **look))
    return handles


def _line_handles(result: Stability, data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = []
    if not math.isnan(result.mean):
        label = f"mean over personas, {number(result.mean)} (SE {number(result.mean_se)})"
        handles.append(Line2D([], [], label=label, **MEAN_LINE))
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        label = f"no persona ({BASELINE}), {number(baseline.iloc[0])}"
        handles.append(Line2D([], [], label=label, **BASELINE_LINE))
    return handles


def _accuracy_notes(result: Stability) -> list[str]:
    percent = f"{result.confidence:.0%}"
    notes = [
        "corrected PSS "
        + with_interval(result.pss_corrected, result.pss_corrected.interval, f"{percent} interval"),
        f"plain PSS {number(result.pss)}; noise floor "
        + with_interval(result.noise_floor, result.noise_floor.interval, f"middle {percent}")
        + f"; {format_p(result.p_value)}",
        f"{size(result, '×')}; bars: {percent} intervals",
    ]
    if result.unscored:
        low, high = result.pss_bounds
        notes.append(f"{result.unscored:,} responses unscored: PSS within {low:.3f} to {high:.3f}")
    return notes
