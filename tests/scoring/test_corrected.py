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
    corrected_pss_asked,
    detectable_pss,
    posterior,
    simultaneous_bands,
)
from persona_bench.scoring.crossed import fit_crossed
from persona_bench.scoring.estimate import Estimate, Interval
from persona_bench.scoring.mixture import draw_true
from persona_bench.scoring.resampling import null_pss, p_value
from tests.scoring.simulated import cells_of


def as_cells(correct: np.ndarray, samples: int | np.ndarray = 1) -> Cells:
    scored = np.broadcast_to(samples, correct.shape).astype(np.int64)
    return cells_of(correct.astype(np.int64), scored)


def chances(
    questions: int, effects: np.ndarray, rng: np.random.Generator, base: float = 0.0
) -> np.ndarray:
    """Of a correct response, per question and persona; difficulty with sd 1.5 in log-odds."""
    return expit(base + 1.5 * rng.standard_normal(questions)[:, None] + effects)


# ------------------------------------------------------------------------------ the sampler
def test_with_one_component_the_sampler_agrees_with_the_exact_posterior() -> None:
    rng = np.random.default_rng(0)
    x, draws = np.array([-1.3, -0.2, 0.1, 0.4, 2.6]), 4000
    found = draw_true(np.tile(x, (50, 1)), np.ones((50, 5)), rng, draws=draws // 50, components=1)
    lowest, highest = found.min(axis=2), found.max(axis=2)

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

    for drawn, exact in ((lowest, true.min(axis=1)), (highest, true.max(axis=1))):
        assert drawn.mean() == pytest.approx(exact.mean(), abs=0.06)
        for q in (0.1, 0.5, 0.9):
            assert np.quantile(drawn, q) == pytest.approx(np.quantile(exact, q), abs=0.12)


def test_measurements_without_noise_are_taken_as_they_are() -> None:
    x = np.array([[0.1, 0.7, 0.4, 1.9]] * 8)
    found = draw_true(x, np.full(x.shape, 1e-10), np.random.default_rng(0), draws=50)
    assert found == pytest.approx(np.broadcast_to(x, (50, 8, 4)), abs=1e-3)


def test_chains_of_different_tables_do_not_mix() -> None:
    x = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    found = draw_true(x, np.full(x.shape, 0.01), np.random.default_rng(0), draws=200)
    width = np.ptp(found, axis=2).mean(axis=0)
    assert width[0] < 0.2
    assert width[1] == pytest.approx(9, abs=0.3)


# ------------------------------------------------------------------------------ the estimate
def estimate(correct: np.ndarray, samples: int | np.ndarray = 1) -> Estimate:
    return corrected_pss(as_cells(correct, samples), 0.95, np.random.default_rng(0))


def accuracy_of(effects: np.ndarray, base: float = 0.0, sd: float = 1.5) -> np.ndarray:
    """Expected over all questions, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    expected: np.ndarray = expit(base + effects[:, None] + sd * nodes) @ weights / weights.sum()
    return expected


@pytest.mark.parametrize(
    ("questions", "samples", "effect", "missing"),
    [
        (400, 1, "none", 0.0),
        (400, 1, "none", 0.8),
        (200, 4, "spread", 0.3),
        (400, 1, "one harmful", 0.5),
        (400, 1, "two groups", 0.0),
    ],
)
def test_bias_and_coverage(questions: int, samples: int, effect: str, missing: float) -> None:
    rng, personas, tables = np.random.default_rng(7), 12, 40
    errors, plain, held, sigma = [], [], 0, []
    for _ in range(tables):
        effects = {
            "none": np.zeros(personas),
            "spread": 0.3 * rng.standard_normal(personas),
            "one harmful": np.r_[-1.5, np.zeros(personas - 1)],
            "two groups": np.where(np.arange(personas) % 2, -0.7, 0.0),
        }[effect]
        truth = accuracy_of(effects).min() / accuracy_of(effects).max()
        scored = np.where(rng.random((questions, personas)) < missing, 0, samples)
        correct = rng.binomial(scored, chances(questions, effects, rng))
        cells = as_cells(correct, scored)
        found = corrected_pss(cells, 0.95, rng, chains=16)
        fit = fit_crossed(cells.scored_only())
        sigma.append(np.sqrt(fit.variance.mean()) / fit.accuracy.mean())
        errors.append(found - truth)
        plain.append(cells.accuracy.min() / cells.accuracy.max() - truth)
        held += found.low - 1e-9 <= truth <= found.high + 1e-9
    assert abs(np.mean(errors)) < max(0.02, np.mean(sigma)) + 0.01
    assert abs(np.mean(errors)) < max(0.03, 0.6 * abs(np.mean(plain)))
    assert held >= 33  # of 40; at a coverage of 95%, 32 or fewer once in 3,000 runs


@pytest.mark.parametrize("samples", [1, 4, 16])
def test_interaction_is_noise_at_every_number_of_samples(samples: int) -> None:
    """No persona matters over questions like these, however it acts on single ones."""
    rng, held, words = np.random.default_rng(8), 0, []
    for _ in range(15):
        logit = 1.5 * rng.standard_normal((200, 1)) + 2.0 * rng.standard_normal((200, 16))
        cells = as_cells(rng.binomial(samples, expit(logit)), samples)
        found = corrected_pss(cells, 0.95, rng, chains=16)
        held += found.high >= 1 - 1e-9
        words.append(conclude(found.interval))
    assert held >= 13
    assert words.count("unstable") <= 1


def test_more_samples_do_not_move_the_estimate_towards_the_questions_asked() -> None:
    rng = np.random.default_rng(4)
    logit = 1.5 * rng.standard_normal((60, 1)) + 2.0 * rng.standard_normal((60, 6))
    p = expit(logit)
    cells = as_cells(rng.binomial(16, p), 16)
    asked = corrected_pss_asked(cells, 0.95, np.random.default_rng(0))
    like_these = corrected_pss(cells, 0.95, np.random.default_rng(0))
    truth = p.mean(axis=0).min() / p.mean(axis=0).max()
    assert asked.low <= truth <= asked.high
    assert like_these.high == pytest.approx(1)
    widths = [np.ptp(found.interval) for found in (asked, like_these)]
    assert widths[1] > 2 * widths[0]


def test_real_greedy_verdicts_exchanged_within_questions_are_not_called_unstable() -> None:
    """Personas alike, most questions right or wrong under all of them, four cells in five lost."""
    rng = np.random.default_rng(5)
    shared = rng.random((160, 1)) < 0.4
    varied = rng.random((160, 1)) < 0.25
    words = []
    for missing in (0.5, 0.8):
        for _ in range(8):
            verdicts = np.where(varied, rng.random((160, 16)) < 0.5, shared).astype(int)
            scored = (rng.random(verdicts.shape) >= missing).astype(int)
            found = corrected_pss(as_cells(verdicts * scored, scored), 0.95, rng)
            words.append(conclude(found.interval))
    assert words.count("unstable") <= 2  # of 16; was 15


def test_the_questions_drawn_make_the_interval_wider() -> None:
    """Without sampling noise, thirty questions still leave open what others would show."""
    rng = np.random.default_rng(6)
    p = chances(30, np.r_[-2.0, np.zeros(5)], rng)
    cells = as_cells(np.round(p * 400), 400)
    asked = corrected_pss_asked(cells, 0.95, np.random.default_rng(0))
    like_these = corrected_pss(cells, 0.95, np.random.default_rng(0))
    assert np.ptp(like_these.interval) > 3 * np.ptp(asked.interval)
    truth = accuracy_of(np.array([-2.0, 0.0]))
    assert like_these.low < truth[0] / truth[1] < like_these.high


def test_one_differing_verdict_among_few_questions_proves_nothing() -> None:
    correct = np.zeros((7, 6), dtype=int)
    correct[:2] = 1
    correct[1, 3] = 0  # half of what the others solve, and the exchange test says p = 1
    low, high = estimate(correct).interval
    assert low < 0.5
    assert high > 0.99


def test_cells_without_noise_give_the_plain_score() -> None:
    rng = np.random.default_rng(3)
    correct = 2 * (rng.random((400, 5)) < np.array([0.2, 0.4, 0.5, 0.6, 0.8]))
    value = corrected_pss_asked(as_cells(correct, 2), 0.95, rng)
    plain = correct.sum(0).min() / correct.sum(0).max()
    assert value == pytest.approx(plain, abs=0.01)
    assert value.low == pytest.approx(plain, abs=0.02)
    assert value.high == pytest.approx(plain, abs=0.02)


def test_the_questions_asked_need_two_samples_per_cell() -> None:
    rng = np.random.default_rng(9)
    scored = np.full((50, 4), 2)
    scored[:10] = 1  # a fifth of the cells
    found = corrected_pss_asked(as_cells(rng.binomial(scored, 0.5), scored), 0.95, rng)
    assert np.isnan(found)
    assert np.isnan(found.interval).all()
    scored[:6] = 2
    found = corrected_pss_asked(as_cells(rng.binomial(scored, 0.5), scored), 0.95, rng)
    assert 0 < found <= 1


def test_where_there_is_nothing_to_compare() -> None:
    ones = np.ones((20, 4), dtype=int)
    value = estimate(ones)
    assert value > 0.99
    assert value.high == pytest.approx(1, abs=1e-3)
    assert 0.6 < value.low < 1  # twenty questions can't prove more
    for table in (0 * ones, ones[:, :1], ones[:1]):
        assert np.isnan(estimate(table))


def test_one_question_with_several_samples() -> None:
    """Says nothing about other questions, and something about this one."""
    correct = np.array([[5, 8, 8]])
    assert np.isnan(estimate(correct, 8))
    asked = corrected_pss_asked(as_cells(correct, 8), 0.95, np.random.default_rng(0))
    assert asked.low < 5 / 8 < asked.high


def test_same_table_same_numbers() -> None:
    correct = np.random.default_rng(5).binomial(1, 0.4, (50, 5))
    one, other = estimate(correct), estimate(correct)
    assert (one, one.interval) == (other, other.interval)


def test_two_models_share_the_questions_of_each_chain() -> None:
    rng = np.random.default_rng(10)
    p = chances(30, np.r_[-2.0, np.zeros(5)], rng)
    cells = as_cells(np.round(p * 400), 400)
    weights = rng.dirichlet(np.ones(30), size=64)
    one, other = (posterior(cells, np.random.default_rng(s), weights) for s in (0, 1))
    assert one is not None
    assert other is not None
    means = one.pss.mean(axis=0), other.pss.mean(axis=0)  # over the draws of each chain
    assert np.corrcoef(*means)[0, 1] > 0.9


def test_bands_hold_for_all_personas_at_once() -> None:
    draws = np.random.default_rng(11).standard_normal((20_000, 10))
    low, high = simultaneous_bands(draws, 0.8)
    inside = ((low <= draws) & (draws <= high)).all(axis=1).mean()
    assert inside == pytest.approx(1 - 0.2 * 0.3, abs=0.01)  # as the intervals: `TAIL`
    assert (np.abs(low + high) < 0.3).all()


# ---------------------------------------------------------------------------- what follows
def test_conclusions() -> None:
    assert conclude(Interval(0.95, 1.0)) == "stable"
    assert conclude(Interval(0.5, 0.949)) == "unstable"
    assert conclude(Interval(0.5, 0.95)) == "undetermined"
    assert conclude(Interval(0.85, 0.89), 0.8) == "stable"
    assert conclude(Interval(float("nan"), float("nan"))) == "undetermined"


@pytest.mark.parametrize(("questions", "personas", "samples"), [(300, 12, 1), (60, 6, 4)])
def test_detectable_effect_is_noticed_as_often_as_promised(
    questions: int, personas: int, samples: int
) -> None:
    rng = np.random.default_rng(6)
    noticed = []
    for _ in range(120):
        p = chances(questions, np.zeros(personas), rng)
        ratio = detectable_pss(fit_crossed(as_cells(rng.binomial(samples, p), samples)))
        assert 0.3 < ratio < 0.95
        harmed = chances(questions, np.zeros(personas), rng)
        harmed[:, 0] *= ratio
        correct = rng.binomial(samples, harmed)
        accuracy = correct.mean(axis=0)
        floor = null_pss(correct, np.full(p.shape, samples), 99, rng)
        noticed.append(p_value(floor, accuracy.min() / accuracy.max()) <= 0.05)
    assert 0.68 < np.mean(noticed) < 0.92  # 0.8, with three times the error of 120 tables


def test_more_questions_detect_smaller_effects() -> None:
    rng = np.random.default_rng(8)
    found = [
        detectable_pss(fit_crossed(as_cells(rng.binomial(1, 0.5, (questions, 10)))))
        for questions in (10, 30, 100, 500)
    ]
    assert found == sorted(found)
    assert found[0] < 0.4
    assert found[-1] > 0.75


@pytest.mark.parametrize("samples", [1, 4, 16])
def test_a_single_question_says_nothing_of_other_questions(samples: int) -> None:
    correct = np.random.default_rng(0).binomial(samples, 0.5, (1, 6))
    found = corrected_pss(as_cells(correct, samples), 0.95, np.random.default_rng(1))
    assert np.isnan(found)
    assert conclude(found.interval) == "undetermined"
