"""The persona lottery: the best and worst accuracy of k personas drawn at random.

figure = lottery_figure(stability(outcomes), title="my model on math500")
save_figure(figure, Path("figures/lottery"))  # lottery.png, lottery.pdf, lottery.svg
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from persona_bench.report.figures.layout import Page
from persona_bench.report.figures.several import size_notes
from persona_bench.report.figures.style import (
    KIND_COLOURS,
    inches_of,
    limits,
    marker_look,
    model_looks,
    say_in,
    share_ticks,
    styled,
)
from persona_bench.report.tables import number, printable, size
from persona_bench.scoring.lottery import lottery_curve
from persona_bench.scoring.stability import Stability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def lottery_figure(
    result: Stability | Mapping[str, Stability], *, title: str = "", columns: int = 2
) -> Figure:
    """Expected best and worst accuracy of k personas drawn at random, k = 1 to all.

    Args:
        result: One model's stability, or that of several by their names.
        title: Above the figure.
        columns: Width: 1 or 2 columns of a paper.
    """
    data = lottery_data(result)
    with styled():
        if isinstance(result, Stability):
            notes, handles = _lottery_notes(result), _lottery_handles(result)
        else:
            notes, handles = _notes_of_several(result), _handles_of_several(data)
        page = Page(title, notes, [handles], columns=columns)
        axes = page.axes(2.8, left=0.55, xlabel="Personas drawn at random, k")
        axes.grid(axis="both")
        axes.set_ylabel("Expected accuracy (correct / scored)")
        if data.empty:
            say_in(axes, 0.5, 0.5, "nothing scored")
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[])
            share_ticks(axes.yaxis)
            return page.figure
        at_ticks = _set_axes(axes, data)
        if isinstance(result, Stability):
            _draw_lottery(axes, data, at_ticks)
        else:
            _draw_several(axes, data, at_ticks)
    return page.figure


def lottery_data(result: Stability | Mapping[str, Stability]) -> pd.DataFrame:
    """What `lottery_figure` shows, a row for each k; `mean` and its interval are the band.

    For several models, `model` comes first, and a row is for each model and k.
    """
    if isinstance(result, Stability):
        low, high = result.mean.interval
        curve = lottery_curve(result.per_persona["accuracy"].to_list())
        return curve.assign(mean=result.mean, mean_low=low, mean_high=high)
    names = ["model", "k", "expected_best", "expected_worst", "mean", "mean_low", "mean_high"]
    tables = [lottery_data(each).assign(model=model) for model, each in result.items()]
    known = [table for table in tables if not table.empty]
    return pd.concat(known, ignore_index=True)[names] if known else pd.DataFrame(columns=names)


_BEST, _WORST = KIND_COLOURS["expert"], KIND_COLOURS["harmful"]


ENDS = ["expected_best", "expected_worst", "mean", "mean_low", "mean_high"]


def _set_axes(axes: Axes, data: pd.DataFrame) -> list[int]:
    """Limits and ticks; returns the k with a tick, where curves have their markers."""
    last = int(data["k"].max())
    axes.set_xlim(min(0.5, 1 - 0.02 * last), last + max(0.5, 0.02 * last))
    axes.set_ylim(*limits(data[ENDS].to_numpy().ravel().tolist()))
    share_ticks(axes.yaxis)
    most = max(1, int(inches_of(axes)[0] / 0.37))
    step = next(s for s in (1, 2, 5, 10, 20, 50, last) if last <= most * s)
    ticks = sorted({1, *range(step, last + 1, step)})
    if len(ticks) > 2 and ticks[1] - 1 < step / 2:
        ticks = ticks[:1] + ticks[2:]  # 1 and 2 of a hundred stand on one another
    axes.set_xticks(ticks)
    return ticks


def _curve(marker: str) -> dict[str, Any]:
    return marker_look(marker, 4.5) | {"linestyle": "-", "linewidth": 1.3}


def _draw_lottery(axes: Axes, data: pd.DataFrame, at_ticks: list[int]) -> None:
    axes.axhspan(data["mean_low"].iloc[0], data["mean_high"].iloc[0], color="#ececec", zorder=1)
    axes.axhline(data["mean"].iloc[0], color="#444444", linewidth=0.9, zorder=2)
    marked = [tick - 1 for tick in at_ticks]
    for column, colour, marker in (("expected_best", _BEST, "^"), ("expected_worst", _WORST, "v")):
        axes.plot(
            data["k"], data[column], color=colour, markevery=marked, zorder=3, **_curve(marker)
        )


def _draw_several(axes: Axes, data: pd.DataFrame, at_ticks: list[int]) -> None:
    low, high = axes.get_xlim()
    models = model_looks(data["model"])
    axes.set_xlim(low - 0.02 * (high - low) * len(models), high)
    for i, (model, (colour, marker)) in enumerate(models.items()):
        own = data[data["model"] == model]
        marked = [tick - 1 for tick in at_ticks if tick <= len(own)]
        for column, line in (("expected_best", "-"), ("expected_worst", "--")):
            look = _curve(marker) | {"linestyle": line}
            axes.plot(own["k"], own[column], color=colour, markevery=marked, zorder=3, **look)
        # the mean is where both curves begin: its interval stands beside that, one by one
        beside = [1 - 0.02 * (high - low) * (i + 1)] * 2
        ends = own[["mean_low", "mean_high"]].iloc[0].tolist()
        axes.plot(beside, ends, color=colour, linewidth=1.6, zorder=2)
        mean = own["mean"].iloc[:1]
        axes.plot(beside[:1], mean, color=colour, zorder=2.5, **marker_look(marker, 4.5))


def _lottery_handles(result: Stability) -> list[Artist]:
    if math.isnan(result.mean):
        return []
    handles: list[Artist] = []
    for label, colour, marker in (("best of k", _BEST, "^"), ("worst of k", _WORST, "v")):
        handles.append(Line2D([], [], color=colour, label=label, **_curve(marker)))
    mean = f"mean over personas, {number(result.mean)}"
    handles.append(Line2D([], [], color="#444444", linewidth=0.9, label=mean))
    band = f"its {result.confidence:.0%} interval"
    handles.append(Patch(facecolor="#ececec", edgecolor="#cccccc", linewidth=0.5, label=band))
    return handles


NOISE = "Noise of measurement is included: the curves part a little even where personas do nothing"


def _handles_of_several(data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=colour, label=printable(model), **_curve(marker))
        for model, (colour, marker) in model_looks(data["model"]).items()
    ]
    if handles:
        plain: dict[str, Any] = {"color": "#444444", "linewidth": 1.3}
        handles.append(Line2D([], [], label="best of k", **plain))
        handles.append(Line2D([], [], label="worst of k", linestyle="--", **plain))
    return handles


def _notes_of_several(results: Mapping[str, Stability]) -> list[str]:
    sizes = size_notes(results)
    return [*sizes, "Bars on the left: mean over personas; drawn without replacement", NOISE]


def _lottery_notes(result: Stability) -> list[str]:
    notes = [
        f"{size(result, '×')}; drawn without replacement",
        NOISE,
    ]
    if result.unscored:
        low, high = result.mean_if_unscored
        notes.append(
            f"{result.unscored:,} responses unscored: mean {low:.3f} with all of them wrong, "
            f"{high:.3f} with all right"
        )
    return notes
