"""The tidy table as sums per question and persona, once it is found to be sound (`checks`).

A response counts as its verdict, 1 or 0, or as its score where a metric gives values in between.
Means over questions, redrawn questions and exchanges among personas need no more than that; what
needs verdicts (`Cells.has_verdicts`) is NaN for scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from persona_bench.scoring.checks import check, kinds_of, values_of
from persona_bench.scoring.resampling import Counts, Floats

__all__ = ["NO_VERDICTS", "SCORES", "Cells", "check", "kinds_of", "values_of"]

SCORES = "responses have scores between 0 and 1: accuracy stands for the mean score"
NO_VERDICTS = (
    f"{SCORES}, and what needs verdicts (agreement, solid, pass@k, effects in log-odds) is "
    "undefined (NaN)"
)


@dataclass(frozen=True)
class Cells:
    """Sums per question (axis 0) and persona (axis 1), both in alphabetical order."""

    questions: list[str]
    personas: list[str]
    responses: Counts
    scored: Counts
    correct: Any
    """How many responses are correct (Counts); for scores, their sum (Floats)."""
    squares: Any = None
    """Sum of the squared scores; the same as `correct` for verdicts, and where it is left out."""

    def __post_init__(self) -> None:
        if self.squares is None:
            object.__setattr__(self, "squares", self.correct)

    @classmethod
    def count(cls, table: pd.DataFrame) -> Cells:
        row, questions = pd.factorize(table["question"], sort=True)
        column, personas = pd.factorize(table["persona"], sort=True)
        shape = (len(questions), len(personas))
        flat = row * shape[1] + column
        values = values_of(table).to_numpy(dtype=float)
        known = ~np.isnan(values)

        def tally(chosen: Any, weights: Any = None) -> Any:
            sums = np.bincount(flat[chosen], weights, minlength=shape[0] * shape[1])
            return sums.reshape(shape)

        verdicts = np.isin(values[known], (0.0, 1.0)).all()
        kept = values == 1.0 if verdicts else known
        return cls(
            questions=list(questions),
            personas=list(personas),
            responses=tally(slice(None)),
            scored=tally(known),
            correct=tally(kept) if verdicts else tally(kept, values[kept]),
            squares=None if verdicts else tally(kept, values[kept] ** 2),
        )

    def scored_only(self) -> Cells:
        """Without the personas and the questions that have no scored response at all."""
        personas, questions = (self.scored.any(axis=axis) for axis in (0, 1))
        return self.only(questions=questions, personas=personas)

    def only(self, *, questions: Any = slice(None), personas: Any = slice(None)) -> Cells:
        """Those questions and personas, each given as a mask or as positions."""
        return Cells(
            questions=list(np.asarray(self.questions, dtype=object)[questions]),
            personas=list(np.asarray(self.personas, dtype=object)[personas]),
            responses=self.responses[questions][:, personas],
            scored=self.scored[questions][:, personas],
            correct=self.correct[questions][:, personas],
            squares=self.squares[questions][:, personas],
        )

    @property
    def has_verdicts(self) -> bool:
        """Whether every response is right or wrong, with no score in between."""
        return bool((self.squares == self.correct).all())

    @property
    def sampling_variance(self) -> Floats:
        """Of each cell's mean, estimated from its samples; NaN below two of them."""
        n = self.scored
        within = self.squares - self.correct**2 / np.maximum(n, 1)
        out = np.full(n.shape, np.nan)
        return np.divide(np.maximum(within, 0.0), n * (n - 1.0), out=out, where=n > 1)

    @property
    def unscored(self) -> Counts:
        return self.responses - self.scored

    @property
    def accuracy(self) -> Floats:
        """Per persona; NaN where nothing of it is scored."""
        with np.errstate(invalid="ignore"):
            return self.correct.sum(axis=0) / self.scored.sum(axis=0)

    @property
    def influence(self) -> Floats:
        """How far each question moves each persona's accuracy, over the number of personas.

        Columns add up to 0; a row's sum is the question's pull on the mean accuracy.
        """
        scored, accuracy = self.scored.sum(axis=0), self.accuracy
        there = scored > 0
        moved = np.zeros(self.correct.shape)
        residual = self.correct[:, there] - accuracy[there] * self.scored[:, there]
        moved[:, there] = residual / scored[there] / there.sum()
        return moved

    def notes(self) -> tuple[str, ...]:
        """What has to be said about this table before its numbers are read."""
        found = []
        if len(self.personas) == 1:
            found.append(
                f"only one persona ({self.personas[0]}): pss is 1 by definition unless nothing is "
                "correct, agreement and p_value are undefined"
            )
        if n := int((self.responses == 0).sum()):
            found.append(
                f"{n} of {self.responses.size} persona x question cells have no response: "
                "plain numbers compare personas on partly different questions; the corrected PSS "
                "accounts for that"
            )
        empty = [p for p, n in zip(self.personas, self.scored.sum(axis=0), strict=True) if not n]
        if len(empty) == len(self.personas):
            found.append("no response is scored: metrics are undefined (NaN)")
        elif empty:
            found.append(
                f"nothing is scored for {', '.join(empty)}: left out of all metrics but pss_bounds"
                " and the two with the unscored filled in"
            )
        if not self.has_verdicts:
            found.append(NO_VERDICTS)
        if self.scored.any() and self.correct.sum() in (0, self.scored.sum()):
            found.append(
                f"every scored response is {'correct' if self.correct.any() else 'wrong'}: redrawn "
                "questions are all alike, so that intervals across personas can have no width; "
                "those of the mean and of each persona show what so few questions can tell"
            )
        alone = self._alone()
        if alone and len(self.personas) > 1:
            found.append(
                f"{', '.join(alone)}: never as many scored responses as another persona has to the "
                "same question, so the noise floor and p_value leave it as it is"
            )
        return tuple(found)

    def _alone(self) -> list[str]:
        """Personas none of whose cells can be exchanged with another's."""
        partner = np.zeros(len(self.personas), dtype=bool)
        for n in np.unique(self.scored[self.scored > 0]):
            same = self.scored == n
            partner |= (same & (same.sum(axis=1, keepdims=True) > 1)).any(axis=0)
        partner |= ~self.scored.any(axis=0)  # nothing to exchange, and another note says so
        return [p for p, found in zip(self.personas, partner, strict=True) if not found]
