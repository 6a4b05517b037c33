"""How close does screening come to the PSS of the full grid, and of the expected accuracies?

    python -m scripts.screening_study --grids 100

Draws grids of 500 questions x 64 personas from a known model: a response is correct with
probability logistic(base + d + z + i), question z ~ N(0, 1.5^2), persona effect d, and, where
there is interaction, i ~ N(0, 0.8^2) for each pair. Each grid is screened twice, with 20% of
it: greedy (a cell gives what the grid holds; the target is the PSS that the full grid shows)
and sampled (a cell gives a new response each time; the target is the PSS of the expected
accuracies on these questions). Beside them stands the full grid, one sample a cell, against
the expected accuracies. Prints Markdown; results/screening/README.md has it.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from persona_bench.extras.screening.rounds import screen
from persona_bench.extras.screening.screened import summarise
from persona_bench.scoring.resampling import null_pss, worst_over_best
from scripts.simulation import EASE_SD, base

INTERACTION_SD, CLOSE = 0.8, 0.03
EFFECTS = ("none", "weak", "strong", "one harmful", "two groups")
COLUMNS = {
    "greedy": "screened, greedy, vs grid",
    "held-out": "held-out pair, greedy, vs expected",
    "sampled": "screened, sampled, vs expected",
    "full": "full grid, plain, vs expected",
    "model": "full grid, model, vs expected",
}


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


def study(
    s: Setting, grids: int, questions: int, personas: int, budget: float
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Errors by column, shape (grids,), and means of what describes the setting."""
    rng = np.random.default_rng([*map(ord, repr(s))])
    errors, about = defaultdict(list), defaultdict(list)
    for seed in range(grids):
        grid = Grid(s, questions, personas, rng)
        expected = float(worst_over_best(grid.p.mean(axis=0)))
        shown = float(worst_over_best(grid.verdicts.mean(axis=0)))
        found = {}
        for decoding in ("greedy", "sampled"):
            fresh = decoding == "sampled"
            found[decoding] = screen(
                lambda _, design, k, grid=grid, fresh=fresh: grid.ask(design, k, fresh=fresh),
                grid.questions, grid.personas, budget=budget, decoding=decoding, seed=seed,
            )  # fmt: skip
        row, column = np.divmod(np.arange(grid.p.size), personas)
        whole = summarise(
            grid.outcomes(row, column, fresh=False), questions=grid.questions,
            personas=grid.personas, held_out=grid.questions, lowest=grid.personas[:1],
            highest=grid.personas[-1:], decoding="sampled", confidence=0.95, seed=seed,
        )  # fmt: skip
        ones = np.ones(grid.p.shape, dtype=np.int64)
        floor = null_pss(grid.verdicts.astype(np.int64), ones, 20, rng).mean()
        errors["greedy"].append(found["greedy"].pss - shown)
        errors["held-out"].append(found["greedy"].pss_held_out - expected)
        errors["sampled"].append(found["sampled"].pss - expected)
        errors["full"].append(shown - expected)
        errors["model"].append(whole.pss - expected)
        about["expected"].append(expected)
        about["shown"].append(shown)
        about["floor"].append(floor)
        for decoding, target in (("greedy", shown), ("sampled", expected)):
            low, high = found[decoding].pss_interval
            about[f"covered {decoding}"].append(low - 1e-9 <= target <= high + 1e-9)
            about[f"share {decoding}"].append(found[decoding].share)
    means = {key: float(np.mean(values)) for key, values in about.items()}
    return {key: np.array(values) for key, values in errors.items()}, means


def line(s: Setting, errors: dict[str, np.ndarray], about: dict[str, float]) -> str:
    """One row: share of grids within ±0.03 (bias, RMSE) in each column."""
    cells = [f"{s.accuracy}", s.effect, "yes" if s.interaction else "no"]
    cells += [f"{about[key]:.2f}" for key in ("expected", "shown", "floor")]
    for key in COLUMNS:
        e = errors[key]
        close = np.mean(np.abs(e) <= CLOSE)
        cells.append(f"{close:.0%} ({e.mean():+.3f}, {np.sqrt(np.mean(e**2)):.3f})")
    for decoding in ("greedy", "sampled"):
        cells.append(f"{about[f'covered {decoding}']:.0%}, {about[f'share {decoding}']:.1%}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", type=int, default=100, help="grids drawn per setting")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--personas", type=int, default=64)
    parser.add_argument("--budget", type=float, default=0.2, help="share of the grid")
    parser.add_argument("--accuracy", type=float, nargs="+", default=[0.2, 0.5, 0.8])
    parser.add_argument("--effect", nargs="+", default=EFFECTS, choices=EFFECTS)
    args = parser.parse_args()
    heads = ["accuracy", "effects", "interaction", "PSS expected", "PSS of the full grid"]
    heads += ["noise floor", *COLUMNS.values()]
    heads += ["interval holds, share used: greedy", "the same: sampled"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    pooled = defaultdict(list)
    for s in itertools.starmap(
        Setting, itertools.product(args.accuracy, args.effect, (False, True))
    ):
        errors, about = study(s, args.grids, args.questions, args.personas, args.budget)
        print(line(s, errors, about), flush=True)
        for key, e in errors.items():
            pooled[key].append(np.mean(np.abs(e) <= CLOSE))
    print()
    for key, name in COLUMNS.items():
        shares = np.array(pooled[key])
        print(f"- {name}: within ±{CLOSE} in {shares.mean():.0%} of grids on average, "
              f"in at least 95% in {np.sum(shares >= 0.95)} of {len(shares)} settings")  # fmt: skip


if __name__ == "__main__":
    main()
