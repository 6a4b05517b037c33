"""Right or wrong, in or out of voice, per persona.

    figure = voice_figure(voice(outcomes, judged))
    save_figure(figure, Path("figures/voice"), data=voice_data(voice(outcomes, judged)))

One bar per persona with the four shares; right ones are blue, and what is in voice is hatched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.patches import Patch

from persona_bench.report.figures.layout import TEXT_WIDTH, Page
from persona_bench.report.figures.rows import Rows
from persona_bench.report.figures.several import label_share, panels
from persona_bench.report.figures.style import styled
from persona_bench.report.voice import NAMES
from persona_bench.scoring.voice import SHARES, Voice

if TYPE_CHECKING:
    from matplotlib.artist import Artist

    from persona_bench.report.figures.style import PaperFigure

LOOKS: dict[str, tuple[str, str]] = {
    "right_in": ("#0072b2", "////"),
    "right_out": ("#0072b2", ""),
    "wrong_in": ("#f0e6c0", "////"),
    "wrong_out": ("#f0e6c0", ""),
}
"""Colour and hatch of each share, in the order in which they are stacked."""


def voice_figure(
    result: Voice | Mapping[str, Voice], *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """The four shares of each persona, the most often right and in character on top.

    Args:
        result: One model's voice, or that of several by their names.
        title: What it is of: begins the caption.
        width: Inches.
    """
    results = _by_model(result)
    data = voice_data(result)
    looks: dict[str, dict[str, Any]] = {
        name: {"facecolor": colour, "hatch": hatch, "edgecolor": "#333333", "linewidth": 0.4}
        for name, (colour, hatch) in LOOKS.items()
    }
    with styled():
        handles: list[Artist] = [Patch(label=NAMES[name], **look) for name, look in looks.items()]
        notes = [
            f"{name}: {each.judged:,} of {each.n:,} responses judged".removeprefix(": ")
            for name, each in results.items()
        ]
        page = Page(title, notes, [handles], width=width)
        order = list(dict.fromkeys(data["persona"]))
        rows = Rows(page, order, label=label_share(page.width, len(results)))
        titles = list(results) if len(results) > 1 else [""]
        made = panels(page, rows, titles, xlabel="Share of responses")
        for axes, model in zip(made, results, strict=True):
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.spines["right"].set_visible(True)  # bars end where the panel does
            own = data[data["model"] == model]
            height = 0.72 * rows.lowest
            for name, look in looks.items():
                bars = own[own["outcome"] == name]
                y = [rows.at[persona] for persona in bars["persona"]]
                axes.barh(y, bars["share"], height, left=bars["start"], **look)
    return page.figure


def voice_data(result: Voice | Mapping[str, Voice]) -> pd.DataFrame:
    """What `voice_figure` shows: one row per model, persona and outcome.

    Columns: model, persona, kind, outcome (one of `SHARES`), share, start (the sum of the shares
    before it), judged, responses, count (of all responses; an estimate where not all are judged).
    """
    rows = []
    for model, each in _by_model(result).items():
        for row in each.personas.to_dict("records"):
            start = 0.0
            for name in SHARES:
                told = {"model": model, "persona": row["persona"], "kind": row["kind"]}
                share = {"outcome": name, "share": row[name], "start": start}
                sizes = {"judged": row["judged"], "responses": row["n"]}
                count = round(row[name] * row["n"], 2)
                rows.append({**told, **share, **sizes, "count": count})
                start += row[name]
    return pd.DataFrame(rows)


def _by_model(result: Voice | Mapping[str, Voice]) -> Mapping[str, Voice]:
    return {"": result} if isinstance(result, Voice) else result
