"""`persona-bench trace`: whether personas leave a trace in the responses, without a judge."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options

if TYPE_CHECKING:
    from persona_bench.harness.run import Session


def trace(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="lm-eval's --output_path.")],
    model: Annotated[
        str, typer.Option(help="lm-eval's backend: hf or vllm.", rich_help_panel=options.MODEL)
    ] = "hf",
    model_args: options.ModelArgs = "",
    others: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Compare each response with N other personas, drawn at random; with all by "
            "default.",
            rich_help_panel=options.ASKED,
        ),
    ] = None,
) -> None:
    """Tell whether personas leave a trace in stored responses; no judge is asked.

    How often can the persona be told from a response (identifiability)? And, where --model-args
    names the model: how much better is a response explained by its own persona than by the others
    (persona information)? Not whether the role is played well.

    Example: persona-bench trace results/roles --model-args pretrained=ORG/MODEL
    """
    from persona_bench.extras.traces.report import chosen_samples, trace_samples
    from persona_bench.report.places import Places

    chosen = chosen_samples(results, one_model=bool(model_args))
    root = results if results.is_dir() else results.parent
    folder = root / "scores"
    with ExitStack() as stack:
        verbose = options.is_verbose(context)
        session = _session(stack, root, model, model_args, verbose)
        places = Places(folder, [samples.model for samples in chosen])
        trace_samples(chosen, results, places, session, others=others)
    Console().print(f"\nFiles: {escape(str(folder))}", soft_wrap=True)


def _session(
    stack: ExitStack,
    root: Path,
    model: str,
    model_args: str,
    verbose: bool,
) -> Session | None:
    """The model, not loaded yet; None where none is named."""
    if not model_args:
        return None
    from persona_bench.harness.information import check_backend
    from persona_bench.harness.preflight import check_model
    from persona_bench.harness.run import Session, parse_arguments

    arguments = parse_arguments(model_args)
    check_model(model, arguments)
    check_backend(model, arguments)
    err = Console(stderr=True)
    session = Session(
        model,
        arguments,
        root,
        seed=0,
        verbose=verbose,
        say=lambda text: err.print(escape(text), soft_wrap=True),
    )
    return stack.enter_context(session)
