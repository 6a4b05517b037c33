"""Training methods compared over their seeds: against SciPy, and on simulated trainings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind, ttest_rel

from persona_bench import compare_methods
from persona_bench.scoring.comparable import CompareError
from persona_bench.scoring.methods import power_of_seeds, seed_difference, seeds_needed
from tests.scoring.simulated import logistic, outcomes_of


def trained(
    rng: np.random.Generator,
    seeds: dict[str, list[int]],
    gap: float = 0.0,
    questions: int = 60,
    personas: int = 6,
) -> pd.DataFrame:
    """Checkpoints whose log-odds differ by seed, seed x question and seed x persona."""
    difficulty = rng.normal(0, 1.5, (questions, 1))
    tables = []
    for i, (method, own) in enumerate(seeds.items()):
        for seed in own:
            odds = difficulty + gap * i + rng.normal(0, 0.15) + rng.normal(0, 0.3, (questions, 1))
            chance = logistic(odds + rng.normal(0, 0.15, (1, personas)))
            correct = (rng.random(chance.shape) < chance).astype(int)
            rows = outcomes_of(correct, np.ones_like(correct))
            tables.append(rows.assign(method=method, seed=seed, model=f"{method}-{seed}"))
    return pd.concat(tables, ignore_index=True)


def values(result: object, method: str, metric: str = "mean") -> np.ndarray:
    rows = result.per_seed.query("method == @method and metric == @metric")
    return rows["value"].to_numpy(float)


def test_shared_seeds_are_compared_in_pairs() -> None:
    seeds = {"rlvr": [1, 2, 3, 4], "permix": [1, 2, 3, 4]}
    result = compare_methods(trained(np.random.default_rng(0), seeds, gap=0.5))
    row = result.table.set_index("metric").loc["mean"]
    theirs = ttest_rel(values(result, "permix"), values(result, "rlvr"))
    interval = theirs.confidence_interval(0.95)
    assert result.paired
    assert (result.a, result.b) == ("rlvr", "permix")
    assert row["p_value"] == pytest.approx(theirs.pvalue)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["seeds_a"], row["seeds_b"]) == (4, 4)


@pytest.mark.parametrize(("other", "equal"), [([5, 6, 7, 8], True), ([5, 6], False)])
def test_other_seeds_are_compared_as_two_samples(other: list[int], equal: bool) -> None:
    result = compare_methods(trained(np.random.default_rng(1), {"a": [1, 2, 3, 4], "b": other}))
    row = result.table.set_index("metric").loc["worst"]
    a, b = values(result, "a", "worst"), values(result, "b", "worst")
    theirs = ttest_ind(b, a, equal_var=equal)
    interval = theirs.confidence_interval(0.95)
    assert not result.paired
    assert row["p_value"] == pytest.approx(theirs.pvalue)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
    assert row["seed_sd"] == pytest.approx(pooled**0.5)


def test_metrics_of_each_checkpoint_and_others_given() -> None:
    table = trained(np.random.default_rng(2), {"a": [1, 2, 3], "b": [1, 2, 3]})
    fidelity = pd.DataFrame(
        {"method": ["a"] * 3 + ["b"] * 3, "seed": [1, 2, 3] * 2, "metric": "fidelity",
         "value": [3.0, 3.1, 3.2, 3.6, 3.6, 3.9]}
    )  # fmt: skip
    result = compare_methods(table, fidelity)
    assert list(result.table["metric"]) == [
        "mean", "worst", "best", "pss", "pss_corrected", "fidelity",
    ]  # fmt: skip
    one = table.query("method == 'a' and seed == 2").groupby("persona")["correct"].mean()
    seen = result.per_seed.query("method == 'a' and seed == '2'").set_index("metric")["value"]
    assert seen["mean"] == pytest.approx(one.mean())
    assert seen["pss"] == pytest.approx(one.min() / one.max())
    row = result.table.set_index("metric").loc["fidelity"]
    assert row["difference"] == pytest.approx(0.6)
    own = result.per_method.set_index(["method", "metric"]).loc[("b", "fidelity")]
    assert own["mean"] == pytest.approx(3.7)
    assert own["low"] < 3.7 < own["high"]


def test_plain_scores_of_methods_that_differ_in_accuracy_are_not_tested() -> None:
    seeds = {"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}
    result = compare_methods(trained(np.random.default_rng(0), seeds, gap=2.0))
    table = result.table.set_index("metric")
    assert table.loc["mean", "p_value"] < 0.05
    assert table.loc["pss", ["low", "high", "p_value"]].isna().all()
    assert table.loc["pss_corrected", ["low", "high", "p_value"]].notna().all()
    assert any("mean accuracies differ" in note for note in result.notes)


def test_a_single_seed_says_nothing_of_a_method() -> None:
    table = trained(np.random.default_rng(3), {"a": [1, 2], "b": [1]})
    with pytest.raises(CompareError, match="b has a single seed"):
        compare_methods(table)


def test_checkpoints_asked_other_questions_are_refused() -> None:
    table = trained(np.random.default_rng(4), {"a": [1, 2], "b": [1, 2]})
    cut = table[~((table["method"] == "b") & (table["seed"] == 2) & (table["question"] == "q003"))]
    with pytest.raises(CompareError, match="b with seed 2 were not asked the same"):
        compare_methods(cut)


@pytest.mark.parametrize("column", ["grader", "prompt_hash", "generation"])
def test_checkpoints_run_in_another_way_are_refused(column: str) -> None:
    table = trained(np.random.default_rng(4), {"a": [1, 2], "b": [1, 2]})
    ways = np.where(table["method"] == "a", '{"temperature": 0}', '{"temperature": 1}')
    with pytest.raises(CompareError, match="differ"):
        compare_methods(table.assign(**{column: ways}))
    if column == "generation":
        found = compare_methods(table.assign(generation=ways), allow_different_generation=True)
        assert found.notes[0] == "generated under different settings: temperature 0 and 1"


def test_an_unfinished_checkpoint_is_refused() -> None:
    table = trained(np.random.default_rng(4), {"a": [1, 2], "b": [1, 2]})
    table.loc[(table["method"] == "b") & (table["seed"] == 2), "early"] = (
        '{"stored": 9, "asked": 20}'
    )
    with pytest.raises(CompareError, match="b with seed 2 is unfinished"):
        compare_methods(table)


def test_other_numbers_of_methods_are_refused() -> None:
    table = trained(np.random.default_rng(5), {"a": [1, 2], "b": [1, 2], "c": [1, 2]})
    with pytest.raises(CompareError, match=r"name them, as in methods="):
        compare_methods(table)
    assert compare_methods(table, methods=("c", "a")).b == "a"
    with pytest.raises(CompareError, match="lack the column"):
        compare_methods(table.drop(columns="method"))


def test_metrics_without_spread_between_seeds_have_no_interval() -> None:
    same = pd.Series([1.0, 1.0], index=["1", "2"])
    assert seed_difference(same, same, 0.95).p_value == 1.0
    apart = seed_difference(same, same - 0.5, 0.95)
    assert apart.difference == -0.5
    assert np.isnan([apart.low, apart.high, apart.p_value]).all()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("seeds", [2, 4, 8])
def test_seeds_of_equal_methods_differ_significantly_in_5_percent(seeds: int, shared: bool) -> None:
    """False positives between 3% and 7% (plus two Monte Carlo errors), for the mean accuracy."""
    rng = np.random.default_rng(6)
    rejected, replicates = 0, 600
    index = [list(range(seeds)), list(range(seeds)) if shared else list(range(100, 100 + seeds))]
    for _ in range(replicates):
        difficulty = rng.normal(0, 1.5, (1, 60, 1))
        accuracy = []
        for _ in range(2):
            odds = difficulty + rng.normal(0, 0.15, (seeds, 1, 1))
            odds = odds + rng.normal(0, 0.3, (seeds, 60, 1)) + rng.normal(0, 0.15, (seeds, 1, 6))
            accuracy.append((rng.random(odds.shape) < logistic(odds)).mean(axis=(1, 2)))
        a, b = (pd.Series(x, index=i) for x, i in zip(accuracy, index, strict=True))
        rejected += seed_difference(a, b, 0.95).p_value <= 0.05
    error = 2 * (0.05 * 0.95 / replicates) ** 0.5
    assert 0.03 - error <= rejected / replicates <= 0.07 + error


def test_power_of_seeds_is_that_of_the_noncentral_t() -> None:
    """An effect of one sd, one-sided at 2.5%: 8 seeds give 68%, 12 seeds 88%."""
    assert power_of_seeds(8, 0.12, 0.12, level=0.025, one_sided=True) == pytest.approx(
        0.68, abs=5e-3
    )
    assert power_of_seeds(12, 0.12, 0.12, level=0.025, one_sided=True) == pytest.approx(
        0.88, abs=5e-3
    )
    enough = seeds_needed(0.12, 0.12)
    assert enough is not None
    assert power_of_seeds(enough - 1, 0.12, 0.12) < 0.8 <= power_of_seeds(enough, 0.12, 0.12)
    assert seeds_needed(1e-6, 1.0) is None
