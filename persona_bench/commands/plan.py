"""`persona-bench plan`: what to ask before a budget is spent."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from persona_bench.commands import options

ASSUMED = "What is assumed"
WANTED = "What is wanted"
SPREADS = ("question", "persona", "interaction", "seed")
SHOWN_SAMPLES = (1, 4, 16)
"""Samples per prompt that are shown beside each other, to see what more of them bring."""


def plan(
    pilot: Annotated[
        Path | None,
        typer.Option(help="A run's folder to take assumptions from.", rich_help_panel=ASSUMED),
    ] = None,
    accuracy: Annotated[
        float | None, typer.Option(help="Assumed mean accuracy.", rich_help_panel=ASSUMED)
    ] = None,
    sd: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SD",
            help="Assumed spread in log-odds (may be repeated): question=1.5, persona=0.2, "
            "interaction=0 (how far a persona's effect differs between questions). With --seeds: "
            "seed=SD of the difference between methods, per seed.",
            rich_help_panel=ASSUMED,
        ),
    ] = None,
    questions: Annotated[
        int,
        typer.Option(
            help="Questions, and the size of the benchmark.", rich_help_panel=options.ASKED
        ),
    ] = 500,
    personas: Annotated[
        int | None,
        typer.Option(
            help="Personas; as in the pilot, or 16, by default.", rich_help_panel=options.ASKED
        ),
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option(help="Mean tokens of a response, to count them.", rich_help_panel=ASSUMED),
    ] = None,
    pss_within: Annotated[
        float | None,
        typer.Option(help="Wanted half-width of the PSS's 95% interval.", rich_help_panel=WANTED),
    ] = None,
    detect: Annotated[
        float | None,
        typer.Option(help="True PSS to be found with 80% power at 5%.", rich_help_panel=WANTED),
    ] = None,
    seeds: Annotated[
        float | None,
        typer.Option(
            "--seeds",
            help="True difference between two training methods: how many trainings of each does "
            "it take? Needs --sd seed=SD.",
            rich_help_panel=WANTED,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """How many questions, personas and samples a wanted precision takes.

    Example: persona-bench plan --accuracy 0.4 --questions 500 --detect 0.9
    """
    from persona_bench.extras.planning.plan import Design, check_wish, designs_for, forecast
    from persona_bench.extras.planning.report import (
        cost_of,
        print_designs,
        print_forecasts,
        print_seeds,
        read_assumptions,
    )

    spreads = _spreads(sd or [])
    if seeds is not None or "seed" in spreads:
        print_seeds(seeds, spreads.get("seed"), as_json)
        return
    if tokens is not None and tokens <= 0:
        raise ValueError(f"tokens={tokens} must be above 0")
    if pss_within is not None or detect is not None:
        check_wish(pss_within, detect)
    given = {"accuracy": accuracy, **{f"{name}_sd": value for name, value in spreads.items()}}
    assumed, found, notes = read_assumptions(pilot, given)
    personas = personas or found or 16
    design = Design(questions, personas, samples=1)
    shown = [replace(design, samples=k) for k in SHOWN_SAMPLES]
    forecasts = [forecast(assumed, each) for each in shown]
    designs = None
    if pss_within is not None or detect is not None:
        designs = designs_for(
            assumed, personas=personas, most_questions=questions, pss_within=pss_within,
            detect=detect,
        )  # fmt: skip
    if as_json:
        record = {
            "assumptions": asdict(assumed),
            "notes": notes,
            "forecasts": [asdict(f) for f in forecasts],
            "designs": None if designs is None else [cost_of(d, tokens) for d in designs],
        }
        print(json.dumps(record, indent=2))
        return
    console = Console()
    print_forecasts(console, assumed, notes, design, forecasts)
    if designs is not None:
        wanted = f"--pss-within {pss_within}" if detect is None else f"--detect {detect}"
        print_designs(console, wanted, designs, questions, tokens)


def _spreads(given: list[str]) -> dict[str, float]:
    """`NAME=SD` by name.

    Raises:
        ValueError: an unknown name, or no number.
    """
    spreads = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in SPREADS:
            raise ValueError(f"--sd {text}: there is no {name!r}: use {', '.join(SPREADS)}")
        try:
            spreads[name] = float(value)
        except ValueError:
            raise ValueError(f"--sd {text}: give a number, as in {name}=0.5") from None
    return spreads
