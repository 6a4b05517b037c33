"""The `persona-bench` command: each subcommand calls one room and prints what it gives."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

import persona_bench
from persona_bench.commands import options, personas, ratings
from persona_bench.commands.compare import compare
from persona_bench.commands.gate import gate
from persona_bench.commands.judge import judge
from persona_bench.commands.leaderboard import leaderboard
from persona_bench.commands.plan import plan
from persona_bench.commands.publish import publish
from persona_bench.commands.run import merge, run
from persona_bench.commands.score import score, score_folder
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
    run, merge, score, judge, trace, compare, gate, leaderboard, publish, plan, screen, train, wrap,
)  # fmt: skip
for command in COMMANDS:
    options.add(app, command)

out = Console()
err = Console(stderr=True)

DEMO_QUESTIONS = 35
DEMO_TOKENS = 80
DEMO_BATCH = "35"
ROLE_TOKENS = 40


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
        sys.exit(1)


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


# ---------------------------------------------------------------------- demo


def demo(
    context: typer.Context,
    questions: Annotated[
        int,
        typer.Option(
            min=1, help="Arithmetic questions per persona.", rich_help_panel=options.ASKED
        ),
    ] = DEMO_QUESTIONS,
) -> None:
    """Show on a real model what six personas do to its accuracy, and roles to its words.

    Example: persona-bench demo --questions 10
    """
    started = time.monotonic()
    output_path = Path("demo-results")

    def say(text: str) -> None:
        err.print(f"[bold]{time.monotonic() - started:4.0f} s[/]  {escape(text)}", soft_wrap=True)

    say(f"Persona Bench demo: 6 personas × {questions} arithmetic questions on one small model,")
    role_questions = max(1, min(questions // 15, 12))  # per evaluation task and persona
    asked = 5 * role_questions
    say(f"then roles: 4 of the personas × {asked} questions about what they would say and do.")
    say("On two CPU cores this takes four to seven minutes; a GPU is used where there is one.")
    from persona_bench.demo import demo_model
    from persona_bench.harness.preflight import check_model
    from persona_bench.harness.run import Asked, Session
    from persona_bench.report.places import Places
    from persona_bench.report.sections import installed
    from persona_bench.results.samples import newest_samples

    pretrained = str(demo_model(say))
    check_model("hf", {"pretrained": pretrained})
    say(f"Loading {pretrained} and asking it")
    say(f"Sums end at {DEMO_TOKENS} tokens to keep this short: verbose personas lose by it")
    with Session(
        "hf",
        {"pretrained": pretrained, **_cpu_precision()},
        output_path,
        batch_size=DEMO_BATCH,
        verbose=options.is_verbose(context),
        say=say,
    ) as session:
        sums = {"persona_set": "demo", "n_questions": questions}
        roles = {"persona_set": "demo", "questions_per_task": role_questions}
        session.run(
            [
                Asked("persona_arithmetic", sums, {"max_gen_toks": DEMO_TOKENS}),
                Asked("persona_roleplay", roles, {"max_gen_toks": ROLE_TOKENS}),
            ]
        )
        for extra in installed(["traces.report"]):
            say("Do the roles leave a trace? Each response, under its own persona and the others")
            with warnings.catch_warnings():  # said by the scoring
                warnings.simplefilter("ignore")
                chosen = newest_samples(output_path, judged=True)
            places = Places(output_path / "scores", [samples.model for samples in chosen])
            extra.trace_samples(chosen, output_path, places, session)
        say("Scoring, figures, and a page of everything that the model said")
        written = score_folder(output_path, output_path / "scores")
    say(f"Done. Open {written[-1]} in a browser")


def _cpu_precision() -> dict[str, str]:
    """float32 where there is no GPU: several times as fast there as bfloat16."""
    import torch

    return {} if torch.cuda.is_available() else {"dtype": "float32"}


# ---------------------------------------------------------------------- paths


def tasks_path() -> None:
    """The folder of the task YAMLs, for `lm_eval --include_path`.

    Example: persona-bench tasks-path
    """
    print(resource_folder("tasks"))


options.add(app, demo)
options.add(app, tasks_path, "tasks-path")


if __name__ == "__main__":
    main()
