"""How far can the corrected PSS and the tests be trusted? Models whose truth is known.

    python -m scripts.calibrate --replicates 150 --csv results/calibration/calibration.csv
    make calibrate

A question has an ease z ~ N(0, 1.5^2) in log-odds, a persona an effect, a cell an interaction, and
a response is correct with probability logistic(base + z + effect + interaction). A share of the
questions may be polar (always right or always wrong), and cells may be missing. `greedy` takes
real greedy verdicts of a model instead and exchanges the personas within each question, so that
the truth is 1. The truth is min / max over personas of the accuracy expected on all such questions.
docs/calibration.md has what came out.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from persona_bench.scoring import corrected
from persona_bench.scoring.cells import Cells
from persona_bench.scoring.compare import Pair
from persona_bench.scoring.corrected import (
    STABLE_FROM,
    Posterior,
    conclude,
    detectable_pss,
    on_other_questions,
    question_draws,
    simultaneous_bands,
    summarise,
    true_accuracies,
)
from persona_bench.scoring.crossed import EASES, fit_crossed
from persona_bench.scoring.methods import seed_difference
from persona_bench.scoring.resampling import null_pss, p_value, worst_over_best
from persona_bench.scoring.unscored import why_undetermined
from scripts.simulation import EASE_SD, base, cells_of, expected, markdown

EFFECTS = {
    "none": "no persona has an effect",
    "weak": "normal, sd 0.2 in log-odds",
    "strong": "normal, sd 0.8",
    "one harmful": "one persona 1.5 below all others, which are alike",
    "two groups": "half of the personas 0.7 below the other half",
    "some questions": "on 30% of the questions only: normal, sd 0.8 by persona and 1 by cell",
}
OUTCOMES = Path(__file__).parents[1] / "results" / "smollm2-arithmetic" / "outcomes.csv.gz"
EXCHANGES = 99
MORE_FOR_REJECTIONS = 10
"""Times as many tables for the noise-floor test as for the estimates: a share of 0.05 has an error
of 0.018 on 150 tables, too much for a band of 0.03 to 0.07, and of 0.006 on 1,500."""
CHAINS, BATCH = 32, 30
"""Chains for each table, half as many as `stability` has; tables that are computed together."""


class Setting(NamedTuple):
    mean: float
    questions: int
    personas: int
    samples: int
    effect: str
    polar: float = 0.0
    missing: float = 0.0
    interaction: float = 0.0
    lost: str = ""
    """`random`: a tenth of the responses is unscored; `hard`: half of the personas lose half of
    their responses to the harder half of the questions."""
    greedy: str = ""
    """Model whose real verdicts are taken."""


@cache
def greedy_verdicts(model: str) -> np.ndarray:
    """Real verdicts of a model, shape (questions, personas)."""
    table = pd.read_csv(OUTCOMES)
    table = table[table["model"] == model].assign(right=lambda t: t["verdict"] == "correct")
    return table.pivot_table(index="question", columns="persona", values="right").to_numpy(int)


class Drawn(NamedTuple):
    cells: Cells
    accuracy: np.ndarray
    """Of each persona, expected on all questions."""
    chance: np.ndarray
    """Of a correct response, shape (questions, personas)."""

    @property
    def truth(self) -> float:
        """The true PSS."""
        return float(self.accuracy.min() / self.accuracy.max())


def draw(s: Setting, rng: np.random.Generator) -> Drawn:
    """A table with at least one correct response and every persona scored, and its truth."""
    while True:
        found = _draw_greedy(s, rng) if s.greedy else _draw_model(s, rng)
        if found.cells.correct.any() and found.cells.scored.any(axis=0).all():
            return found


def _draw_greedy(s: Setting, rng: np.random.Generator) -> Drawn:
    verdicts = rng.permuted(greedy_verdicts(s.greedy), axis=1)
    there = (rng.random(verdicts.shape) >= s.missing).astype(int)
    accuracy = np.full(verdicts.shape[1], verdicts.mean())
    return Drawn(cells_of(verdicts * there, there), accuracy, verdicts)


def _draw_model(s: Setting, rng: np.random.Generator) -> Drawn:
    shape = s.questions, s.personas
    normal, effect = rng.standard_normal(s.personas), np.zeros(s.personas)
    match s.effect:
        case "weak":
            effect = 0.2 * normal
        case "strong":
            effect = 0.8 * normal
        case "one harmful":
            effect[rng.integers(s.personas)] = -1.5
        case "two groups":
            effect[rng.permutation(s.personas)[: s.personas // 2]] = -0.7
    spread = float(np.hypot(EASE_SD, s.interaction))
    level = base(s.mean, spread)
    ease = EASE_SD * rng.standard_normal(s.questions)[:, None]
    logit = level + ease + effect + s.interaction * rng.standard_normal(shape)
    accuracy = expected(level + effect, spread)
    if s.effect == "some questions":
        hit = rng.random(s.questions) < 0.3
        logit[hit] += 0.8 * normal + rng.standard_normal((hit.sum(), s.personas))
        hit_too = expected(level + 0.8 * normal, float(np.hypot(spread, 1.0)))
        accuracy = 0.7 * accuracy + 0.3 * hit_too
    polar, right = rng.random((2, s.questions, 1))
    chance = np.where(polar < s.polar, right < s.mean, expit(logit))
    accuracy = s.polar * s.mean + (1 - s.polar) * accuracy
    there = np.where(rng.random(shape) < s.missing, 0, s.samples)
    scored = there
    if s.lost == "random":
        scored = rng.binomial(there, 0.9)
    elif s.lost == "hard":
        hard = (ease < np.median(ease)) & (np.arange(s.personas) < s.personas // 2)
        scored = np.where(hard, rng.binomial(there, 0.5), there)
    return Drawn(cells_of(rng.binomial(scored, chance), scored, there), accuracy, chance)


# ------------------------------------------------------------------------ the corrected PSS
def study(s: Setting, replicates: int, seed: int) -> dict[str, Any]:
    """One row of the table: what the corrected PSS makes of a setting."""
    rng = np.random.default_rng([seed, *repr(s).encode()])
    tables = [draw(s, rng) for _ in range(replicates)]
    found = [each for batch in batched(tables, BATCH) for each in estimates(batch, rng)]
    rows = []
    for table, drawn in zip(tables, found, strict=True):
        cells, truth, fit = table.cells, table.truth, drawn.fit
        pss = summarise(drawn.pss, 0.95)
        word = conclude(pss.interval)
        if s.lost:
            _, why = why_undetermined(cells, word, STABLE_FROM, 499, rng)
            word = "undetermined" if why else word
        plain = float(worst_over_best(cells.accuracy))
        rows.append(
            {
                "truth": truth,
                "sigma": np.sqrt(fit.variance.mean()) / fit.accuracy.mean(),
                "plain_bias": plain - truth,
                "bias": pss - truth,
                "squared": (pss - truth) ** 2,
                "coverage": pss.low - 1e-9 <= truth <= pss.high + 1e-9,
                "width": pss.high - pss.low,
                "wrong_word": word == ("unstable" if truth >= STABLE_FROM else "stable"),
                "undetermined": word == "undetermined",
                **beside(drawn, table.accuracy),
            }
        )
    mean = pd.DataFrame(rows).mean().to_dict()
    mean |= {"rmse": mean.pop("squared") ** 0.5, "replicates": len(rows)}
    at_one = mean["truth"] >= 1 - 1e-9
    rejected = rejections(s, MORE_FOR_REJECTIONS * replicates, seed) if at_one else np.nan
    return {**s._asdict(), **mean, "rejected": rejected}


def rejections(s: Setting, tables: int, seed: int) -> float:
    """How often the test of the plain PSS against its noise floor rejects at 5%."""
    rng = np.random.default_rng([seed, *repr(s).encode(), 2])
    rejected = 0
    for _ in range(tables):
        cells = draw(s, rng).cells
        floor = null_pss(cells.correct, cells.scored, EXCHANGES, rng)
        rejected += p_value(floor, float(worst_over_best(cells.accuracy))) <= 0.05
    return rejected / tables


def beside(drawn: Posterior, accuracy: np.ndarray) -> dict[str, float]:
    """What else the draws say, and whether it is so; the first persona stands for the control."""
    low, high = simultaneous_bands(drawn.accuracy.reshape(-1, accuracy.size), 0.95)
    below = summarise(drawn.accuracy.min(axis=2) - drawn.accuracy[..., 0], 0.95).interval
    spread = summarise(drawn.accuracy.std(axis=2), 0.95).interval
    held = {
        "bands": (low - 1e-9 <= accuracy) & (accuracy <= high + 1e-9),
        "below_control": below.low - 1e-9 <= accuracy.min() - accuracy[0] <= below.high + 1e-9,
        "persona_sd": spread.low - 1e-9 <= accuracy.std() <= spread.high + 1e-9,
    }
    coverage = {f"{name}_coverage": float(np.all(each)) for name, each in held.items()}
    return {**coverage, "probability_unstable": float((drawn.pss < STABLE_FROM).mean())}


def batched(tables: list[Drawn], size: int) -> list[list[Drawn]]:
    return [tables[start : start + size] for start in range(0, len(tables), size)]


def estimates(tables: list[Drawn], rng: np.random.Generator) -> list[Posterior]:
    """As `posterior`, for many tables of one shape at once: a few chains for each."""
    return posteriors([each.cells for each in tables], rng)


def posteriors(tables: list[Cells], rng: np.random.Generator) -> list[Posterior]:
    """The same for counts alone."""
    fits = [fit_crossed(each.scored_only()) for each in tables]
    accuracy, variance = (
        np.repeat([getattr(fit, name) for fit in fits], CHAINS, axis=0)
        for name in ("accuracy", "variance")
    )
    drawn = true_accuracies(accuracy, variance, rng)
    found = []
    for i, fit in enumerate(fits):
        own = drawn[:, i * CHAINS : (i + 1) * CHAINS].reshape(-1, corrected.CHAINS, fit.effect.size)
        weights = question_draws(len(fit.eases), rng)
        found.append(on_other_questions([], fit, own, weights))
    return found


def wishes(row: dict[str, Any]) -> dict[str, bool]:
    """What is wanted of a setting, and whether it came true."""
    boundary = row["truth"] >= 1 - 1e-9
    bound = 0.02 if row["sigma"] <= 0.03 else row["sigma"]
    found = {
        "bias": abs(row["bias"]) <= bound,
        "coverage": 0.92 <= row["coverage"] <= (1.0 if boundary else 0.98),
        "too narrow": row["coverage"] >= 0.92,
        "word": row["wrong_word"] <= 0.05,
    }
    if boundary:
        found["rejected"] = 0.03 <= row["rejected"] <= 0.07
    return {name: bool(came) for name, came in found.items()}


# ------------------------------------------------------------------------------ the design
def study_detectable(s: Setting, replicates: int, seed: int) -> dict[str, Any]:
    """How often the PSS said to be detectable is detected in another run, one persona being worse.

    By a lower effect in log-odds, and by failing single responses at random.
    """
    rng = np.random.default_rng([seed, *repr(s).encode(), 1])
    said, found = [], {"by effect": [], "at random": []}
    for _ in range(replicates):
        said.append(ratio := detectable_pss(fit_crossed(draw(s, rng).cells.scored_only())))
        for name, outcomes in found.items():
            chance = harmed(s, ratio, name == "by effect", rng)
            there = np.where(rng.random(chance.shape) < s.missing, 0, s.samples)
            cells = cells_of(rng.binomial(there, chance), there)
            floor = null_pss(cells.correct, cells.scored, 2 * EXCHANGES + 1, rng)
            outcomes.append(p_value(floor, float(worst_over_best(cells.accuracy))) <= 0.05)
    chosen = {k: v for k, v in s._asdict().items() if k in (*Setting._fields[:4], "polar")}
    chosen |= {"missing": s.missing, "minimum_detectable": np.mean(said)}
    shares = {f"found {name}": np.mean(outcomes) for name, outcomes in found.items()}
    return chosen | shares | {"replicates": replicates}


def harmed(s: Setting, ratio: float, by_effect: bool, rng: np.random.Generator) -> np.ndarray:
    """Chances of a correct response where the first persona has `ratio` of the others' accuracy.

    Polar questions have an ease at the ends of the estimator's grid, so that a lower effect reaches
    them too, as it does in `minimum_detectable`: by the others alone such a PSS can't be had.
    """
    level, end = base(s.mean), EASES[-1]
    ease = level + EASE_SD * rng.standard_normal((s.questions, 1))
    polar, right = rng.random((2, s.questions, 1))
    ease = np.where(polar < s.polar, np.where(right < s.mean, end, -end), ease)
    chance = np.tile(expit(ease), s.personas)

    def surplus(loss: float) -> float:
        others = float(expected(level - loss))
        left = s.polar * s.mean * expit(end - loss) + (1 - s.polar) * others
        return float(left - ratio * s.mean)

    if by_effect:
        chance[:, :1] = expit(ease - brentq(surplus, -1, 40))
    else:
        chance[:, 0] *= ratio
    return chance


# ---------------------------------------------------------------------------- two models
PAIRS = {
    "same, no effect": (0.5, 0.5, "none"),
    "same, strong": (0.5, 0.5, "strong"),
    "stable, .3 and .8": (0.3, 0.8, "none"),
    "stable, .05 and .5": (0.05, 0.5, "none"),
    "stable, and one harmful": (0.5, 0.5, "none"),
}
"""Mean accuracies of two models on the same questions, and the effects that both have; in the last
case the second model has one persona 1.5 below the others besides."""
PAIR_SIZES = ((30, 6, 1), (500, 16, 1), (200, 16, 4))


def study_pair(case: str, size: tuple[int, int, int], replicates: int, seed: int) -> dict[str, Any]:
    """One row: how often `compare` rejects, and how often its interval holds the truth."""
    first, second, effect = PAIRS[case]
    s = Setting(first, *size, effect)
    rng = np.random.default_rng([seed, *f"{case}{size}".encode()])
    rows = []
    for _ in range(replicates):
        a = draw(s, rng)
        ease = np.log(a.chance / (1 - a.chance)) + base(second) - base(first)
        truth = 0.0 if first == second or effect == "none" else np.nan  # nan: near 0, not at it
        if case.endswith("harmful"):
            ease[:, 0] -= 1.5
            truth = float(expected(base(second) - 1.5)) / second - 1
        b = cells_of(rng.binomial(s.samples, expit(ease)), a.cells.scored)
        if not b.correct.any():
            continue
        pair = Pair(a.cells, b, confidence=0.95, resamples=199)
        mean, _ = pair.accuracies(rng)
        found = pair.corrected(rng)
        rows.append(
            {
                "mean_rejected": mean["p_value"] <= 0.05,
                "corrected_difference": found["difference"],
                "corrected_rejected": found["p_value"] <= 0.05,
                "corrected_coverage": found["low"] <= truth <= found["high"]
                if truth == truth
                else np.nan,
            }
        )
    table = pd.DataFrame(rows).astype(float)
    medians = {"corrected_difference": table["corrected_difference"].median()}
    sizes = dict(zip(("questions", "personas", "samples"), size, strict=True))
    return {"case": case, **sizes, **table.mean().to_dict(), **medians, "replicates": len(rows)}


# ----------------------------------------------------------------- methods and their seeds
METRICS = {
    "mean": lambda accuracy: accuracy.mean(axis=1),
    "worst": lambda accuracy: accuracy.min(axis=1),
    "pss": worst_over_best,
}
METHODS = list(itertools.product((2, 3, 4, 8), ("paired", "two-sample"), (0.0, 0.4)))
"""Seeds per method, test, and true difference in log-odds."""


def trainings(rng: np.random.Generator, seeds: int, ease: np.ndarray, gap: float) -> np.ndarray:
    """Accuracies of shape (seeds, personas). Standard deviations in log-odds: 0.15 between seeds,
    0.3 for seed x question, 0.15 for seed x persona."""
    odds = ease[None, :, None] + gap + rng.normal(0, 0.15, (seeds, 1, 1))
    odds = odds + rng.normal(0, 0.3, (seeds, len(ease), 1)) + rng.normal(0, 0.15, (seeds, 1, 8))
    return (rng.random(odds.shape) < expit(odds)).mean(axis=1)


def study_methods(seeds: int, test: str, gap: float, replicates: int, seed: int) -> dict[str, Any]:
    """One row: how often the t test over seeds rejects, and its interval holds the truth, for 100
    questions and 8 personas."""
    rng = np.random.default_rng([seed, seeds, *f"{test}{gap}".encode()])
    rows = []
    for _ in range(replicates):
        ease = rng.normal(0, EASE_SD, 100)
        a, b = (trainings(rng, seeds, ease, each) for each in (0.0, gap))
        many = [trainings(rng, 60, ease, each) for each in (0.0, gap)] if gap else [a, a]
        row: dict[str, bool] = {}
        for metric, value in METRICS.items():
            other = range(seeds) if test == "paired" else range(seeds, 2 * seeds)
            found = seed_difference(pd.Series(value(a)), pd.Series(value(b), index=other), 0.95)
            truth = value(many[1]).mean() - value(many[0]).mean()
            row[f"{metric} rejects"] = found.p_value <= 0.05
            row[f"{metric} covers"] = found.low <= truth <= found.high
        rows.append(row)
    shares = pd.DataFrame(rows).mean().to_dict()
    return {"seeds": seeds, "test": test, "gap": gap, **shares, "replicates": replicates}


# ------------------------------------------------------------------- an independent fit
def agreement(tables: int, seed: int) -> pd.DataFrame:
    """Effects beside those of a long Markov chain for normal eases, which shares no code."""
    rows = []
    for i in range(tables):
        rng = np.random.default_rng([seed, i])
        s = Setting(0.5, 150, 6, 1 + i % 3, "strong", missing=0.3 * (i % 2))
        cells = draw(s, rng).cells.scored_only()
        ours = fit_crossed(cells).effect
        chain = metropolis(cells.correct, cells.scored, 12_000, rng)
        theirs, error = chain.mean(axis=0), chain.std(axis=0)
        rows.append(
            {
                "table": i,
                "samples": s.samples,
                "missing": s.missing,
                "largest difference": np.abs(ours - theirs).max(),
                "in standard errors": (np.abs(ours - theirs) / error).max(),
                "standard error": error.mean(),
            }
        )
    return pd.DataFrame(rows)


def metropolis(
    correct: np.ndarray, scored: np.ndarray, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws of the personas' effects about their mean, shape (draws, personas).

    Random-walk Metropolis, all questions at once and then all personas at once, with a normal
    distribution of eases of unknown mean and variance, and nearly flat priors.
    """

    def log_likelihood(logit: np.ndarray) -> np.ndarray:
        log: np.ndarray = correct * logit - scored * np.logaddexp(0, logit)
        return log

    questions, personas = correct.shape
    ease, effect = np.zeros((questions, 1)), np.zeros((1, personas))
    mean, variance, kept = 0.0, 2.0, []
    reach = 2.4 / np.sqrt(np.maximum(0.15 * scored.sum(axis=0), 1))
    for step in range(steps):
        new = ease + 1.5 * rng.standard_normal(ease.shape)
        gain = (log_likelihood(new + effect) - log_likelihood(ease + effect)).sum(axis=1)
        gain += ((ease - mean) ** 2 - (new - mean) ** 2)[:, 0] / 2 / variance
        ease = np.where((np.log(rng.random(questions)) < gain)[:, None], new, ease)
        other = effect + reach * rng.standard_normal(effect.shape)
        gain = (log_likelihood(ease + other) - log_likelihood(ease + effect)).sum(axis=0)
        effect = np.where(np.log(rng.random(personas)) < gain, other, effect)
        mean = ease.mean() + rng.standard_normal() * np.sqrt(variance / questions)
        variance = ((ease - mean) ** 2).sum() / 2 / rng.standard_gamma(questions / 2)
        if step >= steps // 4:
            kept.append(effect[0] - effect.mean())
    return np.array(kept)


# ------------------------------------------------------------------------------- the settings
def settings() -> Iterator[Setting]:
    for effect, missing in itertools.product(
        ("none", "one harmful", "strong", "two groups"), (0.0, 0.1, 0.5, 0.8, 0.9)
    ):
        yield Setting(0.6, 500, 16, 1, effect, polar=0.85, missing=missing)
    for effect, samples in itertools.product(("none", "one harmful"), (1, 4, 16)):
        yield Setting(0.5, 200, 16, samples, effect, interaction=2.0)
    for model, missing in itertools.product(("base", "rlvr-1"), (0.0, 0.5, 0.8)):
        yield Setting(np.nan, 160, 16, 1, "none", missing=missing, greedy=model)
    for lost, samples in itertools.product(("random", "hard"), (1, 3)):
        yield Setting(0.5, 200, 16, samples, "none", lost=lost)
    yield Setting(0.6, 500, 16, 1, "none", polar=0.85, lost="random")
    for effect, missing in itertools.product(("none", "one harmful", "strong"), (0.5, 0.8)):
        yield Setting(0.5, 500, 16, 1, effect, missing=missing)
        yield Setting(0.5, 100, 8, 4, effect, missing=missing)
    for effect in ("none", "one harmful", "strong"):
        yield Setting(0.5, 500, 16, 1, effect, missing=0.1)
        yield Setting(0.5, 100, 8, 4, effect, missing=0.1)
        yield Setting(0.5, 100, 8, 16, effect, missing=0.5)
        yield Setting(0.6, 200, 16, 4, effect, polar=0.85, missing=0.5)
        yield Setting(0.6, 200, 16, 16, effect, polar=0.85, missing=0.1)
        yield Setting(0.5, 100, 50, 1, effect)
    for effect in ("one harmful", "strong", "two groups"):
        yield Setting(0.6, 500, 16, 1, effect, polar=0.85, lost="random")
    for samples, missing in itertools.product((1, 4, 16), (0.0, 0.5)):
        yield Setting(0.5, 200, 16, samples, "strong", missing=missing, interaction=2.0)
    for model in ("base", "rlvr-1"):
        yield Setting(np.nan, 160, 16, 1, "none", missing=0.1, greedy=model)
    for effect in EFFECTS:
        yield Setting(0.5, 500, 16, 1, effect)
    for effect in ("none", "one harmful", "strong"):
        yield Setting(0.3, 100, 20, 16, effect)
    for mean, questions, (personas, samples) in itertools.product(
        (0.05, 0.5, 0.9), (30, 500), ((6, 1), (16, 4))
    ):
        for effect in EFFECTS:
            yield Setting(mean, questions, personas, samples, effect)


MORE_FOR_POWER = 4
"""Times as many replicates for the detectable PSS: a band of 4 points around 0.8 takes 600."""

DETECTABLE = [
    *(Setting(mean, 30, 6, 1, "none") for mean in (0.3, 0.6, 0.9)),
    *(Setting(mean, 100, 8, samples, "none") for samples in (1, 4) for mean in (0.3, 0.6, 0.9)),
    Setting(0.6, 500, 16, 1, "none"),
    Setting(0.6, 500, 16, 1, "none", missing=0.5),
    Setting(0.6, 30, 6, 1, "none", polar=0.8),
    Setting(0.6, 100, 8, 4, "none", polar=0.8),
    Setting(0.6, 500, 16, 1, "none", polar=0.8),
]


# ------------------------------------------------------------------------------- printing
def name(row: dict[str, Any]) -> str:
    """A setting in a few words."""
    text = f"{row['questions']} x {row['personas']} x {row['samples']}, {row['effect']}"
    greedy, lost = (row[k] if isinstance(row[k], str) else "" for k in ("greedy", "lost"))
    text = f"greedy {greedy}, {text}" if greedy else f"{row['mean']:g}, {text}"
    for what, value in (("polar", row["polar"]), ("missing", row["missing"])):
        text += f", {value:.0%} {what}" if value else ""
    text += ", interaction" if row["interaction"] else ""
    return text + (f", lost {lost}" if lost else "")


def grouped(table: pd.DataFrame) -> pd.DataFrame:
    """One row per kind of setting; a setting is of the first kind that fits."""
    kind = np.select(
        [table["greedy"].notna() & (table["greedy"] != ""),
         table["lost"].notna() & (table["lost"] != ""),
         table["polar"] > 0, table["interaction"] > 0, table["missing"] > 0],
        ["real greedy verdicts", "responses lost", "polar questions", "interaction",
         "missing cells alone"],
        "complete tables",
    )  # fmt: skip
    rows = []
    for name, part in table.groupby(kind, sort=False):
        low, high = part["coverage"].min(), part["coverage"].max()
        rows.append(
            {
                "settings": name,
                "number": len(part),
                "median |bias|": part["bias"].abs().median(),
                "largest": part["bias"].abs().max(),
                "coverage": f"{low:.3f} to {high:.3f}",
                "most wrong words": part["wrong_word"].max(),
                "undetermined": part["undetermined"].mean(),
            }
        )
    return pd.DataFrame(rows)


def report(table: pd.DataFrame) -> None:
    """Prints the tables that docs/calibration.md has, and all settings."""
    print(f"{markdown(grouped(table))}\n")
    came = pd.DataFrame([wishes(row) for row in table.to_dict("records")])
    print("What is wanted, and in how many settings it came true:\n")
    for column in came.columns:
        known = came[column].dropna()
        print(f"- {column}: {int(known.sum())} of {len(known)}")
    missed = came.apply(
        lambda row: ", ".join(n for n in came.columns if row[n] is False or row[n] == 0), axis=1
    )
    shown = ["truth", "sigma", "plain_bias", "bias", "rmse", "coverage", "width", "wrong_word"]
    shown += ["undetermined", "rejected"]
    out = table[shown].assign(missed=missed)
    out.insert(0, "setting", [name(row) for row in table.to_dict("records")])
    print("\nEvery setting, and what of the wanted it misses:\n")
    print(markdown(out))


PARTS = ("settings", "pairs", "detectable", "methods", "agreement")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicates", type=int, default=150)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--short", action="store_true", help="four settings, and nothing else")
    parser.add_argument("--csv", help="where the whole table goes; the other tables beside it")
    parser.add_argument("--show", action="store_true", help="print the tables of --csv again")
    args = parser.parse_args()
    if args.show:
        report(pd.read_csv(args.csv))
        return
    warnings.simplefilter("ignore")
    wanted = [args.only] if args.only else list(PARTS)
    chosen = list(settings())[:: 30 if args.short else 1] if "settings" in wanted else []
    run = partial(study, replicates=args.replicates, seed=args.seed)
    others: dict[str, pd.DataFrame] = {}
    with ProcessPoolExecutor(args.workers) as pool:
        rows = []
        for done, row in enumerate(pool.map(run, chosen), 1):
            rows.append(row)
            print(f"{done}/{len(chosen)} {name(row)}", file=sys.stderr, flush=True)
            if args.csv:
                pd.DataFrame(rows).round(5).to_csv(args.csv, index=False)
        wanted = [] if args.short else wanted
        same = {"replicates": args.replicates, "seed": args.seed}
        if "pairs" in wanted:
            pairs = zip(*itertools.product(PAIRS, PAIR_SIZES), strict=True)
            others["pairs"] = pd.DataFrame(pool.map(partial(study_pair, **same), *pairs))
        if "detectable" in wanted:
            same["replicates"] = MORE_FOR_POWER * args.replicates
            power = []
            for row in pool.map(partial(study_detectable, **same), DETECTABLE):
                power.append(row)
                print(row, file=sys.stderr, flush=True)
            others["detectable"] = pd.DataFrame(power)
        if "methods" in wanted:
            same["replicates"] = MORE_FOR_REJECTIONS * args.replicates
            cases = zip(*METHODS, strict=True)
            others["methods"] = pd.DataFrame(pool.map(partial(study_methods, **same), *cases))
        if "agreement" in wanted:
            others["agreement"] = agreement(10, args.seed)
    if rows:
        report(pd.DataFrame(rows))
    for which, table in others.items():
        print(f"\n{which}:\n\n{markdown(table)}")
        if args.csv:
            table.round(5).to_csv(args.csv.replace(".csv", f"_{which}.csv"), index=False)


if __name__ == "__main__":
    main()
