"""The tables of a comparison of several models: for its page, and as files for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.extras.paper.measures import (
    Measure,
    fidelity_measure,
    information_measure,
    over_seeds,
    stability_measures,
)
from persona_bench.extras.paper.models import methods_table, models_table, personas_table
from persona_bench.extras.paper.table import Cell, Number, write_table
from persona_bench.report.compose.run import SHARE
from persona_bench.report.names import generation_sentences
from persona_bench.report.page.contents import PageTable

if TYPE_CHECKING:
    from pathlib import Path

    from persona_bench.extras.paper.table import PaperTable
    from persona_bench.report.compose.models import GradedModels, JudgedModels


def write_tables(tables: Sequence[PaperTable], folder: Path) -> list[PageTable]:
    """Writes tables as Markdown, CSV and LaTeX; returns them for the page."""
    for table in tables:
        write_table(table, folder)
    return [page_table(table) for table in tables]


def task_tables(models: GradedModels) -> list[PaperTable]:
    """The models on one task, and their accuracy under each persona."""
    results = {model: each.stability for model, each in models.scored.items()}
    return [
        models_table(models.task, results, models.comparisons, models.reference),
        personas_table(models.task, results),
    ]


def overview_table(
    names: Sequence[str],
    graded: Sequence[GradedModels],
    judged: Sequence[JudgedModels],
    methods: Mapping[str, Sequence[str]] | None = None,
    confidence: float = 0.95,
) -> PaperTable:
    """All models on all tasks.

    Args:
        names: Names of the models, in their order.
        graded, judged: The tasks.
        methods: The models that are checkpoints of one method with several seeds.
        confidence: Level of the intervals over seeds.
    """
    measures: list[Measure] = []
    for each in graded:
        results = {model: scored.stability for model, scored in each.scored.items()}
        measures += stability_measures(each.task, results, each.comparisons)
    for task in judged:
        if task.fidelities:
            measures.append(fidelity_measure(task.task, task.fidelities, task.comparisons))
        if any(record.get("persona_information") for record in task.traces.values()):
            measures.append(information_measure(task.task, task.traces, task.information))
    rows = list(names)
    if methods:
        measures = [over_seeds(each, methods, confidence, names[0]) for each in measures]
        method_of = {model: method for method, own in methods.items() for model in own}
        rows = list(dict.fromkeys(method_of.get(name, name) for name in names))
    table = methods_table(rows, measures, names[0])
    notes = [
        sentence for each in graded for sentence in generation_sentences(each.comparisons, names[0])
    ]
    if methods:
        counts = ", ".join(f"{method} {len(own)}" for method, own in methods.items())
        notes.append(
            f"One row per method: means over seeds ({counts}), with {confidence:.0%} intervals "
            "over seeds (Student's t)."
        )
    return replace(table, notes=[*dict.fromkeys(notes), *table.notes])


RAISED = str.maketrans("dfps", "ᵈᶠᵖˢ")


def page_table(table: PaperTable) -> PageTable:
    """A paper's table as one of the page: numbers with their intervals in one cell."""
    frame, formats = pd.DataFrame(), {}
    for place, column in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        name = f"{column.group}: {column.header}" if column.group else column.header
        plain = [cell.value for cell in cells if isinstance(cell, Number) and not cell.interval]
        if len(plain) == len(cells):
            frame[name] = plain
            formats[name] = ",.0f" if all(float(each).is_integer() for each in plain) else SHARE
        else:
            frame[name] = [_in_one(cell) for cell in cells]
    return PageTable(table.name, table.caption, frame, " ".join(table.notes), formats)


def _in_one(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell.text}{cell.marks.translate(RAISED)} {cell.interval}".strip()
