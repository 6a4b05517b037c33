"""How often method-level tests are wrong, on simulated trainings. Behind docs/methods_and_gates.md.

python -m scripts.method_study          # false positives, power and coverage, in two minutes
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from persona_bench.scoring.methods import _difference
from persona_bench.scoring.resampling import worst_over_best

METRICS = {
    "mean": lambda accuracy: accuracy.mean(axis=1),
    "worst": lambda accuracy: accuracy.min(axis=1),
    "pss": worst_over_best,
}
QUESTIONS, PERSONAS = 100, 8
SEED_SD, QUESTION_SD, PERSONA_SD = 0.15, 0.3, 0.15
"""Standard deviations in log-odds: of a seed, of seed x question, of seed x persona."""


def accuracies(
    rng: np.random.Generator, seeds: int, difficulty: np.ndarray, gap: float
) -> np.ndarray:
    """Accuracy of each seed under each persona, shape (seeds, personas)."""
    odds = difficulty[None, :, None] + gap + rng.normal(0, SEED_SD, (seeds, 1, 1))
    odds = odds + rng.normal(0, QUESTION_SD, (seeds, QUESTIONS, 1))
    odds = odds + rng.normal(0, PERSONA_SD, (seeds, 1, PERSONAS))
    return (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).mean(axis=1)


def main() -> None:
    """Print one row per number of seeds, test and true difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=1500)
    replicates = parser.parse_args().replicates
    rng = np.random.default_rng(1)
    print(
        "seeds  test        gap  "
        + "".join(f"{name + ' rejects':>15}{'covers':>8}" for name in METRICS)
    )
    for seeds in (2, 3, 4, 8):
        for test, offset in (("paired", 0), ("two-sample", 1000)):
            for gap in (0.0, 0.4):
                rejects = dict.fromkeys(METRICS, 0)
                covers = dict.fromkeys(METRICS, 0)
                for _ in range(replicates):
                    difficulty = rng.normal(0, 1.5, QUESTIONS)
                    a, b = (accuracies(rng, seeds, difficulty, g) for g in (0.0, gap))
                    many = [accuracies(rng, 60, difficulty, g) for g in (0.0, gap)] if gap else []
                    for name, metric in METRICS.items():
                        found = _difference(
                            pd.Series(metric(a), index=range(seeds)),
                            pd.Series(metric(b), index=range(offset, offset + seeds)),
                            0.95,
                        )
                        truth = metric(many[1]).mean() - metric(many[0]).mean() if gap else 0.0
                        rejects[name] += found.p_value <= 0.05
                        covers[name] += found.low <= truth <= found.high
                cells = "".join(
                    f"{rejects[name] / replicates:>15.3f}{covers[name] / replicates:>8.3f}"
                    for name in METRICS
                )
                print(f"{seeds:>5}  {test:<10}  {gap:.1f}  {cells}", flush=True)


if __name__ == "__main__":
    main()
