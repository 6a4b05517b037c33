"""Plans: closed forms by hand, simulation against drawn tables, pilots of known models."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from persona_bench.extras.planning.pilot import assumptions_from
from persona_bench.extras.planning.plan import (
    Assumptions,
    Design,
    accuracy_errors,
    designs_for,
    draw_cells,
    forecast,
    level_of,
    mean_half_width,
    moments,
    noise_floor,
    pss_half_width,
    smallest_detected,
)
from persona_bench.scoring.resampling import worst_over_best

MIXED = Assumptions(0.4, question_sd=1.5, persona_sd=0.3, interaction_sd=0.5)


def test_alike_questions_leave_the_binomial_s_error() -> None:
    alike = Assumptions(0.4, question_sd=0.0)
    assert level_of(alike) == pytest.approx(math.log(0.4 / 0.6))
    errors = accuracy_errors(alike, Design(100, 6, 2))
    assert errors.asked == pytest.approx(math.sqrt(0.4 * 0.6 / 200))
    assert errors.population == pytest.approx(errors.asked)
    # the mean of 6 personas: 1.96 * sqrt(0.24 / 1200)
    half = mean_half_width(alike, Design(100, 6, 2))
    assert half == pytest.approx(1.959964 * math.sqrt(0.24 / 1200), rel=1e-6)


def test_the_parts_add_up_to_a_verdict_s_variance_and_agree_with_draws() -> None:
    m = moments(MIXED)
    assert m.mean == pytest.approx(0.4)
    assert m.question + m.interaction + m.cell == pytest.approx(0.24)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200_000, 1))
    logit = level_of(MIXED) + 1.5 * z + 0.5 * rng.normal(size=(200_000, 2))
    p = 1 / (1 + np.exp(-logit))
    assert m.question == pytest.approx(np.cov(p.T)[0, 1], abs=0.001)
    assert m.cell == pytest.approx((p * (1 - p)).mean(), abs=0.001)


def test_samples_help_the_asked_questions_to_the_end_and_the_population_not() -> None:
    errors = [accuracy_errors(MIXED, Design(500, 16, k)) for k in (1, 4, 10_000)]
    assert errors[0].asked == pytest.approx(2 * errors[1].asked)
    assert errors[2].asked < 0.0002
    m = moments(MIXED)
    least = math.sqrt((m.question + m.interaction) / 500)
    assert least < errors[2].population < 1.001 * least


@pytest.mark.parametrize(
    ("accuracy", "questions", "samples"), [(0.45, 30, 1), (0.45, 30, 8), (0.2, 500, 1)]
)
def test_the_noise_floor_is_that_of_drawn_tables(
    accuracy: float, questions: int, samples: int
) -> None:
    assumed = Assumptions(accuracy, question_sd=0.0)
    rng = np.random.default_rng(1)
    right = rng.binomial(questions * samples, accuracy, size=(4000, 20))
    expected = worst_over_best(right / (questions * samples)).mean()
    # normal accuracies for binomial ones: within 0.02 even on 30 responses
    assert noise_floor(assumed, Design(questions, 20, samples)) == pytest.approx(expected, abs=0.02)


def test_two_personas_have_the_floor_of_the_half_normal() -> None:
    # E[min / max] of two is close to 1 - E|difference| / mean = 1 - 2 s / (sqrt(pi) mean)
    assumed, design = Assumptions(0.5, question_sd=0.0), Design(10_000, 2)
    s = math.sqrt(0.25 / 10_000)
    assert noise_floor(assumed, design) == pytest.approx(
        1 - 2 * s / (math.sqrt(math.pi) * 0.5), abs=5e-4
    )


def test_the_detectable_effect_is_detected_in_80_per_cent_of_drawn_tables() -> None:
    assumed, design = Assumptions(0.5, question_sd=1.0), Design(200, 8, 1)
    found = smallest_detected(assumed, design, kind="one")
    rng = np.random.default_rng(2)

    def shown(effect: float, tables: int) -> np.ndarray:
        logit = level_of(assumed) + rng.normal(size=(tables, 200, 1)) * np.ones(8)
        logit[:, :, 0] += effect
        return worst_over_best((rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).mean(axis=1))

    grid = np.linspace(-3, 0, 301)
    means = moments(assumed, grid).mean
    effect = float(np.interp(found, means / means[-1], grid))
    threshold = np.quantile(shown(0.0, 3000), 0.05)
    power = np.mean(shown(effect, 3000) < threshold)
    assert power == pytest.approx(0.8, abs=0.04)
    assert 0 < smallest_detected(assumed, design, kind="normal") < 1


def test_no_effect_is_detectable_if_a_pss_of_zero_is_not() -> None:
    assert smallest_detected(Assumptions(0.1), Design(5, 16)) == 0.0


def test_more_questions_and_samples_never_tell_less() -> None:
    designs = [Design(100, 16), Design(400, 16), Design(400, 16, 4)]
    told = [forecast(MIXED, design) for design in designs]
    for less, more in itertools.pairwise(told):
        assert more.noise_floor > less.noise_floor
        assert more.detected_one > less.detected_one
        assert more.detected_normal > less.detected_normal
        assert more.pss_half_width < less.pss_half_width


def test_the_designs_found_reach_what_was_asked_and_fewer_questions_do_not() -> None:
    assumed = Assumptions(0.5)
    designs = designs_for(assumed, personas=8, most_questions=500, detect=0.85)
    assert [d.responses for d in designs] == sorted(d.responses for d in designs)
    for d in designs:
        assert smallest_detected(assumed, d) >= 0.85
        assert smallest_detected(assumed, replace(d, questions=int(0.9 * d.questions))) < 0.85
    (first, *_) = designs_for(assumed, personas=3, most_questions=300, pss_within=0.1)
    assert pss_half_width(assumed, first, tables=4, chains=8) <= 0.1
    assert designs_for(assumed, personas=8, most_questions=20, detect=0.999) == []


@pytest.mark.parametrize("samples", [1, 4])
def test_a_pilot_gives_back_what_it_was_drawn_from(samples: int) -> None:
    true = MIXED if samples > 1 else replace(MIXED, interaction_sd=0.0)
    cells = draw_cells(true, Design(800, 24, samples), np.random.default_rng(5))
    n = samples
    rows = [
        (q, p, s, float(s < c))
        for (q, p), c in np.ndenumerate(cells.correct)
        for s in range(n)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["question", "persona", "sample", "correct"])
    found, notes = assumptions_from(table)
    assert found.accuracy == pytest.approx(0.4, abs=0.06)
    assert found.question_sd == pytest.approx(1.5, abs=0.2)
    assert found.persona_sd == pytest.approx(0.3, abs=0.12)
    assert found.interaction_sd == pytest.approx(true.interaction_sd, abs=0.15)
    assert any("one sample a cell" in note for note in notes) == (samples == 1)


@pytest.mark.parametrize(
    ("correct", "words"),
    [([1.0] * 12, "every response of the pilot is correct"), ([1.0, 0.0], "at least 5 and 2")],
)
def test_a_pilot_that_tells_nothing_is_refused(correct: list[float], words: str) -> None:
    questions = [f"q{i // 2}" for i in range(len(correct))]
    personas = ["a", "b"] * (len(correct) // 2)
    table = pd.DataFrame({"question": questions, "persona": personas, "correct": correct})
    with pytest.raises(ValueError, match=words):
        assumptions_from(table)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Assumptions(1.2), "accuracy=1.2 must lie between"),
        (lambda: Assumptions(0.5, persona_sd=-1), "persona_sd=-1"),
        (lambda: Design(1, 6), "questions=1, but at least 2"),
        (lambda: smallest_detected(MIXED, Design(9, 3), kind="x"), "must be 'one' or 'normal'"),
        (lambda: designs_for(MIXED, personas=3, most_questions=9), "either pss_within or detect"),
        (lambda: designs_for(MIXED, personas=3, most_questions=9, detect=2.0), "detect=2.0 must"),
    ],
)
def test_impossible_plans_are_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
