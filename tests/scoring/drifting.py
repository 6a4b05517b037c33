"""Simulated models whose accuracy drifts over a conversation.

Each model has fixed personas, each with a slope of its own in log-odds per round; questions of
different difficulty and drift; and conversations (persona x script) that drift on their own by
`conversation_sd` per round. The truth is the mean slope over personas of the expected accuracy.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from persona_bench.scoring.drift import clustered_mean

TURNS = np.array([0, 4, 16])


class Model:
    """A model whose accuracy drifts.

    Args:
        personas: How many.
        conversation_sd: Of the drift that a conversation has by itself, in log-odds per round.
        question_sd: Of the drift that a question has by itself.
        seed: Of the personas' own slopes.
    """

    def __init__(
        self, personas: int, conversation_sd: float, question_sd: float = 0.02, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.ease = rng.normal(0.2, 0.4, personas)
        self.slope = rng.normal(-0.04, 0.03, personas)
        self.conversation_sd, self.question_sd = conversation_sd, question_sd
        many = rng.normal(size=(3, 200_000))
        p = [self._right(each, *many).mean(axis=0) for each in range(personas)]
        self.truth = float(np.mean([self._slope_of(each) for each in p]))

    def _right(
        self, persona: int, ease: np.ndarray, own: np.ndarray, talk: np.ndarray
    ) -> np.ndarray:
        """Probabilities, shape (questions, turns), from standard normal numbers."""
        rate = self.slope[persona] + self.question_sd * own + self.conversation_sd * talk
        logit = self.ease[persona] + 1.2 * ease[:, None] + rate[:, None] * TURNS
        return 1 / (1 + np.exp(-logit))

    @staticmethod
    def _slope_of(accuracies: np.ndarray) -> np.ndarray:
        away = TURNS - TURNS.mean()
        return accuracies @ away / (away**2).sum()

    def units(self, questions: int, scripts: int, rng: np.random.Generator) -> pd.DataFrame:
        """The slope of each persona and question, as `scoring.drift.clustered_mean` takes them."""
        ease, own = rng.normal(size=(2, questions))
        script = np.arange(questions) % scripts
        slopes = []
        for persona in range(len(self.slope)):
            talk = rng.normal(size=scripts)[script]
            right = rng.random((questions, len(TURNS))) < self._right(persona, ease, own, talk)
            slopes.append(self._slope_of(right))
        personas = len(slopes)
        return pd.DataFrame(
            {
                "persona": np.repeat(np.arange(personas), questions),
                "question": np.tile(np.arange(questions), personas),
                "script": np.tile(script, personas),
                "value": np.concatenate(slopes),
            }
        )


def coverage(
    model: Model, questions: int, scripts: int, replicates: int, seed: int = 1
) -> tuple[float, float]:
    """Share of 95% intervals that hold the truth, and their mean half width."""
    rng = np.random.default_rng(seed)
    hits, widths = [], []
    for _ in range(replicates):
        found = clustered_mean(model.units(questions, scripts, rng))
        low, high = found.interval(0.95)
        hits.append(low <= model.truth <= high)
        widths.append((high - low) / 2)
    return float(np.mean(hits)), float(np.mean(widths))
