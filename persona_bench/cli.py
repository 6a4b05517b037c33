"""The `persona-bench` command: each subcommand calls one room and prints what it gives."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

import persona_bench
from persona_bench.commands import options, personas, ratings
from persona_bench.commands.compare import compare
from persona_bench.commands.demo import demo
from persona_bench.commands.gate import gate
from persona_bench.commands.judge import judge
from persona_bench.commands.leaderboard import leaderboard
from persona_bench.commands.plan import plan
from persona_bench.commands.publish import publish
from persona_bench.commands.run import merge, run
from persona_bench.commands.score import score
from persona_bench.commands.screen import screen
from persona_bench.commands.trace import trace
from persona_bench.commands.train import train
from persona_bench.commands.wrap import wrap
from persona_bench.failures import explain
from persona_bench.resources import resource_folder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # lm-eval writes its flags with underscores; here either will do
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    help="How much does a persona in the system prompt change what a language model can do?",
)
app.add_typer(personas.app, name="personas")
app.add_typer(ratings.app, name="ratings")
COMMANDS = (
    run, merge, score, judge, trace, compare, gate, leaderboard, publish, plan, screen, train,
    wrap, demo,
)  # fmt: skip
for command in COMMANDS:
    options.add(app, command)

out = Console()
err = Console(stderr=True)


def main() -> None:
    """The entry point: an error is one sentence, and with `--verbose` a traceback."""
    warnings.showwarning = _show_warning
    # torch's threads wait for each other by spinning, which on a busy machine costs more than
    # half of the speed; read when torch is first imported
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app()
    except Exception as error:
        if options.VERBOSE in sys.argv:
            raise
        err.print(f"[bold red]Error:[/] {escape(explain(error))}", soft_wrap=True)
        sys.exit(exit_code_of_error(sys.argv[1:]))


def exit_code_of_error(arguments: list[str]) -> int:
    """1; but 2 for a gate, of which 1 is the verdict `fail`."""
    gated = any(each.partition("=")[0] == "--against" for each in arguments)
    return 2 if gated or arguments[:1] == ["gate"] else 1


_shown: set[str] = set()
"""Warnings that were shown: what is true of several runs is said once."""


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    if str(message) in _shown:
        return
    _shown.add(str(message))
    err.print(f"[yellow]Warning:[/] {escape(str(message))}", soft_wrap=True)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    verbose: Annotated[
        bool,
        typer.Option(
            options.VERBOSE,
            help="Show lm-eval's log, and the traceback of an error. Every command takes it.",
        ),
    ] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    context.meta[options.VERBOSE] = verbose
    if show_version:
        out.print(persona_bench.__version__)
        raise typer.Exit


# ---------------------------------------------------------------------- paths


def tasks_path() -> None:
    """The folder of the task YAMLs, for `lm_eval --include_path`.

    Example: persona-bench tasks-path
    """
    print(resource_folder("tasks"))


options.add(app, tasks_path, "tasks-path")


if __name__ == "__main__":
    main()
