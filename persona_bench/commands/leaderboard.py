"""`persona-bench leaderboard`: many stored runs in one table per task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options


def leaderboard(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN ...",
            help="Output folders, or NAME=FOLDER; all models below them. Others are left out.",
        ),
    ],
    sort_by: Annotated[
        str,
        typer.Option(
            "--sort-by",
            help="worst, mean, best, pss or pss_corrected; highest first.",
            rich_help_panel=options.RESULTS,
        ),
    ] = "worst",
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write Markdown, CSV and LaTeX here.", rich_help_panel=options.RESULTS
        ),
    ] = None,
) -> None:
    """Models in order, on each task; other questions, personas or graders are another table.

    Example: persona-bench leaderboard results/base results/rlvr results/permix
    """
    from persona_bench.extras.paper.leaderboard import leaderboards
    from persona_bench.extras.paper.table import write_table
    from persona_bench.extras.paper.terminal import print_table
    from persona_bench.report.runs import Settings
    from persona_bench.results.runs import read_runs

    console = Console()
    for table in leaderboards(read_runs(runs, leave_empty=True), Settings(), sort_by):
        if out_folder is not None:
            write_table(table, out_folder)
        print_table(table, console)
    if out_folder is not None:
        console.print(f"\nFiles: {escape(str(out_folder))}", soft_wrap=True)
