"""Why responses fail, per persona: truncated, no answer, wrong, refused, or not scored.

    figure = failures_figure(stability(outcomes))
    save_figure(figure, Path("figures/failures"), data=failures_data(stability(outcomes)))

A bar a persona: all responses, split by verdict and reason. Hatches tell the reasons apart in grey.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.rows import Rows
from persona_bench.report.figures.several import by_model, label_share, panels, persona_order
from persona_bench.report.figures.style import styled
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.artist import Artist

    from persona_bench.report.figures.style import PaperFigure
    from persona_bench.scoring.stability import Stability

COLUMNS = ["model", "persona", "kind", "outcome", "count", "responses", "share"]
LOOKS: dict[str, tuple[str, str]] = {
    "correct": ("#0072b2", ""),
    "answered": ("#0072b2", ""),
    "scored:": ("#7fb8d8", "..//"),
    "wrong:wrong_answer": ("#f0dfc2", ""),
    "wrong:truncated": ("#e69f00", "////"),
    "wrong:no_answer": ("#d5dade", "...."),
    "wrong:refused": ("#d55e00", "xxxx"),
    "wrong:timeout": ("#cc79a7", "\\\\\\\\"),
    "wrong:crash": ("#56b4e9", "----"),
}
"""Colour and hatch of each verdict and reason, in the order in which they are stacked."""
OTHERS = (("#9aa0a8", "||||"), ("#b9d9cf", "++++"), ("#c6b5dd", "OO"), ("#f3f4f5", "**"))
"""For reasons that are none of these, and for those of what is unscored."""


def failures_figure(
    result: Stability | Mapping[str, Stability], *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """Responses of each persona by verdict and reason, the most accurate persona on top.

    Args:
        result: One model's stability, or that of several by their names.
        title: What it is of: begins the caption.
        width: Inches.
    """
    results = by_model(result)
    data = failures_data(result)
    return outcomes_figure(data, list(results), persona_order(results), title=title, width=width)


def outcomes_figure(
    data: pd.DataFrame,
    models: Sequence[str],
    personas: Sequence[str],
    *,
    title: str = "",
    width: float = TEXT_WIDTH,
) -> PaperFigure:
    """One bar per persona of the shares of its responses, one panel per model.

    Args:
        data: One row per model, persona and outcome, as `failures_data` has them.
        models: In the order of the panels.
        personas: In the order of the rows.
        title: What it is of: begins the caption.
        width: Inches.
    """
    outcomes = list(dict.fromkeys(data["outcome"]))
    looks = outcome_looks(outcomes)
    with styled():
        handles: list[Artist] = [
            Patch(label=name_of(outcome), **look) for outcome, look in looks.items()
        ]
        notes = ["Each bar holds all responses of a persona, scored and unscored"]
        page = Page(title, notes, [handles], width=width)
        if data.empty:
            return page.say("no responses")
        rows = Rows(page, personas, label=label_share(page.width, len(models)))
        titles = list(models) if len(models) > 1 else [""]
        made = panels(page, rows, titles, xlabel="Share of responses")
        for axes, model in zip(made, models, strict=True):
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            own = data[data["model"] == model]
            axes.spines["right"].set_visible(True)  # bars end where the panel does
            height = 0.72 * rows.lowest
            start = pd.Series(0.0, index=own["persona"].unique())
            for outcome in outcomes:
                share = own[own["outcome"] == outcome].set_index("persona")["share"]
                y = [rows.at[name] for name in share.index]
                axes.barh(y, share, height, left=start[share.index], **looks[outcome])
                start = start.add(share, fill_value=0.0)
    return page.figure


def failures_data(result: Stability | Mapping[str, Stability]) -> pd.DataFrame:
    """What `failures_figure` shows: one row per model, persona and outcome that occurs.

    `outcome` is `correct`, or a verdict and reason such as `wrong:truncated`; where none was
    given the reason is empty. `count` of all `responses`, scored and unscored, is `share`.
    """
    tables = []
    results = by_model(result)
    order = persona_order(results)
    for model, each in results.items():
        own = each.per_persona.set_index("persona")
        own = own.loc[[name for name in order if name in own.index]]
        counts = pd.DataFrame({"correct": own["correct"]})
        for verdict in [name for name in ("scored", "wrong", "unscored") if name in own.columns]:
            given = [name for name in own.columns if str(name).startswith(f"{verdict}:")]
            counts[given] = own[given]
            counts[f"{verdict}:"] = own[verdict] - own[given].sum(axis=1)
        long = counts.reset_index().melt("persona", var_name="outcome", value_name="count")
        long["kind"] = long["persona"].map(own["kind"])
        long["responses"] = long["persona"].map(own["n"] + own["unscored"])
        tables.append(long.assign(model=model))
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    data = pd.concat(tables, ignore_index=True)
    data["count"] = data["count"].astype(int)
    data["share"] = data["count"] / data["responses"]
    seen = data.groupby("outcome")["count"].sum()
    data = data[data["outcome"].map(seen) > 0]
    ranks = (list(results), order, _stacked(list(seen.index)))
    places = [
        data[column].map({name: i for i, name in enumerate(names)})
        for column, names in zip(("model", "persona", "outcome"), ranks, strict=True)
    ]
    return data.iloc[np.lexsort(places[::-1])][COLUMNS].reset_index(drop=True)


def _stacked(outcomes: Sequence[str]) -> list[str]:
    """Known ones first, then other failures by name, then what is unscored."""
    rest = sorted(set(outcomes) - set(LOOKS))
    wrong = [name for name in rest if name.startswith("wrong:")]
    return [*LOOKS, *wrong, *(name for name in rest if name not in wrong)]


def outcome_looks(outcomes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Arguments of the bars and patches of each outcome, in the order in which they are stacked."""
    others = cycle(OTHERS)
    looks = {}
    for outcome in _stacked(outcomes):
        if outcome in outcomes:
            colour, hatch = LOOKS.get(outcome) or next(others)
            looks[outcome] = {
                "facecolor": colour, "hatch": hatch, "edgecolor": "#333333", "linewidth": 0.5,
            }  # fmt: skip
    return looks


def name_of(outcome: str) -> str:
    """`wrong:no_answer` in words."""
    verdict, _, reason = outcome.partition(":")
    if verdict in ("correct", "answered"):
        return verdict
    if verdict == "scored" and not reason:
        return "score between 0 and 1"
    words = printable(reason).replace("_", " ") or "no reason given"
    return words if verdict == "wrong" and reason else f"{verdict}, {words}"
