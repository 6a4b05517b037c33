"""Whether personas leave a trace: identifiability and persona information, printed and written.

Tables are plain ASCII but for names, as in `tables`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from persona_bench.report.names import file_stem
from persona_bench.report.tables import (
    PADDING,
    count,
    format_p,
    interval,
    number,
    printable,
    with_ties,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from persona_bench.scoring.identifiability import Identifiability
    from persona_bench.scoring.information import Information
    from persona_bench.scoring.voice import Voice

MEANING = (
    "These tell whether personas leave a trace in the responses, not whether the trace is good: a "
    "model that plays every role badly, each in its own way, leaves one too."
)
WITHOUT_MODEL = (
    "Persona information needs the model that gave the responses: add --model hf --model-args "
    "pretrained=... (with the arguments of the run)."
)
DEFINITIONS: dict[str, str] = {
    "identifiability": "share of responses whose persona a classifier names that learned on "
    "other questions",
    "information": "mean log-likelihood of a response under its own persona, less that under "
    "the others (log of their mean likelihood), in nats a token",
}


def print_trace(
    found: Identifiability, information: Information | None, *, title: str, console: Console
) -> None:
    """Print both measures of one model on one task; names are shown as they are."""
    console.print(Text(printable(title), style="bold"))
    parts = [
        count(found.n_questions, "question"),
        count(found.n_personas, "persona"),
        count(found.n_responses, "response"),
    ]
    console.print(Text(", ".join(parts) + f"; {found.features}"))
    console.print(_measures(found, information))
    console.print(_personas(found, information))
    for line in conclusions(found, information):
        console.print(Text(line, style="bold"))
    console.print(Text(MEANING))
    if found.missing:
        console.print(Text(f"{count(found.missing, 'response')} missing (API errors): left out."))
    notes = dict.fromkeys((*found.notes, *(information.notes if information else ())))
    for note in notes:
        console.print(Text(f"Note: {printable(note)}."))


def conclusions(found: Identifiability, information: Information | None) -> list[str]:
    """A sentence for each measure."""
    return trace_sentences(trace_record(found, information))


def trace_sentences(record: Mapping[str, Any]) -> list[str]:
    """A sentence for each measure, of what `trace_record` gave."""
    found, information = record["identifiability"], record["persona_information"]
    told = {name: _number(found[name]) for name in ("accuracy", "chance", "p_value")}
    lines = [
        f"Identifiability: {found['conclusion']} ({number(told['accuracy'])} where chance is "
        f"{number(told['chance'])}; {format_p(told['p_value'])})."
    ]
    if not information:
        return [*lines, WITHOUT_MODEL]
    where = "above" if information["conclusion"] == "trace" else "not above"
    band = (_number(information["no_trace"]["low"]), _number(information["no_trace"]["high"]))
    return [
        *lines,
        f"Persona information: {information['conclusion']} "
        f"({number(_number(information['information']))} nats a token, {where} the no-trace band "
        f"{interval(band)}; {format_p(_number(information['p_value']))}).",
    ]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _measures(found: Identifiability, information: Information | None) -> Table:
    table = _table()
    table.add_column("measure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column(f"{found.confidence:.0%} interval", no_wrap=True)
    table.add_column("no trace", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    name = "identifiability"
    _add(
        table, name, number(found.accuracy), interval(found.interval), interval(found.no_trace),
        DEFINITIONS[name],
    )  # fmt: skip
    if information is not None:
        name = "information"
        _add(
            table, name, number(information.value), interval(information.interval),
            interval(information.no_trace), DEFINITIONS[name],
        )  # fmt: skip
    return table


def _personas(found: Identifiability, information: Information | None) -> Table:
    table = _table("By persona, the most recognisable first")
    table.add_column("persona", overflow="fold", min_width=12)
    columns = ["recall", f"{found.confidence:.0%} interval"]
    if information is not None:
        columns += ["information", f"{information.confidence:.0%} interval"]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    if information is None:  # an 80-column terminal has no room for both; the files have all
        table.add_column("taken for", overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    for row in personas_table(found, information).to_dict("records"):
        cells = [number(row["recall"]), interval((row["recall_low"], row["recall_high"]))]
        if information is None:
            others = found.confusion.loc[row["persona"]].drop(row["persona"])
            most = others.index[(others > 0) & (others == others.max())]
            cells += [with_ties(list(most)) if len(most) else ""]
        else:
            ends = row["information_low"], row["information_high"]
            cells += [number(row["information"]), interval(ends)]
        _add(table, str(row["persona"]), *cells, f"{row['n']:,}")
    return table


def personas_table(found: Identifiability, information: Information | None) -> pd.DataFrame:
    """A row a persona: recall and what else it is taken for, and its information where known."""
    table = found.per_persona.rename(columns={"low": "recall_low", "high": "recall_high"})
    if information is None:
        return table
    named = {"low": "information_low", "high": "information_high"}
    named["no_trace"] = "information_no_trace"
    other = information.per_persona.drop(columns=["n", "n_questions"]).rename(columns=named)
    return table.merge(other, on="persona", how="left")


def write_trace(
    found: Identifiability,
    information: Information | None,
    folder: Path,
    *,
    model: str,
    task: str,
    provenance: dict[str, Any],
    likelihoods: pd.DataFrame | None = None,
    right: Sequence[Voice] = (),
) -> list[Path]:
    """Write one model's measures on one task; returns the files, in this order.

    `<task>_trace.json` (all of it, with `provenance`: how the numbers were made),
    `<task>_trace_personas.csv` (one row per persona), `<task>_trace_confusion.csv` (counts: a row a
    persona, a column for what it was taken for), and, where there are any,
    `<task>_trace_likelihoods.csv` (a row for each response and candidate persona). Files already
    there are replaced. `right`: of a graded task, how often responses are right and have a trace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{file_stem(task)}_trace"
    record = {
        "model": model,
        "task": task,
        "meaning": MEANING,
        "provenance": provenance,
        **trace_record(found, information),
        "right_and_traced": {each.judges["judge"].iloc[0]: each.to_dict() for each in right},
    }
    json_path = folder / f"{stem}.json"
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    json_path.write_text(text + "\n", encoding="utf-8", newline="\n")
    tables = {
        "personas": personas_table(found, information),
        "confusion": found.confusion.reset_index(),
        "likelihoods": likelihoods,
    }
    paths = [json_path]
    for name, table in tables.items():
        path = folder / f"{stem}_{name}.csv"
        if table is None:
            path.unlink(missing_ok=True)  # of an earlier call, and of another model perhaps
            continue
        table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
        paths.append(path)
    return paths


def trace_record(found: Identifiability, information: Information | None) -> dict[str, Any]:
    """Both measures as plain data."""
    return {
        "identifiability": {**found.to_dict(), "definition": DEFINITIONS["identifiability"]},
        "persona_information": information
        and {**information.to_dict(), "definition": DEFINITIONS["information"]},
    }


def _table(title: str = "") -> Table:
    return Table(
        title=title or None,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=PADDING,
    )


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))
