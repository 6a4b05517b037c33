"""Refusals in role-play tasks: which personas make the model decline, with or without a judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.grading.refusal import declines_role
from persona_bench.report.figures.failures import COLUMNS, outcomes_figure
from persona_bench.report.tables import count

if TYPE_CHECKING:
    from persona_bench.report.figures.style import PaperFigure

ANSWERED, REFUSED = "answered", "wrong:refused"
ORDER = (ANSWERED, REFUSED, "wrong:no_answer", "unscored:api_error")
"""The outcomes in the order in which they are stacked."""


def refusals_data(responses: pd.DataFrame) -> pd.DataFrame:
    """How the responses of one model to a role-play task ended: one row per persona and outcome.

    `wrong:refused`: withheld by the provider, or declined in the words of an assistant.
    `wrong:no_answer`: no text. `unscored:api_error`: the request failed. The personas with the
    fewest answers come first.

    Args:
        responses: persona, kind, response and finish.

    Returns:
        model (empty), persona, kind, outcome, count, responses, share.
    """
    text = responses["response"].fillna("").astype(str)
    outcome = pd.Series(ANSWERED, index=responses.index)
    outcome[text.map(declines_role)] = REFUSED
    outcome[text.str.strip() == ""] = "wrong:no_answer"
    outcome[responses["finish"] == "content_filter"] = REFUSED
    outcome[responses["finish"] == "error"] = "unscored:api_error"
    keys = ["persona", "kind", "outcome"]
    table = responses.assign(outcome=outcome).groupby(keys).size().reset_index(name="count")
    table["responses"] = table.groupby("persona")["count"].transform("sum")
    table["share"] = table["count"] / table["responses"]
    answered = table[table["outcome"] == ANSWERED].set_index("persona")["share"]
    table["answered"] = table["persona"].map(answered).fillna(0.0)
    table["place"] = table["outcome"].map(ORDER.index)
    table = table.sort_values(["answered", "persona", "place"], ignore_index=True)
    return table.assign(model="")[COLUMNS]


def refusals_figure(data: pd.DataFrame, *, title: str = "", width: float) -> PaperFigure:
    """The outcomes of each persona, the one with the fewest answers on top."""
    personas = list(dict.fromkeys(data["persona"]))
    return outcomes_figure(data, [""], personas, title=title, width=width)


def refusals_line(data: pd.DataFrame) -> str:
    """How many responses were refused, and under which persona the most."""
    total = int(data["count"].sum())
    refused = data[data["outcome"] == REFUSED]
    if refused.empty:
        return f"Refusals: none of {count(total, 'response')}."
    n = int(refused["count"].sum())
    worst = refused.sort_values("share", ascending=False).to_dict("records")[0]
    return (
        f"Refusals: {n:,} of {count(total, 'response')} ({n / total:.1%}); most under "
        f"{worst['persona']} ({worst['share']:.0%})."
    )
