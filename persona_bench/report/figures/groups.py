"""Stability by level of difficulty, and accuracy by kind of persona.

figure = groups_figure(by_level, scores_by_group(outcomes))
save_figure(figure, Path("figures/groups"), data=groups_data(by_level, kinds))
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from persona_bench.personas import KINDS
from persona_bench.report.figures.layout import BEYOND, MARGIN, TEXT_WIDTH, Page
from persona_bench.report.figures.rows import Rows, draw_interval
from persona_bench.report.figures.style import (
    limits,
    look_of,
    marker_look,
    share_ticks,
    styled,
)
from persona_bench.report.tables import undefined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from persona_bench.report.figures.style import PaperFigure
    from persona_bench.scoring.stability import Stability

COLUMNS = ["panel", "group", "metric", "value", "low", "high", "n_questions", "n_personas"]
LOOKS = {"pss": ("#8c9196", "s"), "pss_corrected": ("#0072b2", "o")}
NAMES = {"pss": "plain PSS", "pss_corrected": "corrected PSS"}
FLOOR: dict[str, Any] = {"facecolor": "#dcdcdc", "edgecolor": "#aaaaaa", "linewidth": 0.5}


def groups_figure(
    by_level: Mapping[str, Stability],
    kinds: pd.DataFrame,
    *,
    title: str = "",
    width: float = TEXT_WIDTH,
    confidence: float = 0.95,
) -> PaperFigure:
    """PSS and its noise floor by level of the questions; accuracy by kind of persona.

    Args:
        by_level: Stability on the questions of each level, easiest first.
        kinds: The rows `by == "kind"` of a table of groups (`scoring.groups`).
        title: What it is of: begins the caption.
        width: Inches. Panels are beside one another from 5 inches on.
        confidence: Level of the intervals in `kinds`.
    """
    data = groups_data(by_level, kinds)
    levels, groups = (data[data["panel"] == panel] for panel in ("level", "kind"))
    of_level = {f"{result.confidence:.0%}" for result in by_level.values()}
    percent = " and ".join(sorted(of_level | ({f"{confidence:.0%}"} if len(groups) else set())))
    with styled():
        handles = _level_handles(by_level) if len(levels) else []
        notes = [f"Bars: {percent} intervals"] if len(data) else []
        page = Page(title, notes, [handles], width=width)
        if data.empty:
            return page.say("no groups")
        beside = width >= 5 and len(levels) > 0 and len(groups) > 0
        label = 0.18 if beside else 0.38
        drawn = []
        for own, least, draw in ((levels, 0.42, _draw_level), (groups, 0.24, _draw_kind)):
            if len(own):
                names = _labels(own)
                rows = Rows(page, list(names.values()), least=least, label=label)
                drawn.append((own, dict(zip(names, rows.y, strict=True)), rows, draw))
        xlabels = {"level": "PSS by level (questions)", "kind": "Accuracy by kind (personas)"}
        if beside:
            half = page.width / 2
            cells = [
                (i * half + MARGIN + rows.left, half - rows.left - 2 * MARGIN - BEYOND)
                for i, (_, _, rows, _) in enumerate(drawn)
            ]
            tall = max(rows.total for *_, rows, _ in drawn)
            made = page.band(tall, cells, xlabels=list(xlabels.values()))
        else:
            made = [
                page.axes(rows.total, left=rows.left, xlabel=xlabels[own["panel"].iloc[0]])
                for own, _, rows, _ in drawn
            ]
        why = {str(level): undefined(result) for level, result in by_level.items()}
        for axes, (own, at, rows, draw) in zip(made, drawn, strict=True):
            rows.put_on(axes)
            axes.grid(axis="both")
            axes.set_xlim(*limits(own[["value", "low", "high"]].to_numpy().ravel().tolist()))
            share_ticks(axes.xaxis)
            draw(axes, own, at, why)
    return page.figure


def groups_data(by_level: Mapping[str, Stability], kinds: pd.DataFrame) -> pd.DataFrame:
    """What `groups_figure` shows: a row for each number, in order from the top.

    Panel `level` has the metrics `noise_floor` (low to high: the middle of what occurs when
    personas have no effect), `pss` (without an interval) and `pss_corrected`; panel `kind`
    has `accuracy`.
    """
    rows: list[dict[str, Any]] = []
    for level, result in by_level.items():
        for metric in ("noise_floor", "pss", "pss_corrected"):
            low, high = getattr(result, metric).interval
            if metric == "pss":  # the corrected one and the noise floor say how sure it is
                low = high = math.nan
            values = {"metric": metric, "value": getattr(result, metric), "low": low, "high": high}
            sizes = {"n_questions": result.n_questions, "n_personas": result.n_personas}
            rows.append({"panel": "level", "group": str(level), **values, **sizes})
    if "by" in kinds.columns:
        kinds = kinds[kinds["by"] == "kind"]
    place = {kind: i for i, kind in enumerate(KINDS)}
    if len(kinds):
        kinds = kinds.sort_values(
            "group", key=lambda names: names.map(lambda n: place.get(n, len(place))), kind="stable"
        )
    for row in kinds.to_dict("records"):
        values = {"metric": "accuracy", "value": row["accuracy"]}
        same = {name: row[name] for name in ("low", "high", "n_questions", "n_personas")}
        rows.append({"panel": "kind", "group": str(row["group"]), **values, **same})
    return pd.DataFrame(rows, columns=COLUMNS)


def _labels(data: pd.DataFrame) -> dict[str, str]:
    """How each group is named: with the number of its questions or personas."""
    names = {}
    for row in data.drop_duplicates("group").to_dict("records"):
        of_kind = row["panel"] == "kind"
        words = row["group"].replace("_", " ") if of_kind else row["group"]
        n = int(row["n_personas" if of_kind else "n_questions"])
        names[row["group"]] = f"{words or 'none given'} ({n:,})"
    return names


def _level_handles(by_level: Mapping[str, Stability]) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=colour, label=NAMES[metric], **marker_look(marker, 5.5))
        for metric, (colour, marker) in LOOKS.items()
    ]
    middle = " and ".join(sorted({f"{result.confidence:.0%}" for result in by_level.values()}))
    label = f"by chance alone (middle {middle}; line: mean)"
    return [*handles, Patch(label=label, **FLOOR)]


def _draw_level(
    axes: Axes, data: pd.DataFrame, at: dict[str, float], why: Mapping[str, str]
) -> None:
    """Draw the PSS, the corrected PSS and the noise floor; `why` says why one is undefined."""
    for row in data.to_dict("records"):
        y, ends = at[row["group"]], (row["low"], row["high"])
        if row["metric"] != "noise_floor":
            dodged = y + (-0.07 if row["metric"] == "pss" else 0.07)
            look, missing = LOOKS[row["metric"]], why[row["group"]]
            draw_interval(axes, ends, row["value"], dodged, look, 5.0, missing=missing)
        elif not math.isnan(row["value"]):
            size = ends[1] - ends[0], 0.3
            axes.add_patch(Rectangle((ends[0], y - 0.15), *size, zorder=1.5, **FLOOR))
            axes.plot([row["value"]] * 2, [y - 0.15, y + 0.15], color="#777777", zorder=2)


def _draw_kind(axes: Axes, data: pd.DataFrame, at: dict[str, float], _: object) -> None:
    for row in data.to_dict("records"):
        look = look_of(row["group"])
        draw_interval(axes, (row["low"], row["high"]), row["value"], at[row["group"]], look, 5.5)
