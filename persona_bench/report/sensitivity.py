"""The grader's sensitivity in the terminal and as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from persona_bench.report.names import file_stem
from persona_bench.report.tables import printable
from persona_bench.scoring.sensitivity import ROUTES

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from persona_bench.scoring.sensitivity import Sensitivity


def print_sensitivity(result: Sensitivity, console: Console) -> None:
    """Print the routes per persona and both graders' conclusions; nothing where all answers were
    boxed, tagged or stated."""
    if not result.sentence:
        return
    table = Table(
        title="How answers were found: share of each persona's responses",
        title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("persona", overflow="fold")
    for name in (*ROUTES, "none", "accuracy", "strict"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in result.table.to_dict("records"):
        shares = [f"{row[name]:.2f}" for name in (*ROUTES, "none")]
        both = [f"{row[name]:.3f}" for name in ("accuracy", "strict")]
        table.add_row(Text(printable(str(row["persona"]))), *shares, *both)
    console.print(table)
    console.print(Text(result.sentence, style="" if result.agree else "bold"))


def write_sensitivity(result: Sensitivity, folder: Path, *, task: str) -> Path:
    """`<task>_routes.csv`: a row per persona."""
    path = folder / f"{file_stem(task)}_routes.csv"
    result.table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
    return path
