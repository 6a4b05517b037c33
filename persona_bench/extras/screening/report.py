"""A screening in the terminal and as files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

import persona_bench
from persona_bench.report.places import command_line
from persona_bench.report.tables import with_ties

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from persona_bench.extras.screening.screened import Screening
    from persona_bench.scoring.resampling import Interval


def write_screening(result: Screening, folder: Path) -> None:
    record = {
        "command": command_line(),
        "persona_bench_version": persona_bench.__version__,
        "settings": json.loads((folder / "settings.json").read_text(encoding="utf-8")),
        **result.to_dict(),
    }
    text = json.dumps(record, indent=2)
    (folder / "screening.json").write_text(text + "\n", encoding="utf-8")
    result.per_persona.to_csv(folder / "personas.csv", index=False, float_format="%.6g")


def print_screening(result: Screening, *, title: str, console: Console) -> None:
    """Print the finalists, then the numbers, each with what it means."""
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
