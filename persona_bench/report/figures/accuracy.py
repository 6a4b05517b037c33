"""Accuracy per persona, with intervals.

figure = accuracy_figure(stability(outcomes), title="my model on math500")
save_figure(figure, Path("figures/accuracy"))  # accuracy.png, accuracy.pdf
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from persona_bench.report.figures.style import (
    BASELINE,
    KIND_COLOURS,
    OTHER_COLOUR,
    OTHER_MARKER,
    Page,
    limits,
    look_of,
    marker_look,
    say_in,
    share_ticks,
    styled,
    with_interval,
)
from persona_bench.report.tables import by_accuracy, format_p, number, printable, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from persona_bench.scoring.stability import Stability


def accuracy_figure(result: Stability, *, title: str = "") -> Figure:
    """Accuracy of each persona with its interval, best first; height grows with the personas."""
    data = accuracy_data(result)
    with styled():
        legends = [_kind_handles(data), _line_handles(result, data)]
        page = Page(title, _accuracy_notes(result), legends)
        crowded = len(data) > 40
        points = 6.5 if crowded else 8.0
        labels = [page.fit(printable(name), 2.6, points) for name in data["persona"]]
        # rows as tall as their labels; y runs downwards in inches
        line = points / 72 * 1.25
        heights = [max(0.135 if crowded else 0.2, n.count("\n") * line + line) for n in labels]
        y = [sum(heights[:i]) + h / 2 for i, h in enumerate(heights)]
        left = max(page.width_of(label, points) for label in labels) + 0.15
        axes = page.axes(sum(heights), left=left, bottom=0.5, top=0.25 if crowded else 0.0)
        _draw_accuracies(axes, data, y)
        axes.set_ylim(sum(heights), 0)
        axes.set_yticks(y, labels, fontsize=points)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", top=crowded, labeltop=crowded)
        axes.set_xlabel("Accuracy (correct / scored responses)")
    return page.figure


def accuracy_data(result: Stability) -> pd.DataFrame:
    """What `accuracy_figure` shows, a row a persona from the top; `mean` is its line."""
    columns = ["persona", "kind", "accuracy", "low", "high", "n"]
    return by_accuracy(result)[columns].assign(mean=result.mean)


# ------------------------------------------------------------------------ accuracy per persona
def _draw_accuracies(axes: Axes, data: pd.DataFrame, y: Sequence[float]) -> None:
    axes.grid(axis="both")
    axes.set_xlim(*limits([*data["low"], *data["high"], *data["accuracy"]]))
    share_ticks(axes.xaxis)
    if not math.isnan(mean := data["mean"].iloc[0]):
        axes.axvline(mean, color="#444444", linewidth=0.9, zorder=1.5)
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        axes.axvline(baseline.iloc[0], color="#000000", linewidth=0.9, dashes=(4, 3), zorder=1.6)
    size = 4.2 if len(data) > 40 else 5.5
    for row, at in zip(data.to_dict("records"), y, strict=True):
        if math.isnan(row["accuracy"]):
            say_in(axes, axes.get_xlim()[0], at, "  nothing scored", align="left")
            continue
        colour, marker = look_of(row["kind"])
        axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=1.3, zorder=3)
        axes.plot([row["accuracy"]], [at], color=colour, zorder=4, **marker_look(marker, size))


def _kind_handles(data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = []
    kinds = set(data["kind"])
    for kind in [kind for kind in KIND_COLOURS if kind in kinds]:
        colour, marker = look_of(kind)
        name = kind.replace("_", " ")
        handles.append(Line2D([], [], color=colour, label=name, **marker_look(marker, 5.5)))
    if kinds - set(KIND_COLOURS):
        look = marker_look(OTHER_MARKER, 5.5)
        handles.append(Line2D([], [], color=OTHER_COLOUR, label="other kind", **look))
    return handles


def _line_handles(result: Stability, data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = []
    if not math.isnan(result.mean):
        label = f"mean over personas, {number(result.mean)} (SE {number(result.mean_se)})"
        handles.append(Line2D([], [], color="#444444", linewidth=0.9, label=label))
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        label = f"no persona ({BASELINE}), {number(baseline.iloc[0])}"
        dashed = Line2D([], [], color="#000000", linewidth=0.9, dashes=(4, 3), label=label)
        handles.append(dashed)
    return handles


def _accuracy_notes(result: Stability) -> list[str]:
    percent = f"{result.confidence:.0%}"
    notes = [
        f"PSS {with_interval(result.pss, result.pss_interval, f'{percent} interval')}; "
        "noise floor "
        + with_interval(result.noise_floor, result.noise_floor_interval, f"middle {percent}")
        + f"; {format_p(result.p_value)}",
        f"{size(result, '×')}; bars: {percent} intervals",
    ]
    if result.unscored:
        low, high = result.pss_bounds
        notes.append(f"{result.unscored:,} responses unscored: PSS within {low:.3f} to {high:.3f}")
    return notes
