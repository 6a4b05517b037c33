"""A plan in the terminal: forecasts of a design, and designs that reach a precision."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from persona_bench.extras.planning.pilot import assumptions_from
from persona_bench.extras.planning.plan import Assumptions, Design, Forecast
from persona_bench.results.outcomes import read_outcomes
from persona_bench.scoring.methods import power_of_seeds, seeds_needed

if TYPE_CHECKING:
    import pandas as pd

SHOWN_SEEDS = (2, 3, 4, 6, 8, 12, 16)


def print_seeds(difference: float | None, sd: float | None, as_json: bool) -> None:
    """How many trainings of each method find a difference, and with what power a few do."""
    if difference is None or sd is None:
        raise ValueError(
            "--seeds DIFFERENCE and --sd seed=SD belong together: what the methods differ by, and "
            "how much that difference varies between seeds"
        )
    needed = seeds_needed(difference, sd)
    powers = {n: round(power_of_seeds(n, difference, sd), 3) for n in SHOWN_SEEDS}
    if as_json:
        print(json.dumps({"difference": difference, "sd": sd, "seeds": needed, "power": powers}))
        return
    console = Console()
    trainings = "more than 1,000 seeds of" if needed is None else f"{needed} seeds of"
    console.print(
        f"A true difference of {difference:g} (standard deviation per seed {sd:g}) takes "
        f"{trainings} each method, for 80% power in a paired t test, two-sided at 5%."
    )
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("seeds", "power"):
        table.add_column(name, justify="right")
    for n, power in powers.items():
        table.add_row(str(n), f"{power:.2f}")
    console.print(table)


def read_assumptions(
    pilot: Path | None, given: dict[str, float | None]
) -> tuple[Assumptions, int | None, list[str]]:
    """Assumptions, the pilot's number of personas, notes; what is given goes before the pilot."""
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if pilot is None:
        if "accuracy" not in chosen:
            raise ValueError("plan needs a --pilot folder, or an assumed --accuracy such as 0.5")
        return Assumptions(**{"persona_sd": 0.2, **chosen}), None, []
    outcomes = _pilot_outcomes(pilot)
    assumed, notes = assumptions_from(outcomes)
    return replace(assumed, **chosen), int(outcomes["persona"].nunique()), notes


def _pilot_outcomes(pilot: Path) -> pd.DataFrame:
    outcomes = read_outcomes(pilot)
    runs = outcomes[["model", "task"]].drop_duplicates()
    if len(runs) > 1:
        names = "; ".join(f"{run['task']} on {run['model']}" for _, run in runs.iterrows())
        raise ValueError(f"{pilot} holds several runs ({names}): give one run's folder or file")
    return outcomes


def cost_of(design: Design, tokens: float | None) -> dict[str, Any]:
    cost = {**asdict(design), "responses": design.responses}
    return cost if tokens is None else {**cost, "tokens": round(design.responses * tokens)}


def _detected(pss: float) -> str:
    """The highest PSS that is found; `none` where not even a PSS of 0 would be."""
    return f"{pss:.3f}" if pss > 0 else "none"


def print_forecasts(
    console: Console,
    assumed: Assumptions,
    notes: list[str],
    design: Design,
    forecasts: list[Forecast],
) -> None:
    console.print(
        f"Assumed: accuracy {assumed.accuracy:.2f}; spread in log-odds: questions "
        f"{assumed.question_sd:.2f}, personas {assumed.persona_sd:.2f}, persona x question "
        f"{assumed.interaction_sd:.2f}"
    )
    for note in notes:
        console.print(f"Note: {escape(note)}.")
    title = f"{design.questions} questions x {design.personas} personas"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("samples per prompt")
    for f in forecasts:
        table.add_column(str(f.design.samples), justify="right")
    rows = {
        "responses": lambda f: f"{f.design.responses:,}",
        "standard error of a persona's accuracy": None,
        "  on the questions asked": lambda f: f"{f.se_asked:.4f}",
        "  on questions like these": lambda f: f"{f.se_population:.4f}",
        "half-width of the mean's interval": lambda f: f"{f.mean_half_width:.3f}",
        "half-width of the PSS's interval": lambda f: f"{f.pss_half_width:.3f}",
        "noise floor (PSS if personas do nothing)": lambda f: f"{f.noise_floor:.3f}",
        "true PSS found, 80% power at 5%": None,
        "  one bad persona": lambda f: _detected(f.detected_one),
        "  normally spread personas": lambda f: _detected(f.detected_normal),
    }
    for name, value in rows.items():
        table.add_row(name, *("" if value is None else value(f) for f in forecasts))
    console.print(table)
    console.print(
        "More samples sharpen accuracies on the questions asked, to the end; on questions like "
        "these only new questions help beyond a point. With greedy decoding a second sample is "
        "the first one again."
    )


def print_designs(
    console: Console, wanted: str, designs: list[Design], most: int, tokens: float | None
) -> None:
    if not designs:
        console.print(
            f"\n{wanted}: no design of up to {most} questions and 32 samples reaches this; take "
            "a benchmark with more questions, or a wider precision"
        )
        return
    table = Table(
        title=f"{wanted}: the fewest questions that reach it, cheapest first",
        title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0),
    )  # fmt: skip
    costs = [cost_of(design, tokens) for design in designs]
    for name in costs[0]:
        table.add_column(name, justify="right")
    for cost in costs:
        table.add_row(*(f"{value:,}" for value in cost.values()))
    console.print(table)
    if any(design.samples > 1 for design in designs):
        console.print(
            "Few questions with many samples tell about these questions: what a persona does on "
            "others like them needs more questions (--sd interaction=SD)."
        )
