"""Measures a figure with the renderer: nothing overlaps, nothing is cut off."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from persona_bench.report.figures.style import PaperFigure

LONG = "a-persona-whose-name-somebody-made-much-longer-than-any-table-would-like-it-to-be"
TITLE = "organisation/some-model-1.5B-Instruct, persona_math500"


def texts(figure: Figure) -> list[Text]:
    """All text that is drawn: labels of ticks beyond the limits exist, but are not."""
    beyond = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    beyond |= {tick.label1, tick.label2}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in found if t not in beyond]


def words(figure: PaperFigure) -> str:
    """All that is drawn, and the caption."""
    return " ".join([*(t.get_text() for t in texts(figure)), figure.caption])


def assert_readable(figure: PaperFigure, width: float = 5.5) -> None:
    """Drawn without a warning, all text inside and in a size that print can hold, none overlapping.

    The figure is as wide as it is printed, so that its points are those of the paper; only names
    in rows of more than 40 are smaller.
    """
    assert figure.get_figwidth() == width
    crowded = any(len(axes.get_yticks()) > 40 for axes in figure.axes)
    assert {t.get_fontsize() for t in texts(figure)} <= ({6.5, 8.0} if crowded else {8.0})
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # tall ones are slow to draw: laid out only, as lower ones of the same kind are drawn
        (canvas.draw if figure.get_figheight() < 6 else figure.draw_without_rendering)()
    renderer, page = canvas.get_renderer(), figure.bbox
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts(figure)]
    for name, box in [*boxes, *(("legend", x.get_window_extent(renderer)) for x in figure.legends)]:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, f"{name!r} is cut off"
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, f"{name!r} is cut off"
    for (a, one), (b, other) in itertools.combinations(boxes, 2):
        assert not one.overlaps(other), f"{a!r} overlaps {b!r}"
    assert "nan" not in words(figure).lower().split()


def points(axes: Axes) -> list[tuple[float, float]]:
    """Where markers stand that are alone, in the order in which they were drawn."""
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", "", None)]
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in lines
        if len(line.get_xdata()) == 1
    ]


def bars(axes: Axes) -> list[tuple[float, float]]:
    """Ends of the intervals across, in the order in which they were drawn."""
    lines = [line for line in axes.get_lines() if line.get_transform() == axes.transData]
    two = [line for line in lines if len(line.get_xdata()) == 2]
    return [tuple(map(float, line.get_xdata())) for line in two if np.ptp(line.get_ydata()) == 0]
