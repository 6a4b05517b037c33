"""`persona-bench gate`: may a new checkpoint replace the old one? An exit code for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options


def gate(
    base: Annotated[
        Path,
        typer.Argument(
            help="The old checkpoint: a run's folder, a table, or logs (docs/your-results.md)."
        ),
    ],
    new: Annotated[Path, typer.Argument(help="The new checkpoint, likewise.")],
    margin: Annotated[
        list[str] | None,
        typer.Option(
            "--margin",
            metavar="[NAME=]LOSS",
            help="Largest acceptable loss of mean accuracy (0.02). May be repeated for others: "
            "persona=0.02 (accuracy under each persona), pss=0.05, fidelity=0.2.",
            rich_help_panel="Margins",
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            help="Write JUnit XML here, with one test case per criterion.",
            rich_help_panel=options.RESULTS,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Test that NEW is no worse than BASE: exit code 0 pass, 1 fail, 3 can't tell.

    Example: persona-bench gate results/base results/new --margin 0.02
    --junit gate.xml
    """
    from persona_bench.report.gate import gate_runs, junit_xml, print_gates
    from persona_bench.scoring.gate import EXIT_CODES, combined

    try:
        gates = gate_runs(base, new, parse_margins(margin, ("persona", "pss", "fidelity")))
    except (ValueError, FileNotFoundError) as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None  # 1 is the verdict "fail"
    verdict = combined([result.verdict for result in gates.values()])
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_text(junit_xml(gates), encoding="utf-8")
    if as_json:
        tasks = {task: result.to_dict() for task, result in gates.items()}
        about = {"verdict": verdict, "base": str(base), "new": str(new)}
        print(json.dumps({**about, "tasks": tasks}, indent=2))
    else:
        print_gates(gates, verdict)
    raise typer.Exit(EXIT_CODES[verdict])


def parse_margins(given: list[str] | None, names: tuple[str, ...]) -> dict[str, Any]:
    """`--margin` values as arguments: `0.02` is `margin`, `pss=0.1` is `margin_pss`.

    Raises:
        ValueError: no number, or a name that is not one of `names`.
    """
    margins: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.rpartition("=")
        if equals and name not in names:
            raise ValueError(f"--margin {text}: there is no {name!r}: use {', '.join(names)}")
        try:
            margins[f"margin_{name}" if name else "margin"] = float(value)
        except ValueError:
            raise ValueError(
                f"--margin {text}: give a number, as in 0.02, or a named one, as in {names[0]}=0.02"
            ) from None
    return margins
