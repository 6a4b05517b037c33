"""What the unscored responses leave open."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.corrected import corrected_pss
from persona_bench.scoring.resampling import Counts, Interval, null_accuracies, worst_over_best

LEVEL = 0.01
"""Level of the test of whether personas differ in their share of unscored responses."""


class IfUnscored(NamedTuple):
    """A number with all of the unscored wrong, and with all of it right."""

    all_wrong: float
    all_right: float


def if_unscored(cells: Cells) -> dict[str, Any]:
    """Mean accuracy and PSS with the unscored filled in, and the bounds of the PSS."""
    correct, responses = cells.correct.sum(axis=0), cells.responses.sum(axis=0)
    open_ = cells.unscored.sum(axis=0)
    wrong, right = correct / responses, (correct + open_) / responses
    return {
        "mean_if_unscored": IfUnscored(float(wrong.mean()), float(right.mean())),
        "pss_if_unscored": IfUnscored(float(worst_over_best(wrong)), float(worst_over_best(right))),
        "pss_bounds": pss_bounds(correct, open_, responses),
    }


def unscored_p_value(cells: Cells, resamples: int, rng: np.random.Generator) -> float:
    """Of the share of unscored responses being the same for all personas.

    The variance over personas of their shares, against exchanges of whole cells among the personas
    with equally many responses to a question. NaN where nothing is unscored, or with one persona.
    """
    if len(cells.personas) < 2 or not cells.unscored.any():
        return float("nan")
    some = cells.only(questions=cells.unscored.any(axis=1))  # on the others nothing is exchanged
    total = cells.responses.sum(axis=0)
    here = some.responses.sum(axis=0)
    null = null_accuracies(some.unscored, some.responses, resamples, rng)
    null = np.nan_to_num(null) * here / total
    seen = (cells.unscored.sum(axis=0) / total).var()
    beyond = int((null.var(axis=1) >= seen - 1e-12).sum())
    return (1 + beyond) / (1 + resamples)


def why_undetermined(
    cells: Cells, conclusion: str, stable_from: float, resamples: int, rng: np.random.Generator
) -> tuple[float, str]:
    """The p-value above, and a sentence where the unscored responses forbid the conclusion.

    They do where personas differ in their share of them (p < `LEVEL`): these are then not missing
    at random. And they do where the corrected PSS with all of them wrong, or all of them right,
    lies on the other side of `stable_from`.
    """
    p = unscored_p_value(cells, resamples, rng)
    if p < LEVEL:
        share = cells.unscored.sum(axis=0) / cells.responses.sum(axis=0)
        few, many = int(share.argmin()), int(share.argmax())
        return p, (
            "undetermined because responses are not unscored at random: "
            f"{share[few]:.1%} under {cells.personas[few]} and {share[many]:.1%} under "
            f"{cells.personas[many]} (p = {p:.2g}); grade them, or generate them again"
        )
    if conclusion == "undetermined" or not cells.unscored.any():
        return p, ""
    filled = [
        corrected_pss(
            replace(
                cells,
                correct=cells.correct + right,
                squares=cells.squares + right,
                scored=cells.responses,
            ),
            0.95,
            rng,
        )
        for right in (0, cells.unscored)
    ]
    stable = conclusion == "stable"
    if all((pss >= stable_from) == stable for pss in filled):
        return p, ""
    return p, (
        f"undetermined because the unscored responses could decide it: with all of them wrong the "
        f"corrected PSS is {filled[0]:.3f}, with all of them right {filled[1]:.3f}, and the "
        f"threshold is {stable_from:g}"
    )


def pss_bounds(correct: Counts, unscored: Counts, responses: Counts) -> Interval:
    """Exact bounds of the PSS, from sums per persona.

    Lowest: one persona gets none of its unscored right and another all of them. Highest:
    the accuracies as close together as whole numbers allow; for each value that the worst
    could have, every other persona takes its smallest value that is not below it. Unscored
    responses that would have had scores could have had any.
    """
    low, high = correct / responses, (correct + unscored) / responses
    if high.max() == 0:
        return Interval(0.0, 0.0)
    if len(correct) == 1:
        return Interval(float(low[0] > 0), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = np.where(high[None, :] > 0, low[:, None] / high[None, :], np.inf)
    np.fill_diagonal(pairs, np.inf)
    lowest = 0.0 if low.min() == 0 else min(1.0, float(pairs.min()))
    if correct.dtype.kind == "f":
        return Interval(lowest, min(1.0, float(high.min() / max(low.max(), high.min()))))
    return Interval(lowest, _highest_pss(correct, unscored, responses))


def _highest_pss(correct: Counts, unscored: Counts, responses: Counts) -> float:
    """See `pss_bounds`. Whole numbers throughout, so that equal accuracies are equal."""
    ceiling = min(
        Fraction(int(c + u), int(n)) for c, u, n in zip(correct, unscored, responses, strict=True)
    )
    if ceiling == 0:
        return 0.0
    worst_right = []
    worst_of = []
    for c, u, n in zip(correct, unscored, responses, strict=True):
        right = np.arange(c, c + u + 1)
        right = right[(right * ceiling.denominator <= ceiling.numerator * n) & (right > 0)]
        worst_right.append(right)
        worst_of.append(np.full_like(right, n))
    a, b = np.concatenate(worst_right), np.concatenate(worst_of)
    if not a.size:
        return 0.0
    best = np.zeros(a.size)
    for c, n in zip(correct, responses, strict=True):
        best = np.maximum(best, np.maximum(c, -(-a * n // b)) / n)
    return float((a / b / best).max())
