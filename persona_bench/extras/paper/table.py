"""A table that a paper can print: the same cells as Markdown and LaTeX, its numbers as CSV.

table = PaperTable(
    "math500_models", "MATH-500", [Column("model", align="l"), Column("accuracy")],
    [["base", Number(0.412, 0.371, 0.455)]],
)
write_table(table, Path("tables"))  # math500_models.md, .csv, .tex
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pandas as pd

from persona_bench.report.latex import escape
from persona_bench.report.tables import UNKNOWN, printable


@dataclass(frozen=True)
class Number:
    """A number in a cell, with its interval where it has one.

    Attributes:
        value: NaN is shown as `n/a`.
        low: Lower end of the interval; NaN: none is shown.
        high: Upper end.
        marks: Letters of the tests by which it differs from the reference, as in `TEST_MARKS`.
        digits: After the point; 0 for counts.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    marks: str = ""
    digits: int = 3

    @property
    def text(self) -> str:
        """`0.412`, `1,600` or `n/a`."""
        return UNKNOWN if math.isnan(self.value) else f"{self.value:,.{self.digits}f}"

    @property
    def interval(self) -> str:
        """`[0.371, 0.455]`, or nothing."""
        if math.isnan(self.value) or math.isnan(self.low) or math.isnan(self.high):
            return ""
        return f"[{self.low:.{self.digits}f}, {self.high:.{self.digits}f}]"


Cell = str | Number


@dataclass(frozen=True)
class Column:
    """A column: its header, one above it that it shares with its neighbours, and `l` or `r`."""

    header: str
    group: str = ""
    align: str = "r"


@dataclass(frozen=True)
class PaperTable:
    """A table with a caption above and notes below.

    Attributes:
        name: Name of its files.
        caption: One line.
        columns: From left to right.
        rows: As many cells each as there are columns.
        notes: Below the table, a line each: what the intervals and the marks are.
        stacked: In LaTeX intervals stand below their numbers, for tables of many columns.
        data: The numbers as they are, for the CSV; by default what the cells hold.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    stacked: bool = False
    data: pd.DataFrame = field(default_factory=pd.DataFrame)

    def frame(self) -> pd.DataFrame:
        """What the CSV holds."""
        if len(self.data.columns):
            return self.data
        rows = []
        for row in self.rows:
            cells: dict[str, str | float] = {}
            for column, cell in zip(self.columns, row, strict=True):
                name = f"{column.group} {column.header}".strip()
                if isinstance(cell, str):
                    cells[name] = cell
                    continue
                cells[name] = cell.value
                if cell.interval:
                    cells |= {f"{name} low": cell.low, f"{name} high": cell.high}
            rows.append(cells)
        return pd.DataFrame(rows)

    def markdown(self) -> str:
        """As GitHub and model cards show it."""
        headers = [
            _plain(f"{column.group}: {column.header}" if column.group else column.header)
            for column in self.columns
        ]
        rules = ["---:" if column.align == "r" else "---" for column in self.columns]
        body = [[_markdown(cell) for cell in row] for row in self.rows]
        lines = [f"**{_plain(self.caption)}**", ""]
        lines += ["| " + " | ".join(cells) + " |" for cells in (headers, rules, *body)]
        for note in self.notes:
            lines += ["", _plain(note)]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A `table` that needs nothing but booktabs."""
        above = [
            "% \\usepackage{booktabs} in the preamble",
            "\\begin{table}[t]",
            "\\centering\\small",
            f"\\caption{{{escape(self.caption)}}}",
            f"\\label{{tab:{_label(self.name)}}}",
            f"\\begin{{tabular}}{{{''.join(column.align for column in self.columns)}}}",
            "\\toprule",
        ]
        body = [line for row in self.rows for line in self._latex_row(row)]
        below = ["\\bottomrule", "\\end{tabular}"]
        if self.notes:
            note_lines = " \\\\ ".join(escape(note) for note in self.notes)
            below += ["", "\\smallskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {note_lines}}}"]
        text = "\n".join([*above, *self._latex_head(), "\\midrule", *body, *below, "\\end{table}"])
        if not text.isascii():
            text = "% names beyond ASCII: compile with XeLaTeX, LuaLaTeX or Tectonic\n" + text
        return text + "\n"

    def _latex_head(self) -> list[str]:
        lines = []
        if any(column.group for column in self.columns):
            cells, rules, at = [], [], 1
            for name, members in groupby(self.columns, key=lambda column: column.group):
                width = len(list(members))
                cells.append(f"\\multicolumn{{{width}}}{{c}}{{{escape(name)}}}" if name else
                             " & ".join([""] * width))  # fmt: skip
                if name:
                    rules.append(f"\\cmidrule(lr){{{at}-{at + width - 1}}}")
                at += width
            lines += [" & ".join(cells) + " \\\\", " ".join(rules)]
        return [*lines, " & ".join(escape(column.header) for column in self.columns) + " \\\\"]

    def _latex_row(self, row: Sequence[Cell]) -> list[str]:
        if not self.stacked:
            return [" & ".join(_latex(cell) for cell in row) + " \\\\"]
        lines = [" & ".join(_latex(cell, interval=False) for cell in row) + " \\\\"]
        below = [_small(cell.interval) if isinstance(cell, Number) else "" for cell in row]
        if any(below):
            lines += [" & ".join(below) + " \\\\", "\\addlinespace"]
        return lines


def write_table(table: PaperTable, folder: Path) -> list[Path]:
    """`<name>.md`, `<name>.csv` and `<name>.tex`, replacing what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{table.name}{suffix}" for suffix in (".md", ".csv", ".tex")]
    paths[0].write_text(table.markdown(), encoding="utf-8", newline="\n")
    table.frame().to_csv(paths[1], index=False, encoding="utf-8", lineterminator="\n")
    paths[2].write_text(table.latex(), encoding="utf-8", newline="\n")
    return paths


def _plain(text: str) -> str:
    """Markdown in which a name is shown as it is."""
    for character in "\\`*_[]<>|~":
        text = text.replace(character, "\\" + character)
    return printable(text)


def _markdown(cell: Cell) -> str:
    if isinstance(cell, str):
        return _plain(cell)
    marks = f"<sup>{cell.marks}</sup>" if cell.marks else ""
    return f"{cell.text}{marks} {cell.interval}".strip()


def _latex(cell: Cell, *, interval: bool = True) -> str:
    if isinstance(cell, str):
        return escape(cell)
    marks = f"$^{{\\mathrm{{{cell.marks}}}}}$" if cell.marks else ""
    ends = _small(cell.interval) if interval else ""
    return f"{cell.text}{marks} {ends}".strip()


def _small(interval: str) -> str:
    return f"{{\\scriptsize {interval}}}" if interval else ""


def _label(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)


@dataclass(frozen=True)
class Measure:
    """One column: a number of each model on one benchmark.

    Attributes:
        benchmark: Header above the column; columns of one benchmark share it.
        name: Header of the column.
        cells: The number of each model.
        notes: Sentences that stand below the table.
        bounds: Lowest and highest possible value.
    """

    benchmark: str
    name: str
    cells: Mapping[str, Number]
    notes: tuple[str, ...] = ()
    bounds: tuple[float, float] = (-math.inf, math.inf)
