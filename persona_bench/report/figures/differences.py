"""Paired differences between two models: accuracy per persona, and what they add up to.

    result = compare(outcomes_a, outcomes_b)
    figure = differences_figure(result, a="rlvr", b="permix")
    save_figure(figure, Path("figures/differences"), data=differences_data(result))

To the right of 0, b is better. Filled markers: more than noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D

from persona_bench.report.figures.accuracy import group_handles
from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.rows import Rows, draw_interval
from persona_bench.report.figures.style import (
    limits,
    look_of,
    marker_look,
    set_ticks,
    styled,
)
from persona_bench.report.tables import count, printable
from persona_bench.scoring.compare import TESTS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from persona_bench.report.figures.style import PaperFigure
    from persona_bench.scoring.compare import Comparison

COLUMNS = [
    "panel", "name", "kind", "a", "b", "difference", "low", "high", "p_value", "p_holm", "test",
    "significant",
]  # fmt: skip
GREY = "#5f6b6b"
METRIC_NAMES = {
    "mean": "mean accuracy",
    "worst": "worst accuracy",
    "best": "best accuracy",
    "pss": "PSS",
    "pss_corrected": "corrected PSS",
}


def differences_figure(
    result: Comparison, *, a: str, b: str, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """Accuracy of b less that of a under each persona, then the difference of each metric.

    Args:
        result: The comparison.
        a: Name of the model that is subtracted.
        b: Name of the other.
        title: What it is of: begins the caption.
        width: Inches.
    """
    data = differences_data(result)
    with styled():
        legends = [group_handles(data.loc[data["panel"] == "persona", "kind"]), _fill_handles(data)]
        page = Page(title, _notes(result, a, b), legends, width=width)
        labels = {"persona": "Difference in accuracy", "metric": "Difference"}
        shown = []
        for panel, own in data.groupby("panel", sort=False):
            names = [METRIC_NAMES.get(n, n) if panel == "metric" else n for n in own["name"]]
            shown.append((own, Rows(page, names), labels[str(panel)]))
        left = max((rows.left for _, rows, _ in shown), default=0.0)  # of both, so that they align
        for own, rows, xlabel in shown:
            axes = page.axes(rows.total, left=left, xlabel=xlabel, top=rows.top)
            rows.put_on(axes)
            _draw(axes, own, rows, _undefined(result))
    return page.figure


def differences_data(result: Comparison) -> pd.DataFrame:
    """What `differences_figure` shows: one row per persona (largest difference first) and metric.

    `significant` is what is filled: p below 1 - confidence, for personas after Holm's correction.
    """
    personas = result.per_persona.rename(columns={"persona": "name"}).assign(
        panel="persona", test="flip"
    )
    personas = personas.sort_values(
        ["difference", "name"], ascending=[False, True], na_position="last"
    )
    metrics = result.metrics.rename(columns={"metric": "name"}).assign(panel="metric", kind="")
    personas["significant"] = personas["p_holm"] < 1 - result.confidence
    metrics["significant"] = metrics["p_value"] < 1 - result.confidence
    known = [table for table in (personas, metrics) if not table.empty]
    return pd.concat(known, ignore_index=True).reindex(columns=COLUMNS)


def _undefined(result: Comparison) -> str:
    """Why the difference of a metric is undefined, in a few words."""
    best = result.metrics.set_index("metric").reindex(["best"]).iloc[0]
    if none := [letter for letter in ("a", "b") if best.get(letter) == 0]:
        return f"nothing correct in {' and '.join(none)}"
    if result.n_personas == 1:
        return "only one persona"
    return "only one question" if result.n_questions == 1 else "nothing scored"


def _draw(axes: Axes, data: pd.DataFrame, rows: Rows, undefined: str) -> None:
    axes.grid(axis="both")
    values = data[["difference", "low", "high"]].to_numpy().ravel().tolist()
    low, high = limits([*values, 0.0], -math.inf, math.inf)
    axes.set_xlim(low, high)
    set_ticks(axes.xaxis)
    axes.axvline(0, color="#444444", linewidth=0.9, zorder=1.5)
    for row, at in zip(data.to_dict("records"), rows.y, strict=True):
        of_persona = row["panel"] == "persona"
        look = look_of(row["kind"]) if of_persona else ("#000000", "o")
        missing = "nothing scored" if of_persona else undefined
        ends, filled = (row["low"], row["high"]), bool(row["significant"])
        draw_interval(
            axes, ends, row["difference"], at, look, rows.marker, filled=filled, missing=missing
        )


def _fill_handles(data: pd.DataFrame) -> list[Artist]:
    filled: dict[str, Any] = marker_look("o", 5.5)
    hollow = filled | {"markerfacecolor": "white", "markeredgecolor": GREY, "markeredgewidth": 1.0}
    return [
        Line2D([], [], color=GREY, label="more than noise", **filled),
        Line2D([], [], color=GREY, label="not told from noise", **hollow),
    ]


def _notes(result: Comparison, a: str, b: str) -> list[str]:
    tests: dict[str, list[str]] = {}
    for row in result.metrics.to_dict("records"):
        tests.setdefault(row["test"], []).append(METRIC_NAMES.get(row["metric"], row["metric"]))
    of_metrics = [
        f"{', '.join(names)}: {TESTS[test].replace('; asks', ', which asks')}"
        for test, names in tests.items()
    ]
    return [
        f"{printable(b)} less {printable(a)}",
        f"{count(result.n_questions, 'question')} × {count(result.n_personas, 'persona')}, the "
        f"same for both; bars: {result.confidence:.0%} intervals",
        f"Filled: p < {1 - result.confidence:.2g}, in personas after Holm's correction "
        f"({TESTS['flip']}), in metrics uncorrected",
        *([f"Tests of {'; '.join(of_metrics)}"] if of_metrics else []),
    ]
