"""A paper's table in the terminal: within its width, no word broken, long names cut."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from persona_bench.extras.paper.table import Cell
from persona_bench.report.summary import cut
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from persona_bench.extras.paper.table import Column, PaperTable

LABELS = ("rank",)
"""Columns of numbers that say which row it is, as columns of text do."""
GAP = 1
"""Between columns, where the box has its divider."""


def print_table(table: PaperTable, console: Console) -> None:
    """Prints it with two digits, intervals below their numbers.

    Columns that don't fit the console's width follow below in a table of their own, which begins
    with the same labels. Names are shown as they are, cut in the middle where they are long.
    """
    longest = max(20, console.width // 4)
    headers = [_header(column) for column in table.columns]
    cells = [[_cell(cell, longest) for cell in row] for row in table.rows]
    widths = [
        max(_width(text) for text in [header, *(row[place] for row in cells)])
        for place, header in enumerate(headers)
    ]
    for i, places in enumerate(_blocks(table.columns, widths, console.width)):
        shown = Table(
            title=None if i else printable(table.caption), title_justify="left", title_style="",
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0,
        )  # fmt: skip
        for place in places:
            right = table.columns[place].align == "r"
            shown.add_column(
                Text(headers[place]), justify="right" if right else "left", min_width=widths[place]
            )
        for row in cells:
            shown.add_row(*(Text(row[place]) for place in places))
        console.print(shown)
        console.print()
    for note in table.notes:
        console.print(Text(printable(note)))


def _blocks(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[list[int]]:
    """The places of the columns of each table that fits the width; all begin with the labels."""
    is_label = [column.align == "l" or column.header in LABELS for column in columns]
    labels = [place for place, label in enumerate(is_label) if label]
    taken = sum(widths[place] + GAP for place in labels)
    blocks: list[list[int]] = []
    left = 0
    for place in range(len(columns)):
        if is_label[place]:
            continue
        if widths[place] + GAP > left:
            blocks.append([*labels])
            left = width - taken
        blocks[-1].append(place)
        left -= widths[place] + GAP
    return blocks or [labels]


def _header(column: Column) -> str:
    """A header with a word on each line, so that it makes no column wider than its numbers."""
    words = f"{column.group} {column.header}".split()
    return printable(" ".join(words)).replace(" ", "\n")


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def _cell(cell: Cell, longest: int) -> str:
    if isinstance(cell, str):
        return cut(printable(cell), longest)
    cell = replace(cell, digits=min(cell.digits, 2))
    marks = f" {cell.marks}" if cell.marks else ""
    return f"{cell.text}{marks}\n{cell.interval}".strip()
