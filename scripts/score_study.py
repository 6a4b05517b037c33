"""Do intervals and tests hold for scores between 0 and 1 as they do for verdicts?

    nice -n 19 python -m scripts.score_study --tables 100

A question has an ease z ~ N(0, 1.5^2) in log-odds, a persona an effect, a cell an interaction; a
score has the mean logistic(z + effect + interaction) and one of the distributions of `SHAPES`. The
truth is what the means are over all such questions. Prints a Markdown table, one row per setting:
the true PSS, the bias of the corrected PSS, how often each 95% interval holds the truth (corrected
PSS, plain PSS, mean, each persona's accuracy, all bands at once), how often p is at most 0.05, and
of two models of which b is 0.3 log-odds better: how often the intervals of their differences hold
the truth, and how often the gate's bound of the mean passes a difference that lies on its margin.
docs/calibration.md says what came out.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.compare import Pair
from persona_bench.scoring.corrected import STABLE_FROM, posterior, simultaneous_bands, summarise
from persona_bench.scoring.gate import lower_bounds
from persona_bench.scoring.intervals import accuracy_intervals, with_intervals
from persona_bench.scoring.resampling import null_pss, p_value

SHAPES = ("wide", "narrow", "thirds", "ends")
"""Of a score with mean m: Beta(2m, 2(1 - m)); Beta(40m, 40(1 - m)); the share of three verdicts;
a verdict in 4 of 10 cases, else wide."""
EFFECTS = ("none", "strong", "one harmful")
BETTER = 0.3
RESAMPLES = 400


class Setting(NamedTuple):
    shape: str
    effect: str
    questions: int
    personas: int
    samples: int
    interaction: float


def draw(shape: str, mean: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Scores, shape (samples, questions, personas)."""
    size = (samples, *mean.shape)
    mean = np.clip(mean, 1e-4, 1 - 1e-4)
    width = 40 if shape == "narrow" else 2
    if shape == "thirds":
        return rng.binomial(3, mean, size) / 3
    scores = rng.beta(width * mean, width * (1 - mean), size)
    if shape == "ends":
        scores = np.where(rng.random(size) < 0.4, rng.random(size) < mean, scores)
    return scores


def effects(s: Setting, rng: np.random.Generator) -> np.ndarray:
    normal = rng.standard_normal(s.personas)
    harmful = np.where(np.arange(s.personas) == 0, -1.5, 0.0)
    return {"none": 0 * normal, "strong": 0.8 * normal, "one harmful": harmful}[s.effect]


def truth(effect: np.ndarray, interaction: float) -> np.ndarray:
    """Mean of each persona over all questions."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    sd = np.hypot(1.5, interaction)
    return weights / weights.sum() @ expit(effect + sd * nodes[:, None])


def cells_of(scores: np.ndarray) -> Cells:
    """The sums of a table of scores, shape (samples, questions, personas)."""
    names = [f"{i:03d}" for i in range(max(scores.shape))]
    questions, personas = (names[:n] for n in scores.shape[1:])
    n = np.full(scores.shape[1:], len(scores))
    return Cells(questions, personas, n, n, scores.sum(axis=0), (scores**2).sum(axis=0))


def study(s: Setting, tables: int) -> dict[str, Any]:
    """The row of a setting."""
    rng = np.random.default_rng([*map(ord, "".join(map(str, s)))])
    rows = [_of_one_table(s, rng) for _ in range(tables)]
    result = {**s._asdict(), **pd.DataFrame(rows).astype(float).mean().round(3)}
    print(*result.values(), file=sys.stderr, flush=True)
    return result


def _of_one_table(s: Setting, rng: np.random.Generator) -> dict[str, float]:
    effect = effects(s, rng)
    ease = 1.5 * rng.standard_normal((s.questions, 1))
    a, b = (
        cells_of(draw(s.shape, expit(ease + effect + more + cell), s.samples, rng))
        for more in (0, BETTER)
        for cell in [s.interaction * rng.standard_normal((s.questions, s.personas))]
    )
    ours, theirs = truth(effect, s.interaction), truth(effect + BETTER, s.interaction)
    true, gain = (float(x.min() / x.max()) for x in (ours, theirs))
    found = with_intervals(a, 0.95, RESAMPLES, rng)
    drawn = posterior(a, rng)
    assert drawn is not None
    corrected = summarise(drawn.pss, 0.95)
    bands = simultaneous_bands(drawn.accuracy.reshape(-1, s.personas), 0.95)
    pair = Pair(a, b, 0.95, RESAMPLES)
    mean, of_pss = pair.accuracies(rng)[0], pair.corrected(rng)
    values = (b.correct - a.correct).mean(axis=1) / s.samples
    margin = ours.mean() - theirs.mean()  # the true difference lies on it
    return {
        "true PSS": true,
        "bias": corrected - true,
        "corrected PSS": _holds(corrected.interval, true),
        "width": np.ptp(corrected.interval),
        "plain PSS": _holds(found["pss"].interval, true),
        "mean": _holds(found["mean"].interval, ours.mean()),
        "accuracies": np.mean([_holds(ends, x) for ends, x in
                               zip(np.transpose(accuracy_intervals(a, 0.95)), ours, strict=True)]),
        "bands": np.all((bands[0] <= ours) & (ours <= bands[1])),
        "p <= 0.05": p_value(null_pss(a.correct, a.scored, RESAMPLES, rng), found["pss"]) <= 0.05,
        "d mean": _holds((mean["low"], mean["high"]), theirs.mean() - ours.mean()),
        "d corrected": _holds((of_pss["low"], of_pss["high"]), gain - true),
        "wrong pass": lower_bounds(values[:, None], 0.05)[0] > -margin,
    }  # fmt: skip


def rare_zeros(questions: int, tables: int) -> dict[str, float]:
    """High scores, but 8% of one persona's are 0: a PSS of 0.92."""
    rng = np.random.default_rng(questions)
    held, wrong = 0, 0
    for _ in range(tables):
        scores = rng.uniform(0.8, 1, (questions, 1)) + rng.uniform(-0.05, 0.05, (questions, 6))
        scores = np.clip(scores, 0, 1)
        scores[:, 0] *= rng.random(questions) >= 0.08
        drawn = posterior(cells_of(scores[None]), rng)
        assert drawn is not None
        corrected = summarise(drawn.pss, 0.95)
        held += _holds(corrected.interval, 0.92)
        wrong += corrected.low >= STABLE_FROM
    return {"questions": questions, "holds": held / tables, "wrong word": wrong / tables}


def _holds(interval: Any, value: float) -> bool:
    low, high = interval
    return bool(low - 1e-9 <= value <= high + 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=100, help="tables drawn per setting")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rare-zeros", action="store_true", help="print only that setting")
    args = parser.parse_args()
    if args.rare_zeros:
        rows = [rare_zeros(questions, args.tables) for questions in (20, 50, 100, 200)]
        print(pd.DataFrame(rows).to_markdown(index=False))
        return
    sizes = ((30, 6, 1, 0.0), (60, 12, 2, 0.5), (200, 16, 1, 0.5))
    settings = [
        Setting(shape, effect, *size)
        for size, shape, effect in itertools.product(sizes, SHAPES, EFFECTS)
    ]
    with ProcessPoolExecutor(args.workers) as pool:
        found = pd.DataFrame(pool.map(partial(study, tables=args.tables), settings))
    print(found.to_markdown(index=False))


if __name__ == "__main__":
    main()
