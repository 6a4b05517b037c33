"""What a dry run found, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from persona_bench.harness.dry_run import TaskPlan


def print_plans(plans: dict[str, list[TaskPlan]]) -> None:
    """Prints what would run: one row per model and task."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("model", "task", "responses", "done", "to do", "prompt tokens", "new at most"):
        table.add_column(name, justify="left" if name in ("model", "task") else "right")
    notes = []
    for model, parts in plans.items():
        for plan in parts:
            todo = plan.prompts - (plan.done or 0)
            tokens = "?" if plan.prompt_tokens is None else f"{plan.prompt_tokens:,}"
            done = "?" if plan.done is None else f"{plan.done:,}"
            table.add_row(
                escape(model), plan.task, f"{plan.prompts:,}", done, f"{todo:,}", tokens,
                f"{plan.most_tokens:,}",
            )  # fmt: skip
            notes += [plan.note] if plan.note and plan.note not in notes else []
    out = Console()
    out.print(table)
    for note in notes:
        out.print(f"done is not known: {escape(note)}", soft_wrap=True)
    out.print("Tokens are of what is to do; nothing was asked.", soft_wrap=True)
