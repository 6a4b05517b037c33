"""The persona, its wording, or any system prompt: in the terminal, as files, and on the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from persona_bench.report.fidelity import table_of
from persona_bench.report.names import file_stem
from persona_bench.report.page.contents import PageTable
from persona_bench.report.tables import count, format_p, interval, number, printable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from persona_bench.scoring.wordings import PromptEffects

TESTS = {
    "p_any": "all system prompts alike",
    "p_wording": "wordings of a persona alike",
    "p_persona": "personas alike beyond their wording",
    "p_placebo": "placebos alike",
}


def prompt_lines(found: PromptEffects) -> list[str]:
    """The answer first, then what it rests on, a line each."""
    lines = [f"{found.sentence}."]
    if not math.isnan(found.pss_beyond_placebo):
        prompts = f"{found.drawn} personas, {found.drawn} placebos"
        lines.append(
            f"PSS beyond placebo {found.pss_beyond_placebo:.2f} "
            f"{_ends(found.pss_beyond_placebo.interval)}: worst of {prompts}; lowest measured "
            f"{found.worst_persona} and {found.worst_placebo}"
        )
    told = [
        f"{words} {format_p(getattr(found, name))}"
        for name, words in TESTS.items()
        if not math.isnan(getattr(found, name))
    ]
    if told:
        lines.append(f"If chance alone were at work: {', '.join(told)}")
    return lines


def _ends(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def tables(found: PromptEffects) -> dict[str, tuple[str, pd.DataFrame]]:
    """The tables that are there, with their titles, by the names of their files."""
    both = {
        "wordings": ("Accuracy by wording", found.wordings),
        "placebos": ("Accuracy by placebo", found.placebos),
    }
    return {name: each for name, each in both.items() if len(each[1])}


def print_prompts(found: PromptEffects, console: Console) -> None:
    """Prints the tables, and the lines."""
    for title, rows in tables(found).values():
        names = [name for name in rows.columns if name not in ("low", "high")]
        names.insert(names.index("accuracy") + 1, f"{found.confidence:.0%} interval")
        table = table_of(title, *names)
        for row in rows.to_dict("records"):
            ends = interval((row.pop("low"), row.pop("high")))
            cells = [
                number(value) if isinstance(value, float) else printable(str(value))
                for value in row.values()
            ]
            cells.insert(list(row).index("accuracy") + 1, ends)
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
    for line in prompt_lines(found):
        console.print(Text(printable(line)), soft_wrap=True)


def write_prompts(found: PromptEffects | None, folder: Path, *, task: str) -> list[Path]:
    """`<task>_wordings.csv` and `<task>_placebos.csv`; what an earlier scoring left is removed."""
    there = tables(found) if found is not None else {}
    paths = []
    for name in ("wordings", "placebos"):
        path = folder / f"{file_stem(task)}_{name}.csv"
        if name in there:
            there[name][1].to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
    return paths


def prompt_page_tables(stem: str, found: PromptEffects | None) -> list[PageTable]:
    """The tables for the page."""
    if found is None:
        return []
    asked = f"{count(found.n_personas, 'persona')} without controls"
    return [
        PageTable(
            f"{stem}_{name}", title, rows, asked, {"accuracy": ".3f"}, {"accuracy": ("low", "high")}
        )
        for name, (title, rows) in tables(found).items()
    ]
