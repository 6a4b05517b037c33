"""How figures look, and how they are saved: colours, markers, fonts, formats.

Nothing here touches `pyplot` or the reader's own matplotlib settings. Fonts travel with the
figure: as TrueType in the PDF, as outlines in the SVG (its text would else be set in whatever
font the reader has, and no longer fit where it was measured to fit).
"""

from __future__ import annotations

import io
import math
import re
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from persona_bench.report.latex import escape
from persona_bench.report.names import group_of
from persona_bench.report.tables import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

FONTS = {"sans": "DejaVu Sans", "serif": "STIXGeneral"}
"""Both come with matplotlib: the same figure on every machine."""
_FONT: ContextVar[str] = ContextVar("font", default="sans")

POINTS = 8
"""Size of all text in a figure that is printed at its own width."""

STYLE: dict[str, Any] = {
    "font.size": POINTS,
    "text.parse_math": False,  # names are shown as they are, dollars and backslashes too
    "axes.labelsize": POINTS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "xtick.labelsize": POINTS,
    "ytick.labelsize": POINTS,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": POINTS,
    "legend.frameon": False,
    "text.hinting": "none",  # widths are the same at every resolution, as measured
    "pdf.fonttype": 42,  # fonts embedded as TrueType: text stays text
    "svg.fonttype": "path",
    "svg.hashsalt": "persona-bench",  # the names inside the file are the same each time
    "savefig.dpi": 300,
}

GROUP_LOOKS: dict[str, tuple[str, str]] = {
    "control": ("#000000", "D"),
    "expert": ("#0072b2", "o"),
    "neutral": ("#8c9196", "s"),
    "harmful": ("#d55e00", "^"),
}
"""Colour and marker of each group of personas; the markers alone tell them apart in grey."""

MODEL_COLOURS = (
    "#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#661f52",
)  # fmt: skip
"""Colours of models and methods, in the order in which they are given: Okabe & Ito's palette.
Models have no markers of their own: a marker is a group of personas, and a label stands beside a
model's curve or point."""

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
            `.tex`, and for the description that the image files carry.

    Returns:
        The files: `.png` (300 dpi), `.pdf`, `.svg`, then `.csv` where there are data, and `.tex`
        with the caption.
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
    if caption := getattr(figure, "caption", ""):
        label = re.sub(r"[^\w.:-]+", "-", path.name)
        text = f"% {line or path.name}\n\\caption{{{escape(caption)}}}\n\\label{{fig:{label}}}\n"
        written.append(_beside(path, ".tex"))
        written[-1].write_text(text, encoding="utf-8", newline="\n")
    return written


def _beside(path: Path, suffix: str) -> Path:
    """Not with_suffix(): a task called `math.v2` keeps its name."""
    return path.with_name(path.name + suffix)


def styled() -> AbstractContextManager[None]:
    """The look of every figure, for drawing as for saving it."""
    return style.context(["default", STYLE | {"font.family": FONTS[_FONT.get()]}])


@contextmanager
def set_in(font: str) -> Iterator[None]:
    """Figures drawn and saved within it are set in `sans` or `serif`.

    Raises:
        ValueError: another font.
    """
    if font not in FONTS:
        raise ValueError(f"no font {font!r}: use {' or '.join(FONTS)}")
    before = _FONT.set(font)
    try:
        yield
    finally:
        _FONT.reset(before)


def look_of(kind: str) -> tuple[str, str]:
    """Colour and marker of a kind of persona: those of its group."""
    return GROUP_LOOKS[group_of(kind)]


def model_colours(names: Iterable[str]) -> dict[str, str]:
    """The colour of each name, in order; after eight they begin again."""
    unlike = enumerate(dict.fromkeys(names))
    return {name: MODEL_COLOURS[i % len(MODEL_COLOURS)] for i, name in unlike}


class PaperFigure(Figure):
    """A figure without a title or notes of its own: they are its caption."""

    caption: str = ""

    def _repr_png_(self) -> bytes:
        """The figure in a notebook."""
        picture = io.BytesIO()
        with styled():
            self.savefig(picture, format="png", dpi=150)
        return picture.getvalue()


def marker_look(marker: str, size: float) -> dict[str, Any]:
    """Line2D arguments; some shapes need more or less room to look as large as a disc."""
    return {
        "marker": marker,
        "markersize": size * {"D": 0.9, "^": 1.1}.get(marker, 1.0),
        "markeredgecolor": "white",
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
    axes.text(x, y, text, ha=align, va="center", color="#666666", style="italic")
