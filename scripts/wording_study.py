"""Are persona, wording and placebo told apart where the truth is known?

    python -m scripts.wording_study --tables 200

Draws tables of 14 personas, a control and 6 placebos in three wordings each. A question has a
difficulty z ~ N(0, 1.5^2), a prompt an effect d, and a response is correct with probability
logistic(0.3 + d + z). For each truth it prints what is concluded, how often PSS beyond placebo and
the wording part of the variance are inside their 95% intervals, and how often each test finds
something. results/wording/README.md has the table.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from persona_bench.extras.parts.variance import variance_parts
from persona_bench.scoring.wordings import prompt_effects, rarefied_worst
from scripts.simulation import EASE_SD, expected, markdown

PERSONAS, PLACEBOS, WORDINGS, BASE = 14, 6, 3, 0.3
Effects = tuple[np.ndarray, np.ndarray]
"""Of personas and of placebos in log-odds, shape (prompts, wordings)."""


def beyond(personas: np.ndarray, placebos: np.ndarray) -> float:
    """The true PSS beyond placebo."""
    worst = [
        rarefied_worst(expected(BASE + each).mean(axis=1), PLACEBOS)
        for each in (personas, placebos)
    ]
    return float(worst[0] / worst[1])


def alike(personas: np.ndarray, placebos: np.ndarray) -> Effects:
    """The personas' effects scaled so that the worst persona is exactly the worst placebo."""
    scale = brentq(lambda by: beyond(by * personas, placebos) - 1, 0, 50)
    return scale * personas, placebos


def no_effect(rng: np.random.Generator) -> Effects:
    return np.zeros((PERSONAS, WORDINGS)), np.zeros((PLACEBOS, WORDINGS))


def wording_only(rng: np.random.Generator) -> Effects:
    """Wordings of placebos differ as those of personas do."""
    return 0.6 * rng.normal(size=(PERSONAS, WORDINGS)), 0.6 * rng.normal(size=(PLACEBOS, WORDINGS))


def same_wording(personas: np.ndarray) -> np.ndarray:
    return np.repeat(personas[:, None], WORDINGS, axis=1)


def as_placebos(rng: np.random.Generator) -> Effects:
    """Placebos differ, and personas as much."""
    placebos = -np.abs(rng.normal(size=PLACEBOS))
    return alike(same_wording(-np.abs(rng.normal(size=PERSONAS))), same_wording(placebos))


def as_one_placebo(rng: np.random.Generator) -> Effects:
    """One placebo is bad, the others do nothing, and all personas are as bad as that one."""
    placebos = np.where(np.arange(PLACEBOS) == 0, -1.0, 0.0)
    return same_wording(np.full(PERSONAS, -1.0)), same_wording(placebos)


def one_bad_each(rng: np.random.Generator) -> Effects:
    """One placebo is bad, and so is one persona, by as much as makes the two sides equal."""
    placebos = np.where(np.arange(PLACEBOS) == 0, -0.7, 0.0)
    return alike(
        same_wording(np.where(np.arange(PERSONAS) == 0, -1.0, 0.0)), same_wording(placebos)
    )


def persona_only(rng: np.random.Generator) -> Effects:
    """Four personas are worse than everything else."""
    worse = np.where(np.arange(PERSONAS) < 4, -1.2, 0.0)
    return same_wording(worse), np.zeros((PLACEBOS, WORDINGS))


TRUTHS: dict[str, Callable[[np.random.Generator], Effects]] = {
    "no effect": no_effect,
    "wording only": wording_only,
    "like placebos": as_placebos,
    "like the worst placebo": as_one_placebo,
    "one bad each": one_bad_each,
    "persona only": persona_only,
}


def table(effects: Effects, questions: int, mixed: float, rng: np.random.Generator) -> pd.DataFrame:
    """One response per question, prompt and wording; `mixed` is the sd of prompt x question."""
    names = [f"persona-{i}" for i in range(PERSONAS)] + [f"placebo-{i}" for i in range(PLACEBOS)]
    kinds = ["expert"] * PERSONAS + ["placebo"] * PLACEBOS
    both = np.vstack([*effects, np.zeros((1, WORDINGS))])
    ease = EASE_SD * rng.normal(size=(questions, 1, 1))
    own = mixed * rng.normal(size=(questions, len(both), 1))
    correct = rng.random((questions, *both.shape)) < expit(BASE + both + ease + own)
    place = np.indices(correct.shape).reshape(3, -1)
    rows = pd.DataFrame(
        {
            "question": place[0].astype(str),
            "persona": np.array([*names, "none"], dtype=object)[place[1]],
            "kind": np.array([*kinds, "control"], dtype=object)[place[1]],
            "sample": place[2],
            "wording": place[2] + 1,
            "correct": correct.ravel().astype(float),
        }
    )
    rows.loc[rows["persona"] == "none", "wording"] = 1
    return rows


def replicate(setting: tuple[str, int, float], seed: int, resamples: int) -> dict[str, Any]:
    """What is found in one table, beside the truth."""
    truth, questions, mixed = setting
    rng = np.random.default_rng([seed, questions, *map(ord, truth)])
    effects = TRUTHS[truth](rng)
    rows = table(effects, questions, mixed, rng)
    found = prompt_effects(rows, resamples=resamples, seed=seed)
    parts = variance_parts(rows, resamples=resamples, seed=seed, groups=pd.DataFrame()).table
    ratio = beyond(*effects)
    low, high = found.pss_beyond_placebo.interval
    wording = expected(BASE + effects[0]).var(axis=1).sum() / (PERSONAS + 1)
    tests = ("p_any", "p_wording", "p_persona", "p_placebo")
    return {
        "conclusion": found.conclusion,
        "inside": low <= ratio + 1e-9 and ratio - 1e-9 <= high,
        "above": low > ratio + 1e-9,
        "below": high < ratio - 1e-9,
        "worse": high < 1,
        "width": high - low,
        "truth": ratio,
        "off": found.pss_beyond_placebo - ratio,
        "wording inside": parts.low["wording"] <= wording <= parts.high["wording"],
        "wording truth": wording,
        "wording off": parts.variance["wording"] - wording,
        **{name: getattr(found, name) < 0.05 for name in tests},
    }


CONCLUSIONS = ("persona", "wording", "any prompt", "undetermined")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=200, help="tables drawn per setting")
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--questions", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--mixed", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(args.workers) as pool:
        for setting in itertools.product(TRUTHS, args.questions, args.mixed):
            one = partial(replicate, setting, resamples=args.resamples)
            found = pd.DataFrame(list(pool.map(one, range(args.tables), chunksize=5)))
            shares = {each: (found.conclusion == each).mean() for each in CONCLUSIONS}
            names = dict(zip(("truth of", "questions", "mixed"), setting, strict=True))
            rows.append(
                {**names, **shares, **found.drop(columns="conclusion").astype(float).mean()}
            )
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
