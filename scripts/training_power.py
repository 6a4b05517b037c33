"""The smallest differences that the training study can be expected to find, stated beforehand.

    python -m scripts.training_power

Simulates pairs of checkpoints on the study's design (160 questions x 16 personas, greedy): logit of
a right answer = level + question (sd 1.5, shared) + persona (sd 0.3, each its own) + persona x
question (sd 0.8, each its own). From the mean width of `compare`'s 95% intervals: the difference
found at 5% with a power of 80%, (1.96 + 0.84) standard errors. Of one pair of checkpoints: what two
trainings with other seeds differ by comes on top.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from persona_bench.scoring.compare import compare

QUESTIONS, PERSONAS, PAIRS = 160, 16, 12
FOUND = (1.96 + 0.84) / 1.96  # in half-widths of a 95% interval


def outcomes(level: float, question: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """A checkpoint's outcomes, as `compare` takes them."""
    logit = level + question[:, None] + rng.normal(0, 0.3, PERSONAS)
    logit = logit + rng.normal(0, 0.8, (QUESTIONS, PERSONAS))
    right = rng.random(logit.shape) < 1 / (1 + np.exp(-logit))
    rows = [
        {
            "model": "simulated",
            "task": "sums",
            "persona": f"p{p:02d}",
            "kind": "control",
            "question": f"q{q:03d}",
            "sample": 0,
            "verdict": "correct" if right[q, p] else "wrong",
            "correct": float(right[q, p]),
        }
        for q in range(QUESTIONS)
        for p in range(PERSONAS)
    ]
    return pd.DataFrame(rows)


def main() -> None:
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    found = []
    for accuracy in (0.3, 0.6):
        level = 1.35 * np.log(accuracy / (1 - accuracy))  # the spread draws accuracies to a half
        for _ in range(PAIRS):
            question = rng.normal(0, 1.5, QUESTIONS)
            pair = [outcomes(level, question, rng) for _ in range(2)]
            table = compare(*pair, resamples=1000).metrics
            table["accuracy"] = accuracy
            found.append(table)
    told = pd.concat(found)
    told["found"] = (told["high"] - told["low"]) / 2 * FOUND
    print(f"{QUESTIONS} questions x {PERSONAS} personas, {PAIRS} simulated pairs a row")
    print(told.groupby(["accuracy", "metric"])["found"].mean().unstack().round(3).to_string())


if __name__ == "__main__":
    main()
