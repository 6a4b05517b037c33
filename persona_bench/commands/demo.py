"""`persona-bench demo`: a stored run at once, then a fresh one on a small real model."""

from __future__ import annotations

import os
import sys
import time
import warnings
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options
from persona_bench.commands.score import score_folder
from persona_bench.resources import stored_run

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path("demo-results")
TASK = "persona_arithmetic"
QUESTIONS = 16
FIRST = 3
"""Questions after which a first table is shown."""
TOKENS = 192
"""Room for the longest explanations of a one-digit sum: 1 response in 100 is cut off."""
BATCH = "12"
"""Small batches hold few personas each, so that those who answer briefly don't wait for others."""


def demo(
    context: typer.Context,
    questions: Annotated[
        int,
        typer.Option(
            min=1, help="Arithmetic questions per persona.", rich_help_panel=options.ASKED
        ),
    ] = QUESTIONS,
) -> None:
    """Show what personas do to a small real model: a stored run, then a fresh one with a page.

    Example: persona-bench demo --questions 10
    """
    started = time.monotonic()
    out, err = Console(), Console(stderr=True)

    def say(text: str) -> None:
        err.print(f"[bold]{time.monotonic() - started:4.0f} s[/]  {escape(text)}", soft_wrap=True)

    show_stored(out)
    say(f"Now a fresh run: {questions} one-digit sums under each of 6 personas")
    from persona_bench.demo import demo_model
    from persona_bench.harness.preflight import check_model
    from persona_bench.harness.run import Asked, Session
    from persona_bench.results.outcomes import read_outcomes

    pretrained = str(demo_model(say))
    check_model("hf", {"pretrained": pretrained})
    say(f"Loading {pretrained}")
    with Session(
        "hf",
        {"pretrained": pretrained, **_cpu_precision()},
        FOLDER,
        batch_size=BATCH,
        verbose=options.is_verbose(context),
        say=say,
    ) as session:
        warnings.filterwarnings("ignore", message=".*: the newest counts")  # the first questions'
        for n in sorted({min(FIRST, questions), questions}):
            knobs = {"persona_set": "demo", "levels": ["1"], "n_questions": n}
            session.run([Asked(TASK, knobs, {"max_gen_toks": TOKENS})])
            if n < questions:
                show_counts(read_outcomes(FOLDER), out)
    say("Scoring, figures, and a page of everything that the model said")
    page = score_folder(FOLDER, FOLDER / "scores")[-1]
    show_page(page, out)
    say("Three commands to try next:")
    for command in (
        "persona-bench score demo-results --full",
        f"persona-bench run --model hf --model_args pretrained={pretrained} "
        f"--tasks {TASK} --metadata '{{\"n_questions\": 50}}' --output_path results/small",
        "persona-bench run --model hf --model_args pretrained=ORG/MODEL --tasks persona_math500 "
        "--output_path results/mine",
    ):
        out.print(f"  {escape(command)}", soft_wrap=True, highlight=False)


def show_stored(console: Console) -> None:
    """Prints the summary of a stored run of the same model: 160 sums under 16 personas."""
    import pandas as pd

    from persona_bench.report.summary import print_summary
    from persona_bench.scoring.stability import stability

    outcomes = pd.read_csv(stored_run(), dtype={"question": str}, keep_default_na=False)
    outcomes = outcomes[outcomes["model"] == "base"].reset_index(drop=True)
    outcomes["correct"] = (outcomes["verdict"] == "correct").astype(float)
    title = "A stored run: SmolLM2-135M-Instruct, two-digit sums, 16 personas"
    print_summary(stability(outcomes), title=title, console=console)
    console.print()


def show_counts(outcomes: pd.DataFrame, console: Console) -> None:
    """Prints how many answers of each persona are right so far."""
    from persona_bench.report.summary import NAME, bar, cut

    right = outcomes.groupby("persona", sort=False)["correct"].agg(["sum", "size"])
    console.print(f"First answers: right of {int(right['size'].max())} questions")
    for persona, n, of in right.itertuples():
        name = cut(str(persona), NAME)
        console.print(f"{name:<{NAME}} {n:3.0f}  {bar(n / of)}", highlight=False, markup=False)
    console.print()


def show_page(page: Path, console: Console) -> None:
    """Prints the page's address, and opens it where the command runs on someone's desktop."""
    address = page.resolve().as_uri()
    console.print(f"\nThe page: {escape(address)}", soft_wrap=True, highlight=False)
    desktop = sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if desktop and sys.stdout.isatty():
        webbrowser.open(address)


def _cpu_precision() -> dict[str, Any]:
    """float32 where there is no GPU: several times as fast there as bfloat16."""
    import torch

    return {} if torch.cuda.is_available() else {"dtype": "float32"}
