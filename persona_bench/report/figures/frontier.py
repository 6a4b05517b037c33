"""Robustness and fidelity of several checkpoints in one figure: who has both?

    figure = frontier_figure(table, x="pss_corrected", y="persona_information")
    save_figure(figure, Path("figures/frontier"))

Up and to the right is better. A checkpoint is a point with an interval each way; seeds of a method
share its colour and marker.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from persona_bench.report.figures.style import Page, marker_look, styled
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette; the markers alone tell the methods apart in grey
LOOKS: tuple[tuple[str, str], ...] = (
    ("#000000", "D"),
    ("#e69f00", "^"),
    ("#009e73", "v"),
    ("#0072b2", "s"),
    ("#d55e00", "o"),
    ("#cc79a7", "P"),
    ("#56b4e9", "X"),
    ("#661f52", "*"),
)
NAMES = {
    "pss": "PSS: worst / best accuracy over personas",
    "pss_corrected": "Corrected PSS: robustness to personas",
    "accuracy": "Mean accuracy over personas",
    "persona_information": "Persona information in role play (nats a token)",
    "identifiability": "Identifiability of the persona from the response",
    "persona_score": "PersonaScore (1 to 5)",
}


def frontier_figure(
    table: pd.DataFrame,
    *,
    x: str = "pss_corrected",
    y: str = "persona_information",
    title: str = "",
    notes: Sequence[str] = ("Bars: 95% intervals, of either number by itself",),
) -> Figure:
    """Checkpoints by two numbers.

    Args:
        table: A row a checkpoint: `method`, `seed`, `x`, `y`, and the ends of their intervals
            in columns with `_low` and `_high` added.
        x: The column across.
        y: The column upwards.
        title: Above the figure.
        notes: Below the title, a line each.

    Raises:
        ValueError: a column is missing.
    """
    wanted = [
        "method",
        "seed",
        *(f"{name}{end}" for name in (x, y) for end in ("", "_low", "_high")),
    ]
    if missing := [name for name in wanted if name not in table.columns]:
        raise ValueError(f"the table lacks the column {missing[0]!r}: give {', '.join(wanted)}")
    methods = list(dict.fromkeys(table["method"]))
    looks = {method: LOOKS[i % len(LOOKS)] for i, method in enumerate(methods)}
    with styled():
        handles: list[Artist] = [
            Line2D([], [], color=colour, label=printable(method), **marker_look(marker, 6))
            for method, (colour, marker) in looks.items()
        ]
        page = Page(title, notes, [handles])
        axes = page.axes(3.6, left=0.7, bottom=0.5)
        axes.grid(axis="both")
        _draw(axes, table, x, y, looks)
        axes.set_xlabel(NAMES.get(x, x))
        axes.set_ylabel(NAMES.get(y, y))
    return page.figure


def _draw(
    axes: Axes, table: pd.DataFrame, x: str, y: str, looks: dict[str, tuple[str, str]]
) -> None:
    for row in table.to_dict("records"):
        if math.isnan(row[x]) or math.isnan(row[y]):
            continue
        colour, marker = looks[row["method"]]
        for across in (True, False):
            name = x if across else y
            ends, at = [row[f"{name}_low"], row[f"{name}_high"]], [row[y if across else x]] * 2
            axes.plot(
                *((ends, at) if across else (at, ends)), color=colour, linewidth=1.0, zorder=3
            )
        axes.plot([row[x]], [row[y]], color=colour, zorder=4, **marker_look(marker, 6.5))
    if x.startswith("pss"):
        low, _ = axes.get_xlim()
        axes.set_xlim(max(low, -0.02), 1.02)


__all__ = ["frontier_figure"]
