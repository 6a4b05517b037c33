"""A paper's table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from persona_bench.extras.paper.table import Cell
from persona_bench.report.tables import PADDING, printable

if TYPE_CHECKING:
    from rich.console import Console

    from persona_bench.extras.paper.table import PaperTable


def print_table(table: PaperTable, console: Console) -> None:
    """Print it, intervals below their numbers; names are shown as they are."""
    shown = Table(
        title=printable(table.caption), title_justify="left", title_style="", box=box.SIMPLE_HEAD,
        pad_edge=False, padding=PADDING,
    )  # fmt: skip
    for column in table.columns:
        header = f"{column.group}\n{column.header}" if column.group else column.header
        right = column.align == "r"
        shown.add_column(Text(header), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(_cell(cell)) for cell in row))
    console.print(shown)
    for note in table.notes:
        console.print(Text(printable(note)))


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return printable(cell)
    marks = f" {cell.marks}" if cell.marks else ""
    return f"{cell.text}{marks}\n{cell.interval}".strip()
