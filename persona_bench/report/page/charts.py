"""Charts as the page's script draws them (`charts.js`): plain numbers, names and links.

A link is what the address of the responses behind a mark holds: task, model, persona, question.
NaN becomes None, which is drawn as nothing. Shares and accuracies are from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from persona_bench.report.names import group_of

Chart = dict[str, Any]
Link = Mapping[str, str]


def interval_chart(
    rows: Sequence[str],
    series: Mapping[str, pd.DataFrame],
    *,
    value: str,
    label: str,
    kinds: Mapping[str, str] | None = None,
    lines: Mapping[str, float] | None = None,
    links: Mapping[str, Link] | None = None,
    by: str = "persona",
) -> Chart:
    """Named rows, in each a point with its interval for each series.

    Args:
        rows: Names from the top.
        series: By name, a table with the row's name in column `by`, the `value`, its `low` and
            `high`, and where there is one the number `n` behind it.
        value: Column of the value.
        label: What stands at the axis.
        kinds: Kind of persona by row: colours and markers where there is one series.
        lines: Reference lines: name and place.
        links: The link of each series; the row's name is added to it as `persona`.
        by: Column of the rows' names.
    """
    values = []
    for table in series.values():
        own = table.set_index(by)
        values.append(
            [
                [
                    *(_plain(own.at[name, column]) for column in (value, "low", "high")),
                    _plain(own.at[name, "n"]) if "n" in own else None,
                ]
                if name in own.index
                else None
                for name in rows
            ]
        )
    return {
        "kind": "intervals",
        "label": label,
        "rows": [str(name) for name in rows],
        "groups": [group_of(kinds[name]) if kinds else "" for name in rows],
        "series": list(series),
        "values": values,
        "lines": [[name, _plain(at)] for name, at in (lines or {}).items() if at == at],
        "links": [dict((links or {}).get(name, {})) for name in series],
    }


def map_chart(data: pd.DataFrame, link: Link) -> Chart:
    """Personas downwards, questions to the right: `figures.heat_map.heat_map_data`.

    Questions that nobody solved are counted, not drawn.
    """
    solved = data[data["question_accuracy"] > 0]
    unsolved = data["question"].nunique() - solved["question"].nunique()
    about = f"{solved['question'].nunique()} questions, from the easiest to the hardest"
    about += f"; {unsolved} more that nobody solved" if unsolved else ""
    return grid_chart(solved, "question", about, link)


def grid_chart(data: pd.DataFrame, across: str, about: str, link: Link) -> Chart:
    """Personas downwards, something else to the right: how many responses are correct.

    Args:
        data: One row per persona and place across, all places of a persona together: `persona`,
            `across`, and the counts `correct`, `scored` and `responses`.
        across: Column of the places to the right, named after what they are.
        about: Stands below.
        link: The link of the model and task; a cell adds its question and persona.
    """
    personas = [str(name) for name in data["persona"].unique()]
    columns = [str(name) for name in data[across].unique()]
    codes: dict[tuple[Any, ...], int] = {}
    counts = (map(_plain, data[name]) for name in ("correct", "scored", "responses"))
    cells = [codes.setdefault(cell, len(codes)) for cell in zip(*counts, strict=True)]
    return {
        "kind": "map",
        "rows": personas,
        "across": across,
        "columns": columns,
        "cells": np.reshape(cells, (len(personas), len(columns))).tolist(),
        "values": [list(cell) for cell in codes],
        "about": about,
        "links": [dict(link)],
    }


def point_chart(
    table: pd.DataFrame, x: str, y: str, labels: tuple[str, str], links: Mapping[str, Link]
) -> Chart:
    """Checkpoints by two numbers with their intervals; seeds of a method share its colour.

    Args:
        table: `method`, `seed`, and for `x` and `y` the value, `_low` and `_high`.
        x, y: Columns.
        labels: Of the axes.
        links: By method.
    """
    points = [
        {
            "name": str(row["method"]),
            "seed": str(row["seed"]),
            "x": [_plain(row[f"{x}{end}"]) for end in ("", "_low", "_high")],
            "y": [_plain(row[f"{y}{end}"]) for end in ("", "_low", "_high")],
            "link": dict(links.get(str(row["method"]), {})),
        }
        for row in table.to_dict("records")
    ]
    return {"kind": "points", "label": labels[0], "up": labels[1], "points": points}


def line_chart(
    curves: Mapping[str, pd.DataFrame], x: str, y: tuple[str, ...], labels: tuple[str, str]
) -> Chart:
    """Curves: `y` has one column, or three: the curve, and the low and high edge of a ribbon."""
    return {
        "kind": "lines",
        "label": labels[0],
        "up": labels[1],
        "curves": [
            {"name": name, "points": [list(map(_plain, row)) for row in own[[x, *y]].to_numpy()]}
            for name, own in curves.items()
        ],
    }


def bar_chart(
    data: pd.DataFrame,
    names: Mapping[str, str],
    link: Link,
    filters: Mapping[str, Link] | None = None,
) -> Chart:
    """Stacked shares in rows: `figures.failures.failures_data` or `figures.voice.voice_data`.

    Args:
        data: Of one model: persona, outcome, count and responses.
        names: Of the outcomes, as they are shown.
        link: The link of the model and task.
        filters: What each outcome adds to the link; by default the verdict and reason that it is
            named after. Outcomes out of voice are pale.
    """
    rows = [str(name) for name in data["persona"].unique()]
    outcomes = list(data["outcome"].unique())
    found = zip(data["persona"], data["outcome"], data["count"], strict=True)
    counts = {(persona, outcome): _plain(n) for persona, outcome, n in found}
    added = [dict(filters[each]) if filters else _filters(each) for each in outcomes]
    totals = data.groupby("persona")["responses"].first()
    return {
        "kind": "bars",
        "label": "Share of responses",
        "rows": rows,
        "parts": [names[outcome] for outcome in outcomes],
        "looks": [each["verdict"] for each in added],
        "pale": [each.get("voice") == "out of voice" for each in added],
        "filters": added,
        "counts": [[counts.get((row, outcome), 0) for outcome in outcomes] for row in rows],
        "totals": [int(totals[row]) for row in rows],
        "links": [dict(link)],
    }


def _filters(outcome: str) -> dict[str, str]:
    verdict, _, reason = outcome.partition(":")
    return {"verdict": verdict} | ({"reason": reason} if reason else {})


def _plain(value: Any) -> float | int | None:
    """A number for JSON, with as many digits as a screen can show."""
    if value is None or not math.isfinite(number := float(value)):
        return None
    return int(number) if number.is_integer() else float(f"{number:.5g}")
