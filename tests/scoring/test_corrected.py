"""Noise-corrected PSS against what is known of simulated tables, exact posteriors and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from persona_bench.scoring import mixture
from persona_bench.scoring.cells import Cells
from persona_bench.scoring.corrected import (
    conclude,
    corrected_pss,
    detectable_pss,
    noise_share,
    ratio_draws,
    summarise,
)
from persona_bench.scoring.mixture import draw_extremes
from persona_bench.scoring.resampling import Interval, null_accuracies, null_pss, p_value


def as_cells(correct: np.ndarray, samples: int | np.ndarray = 1) -> Cells:
    scored = np.broadcast_to(samples, correct.shape).astype(np.int64)
    questions, personas = correct.shape
    return Cells(
        questions=[f"q{i}" for i in range(questions)],
        personas=[f"p{j}" for j in range(personas)],
        responses=scored,
        scored=scored,
        correct=correct.astype(np.int64),
    )


def chances(
    questions: int, effects: np.ndarray, rng: np.random.Generator, base: float = 0.0
) -> np.ndarray:
    """Of a correct response, per question and persona; difficulty with sd 1.5 in log-odds."""
    return expit(base + 1.5 * rng.standard_normal(questions)[:, None] + effects)


# ------------------------------------------------------------------------------ the sampler
def test_with_one_component_the_sampler_agrees_with_the_exact_posterior() -> None:
    rng = np.random.default_rng(0)
    x, draws = np.array([-1.3, -0.2, 0.1, 0.4, 2.6]), 4000
    ends = draw_extremes(
        np.tile(x, (50, 1)), np.ones((50, 5)), rng, draws=draws // 50, components=1
    )

    low, high = x.min(), x.max()
    middle, reach = (low + high) / 2, (high - low + 2) ** 2 / 4
    middle, centred = middle - np.median(x), x - np.median(x)
    steps = np.linspace(0, 1, mixture.WIDTHS - 1)
    widths = np.r_[0, 0.2 * (max(high - low, 4) / 0.2) ** steps]
    rest = (1 - mixture.ALIKE_PRIOR) / (mixture.WIDTHS - 1)
    prior = np.r_[mixture.ALIKE_PRIOR, np.full(mixture.WIDTHS - 1, rest)]
    # the mean integrated out: measurements are jointly normal given the width
    log = []
    for width in widths:
        cov = (1 + width**2) * np.eye(5) + reach
        off = centred - middle
        log.append(-0.5 * (np.linalg.slogdet(cov)[1] + off @ np.linalg.solve(cov, off)))
    weight = prior * np.exp(np.array(log) - max(log))
    chosen = rng.choice(widths, 40_000, p=weight / weight.sum())
    precision = 5 / (1 + chosen**2) + 1 / reach
    mean = (centred.sum() / (1 + chosen**2) + middle / reach) / precision
    mean = mean + rng.standard_normal(40_000) / np.sqrt(precision)
    trust = (chosen**2 / (1 + chosen**2))[:, None]
    noise = rng.standard_normal((40_000, 5)) * np.sqrt(trust)
    true = mean[:, None] + trust * (centred - mean[:, None]) + noise + np.median(x)

    for drawn, exact in ((ends.lowest, true.min(axis=1)), (ends.highest, true.max(axis=1))):
        assert drawn.mean() == pytest.approx(exact.mean(), abs=0.06)
        for q in (0.1, 0.5, 0.9):
            assert np.quantile(drawn, q) == pytest.approx(np.quantile(exact, q), abs=0.12)


def test_measurements_without_noise_are_taken_as_they_are() -> None:
    x = np.array([[0.1, 0.7, 0.4, 1.9]] * 8)
    ends = draw_extremes(x, np.full(x.shape, 1e-10), np.random.default_rng(0), draws=50)
    assert ends.lowest == pytest.approx(0.1, abs=1e-3)
    assert ends.highest == pytest.approx(1.9, abs=1e-3)


def test_chains_of_different_tables_do_not_mix() -> None:
    x = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    ends = draw_extremes(x, np.full(x.shape, 0.01), np.random.default_rng(0), draws=200)
    width = (ends.highest - ends.lowest).mean(axis=0)
    assert width[0] < 0.2
    assert width[1] == pytest.approx(9, abs=0.3)


# -------------------------------------------------------------------------- how large noise is
def test_noise_within_cells_by_hand() -> None:
    # 2 questions x 2 personas x 2 samples; cells 2, 1 / 1, 0: two cells vary, by x(n-x)/(n-1) = 1
    correct = np.array([[2, 1], [1, 0]])
    # accuracies 3/4 and 1/4: 4 x 3/16 each, if all questions were alike
    assert noise_share(correct, np.full((2, 2), 2)) == pytest.approx(min(1, 2 / (2 * 4 * 3 / 16)))


@pytest.mark.parametrize("samples", [1, 4])
def test_noise_share_is_that_of_the_table(samples: int) -> None:
    rng = np.random.default_rng(samples)
    p = chances(4000, np.zeros(8), rng)
    mean = p.mean(axis=0)
    truth = (p * (1 - p)).mean() / (mean * (1 - mean)).mean()
    share = noise_share(rng.binomial(samples, p), np.full(p.shape, samples))
    assert share == pytest.approx(truth, rel=0.03)


def test_one_harmful_persona_does_not_pass_for_noise() -> None:
    rng = np.random.default_rng(1)
    p = chances(4000, np.r_[-3.0, np.zeros(7)], rng)
    quiet = p[:, 1:]
    truth = (quiet * (1 - quiet)).mean() / (quiet.mean(0) * (1 - quiet.mean(0))).mean()
    share = noise_share(rng.binomial(1, p), np.ones(p.shape, dtype=int))
    assert share == pytest.approx(truth, rel=0.05)


def test_noise_with_missing_and_single_cells() -> None:
    rng = np.random.default_rng(2)
    p = chances(3000, np.zeros(6), rng)
    scored = rng.choice([0, 1, 3], size=p.shape, p=[0.2, 0.2, 0.6])
    truth = (p * (1 - p)).mean() / (p.mean(0) * (1 - p.mean(0))).mean()
    assert noise_share(rng.binomial(scored, p), scored) == pytest.approx(truth, rel=0.05)
    sparse = rng.choice([0, 1], size=p.shape, p=[0.6, 0.4])
    assert noise_share(rng.binomial(sparse, p), sparse) == pytest.approx(truth, rel=0.08)


def test_one_differing_verdict_among_few_questions_proves_nothing() -> None:
    correct = np.zeros((7, 6), dtype=int)
    correct[:2] = 1
    correct[1, 3] = 0  # half of what the others solve, and the exchange test says p = 1
    # closest pairs never disagree: half a disagreement over 8 questions, halved for one response
    assert noise_share(correct, np.ones((7, 6), dtype=int)) == pytest.approx(
        (0.25 / 8) / (2 / 7 * 5 / 7)
    )
    low, high = estimate(correct)[1]
    assert low < 0.5
    assert high > 0.99


def test_a_single_cell_that_varies_is_no_proof_of_silence_elsewhere() -> None:
    correct = np.array([[2, 2], [0, 0], [2, 2], [0, 0]])  # no cell varies: half a one counts
    assert noise_share(correct, np.full((4, 2), 2)) == pytest.approx(0.5 / (2 * 8 * 0.25))


# ------------------------------------------------------------------------------ the estimate
def estimate(correct: np.ndarray, samples: int = 1, **how: str) -> tuple[float, Interval]:
    return corrected_pss(as_cells(correct, samples), 0.95, np.random.default_rng(0), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("questions", "personas", "samples", "effect"),
    [
        (500, 16, 1, "none"),
        (500, 16, 4, "spread"),
        (500, 64, 1, "one harmful"),
        (500, 64, 1, "bimodal"),
    ],
)
def test_bias_is_far_below_the_plain_score(
    questions: int, personas: int, samples: int, effect: str
) -> None:
    rng, tables = np.random.default_rng(7), 60
    accuracy, effective = np.empty((tables, personas)), np.empty((tables, personas))
    truth = np.empty(tables)
    for i in range(tables):
        effects = {
            "none": np.zeros(personas),
            "spread": 0.3 * rng.standard_normal(personas),
            "one harmful": np.r_[-1.5, np.zeros(personas - 1)],
            "bimodal": np.where(np.arange(personas) % 2, -0.7, 0.0),
        }[effect]
        p = chances(questions, effects, rng)
        truth[i] = p.mean(axis=0).min() / p.mean(axis=0).max()
        correct = rng.binomial(samples, p)
        accuracy[i] = correct.mean(axis=0) / samples
        share = noise_share(correct, np.full(p.shape, samples))
        effective[i] = questions * samples / share
    draws = ratio_draws(accuracy, effective, rng, draws=150)
    found = [summarise(draws[:, i], 0.95) for i in range(tables)]
    errors = np.array([f.pss for f in found]) - truth
    plain = accuracy.min(axis=1) / accuracy.max(axis=1) - truth
    held = sum(
        f.interval.low - 1e-9 <= t <= f.interval.high + 1e-9
        for f, t in zip(found, truth, strict=True)
    )
    assert abs(errors.mean()) < max(0.02, 0.6 * abs(plain.mean()))
    assert errors.std() < 0.06
    assert held >= 51  # of 60; at a coverage of 95%, 50 or fewer once in 1,000 runs


def test_cells_without_noise_give_the_plain_score() -> None:
    rng = np.random.default_rng(3)
    correct = 2 * (rng.random((400, 5)) < np.array([0.2, 0.4, 0.5, 0.6, 0.8]))
    value, (low, high) = estimate(correct, 2)
    plain = correct.sum(0).min() / correct.sum(0).max()
    assert value == pytest.approx(plain, abs=0.01)
    assert low == pytest.approx(plain, abs=0.02)
    assert high == pytest.approx(plain, abs=0.02)


def test_population_needs_two_samples_and_is_wider() -> None:
    rng = np.random.default_rng(4)
    # a persona acts on single questions at random: on average over all questions it does nothing
    p = expit(1.5 * rng.standard_normal((60, 1)) + 2.0 * rng.standard_normal((60, 6)))
    once = estimate(rng.binomial(1, p), 1, population="questions")
    assert np.isnan(once[0])
    assert np.isnan(once[1]).all()
    correct = rng.binomial(8, p)
    asked = estimate(correct, 8)
    questions = estimate(correct, 8, population="questions")
    truth = p.mean(axis=0).min() / p.mean(axis=0).max()
    assert asked[1].low <= truth <= asked[1].high
    assert questions[1].high == 1  # over all questions there is no effect
    assert questions[1].high - questions[1].low > 1.5 * (asked[1].high - asked[1].low)


def test_where_there_is_nothing_to_compare() -> None:
    ones = np.ones((20, 4), dtype=int)
    value, (low, high) = estimate(ones)
    assert value > 0.99
    assert high == 1
    assert 0.6 < low < 1  # twenty questions can't prove more
    for table in (0 * ones, ones[:, :1]):
        assert np.isnan(estimate(table)[0])


def test_same_table_same_numbers() -> None:
    correct = np.random.default_rng(5).binomial(1, 0.4, (50, 5))
    assert estimate(correct) == estimate(correct)


# ---------------------------------------------------------------------------- what follows
def test_conclusions() -> None:
    assert conclude(Interval(0.95, 1.0)) == "stable"
    assert conclude(Interval(0.5, 0.949)) == "unstable"
    assert conclude(Interval(0.5, 0.95)) == "undetermined"
    assert conclude(Interval(0.85, 0.89), 0.8) == "stable"
    assert conclude(Interval(float("nan"), float("nan"))) == "undetermined"


def test_detectable_effect_is_noticed_as_often_as_promised() -> None:
    rng = np.random.default_rng(6)
    difficulty = 1.5 * rng.standard_normal(200)[:, None]
    p = expit(difficulty + np.zeros(8))
    ones = np.ones(p.shape, dtype=np.int64)
    null = np.concatenate(list(null_accuracies(rng.binomial(1, p), ones, ones, 2000, rng)))
    ratio = detectable_pss(null)
    assert 0.5 < ratio < 0.95
    harmed = p.copy()
    harmed[:, 0] *= ratio
    noticed = 0
    for _ in range(150):
        correct = rng.binomial(1, harmed)
        accuracy = correct.mean(axis=0)
        floor = null_pss(correct, ones, ones, 199, rng)
        noticed += p_value(floor, accuracy.min() / accuracy.max()) <= 0.05
    assert 0.68 < noticed / 150 < 0.92  # 0.8, with the error of 150 tables


def test_more_questions_detect_smaller_effects() -> None:
    rng = np.random.default_rng(8)
    found = []
    for questions in (10, 30, 100, 500):
        correct = rng.binomial(1, np.full((questions, 10), 0.5))
        ones = np.ones_like(correct)
        chunks = null_accuracies(correct, ones, ones, 1000, rng)
        found.append(detectable_pss(np.concatenate(list(chunks))))
    assert found == sorted(found)
    assert found[0] < 0.2
    assert found[-1] > 0.75


@pytest.mark.parametrize("samples", [1, 4, 16])
def test_a_single_question_says_little_and_breaks_nothing(samples: int) -> None:
    correct = np.random.default_rng(0).binomial(samples, 0.5, (1, 6))
    rng = np.random.default_rng(1)
    found = corrected_pss(as_cells(correct, samples), 0.95, rng)
    assert found.interval.high == 1.0
    assert conclude(found.interval) == "undetermined"
    of_questions = corrected_pss(as_cells(correct, samples), 0.95, rng, population="questions")
    assert np.isnan(of_questions.pss)
