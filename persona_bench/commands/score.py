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
    results: Annotated[Path, typer.Argument(help="lm-eval's --output_path.")],
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
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where files go; RESULTS/scores by default.",
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
    """Score an lm-eval output folder: accuracy per persona, PSS and its noise floor.

    Example: persona-bench score results/my-run --by level
    """
    if regrade:
        from persona_bench.harness.regrade import regrade as grade_again

        for done in grade_again(results, confirm_run_unsafe_code=confirm_run_unsafe_code):
            told = f"{done.changed:,} of {done.responses:,} verdicts changed ({done.file.name})"
            Console(stderr=True).print(escape(f"{done.task} of {done.model}: {told}"))
    elif any(results.glob("store/unfinished/*.json")):
        grade_stopped(results, confirm_run_unsafe_code)
    folder = out_folder or (results if results.is_dir() else results.parent) / "scores"
    score_folder(results, folder, by=by, full=full, as_json=as_json, page=not no_page)


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
