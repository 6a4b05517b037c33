"""How often do the intervals of `persona_bench.scoring.intervals` hold the truth?

    python -m scripts.interval_study --tables 200 --resamples 400

Draws tables from a known model, so that every metric's true value (over a population of
questions and samples, personas fixed) is known, and counts how often each kind of interval
holds it. A question has a difficulty z ~ N(0, 1.5^2), a persona an effect d, and a response is
correct with probability logistic(base + d + z). Prints Markdown tables; docs/metrics.md has
them.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import binom, norm

from persona_bench.scoring import intervals
from persona_bench.scoring.cells import Cells
from persona_bench.scoring.family import METRICS, metrics_of, totals_of
from persona_bench.scoring.resampling import bootstrap
from scripts.simulation import EASE_SD, NODES, WEIGHTS, cells_of

BASE = {"medium": 0.3, "hard": -2.0}  # mean accuracy about 0.55 and 0.16
EFFECTS = ("none", "weak", "strong", "outlier")
METHODS = ("percentile", "basic", "log basic", "BC", "BCa", "used")


class Setting(NamedTuple):
    base: str
    questions: int
    personas: int
    samples: int
    effect: str


def persona_effects(name: str, personas: int) -> np.ndarray:
    """Effects in log-odds: spread evenly with sd 0, 0.2 or 0.8, or one persona far below."""
    even = np.linspace(-1, 1, personas)
    even /= even.std()
    outlier = np.zeros(personas)
    outlier[0] = -2
    return {"none": 0 * even, "weak": 0.2 * even, "strong": 0.8 * even, "outlier": outlier}[name]


def true_values(s: Setting) -> tuple[dict[str, float], np.ndarray]:
    """Every metric of the expected accuracies, and these, integrated over difficulties."""
    d = persona_effects(s.effect, s.personas)
    p = expit(BASE[s.base] + d + EASE_SD * NODES[:, None])
    acc = WEIGHTS @ p
    ones, squares = p.sum(1), (p**2).sum(1)
    same = ones**2 - squares + (s.personas - ones) ** 2 - (s.personas - 2 * ones + squares)
    solved = binom.sf(s.samples // 2, s.samples, p)
    values = {
        "pss": acc.min() / acc.max(),
        "pss_mean": acc.mean() / acc.max(),
        "pss_cv": 1 - acc.std() / acc.mean(),
        "agreement": WEIGHTS @ same / (s.personas * (s.personas - 1)),
        "solid": WEIGHTS @ solved.prod(1) / (WEIGHTS @ (1 - (1 - solved).prod(1))),
        "mean": acc.mean(),
        "worst": acc.min(),
        "best": acc.max(),
        "spread": np.ptp(acc),
        "sd": acc.std(),
    }
    return {name: float(value) for name, value in values.items()}, acc


def corrected(
    replicates: np.ndarray, seen: float, jackknife: np.ndarray | None
) -> tuple[float, float]:
    """Bias-corrected (BC) interval, or BCa with the jackknife values (Efron 1987)."""
    n = len(replicates)
    below = ((replicates < seen).sum() + 0.5 * (replicates == seen).sum()) / n
    z0 = norm.ppf(np.clip(below, 0.5 / n, 1 - 0.5 / n))
    acceleration = 0.0
    if jackknife is not None and np.ptp(jackknife) > 0:
        pull = jackknife.mean() - jackknife
        acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    z = z0 + norm.ppf([0.025, 0.975])
    low, high = np.quantile(replicates, norm.cdf(z0 + z / (1 - acceleration * z)))
    return low, high


def all_intervals(
    cells: Cells, resamples: int, rng: np.random.Generator
) -> dict[tuple[str, str], tuple[float, float]]:
    """95% intervals by (metric, method)."""
    totals = totals_of(cells)
    sums = totals.sum(axis=0, keepdims=True)
    seen = metrics_of(sums)[0]
    jackknife = metrics_of(sums - totals)
    replicates = bootstrap(
        totals, lambda s: np.hstack([metrics_of(s), intervals._noise(s, sums)]), resamples, rng
    )
    values = dict(zip(METRICS, seen.tolist(), strict=True))
    used = intervals._extreme_intervals(values, sums[0], replicates, 0.95)
    used |= intervals._mean_intervals(values, cells, totals, 0.95, None)
    out = {}
    for i, metric in enumerate(METRICS):
        r, x = replicates[:, i], seen[i]
        low, high = np.quantile(r, [0.025, 0.975])
        out[metric, "percentile"] = (low, high)
        out[metric, "basic"] = (2 * x - high, 2 * x - low)
        if metric in ("pss", "pss_mean"):
            out[metric, "log basic"] = (x * x / high if high else 0, x * x / low if low else 1)
        out[metric, "BC"] = corrected(r, x, None)
        out[metric, "BCa"] = corrected(r, x, jackknife[:, i])
        out[metric, "used"] = used[metric]
    return out


def study(s: Setting, tables: int, resamples: int) -> tuple[Setting, dict[str, float], dict]:
    """Coverage and mean width by (metric, method), and mean of what the metric showed."""
    rng = np.random.default_rng([*map(ord, "".join(map(str, s)))])
    truth, acc = true_values(s)
    found = defaultdict(list)
    shown = []
    for _ in range(tables):
        z = rng.normal(size=(s.questions, 1)) * EASE_SD
        p = expit(BASE[s.base] + persona_effects(s.effect, s.personas) + z)
        n = np.full(p.shape, s.samples)
        cells = cells_of(rng.binomial(s.samples, p), n)
        shown.append(metrics_of(totals_of(cells).sum(axis=0, keepdims=True))[0, 0])
        for (metric, method), (low, high) in all_intervals(cells, resamples, rng).items():
            low, high = max(low, -9 if metric == "pss_cv" else 0), min(high, 1)
            inside = low - 1e-9 <= truth[metric] <= high + 1e-9
            found[metric, method].append((inside, high - low))
        low, high = intervals.accuracy_intervals(cells, 0.95)
        found["accuracy of a persona", "used"].append(
            (np.mean((low <= acc) & (acc <= high)), np.mean(high - low))
        )
    return (
        s,
        {"pss": truth["pss"], "shown": float(np.mean(shown))},
        {key: tuple(np.mean(rows, axis=0)) for key, rows in found.items()},
    )


def report(results: list[tuple[Setting, dict[str, float], dict]]) -> None:
    heads = [f"{q} {e}" for q in (30, 500) for e in EFFECTS]
    print("| metric | interval | " + " | ".join(heads) + " | lowest | mean width |")
    print("|---|---|" + "---|" * (len(heads) + 2))
    for metric, method in itertools.product((*METRICS, "accuracy of a persona"), METHODS):
        if (metric, method) not in results[0][2]:
            continue
        cover = {s: found[metric, method][0] for s, _, found in results}
        cells = [
            np.mean([c for s, c in cover.items() if (s.questions, s.effect) == (q, e)])
            for q in (30, 500)
            for e in EFFECTS
        ]
        width = np.mean([found[metric, method][1] for _, _, found in results])
        numbers = " | ".join(f"{x:.2f}" for x in [*cells, min(cover.values())])
        print(f"| {metric} | {method} | {numbers} | {width:.3f} |")
    print("\nThe lowest coverages of the intervals in use:\n")
    lowest = sorted(
        (cover, metric, s)
        for s, _, found in results
        for (metric, method), (cover, _) in found.items()
        if method == "used"
    )
    for cover, metric, s in lowest[:12]:
        print(f"- {metric} {cover:.3f}: {s.base}, {s.questions} questions, {s.personas} personas, "
              f"{s.samples} sample(s), {s.effect}")  # fmt: skip
    print("\n| base | questions | personas | samples | effect | true PSS | mean PSS shown | "
          "coverage, used | width |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for s, pss, found in results:
        cover, width = found["pss", "used"]
        print(f"| {' | '.join(map(str, s))} | {pss['pss']:.2f} | {pss['shown']:.2f} | "
              f"{cover:.3f} | {width:.2f} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=200, help="tables drawn per setting")
    parser.add_argument("--resamples", type=int, default=400, help="bootstrap replicates")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    grid = itertools.product(BASE, (30, 500), (6, 16), (1, 4), EFFECTS)
    run = partial(study, tables=args.tables, resamples=args.resamples)
    with ProcessPoolExecutor(args.workers) as pool:
        report(list(pool.map(run, itertools.starmap(Setting, grid))))


if __name__ == "__main__":
    main()
