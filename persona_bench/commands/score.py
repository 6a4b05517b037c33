"""`persona-bench score`: what a finished run says, printed and written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options

SCORED = "What is scored"
SECTIONS = ("parts.section",)
"""Modules of `persona_bench.extras` that add a section to a score."""


def score(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS ...",
            help="A run's folder (--output_path), or results that you have already: a table, "
            "lm-eval's outputs, inspect_ai's logs, NeMo-Skills' outputs (docs/your-results.md).",
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Score each level (difficulty), subject or date by itself: --by level.",
            rich_help_panel=SCORED,
        ),
    ] = None,
    regrade: Annotated[
        bool,
        typer.Option(
            "--regrade",
            help="First grade the stored responses again, without a model.",
            rich_help_panel=SCORED,
        ),
    ] = False,
    confirm_run_unsafe_code: Annotated[
        bool,
        typer.Option(
            "--confirm-run-unsafe-code",
            help="With --regrade: run programs that the model wrote (persona_livecodebench).",
            rich_help_panel=SCORED,
        ),
    ] = False,
    persona_from: Annotated[
        str,
        typer.Option(
            "--persona-from",
            metavar="PLACE",
            help="Where inspect_ai's logs name the persona: system (the system message, the "
            "default), metadata:KEY or task_arg:KEY.",
            rich_help_panel=SCORED,
        ),
    ] = "",
    metric: Annotated[
        str,
        typer.Option(
            help="Which metric of a log counts: NAME; of lm-eval NAME,FILTER; of inspect_ai "
            "SCORER/KEY.",
            rich_help_panel=SCORED,
        ),
    ] = "",
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where files go; RESULTS/scores by default. A .csv or .parquet gets the table of "
            "all responses instead, a folder NAME.eee the same as Every Eval Ever has it.",
            rich_help_panel=options.RESULTS,
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Print every table and number.", rich_help_panel=options.RESULTS
        ),
    ] = False,
    no_page: options.NoPage = False,
    as_json: options.Json = False,
) -> None:
    """Score a run, or results of another program: accuracy per persona, PSS and its noise floor.

    Example: persona-bench score results/my-run --by level
    """
    from persona_bench.report.export import export, is_export
    from persona_bench.results.other_run import Choice
    from persona_bench.results.runs import read_folder

    first, *more = results
    choice = Choice(persona_from, metric)
    if regrade:
        if more:
            raise typer.BadParameter("--regrade takes one folder")
        from persona_bench.harness.regrade import regrade as grade_again

        for done in grade_again(first, confirm_run_unsafe_code=confirm_run_unsafe_code):
            told = f"{done.changed:,} of {done.responses:,} verdicts changed ({done.file.name})"
            Console(stderr=True).print(escape(f"{done.task} of {done.model}: {told}"))
    elif any(first.glob("store/unfinished/*.json")):
        grade_stopped(first, confirm_run_unsafe_code)
    if out_folder is not None and is_export(out_folder):
        for file in export(read_folder(first, *more, asked=True, choice=choice), out_folder):
            Console().print(escape(str(file)), soft_wrap=True)
        return
    folder = out_folder or (first if first.is_dir() else first.parent) / "scores"
    score_folder(
        first, folder, more=more, choice=choice, by=by, full=full, as_json=as_json, page=not no_page
    )


def grade_stopped(results: Path, confirm_run_unsafe_code: bool) -> None:
    """Grades what is stored of runs that were stopped before their results were written."""
    from persona_bench.harness.unfinished import grade_unfinished
    from persona_bench.results.samples import NoSamplesError, find_samples

    said = Console(stderr=True)
    found = grade_unfinished(results, confirm_run_unsafe_code=confirm_run_unsafe_code)
    if found and not any(each.stored for each in found) and not find_samples(results):
        raise NoSamplesError(
            f"{results}: none of the {sum(each.asked for each in found):,} responses of the run "
            "is stored yet, so there is nothing to score: start the same run again"
        )
    for each in found:
        text = (
            f"{each.task} of {each.model} is an unfinished run: {each.stored:,} of {each.asked:,} "
            "responses are stored, and no random choice of them; start the run again to finish it"
        )
        said.print(escape(text), soft_wrap=True)


def score_folder(results: Path, folder: Path, **options: Any) -> list[Path]:
    """`report.score.score_folder`, with the sections of the extras that are there."""
    from persona_bench.report.score import score_folder as score_with
    from persona_bench.report.sections import installed

    return score_with(results, folder, providers=installed(SECTIONS), **options)
