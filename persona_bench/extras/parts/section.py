"""Where the variance of a model's verdicts lies, and the published contrasts: a section of `score`.

Tables are plain ASCII but for names, as in `report.tables`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from persona_bench.extras.parts.contrasts import Contrasts, contrasts
from persona_bench.extras.parts.variance import VarianceParts, variance_parts
from persona_bench.report.names import file_stem
from persona_bench.report.tables import format_p, interval, number, plain_table, printable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from persona_bench.report.runs import Settings

SHOWN_PARTS = (
    "question", "persona", "interaction", "sampling", "interaction_or_noise", "wording", "placebo",
)  # fmt: skip
"""Rows of the terminal's table, if they are defined; the files have all."""
BETWEEN = {"persona": "personas", "wording": "wordings of a persona", "placebo": "placebos"}


@dataclass(frozen=True)
class PartsSection:
    """Variance parts and contrasts of one model on one task, as `report.sections.Section` asks."""

    parts: VarianceParts
    contrasts: Contrasts

    def record(self) -> dict[str, Any]:
        """What stands in the JSON file beside the stability metrics."""
        return parts_record(self.parts, self.contrasts)

    def write(self, folder: Path, *, task: str) -> list[Path]:
        """Writes the tables; see `write_parts`."""
        return write_parts(self.parts, self.contrasts, folder, task=task)

    def print(self, console: Console) -> None:
        """Prints the tables; see `print_parts`."""
        print_parts(self.parts, self.contrasts, console)

    def lines(self) -> list[str]:
        """How much lies between personas, wordings and placebos, where the last two were asked."""
        table = self.parts.table
        if not {"wording", "placebo"} & set(table.index):
            return []
        told = [
            f"{words} {share:.1%} [{low:.1%}, {high:.1%}]"
            for part, words in BETWEEN.items()
            if part in table.index
            for share, low, high in [table.loc[part, ["share", "share_low", "share_high"]]]
            if share == share  # NaN where all responses are alike
        ]
        return told and [f"Of the variance of a verdict lies between {', '.join(told)}"]


def section(outcomes: pd.DataFrame, groups: pd.DataFrame, settings: Settings) -> PartsSection:
    """The section of one model on one task; `groups` is its table of groups."""
    given = asdict(settings)
    return PartsSection(
        variance_parts(outcomes, **given, groups=groups), contrasts(outcomes, **given)
    )


def print_parts(parts: VarianceParts, compared: Contrasts, console: Console) -> None:
    """Print where the variance lies, and what could be compared with the control."""
    by_part = {  # all shares are undefined where no verdict differs from another
        str(row["part"]): row
        for row in parts.table.reset_index().to_dict("records")
        if row["share"] == row["share"]
    }
    separable = "sampling" in by_part
    shown = [
        p for p in SHOWN_PARTS if p in by_part and not (p == "interaction_or_noise" and separable)
    ]
    if shown:
        table = _table(
            "Where the variance of a verdict lies", parts.confidence, "share", "of the variance"
        )
        for part in shown:
            row = by_part[part]
            ends = interval((row["share_low"], row["share_high"]))
            _add(table, part, number(row["share"]), ends, row["definition"])
        console.print(table)
    if len(compared.table):
        _print_contrasts(compared, console)
    for name, reason in compared.absent.items():
        console.print(Text(f"No {name}: {printable(reason)}."))
    for note in (*parts.notes, *compared.notes):
        console.print(Text(f"Note: {printable(note)}."))


def _print_contrasts(compared: Contrasts, console: Console) -> None:
    table = _table(
        f"Contrasts; control: {printable(compared.control)}",
        compared.confidence,
        "value",
        "what it is",
    )
    for row in compared.table.reset_index().to_dict("records"):
        name = str(row["contrast"])
        by_chance = f" (by chance {number(row['if_no_effect'])})" if name == "robustness" else ""
        text = f"{format_p(row['p_value'])}{by_chance}; {row['definition']}"
        _add(table, name, number(row["value"]), interval((row["low"], row["high"])), text)
    console.print(table)


def _table(title: str, confidence: float, value: str, what: str) -> Table:
    table = plain_table(title)
    table.add_column("", overflow="fold", max_width=20)
    table.add_column(value, justify="right", no_wrap=True)
    table.add_column(f"{confidence:.0%} interval", no_wrap=True)
    table.add_column(what, overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


def write_parts(
    parts: VarianceParts, compared: Contrasts, folder: Path, *, task: str
) -> list[Path]:
    """Write the tables as CSV; returns the files, in this order.

    `<task>_variance.csv` (one row per part), `<task>_groups.csv` (a row for each kind of persona,
    level and subject), `<task>_contrasts.csv` (one row per contrast) and
    `<task>_persona_contrasts.csv` (one row per persona, against the control). Tables without a row
    are not written, and one left there by an earlier scoring is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, pd.DataFrame] = {
        "variance": parts.table.reset_index(),
        "groups": parts.groups,
        "contrasts": compared.table.reset_index(),
        "persona_contrasts": compared.per_persona,
    }
    paths = []
    for name, table in tables.items():
        path = folder / f"{file_stem(task)}_{name}.csv"
        if len(table):
            table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
    return paths


def parts_record(parts: VarianceParts, compared: Contrasts) -> dict[str, Any]:
    """What stands in the JSON file beside the stability metrics."""
    return {"variance_parts": parts.to_dict(), "contrasts": compared.to_dict()}
