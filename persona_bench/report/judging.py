"""A judging in the terminal: its estimates, what was judged, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from persona_bench.judge.run import Finished
    from persona_bench.judge.session import Estimate


def say(text: str) -> None:
    """A line for the person who waits."""
    Console(stderr=True).print(escape(text), soft_wrap=True)


def tell(found: Finished) -> None:
    """Says what was asked, and what is missing."""
    for each in found.verdicts:
        missing = ", ".join(f"{reason} {n:,}" for reason, n in each.unscored.items())
        say(
            f"{each.task} of {Path(each.model).name}, {each.judge}: {each.done.made:,} verdicts, "
            f"{each.done.stored:,} from the store; unscored: {missing or 'none'}"
        )
        if done := each.published:
            say(
                f"{each.task} of {Path(each.model).name}, {each.judge}, as published: "
                f"{done.made:,} answers, {done.stored:,} from the store"
            )
    if found.without_examples:
        say(f"{found.without_examples:,} questions were judged without examples of the scores")
    if found.failed:
        say(f"{found.failed:,} requests failed for good: the same command asks for them again")
    if found.cost is not None:
        say(f"Cost: ${found.cost:.4f}")


def print_estimates(rows: list[Estimate]) -> None:
    """Prints what judging would take: one row per judge and kind of call."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("judge", "what", "calls", "in the store", "prompt tokens", "new", "about $"):
        table.add_column(name, justify="left" if name in ("judge", "what") else "right")
    for row in rows:
        table.add_row(
            escape(row.judge), row.what, f"{row.calls:,}",
            "?" if row.stored is None else f"{row.stored:,}", f"{row.prompt_tokens:,}",
            f"{row.completion_tokens:,}", "?" if row.cost is None else f"{row.cost:,.2f}",
        )  # fmt: skip
    out = Console()
    out.print(table)
    if any(row.stored is None for row in rows):
        out.print("What is in the store is not known: the endpoint does not answer.")
    known = [row.cost for row in rows if row.cost is not None]
    total = f"about ${sum(known):,.2f}" if known else "the cost is not known without --price"
    out.print(
        f"{sum(row.calls for row in rows):,} calls, {total}. Tokens are estimated from characters; "
        "nothing was asked.",
        soft_wrap=True,
    )
