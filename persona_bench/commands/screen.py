"""`persona-bench screen`: the PSS of a large persona set from a fraction of its grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from persona_bench.commands import options


def screen(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="lm-eval's backend: hf, vllm, an API, ...", rich_help_panel=options.MODEL
        ),
    ] = "hf",
    model_args: options.ModelArgs = "",
    tasks: Annotated[
        str, typer.Option(help="One persona task.", rich_help_panel=options.ASKED)
    ] = "persona_math500",
    metadata: Annotated[
        str,
        typer.Option(
            metavar="JSON",
            help="Knobs, all but design and samples.",
            rich_help_panel=options.ASKED,
        ),
    ] = '{"persona_set": "wide"}',
    gen_kwargs: options.GenKwargs = "",
    budget: Annotated[
        float,
        typer.Option(
            help="Share of the full grid's responses that may be asked.",
            rich_help_panel=options.ASKED,
        ),
    ] = 0.2,
    confirm_run_unsafe_code: options.ConfirmUnsafe = False,
    output_path: options.OutputPath = Path("persona-bench-screening"),
) -> None:
    """Find the worst and best of many personas with a fraction of the full grid's responses.

    Asks a sparse table first, more of the personas that look extreme, and the finalists in
    full on held-out questions. A killed run resumes. In one process: not under a launcher
    of several.

    Example: persona-bench screen --model-args pretrained=ORG/MODEL --budget 0.2
    """
    from persona_bench.extras.screening.report import print_screening, write_screening
    from persona_bench.extras.screening.run import screen_model
    from persona_bench.harness.run import parse_arguments

    result = screen_model(
        model=model,
        model_args=parse_arguments(model_args),
        task=tasks,
        output_path=output_path,
        budget=budget,
        metadata=parse_arguments(metadata),
        gen_kwargs=parse_arguments(gen_kwargs),
        confirm_run_unsafe_code=confirm_run_unsafe_code,
        verbose=options.is_verbose(context),
    )
    write_screening(result, output_path)
    print_screening(result, title=f"{tasks}: screened", console=Console())
    typer.echo(f"\nFiles: {output_path / 'screening.json'}, {output_path / 'personas.csv'}")
