"""The persona lottery: the best and worst accuracy of k personas drawn at random.

figure = lottery_figure(stability(outcomes), title="my model on math500")
save_figure(figure, Path("figures/lottery"))  # lottery.png, lottery.pdf
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from persona_bench.report.figures.style import (
    KIND_COLOURS,
    Page,
    limits,
    marker_look,
    say_in,
    share_ticks,
    styled,
)
from persona_bench.report.tables import number, size
from persona_bench.scoring.lottery import lottery_curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from persona_bench.scoring.stability import Stability


def lottery_figure(result: Stability, *, title: str = "") -> Figure:
    """Expected best and worst accuracy of k personas drawn at random, k = 1 to all."""
    data = lottery_data(result)
    with styled():
        page = Page(title, _lottery_notes(result), [_lottery_handles(result)])
        axes = page.axes(2.8, left=0.55, bottom=0.5)
        if data.empty:
            say_in(axes, 0.5, 0.5, "nothing scored")
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[])
            share_ticks(axes.yaxis)
        else:
            _draw_lottery(axes, data)
        axes.set_xlabel("Personas drawn at random, k")
        axes.set_ylabel("Expected accuracy (correct / scored)")
        axes.grid(axis="both")
    return page.figure


def lottery_data(result: Stability) -> pd.DataFrame:
    """What `lottery_figure` shows, a row for each k; `mean` and its interval are the band."""
    low, high = result.mean_interval
    curve = lottery_curve(result.per_persona["accuracy"].to_list())
    return curve.assign(mean=result.mean, mean_low=low, mean_high=high)


_BEST, _WORST = KIND_COLOURS["expert"], KIND_COLOURS["harmful"]


def _draw_lottery(axes: Axes, data: pd.DataFrame) -> None:
    k = data["k"]
    last = k.iloc[-1]
    axes.set_xlim(min(0.5, 1 - 0.02 * last), last + max(0.5, 0.02 * last))
    ends = ["expected_best", "expected_worst", "mean", "mean_low", "mean_high"]
    axes.set_ylim(*limits(data[ends].to_numpy().ravel().tolist()))
    share_ticks(axes.yaxis)
    step = next(s for s in (1, 2, 5, 10, 20, 50, last) if last <= 16 * s)
    ticks = sorted({1, *range(step, last + 1, step)})
    axes.set_xticks(ticks)
    axes.axhspan(data["mean_low"].iloc[0], data["mean_high"].iloc[0], color="#ececec", zorder=1)
    axes.axhline(data["mean"].iloc[0], color="#444444", linewidth=0.9, zorder=2)
    at_ticks = [tick - 1 for tick in ticks]
    for column, colour, marker in (("expected_best", _BEST, "^"), ("expected_worst", _WORST, "v")):
        look = marker_look(marker, 4.5) | {"linestyle": "-", "linewidth": 1.3}
        axes.plot(k, data[column], color=colour, markevery=at_ticks, zorder=3, **look)


def _lottery_handles(result: Stability) -> list[Artist]:
    if math.isnan(result.mean):
        return []
    handles: list[Artist] = []
    for label, colour, marker in (("best of k", _BEST, "^"), ("worst of k", _WORST, "v")):
        look = marker_look(marker, 4.5) | {"linestyle": "-", "linewidth": 1.3}
        handles.append(Line2D([], [], color=colour, label=label, **look))
    mean = f"mean over personas, {number(result.mean)}"
    handles.append(Line2D([], [], color="#444444", linewidth=0.9, label=mean))
    band = f"its {result.confidence:.0%} interval"
    handles.append(Patch(facecolor="#ececec", edgecolor="#cccccc", linewidth=0.5, label=band))
    return handles


def _lottery_notes(result: Stability) -> list[str]:
    notes = [
        f"{size(result, '×')}; drawn without replacement",
        "Noise of measurement is included: the curves part a little even where personas do nothing",
    ]
    if result.unscored:
        low, high = result.mean_if_unscored
        notes.append(
            f"{result.unscored:,} responses unscored: mean {low:.3f} with all of them wrong, "
            f"{high:.3f} with all right"
        )
    return notes
