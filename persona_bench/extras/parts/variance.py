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
analysis of variance; docs/variance.md shows it, and what was measured of the intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from persona_bench.scoring.wordings import by_persona, placebo_counts, placebos_in, wording_counts

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
    "wording": "what the wording of a persona does on average: mean over personas of the variance "
    "of its wordings' expected accuracies (divisor: their number); it lies within "
    "`interaction_or_noise`",
    "placebo": "variance of the placebos' expected accuracies (divisor: their number), noise taken "
    "out, to hold beside `persona`; no part of the total",
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
    prompts = _Prompts(check(outcomes, placebos=True), cells)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
    if groups is None:
        groups = scores_by_group(outcomes, confidence=confidence, resamples=resamples, seed=seed)
    n = len(cells.questions)
    seen = _evaluate(moments, within, prompts, np.ones((1, n)))
    chunks = question_weights(n, resamples, rng, width=moments.width) if n else iter(())
    drawn = np.concatenate([seen[:0], *(_evaluate(moments, within, prompts, w) for w in chunks)])
    return VarianceParts(
        table=_table(seen, drawn, confidence, n, absent=within.absent + prompts.absent),
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
        several = len(names) > 1
        self.absent = () if several else ("between_kinds", "within_kinds")
        self.parts = [
            (np.mean(kinds == name), Moments(cells.only(personas=kinds == name)))
            for name in names
            if several
        ]

    def __call__(self, weights: Floats) -> Floats:
        return sum((share * part.persona(weights) for share, part in self.parts), np.zeros(1))


class _Prompts:
    """The parts of the wordings and of the placebos, on the questions of the personas' cells."""

    def __init__(self, table: pd.DataFrame, cells: Cells) -> None:
        worded = by_persona(wording_counts(table[~placebos_in(table)], cells.questions))
        several = [each for each in worded.values() if len(each.personas) > 1]
        self.share = len(several) / max(len(cells.personas), 1)
        self.wordings = [Moments(each) for each in several]
        found = placebo_counts(table, cells.questions)
        self.placebos = Moments(found) if len(found.personas) > 1 else None
        known = {"wording": self.wordings, "placebo": self.placebos}
        self.absent = tuple(name for name, there in known.items() if not there)

    def __call__(self, weights: Floats) -> Floats:
        """Shape (replicates, 2): the part of the wordings, and that of the placebos."""
        both = np.full((len(weights), 2), np.nan)
        if self.wordings:
            both[:, 0] = self.share * np.mean([m.persona(weights) for m in self.wordings], axis=0)
        if self.placebos is not None:
            both[:, 1] = self.placebos.persona(weights)
        return both


def _evaluate(moments: Moments, within: _WithinKinds, prompts: _Prompts, weights: Floats) -> Floats:
    """All of `PARTS`, shape (replicates, 10)."""
    parts = moments(weights)
    inside = np.broadcast_to(within(weights), len(parts))
    return np.column_stack([parts, parts[:, 1] - inside, inside, prompts(weights)])


def _table(
    seen: Floats, drawn: Floats, confidence: float, questions: int, *, absent: Sequence[str]
) -> pd.DataFrame:
    """See `VarianceParts.table`."""
    shares, drawn_shares = _shares(seen)[0], _shares(drawn)
    rows = []
    for i, (part, definition) in enumerate(PARTS.items()):
        if part in absent:
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
    """Each part clipped at 0 over the sum of the clipped parts of the total; kinds over the persona
    part."""
    clipped = np.maximum(parts, 0)
    question, persona, interaction, noise, rest = clipped.T[:5]
    separable = ~np.isnan(noise)
    both = np.where(separable, interaction + noise, rest)
    whole = question + persona + both
    kinds, prompts = clipped[:, 6:8], clipped[:, 8:]
    shares = ratio(
        np.hstack([np.stack([question, persona, interaction, noise, both, whole], 1), prompts]),
        whole[:, None] + np.zeros(8),
    )
    of_persona = ratio(kinds, kinds.sum(axis=1, keepdims=True) + np.zeros(2))
    return np.hstack([shares[:, :6], of_persona, shares[:, 6:]])


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
