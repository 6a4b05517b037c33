"""Rows of named things, personas above all, and what is drawn in them: a point and its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from persona_bench.report.figures.style import POINTS, inches_of, marker_look, say_in
from persona_bench.report.tables import UNKNOWN, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from persona_bench.report.figures.layout import Page


class Rows:
    """Names from the top, each row as tall as its label; y runs downwards in inches."""

    def __init__(
        self, page: Page, names: Sequence[str], *, least: float = 0.0, label: float = 0.38
    ) -> None:
        """`least` is the least height of a row, `label` the most of the page for the names."""
        self.crowded = len(names) > 40
        self.points = 6.5 if self.crowded else POINTS
        self.marker = 4.2 if self.crowded else 5.5
        widest = label * page.width
        self.labels = [page.fit(printable(name), widest, self.points) for name in names]
        line = self.points / 72 * 1.25
        least = max(least, 0.12 if self.crowded else 0.165)
        heights = [max(least, text.count("\n") * line + line) for text in self.labels]
        self.y = [sum(heights[:i]) + height / 2 for i, height in enumerate(heights)]
        self.at = dict(zip(names, self.y, strict=True))
        self.total = sum(heights)
        self.lowest = min(heights, default=least)
        widths = [page.width_of(text, self.points) for text in self.labels]
        self.left = max(widths, default=0.0) + 0.1
        self.top = 0.25 if self.crowded else 0.0
        """Room for the second row of ticks, above a panel too tall for one."""

    def put_on(self, axes: Axes, *, named: bool = True) -> None:
        """Rows and names on the y axis of these axes."""
        axes.set_ylim(max(self.total, 0.1), 0)
        axes.set_yticks(self.y, self.labels if named else [""] * len(self.y), fontsize=self.points)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", top=self.crowded, labeltop=self.crowded)


def draw_interval(
    axes: Axes,
    ends: tuple[float, float],
    value: float,
    at: float,
    look: tuple[str, str],
    size: float,
    *,
    filled: bool = True,
    missing: str = "nothing scored",
) -> None:
    """A point with its interval at the height `at`; `missing` says why where there is none."""
    if math.isnan(value):
        text = f"  {missing}" if inches_of(axes)[0] > 1 else f"  {UNKNOWN}"
        say_in(axes, axes.get_xlim()[0], at, text, align="left")
        return
    colour, marker = look
    if not math.isnan(ends[0]):
        axes.plot(list(ends), [at, at], color=colour, linewidth=1.3, zorder=3)
    drawn = marker_look(marker, size)
    if not filled:
        drawn |= {"markerfacecolor": "white", "markeredgecolor": colour, "markeredgewidth": 1.0}
    axes.plot([value], [at], color=colour, zorder=4, **drawn)
