"""A page laid out in inches: legends, then bands of panels below one another.

As wide as it is printed, as tall as what is shown needs. Everything is placed by text that was
measured, so that no name is cut off and no two labels meet. What a figure is of and how it was
made is no part of it, but its caption.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import ScaledTranslation

from persona_bench.report.figures.style import POINTS, STYLE, PaperFigure, say_in
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.text import Text

TEXT_WIDTH, COLUMN_WIDTH = 5.5, 2.75
"""Inches: the text of a NeurIPS paper, and one column of a page of two."""
MARGIN = 0.06
BEYOND = 0.12
"""Inches on the right, for half of the last tick's label."""


class _Wrapper(textwrap.TextWrapper):
    """Breaks names after slashes and underscores too."""

    wordsep_re = re.compile(r"(\s+|[^\s/_-]*[/_-]+)")


class Page:
    """A figure with legends above bands of axes, measured in inches.

    Args:
        title: What the figure is of: begins its caption.
        notes: The other sentences of its caption.
        legends: Handles, one list per legend.
        width: Inches.

    Raises:
        ValueError: a width in which no figure finds room.
    """

    def __init__(
        self,
        title: str,
        notes: Sequence[str],
        legends: Sequence[Sequence[Artist]],
        *,
        width: float = TEXT_WIDTH,
    ) -> None:
        if not 2 <= width <= 20:
            raise ValueError(f"a figure is 2 to 20 inches wide, not {width:g}")
        self.width = width
        self.inner = self.width - 2 * MARGIN
        self.figure = PaperFigure(figsize=(self.width, 4), dpi=STYLE["savefig.dpi"])
        sentences = [printable(text).strip().rstrip(".") for text in (title, *notes) if text]
        self.figure.caption = "".join(f"{text}. " for text in sentences if text).strip()
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()
        self.used = MARGIN
        self._placed: list[tuple[Axes, float, float, float, float]] = []
        for handles in legends:
            if handles:
                self._add_legend(handles)

    def axes(
        self, height: float, *, left: float, xlabel: str = "", top: float = 0.0, ticks: float = 0.25
    ) -> Axes:
        """Axes of that height over the width; see `band`. `left` is for labels on the left."""
        return self.band(height, [self.room(left)], xlabels=[xlabel], top=top, ticks=ticks)[0]

    def room(self, left: float) -> tuple[float, float]:
        """Where axes with labels of the width `left` begin, and how wide they can be."""
        return MARGIN + left, self.width - left - 2 * MARGIN - BEYOND

    def band(
        self,
        height: float,
        cells: Sequence[tuple[float, float]],
        *,
        xlabels: Sequence[str] = (),
        top: float = 0.0,
        ticks: float = 0.25,
    ) -> list[Axes]:
        """Axes side by side, below all that is there.

        Args:
            height: Height of each, in inches.
            cells: Where each begins, from the left edge of the page, and how wide it is.
            xlabels: One for each, or one for all.
            top: Room for what stands above the axes, in inches.
            ticks: Room for the labels of the ticks, in inches.
        """
        start = self.used + 0.08 + top
        for left, width in cells:
            axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
            self._placed.append((axes, left, start, width, height))
        if len(xlabels) == 1:
            left, (last, width) = cells[0][0], cells[-1]
            spans: Sequence[tuple[float, float]] = [(left, last + width - left)]
        else:
            spans = cells
        lines = 0
        for text, (left, width) in zip(xlabels, spans, strict=False):
            broken = self.fit(text, width, POINTS)
            lines = max(lines, broken.count("\n") + 1 if text else 0)
            self.write(broken, left + width / 2, start + height + ticks, ha="center")
        self.used = start + height + ticks + 0.14 * lines + (0.08 if lines else 0.02)
        self._resize()
        return [axes for axes, *_ in self._placed[-len(cells) :]]

    def say(self, text: str) -> PaperFigure:
        """A page that says that there is nothing to show."""
        axes = self.axes(0.6, left=0.0)
        axes.set_axis_off()
        say_in(axes, 0.5, 0.5, text)
        return self.figure

    def write(self, text: str, x: float, down: float, **how: Any) -> Text:
        """Text whose top is `down` inches below the page's top, `x` from its left edge."""
        where = self._from_top_left(x, down)
        return self.figure.text(0, 1, text, va="top", transform=where, **how)

    def fit(self, text: str, width: float, points: float, weight: str = "normal") -> str:
        """The text, broken into lines that are no wider than `width` inches."""
        measured = self.width_of(text, points, weight)
        if measured <= width:
            return text
        characters = max(1, int(len(text) * width / measured))
        while True:
            broken = "\n".join(_Wrapper(characters).wrap(text)) or " "
            if characters == 1 or self.width_of(broken, points, weight) <= width:
                return broken
            characters -= 1

    def shortened(self, text: str, width: float) -> str:
        """The text, cut in its middle where it is wider than `width` inches."""
        kept = len(text)
        while kept > 3 and self.width_of(text, POINTS) > width:
            kept -= 1
            text = f"{text[: kept // 2]}…{text[-(kept - kept // 2 - 1) :]}"
        return text

    def width_of(self, text: str, points: float, weight: str = "normal") -> float:
        probe = self.figure.text(0, 0, text, fontsize=points, fontweight=weight)
        width = probe.get_window_extent(self._renderer).width / self.figure.dpi
        probe.remove()
        return float(width)

    def _resize(self) -> None:
        tall = self.used
        self.figure.set_size_inches(self.width, tall)
        for axes, left, start, width, height in self._placed:
            bottom = (tall - start - height) / tall
            axes.set_position((left / self.width, bottom, width / self.width, height / tall))

    def _add_legend(self, handles: Sequence[Artist]) -> None:
        """As many columns as fit the width, read row by row."""
        for handle in handles:
            handle.set_label(self.fit(str(handle.get_label()), self.inner - 0.4, POINTS))
        for columns in range(min(5, len(handles)), 0, -1):
            legend = self.figure.legend(
                handles=[each for column in range(columns) for each in handles[column::columns]],
                loc="upper left",
                bbox_to_anchor=(0, 1),
                bbox_transform=self._from_top_left(MARGIN, self.used),
                borderaxespad=0,
                borderpad=0,
                ncols=columns,
                columnspacing=1.2,
                handletextpad=0.5,
                handlelength=2.15,
            )
            width = legend.get_window_extent(self._renderer).width / self.figure.dpi
            if columns == 1 or width <= self.inner:
                self._use(legend)
                return
            legend.remove()

    def _from_top_left(self, x: float, down: float) -> Any:
        """From the top left corner of the page, wherever its height will put that."""
        return self.figure.transFigure + ScaledTranslation(x, -down, self.figure.dpi_scale_trans)

    def _use(self, artist: Legend) -> None:
        height = artist.get_window_extent(self._renderer).height / self.figure.dpi
        self.used += height + 0.05
