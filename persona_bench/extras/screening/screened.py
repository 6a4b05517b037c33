"""What a screening run says: the PSS of the whole set, and of the two personas chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from persona_bench.extras.screening.effects import draw_effects
from persona_bench.extras.screening.rasch import RaschFit, between, fit_counts
from persona_bench.scoring.cells import values_of
from persona_bench.scoring.estimate import plain
from persona_bench.scoring.resampling import Floats, Interval, percentile_interval, worst_over_best

DRAWS = 1000

DEFINITIONS: dict[str, str] = {
    "pss": "worst / best accuracy over all personas: posterior mean under a Rasch model, finalists "
    "as measured; what the full grid would show (greedy), or of expected accuracies (sampled)",
    "pss_held_out": "accuracy of the persona that screening found worst / found best, both on "
    "held-out questions: free of luck in the choice; too high where others are more extreme",
    "pss_finalists": "worst / best accuracy of the finalists on all they were asked: as greedy "
    "decoding goes, the full grid's PSS is this or lower",
    "share": "responses asked / responses of the full grid at one sample a cell",
}


@dataclass(frozen=True)
class Screening:
    """The PSS of a persona set from a sparse table. Accuracies are shares, 0 to 1."""

    pss: float
    pss_interval: Interval
    pss_held_out: float
    pss_held_out_interval: Interval
    """Over questions like these, for these two personas."""
    pss_finalists: float
    worst_persona: str
    best_persona: str
    """The finalists with the lowest and the highest accuracy, the first of a tie."""
    chosen_worst: str
    chosen_best: str
    """What screening alone chose: the two of `pss_held_out`."""
    share: float
    n_responses: int
    n_questions: int
    n_personas: int
    n_held_out: int
    unscored: int
    decoding: str
    confidence: float
    seed: int
    per_persona: pd.DataFrame
    """persona, finalist ("worst", "best" or ""), n (scored responses), share_correct (of those
    asked: questions differ between personas), accuracy, low, high (posterior); worst first."""

    @property
    def worst_personas(self) -> list[str]:
        """All finalists with the lowest accuracy; more than one is a tie."""
        return self._finalists_with(self._of_finalists().min())

    @property
    def best_personas(self) -> list[str]:
        """All finalists with the highest accuracy; more than one is a tie."""
        return self._finalists_with(self._of_finalists().max())

    def _of_finalists(self) -> pd.Series:
        finalists = self.per_persona[self.per_persona["finalist"] != ""]
        return finalists.set_index("persona")["accuracy"]

    def _finalists_with(self, accuracy: float) -> list[str]:
        own = self._of_finalists()
        return sorted(own.index[np.isclose(own, accuracy, rtol=0, atol=1e-9)])

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON, the finalists of a tie, and `DEFINITIONS`."""
        ties = {"worst_personas": self.worst_personas, "best_personas": self.best_personas}
        return {**plain(self), **ties, "definitions": DEFINITIONS}


@dataclass(frozen=True)
class _Counts:
    """Shape (questions, personas), over the whole grid."""

    correct: Floats
    scored: Floats

    @classmethod
    def of(cls, table: pd.DataFrame, questions: Sequence[str], personas: Sequence[str]) -> _Counts:
        if not values_of(table).dropna().isin([0.0, 1.0]).all():
            raise ValueError("a screen needs verdicts, and some responses have scores in between")
        with_verdict = table[table["correct"].notna()]
        row = pd.Index(questions).get_indexer(pd.Index(with_verdict["question"].astype(str)))
        column = pd.Index(personas).get_indexer(pd.Index(with_verdict["persona"].astype(str)))
        correct, scored = (np.zeros((len(questions), len(personas))) for _ in range(2))
        np.add.at(scored, (row, column), 1.0)
        np.add.at(correct, (row, column), with_verdict["correct"].to_numpy(float))
        return cls(correct, scored)


def summarise(
    table: pd.DataFrame,
    *,
    questions: Sequence[str],
    personas: Sequence[str],
    held_out: Sequence[str],
    lowest: Sequence[str],
    highest: Sequence[str],
    decoding: str,
    confidence: float,
    seed: int,
) -> Screening:
    """The estimates from all outcomes of a screening run (see `screening.screen`)."""
    counts = _Counts.of(table, questions, personas)
    fit = _fit(counts, list(questions), list(personas))
    rng = np.random.default_rng([seed, 1])
    effects = draw_effects(fit.effect, fit.se, DRAWS, rng)
    drawn = (
        _of_the_grid(counts, fit, effects, rng) if decoding == "greedy" else fit.accuracy(effects)
    )
    pss = worst_over_best(drawn)
    is_finalist = np.isin(personas, [*lowest, *highest])
    middle = drawn.mean(axis=0)
    measured = counts.correct.sum(axis=0) / np.maximum(counts.scored.sum(axis=0), 1)
    ends = np.flatnonzero(is_finalist)
    worst, best = ends[middle[ends].argmin()], ends[middle[ends].argmax()]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    per_persona = pd.DataFrame(
        {
            "persona": list(personas),
            "finalist": [
                "worst" if p in lowest else "best" if p in highest else "" for p in personas
            ],
            "n": counts.scored.sum(axis=0).astype(int),
            "share_correct": np.where(counts.scored.any(axis=0), measured, np.nan),
            "accuracy": middle,
            "low": low,
            "high": high,
        }
    ).sort_values(["accuracy", "persona"], ignore_index=True)
    ratio, interval = _held_out_ratio(
        counts, np.isin(questions, held_out), list(personas), lowest[0], highest[0], confidence
    )
    return Screening(
        pss=float(pss.mean()),
        pss_interval=percentile_interval(pss, confidence),
        pss_held_out=ratio,
        pss_held_out_interval=interval,
        pss_finalists=float(worst_over_best(middle[ends])),
        worst_persona=personas[worst],
        best_persona=personas[best],
        chosen_worst=lowest[0],
        chosen_best=highest[0],
        share=len(table) / counts.scored.size,
        n_responses=len(table),
        n_questions=len(questions),
        n_personas=len(personas),
        n_held_out=len(held_out),
        unscored=int(table["correct"].isna().sum()),
        decoding=decoding,
        confidence=confidence,
        seed=seed,
        per_persona=per_persona,
    )


def _fit(counts: _Counts, questions: list[str], personas: list[str]) -> RaschFit:
    """The fit of what was asked; questions that were not are spread as their population is."""
    for name, n in zip(personas, counts.scored.sum(axis=0), strict=True):
        if not n:
            raise ValueError(
                f"no response of persona {name} is scored: mend the grader, or leave it out"
            )
    is_asked = counts.scored.any(axis=1)
    fit = fit_counts(counts.correct[is_asked], counts.scored[is_asked], personas)
    ease = np.empty(len(questions))
    ease[is_asked] = fit.ease
    unknown = len(questions) - len(fit.ease)
    quantiles = norm.ppf((np.arange(unknown) + 0.5) / max(unknown, 1))
    ease[~is_asked] = fit.question_mean + fit.question_sd * quantiles
    return RaschFit(**{**vars(fit), "questions": questions, "ease": ease})


def _of_the_grid(
    counts: _Counts, fit: RaschFit, effects: Floats, rng: np.random.Generator
) -> Floats:
    """Accuracies that the full grid would show, shape (draws, personas).

    What was asked stands; what was not is predicted, with its own binomial noise: where
    cells are what they are, the luck of the draw is part of what the grid shows.
    """
    asked = counts.scored > 0
    rates = np.divide(counts.correct, counts.scored, out=np.zeros(asked.shape), where=asked).sum(0)
    grid = between(effects)
    p = fit.probabilities(grid)
    missing = (~asked).T.astype(float)
    mean, variance = missing @ p, missing @ (p * (1 - p))
    out = np.empty_like(effects)
    for j in range(effects.shape[1]):
        middle, spread = (np.interp(effects[:, j], grid, of[j]) for of in (mean, variance))
        drawn = middle + np.sqrt(spread) * rng.normal(size=len(effects))
        out[:, j] = rates[j] + np.clip(drawn, 0, missing[j].sum())
    return out / len(asked)


def _held_out_ratio(
    counts: _Counts,
    rows: NDArray[np.bool_],
    personas: list[str],
    worst: str,
    best: str,
    confidence: float,
) -> tuple[float, Interval]:
    """Accuracy of one persona over another's on the same questions, with a log-normal interval.

    The standard error of log(a / b) is that of the mean over questions of x/a - y/b, by the
    delta method; half a response is added to each side where one of the two is 0.
    """
    columns = [personas.index(worst), personas.index(best)]
    n = counts.scored[rows][:, columns]
    both = n.min(axis=1) > 0
    share = counts.correct[rows][:, columns][both] / n[both]
    questions = len(share)
    if questions < 2:
        return float("nan"), Interval(float("nan"), float("nan"))
    a, b = share.mean(axis=0)
    safe = np.maximum([a, b], 0.5 / questions)
    pull = share[:, 0] / safe[0] - share[:, 1] / safe[1]
    se = pull.std(ddof=1) / np.sqrt(questions)
    middle, half = np.log(safe[0] / safe[1]), norm.ppf((1 + confidence) / 2) * se
    interval = Interval(float(np.exp(middle - half)), float(np.exp(middle + half)))
    return float(a / b) if b else 0.0, interval
