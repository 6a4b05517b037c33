"""Simulated grids of responses, which can be asked as `screen` asks.

A response is correct with probability logistic(base + d + z + i): question z ~ N(0, 1.5^2), persona
effect d, and, where there is interaction, i ~ N(0, 0.8^2) for each pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from scripts.simulation import EASE_SD, base

INTERACTION_SD = 0.8


class Setting(NamedTuple):
    accuracy: float
    effect: str
    interaction: bool


def persona_effects(name: str, personas: int, rng: np.random.Generator) -> np.ndarray:
    """In log-odds: normal with sd 0.2 or 0.8, one at -2, or halves at -0.5 and 0.5."""
    normal = rng.normal(size=personas)
    return {
        "none": np.zeros(personas),
        "weak": 0.2 * normal,
        "strong": 0.8 * normal,
        "one harmful": np.where(np.arange(personas) == 0, -2.0, 0.0),
        "two groups": np.where(np.arange(personas) % 2, 0.5, -0.5),
    }[name]


class Grid:
    """One drawn grid, which can be asked as `screen` asks."""

    def __init__(self, s: Setting, questions: int, personas: int, rng: np.random.Generator):
        z = EASE_SD * rng.normal(size=(questions, 1))
        i = INTERACTION_SD * s.interaction * rng.normal(size=(questions, personas))
        d = persona_effects(s.effect, personas, rng)
        self.p = expit(base(s.accuracy) + d + z + i)
        self.verdicts = (rng.random(self.p.shape) < self.p).astype(float)
        self.questions = [f"q{n:03d}" for n in range(questions)]
        self.personas = [f"p{n:02d}" for n in range(personas)]
        self.rng = rng

    def outcomes(self, row: np.ndarray, column: np.ndarray, fresh: bool) -> pd.DataFrame:
        correct = self.verdicts[row, column]
        if fresh:
            correct = (self.rng.random(len(row)) < self.p[row, column]).astype(float)
        names = (np.array(self.questions, object)[row], np.array(self.personas, object)[column])
        return pd.DataFrame({"question": names[0], "persona": names[1], "correct": correct})

    def ask(self, design: pd.DataFrame, samples: int, *, fresh: bool) -> pd.DataFrame:
        again = design.loc[design.index.repeat(samples)]
        row = pd.Index(self.questions).get_indexer(again["question"])
        column = pd.Index(self.personas).get_indexer(again["persona"])
        return self.outcomes(row, column, fresh)
