"""Several models beside one another: a panel each, with the same personas in the same rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.report.figures.layout import MARGIN
from persona_bench.report.figures.style import POINTS
from persona_bench.report.tables import printable, size
from persona_bench.scoring.stability import Stability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from persona_bench.report.figures.layout import Page
    from persona_bench.report.figures.rows import Rows

GAP, LEAST = 0.16, 0.62
"""Inches: between two panels, and the least width of one."""
FEWEST = 0.27
"""Least share of the page's width for names."""


def by_model(result: Stability | Mapping[str, Stability]) -> Mapping[str, Stability]:
    """Results by model; a single one has the name that is empty."""
    return {"": result} if isinstance(result, Stability) else result


def persona_order(results: Mapping[str, Stability]) -> list[str]:
    """Personas, best mean accuracy over the models first, ties by name; nothing scored last."""
    if not results:
        return []
    tables = [result.per_persona[["persona", "accuracy"]] for result in results.values()]
    means = pd.concat(tables).groupby("persona")["accuracy"].mean()
    ordered = means.reset_index().sort_values(
        ["accuracy", "persona"], ascending=[False, True], na_position="last", ignore_index=True
    )
    return [str(name) for name in ordered["persona"]]


def size_notes(results: Mapping[str, Stability]) -> list[str]:
    """How much was asked of each model, in one line where it was the same."""
    if not results:
        return []
    sizes = {model: size(result, "×") for model, result in results.items()}
    levels = {f"{result.confidence:.0%}" for result in results.values()}
    bars = f"bars: {' and '.join(sorted(levels))} intervals"
    if len(set(sizes.values())) == 1:
        each = ", each model" if len(results) > 1 else ""
        notes = [f"{next(iter(sizes.values()))}{each}; {bars}"]
    else:
        notes = [f"{printable(model)}: {text}" for model, text in sizes.items()]
        notes.append(bars[0].upper() + bars[1:])
    lost = {model: result.unscored for model, result in results.items() if result.unscored}
    if lost:
        whose = [f"{printable(model)} {n:,}".lstrip() for model, n in lost.items()]
        notes.append(f"Responses unscored, left out: {', '.join(whose)}")
    return notes


def label_share(width: float, n: int, most: float = 0.371) -> float:
    """How much of a width (inches) can go to names where `n` panels stand beside one another."""
    share = 1 - (3 * MARGIN + 0.15 + n * LEAST + (n - 1) * GAP) / width
    return min(max(share, FEWEST), most)


def panels(page: Page, rows: Rows, titles: Sequence[str], *, xlabel: str) -> list[Axes]:
    """A panel of the same rows for each title: side by side, in as many bands as that takes."""
    left, width = page.room(rows.left)
    beside = max(1, int((width + GAP) / (LEAST + GAP)))
    bands = math.ceil(len(titles) / beside)
    beside = math.ceil(len(titles) / bands)
    each = (width - GAP * (beside - 1)) / beside
    made: list[Axes] = []
    for start in range(0, len(titles), beside):
        names = [page.fit(printable(t), each, POINTS) for t in titles[start : start + beside]]
        lines = max(name.count("\n") + 1 if name else 0 for name in names)
        cells = [(left + i * (each + GAP), each) for i in range(len(names))]
        top = rows.top + lines * 0.135 + 0.05 * bool(lines)
        band = page.band(rows.total, cells, xlabels=[xlabel], top=top)
        for i, (axes, name) in enumerate(zip(band, names, strict=True)):
            rows.put_on(axes, named=i == 0)
            axes.set_title(name, loc="left", fontsize=POINTS, pad=4)
        made += band
    return made
