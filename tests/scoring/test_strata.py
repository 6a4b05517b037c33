"""Questions redrawn within strata, and personas redrawn too."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from persona_bench import stability
from persona_bench.scoring.family import METRICS
from persona_bench.scoring.resampling import (
    bootstrap,
    expanded_interval,
    influence_se,
    question_weights,
    two_way_means,
)
from persona_bench.scoring.strata import merged
from tests.scoring.simulated import Model, outcomes_of


def test_the_distribution_is_that_of_every_draw() -> None:
    """All ways to draw 2 of the 3 questions of one stratum and 1 of the 2 of another."""
    values = np.array([1.0, 5.0, 2.0, 7.0, 4.0])
    strata = np.array([0, 1, 0, 1, 0])
    every = [
        (values[[0, 2, 4]][list(a)].mean() * 3 + values[[1, 3]][b] * 2) / 5
        for a in itertools.product(range(3), repeat=2)
        for b in range(2)
    ]
    drawn = bootstrap(
        values[:, None], lambda s: s / 5, 20_000, np.random.default_rng(0), strata=strata
    )
    found, counts = np.unique(np.round(drawn, 9), return_counts=True)
    expected, chances = np.unique(np.round(every, 9), return_counts=True)
    assert found == pytest.approx(expected)
    assert counts / 20_000 == pytest.approx(chances / len(every), abs=0.012)


def test_weights_keep_each_stratum_and_the_right_spread() -> None:
    strata, values = np.repeat([0, 1, 2], [3, 8, 20]), np.random.default_rng(1).random(31)
    weights = np.concatenate(
        list(question_weights(31, 20_000, np.random.default_rng(0), strata=strata))
    )
    for code, size in enumerate((3, 8, 20)):
        assert weights[:, strata == code].sum(axis=1) == pytest.approx(size)
    # the textbook variance of a stratified mean: sum of (n_h / n)^2 s_h^2 / n_h
    variance = sum(
        (size / 31) ** 2 * values[strata == code].var(ddof=1) / size
        for code, size in enumerate((3, 8, 20))
    )
    means = weights @ values / 31
    assert means.std() == pytest.approx(np.sqrt(variance), rel=0.03)
    assert influence_se((values - values.mean()) / 31, strata) == pytest.approx(np.sqrt(variance))


def test_without_strata_the_numbers_are_as_before() -> None:
    (weights,) = question_weights(5, 3, np.random.default_rng(0))
    drawn = np.random.default_rng(0).integers(5, size=(3, 5))
    assert weights.tolist() == [np.bincount(row, minlength=5).tolist() for row in drawn]


def test_single_questions_are_merged() -> None:
    codes, joined = merged(["a", "b", "b", "c", "c", "c"])
    assert joined == ["a", "b"]  # a alone joins the smallest
    assert codes.tolist() == [1, 1, 1, 0, 0, 0]
    codes, joined = merged(["a", "b", "c", "c"])
    assert joined == ["a", "b"]  # two alone make one of their own
    assert codes.tolist() == [1, 1, 0, 0]
    assert merged(["a", "a"])[1] == []
    with pytest.raises(ValueError, match="can't be redrawn"):
        next(question_weights(3, 2, np.random.default_rng(0), strata=np.array([0, 0, 1])))


def leveled(levels: list[object], seed: int = 0) -> object:
    """Accuracy rises steeply with the level: much of the variance is between levels."""
    ease = np.array([float(str(level)) * 2 for level in levels])
    rng = np.random.default_rng(seed)
    correct = rng.binomial(2, 1 / (1 + np.exp(3 - ease))[:, None] * np.array([0.9, 1, 0.8]))
    return outcomes_of(correct, np.full(correct.shape, 2), by_question={"level": levels})


def test_stratify_narrows_where_levels_differ() -> None:
    table = leveled(["0", "1", "2", "3"] * 10)
    plain, strata = (stability(table, resamples=400, stratify=s) for s in (None, "level"))
    assert (strata.stratify, plain.stratify) == ("level", None)
    assert strata.mean == plain.mean
    assert strata.mean_se < 0.7 * plain.mean_se
    for name in ("mean", "worst"):
        (a, b), (c, d) = (getattr(r, name).interval for r in (plain, strata))
        assert d - c < 0.85 * (b - a), name


def test_stratify_says_what_it_merged_and_refuses_what_it_cannot() -> None:
    with pytest.warns(UserWarning, match="level 0, 3: merged into one stratum"):
        found = stability(leveled(["0", "1", "1", "2", "2", "3"]), resamples=20, stratify="level")
    assert found.notes[-1].startswith("level 0, 3")
    assert found.to_dict()["stratify"] == "level"
    table = leveled(["0", "1"] * 3)
    with pytest.raises(ValueError, match="stratify is 'subject', but the outcomes have no such"):
        stability(table, stratify="subject")
    table.loc[0, "level"] = None
    table.loc[table["question"] == table["question"][0], "level"] = None
    with pytest.raises(ValueError, match="question q000 has no level"):
        stability(table, stratify="level")


# ---------------------------------------------------------------- personas redrawn too
def test_two_way_variance_is_the_sum_of_the_three() -> None:
    """Owen (2007): variance over rows + over columns + over cells, for a plain mean."""
    rng = np.random.default_rng(2)
    correct = rng.binomial(20, rng.random((40, 1)) * 0.5 + rng.random((1, 12)) * 0.5)
    x = correct / 20
    drawn = two_way_means(correct, np.full(correct.shape, 20), 20_000, rng)
    assert drawn.mean() == pytest.approx(x.mean(), abs=5e-3)
    rows, columns = x.mean(axis=1).var() / 40, x.mean(axis=0).var() / 12
    rest = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + x.mean()
    cells = rest.var() / (40 * 12)
    assert drawn.var() == pytest.approx(rows + columns + cells, rel=0.05)


def test_two_way_interval_holds_the_population_mean() -> None:
    """Personas drawn from a population too; by chance 4 in 10,000 fall below 0.87."""
    rng, held = np.random.default_rng(3), []
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    spread = np.sqrt(1.5**2 + 0.8**2)
    truth = weights @ (1 / (1 + np.exp(-0.3 - spread * nodes))) / weights.sum()
    for _ in range(150):
        correct = Model([*rng.normal(0, 0.8, size=12)]).draw(60, 1, rng)
        means = two_way_means(correct, np.ones_like(correct), 300, rng)
        low, high = expanded_interval(means, 0.95, 12)
        held.append(low <= truth <= high)
    assert np.mean(held) > 0.87


def test_population_of_personas_gives_the_mean_an_interval_only() -> None:
    correct = Model([0, 1, -1, 2, 0, -2]).draw(40, 1, np.random.default_rng(4))
    table = outcomes_of(correct, np.ones_like(correct))
    fixed, redrawn = (
        stability(table, resamples=400, population=p) for p in ("questions", "personas")
    )
    assert redrawn.population == "personas"
    assert redrawn.mean.low < fixed.mean.low
    assert redrawn.mean.high > fixed.mean.high
    for name in METRICS:
        assert getattr(redrawn, name) == getattr(fixed, name)
        if name != "mean":
            assert np.isnan(getattr(redrawn, name).interval).all(), name
    with pytest.raises(ValueError, match="population is 'models'"):
        stability(table, population="models")


def test_population_of_one_persona_or_nothing_scored() -> None:
    table = outcomes_of(np.array([[1], [0]]), np.ones((2, 1), int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for outcomes in (table, table.assign(correct=np.nan)):
            found = stability(outcomes, resamples=20, population="personas", stratify=None)
            assert np.isnan(found.mean.interval).all()
