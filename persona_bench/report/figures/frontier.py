"""Robustness and fidelity of several checkpoints in one figure: who has both?

    figure = frontier_figure(table, x="pss_corrected", y="persona_information")
    save_figure(figure, Path("figures/frontier"))

Up and to the right is better. A checkpoint is a point with an interval each way; seeds of a method
share its colour and are small points around their mean, at which the method is named.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import FancyArrowPatch
from matplotlib.patheffects import withStroke
from scipy.stats import chi2, norm

from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.style import (
    POINTS,
    inches_of,
    limits,
    marker_look,
    model_colours,
    say_in,
    set_ticks,
    styled,
)
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from persona_bench.report.figures.style import PaperFigure
    from persona_bench.scoring.resampling import Floats

NAMES = {
    "pss": "PSS (worst / best accuracy)",
    "pss_corrected": "Corrected PSS",
    "accuracy": "Mean accuracy over personas",
    "persona_information": "Persona information (nats per token)",
    "identifiability": "Identifiability of the persona from the response",
    "persona_score": "PersonaScore (1 to 5)",
}


def frontier_figure(
    table: pd.DataFrame,
    *,
    x: str = "pss_corrected",
    y: str = "persona_information",
    title: str = "",
    width: float = TEXT_WIDTH,
    confidence: float = 0.95,
    regions: bool = False,
) -> PaperFigure:
    """Checkpoints by two numbers with their intervals; seeds of a method around their mean.

    The two are measured on different questions and hence independent: a joint region's half
    axes are the halves of the two intervals, times sqrt(chi2(2) quantile) / normal quantile
    (1.249 at 95%); a half for each side, as intervals need not be symmetrical.

    Args:
        table: One row per checkpoint: `method`, `seed`, `x`, `y`, and the ends of their intervals
            in columns with `_low` and `_high` added.
        x: The column across.
        y: The column upwards.
        title: What it is of: begins the caption.
        width: Inches.
        confidence: Level of the intervals in `table`, and of the regions.
        regions: Draw the joint region of each checkpoint too.

    Raises:
        ValueError: a column is missing.
    """
    data = frontier_data(table, x, y, confidence=confidence)
    colours = model_colours(data["method"])
    notes = [f"Bars: {confidence:.0%} intervals of either number"]
    if data["method"].duplicated().any():
        notes.append("Small points: seeds; large points: their mean")
    if regions:
        notes.append(f"Shaded: joint {confidence:.0%} regions (the questions are different ones)")
    unknown = table.loc[table[x].isna() | table[y].isna(), "method"].astype(str)
    if len(unknown):
        left_out = ", ".join(map(printable, dict.fromkeys(unknown)))
        notes.append(f"Not shown, as one of the two numbers is undefined: {left_out}")
    with styled():
        page = Page(title, notes, [], width=width)
        height = 0.6 * width + 0.2
        name = page.fit(NAMES.get(y, y), 0.9 * height, POINTS)
        left = 0.5 + 0.14 * (name.count("\n") + 1)
        axes = page.axes(height, left=left, xlabel=NAMES.get(x, x))
        axes.set_ylabel(name)
        axes.grid(axis="both")
        axes.set_xlim(*_span(data, x, regions))
        axes.set_ylim(*_span(data, y, regions))
        for axis in (axes.xaxis, axes.yaxis):
            set_ticks(axis)
        if data.empty:
            middle = [sum(ends) / 2 for ends in (axes.get_xlim(), axes.get_ylim())]
            say_in(axes, middle[0], middle[1], "no checkpoint has both numbers")
        _draw(axes, data, x, y, colours, regions)
        _label(axes, page, data, x, y, colours)
    return page.figure


def frontier_data(table: pd.DataFrame, x: str, y: str, *, confidence: float = 0.95) -> pd.DataFrame:
    """What `frontier_figure` shows: the checkpoints for which both numbers are known.

    Columns: method, seed, then for either number its value, `_low` and `_high` (its own
    interval), `_joint_low` and `_joint_high` (where the joint region ends).

    Raises:
        ValueError: a column is missing.
    """
    wanted = ["method", "seed", *(f"{n}{end}" for n in (x, y) for end in ("", "_low", "_high"))]
    if missing := [name for name in wanted if name not in table.columns]:
        raise ValueError(f"the table lacks the column {missing[0]!r}: give {', '.join(wanted)}")
    data = table.loc[table[x].notna() & table[y].notna(), wanted].reset_index(drop=True)
    data["method"] = data["method"].astype(str)
    wider = math.sqrt(chi2.ppf(confidence, 2)) / norm.ppf((1 + confidence) / 2)
    for name in (x, y):
        for end in ("low", "high"):
            half = (data[f"{name}_{end}"] - data[name]) * wider
            data[f"{name}_joint_{end}"] = data[name] + half
    order = [f"{n}{e}" for n in (x, y) for e in ("", "_low", "_high", "_joint_low", "_joint_high")]
    return data[["method", "seed", *order]]


def _span(data: pd.DataFrame, name: str, regions: bool) -> tuple[float, float]:
    """Limits that hold the intervals, or the regions; a PSS ends at 1."""
    joint = [f"{name}_joint_low", f"{name}_joint_high"] if regions else []
    ends = data[[name, f"{name}_low", f"{name}_high", *joint]]
    values = ends.to_numpy().ravel().tolist()
    return limits(values) if name.startswith("pss") else limits(values, -math.inf, math.inf)


def _draw(
    axes: Axes, data: pd.DataFrame, x: str, y: str, colours: dict[str, str], regions: bool
) -> None:
    for row in data.to_dict("records"):
        colour = colours[row["method"]]
        if regions:
            region = _region(
                *((row[n], row[f"{n}_joint_low"], row[f"{n}_joint_high"]) for n in (x, y))
            )
            for outline, name in zip(region, (x, y), strict=True):
                if name.startswith("pss"):  # no PSS is beyond 1
                    np.clip(outline, 0, 1, out=outline)
            axes.fill(*region, facecolor=colour, alpha=0.1, edgecolor="none", zorder=2)
        for across in (True, False):
            name = x if across else y
            ends, at = [row[f"{name}_low"], row[f"{name}_high"]], [row[y if across else x]] * 2
            line = (ends, at) if across else (at, ends)
            axes.plot(*line, color=colour, linewidth=0.8, alpha=0.6, zorder=3)
    for method, own in data.groupby("method", sort=False):
        colour = colours[str(method)]
        if len(own) > 1:
            axes.plot(own[x], own[y], color=colour, zorder=4, **marker_look("o", 3))
        axes.plot([own[x].mean()], [own[y].mean()], color=colour, zorder=5, **marker_look("o", 6.5))


def _label(
    axes: Axes, page: Page, data: pd.DataFrame, x: str, y: str, colours: dict[str, str]
) -> None:
    """Each method's name near its point, where it meets no other name and few points and bars."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    wide, high = inches_of(axes)
    means = data.groupby("method")[[x, y]].mean()
    places = [
        ((px - left) / (right - left) * wide, (py - bottom) / (top - bottom) * high)
        for px, py in [*zip(data[x], data[y], strict=True), *means.to_numpy()]
    ]
    taken = [(px - 0.05, px + 0.05, py - 0.05, py + 0.05, 3) for px, py in places]
    for row in data.to_dict("records"):
        (px, x_low, x_high), (py, y_low, y_high) = (
            [
                (row[f"{name}{end}"] - start) / (stop - start) * inches
                for end in ("", "_low", "_high")
            ]
            for name, start, stop, inches in ((x, left, right, wide), (y, bottom, top, high))
        )
        taken += [(x_low, x_high, py, py, 1), (px, px, y_low, y_high, 1)]
    for method, own in data.groupby("method", sort=False):
        name = page.shortened(printable(str(method)), 0.45 * wide)
        size = page.width_of(name, POINTS)
        px = (own[x].mean() - left) / (right - left) * wide
        py = (own[y].mean() - bottom) / (top - bottom) * high
        spots = [
            (
                step,
                min(max(px + dx if dx > 0 else px + dx - size, 0.02), wide - size - 0.02),
                min(max(py + sign * (0.1 + 0.16 * step), 0.09), high - 0.09),
            )
            for step in range(int(high / 0.16))
            for sign in (1, -1)
            for dx in (0.08, -0.08)
        ]

        def cost(spot: tuple[int, float, float], size: float = size) -> int:
            """How far away it is, and what it covers: 20 for a name, 3 for a point, 1 for a bar."""
            step, at, up = spot
            return step + sum(
                weight
                for a, b, c, d, weight in taken
                if at <= b and at + size >= a and up - 0.08 <= d and up + 0.08 >= c
            )

        step, at, up = min(spots, key=cost)
        taken.append((at - 0.05, at + size + 0.05, up - 0.08, up + 0.08, 20))
        where = left + at / wide * (right - left), bottom + up / high * (top - bottom)
        colour = colours[str(method)]
        if step:  # another point may be as near
            edge = left + min(max(px, at), at + size) / wide * (right - left)
            ends = (own[x].mean(), own[y].mean()), (edge, where[1])
            axes.add_patch(
                FancyArrowPatch(*ends, arrowstyle="-", linewidth=0.6, color=colour, zorder=4)
            )
        axes.text(
            *where, name, color=colour, va="center", ha="left", zorder=6,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
        )  # fmt: skip


def _region(x: tuple[float, float, float], y: tuple[float, float, float]) -> Floats:
    """The outline of an ellipse with a half axis of its own on each side, shape (2, points)."""
    angle = np.linspace(0, 2 * np.pi, 129)
    outline = []
    for (at, low, high), along in ((x, np.cos(angle)), (y, np.sin(angle))):
        outline.append(at + along * np.where(along > 0, high - at, at - low))
    return np.array(outline)
