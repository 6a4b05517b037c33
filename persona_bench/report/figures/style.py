"""How figures look, and how they are saved: colours, markers, fonts, formats.

Nothing here touches `pyplot` or the reader's own matplotlib settings. Fonts travel with the
figure: as TrueType in the PDF, as outlines in the SVG (its text would else be set in whatever
font the reader has, and no longer fit where it was measured to fit).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.ticker import MaxNLocator

from persona_bench.report.tables import number

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 8,
    "text.parse_math": False,  # names are shown as they are, dollars and backslashes too
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "text.hinting": "none",  # widths are the same at every resolution, as measured
    "pdf.fonttype": 42,  # fonts embedded as TrueType: text stays text
    "svg.fonttype": "path",
    "svg.hashsalt": "persona-bench",  # the names inside the file are the same each time
    "savefig.dpi": 200,
}

# Okabe & Ito's palette, its yellow darkened for white paper, and two more. Colours of like
# lightness go with unlike markers: the markers alone tell the kinds apart in grey.
KIND_COLOURS: dict[str, str] = {
    "control": "#000000",
    "expert": "#0072b2",
    "adjacent_expert": "#56b4e9",
    "layperson": "#e69f00",
    "education": "#009e73",
    "character": "#cc79a7",
    "temperament": "#d8c600",
    "speech": "#661f52",
    "irrelevant": "#999999",
    "harmful": "#d55e00",
}
KIND_MARKERS: dict[str, str] = {
    "control": "D",
    "expert": "o",
    "adjacent_expert": "s",
    "layperson": "^",
    "education": "v",
    "character": "P",
    "temperament": "*",
    "speech": "<",
    "irrelevant": ">",
    "harmful": "X",
}
OTHER_COLOUR, OTHER_MARKER = "#5f6b6b", "8"
"""For a kind that is none of the ten."""

MODEL_LOOKS: tuple[tuple[str, str], ...] = (
    ("#000000", "D"),
    ("#e69f00", "^"),
    ("#009e73", "v"),
    ("#0072b2", "s"),
    ("#d55e00", "o"),
    ("#cc79a7", "P"),
    ("#56b4e9", "X"),
    ("#661f52", "*"),
)
"""Colour and marker of models and methods, in the order in which they are given: Okabe & Ito's
palette; the markers alone tell them apart in grey."""

BASELINE = "none"
"""The control without a system message: the reference that the others are read against."""


def save_figure(
    figure: Figure,
    path_without_suffix: Path,
    *,
    data: pd.DataFrame | None = None,
    provenance: str = "",
) -> list[Path]:
    """Write a figure in every format that papers and pages take.

    The same figure gives the same bytes: no file holds a date.

    Args:
        figure: What to save.
        path_without_suffix: Where; each file adds its suffix to the name.
        data: What the figure shows, for the `.csv`.
        provenance: A line on how the figure was made (runs, versions, seeds, command): for the
            `.txt`, and for the description that the image files carry.

    Returns:
        The files: `.png` (200 dpi), `.pdf`, `.svg`, then `.csv` and `.txt` where there is
        something to put in them.
    """
    path = Path(path_without_suffix)
    line = " ".join(provenance.split())
    told = {"Description": line} if line else {}
    formats: dict[str, dict[str, Any]] = {
        ".png": told,  # its date is never in the file
        ".pdf": {"CreationDate": None} | ({"Subject": line} if line else {}),
        ".svg": {"Date": None} | told,
    }
    written = []
    with styled():
        for suffix, metadata in formats.items():
            written.append(_beside(path, suffix))
            figure.savefig(written[-1], metadata=metadata)
    if data is not None:
        written.append(_beside(path, ".csv"))
        data.to_csv(written[-1], index=False, encoding="utf-8", lineterminator="\n")
    if line:
        written.append(_beside(path, ".txt"))
        written[-1].write_text(line + "\n", encoding="utf-8", newline="\n")
    return written


def _beside(path: Path, suffix: str) -> Path:
    """Not with_suffix(): a task called `math.v2` keeps its name."""
    return path.with_name(path.name + suffix)


def styled() -> AbstractContextManager[None]:
    return style.context(["default", STYLE])


def look_of(kind: str) -> tuple[str, str]:
    return KIND_COLOURS.get(kind, OTHER_COLOUR), KIND_MARKERS.get(kind, OTHER_MARKER)


def model_looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each name, in order; after eight they begin again."""
    return {name: MODEL_LOOKS[i % len(MODEL_LOOKS)] for i, name in enumerate(dict.fromkeys(names))}


def marker_look(marker: str, size: float) -> dict[str, Any]:
    """Line2D arguments; stars and crosses need more room to look as large as a disc."""
    return {
        "marker": marker,
        "markersize": size * {"*": 1.6, "P": 1.2, "X": 1.2, "D": 0.9}.get(marker, 1.0),
        "markeredgecolor": "#222222",
        "markeredgewidth": 0.5,
        "linestyle": "none",
    }


def limits(
    values: Iterable[float], lowest: float = -0.02, highest: float = 1.02
) -> tuple[float, float]:
    """Axis limits about the values, with room for a marker; 0 to 1 where none is known."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = max(0.06 * (high - low), 0.02)
    return max(low - room, lowest), min(high + room, highest)


def set_ticks(
    axis: XAxis | YAxis, lowest: float = -math.inf, highest: float = math.inf, inset: float = 0.0
) -> None:
    """As many ticks as the axis has room for, within its limits and from `lowest` to `highest`.

    `inset` (inches) keeps labels off the ends, where another panel's would meet them.
    """
    low, high = axis.get_view_interval()
    inches = inches_of(axis.axes)[axis.axis_name == "y"]
    off = inset / inches * (high - low)
    first, last = max(low + off, lowest), min(high - off, highest)
    at: list[float] = []
    # steps of 4 only where nothing else leaves two ticks
    for steps in ([1, 2, 2.5, 5, 10], [1, 2, 4, 5, 10]):
        for bins in range(8, 0, -1):
            places = MaxNLocator(bins, steps=steps, min_n_ticks=1).tick_values(low, high)
            rounded = [round(float(place), 9) for place in places]  # not 0.30000000000000004
            at = [place for place in rounded if first <= place <= last]
            apart = (places[1] - places[0]) / (high - low) * inches
            widest = 0.075 * max((len(f"{place:g}") for place in at), default=0)
            if apart > (widest + 0.1 if axis.axis_name == "x" else 0.28):
                break
        if len(at) > 1:
            break
    axis.set_ticks(at)
    axis.get_ticklabels()  # made now, in this style, not when they are first drawn


def inches_of(axes: Axes) -> tuple[float, float]:
    """Width and height."""
    box, dpi = axes.get_window_extent(), axes.figure.dpi
    return box.width / dpi, box.height / dpi


def share_ticks(axis: XAxis | YAxis, inset: float = 0.0) -> None:
    """Ticks only within the limits, and where a share can be."""
    set_ticks(axis, 0.0, 1.0, inset)


def with_interval(value: float, ends: tuple[float, float], what: str) -> str:
    if math.isnan(value) or math.isnan(ends[0]):
        return number(value)
    return f"{value:.3f} ({what} {ends[0]:.3f} to {ends[1]:.3f})"


def say_in(axes: Axes, x: float, y: float, text: str, align: str = "center") -> None:
    axes.text(x, y, text, ha=align, va="center", color="#666666", style="italic", fontsize=7)
