"""Variance parts: how much of what varies lies in questions, personas, both, and chance.

    from persona_bench import read_outcomes, variance_parts

    parts = variance_parts(read_outcomes("results/my-run"))
    print(parts.table)  # variance, interval and share of each part
    print(parts.groups)  # accuracy and PSS by kind of persona, level and subject

Let pi[q, p] be the expected accuracy on question q under persona p. The variance of one
verdict, of a random question, one of these personas and one sample, is the sum of four parts
(`PARTS` has their definitions). Each is estimated without bias by products of verdicts that
are independent given what they share: of two samples of a cell, of two personas on a
question, of two questions. On a full table these are the mean squares of the two-way
analysis of variance; docs/metrics.md shows it, and what was measured of the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from persona_bench.extras.parts.moments import Moments, ratio
from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.estimate import Result
from persona_bench.scoring.frames import check_settings, labels
from persona_bench.scoring.groups import scores_by_group
from persona_bench.scoring.resampling import (
    Floats,
    expanded_interval,
    question_weights,
)

PARTS: dict[str, str] = {
    "question": "shared by the personas: mean covariance of two personas' expected accuracies, "
    "over questions",
    "persona": "variance of these personas' expected accuracies (divisor: their number), noise "
    "taken out",
    "interaction": "what personas do on some questions only: mean variance of a persona's expected "
    "accuracy over questions, less `question`",
    "sampling": "chance in one sample of a cell: mean of pi (1 - pi) for verdicts",
    "interaction_or_noise": "interaction + sampling, which one sample a cell can't tell apart",
    "total": "variance of one verdict, mean (1 - mean), or of one score: the sum of the parts",
    "between_kinds": "the part of `persona` that lies between the means of the kinds; share: of "
    "`persona`",
    "within_kinds": "the part of `persona` that lies among personas of one kind; share: of "
    "`persona`",
}


@dataclass(frozen=True)
class VarianceParts(Result):
    """Where the variance of one model's verdicts on one benchmark lies."""

    table: pd.DataFrame
    """A row for each of `PARTS` that is there, indexed by `part`: variance (raw, unbiased, may
    be below 0), low, high (its interval), share (of the parts clipped at 0, whose sum is 1),
    share_low, share_high, definition. Variances are in squared shares of correct responses."""
    groups: pd.DataFrame
    """See `groups.group_table`: a row for each kind of persona, level and subject."""
    n_questions: int
    n_personas: int
    confidence: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()
    """What can't be told from this table, and why."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON (see `Result.to_dict`)."""
        record = super().to_dict()
        return {"parts": record.pop("table"), **record}


def variance_parts(
    outcomes: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: pd.DataFrame | None = None,
) -> VarianceParts:
    """Split the variance of one model's verdicts on one benchmark into its parts.

    `outcomes` is as for `stability`; kind, level and subject are used where they are there.
    Questions are taken as drawn from a population, and redrawn for the intervals; the
    personas are fixed. (For a population of personas, multiply `persona` by P / (P - 1); the
    other parts stay as they are.) Cells that are missing or unscored are left out, each pair
    of personas being compared on the questions that both have. `groups` is what `scoring.groups`
    gave with the same settings, if that is at hand; else it is computed.

    Raises ValueError as `stability` does. `notes` says where a part can't be told from another.
    """
    check_settings(confidence, resamples)
    table = check(outcomes)
    cells = Cells.count(table).scored_only()
    kinds = np.array(labels(table, "persona", "kind", cells.personas), dtype=object)
    moments = Moments(cells)
    within = _WithinKinds(cells, kinds)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
    if groups is None:
        groups = scores_by_group(outcomes, confidence=confidence, resamples=resamples, seed=seed)
    n = len(cells.questions)
    seen = _evaluate(moments, within, np.ones((1, n)))
    chunks = question_weights(n, resamples, rng, width=moments.width) if n else iter(())
    drawn = np.concatenate([seen[:0], *(_evaluate(moments, within, w) for w in chunks)])
    return VarianceParts(
        table=_table(seen, drawn, confidence, n, several_kinds=within.several),
        groups=groups,
        n_questions=n,
        n_personas=len(cells.personas),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        notes=tuple(_notes(cells, moments)),
    )


class _WithinKinds:
    """The persona part among the personas of each kind, averaged over personas."""

    def __init__(self, cells: Cells, kinds: Any) -> None:
        names = sorted(set(kinds))
        self.several = len(names) > 1
        self.parts = [
            (np.mean(kinds == name), Moments(cells.only(personas=kinds == name)))
            for name in names
            if self.several
        ]

    def __call__(self, weights: Floats) -> Floats:
        return sum((share * part.persona(weights) for share, part in self.parts), np.zeros(1))


def _evaluate(moments: Moments, within: _WithinKinds, weights: Floats) -> Floats:
    """All of `PARTS`, shape (replicates, 8)."""
    parts = moments(weights)
    inside = np.broadcast_to(within(weights), len(parts))
    return np.column_stack([parts, parts[:, 1] - inside, inside])


def _table(
    seen: Floats, drawn: Floats, confidence: float, questions: int, *, several_kinds: bool
) -> pd.DataFrame:
    """See `VarianceParts.table`."""
    shares, drawn_shares = _shares(seen)[0], _shares(drawn)
    rows = []
    for i, (part, definition) in enumerate(PARTS.items()):
        if part.endswith("_kinds") and not several_kinds:
            continue
        low, high = expanded_interval(drawn[:, i], confidence, questions)
        share_low, share_high = expanded_interval(drawn_shares[:, i], confidence, questions)
        rows.append(
            {
                "part": part,
                "variance": seen[0, i],
                "low": low,
                "high": high,
                "share": shares[i],
                "share_low": share_low,
                "share_high": share_high,
                "definition": definition,
            }
        )
    return pd.DataFrame(rows).set_index("part")


def _shares(parts: Floats) -> Floats:
    """Each part clipped at 0 over the sum of the clipped parts; kinds over the persona part."""
    clipped = np.maximum(parts, 0)
    question, persona, interaction, noise, rest = clipped.T[:5]
    separable = ~np.isnan(noise)
    both = np.where(separable, interaction + noise, rest)
    whole = question + persona + both
    kinds = clipped[:, 6:]
    shares = ratio(
        np.stack([question, persona, interaction, noise, both, whole], 1),
        whole[:, None] + np.zeros(6),
    )
    return np.hstack([shares, ratio(kinds, kinds.sum(axis=1, keepdims=True) + np.zeros(2))])


def _notes(cells: Cells, moments: Moments) -> list[str]:
    """What can't be told from this table, and why."""
    questions, personas = cells.scored.shape
    if not cells.scored.size:
        return ["no response is scored: variance parts are undefined (NaN)"]
    notes = []
    if questions == 1:
        notes.append(
            "only one question: what lies in it can't be told from what lies in the personas; "
            "variance parts but sampling are undefined (NaN)"
        )
    if personas == 1:
        notes.append(
            f"only one persona ({cells.personas[0]}): its part is 0 by definition, and question "
            "and interaction can't be told apart (NaN)"
        )
    if not moments.separable:
        some = moments.repeated.sum(axis=0)
        lacking = [p for p, n in zip(cells.personas, some, strict=True) if not n]
        who = "the cells" if len(lacking) == personas else f"the cells of {', '.join(lacking)}"
        notes.append(
            f"{who} have one scored sample each: interaction and sampling can't be told apart and "
            "are NaN, their sum is interaction_or_noise; take at least 2 samples for each"
        )
    elif (moments.repeated < moments.there @ moments.member.T).any():
        notes.append("sampling noise is measured on the cells with at least 2 scored samples only")
    if personas > 1 and (moments.both.sum(axis=0) == 0)[moments.pairs > 0].any():
        notes.append(
            "some pairs of personas have no question in common: the question part is over the "
            "other pairs"
        )
    return notes
