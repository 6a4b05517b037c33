"""Robustness and fidelity of several checkpoints in one figure: who has both?

    figure = frontier_figure(table, x="pss_corrected", y="persona_information")
    save_figure(figure, Path("figures/frontier"))

Up and to the right is better. A checkpoint is a point with an interval each way, in the region
where both numbers are; seeds of a method share its colour and marker.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from scipy.stats import chi2, norm

from persona_bench.report.figures.layout import Page
from persona_bench.report.figures.style import (
    limits,
    marker_look,
    model_looks,
    say_in,
    set_ticks,
    styled,
)
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from persona_bench.scoring.resampling import Floats

NAMES = {
    "pss": "PSS: worst / best accuracy over personas",
    "pss_corrected": "Corrected PSS: robustness to personas",
    "accuracy": "Mean accuracy over personas",
    "persona_information": "Persona information in role play (nats a token)",
    "identifiability": "Identifiability of the persona from the response",
    "persona_score": "PersonaScore (1 to 5)",
}


def frontier_figure(
    table: pd.DataFrame,
    *,
    x: str = "pss_corrected",
    y: str = "persona_information",
    title: str = "",
    notes: Sequence[str] | None = None,
    columns: int = 2,
    confidence: float = 0.95,
) -> Figure:
    """Checkpoints by two numbers, each with the region that holds both with that confidence.

    The two are measured on different questions and hence independent: the joint region's half
    axes are the halves of the two intervals, times sqrt(chi2(2) quantile) / normal quantile
    (1.249 at 95%); a half for each side, as intervals need not be symmetrical.

    Args:
        table: A row a checkpoint: `method`, `seed`, `x`, `y`, and the ends of their intervals
            in columns with `_low` and `_high` added.
        x: The column across.
        y: The column upwards.
        title: Above the figure.
        notes: Below the title, a line each; None for a line on the intervals.
        columns: Width: 1 or 2 columns of a paper.
        confidence: Level of the intervals in `table`, and of the regions.

    Raises:
        ValueError: a column is missing.
    """
    data = frontier_data(table, x, y, confidence=confidence)
    looks = model_looks(table["method"].astype(str))
    if notes is None:
        notes = (
            f"Bars: {confidence:.0%} intervals of either number; shaded: joint {confidence:.0%} "
            "regions (different questions, hence independent)",
        )
    unknown = table.loc[table[x].isna() | table[y].isna(), "method"].astype(str)
    if len(unknown):
        left_out = ", ".join(map(printable, dict.fromkeys(unknown)))
        notes = (*notes, f"Not shown, as one of the two numbers is undefined: {left_out}")
    with styled():
        handles: list[Artist] = [
            Line2D([], [], color=colour, label=printable(method), **marker_look(marker, 6))
            for method, (colour, marker) in looks.items()
        ]
        page = Page(title, notes, [handles], columns=columns)
        height = 3.6 if columns == 2 else 2.6
        axes = page.axes(height, left=0.7, xlabel=NAMES.get(x, x))
        axes.set_ylabel(page.fit(NAMES.get(y, y), height, 8))
        axes.grid(axis="both")
        axes.set_xlim(*_span(data, x))
        axes.set_ylim(*_span(data, y))
        for axis in (axes.xaxis, axes.yaxis):
            set_ticks(axis)
        if data.empty:
            middle = [sum(ends) / 2 for ends in (axes.get_xlim(), axes.get_ylim())]
            say_in(axes, middle[0], middle[1], "no checkpoint has both numbers")
        _draw(axes, data, x, y, looks)
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


def _span(data: pd.DataFrame, name: str) -> tuple[float, float]:
    """Limits that hold the regions; a PSS ends at 1."""
    ends = data[[name, f"{name}_low", f"{name}_high", f"{name}_joint_low", f"{name}_joint_high"]]
    values = ends.to_numpy().ravel().tolist()
    return limits(values) if name.startswith("pss") else limits(values, -math.inf, math.inf)


def _draw(
    axes: Axes, data: pd.DataFrame, x: str, y: str, looks: dict[str, tuple[str, str]]
) -> None:
    for row in data.to_dict("records"):
        colour, marker = looks[row["method"]]
        region = _region(*((row[n], row[f"{n}_joint_low"], row[f"{n}_joint_high"]) for n in (x, y)))
        if not np.isnan(region).any():
            axes.fill(*region, facecolor=colour, alpha=0.1, edgecolor="none", zorder=2)
            axes.fill(*region, fill=False, edgecolor=colour, linewidth=0.7, alpha=0.7, zorder=2.5)
        for across in (True, False):
            name = x if across else y
            ends, at = [row[f"{name}_low"], row[f"{name}_high"]], [row[y if across else x]] * 2
            axes.plot(
                *((ends, at) if across else (at, ends)), color=colour, linewidth=0.8, zorder=3
            )
        axes.plot([row[x]], [row[y]], color=colour, zorder=4, **marker_look(marker, 6.5))


def _region(x: tuple[float, float, float], y: tuple[float, float, float]) -> Floats:
    """The outline of an ellipse with a half axis of its own on each side, shape (2, points)."""
    angle = np.linspace(0, 2 * np.pi, 129)
    outline = []
    for (at, low, high), along in ((x, np.cos(angle)), (y, np.sin(angle))):
        outline.append(at + along * np.where(along > 0, high - at, at - low))
    return np.array(outline)
