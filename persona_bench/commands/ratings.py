"""`persona-bench ratings`: people rate some responses, and the judges are held to that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options

app = typer.Typer(no_args_is_help=True, help="Hold the judges against people's ratings.")
Results = Annotated[Path, typer.Argument(help="The run's --output-path, or one samples file.")]


def export(
    results: Results,
    n: Annotated[
        int,
        typer.Option("--n", min=1, help="Responses to be rated.", rich_help_panel=options.ASKED),
    ] = 100,
) -> None:
    """Write a page on which people rate responses, without seeing model or judge.

    Role-play responses, and graded ones whose voice was judged; of one task where its samples file
    is given.

    The page is one file that opens in any browser. Give it to each rater; each saves a CSV file.
    Exported again with a larger --n it has the same responses and more.

    Example: persona-bench ratings export results/roles --n 100
    """
    from persona_bench.judge.raters import (
        PAGE,
        draw,
        rateable,
        ratings_folder,
        write_rating_page,
    )
    from persona_bench.judge.run import find_rateable
    from persona_bench.report.tables import count

    pool = rateable(find_rateable(results, asked=True))
    drawn = draw(pool, n)
    page = write_rating_page(drawn, pool, ratings_folder(results) / PAGE)
    models = len({each.judged.samples.model for each in drawn})
    personas = len({each.response.persona for each in drawn})
    Console().print(
        f"{len(drawn):,} of {count(len(pool), 'response')} ({count(models, 'model')}, "
        f"{count(personas, 'persona')}), models hidden: {escape(str(page))}\n"
        "Each rater opens it in a browser and saves a CSV; "
        f"then: persona-bench ratings import {escape(str(results))} FILE...",
        soft_wrap=True,
    )


def import_(
    results: Results,
    files: Annotated[list[Path], typer.Argument(help="The CSV files of the raters.")],
) -> None:
    """Read raters' CSV files, compare raters and judges, and correct fidelity by the ratings.

    Raters may have rated different parts; a rater's newer file replaces what it rated before.

    Example: persona-bench ratings import results/roles anna.csv ben.csv
    """
    from persona_bench.commands.score import score_folder
    from persona_bench.failures import missing
    from persona_bench.judge.raters import (
        keep_ratings,
        rateable,
        ratings_folder,
        ratings_of,
        read_ratings,
    )
    from persona_bench.judge.run import find_rateable
    from persona_bench.report.fidelity import rater_lines
    from persona_bench.report.tables import count
    from persona_bench.results.judged import judge_files, judged_table
    from persona_bench.scoring.ratings import hold_against_raters

    if problem := missing("krippendorff"):
        raise RuntimeError(problem)
    tasks = find_rateable(results)
    known = {each.item for each in rateable(tasks)}
    kept = keep_ratings(read_ratings(files, known), results)
    err = Console(stderr=True)
    unsure = int(kept["score"].isna().sum())
    err.print(
        f"Kept: {count(len(kept) - unsure, 'rating')} by {count(kept['rater'].nunique(), 'rater')}"
        + (f"; {count(unsure, 'time')} a rater could not tell" if unsure else ""),
        soft_wrap=True,
    )
    judged = judged_table([file for task in tasks for file in judge_files(task.samples)])
    ratings = ratings_of(judged, results)
    if ratings.empty:
        why = "No rated response is judged yet: persona-bench judge"
        err.print(why if unsure < len(kept) else "No rater gave a score", soft_wrap=True)
        return
    held = hold_against_raters(judged, ratings)
    file = ratings_folder(results) / "ratings.json"
    file.write_text(json.dumps(held.to_dict(), indent=2) + "\n", encoding="utf-8")
    only_judged = all(task.samples.judged for task in tasks)
    run = ratings_folder(results).parent
    score_folder(run, run / "scores", only_judged=only_judged)
    if len(tasks) > 1:
        out = Console()
        out.print("\nRaters, over all models and tasks", style="bold")
        for line in rater_lines(held):
            out.print(escape(line), soft_wrap=True)


options.add(app, export)
options.add(app, import_, "import")
