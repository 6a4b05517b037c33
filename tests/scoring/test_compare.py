"""Two models compared: against SciPy, brute force, hand, and tables whose truth is known."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test, ttest_rel

from persona_bench import compare
from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.comparable import CompareError, restrict_to_common
from persona_bench.scoring.compare import Pair


def outcomes(correct: np.ndarray, **columns: str) -> pd.DataFrame:
    """Rows of counts 0/1 in shape (questions, personas) or (questions, personas, samples)."""
    table = correct[..., None] if correct.ndim == 2 else correct
    rows = [
        {"question": f"q{i}", "persona": f"p{j}", "sample": k, "correct": float(table[i, j, k])}
        for i, j, k in itertools.product(*map(range, table.shape))
    ]
    return pd.DataFrame(rows).assign(**columns)


def draw(questions: int, personas: int, chance: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((questions, personas)) < chance).astype(int)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    return draw(40, 5, 0.4, 0), draw(40, 5, 0.6, 1)


def test_mean_interval_is_the_paired_t_interval(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    row = compare(outcomes(a), outcomes(b)).metrics.set_index("metric").loc["mean"]
    exact = ttest_rel(b.mean(axis=1), a.mean(axis=1)).confidence_interval(0.95)
    assert row["difference"] == pytest.approx(b.mean() - a.mean())
    assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high))


def test_mean_p_value_agrees_with_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair[0], np.where(draw(40, 5, 0.12, 2), 1 - pair[0], pair[0])
    row = compare(outcomes(a), outcomes(b)).metrics.set_index("metric").loc["mean"]
    theirs = permutation_test(
        (b.mean(axis=1) - a.mean(axis=1),),
        np.mean,
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    )
    assert 0.01 < theirs.pvalue < 0.99
    assert row["p_value"] == pytest.approx(theirs.pvalue, abs=0.015)


def test_p_values_by_brute_force_over_all_swaps_and_flips() -> None:
    a, b = draw(8, 3, 0.3, 5), draw(8, 3, 0.8, 6)
    result = compare(outcomes(a), outcomes(b), resamples=40_000)
    counts = dict.fromkeys(("mean", "worst", "best", "pss"), 0)

    def values(x: np.ndarray) -> dict[str, float]:
        accuracy = x.mean(axis=0)
        low, high = accuracy.min(), accuracy.max()
        pss = low / high if high else 0.0
        return {"mean": accuracy.mean(), "worst": low, "best": high, "pss": pss}

    seen_a, seen_b = values(a), values(b)
    for swap in itertools.product((False, True), repeat=8):
        s = np.array(swap)[:, None]
        one, other = values(np.where(s, b, a)), values(np.where(s, a, b))
        for name in counts:
            seen = abs(seen_b[name] - seen_a[name])
            counts[name] += abs(other[name] - one[name]) >= seen - 1e-12
    rows = result.metrics.set_index("metric")
    cells = [Cells.count(check(outcomes(x))) for x in (a, b)]
    pss = Pair(*cells, 0.95, 40_000).extremes(*map(np.random.default_rng, (0, 1)))[-1]
    assert np.isnan(rows.loc["pss", "p_value"])  # as the mean accuracies differ
    for name, hits in counts.items():
        seen = pss["p_value"] if name == "pss" else rows.loc[name, "p_value"]
        assert seen == pytest.approx(hits / 256, abs=0.01), name


def test_by_hand() -> None:
    a = np.array([[1, 0], [0, 0], [1, 1], [1, 0]])
    b = np.array([[1, 1], [1, 0], [1, 1], [0, 1]])
    result = compare(outcomes(a), outcomes(b))
    rows = result.metrics.set_index("metric")
    assert rows.loc["worst", ["a", "b"]].tolist() == [0.25, 0.75]
    assert rows.loc["best", ["a", "b"]].tolist() == [0.75, 0.75]
    assert rows.loc["pss", ["a", "b", "difference"]].tolist() == pytest.approx([1 / 3, 1, 2 / 3])
    people = result.per_persona.set_index("persona")
    assert people.loc["p0", "difference"] == 0
    assert people.loc["p1", "difference"] == 0.5
    # flips of +1 +0 +0 +1 for p1: two of four sums reach 2 in size; for p0 all reach 0
    assert people.loc["p1", "p_value"] == pytest.approx(0.5, abs=0.02)
    assert people.loc["p0", "p_value"] == 1
    assert people.loc["p1", "p_holm"] == pytest.approx(1.0, abs=0.04)


def test_one_persona_that_got_worse_is_found_and_named() -> None:
    a = draw(300, 8, 0.6, 1)
    b = a.copy()
    b[:, 3] *= draw(300, 8, 0.6, 2)[:, 3]
    result = compare(outcomes(a), outcomes(b))
    first = result.per_persona.iloc[0]
    assert first["persona"] == "p3"
    assert first["p_holm"] < 0.01
    assert (result.per_persona["p_holm"][1:] == 1).all()
    rows = result.metrics.set_index("metric")
    assert rows.loc["pss_corrected", "high"] < 0
    assert rows.loc["pss_corrected", "p_value"] < 0.05


def test_higher_accuracy_is_not_taken_for_stability() -> None:
    # both perfectly stable; the plain PSS of the better model is higher by noise alone
    rejected, plain = 0, []
    for seed in range(20):
        a, b = draw(100, 12, 0.2, seed), draw(100, 12, 0.8, 100 + seed)
        rows = compare(outcomes(a), outcomes(b), resamples=200).metrics.set_index("metric")
        plain.append(rows.loc["pss", "difference"])
        rejected += rows.loc["pss_corrected", "p_value"] <= 0.05
        assert rows.loc["pss", ["low", "high", "p_value"]].isna().all()
    assert np.mean(plain) > 0.25
    assert rejected <= 2


def test_the_plain_score_is_compared_where_accuracies_do_not_differ() -> None:
    a, b = draw(60, 6, 0.5, 2), draw(60, 6, 0.5, 3)
    result = compare(outcomes(a), outcomes(b), resamples=200)
    row = result.metrics.set_index("metric").loc["pss"]
    assert row["low"] <= row["difference"] <= row["high"]
    assert 0 < row["p_value"] <= 1
    assert not result.notes


def test_a_model_against_itself(pair: tuple[np.ndarray, np.ndarray]) -> None:
    rows = compare(outcomes(pair[0]), outcomes(pair[0])).metrics
    assert (rows["difference"][:4] == 0).all()
    assert (rows["p_value"] > 0.3).all()
    assert ((rows["low"] <= 0) & (rows["high"] >= 0)).all()


def test_b_against_a_is_the_mirror_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (outcomes(x) for x in pair)
    one = compare(a, b).metrics.set_index("metric")
    other = compare(b, a).metrics.set_index("metric")
    for name in ("mean", "worst", "best", "pss"):
        assert one.loc[name, "difference"] == pytest.approx(-other.loc[name, "difference"])
        if name != "pss":  # the mean accuracies differ
            assert one.loc[name, "low"] == pytest.approx(-other.loc[name, "high"], abs=0.03)
            assert one.loc[name, "p_value"] == pytest.approx(other.loc[name, "p_value"], abs=0.02)


def test_unscored_cells_are_left_out_on_both_sides(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    a, b = (outcomes(x) for x in pair)
    b.loc[b["question"].eq("q0") & b["persona"].eq("p1"), "correct"] = np.nan
    with pytest.warns(UserWarning, match="1 responses are not compared"):
        result = compare(a, b)
    assert result.left_out == 1
    without = pair[0][1:, 1].mean()
    people = result.per_persona.set_index("persona")
    assert people.loc["p1", "a"] == pytest.approx(without)
    assert people.loc["p0", "a"] == pytest.approx(pair[0][:, 0].mean())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ends_of_the_scale() -> None:
    nothing, everything = np.zeros((10, 3), int), np.ones((10, 3), int)
    rows = compare(outcomes(nothing), outcomes(everything)).metrics.set_index("metric")
    assert rows.loc["mean", "difference"] == 1
    assert np.isnan(rows.loc["pss_corrected", "difference"])
    one = compare(outcomes(everything[:1]), outcomes(nothing[:1]))
    assert one.per_persona["p_value"].isna().all()
    text = json.dumps(one.to_dict(), allow_nan=False)
    assert json.loads(text)["metrics"][0]["p_value"] is None


def test_what_is_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (outcomes(x, task="t", grader="maths 1", prompt_hash="x") for x in pair)
    with pytest.raises(CompareError, match="tasks differ: t and u"):
        compare(a, b.assign(task="u"))
    with pytest.raises(CompareError, match="graders differ: maths 1 and maths 2"):
        compare(a, b.assign(grader="maths 2"))
    with pytest.raises(CompareError, match=r"personas differ: 1 only in the first \(p4\)"):
        compare(a, b[b["persona"] != "p4"])
    with pytest.raises(CompareError, match=r"questions differ: 2 only in the second \(q0, q1\)"):
        compare(a[~a["question"].isin(["q0", "q1"])], b)
    b.loc[b["question"].eq("q7") & b["persona"].eq("p2"), "prompt_hash"] = "y"
    with pytest.raises(CompareError, match="1 of 200 cells, first under persona p2, question q7"):
        compare(a, b)


def test_only_what_both_have(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (outcomes(x) for x in pair)
    one, other = restrict_to_common(a[a["persona"] != "p0"], b[b["question"] != "q3"])
    result = compare(one, other)
    assert (result.n_questions, result.n_personas) == (39, 4)
    with pytest.raises(CompareError, match="no question in common"):
        restrict_to_common(a, b.assign(question="other"))


def test_extremes_of_different_numbers_of_samples_are_not_tested() -> None:
    a = draw(30, 4, 0.5, 0)
    b = np.stack([draw(30, 4, 0.5, s) for s in range(3)], axis=2)
    with pytest.warns(UserWarning, match="1 and 3 samples a cell"):
        metrics = compare(outcomes(a), outcomes(b)).metrics.set_index("metric")
    tests = metrics[["low", "high", "p_value"]]
    assert tests.loc[["worst", "best", "pss"]].isna().all(axis=None)
    assert tests.loc[["mean", "pss_corrected"]].notna().all(axis=None)


def test_same_seed_same_numbers(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (outcomes(x) for x in pair)
    one, other = compare(a, b, seed=3), compare(a.sample(frac=1, random_state=0), b, seed=3)
    pd.testing.assert_frame_equal(one.metrics, other.metrics)
    pd.testing.assert_frame_equal(one.per_persona, other.per_persona)


def test_other_generation_settings_are_refused_by_name(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    greedy = json.dumps({"max_gen_toks": 40, "temperature": 0.0, "samples": 1})
    sampled = json.dumps({"max_gen_toks": 80, "temperature": 0.8, "samples": 1})
    a, b = (outcomes(x, generation=g) for x, g in zip(pair, (greedy, sampled), strict=True))
    words = r"max_gen_toks 40 and 80, temperature 0.0 and 0.8.*--allow-different-generation"
    with pytest.raises(CompareError, match=words):
        compare(a, b)
    with pytest.warns(UserWarning, match="temperature 0.0 and 0.8"):
        allowed = compare(a, b, allow_different_generation=True)
    assert "max_gen_toks 40 and 80" in allowed.notes[0]
    for same in (greedy, ""):  # "": not recorded
        notes = compare(a, b.assign(generation=same)).notes
        assert not any("generation" in note for note in notes)
