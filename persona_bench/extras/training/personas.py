"""How each persona fared while a model was trained: one row per persona, from the first step on.

log = read_training(Path("checkpoints/permix"))
figure = training_personas_figure(log, title="permix")
save_figure(figure, Path("figures/personas"), data=training_personas_data(log))
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from persona_bench.report.figures.heat_map import cell_axes, cell_handles, draw_cells
from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.rows import Rows
from persona_bench.report.figures.style import POINTS, styled
from persona_bench.report.tables import count

if TYPE_CHECKING:
    from persona_bench.extras.training.curves import TrainingLog
    from persona_bench.report.figures.style import PaperFigure

COLUMNS = ["persona", "kind", "first_step", "last_step", "completions", "scored", "accuracy"]


def training_personas_figure(
    log: TrainingLog, *, blocks: int = 10, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """The share of correct completions of each persona in each block of steps.

    Args:
        log: The run.
        blocks: Into how many blocks its steps are split, at most.
        title: What it is of: begins the caption.
        width: Inches.
    """
    data = training_personas_data(log, blocks=blocks)
    with styled():
        if data.empty:
            return Page(title, [], [], width=width).say("no completions by persona")
        n = data["persona"].nunique()
        values, asked, scored = (
            data[name].to_numpy(dtype=float).reshape(n, -1)
            for name in ("accuracy", "completions", "scored")
        )
        unscored, missing = (scored == 0) & (asked > 0), asked == 0
        notes = [
            f"{count(n, 'persona')}, {int(data['completions'].sum()):,} completions; sorted by the "
            "share correct over all steps"
        ]
        page = Page(title, notes, [cell_handles(unscored, missing)], width=width)
        rows = Rows(page, list(data["persona"].unique()))
        axes = cell_axes(page, rows, "Step at which a block ends", ticks=True)
        draw_cells(axes, rows, values, unscored, missing)
        ends = [f"{end:,}" for end in data["last_step"].unique()]
        needed = len(ends) * (page.width_of(ends[-1], POINTS) + 0.1)
        apart = 1 + (needed > page.width - rows.left - 0.4)
        axes.set_xticks(range(0, len(ends), apart), ends[::apart])
    return page.figure


def training_personas_data(log: TrainingLog, *, blocks: int = 10) -> pd.DataFrame:
    """What `training_personas_figure` shows: one row per persona and block, in drawing order.

    `accuracy` is the share correct of the `scored` among the `completions`; empty without any.
    """
    if log.personas.empty:
        return pd.DataFrame(columns=COLUMNS)
    own = log.personas
    last = int(own["step"].max())
    size = math.ceil(last / blocks)
    own = own.assign(block=(own["step"] - 1) // size, scored=own["completions"] - own["unscored"])
    own = own.assign(correct=(own["accuracy"] * own["scored"]).fillna(0.0))
    of_all = own.groupby("persona")[["correct", "scored"]].sum()
    share = (of_all["correct"] / of_all["scored"].where(of_all["scored"] > 0)).rename("share")
    order = share.reset_index().sort_values(["share", "persona"], ascending=[False, True])
    cells = pd.MultiIndex.from_product(
        [order["persona"], range(math.ceil(last / size))], names=["persona", "block"]
    )
    sums = own.groupby(["persona", "block"])[["completions", "scored", "correct"]].sum()
    sums = sums.reindex(cells, fill_value=0).reset_index()
    is_scored = sums["scored"] > 0
    sums["accuracy"] = np.where(
        is_scored, sums["correct"] / sums["scored"].where(is_scored), np.nan
    )
    sums["kind"] = [log.kinds.get(str(name), "") for name in sums["persona"]]
    sums["first_step"] = sums["block"] * size + 1
    sums["last_step"] = np.minimum((sums["block"] + 1) * size, last)
    return sums[COLUMNS]
