"""Variance parts against hand, analysis of variance, brute force and known models."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.formula.api import ols

from persona_bench import variance_parts
from persona_bench.extras.parts.moments import Moments
from persona_bench.extras.parts.variance import PARTS
from persona_bench.scoring.resampling import p_value, worst_over_best
from tests.scoring.simulated import Model, cells_of, outcomes_of

NAMES = list(PARTS)[:6]


def parts_of(correct: np.ndarray, scored: np.ndarray) -> dict[str, float]:
    moments = Moments(cells_of(correct, scored))
    return dict(zip(NAMES, moments(np.ones((1, len(correct))))[0], strict=True))


def by_brute_force(correct: np.ndarray, scored: np.ndarray) -> dict[str, float]:
    """Every part from its definition, a product of verdicts at a time."""
    questions, personas = correct.shape
    x = np.where(scored > 0, correct / np.maximum(scored, 1), np.nan)

    def product(p: int, r: int, same_question: bool) -> float:
        pairs = [
            x[i, p] * x[j, r]
            for i, j in itertools.product(range(questions), repeat=2)
            if (i == j) == same_question
        ]
        return float(np.nanmean(pairs))

    different = [(p, r) for p in range(personas) for r in range(personas) if p != r]
    own = np.mean([product(p, p, False) for p in range(personas)])
    other = np.mean([product(p, r, False) for p, r in different])
    question = np.mean([product(p, r, True) for p, r in different]) - other
    noise = np.mean(
        [
            np.mean([c * (n - c) / (n * (n - 1)) for c, n in zip(*column, strict=True) if n > 1])
            for column in zip(correct.T, scored.T, strict=True)
        ]
    )
    rest = np.nanmean(x, axis=0).mean() - own - question
    persona = own - (personas * own + personas * (personas - 1) * other) / personas**2
    total = question + persona + rest
    return dict(zip(NAMES, [question, persona, rest - noise, noise, rest, total], strict=True))


def test_by_hand() -> None:
    # two personas, two questions, two samples: q0 2 and 1 of 2 right, q1 1 and 0 of 2
    found = parts_of(np.array([[2, 1], [1, 0]]), np.full((2, 2), 2))
    # x = 1, 1/2 / 1/2, 0. Different questions: own 1/2 and 0, mean 1/4; other (1*0 + 1/4)/2 = 1/8
    # same question, different personas: (1/2 + 0)/2 = 1/4, less 1/8
    assert found["question"] == pytest.approx(1 / 8)
    assert found["persona"] == pytest.approx((1 / 4 - 1 / 8) / 2)
    # the two cells with one of two right have c (n - c) / (n (n - 1)) = 1/2
    assert found["sampling"] == pytest.approx(1 / 4)
    # mean 1/2 - own 1/4 - question 1/8
    assert found["interaction_or_noise"] == pytest.approx(1 / 8)
    assert found["interaction"] == pytest.approx(-1 / 8)  # said as it is: below 0
    assert found["total"] == pytest.approx(1 / 8 + 1 / 16 + 1 / 8)


@pytest.mark.parametrize("samples", [1, 3])
def test_a_full_table_gives_the_mean_squares_of_anova(samples: int) -> None:
    questions, personas = 7, 4
    correct = Model([0, 1, -1, 0.5], mixed=1).draw(questions, samples, np.random.default_rng(0))
    found = parts_of(correct, np.full(correct.shape, samples))
    table = outcomes_of(correct, np.full(correct.shape, samples))
    formula = "correct ~ C(question) + C(persona)"
    formula += " + C(question):C(persona)" if samples > 1 else ""
    anova = sm.stats.anova_lm(ols(formula, table).fit())
    ms = (anova["sum_sq"] / anova["df"]).rename(
        lambda name: name.replace("C(", "").replace(")", "")
    )
    mixed = ms["question:persona"] if samples > 1 else ms["Residual"]
    assert found["question"] == pytest.approx((ms["question"] - mixed) / (personas * samples))
    assert found["persona"] == pytest.approx(
        (1 - 1 / personas) * (ms["persona"] - mixed) / (questions * samples)
    )
    if samples > 1:
        assert found["sampling"] == pytest.approx(ms["Residual"])
        assert found["interaction"] == pytest.approx((mixed - ms["Residual"]) / samples)
    else:
        assert found["interaction_or_noise"] == pytest.approx(mixed)


@pytest.mark.parametrize("seed", range(4))
def test_unequal_and_missing_cells_against_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scored = rng.integers(0, 4, size=(8, 4))
    scored[:3] = np.maximum(scored[:3], 2)  # each pair has questions in common
    correct = rng.binomial(scored, 0.6)
    assert parts_of(correct, scored) == pytest.approx(by_brute_force(correct, scored))


def test_unbiased_with_unequal_and_missing_cells() -> None:
    model, rng = Model([0, 0.3, -0.5, -2, 0.1], mixed=0.8), np.random.default_rng(1)
    drawn = []
    for _ in range(1500):
        scored = rng.integers(0, 4, size=(12, 5))
        scored[0] = 2  # so that noise can always be told apart
        correct = rng.binomial(scored, model.expected(rng.normal(size=12)))
        drawn.append(list(parts_of(correct, scored).values()))
    error = np.std(drawn, axis=0) / np.sqrt(len(drawn))
    z = (np.mean(drawn, axis=0) - list(model.truth().values())) / error
    assert np.abs(z).max() < 4, dict(zip(NAMES, z, strict=True))
    # small enough an error to find a bias: a fifth of the part, or of the noise in it
    assert (
        error[[0, 1, 3, 4, 5]] < 0.2 * np.array(list(model.truth().values()))[[0, 1, 3, 4, 5]]
    ).all()


def test_a_question_drawn_twice_is_not_paired_with_itself() -> None:
    """Else every replicate would count a question's noise as persona variance."""
    model, rng = Model([0.0] * 6), np.random.default_rng(2)
    correct = model.draw(40, 1, rng)
    moments = Moments(cells_of(correct, np.ones_like(correct)))
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=4000).astype(float)
    drawn, seen = moments.persona(weights), moments.persona(np.ones((1, 40)))[0]
    assert drawn.mean() == pytest.approx(seen, abs=4 * drawn.std() / np.sqrt(4000) + 1e-4)


def test_kinds_split_the_persona_part() -> None:
    correct = Model([0, 0.1, -2, -2.1, 1]).draw(60, 2, np.random.default_rng(3))
    kinds = ["control", "control", "harmful", "harmful", "expert"]
    table = outcomes_of(correct, np.full(correct.shape, 2), by_persona={"kind": kinds})
    found = variance_parts(table, resamples=50).table
    within = sum(
        2 / 5 * parts_of(correct[:, pair], np.full((60, 2), 2))["persona"]
        for pair in ([0, 1], [2, 3])
    )
    assert found.loc["within_kinds", "variance"] == pytest.approx(within)
    kinds_sum = found.loc[["between_kinds", "within_kinds"], "variance"].sum()
    assert kinds_sum == pytest.approx(found.loc["persona", "variance"])
    assert found.loc["between_kinds", "share"] > 0.9


def test_shares_are_of_the_clipped_parts() -> None:
    correct = np.array([[2, 1], [1, 0]])
    found = variance_parts(outcomes_of(correct, np.full((2, 2), 2)), resamples=20).table
    parts = found.loc[["question", "persona", "interaction", "sampling"]]
    clipped = parts["variance"].clip(lower=0)
    assert parts["variance"].min() < 0
    assert parts["share"].to_numpy() == pytest.approx((clipped / clipped.sum()).to_numpy())
    assert parts["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("samples", [1, 4])
def test_intervals_hold_the_truth(samples: int) -> None:
    """120 tables, so 2 in 1000 fall below 0.87."""
    model, rng = Model([0, 0.3, -0.4, -1, 0.6, 0.1], mixed=1), np.random.default_rng(4)
    names = ["question", "persona", "interaction_or_noise"] + (["sampling"] if samples > 1 else [])
    truth = pd.Series(model.truth())[names]
    held = []
    for _ in range(120):
        correct = model.draw(100, samples, rng)
        table = outcomes_of(correct, np.full(correct.shape, samples))
        found = variance_parts(table, resamples=200).table.loc[names]
        held.append((found["low"] <= truth) & (truth <= found["high"]))
    assert (np.mean(held, axis=0) > 0.87).all(), dict(
        zip(names, np.mean(held, axis=0), strict=True)
    )


# -------------------------------------------------------------------- awkward tables
def test_one_sample_a_cell_gives_the_sum_only() -> None:
    found = variance_parts(outcomes_of(np.eye(4, dtype=int), np.ones((4, 4), int)), resamples=20)
    values = found.table["variance"]
    assert values[["interaction", "sampling"]].isna().all()
    assert values[["question", "persona", "interaction_or_noise", "total"]].notna().all()
    assert "interaction_or_noise; take at least 2 samples" in found.notes[0]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["parts"][3]["variance"] is None


def test_one_persona_without_second_samples_is_named() -> None:
    scored = np.array([[2, 1], [2, 1], [2, 1]])
    (note,) = variance_parts(outcomes_of(scored - 1, scored), resamples=20).notes
    assert note.startswith("the cells of p001 have one scored sample each")


@pytest.mark.parametrize("right", [0, 3])
def test_all_alike_has_no_variance(right: int) -> None:
    found = variance_parts(outcomes_of(np.full((5, 3), right), np.full((5, 3), 3)), resamples=20)
    assert found.table["variance"].to_numpy() == pytest.approx(0)
    assert found.table["share"].isna().all()
    assert found.table[["low", "high"]].to_numpy() == pytest.approx(0)


def test_one_question_and_one_persona() -> None:
    one = variance_parts(outcomes_of(np.array([[1, 2, 0]]), np.full((1, 3), 2)), resamples=20)
    assert one.table["variance"].notna().tolist() == [
        name == "sampling" for name in one.table.index
    ]
    assert one.table.loc["sampling", "variance"] == pytest.approx(1 / 6)
    assert "only one question" in one.notes[0]
    alone = variance_parts(outcomes_of(np.array([[1], [2], [0]]), np.full((3, 1), 2)), resamples=20)
    assert alone.table.loc["persona", "variance"] == 0
    assert alone.table.loc[["question", "interaction"], "variance"].isna().all()
    assert alone.table.loc["total", "variance"] == pytest.approx(1 / 2 - 1 / 6)
    assert "only one persona (p000)" in alone.notes[0]


def test_unscored_counts_as_missing_and_nothing_scored_is_said() -> None:
    correct, scored = np.array([[2, 1], [1, 0], [2, 2]]), np.full((3, 2), 2)
    table = outcomes_of(correct, scored)
    lost = table.index[(table["question"] == "q002") & (table["persona"] == "p001")]
    unscored = table.assign(correct=table["correct"].where(~table.index.isin(lost)))
    of_unscored = variance_parts(unscored, resamples=30).to_dict()
    assert of_unscored == variance_parts(table.drop(lost), resamples=30).to_dict()
    nothing = variance_parts(table.assign(correct=np.nan), resamples=20)
    assert nothing.table["variance"].isna().all()
    assert nothing.groups.empty
    assert nothing.notes == ("no response is scored: variance parts are undefined (NaN)",)


def test_same_seed_same_numbers_whatever_the_order() -> None:
    correct = Model([0, 1, 2]).draw(9, 2, np.random.default_rng(5))
    table = outcomes_of(correct, np.full((9, 3), 2))
    first = variance_parts(table, resamples=30, seed=1).to_dict()
    assert (
        first
        == variance_parts(table.sample(frac=1, random_state=0), resamples=30, seed=1).to_dict()
    )
    assert first["parts"] != variance_parts(table, resamples=30, seed=2).to_dict()["parts"]
    with pytest.raises(ValueError, match="confidence is 95"):
        variance_parts(table, confidence=95)


# --------------------------------------------------------------------------- groups
def test_groups_by_kind_level_and_subject() -> None:
    model = Model([0, 1, -1, 0.5])
    correct = model.draw(12, 2, np.random.default_rng(6))
    table = outcomes_of(
        correct,
        np.full((12, 4), 2),
        by_persona={"kind": ["control", "expert", "expert", "expert"]},
        by_question={"level": [10.0, 2.0, None] * 4, "subject": ["b", "a"] * 6},
    )
    found = variance_parts(table, resamples=200).groups.set_index(["by", "group"])
    assert [*found.index] == [
        ("kind", "control"), ("kind", "expert"), ("level", "2"), ("level", "10"), ("level", ""),
        ("subject", "a"), ("subject", "b"),
    ]  # fmt: skip
    experts = found.loc[("kind", "expert")]
    accuracy = correct[:, 1:].sum(axis=0) / 24
    assert experts["accuracy"] == pytest.approx(accuracy.mean())
    assert experts["pss"] == pytest.approx(accuracy.min() / accuracy.max())
    assert experts["spread"] == pytest.approx(np.ptp(accuracy))
    assert (experts["n"], experts["n_personas"], experts["n_questions"]) == (72, 3, 12)
    assert experts["noise_floor_low"] <= experts["noise_floor"] <= experts["noise_floor_high"]
    alone = found.loc[("kind", "control")]
    assert alone["pss"] == 1
    assert np.isnan(alone["noise_floor"])
    assert np.isnan(alone["p_value"])
    level = found.loc[("level", "10")]
    rows = correct[::3]
    assert level["accuracy"] == pytest.approx(rows.mean() / 2)
    assert level["pss"] == pytest.approx(worst_over_best(rows.sum(axis=0) / 8))
    # the exchange that leaves all as it is always counts: p is never 0
    assert found["p_value"].min() >= p_value(np.ones(200), 0.0)


def test_two_levels_for_one_question_are_refused() -> None:
    table = outcomes_of(np.ones((2, 2), int), np.ones((2, 2), int))
    with pytest.raises(ValueError, match="question q000 has more than one level: '1', '2'"):
        variance_parts(table.assign(level=[1, 2, 3, 3]), resamples=5)
