"""`persona-bench leaderboard`: many stored runs in one table a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


def leaderboard(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN ...",
            help="Output folders, or NAME=FOLDER; all models below them. Others are left out.",
        ),
    ],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Write Markdown, CSV and LaTeX here.")
    ] = None,
    sort_by: Annotated[
        str,
        typer.Option("--sort-by", help="worst, mean, best, pss or pss_corrected; highest first."),
    ] = "worst",
    confidence: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap and permutation draws.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Models in order, on each task; other questions, personas or graders are another table."""
    from persona_bench.report.paper.leaderboard import leaderboards
    from persona_bench.report.paper.table import write_table
    from persona_bench.report.paper.terminal import print_table
    from persona_bench.report.runs import Settings
    from persona_bench.results.runs import read_runs

    tables = leaderboards(
        read_runs(runs, leave_empty=True), Settings(confidence, resamples, seed), sort_by
    )
    console = Console()
    for table in tables:
        if out_folder is not None:
            write_table(table, out_folder)
        if not as_json:
            print_table(table, console)
    if as_json:
        told = [
            {"table": table.name, "rows": json.loads(table.frame().to_json(orient="records"))}
            for table in tables
        ]
        print(json.dumps(told, indent=2))
    elif out_folder is not None:
        console.print(f"\nFiles: {escape(str(out_folder))}", soft_wrap=True)
