"""Two checkpoints on the same questions under the same personas: what differs, and is it noise?

    from persona_bench import compare, read_outcomes

    result = compare(read_outcomes("results/rlvr"), read_outcomes("results/permix"))
    print(result.metrics)

Everything is paired: a question that is hard for one model is hard for the other. Which test stands
behind which p-value is in the column `test`; docs/metrics.md has the formulas.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from persona_bench.scoring.cells import Cells, check, kinds_of
from persona_bench.scoring.comparable import pair_up
from persona_bench.scoring.corrected import TAIL, posterior, question_draws
from persona_bench.scoring.estimate import Result
from persona_bench.scoring.resampling import (
    CHUNK_CELLS,
    Floats,
    question_weights,
    worst_over_best,
)
from persona_bench.scoring.sequential import early_of

METRICS = ("mean", "worst", "best", "pss", "pss_corrected")

TESTS = {
    "flip": "signs of the questions' differences flipped at random",
    "swap": "the two models' responses swapped at random, question by question; asks whether the "
    "models differ at all",
    "draws": "draws of the corrected PSS of each model",
}
"""What each word in the column `test` means."""

ACCURACIES_DIFFER = 0.05
"""P-value of the mean accuracy up to which the plain PSS gets no interval and no p-value."""

NO_PLAIN_TEST = (
    "the mean accuracies differ, and noise lowers the plain PSS of the less accurate model more: "
    "the difference has no interval and no p-value; compare the corrected PSS"
)


@dataclass(frozen=True)
class Comparison(Result):
    """How model b differs from model a. Differences are b - a; accuracies are shares."""

    metrics: pd.DataFrame
    """metric, a, b, difference, low, high, p_value, test: one row for each of `METRICS`. Where the
    mean accuracies differ, the plain PSS has no interval and no p-value: noise lowers the score of
    the less accurate model more, whatever its personas do. With different numbers of samples per
    cell worst, best and PSS have none, for the same reason."""
    per_persona: pd.DataFrame
    """persona, kind, a, b, difference, low, high, p_value, p_holm: accuracies, in order of the
    difference. `p_holm` is the p-value corrected for the number of personas (Holm 1979)."""
    n_questions: int
    n_personas: int
    left_out: int
    """Responses to cells that only one of the two has scored: not compared."""
    confidence: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON, and what the tests are (see `Result.to_dict`)."""
        return {**super().to_dict(), "tests": TESTS}


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    allow_different_generation: bool = False,
) -> Comparison:
    """Compare two models' outcomes on one benchmark, b against a.

    Args:
        a: One model's outcomes, as `stability` takes them.
        b: The other's.
        confidence: Level of the intervals.
        resamples: Bootstrap replicates, and random flips and swaps.
        seed: Seed of all that is random.
        allow_different_generation: Compare runs with other generation settings (temperature,
            tokens, samples, ...) too; what differs stands in `notes`.

    Where one of the two was looked at before its end (column `early`) there are no p-values, and
    the intervals of all looks together have `confidence`, as in `stability`.

    Raises:
        CompareError: the two differ in task, questions, personas, prompts, graders or generation
            settings.
        ValueError: a table that `stability` would refuse.
    """
    first, second = check(a), check(b)
    left, right, left_out, notes = pair_up(
        first, second, allow_different_generation=allow_different_generation
    )
    looked = [early for each in (a, b) if (early := early_of(each))]
    notes = (*dict.fromkeys(early.note for early in looked), *notes)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    flips, boot, swaps, draws = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)
    )
    level = max([confidence, *(early.confidence(confidence) for early in looked)])
    pair = Pair(left, right, level, resamples)
    rows = pair.extremes(boot, swaps)
    mean, personas = pair.accuracies(flips)
    table = pd.DataFrame([mean, *rows, pair.corrected(draws)]).set_index("metric")
    if mean["p_value"] <= ACCURACIES_DIFFER:
        table.loc["pss", ["low", "high", "p_value"]] = math.nan
        notes = (*notes, NO_PLAIN_TEST)
    if left.responses.max() != right.responses.max():  # a note says why
        table.loc[["worst", "best", "pss"], ["low", "high", "p_value"]] = math.nan
    personas.insert(1, "kind", kinds_of(first, list(personas["persona"])))
    if looked:
        table["p_value"] = math.nan
        personas[["p_value", "p_holm"]] = math.nan
    return Comparison(
        metrics=table.loc[list(METRICS)].reset_index(),
        per_persona=personas,
        n_questions=len(left.questions),
        n_personas=len(left.personas),
        left_out=left_out,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        notes=notes,
    )


# ----------------------------------------------------------------------- the differences
class Pair:
    """Two tables of the same shape with the same cells scored."""

    def __init__(self, a: Cells, b: Cells, confidence: float, resamples: int) -> None:
        self.a, self.b = a, b
        self.confidence, self.resamples = confidence, resamples
        self.totals = np.hstack([a.correct, a.scored, b.correct, b.scored]).astype(float)
        self.n = len(a.questions)

    def accuracies(self, rng: np.random.Generator) -> tuple[dict[str, Any], pd.DataFrame]:
        """The row of the mean accuracy, and the table of personas."""
        pull = self.b.influence - self.a.influence  # of each question, over the personas
        personas = len(self.a.personas)
        gap = (self.b.accuracy - self.a.accuracy) / personas
        # what each question adds to the difference, its own share of the mean among it
        added = pull + gap / self.n
        columns = np.column_stack([added.sum(axis=1), added * personas])
        difference = np.r_[gap.sum(), gap * personas]
        se = np.sqrt(self.n / max(1, self.n - 1) * ((columns - difference / self.n) ** 2).sum(0))
        half = student.ppf((1 + self.confidence) / 2, max(1, self.n - 1)) * se
        p = self._flipped(columns, rng)
        if self.n < 2:
            half, p = np.full(personas + 1, np.nan), np.full(personas + 1, np.nan)
        mean = _row("mean", self.a.accuracy.mean(), self.b.accuracy.mean(), p[0], "flip")
        mean |= {"low": difference[0] - half[0], "high": difference[0] + half[0]}
        table = pd.DataFrame(
            {
                "persona": self.a.personas,
                "a": self.a.accuracy,
                "b": self.b.accuracy,
                "difference": difference[1:],
                "low": np.maximum(-1, difference[1:] - half[1:]),
                "high": np.minimum(1, difference[1:] + half[1:]),
                "p_value": p[1:],
                "p_holm": p[1:] if self.n < 2 else multipletests(p[1:], method="holm")[1],
            }
        )
        return mean, table.sort_values(["difference", "persona"], ignore_index=True)

    def _flipped(self, columns: Floats, rng: np.random.Generator) -> Floats:
        """Two-sided p-values: how often random signs make a column's sum as large as it is."""
        seen = np.abs(columns.sum(axis=0))
        beyond = np.ones(columns.shape[1])
        for signs in self._signs(rng):
            beyond += (np.abs(signs @ columns) >= seen - 1e-12).sum(axis=0)
        return beyond / (1 + self.resamples)

    def _signs(self, rng: np.random.Generator) -> Iterator[Floats]:
        """Chunks of shape (replicates, questions) of 1 and -1."""
        chunk = max(1, CHUNK_CELLS // max(self.totals.shape))
        for start in range(0, self.resamples, chunk):
            rows = min(chunk, self.resamples - start)
            yield rng.choice(np.array([-1.0, 1.0]), (rows, self.n))

    def extremes(
        self, boot: np.random.Generator, swaps: np.random.Generator
    ) -> list[dict[str, Any]]:
        """The rows of worst, best and pss: bootstrap intervals, swaps for the p-values."""
        sums = self.totals.sum(axis=0)
        mine, other = (_extremes(x) for x in np.split(sums[None], 2, axis=1))
        seen = (other - mine)[0]
        width = self.totals.shape[1]
        chunks = question_weights(self.n, self.resamples, boot, width=width)
        drawn = np.concatenate([self._difference(w @ self.totals) for w in chunks])
        tail = (1 - self.confidence) / 2
        low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
        p = self._swapped(seen, swaps)
        rows = []
        for i, name in enumerate(("worst", "best", "pss")):
            row = _row(name, mine[0, i], other[0, i], p[i], "swap")
            rows.append(row | {"low": min(low[i], seen[i]), "high": max(high[i], seen[i])})
        return rows

    def _difference(self, sums: Floats) -> Floats:
        a, b = np.split(sums, 2, axis=1)
        return _extremes(b) - _extremes(a)

    def _swapped(self, seen: Floats, rng: np.random.Generator) -> Floats:
        a, b = np.split(self.totals, 2, axis=1)
        half = (a.sum(axis=0) + b.sum(axis=0)) / 2
        beyond = np.ones(3)
        for signs in self._signs(rng):
            moved = signs @ (b - a) / 2
            difference = _extremes(half + moved) - _extremes(half - moved)
            beyond += (np.abs(difference) >= np.abs(seen) - 1e-12).sum(axis=0)
        return beyond / (1 + self.resamples)

    def corrected(self, rng: np.random.Generator) -> dict[str, Any]:
        """The row of the corrected PSS: draws of b less draws of a."""
        a, b = corrected_draws(self.a, self.b, rng)
        difference = b - a
        tail = (1 - self.confidence) / 2 * TAIL
        low, high = np.quantile(difference, [tail, 1 - tail])
        p = two_sided(difference) if difference.size > 1 else math.nan
        row = _row("pss_corrected", np.median(a), np.median(b), p, "draws")
        return row | {"low": float(low), "high": float(high)}


def corrected_draws(a: Cells, b: Cells, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draws of the corrected PSS of two models with the same cells scored; a NaN each where one of
    them has none.

    Both models' chains have the same draws of questions, so that what the choice of questions does
    to both of them cancels; the rest of their noise is independent.
    """
    weights = question_draws(len(a.questions), rng)
    before, after = (posterior(cells, rng, weights) for cells in (a, b))
    if before is None or after is None:
        return np.full((1, 1), math.nan), np.full((1, 1), math.nan)
    return rng.permutation(before.pss, axis=0), after.pss


def two_sided(draws: Floats) -> float:
    """How far 0 is out in the draws, on the scale of the interval (`corrected.TAIL`)."""
    least = min((draws <= 0).sum(), (draws >= 0).sum())
    share = 2 * (1 + int(least)) / (1 + draws.size)
    return float(min(1.0, share / TAIL))


def _extremes(sums: Floats) -> Floats:
    """worst, best, pss in shape (replicates, 3) from correct and scored per persona."""
    correct, scored = np.split(sums, 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = correct / scored
    worst, best = np.fmin.reduce(accuracy, axis=1), np.fmax.reduce(accuracy, axis=1)
    return np.stack([worst, best, worst_over_best(accuracy)], axis=1)


def _row(metric: str, a: float, b: float, p: float, test: str) -> dict[str, Any]:
    return {
        "metric": metric,
        "a": float(a),
        "b": float(b),
        "difference": float(b - a),
        "low": math.nan,
        "high": math.nan,
        "p_value": float(p),
        "test": test,
    }
