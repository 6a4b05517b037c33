"""A comparison of two models in the terminal and as files."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from rich.text import Text

from persona_bench.report.names import GENERATED, file_stem, generation_notes
from persona_bench.report.tables import bare_p, count, interval, number, plain_table, printable
from persona_bench.scoring.compare import TESTS

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from persona_bench.scoring.compare import Comparison


def print_comparison(result: Comparison, *, title: str, a: str, b: str, console: Console) -> None:
    """Print what differs between two models, and what of it is more than noise."""
    console.print(Text(printable(f"{title}: b - a"), style="bold"))
    for letter, model in (("a", a), ("b", b)):
        console.print(Text(printable(f"{letter}: {model}")))
    console.print(
        Text(
            f"{count(result.n_questions, 'question')} x {count(result.n_personas, 'persona')}, "
            f"the same for both; intervals: {result.confidence:.0%}"
        )
    )
    for note in generation_notes(result.notes):
        console.print(Text(f"Note: {printable(note[0].lower() + note[1:])}"))
    console.print(_metrics(result))
    for test in dict.fromkeys(result.metrics["test"]):
        console.print(Text(f"{test}: {TESTS[test]}"))
    console.print(_personas(result))
    for note in result.notes:
        if note.startswith(GENERATED):  # said above the numbers
            continue
        console.print(Text(f"Note: {printable(note)}."))


def _add_numbers(table: Table, confidence: float) -> None:
    for column in ("a", "b", "b - a"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(f"{confidence:.0%} interval", no_wrap=True)


def _numbers(row: dict[Hashable, Any]) -> list[Text]:
    signed = "n/a" if row["difference"] != row["difference"] else f"{row['difference']:+.3f}"
    ends = (row["low"], row["high"])
    return [Text(x) for x in (number(row["a"]), number(row["b"]), signed, interval(ends))]


def _metrics(result: Comparison) -> Table:
    table = plain_table("Accuracy over personas, and stability")
    table.add_column("metric", no_wrap=True)
    _add_numbers(table, result.confidence)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("test", no_wrap=True)
    for row in result.metrics.to_dict("records"):
        p, test = bare_p(row["p_value"]), Text(row["test"])
        table.add_row(Text(row["metric"]), *_numbers(row), p, test)
    return table


def _personas(result: Comparison) -> Table:
    table = plain_table(
        "Accuracy by persona",
        "p: signs flipped; Holm: the same, corrected for the number of personas",
    )
    table.add_column("persona", overflow="fold")
    _add_numbers(table, result.confidence)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("Holm", justify="right", no_wrap=True)
    for row in result.per_persona.to_dict("records"):
        name = Text(printable(str(row["persona"])))
        table.add_row(name, *_numbers(row), bare_p(row["p_value"]), bare_p(row["p_holm"]))
    return table


def write_comparison(
    result: Comparison, folder: Path, *, task: str, record: dict[str, Any]
) -> list[Path]:
    """`<task>_comparison.csv` and `.json`, and `<task>_comparison_personas.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{file_stem(task)}_comparison"
    paths = [stem.with_name(stem.name + end) for end in (".csv", "_personas.csv", ".json")]
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    result.metrics.to_csv(paths[0], index=False)
    result.per_persona.to_csv(paths[1], index=False)
    paths[2].write_text(text + "\n", encoding="utf-8")
    return paths
