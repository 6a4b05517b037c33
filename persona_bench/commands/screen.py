"""`persona-bench screen`: the PSS of a large persona set from a fraction of its grid."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import persona_bench
from persona_bench.commands import options

if TYPE_CHECKING:
    from persona_bench.extras.screened import Screening
    from persona_bench.scoring.resampling import Interval


def screen(
    model: Annotated[str, typer.Option(help="lm-eval's backend: hf, vllm, an API, ...")] = "hf",
    model_args: options.ModelArgs = "",
    tasks: Annotated[str, typer.Option(help="One persona task.")] = "persona_math500",
    output_path: options.OutputPath = Path("persona-bench-screening"),
    budget: Annotated[
        float, typer.Option(help="Share of the full grid's responses that may be asked.")
    ] = 0.2,
    metadata: Annotated[
        str, typer.Option(help="Knobs but design and samples.")
    ] = '{"persona_set": "wide"}',
    gen_kwargs: options.GenKwargs = "",
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    apply_chat_template: options.ChatTemplate = True,
    confirm_run_unsafe_code: options.ConfirmUnsafe = False,
    seed: Annotated[int, typer.Option(help="Seed of the designs.")] = 0,
    confidence: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    verbose: options.Verbose = False,
) -> None:
    """Find the worst and best of many personas with a fraction of the full grid's responses.

    Asks a sparse table first, more of the personas that look extreme, and the finalists in
    full on held-out questions. A killed run continues. In one process: not under a launcher
    of several.
    """
    from persona_bench.extras.screening_run import screen_model
    from persona_bench.harness.run import parse_arguments

    result = screen_model(
        model=model,
        model_args=parse_arguments(model_args),
        task=tasks,
        output_path=output_path,
        budget=budget,
        metadata=parse_arguments(metadata),
        gen_kwargs=parse_arguments(gen_kwargs),
        batch_size=batch_size,
        device=device,
        apply_chat_template=apply_chat_template,
        confirm_run_unsafe_code=confirm_run_unsafe_code,
        seed=seed,
        confidence=confidence,
        verbose=verbose,
    )
    _write(result, output_path)
    print_screening(result, title=f"{tasks}: screened", console=Console())
    typer.echo(f"\nFiles: {output_path / 'screening.json'}, {output_path / 'personas.csv'}")


def _write(result: Screening, folder: Path) -> None:
    record = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "persona_bench_version": persona_bench.__version__,
        "settings": json.loads((folder / "settings.json").read_text(encoding="utf-8")),
        **result.to_dict(),
    }
    text = json.dumps(record, indent=2)
    (folder / "screening.json").write_text(text + "\n", encoding="utf-8")
    result.per_persona.to_csv(folder / "personas.csv", index=False, float_format="%.6g")


def print_screening(result: Screening, *, title: str, console: Console) -> None:
    """Print the finalists, then the numbers, each with what it means."""
    from persona_bench.report.tables import with_ties

    console.print(f"[bold]{escape(title)}[/]")
    console.print(
        f"{result.n_personas} personas x {result.n_questions} questions: {result.n_responses} "
        f"responses, {result.share:.1%} of the full grid; {result.unscored} unscored; "
        f"{result.n_held_out} questions held out"
    )
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("finalist", "persona", "n", "accuracy", "interval"):
        table.add_column(name, justify="left" if name in ("finalist", "persona") else "right")
    finalists = result.per_persona[result.per_persona["finalist"] != ""]
    for row in finalists.to_dict("records"):
        table.add_row(
            row["finalist"], escape(row["persona"]), str(row["n"]), f"{row['accuracy']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
        )  # fmt: skip
    console.print(table)
    what = (
        "what the full grid would show"
        if result.decoding == "greedy"
        else "of the expected accuracies"
    )
    console.print(f"[bold]PSS {result.pss:.3f}[/] {_ends(result.pss_interval)}: {what}")
    console.print(
        f"PSS of the finalists as measured {result.pss_finalists:.3f} "
        f"({escape(with_ties(result.worst_personas))} / "
        f"{escape(with_ties(result.best_personas))})"
    )
    console.print(
        f"PSS on held-out questions {result.pss_held_out:.3f} "
        f"{_ends(result.pss_held_out_interval)}: {escape(result.chosen_worst)} / "
        f"{escape(result.chosen_best)}, chosen on the others; too high where a persona that "
        "screening missed is more extreme"
    )


def _ends(interval: Interval) -> str:
    return f"({interval.low:.3f} to {interval.high:.3f})"
