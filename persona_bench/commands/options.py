"""The options that several subcommands share, with lm-eval's names and meanings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

ModelArgs = Annotated[
    str,
    typer.Option("--model-args", help="As lm-eval's, e.g. pretrained=ORG/NAME."),
]
OutputPath = Annotated[Path, typer.Option("--output-path", help="Where results go.")]
GenKwargs = Annotated[str, typer.Option("--gen-kwargs", help="As lm-eval's.")]
BatchSize = Annotated[str | None, typer.Option("--batch-size", help="As lm-eval's.")]
Device = Annotated[str | None, typer.Option(help="cuda, cpu, ...")]
ChatTemplate = Annotated[
    bool,
    typer.Option(
        "--apply-chat-template/--no-chat-template",
        help="Personas are system messages only with a chat template.",
    ),
]
ConfirmUnsafe = Annotated[
    bool,
    typer.Option(
        "--confirm-run-unsafe-code",
        help="For persona_livecodebench, which runs programs that the model wrote.",
    ),
]
IncludePath = Annotated[
    list[Path] | None,
    typer.Option("--include-path", help="A folder of further lm-eval tasks (may be repeated)."),
]
Score = Annotated[bool, typer.Option("--score/--no-score", help="Score at the end.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show lm-eval's log, and the traceback of an error.")
]
Traceback = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")]


def with_verbose(command: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a subcommand take `--verbose`, which `cli.main` reads, where it has none of its own."""
    signature = inspect.signature(command, eval_str=True)
    if "verbose" in signature.parameters:
        return command
    kind = inspect.Parameter.KEYWORD_ONLY
    verbose = inspect.Parameter("verbose", kind, default=False, annotation=Traceback)
    every = [*signature.parameters.values(), verbose]

    @functools.wraps(command)
    def without_verbose(*args: Any, verbose: bool = False, **kwargs: Any) -> Any:
        return command(*args, **kwargs)

    without_verbose.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
    without_verbose.__annotations__ = {each.name: each.annotation for each in every}
    return without_verbose
