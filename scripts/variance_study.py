"""Are the variance parts unbiased, and do their intervals and the contrasts' hold the truth?

    python -m scripts.variance_study --tables 300

From the root of a source checkout. Draws tables from known models (`tests/scoring/simulated.py`:
difficulty with sd 1.5 in log-odds, persona effects, an interaction) and counts. Prints Markdown
tables; docs/metrics.md has them.
"""

from __future__ import annotations

import argparse
import gc
import itertools
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd

from persona_bench import contrasts
from persona_bench.extras.parts.moments import Moments
from persona_bench.extras.parts.tau import tau_b
from persona_bench.scoring.resampling import expanded_interval, question_weights, two_way_means
from scripts.simulation import EASE_SD, expected, markdown
from tests.scoring.simulated import Model, cells_of, outcomes_of

PARTS = ("question", "persona", "interaction", "sampling", "interaction_or_noise", "total")
BASE = {"medium": 0.3, "hard": -2.0}  # mean accuracy about 0.55 and 0.16
SETTINGS = list(
    itertools.product(
        BASE, (30, 200), (6, 16), (1, 4), ("none", "weak", "strong", "outlier"), (0.0, 1.0)
    )
)
KINDS = ["control", *["expert"] * 3, "layperson", *["irrelevant"] * 4, *["education"] * 6]
LEVELS = [None] * 9 + [1, 2, 3, 4, 6, 8]
EFFECTS = {
    "none": [0.0] * 15,
    "some": [0, 0.3, 0.5, 0.7, -0.3, 0, -0.1, -0.2, -0.5, -0.9, -0.5, -0.3, 0.1, 0.3, 0.8],
    # irrelevant personas as the control, schooling only partly in order
    "mixed": [0, -0.2, 0, 0.2, 0.5, 0, 0, 0, 0, -0.5, -0.9, 0.1, -0.3, 0.8, 0.3],
}


def effects_of(name: str, personas: int) -> list[float]:
    """In log-odds: spread evenly with sd 0, 0.2 or 0.8, or one persona 2 below the others."""
    if name == "outlier":
        return [-2.0] + [0.0] * (personas - 1)
    even = np.linspace(-1, 1, personas)
    return list({"none": 0.0, "weak": 0.2, "strong": 0.8}[name] * even / even.std())


def bias_of_setting(setting: tuple, tables: int) -> np.ndarray:
    """Bias of each part over its Monte Carlo error; no resampling, so that many can be drawn."""
    base, questions, personas, samples, effect, mixed = setting
    rng = np.random.default_rng([SETTINGS.index(setting), 3])
    model = Model(effects_of(effect, personas), BASE[base], mixed)
    truth, scored = model.truth(), np.full((questions, personas), samples)
    one = np.ones((1, questions))
    found = np.array(
        [
            Moments(cells_of(model.draw(questions, samples, rng), scored))(one)[0]
            for _ in range(tables)
        ]
    )
    error = found.std(axis=0) / np.sqrt(tables)
    return (found.mean(axis=0) - [truth[part] for part in PARTS]) / error


def parts_of_setting(setting: tuple, tables: int, resamples: int) -> list[dict[str, object]]:
    """Coverage and width of each part's interval in one setting."""
    base, questions, personas, samples, effect, mixed = setting
    rng = np.random.default_rng([SETTINGS.index(setting), 0])
    model = Model(effects_of(effect, personas), BASE[base], mixed)
    truth = np.array([model.truth()[part] for part in PARTS])
    scored, ends = np.full((questions, personas), samples), []
    for _ in range(tables):
        moments = Moments(cells_of(model.draw(questions, samples, rng), scored))
        weights = question_weights(questions, resamples, rng, width=moments.width)
        drawn = np.concatenate([moments(chunk) for chunk in weights])
        ends.append([expanded_interval(column, 0.95, questions) for column in drawn.T])
    low, high = np.moveaxis(np.array(ends), 2, 0)
    names = ("base", "questions", "personas", "samples", "effect", "mixed")
    rows = [
        dict(zip(names, setting, strict=True))
        | {"part": part, "truth": truth[i]}
        | {"coverage": np.mean((low[:, i] <= truth[i]) & (truth[i] <= high[:, i]))}
        | {"width": np.mean(high[:, i] - low[:, i])}
        for i, part in enumerate(PARTS)
    ]
    return [row for row in rows if not np.isnan(row["width"])]


def contrasts_of_setting(setting: tuple, tables: int, resamples: int) -> list[dict[str, object]]:
    """Coverage, width and share of p <= 0.05 of each contrast in one setting."""
    gc.collect = lambda *_: 0  # multipletests calls it each time, at most of the cost
    questions, samples, effect = setting
    rng = np.random.default_rng([questions, samples, 1])
    model = Model(EFFECTS[effect], mixed=0.0 if effect == "none" else 0.5)
    model.truth()
    gap = model.accuracy - model.accuracy[0]
    schooled = model.accuracy[9:]
    truth = {
        "expertise_advantage": gap[1:4].mean(),
        "layperson": gap[4],
        "robustness": gap[5:9].min(),
        # with no effect all are tied, and tau is undefined: is 0 within?
        "education_tau": 0.0 if effect == "none" else tau_b(schooled[None], LEVELS[9:])[0],
    }
    names, scored = ["none", *map(str, range(1, 15))], np.full((questions, 15), samples)
    rows = []
    for _ in range(tables):
        table = outcomes_of(
            model.draw(questions, samples, rng), scored, names,
            {"kind": KINDS, "persona_level": LEVELS},
        )  # fmt: skip
        found = contrasts(table, resamples=resamples).table
        for name, value in truth.items():
            row = found.loc[name]
            rows.append(
                {"contrast": name, "effect": effect, "questions": questions, "samples": samples}
                | {"truth": value, "mean value": row["value"], "by chance": row["if_no_effect"]}
                | {"coverage": row["low"] <= value <= row["high"]}
                | {"width": row["high"] - row["low"], "p <= 0.05": row["p_value"] <= 0.05}
            )
    return rows


def population_of_setting(setting: tuple, tables: int, resamples: int) -> dict[str, object]:
    """Coverage of the mean over a population of personas as well as of questions."""
    questions, personas, spread = setting
    rng, held = np.random.default_rng([questions, personas, 2]), []
    truth = float(expected(0.3, float(np.hypot(EASE_SD, spread))))
    for _ in range(tables):
        correct = Model(list(rng.normal(0, spread, size=personas))).draw(questions, 1, rng)
        means = two_way_means(correct, np.ones_like(correct), resamples, rng)
        low, high = expanded_interval(means, 0.95, min(questions, personas))
        held.append(low <= truth <= high)
    names = ("questions", "personas", "sd of personas")
    return dict(zip(names, setting, strict=True)) | {"coverage": np.mean(held)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=300, help="drawn in each setting")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    given = vars(parser.parse_args())
    workers = given.pop("workers")
    grid = list(itertools.product((30, 200), (1, 4), EFFECTS))
    with ProcessPoolExecutor(workers) as pool:
        bias = np.array(list(pool.map(partial(bias_of_setting, tables=400), SETTINGS)))
        parts = pool.map(partial(parts_of_setting, **given), SETTINGS)
        found = pool.map(partial(contrasts_of_setting, **given), grid)
        over = pool.map(
            partial(population_of_setting, **given),
            itertools.product((30, 200), (6, 16), (0.0, 0.2, 0.8)),
        )
        parts = pd.DataFrame(itertools.chain(*parts))
        found, over = pd.DataFrame(itertools.chain(*found)), pd.DataFrame(over)

    z = np.abs(bias[~np.isnan(bias)])
    print(f"Bias over its Monte Carlo error: largest {z.max():.1f} of {z.size}, "
          f"above 2 in {(z > 2).mean():.3f}\n")  # fmt: skip
    by = parts.groupby(["part", "questions", "effect"])["coverage"].mean().unstack([1, 2])
    by = by[list(itertools.product((30, 200), ("none", "weak", "strong", "outlier")))]
    by.columns = [f"{q} {effect}" for q, effect in by.columns]
    by["lowest"] = parts.groupby("part")["coverage"].min()
    by["mean width"] = parts.groupby("part")["width"].mean()
    print(markdown(by.loc[list(PARTS)].reset_index()), end="\n\n")
    low = parts.nsmallest(6, "coverage").drop(columns="width")
    print(markdown(low), end="\n\n")
    keys = ["contrast", "effect", "questions", "samples"]
    print(markdown(found.groupby(keys).mean().reset_index()), end="\n\n")
    print(markdown(over), end="\n\n")


if __name__ == "__main__":
    main()
