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
    from persona_bench.extras.screening.screened import Screening
    from persona_bench.scoring.resampling import Interval


def screen(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="lm-eval's backend: hf, vllm, an API, ...", rich_help_panel=options.MODEL
        ),
    ] = "hf",
    model_args: options.ModelArgs = "",
    batch_size: options.BatchSize = None,
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
        batch_size=batch_size,
        confirm_run_unsafe_code=confirm_run_unsafe_code,
        verbose=options.is_verbose(context),
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
