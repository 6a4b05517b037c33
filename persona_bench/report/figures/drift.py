"""Drift over a conversation: each measure by the number of turns before the question.

    figure = drift_figure({"my model": drift(table)}, title="math500")
    save_figure(figure, Path("figures/drift"), data=drift_data({"my model": drift(table)}))

One panel per measure, with the mean over personas and its interval for each model; and one with the
share of personas that can be told from the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.lines import Line2D

from persona_bench.report.drift import NAMES
from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.style import limits, model_colours, set_ticks, styled

if TYPE_CHECKING:
    from matplotlib.artist import Artist

    from persona_bench.report.figures.style import PaperFigure
    from persona_bench.scoring.drift import Drift

TOLD = "told from the control"
PANELS = ("accuracy", "pss_corrected", "fidelity", "information", "told")
GAP, LEFT = 0.5, 0.42
"""Inches between two panels, and for the labels of the first."""
BESIDE = 2


def drift_figure(
    results: Mapping[str, Drift], *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """Each measure by the number of turns, one line per model.

    Args:
        results: By model; the name of a single one may be empty.
        title: What it is of: begins the caption.
        width: Inches.
    """
    data = drift_data(results)
    shown = [name for name in PANELS if name in set(data["measure"])]
    colours = model_colours(results)
    with styled():
        handles: list[Artist] = []
        if len(results) > 1:
            handles = [Line2D([], [], color=colours[name], label=name) for name in results]
        confidence = next(iter(results.values())).confidence
        notes = [
            "By the number of rounds of conversation between the system message and the question; "
            f"bars: {confidence:.0%} intervals, clustered by conversation and question",
        ]
        page = Page(title, notes, [handles], width=width)
        left, room = page.room(LEFT)
        each = (room - GAP * (BESIDE - 1)) / BESIDE
        for start in range(0, len(shown), BESIDE):
            names = shown[start : start + BESIDE]
            cells = [(left + place * (each + GAP), each) for place in range(len(names))]
            band = page.band(0.62 * each, cells, xlabels=["Turns"] * len(names), top=0.16)
            for axes, name in zip(band, names, strict=True):
                own = data[data["measure"] == name]
                axes.grid(axis="y")
                axes.set_title({**NAMES, "told": f"share {TOLD}"}[name], loc="left", fontsize=8)
                for place, (model, rows) in enumerate(own.groupby("model", sort=False)):
                    ends = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
                    shift = (place - (len(results) - 1) / 2) * 0.01 * rows["turns"].max()
                    axes.errorbar(
                        rows["turns"] + shift, rows["value"], yerr=ends, color=colours[str(model)],
                        marker="o", markersize=3, linewidth=1.2, elinewidth=0.8,
                    )  # fmt: skip
                wide = (-1e9, 1e9) if name in ("fidelity", "information") else (-0.02, 1.02)
                axes.set_ylim(*limits(own[["value", "low", "high"]].to_numpy().ravel(), *wide))
                axes.set_xticks(sorted(own["turns"].unique()))
                set_ticks(axes.yaxis)
    return page.figure


def drift_data(results: Mapping[str, Drift]) -> pd.DataFrame:
    """What `drift_figure` shows: model, measure, turns, value, low, high, n.

    The measure `told` is the share of personas that can be told from the control; its n are
    personas.
    """
    tables = []
    for model, found in results.items():
        tables.append(found.levels.assign(model=model))
        if len(found.told):
            told = found.told.groupby("turns", as_index=False).agg(
                value=("told", "mean"), n=("told", "size")
            )
            tables.append(told.assign(model=model, measure="told", low=told["value"],
                                      high=told["value"]))  # fmt: skip
    columns = ["model", "measure", "turns", "value", "low", "high", "n"]
    return pd.concat(tables, ignore_index=True)[columns]
