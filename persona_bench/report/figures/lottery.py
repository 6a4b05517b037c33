"""The persona lottery: the best and worst accuracy of k personas drawn at random.

figure = lottery_figure(stability(outcomes), title="my model on math500")
save_figure(figure, Path("figures/lottery"))  # lottery.png, lottery.pdf, lottery.svg
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.several import by_model, size_notes
from persona_bench.report.figures.style import (
    POINTS,
    inches_of,
    limits,
    model_colours,
    say_in,
    share_ticks,
    styled,
)
from persona_bench.report.tables import printable
from persona_bench.scoring.lottery import lottery_curve
from persona_bench.scoring.stability import Stability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from persona_bench.report.figures.style import PaperFigure


def lottery_figure(
    result: Stability | Mapping[str, Stability], *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """Expected best and worst accuracy of k personas drawn at random, k = 1 to all, as a ribbon.

    Args:
        result: One model's stability, or that of several by their names.
        title: What it is of: begins the caption.
        width: Inches.
    """
    data = lottery_data(result)
    results = by_model(result)
    with styled():
        page = Page(title, _notes(results), [], width=width)
        axes = page.axes(0.52 * width, left=0.6, xlabel="Personas drawn at random, k")
        axes.grid(axis="y")
        axes.set_ylabel("Expected accuracy")
        if data.empty:
            say_in(axes, 0.5, 0.5, "nothing scored")
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[])
            share_ticks(axes.yaxis)
            return page.figure
        if "model" not in data:
            data = data.assign(model="")
        colours = model_colours(results) if len(results) > 1 else {"": RIBBON}
        last, wide = int(data["k"].max()), inches_of(axes)[0]
        names = {model: page.shortened(printable(model), 0.4 * wide) for model in results}
        room = max(page.width_of(name, POINTS) for name in names.values()) + 0.12
        span = max(last - 1, 1) * 1.03
        axes.set_xlim(1 - 0.03 * span, 1 + span / (1 - min(0.6, room / wide)))
        axes.set_ylim(*limits(data[ENDS].to_numpy().ravel().tolist()))
        share_ticks(axes.yaxis)
        axes.set_xticks(_ticks(last, wide * (1 - room / wide)))
        ends = {}
        for model, colour in colours.items():
            own = data[data["model"] == model]
            if own.empty:
                continue
            best, worst = own["expected_best"], own["expected_worst"]
            ribbon: dict[str, Any] = {"color": colour, "alpha": 0.15, "linewidth": 0, "zorder": 2}
            axes.fill_between(own["k"], worst, best, **ribbon)
            axes.plot(own["k"], best, color=colour, linewidth=1.3, zorder=3)
            axes.plot(own["k"], worst, color=colour, linewidth=1.3, dashes=(4, 2), zorder=3)
            ends[model] = float(best.iloc[-1])
        _label_ends(axes, ends, colours, names, last)
    return page.figure


def _ticks(last: int, inches: float) -> list[int]:
    """Whole numbers of personas with room for their labels."""
    most = max(1, int(inches / 0.3))
    step = next(s for s in (1, 2, 5, 10, 20, 50, last) if last <= most * s)
    ticks = sorted({1, *range(step, last + 1, step)})
    return ticks[:1] + ticks[2:] if len(ticks) > 2 and ticks[1] - 1 < step / 2 else ticks


def _label_ends(
    axes: Axes,
    ends: Mapping[str, float],
    colours: Mapping[str, str],
    names: Mapping[str, str],
    last: int,
) -> None:
    """Models' names beside the ends of their upper curves, apart where these meet."""
    low, high = axes.get_ylim()
    apart = (high - low) / inches_of(axes)[1] * 0.14
    at = math.inf
    for model, end in sorted(ends.items(), key=lambda item: -item[1]):
        at = min(end, at - apart)
        x = last + 0.012 * (axes.get_xlim()[1] - axes.get_xlim()[0])
        axes.text(x, at, names[model], color=colours[model], va="center", ha="left")


def lottery_data(result: Stability | Mapping[str, Stability]) -> pd.DataFrame:
    """What `lottery_figure` shows, a row for each k; `mean` is that over personas.

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


ENDS = ["expected_best", "expected_worst"]
RIBBON = "#0072b2"


def _notes(results: Mapping[str, Stability]) -> list[str]:
    notes = [
        "Expected accuracy of the best (solid) and the worst (dashed) of k personas drawn without "
        "replacement",
        *(note.split("; bars")[0] for note in size_notes(results) if not note.startswith("Bars")),
        "Noise of measurement is included: the curves part a little even where personas do nothing",
    ]
    for model, result in results.items():
        if result.unscored:
            low, high = result.mean_if_unscored
            notes.append(
                f"{printable(model)}: ".lstrip(": ") + f"{result.unscored:,} responses unscored: "
                f"mean {low:.3f} with all of them wrong, {high:.3f} with all right"
            )
    return notes
