"""Published contrasts: what experts gain, what irrelevant attributes cost, what schooling does.

    from persona_bench import contrasts, read_outcomes

    found = contrasts(read_outcomes("results/my-run"))
    print(found.table)  # expertise advantage, robustness, Kendall's tau, with intervals
    print(found.per_persona)  # each persona against the control, with Holm's correction

After Luz de Araujo et al. (2025) and Gupta et al. (2024); docs/variance.md has the formulas,
and where these differ from the papers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_bench.extras.parts.roles import Roles, assign
from persona_bench.extras.parts.tau import tau_b, tau_interval
from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.estimate import Result
from persona_bench.scoring.frames import check_settings
from persona_bench.scoring.paired import clustered_p, group_differences, persona_table
from persona_bench.scoring.resampling import (
    NOWHERE,
    Floats,
    Interval,
    bootstrap,
    expanded_interval,
    null_accuracies,
    p_value,
    percentile_interval,
)
from persona_bench.scoring.sequential import early_of

if TYPE_CHECKING:
    from persona_bench.personas import PersonaSet

CONTRASTS: dict[str, str] = {
    "expertise_advantage": "accuracy under in-domain experts - under the control",
    "adjacent_expert": "accuracy under experts of a neighbouring field - the control",
    "layperson": "accuracy under laypeople - under the control",
    "robustness": "lowest accuracy under a persona of irrelevant attributes - the control's; "
    "noise alone pulls it below 0, by `if_no_effect`",
    "education_tau": "Kendall's tau-b between accuracy and the order of schooling, -1 to 1",
}
_COLUMNS = (
    "value", "low", "high", "p_value", "if_no_effect", "n_personas", "n_questions", "definition",
)  # fmt: skip


@dataclass(frozen=True)
class Contrasts(Result):
    """Personas against a control, for one model on one benchmark."""

    table: pd.DataFrame
    """A row for each of `CONTRASTS` that could be had, indexed by `contrast`: value, low and high
    (its interval), p_value, if_no_effect (what it would be on average if these personas had no
    effect), n_personas, n_questions, definition. Differences are in shares of correct
    responses."""
    per_persona: pd.DataFrame
    """See `paired.persona_table`: one row per persona but the control, lowest difference first."""
    absent: dict[str, str]
    """Why a contrast is not in the table, in a sentence."""
    control: str
    test: str
    """The test behind the p-values of `per_persona`."""
    confidence: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON (see `Result.to_dict`)."""
        record = super().to_dict()
        return {"contrasts": record.pop("table"), **record}


def contrasts(
    outcomes: pd.DataFrame,
    *,
    control: str = "none",
    personas: PersonaSet | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Contrasts:
    """Compare kinds of persona, and each persona, with the control on the same questions.

    `outcomes` is as for `stability`, with kind; subject, domain, persona_domain and
    persona_level are used where they are there. `personas` is the set that was run, for
    outcomes that lack the last two. Questions are redrawn for the intervals, personas fixed. What
    was looked at before its end has no p-values, as in `stability`.

    Raises ValueError as `stability` does, and for a place in the order of schooling that is
    not a number.
    """
    check_settings(confidence, resamples)
    table = check(outcomes)
    cells = Cells.count(table).scored_only()
    roles = assign(table, cells, control, personas)
    early = early_of(table)
    level = early.confidence(confidence) if early else confidence
    rng, null_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    masks = [*roles.groups.values(), *np.eye(len(cells.personas), dtype=bool)]
    pairs = _pairs(cells, roles, masks)
    seen, drawn = _resampled(cells, pairs, resamples, rng)
    names, n = list(roles.groups), len(cells.questions)
    ends = [expanded_interval(column, level, n) for column in drawn[:, : len(masks)].T]
    rows = {
        name: _mean_row(seen[i], ends[i], pairs[i], roles.groups[name])
        for i, name in enumerate(names)
    }
    seen, drawn = seen[len(masks) :], drawn[:, len(masks) :]  # accuracies from here on
    if len(roles.irrelevant):
        rows["robustness"] = _robustness(cells, roles, seen, drawn, level, null_rng)
    if len(roles.schooled):
        rows["education_tau"] = _tau(cells, roles, seen, drawn, level, null_rng)
    group_rows = [
        {"contrast": name, **rows[name], "definition": definition}
        for name, definition in CONTRASTS.items()
        if name in rows
    ]
    low, high = np.array(ends[len(names) :], dtype=float).reshape(-1, 2).T
    per_persona, test = persona_table(cells, roles.kinds, roles.control, low, high)
    of_groups = pd.DataFrame(group_rows, columns=["contrast", *_COLUMNS]).set_index("contrast")
    if early:
        of_groups["p_value"] = np.nan
        per_persona[["p_value", "p_holm"]] = np.nan
    return Contrasts(
        table=of_groups,
        per_persona=per_persona,
        absent=roles.absent,
        control=control,
        test=test,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        notes=tuple(roles.notes),
    )


def _pairs(cells: Cells, roles: Roles, masks: list[Any]) -> list[tuple[Floats, Floats]]:
    """For each mask the differences to the control by question, and where there is one."""
    nothing = np.zeros(len(cells.questions))
    if roles.control is None:
        return [(nothing, nothing)] * len(masks)
    return [group_differences(cells, roles.control, mask) for mask in masks]


def _resampled(
    cells: Cells, pairs: list[tuple[Floats, Floats]], resamples: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Mean difference of each pair, then accuracy of each persona: seen, and redrawn.

    Shapes (pairs + personas,) and (resamples, pairs + personas).
    """
    both = np.array(pairs, dtype=float).reshape(len(pairs), 2, len(cells.questions))
    differences, is_scored = both[:, 0].T, both[:, 1].T
    tops, bottoms = np.hstack([differences, cells.correct]), np.hstack([is_scored, cells.scored])

    def ratios(sums: Floats) -> Floats:
        top, bottom = np.split(sums, 2, axis=1)
        return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)

    totals = np.hstack([tops, bottoms])
    seen = ratios(totals.sum(axis=0, keepdims=True))
    return seen[0], bootstrap(totals, ratios, resamples, rng) if len(totals) else seen[:0]


def _mean_row(
    value: float, ends: Interval, pair: tuple[Floats, Floats], members: Any
) -> dict[str, Any]:
    differences, is_scored = pair
    return {
        "value": value,
        "low": ends.low,
        "high": ends.high,
        "p_value": clustered_p(differences[is_scored > 0]),
        "if_no_effect": 0.0,
        "n_personas": int(np.atleast_2d(members).any(axis=0).sum()),
        "n_questions": int(is_scored.sum()),
    }


def _exchanged(cells: Cells, personas: Any, resamples: int, rng: np.random.Generator) -> Floats:
    """Accuracies of these personas with verdicts exchanged among them within each question."""
    some = cells.only(personas=personas)
    return null_accuracies(some.correct, some.scored, resamples, rng)


def _robustness(
    cells: Cells,
    roles: Roles,
    seen: Floats,
    drawn: Floats,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Each end holds by itself, as for `worst` in `intervals`: the bootstrap's percentile below,
    the estimate plus an upper percentile of the noise's own extreme above."""
    members = np.array([*roles.irrelevant, roles.control])  # the control last

    def gaps(accuracies: Floats) -> Floats:
        return accuracies[..., :-1] - accuracies[..., -1:]

    gap, drawn_gaps = gaps(seen[members]), gaps(drawn[:, members])
    value = float(gap.min())
    noise = np.fmax.reduce(gap - drawn_gaps, axis=1)
    low = percentile_interval(np.fmin.reduce(drawn_gaps, axis=1), confidence).low
    high = value + percentile_interval(noise, confidence).high
    exchanged = _exchanged(cells, members, len(drawn), rng)
    null = np.fmin.reduce(gaps(exchanged), axis=1)
    return {
        "value": value,
        "low": min(low, value),
        "high": max(high, value),
        "p_value": p_value(null, value),
        "if_no_effect": float(np.nanmean(null)),
        "n_personas": len(roles.irrelevant),
        "n_questions": len(cells.questions),
    }


def _tau(
    cells: Cells,
    roles: Roles,
    seen: Floats,
    drawn: Floats,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    value = float(tau_b(seen[None, roles.schooled], roles.places)[0])
    null = tau_b(_exchanged(cells, roles.schooled, len(drawn), rng), roles.places)
    if np.isnan(value):
        (low, high), p = NOWHERE, np.nan
        roles.notes.append("all education personas have the same accuracy: tau is undefined (NaN)")
    else:
        some = seen[roles.schooled], drawn[:, roles.schooled]
        low, high = tau_interval(*some, roles.places, confidence)
        p = p_value(-np.abs(np.nan_to_num(null)), -abs(value))  # two-sided
    return {
        "value": value,
        "low": low,
        "high": high,
        "p_value": p,
        "if_no_effect": float(np.nan_to_num(null).mean()),
        "n_personas": len(roles.schooled),
        "n_questions": len(cells.questions),
    }
