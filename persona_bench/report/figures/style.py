"""How figures look: colours and markers, fonts, and a page laid out in inches.

Seven inches wide, as tall as what is shown needs. Everything is laid out in inches from
measured text, so that no name is cut off and no two labels meet, and nothing touches
`pyplot` or the reader's own matplotlib settings.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from persona_bench.report.tables import number, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.legend import Legend
    from matplotlib.text import Text

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
    "xtick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "text.hinting": "none",  # widths are the same at every resolution, as measured
    "pdf.fonttype": 42,  # fonts embedded as TrueType: text stays text
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

WIDTH = 7.0
"""Inches: the text width of a page."""
MARGIN = 0.12
BASELINE = "none"
"""The control without a system message: the reference that the others are read against."""


def save_figure(figure: Figure, path_without_suffix: Path) -> list[Path]:
    """Write `.png` (200 dpi) and `.pdf`; the same figure gives the same bytes."""
    path = Path(path_without_suffix)
    # not with_suffix(): a task called `math.v2` keeps its name
    png, pdf = (path.with_name(path.name + suffix) for suffix in (".png", ".pdf"))
    with styled():
        figure.savefig(png)  # its date is never in the file
        figure.savefig(pdf, metadata={"CreationDate": None})
    return [png, pdf]


def styled() -> AbstractContextManager[None]:
    return style.context(["default", STYLE])


def look_of(kind: str) -> tuple[str, str]:
    return KIND_COLOURS.get(kind, OTHER_COLOUR), KIND_MARKERS.get(kind, OTHER_MARKER)


def marker_look(marker: str, size: float) -> dict[str, Any]:
    """Line2D arguments; stars and crosses need more room to look as large as a disc."""
    return {
        "marker": marker,
        "markersize": size * {"*": 1.6, "P": 1.2, "X": 1.2, "D": 0.9}.get(marker, 1.0),
        "markeredgecolor": "#222222",
        "markeredgewidth": 0.5,
        "linestyle": "none",
    }


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Axis limits about the values, with room for a marker; 0 to 1 where none is known."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = max(0.06 * (high - low), 0.02)
    return max(low - room, -0.02), min(high + room, 1.02)


def share_ticks(axis: XAxis | YAxis) -> None:
    """Ticks only within the limits, and where a share can be."""
    low, high = axis.get_view_interval()
    places = [round(at, 9) for at in axis.get_ticklocs()]  # 1.0000000000000002 is 1
    axis.set_ticks([at for at in places if max(low, 0) <= at <= min(high, 1)])
    axis.get_ticklabels()  # made now, in this style, not when they are first drawn


def with_interval(value: float, ends: tuple[float, float], what: str) -> str:
    if math.isnan(value) or math.isnan(ends[0]):
        return number(value)
    return f"{value:.3f} ({what} {ends[0]:.3f} to {ends[1]:.3f})"


def say_in(axes: Axes, x: float, y: float, text: str, align: str = "center") -> None:
    axes.text(x, y, text, ha=align, va="center", color="#666666", style="italic", fontsize=7)


class Page:
    """A figure with a title, notes and legends above one pair of axes, measured in inches."""

    def __init__(
        self, title: str, notes: Sequence[str], legends: Sequence[Sequence[Artist]]
    ) -> None:
        self.figure = Figure(figsize=(WIDTH, 4), dpi=STYLE["savefig.dpi"])
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()
        self._used = MARGIN
        if title:
            self._add_text(printable(title), 10, "bold")
        for note in notes:
            self._add_text(note, 8)
        self._used += 0.04
        for handles in legends:
            if handles:
                self._add_legend(handles)

    def axes(self, height: float, *, left: float, bottom: float, top: float = 0.0) -> Axes:
        """Axes of that height below the legend; `left`, `bottom`, `top` are for their labels."""
        top += self._used + 0.08
        total = top + height + bottom
        self.figure.set_size_inches(WIDTH, total)
        left += MARGIN
        width = WIDTH - left - 2 * MARGIN
        return self.figure.add_axes((left / WIDTH, bottom / total, width / WIDTH, height / total))

    def fit(self, text: str, width: float, points: float, weight: str = "normal") -> str:
        """The text, broken into lines that are no wider than `width` inches."""
        measured = self.width_of(text, points, weight)
        if measured <= width:
            return text
        characters = max(1, int(len(text) * width / measured))
        while True:
            broken = "\n".join(textwrap.wrap(text, characters)) or " "
            if characters == 1 or self.width_of(broken, points, weight) <= width:
                return broken
            characters -= 1

    def width_of(self, text: str, points: float, weight: str = "normal") -> float:
        probe = self.figure.text(0, 0, text, fontsize=points, fontweight=weight)
        width = probe.get_window_extent(self._renderer).width / self.figure.dpi
        probe.remove()
        return float(width)

    def _add_text(self, text: str, points: float, weight: str = "normal") -> None:
        written = self.figure.text(
            0,
            1,
            self.fit(text, WIDTH - 2 * MARGIN, points, weight),
            fontsize=points,
            fontweight=weight,
            va="top",
            transform=self._from_top_left(),
        )
        self._use(written)

    def _add_legend(self, handles: Sequence[Artist]) -> None:
        """As many columns as fit the width."""
        for columns in range(min(5, len(handles)), 0, -1):
            legend = self.figure.legend(
                handles=list(handles),
                loc="upper left",
                bbox_to_anchor=(0, 1),
                bbox_transform=self._from_top_left(),
                borderaxespad=0,
                borderpad=0,
                ncols=columns,
                columnspacing=1.2,
                handletextpad=0.5,
                handlelength=1.8,
            )
            width = legend.get_window_extent(self._renderer).width / self.figure.dpi
            if columns == 1 or width <= WIDTH - 2 * MARGIN:
                self._use(legend)
                return
            legend.remove()

    def _from_top_left(self) -> Any:
        """From the top left corner of the page, wherever its height will put that."""
        down = ScaledTranslation(MARGIN, -self._used, self.figure.dpi_scale_trans)
        return self.figure.transFigure + down

    def _use(self, artist: Text | Legend) -> None:
        height = artist.get_window_extent(self._renderer).height / self.figure.dpi
        self._used += height + 0.05
