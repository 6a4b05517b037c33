"""How answers were found, and what a strict grader would conclude: in the terminal and as files."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from persona_bench.report.names import file_stem
from persona_bench.report.tables import interval, number, plain_table, printable
from persona_bench.scoring.sensitivity import ROUTES, UNFOUND, GraderSensitivity

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from persona_bench.scoring.stability import Stability

TITLE = "How answers were found"
NOTES = {
    "": "shares of all responses",
    "last": "last: the last number or expression",
    UNFOUND: "none: no answer was found",
    "strict": "strict: accuracy if only boxed, tagged and stated answers count",
}
NOTE = "; ".join(NOTES.values())
_IN_WORDS = {
    "boxed": "is boxed",
    "tag": "stands in an answer tag",
    "stated": "is stated in words",
    "last": "is the last number or expression of its response",
}


def occurring_routes(found: GraderSensitivity) -> list[str]:
    """The routes by which at least one answer was found, in the order of `ROUTES`."""
    return [route for route in ROUTES if (found.table[route] > 0).any()]


def sensitivity_lines(found: GraderSensitivity) -> list[str]:
    """What a strict grader would give; a second sentence where its conclusion differs."""
    routes = occurring_routes(found)
    alone = f"Every answer that was found {_IN_WORDS[routes[0]]}. " if len(routes) == 1 else ""
    if "last" not in routes:
        return [
            f"{alone}A strict grader (boxed, tagged or stated answers only) would give the same "
            "verdicts."
        ]
    lines = [
        f"{alone}A strict grader (boxed, tagged or stated answers only) would give "
        f"{_numbers(found.strict)}; as graded: {_numbers(found.headline)}."
    ]
    if found.disagree:
        lines.append(
            f"The conclusion depends on the grader: {found.headline.conclusion} as graded, "
            f"{found.strict.conclusion} under a strict grader."
        )
    return lines


def _numbers(result: Stability) -> str:
    corrected = number(result.pss_corrected)
    if not math.isnan(result.pss_corrected):
        corrected += f" {interval(result.pss_corrected.interval)}"
    return (
        f"mean accuracy {number(result.mean)}, PSS {number(result.pss)}, corrected PSS "
        f"{corrected} ({result.conclusion})"
    )


def print_sensitivity(found: GraderSensitivity, console: Console) -> None:
    """Print a table of routes where there is more than one, and what a strict grader would give."""
    if len(routes := occurring_routes(found)) > 1:
        shown = [route for route in (*routes, UNFOUND) if (found.table[route] > 0).any()]
        notes = [NOTES[name] for name in NOTES if name in ("", "strict", *shown)]
        table = plain_table(f"{TITLE}, by persona", "; ".join(notes))
        table.add_column("persona", overflow="fold")
        for name in (*shown, "accuracy", "strict"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in found.table.to_dict("records"):
            numbers = [row[name] for name in (*shown, "accuracy", "strict_accuracy")]
            table.add_row(Text(printable(row["persona"])), *map(number, numbers))
        console.print(table)
    line, *rest = sensitivity_lines(found)
    console.print(Text(line))
    for line in rest:
        console.print(Text(line, style="bold"))


def write_sensitivity(found: GraderSensitivity | None, folder: Path, *, task: str) -> list[Path]:
    """Write `<task>_routes.csv`, one row per persona; None removes one of an earlier scoring."""
    path = folder / f"{file_stem(task)}_routes.csv"
    if found is None:
        path.unlink(missing_ok=True)
        return []
    folder.mkdir(parents=True, exist_ok=True)
    found.table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
    return [path]
