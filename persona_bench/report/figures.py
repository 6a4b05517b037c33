"""Stability as figures: accuracy per persona, and the persona lottery.

figure = accuracy_figure(stability(outcomes), title="my model on math500")
save_figure(figure, Path("figures/accuracy"))  # accuracy.png, accuracy.pdf
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from persona_bench.report.page_style import (
    BASELINE,
    KIND_COLOURS,
    OTHER_COLOUR,
    OTHER_MARKER,
    Page,
    limits,
    look_of,
    marker_look,
    say_in,
    share_ticks,
    styled,
    with_interval,
)
from persona_bench.report.tables import by_accuracy, format_p, number, printable, size
from persona_bench.scoring.lottery import lottery_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from persona_bench.scoring.stability import Stability


def accuracy_figure(result: Stability, *, title: str = "") -> Figure:
    """Accuracy of each persona with its interval, best first; height grows with the personas."""
    data = accuracy_data(result)
    with styled():
        legends = [_kind_handles(data), _line_handles(result, data)]
        page = Page(title, _accuracy_notes(result), legends)
        crowded = len(data) > 40
        points = 6.5 if crowded else 8.0
        labels = [page.fit(printable(name), 2.6, points) for name in data["persona"]]
        # rows as tall as their labels; y runs downwards in inches
        line = points / 72 * 1.25
        heights = [max(0.135 if crowded else 0.2, n.count("\n") * line + line) for n in labels]
        y = [sum(heights[:i]) + h / 2 for i, h in enumerate(heights)]
        left = max(page.width_of(label, points) for label in labels) + 0.15
        axes = page.axes(sum(heights), left=left, bottom=0.5, top=0.25 if crowded else 0.0)
        _draw_accuracies(axes, data, y)
        axes.set_ylim(sum(heights), 0)
        axes.set_yticks(y, labels, fontsize=points)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", top=crowded, labeltop=crowded)
        axes.set_xlabel("Accuracy (correct / scored responses)")
    return page.figure


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


def accuracy_data(result: Stability) -> pd.DataFrame:
    """What `accuracy_figure` shows, a row a persona from the top; `mean` is its line."""
    columns = ["persona", "kind", "accuracy", "low", "high", "n"]
    return by_accuracy(result)[columns].assign(mean=result.mean)


def lottery_data(result: Stability) -> pd.DataFrame:
    """What `lottery_figure` shows, a row for each k; `mean` and its interval are the band."""
    low, high = result.mean_interval
    curve = lottery_curve(result.per_persona["accuracy"].to_list())
    return curve.assign(mean=result.mean, mean_low=low, mean_high=high)


# ------------------------------------------------------------------------ accuracy per persona
def _draw_accuracies(axes: Axes, data: pd.DataFrame, y: Sequence[float]) -> None:
    axes.grid(axis="both")
    axes.set_xlim(*limits([*data["low"], *data["high"], *data["accuracy"]]))
    share_ticks(axes.xaxis)
    if not math.isnan(mean := data["mean"].iloc[0]):
        axes.axvline(mean, color="#444444", linewidth=0.9, zorder=1.5)
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        axes.axvline(baseline.iloc[0], color="#000000", linewidth=0.9, dashes=(4, 3), zorder=1.6)
    size = 4.2 if len(data) > 40 else 5.5
    for row, at in zip(data.to_dict("records"), y, strict=True):
        if math.isnan(row["accuracy"]):
            say_in(axes, axes.get_xlim()[0], at, "  nothing scored", align="left")
            continue
        colour, marker = look_of(row["kind"])
        axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=1.3, zorder=3)
        axes.plot([row["accuracy"]], [at], color=colour, zorder=4, **marker_look(marker, size))


def _kind_handles(data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = []
    kinds = set(data["kind"])
    for kind in [kind for kind in KIND_COLOURS if kind in kinds]:
        colour, marker = look_of(kind)
        name = kind.replace("_", " ")
        handles.append(Line2D([], [], color=colour, label=name, **marker_look(marker, 5.5)))
    if kinds - set(KIND_COLOURS):
        look = marker_look(OTHER_MARKER, 5.5)
        handles.append(Line2D([], [], color=OTHER_COLOUR, label="other kind", **look))
    return handles


def _line_handles(result: Stability, data: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = []
    if not math.isnan(result.mean):
        label = f"mean over personas, {number(result.mean)} (SE {number(result.mean_se)})"
        handles.append(Line2D([], [], color="#444444", linewidth=0.9, label=label))
    baseline = data.loc[data["persona"] == BASELINE, "accuracy"]
    if baseline.notna().any():
        label = f"no persona ({BASELINE}), {number(baseline.iloc[0])}"
        dashed = Line2D([], [], color="#000000", linewidth=0.9, dashes=(4, 3), label=label)
        handles.append(dashed)
    return handles


def _accuracy_notes(result: Stability) -> list[str]:
    percent = f"{result.confidence:.0%}"
    notes = [
        f"PSS {with_interval(result.pss, result.pss_interval, f'{percent} interval')}; "
        "noise floor "
        + with_interval(result.noise_floor, result.noise_floor_interval, f"middle {percent}")
        + f"; {format_p(result.p_value)}",
        f"{size(result, '×')}; bars: {percent} intervals",
    ]
    if result.unscored:
        low, high = result.pss_bounds
        notes.append(f"{result.unscored:,} responses unscored: PSS within {low:.3f} to {high:.3f}")
    return notes


# ----------------------------------------------------------------------------- the lottery
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
