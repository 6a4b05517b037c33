"""Whether personas rank models alike, in one sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from persona_bench.report.tables import count, format_p, printable

if TYPE_CHECKING:
    from persona_bench.scoring.rankings import Ranking


def ranking_line(found: Ranking) -> str:
    """Kendall's W, what it would be by chance, and who comes first how often; empty if undefined.

    Args:
        found: How far the rankings of two or more models agree.
    """
    if math.isnan(found.w):
        return ""
    models = found.ranks.drop(columns="persona")
    first = (
        (models.eq(models.min(axis=1), axis=0)).sum().sort_values(ascending=False, kind="stable")
    )
    leaders = ", ".join(f"{printable(str(model))} under {n}" for model, n in first.items() if n)
    tied = " (ties count for each)" if first.sum() > found.n_personas else ""
    w, chance = found.w, found.by_chance
    p = "" if math.isnan(found.p_value) else f"; {format_p(found.p_value)}"
    return (
        f"Ranking of {count(found.n_models, 'model')} under {count(found.n_personas, 'persona')}: "
        f"Kendall's W {w:.2f} [{w.low:.2f}, {w.high:.2f}] (1: alike under each; {chance:.2f} "
        f"[{chance.low:.2f}, {chance.high:.2f}] if personas had no effect{p}). "
        f"Most accurate: {leaders}{tied}."
    )
