"""Drift over a conversation: what it is computed from, in the terminal, as files, in sentences."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.text import Text

from persona_bench.report.fidelity import table_of
from persona_bench.report.names import file_stem
from persona_bench.report.tables import count, format_p, interval, number, printable, with_ties
from persona_bench.scoring.drift import (
    LEVEL,
    UNIT,
    Drift,
    DriftComparison,
    DriftError,
    by_task,
    compare_drift,
    drift,
)
from persona_bench.scoring.information import response_information
from persona_bench.scoring.voice import voice_scores

if TYPE_CHECKING:
    from rich.console import Console

    from persona_bench.results.runs import Run, TaskResults
    from persona_bench.scoring.stability import Stability

NAMES = {
    "accuracy": "accuracy",
    "pss": "plain PSS",
    "pss_corrected": "corrected PSS",
    "fidelity": "fidelity",
    "information": "persona information",
}
NAMED = 6
"""Personas that a sentence names."""


def drift_table(parts: Sequence[TaskResults]) -> pd.DataFrame:
    """The responses of one model to a task at its numbers of turns, as `scoring.drift` takes them.

    Placebos, which are no personas, are left out. Fidelity is what judges gave, of a graded task
    for the voice, with a sample weighted back; information needs a trace.

    Raises:
        DriftError: the numbers of turns were asked under different settings.
    """
    if differing := _differing(parts):
        raise DriftError(
            f"its numbers of turns were asked under different settings ({differing}), so that what "
            "changes may be theirs: run all of them alike, in one output folder of their own"
        )
    tables = []
    for each in parts:
        rows = each.responses if each.outcomes is None else each.outcomes
        rows = rows.loc[
            rows["kind"] != "placebo", [*UNIT, "kind", "script", "turns", "response", "correct"]
        ]
        rows = rows.rename(columns={"correct": "accuracy"}).astype({"question": str})
        if (said := _fidelity(each)) is not None:
            rows = rows.merge(said.astype({"question": str}), on=UNIT, how="left")
        if each.likelihoods is not None:
            told = response_information(each.likelihoods).astype({"question": str})
            rows = rows.merge(told, on=UNIT, how="left")
        tables.append(rows)
    return pd.concat(tables, ignore_index=True)


def _fidelity(part: TaskResults) -> pd.DataFrame | None:
    """The judges' score of each response; of the voice of a sample, as it is weighted back."""
    if part.outcomes is None:
        judged = part.verdicts
        if judged is None:
            return None
        return judged.groupby(UNIT, as_index=False).agg(fidelity=("score", "mean"))
    if part.voice is None:
        return None
    return voice_scores(part.outcomes, part.voice).rename(columns={"value": "fidelity"})


def _differing(parts: Sequence[TaskResults]) -> str:
    """Settings other than the number of turns that are not the same at all of them."""
    told = [{**each.samples.generation, "turns": 0} for each in parts]
    names = sorted({name for each in told for name in each})
    values = {
        name: list(dict.fromkeys(str(each.get(name, "default")) for each in told)) for name in names
    }
    return ", ".join(f"{name} {' and '.join(v)}" for name, v in values.items() if len(v) > 1)


def drifting(tasks: Mapping[str, TaskResults]) -> dict[str, list[str]]:
    """One model's tasks that it was asked after several numbers of turns, with their parts."""
    asked = {
        name: int(each.samples.facts["turns"])
        for name, each in tasks.items()
        if "turns" in each.samples.facts
    }
    return by_task(asked)


def drift_of(
    parts: Sequence[TaskResults], confidence: float, stabilities: Mapping[int, Stability]
) -> Drift | None:
    """The drift of one model on a task; None where nothing was measured.

    Numbers of turns that don't belong together give a warning, and None.
    """
    try:
        table = drift_table(parts)
    except DriftError as error:
        warnings.warn(f"{parts[0].samples.task}: no drift: {error}", stacklevel=1)
        return None
    try:
        return drift(table, stabilities=stabilities, confidence=confidence)
    except DriftError:
        return None


def compared_drifts(runs: Sequence[Run], confidence: float) -> dict[str, dict[str, Any]]:
    """What differs in drift between the first model and each other one, by task and model.

    Only numbers of turns that both have count. What can't be compared gives a warning.
    """
    found: dict[str, dict[str, Any]] = {}
    first = drifting(runs[0].tasks)
    for run in runs[1:]:
        for task, names in drifting(run.tasks).items():
            if task not in first:
                continue
            both = [name for name in first[task] if name in names]
            pair = f"{task}: drift of {runs[0].name} and {run.name}"
            try:
                tables = (
                    [drift_table([each.tasks[name] for name in both]) for each in (runs[0], run)]
                    if len(both) > 1
                    else []
                )
                if not tables:
                    raise DriftError("they have fewer than two numbers of turns in common")
                told = compare_drift(*tables, confidence=confidence)
            except DriftError as error:
                warnings.warn(f"{pair} is not compared: {error}", stacklevel=1)
                continue
            if {*both} != {*first[task], *names}:
                turns = ", ".join(str(each) for each in sorted(set(map(int, tables[0]["turns"]))))
                warnings.warn(f"{pair} is compared over {turns} turns, which both have",
                              stacklevel=1)  # fmt: skip
            if len(told.slopes):
                found.setdefault(task, {})[run.name] = told
    return found


# ------------------------------------------------------------------------------- in words
def drift_lines(found: Drift) -> list[str]:
    """What drifts, and which personas can no longer be told from the control, a sentence each."""
    lines = []
    for row in found.slopes[found.slopes["persona"] == ""].to_dict("records"):
        at = found.levels[found.levels["measure"] == row["measure"]].sort_values("turns")
        values = " → ".join(number(value) for value in at["value"])
        lines.append(
            f"{_upper(NAMES[row['measure']])} after {_turns(found)} turns: {values}; "
            f"{_change(row['slope'])} per round {_ends(row)} ({format_p(row['p_value'])}), over "
            f"{count(int(row['conversations']), 'conversation')}."
        )
    if len(found.lost):
        lines.append(_lost(found))
    return [*lines, *(f"Note: {note}." for note in found.notes)]


def _upper(name: str) -> str:
    return name[0].upper() + name[1:]


def _turns(found: Drift) -> str:
    return " → ".join(map(str, found.turns))


def _ends(row: Mapping[Any, Any]) -> str:
    if math.isnan(row["low"]):
        return "(no interval: nothing varies between conversations, or there are too few)"
    return f"[{_change(row['low'])}, {_change(row['high'])}]"


def _change(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{round(value, 4) + 0.0:+.4f}"  # no -0.0000


def _lost(found: Drift) -> str:
    parts = []
    lost = found.lost
    for status, words in (("told", "told to the end"), ("never told", "never told")):
        names = list(lost.loc[lost["status"] == status, "persona"])
        if names:
            parts.append(f"{words}: {_listed(names)}")
    for at, own in lost[lost["status"] == "lost"].groupby("lost_from"):
        parts.append(f"no longer from {at:.0f} turns on: {_listed(list(own['persona']))}")
    return (
        f"Told from {found.control!r} by a classifier that learned on other conversations (each "
        f"persona by itself, p at most {LEVEL:.2f}): {'; '.join(parts)}."
    )


def _listed(names: Sequence[str]) -> str:
    shown = with_ties(names).removesuffix(" (tie)") if len(names) <= NAMED else ""
    return shown or f"{len(names)} personas ({', '.join(names[:NAMED])}, ...)"


def drift_comparison_lines(found: DriftComparison, a: str, b: str) -> list[str]:
    """What differs in drift between two models, a sentence per measure."""
    rows = found.slopes[found.slopes["persona"] == ""]
    return [
        f"Drift of {NAMES[row['measure']]} per round: {a} {_change(row['a'])}, {b} "
        f"{_change(row['b'])}, difference {_change(row['difference'])} {_ends(row)} "
        f"({format_p(row['p_value'])})."
        for row in rows.to_dict("records")
    ]


def print_drift(found: Drift, title: str, console: Console) -> None:
    """Prints a row for each number of turns, and the conclusions."""
    wide = {(row["measure"], row["turns"]): row for row in found.levels.to_dict("records")}
    measures = [name for name in NAMES if name in set(found.levels["measure"])]
    heads = [head for name in measures for head in (NAMES[name], f"{found.confidence:.0%}")]
    table = table_of(title, "turns", *heads, "told from the control")
    for turns in found.turns:
        cells = []
        for name in measures:
            row = wide[name, turns]
            cells += [number(row["value"]), interval((row["low"], row["high"]))]
        own = found.told[found.told["turns"] == turns]
        told = f"{int(own['told'].sum())} of {len(own)}" if len(own) else "n/a"
        table.add_row(str(turns), *cells, told)
    console.print(table)
    for line in drift_lines(found):
        console.print(Text(printable(line)), soft_wrap=True)


# ------------------------------------------------------------------------------- files
def write_drift(found: Drift, folder: Path, *, task: str, record: Mapping[str, Any]) -> list[Path]:
    """`<task>_drift.json`, and tables: `_levels`, `_slopes`, `_told` and `_lost`, as CSV."""
    tables = {name: getattr(found, name) for name in ("levels", "slopes", "told", "lost")}
    return _write(tables, f"{file_stem(task)}_drift", folder, {**record, **found.to_dict()})


def write_drift_comparison(
    found: DriftComparison, folder: Path, *, task: str, record: Mapping[str, Any]
) -> list[Path]:
    """`<task>_drift_comparison.json` and `_slopes.csv`."""
    return _write({"slopes": found.slopes}, f"{file_stem(task)}_drift_comparison", folder, record)


def _write(
    tables: Mapping[str, pd.DataFrame], stem: str, folder: Path, record: Mapping[str, Any]
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.json"]
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    paths[0].write_text(text + "\n", encoding="utf-8", newline="\n")
    for name, table in tables.items():
        paths.append(folder / f"{stem}_{name}.csv")
        table.to_csv(paths[-1], index=False, encoding="utf-8", lineterminator="\n")
    return paths
