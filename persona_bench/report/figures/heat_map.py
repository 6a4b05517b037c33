"""Question x persona: which questions a persona loses, for one model on one benchmark.

    save_figure(heat_map_figure(outcomes), Path("figures/cells"), data=heat_map_data(outcomes))

Personas from the best down, questions from the easiest to the hardest. A stripe across the page is
a persona's own effect, a stripe down is a hard question, a speck is the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch

from persona_bench.report.figures.layout import MARGIN, TEXT_WIDTH, Page
from persona_bench.report.figures.rows import Rows
from persona_bench.report.figures.style import POINTS, styled
from persona_bench.report.tables import count, printable
from persona_bench.scoring.cells import Cells, check, kinds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from persona_bench.report.figures.style import PaperFigure
    from persona_bench.scoring.resampling import Floats

# light to dark, so that a map is read in grey too; white is for cells without a number
WRONG, CORRECT = "#f0dfc2", "#0072b2"
COLOURS = LinearSegmentedColormap.from_list("verdicts", [WRONG, CORRECT])
UNSCORED: dict[str, Any] = {
    "facecolor": "white", "edgecolor": "#777777", "hatch": "//////", "linewidth": 0.0,
}  # fmt: skip
MISSING: dict[str, Any] = {"facecolor": "white", "edgecolor": "#777777", "linewidth": 0.4}


def heat_map_figure(
    outcomes: pd.DataFrame, *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """The share of correct responses of every question under every persona.

    Questions that are solved under no persona are counted in the caption, not drawn.

    Args:
        outcomes: One model's outcomes on one benchmark, as `stability` takes them.
        title: What it is of: begins the caption.
        width: Inches. Questions are named where they have room.

    Raises:
        ValueError: a table that `stability` would refuse.
    """
    data = heat_map_data(outcomes)
    notes = _notes(data)
    data = data[data["question_accuracy"] > 0]
    if data.empty:
        with styled():
            return Page(title, notes, [], width=width).say("no question is solved")
    values = _grid(data, "accuracy")
    responses = _grid(data, "responses")
    personas, questions = list(data["persona"].unique()), list(data["question"].unique())
    unscored, missing = np.isnan(values) & (responses > 0), responses == 0
    with styled():
        partly = bool(((values > 0) & (values < 1)).any())
        swatches: list[Artist] = [
            Patch(facecolor=CORRECT, label="correct"), Patch(facecolor=WRONG, label="wrong")
        ]  # fmt: skip
        handles = [*([] if partly else swatches), *cell_handles(unscored, missing)]
        page = Page(title, notes, [handles], width=width)
        rows = Rows(page, personas)
        names = [printable(name) for name in questions]
        room = page.room(rows.left)[1] / len(names)
        named = room > 0.14 and all(page.width_of(name, POINTS) < room - 0.04 for name in names)
        xlabel = "Questions, from the easiest to the hardest"
        if partly:
            axes = cell_axes(page, rows, xlabel, ticks=named, scale=_measure(data))
        else:
            ticks = 0.25 if named else 0.08
            axes = page.axes(rows.total, left=rows.left, xlabel=xlabel, ticks=ticks)
        draw_cells(axes, rows, values, unscored, missing)
        if named:
            axes.set_xticks(range(len(names)), names)
    return page.figure


def heat_map_data(outcomes: pd.DataFrame) -> pd.DataFrame:
    """What `heat_map_figure` shows, one row per cell: personas downwards, questions to the right.

    `accuracy` is correct / scored, of the responses to the question under the persona; empty
    where none is scored. `correct` is the sum of their scores where they have some.
    `persona_accuracy` and `question_accuracy`, the shares over a whole row and column, are what
    they are sorted by; ties go by name.

    Raises:
        ValueError: a table that `stability` would refuse.
    """
    table = check(outcomes)
    cells = Cells.count(table)
    by_persona = _share(cells.correct.sum(axis=0), cells.scored.sum(axis=0))
    by_question = _share(cells.correct.sum(axis=1), cells.scored.sum(axis=1))
    p, q = (np.argsort(-x, kind="stable") for x in (by_persona, by_question))  # NaN comes last
    kinds = kinds_of(table, cells.personas)
    each, every = np.repeat(p, len(q)), np.tile(q, len(p))
    return pd.DataFrame(
        {
            "persona": np.array(cells.personas, dtype=object)[each],
            "kind": np.array(kinds, dtype=object)[each],
            "question": np.array(cells.questions, dtype=object)[every],
            "accuracy": _share(cells.correct, cells.scored)[every, each],
            "correct": cells.correct[every, each],
            "scored": cells.scored[every, each],
            "responses": cells.responses[every, each],
            "persona_accuracy": by_persona[each],
            "question_accuracy": by_question[every],
        }
    )


def _share(correct: Any, scored: Any) -> Floats:
    out = np.full(np.shape(scored), np.nan)
    return np.divide(correct, scored, out=out, where=np.asarray(scored) > 0)


def _grid(data: pd.DataFrame, column: str) -> Floats:
    """The column as (personas, questions), in the order of the rows."""
    return data[column].to_numpy(dtype=float).reshape(data["persona"].nunique(), -1)


def _notes(data: pd.DataFrame) -> list[str]:
    most = int(data["responses"].max())
    notes = [
        f"{count(data['question'].nunique(), 'question')} × "
        f"{count(data['persona'].nunique(), 'persona')} × "
        f"{'up to ' if data['responses'].min() < most else ''}{count(most, 'sample')}; "
        f"both sorted by their {_measure(data)}"
    ]
    if unsolved := int((data.groupby("question")["question_accuracy"].first() == 0).sum()):
        notes.append(f"{count(unsolved, 'question')} solved under no persona, not drawn")
    if lost := int((data["responses"] - data["scored"]).sum()):
        notes.append(f"{lost:,} responses unscored, left out")
    if data["scored"].sum() == 0:
        notes.append("nothing scored")
    return notes


def _measure(data: pd.DataFrame) -> str:
    return "mean score" if (data["correct"] % 1 > 0).any() else "share correct"


# --------------------------------------------------------- a map of cells under its scale
def cell_handles(unscored: Any, missing: Any) -> list[Artist]:
    """The legend of the cells without a number, of those that occur."""
    handles: list[Artist] = []
    if unscored.any():
        handles.append(Patch(label="nothing scored", **UNSCORED))
    if missing.any():
        handles.append(Patch(label="not asked", **MISSING))
    return handles


def cell_axes(
    page: Page, rows: Rows, xlabel: str, *, ticks: bool, scale: str = "share correct"
) -> Axes:
    """Axes for the cells, and above them the scale of their colours, from 0 to 1, with its name."""
    left = MARGIN + page.width_of(scale, POINTS) + 0.12
    bar = page.band(0.09, [(left, min(1.8, page.inner - left))])[0]
    page.write(scale, MARGIN, page.used - 0.36)
    bar.imshow(
        np.linspace(0, 1, 256)[None],
        cmap=COLOURS,
        aspect="auto",
        extent=(0, 1, 0, 1),
        vmin=0,
        vmax=1,
    )
    bar.set_yticks([])
    bar.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    bar.tick_params(length=2, pad=1.5)
    return page.axes(rows.total, left=rows.left, xlabel=xlabel, ticks=0.25 if ticks else 0.08)


def draw_cells(axes: Axes, rows: Rows, values: Floats, unscored: Any, missing: Any) -> None:
    """Cells as an image whose rows are as tall as the rows' labels."""
    edges = [0.0]
    for at in rows.y:
        edges.append(2 * at - edges[-1])
    columns = values.shape[1]
    axes.set_xlim(-0.5, columns - 0.5)
    rows.put_on(axes)
    axes.tick_params(axis="x", top=False, labeltop=False)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        edges,
        np.ma.masked_invalid(values),
        cmap=COLOURS,
        vmin=0,
        vmax=1,
        rasterized=True,  # 50,000 cells as outlines would be a file of many megabytes
        zorder=1,
    )
    mesh.set_edgecolor("face")
    for mask, look in ((unscored, UNSCORED), (missing, MISSING)):
        areas = list(_areas(mask, edges))
        if areas:
            axes.add_collection(PolyCollection(areas, zorder=2, **look), autolim=False)


def _areas(mask: Any, edges: Sequence[float]) -> Iterator[list[tuple[float, float]]]:
    """Each run of marked cells in a row as one rectangle."""
    for i, row in enumerate(np.asarray(mask)):
        change = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(int)))
        for start, end in zip(change[::2], change[1::2], strict=True):
            a, b, top, bottom = start - 0.5, end - 0.5, edges[i], edges[i + 1]
            yield [(a, top), (b, top), (b, bottom), (a, bottom)]
