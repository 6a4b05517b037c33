"""Looking at a run before its end without being fooled by it.

Whoever looks at a run again and again, and stops once the word pleases, is wrong far too often. A
group-sequential plan fixes beforehand when to look, and spends the permitted error on the looks
(Lan and DeMets 1983): each look gets wider intervals, so that all of them hold at once with the
stated confidence (repeated confidence intervals, Jennison and Turnbull 1989). They hold whatever
the reason to stop was. docs/stopping.md has the error and the savings that were measured.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

FRACTIONS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
"""Shares of the questions after which a run is looked at."""

FEWEST = 100
"""Questions before the first look; a benchmark of no more is asked whole. On fewer, where most
questions are always right or always wrong, the prior that personas are alike decides too much."""

GRID = 1001


def planned_looks(questions: int, fewest: int = FEWEST) -> tuple[int, ...]:
    """How many questions have been asked at each look; the last look is at all of them."""
    looks = {round(share * questions) for share in FRACTIONS}
    return tuple(sorted(n for n in looks if n >= fewest or n == questions))


Spending = Literal["early", "late"]
"""When most of the error is spent."""


def spent(share: float, error: float, spending: Spending = "early") -> float:
    """Error spent up to a share of the questions, by the functions of Lan and DeMets (1983).

    `early` is Pocock's type, error x log(1 + (e - 1) share): large effects are seen early, which
    is where most responses can be saved. `late` is O'Brien and Fleming's type: nearly all is left
    for the last looks, for tests whose errors on few questions are larger than they should be.
    """
    if spending == "early":
        return error * math.log1p((math.e - 1) * share)
    return float(2 * norm.sf(norm.isf(error / 2) / math.sqrt(share))) if share else 0.0


@lru_cache(maxsize=64)
def tail_levels(
    shares: tuple[float, ...], error: float, spending: Spending = "early"
) -> tuple[float, ...]:
    """One-sided level of each look, so that all looks together err with probability `error`.

    Args:
        shares: Shares of the questions asked at the looks so far, increasing, at most 1. Later
            looks don't change the levels of earlier ones.
        error: Total one-sided error, spent in full at a share of 1.
        spending: See `spent`.

    Returns:
        The levels, by numerical integration over the paths that have not crossed yet (Armitage,
        McPherson and Rowe 1969): estimates after more and more questions form a Brownian motion.
    """
    levels = []
    before, grid, weights = 0.0, np.zeros(1), np.ones(1)
    for share in shares:
        step = math.sqrt(share - before)
        budget = spent(share, error, spending) - spent(before, error, spending)
        bound = brentq(lambda b: weights @ norm.sf((b - grid) / step) - budget, -20, 20)  # noqa: B023
        levels.append(float(norm.sf(bound / math.sqrt(share))))
        points = np.linspace(-8 * math.sqrt(share), bound, GRID)
        density = norm.pdf((points[:, None] - grid) / step) @ weights / step
        density[[0, -1]] /= 2  # trapezoidal rule
        before, grid, weights = share, points, density * (points[1] - points[0])
    return tuple(levels)


# ------------------------------------------------------------- tables of runs that are not whole
@dataclass(frozen=True)
class Early:
    """That a table was looked at before its run was over.

    Attributes:
        looks: Questions asked at each look of the plan so far; empty where there was no plan.
        questions: Questions that the plan would ask at most.
        stored: Without a plan: responses that were there.
        asked: Without a plan: responses that the run asks for.
    """

    looks: tuple[int, ...] = ()
    questions: int = 0
    stored: int = 0
    asked: int = 0

    def confidence(self, confidence: float, spending: Spending = "early") -> float:
        """The confidence of this look's intervals, so that those of all looks have `confidence`."""
        if not self.looks:
            return confidence
        shares = tuple(n / self.questions for n in self.looks)
        return 1 - 2 * tail_levels(shares, (1 - confidence) / 2, spending)[-1]

    @property
    def note(self) -> str:
        """What a reader has to know."""
        if not self.looks:
            return (
                f"this is an early look at an unfinished run ({self.stored:,} of {self.asked:,} "
                "responses, and no random choice of them): no p-value and no conclusion, because "
                "looking often and stopping when it suits is wrong too often; finish the run, or "
                "start it with --until decided"
            )
        looks = ", ".join(f"{n:,}" for n in self.looks)
        return (
            f"looked at after {looks} of at most {self.questions:,} questions: intervals are "
            "wider, so that those of all looks hold at once, and there is no p-value"
        )


def early_of(table: pd.DataFrame) -> Early | None:
    """What the column `early` of a tidy table says; None where it is a whole run.

    Raises:
        ValueError: rows of runs that were looked at differently.
    """
    if "early" not in table.columns:
        return None
    told = {str(each) for each in table["early"].dropna().unique()}
    if len(told) > 1:
        raise ValueError("outcomes mix runs that were stopped at different looks: score each alone")
    facts = json.loads(told.pop() or "{}") if told else {}
    if not facts:
        return None
    return Early(**{**facts, "looks": tuple(facts.get("looks", ()))})
