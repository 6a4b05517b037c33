"""Fidelity corrected by ratings: against its formula, and against tables whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_bench.scoring.ratings import (
    against_raters,
    corrected_fidelity,
    hold_against_raters,
    rated_responses,
)
from tests.scoring.rated import TRUTH, study, table


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def one_each(rng: np.random.Generator, rated: int = 80, size: int = 400) -> pd.DataFrame:
    """One response per persona, on one task."""
    quality = rng.normal(3, 1, size)
    made = pd.DataFrame({"persona": np.arange(size), "eval_task": "Expected Action"})
    made["score"] = np.clip(np.rint(quality + rng.normal(0.7, 0.5, size)), 1, 5)
    rating = np.clip(np.rint(quality), 1, 5)
    made["rating"] = np.where(rng.permutation(size) < rated, rating, np.nan)
    return made.assign(question=made["persona"], sample=0, by_rule=False)


def test_with_one_response_per_persona_it_is_the_formula_of_ppi(rng: np.random.Generator) -> None:
    """Angelopoulos et al. 2023, equation for the mean; the slope of PPI++ (eq. for lambda)."""
    rows = one_each(rng)
    found = corrected_fidelity(rows)
    known = rows.dropna(subset=["rating"])
    y, f = known["rating"].to_numpy(), known["score"].to_numpy()
    everything = rows["score"].to_numpy()
    slope = np.cov(y, f)[0, 1] / np.var(f, ddof=1)
    assert found.slope == pytest.approx(slope)
    value = slope * everything.mean() + (y - slope * f).mean()
    assert found.persona_score == pytest.approx(value)
    # two-sample form over the unrated and the rated, with the slope that belongs to it
    n, size = len(y), len(everything)
    theirs = slope * (size - n) / size
    rest = rows.loc[rows["rating"].isna(), "score"]
    assert found.persona_score == pytest.approx(theirs * rest.mean() + (y - theirs * f).mean())
    variance = theirs**2 * rest.var() / (size - n) + (y - theirs * f).var(ddof=1) / n
    half = stats.t.ppf(0.975, n - 1) * math.sqrt(variance)
    width = found.interval.high - found.interval.low
    assert width == pytest.approx(2 * half, rel=0.05)


def test_a_judge_that_says_what_raters_say_needs_no_correction(rng: np.random.Generator) -> None:
    rows = one_each(rng)
    rows["rating"] = rows["score"].where(rows["rating"].notna())
    found = corrected_fidelity(rows)
    assert found.slope == pytest.approx(1)
    assert found.persona_score == pytest.approx(rows["score"].mean())
    judged = found.judged_interval
    assert found.interval.high - found.interval.low == pytest.approx(
        judged.high - judged.low, rel=0.02
    )


def test_a_constant_error_is_taken_off(rng: np.random.Generator) -> None:
    rows = table(40, 0.0, 100, rng)
    moved = rows.assign(score=rows["score"] - 1.5)
    a, b = corrected_fidelity(rows), corrected_fidelity(moved)
    assert a.persona_score == pytest.approx(b.persona_score)
    assert a.interval == pytest.approx(b.interval)
    assert a.judged - b.judged == pytest.approx(1.5)


def test_a_judge_that_always_says_the_same_leaves_the_ratings(rng: np.random.Generator) -> None:
    rows = table(40, 0.0, 100, rng).assign(score=4.0)
    found = corrected_fidelity(rows)
    assert found.slope == 0
    assert found.persona_score == pytest.approx(found.rated)
    assert found.interval.low == pytest.approx(found.rated_interval.low, abs=0.01)


def test_missing_verdicts_and_responses_without_text_do_not_move_it(
    rng: np.random.Generator,
) -> None:
    rows = table(40, 0.1, 300, rng)
    whole = corrected_fidelity(rows).persona_score
    harsh = rows.assign(score=rows["score"].where(rows["score"] > 2))  # the bad ones unreadable
    assert corrected_fidelity(harsh).persona_score == pytest.approx(whole, abs=0.1)
    empty = rows.assign(by_rule=rng.random(len(rows)) < 0.2)
    empty.loc[empty["by_rule"], ["score", "rating"]] = [1.0, np.nan]
    share = empty["by_rule"].mean()
    found = corrected_fidelity(empty)
    assert found.persona_score == pytest.approx((1 - share) * whole + share, abs=0.12)
    assert found.n_responses == len(rows)


def test_too_few_ratings_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="9 responses are rated, but correcting fidelity takes 10"):
        corrected_fidelity(table(16, 0.1, 9, rng))


def test_the_number_that_would_halve_the_interval_halves_it(rng: np.random.Generator) -> None:
    def width(rated: int) -> float:
        found = [corrected_fidelity(table(400, 1.0, rated, rng)) for _ in range(8)]
        return float(np.mean([each.interval.high - each.interval.low for each in found]))

    said = [corrected_fidelity(table(400, 1.0, 60, rng)).to_halve for _ in range(8)]
    wanted = round(float(np.mean([each for each in said if each])))
    assert 150 < wanted < 600
    assert width(wanted) == pytest.approx(width(60) / 2, rel=0.15)
    assert corrected_fidelity(table(16, 0.0, 700, rng)).to_halve is None  # 16 personas are few


@pytest.mark.parametrize("errs", [0.1, 0.4])
@pytest.mark.parametrize("rated", [50, 100, 300])
def test_the_interval_holds_the_truth_although_the_judge_errs(errs: float, rated: int) -> None:
    found = study(40, errs, rated, 80, np.random.default_rng(rated))
    assert 0.90 <= found["interval_covers"] <= 1  # 92 to 98% in the study of 1,000 tables
    assert found["judged_interval_covers"] < 0.9
    assert found["interval_width"] <= found["rated_interval_width"] * 1.02
    assert 3 < TRUTH < 4


# ------------------------------------------------------------------------------- raters, judges
def judged_and_rated(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two models; the judge is 1 point too kind to the second; rater b rates a third."""
    judged, ratings = [], []
    for model, kinder in (("plain", 0), ("flattered", 1)):
        rows = table(12, 0.0, 600, rng)
        rows["persona"] = rows["persona"].astype(str)
        rows["question"] = rows["persona"] + "/" + rows["question"].astype(str)
        rows = rows.assign(model=model, task="roles", judge="j", reason="", response="text")
        truth = rows["rating"].round()
        judged.append(rows.assign(score=truth + kinder).drop(columns=["rating", "by_rule"]))
        keys = rows[["model", "task", "persona", "eval_task", "question", "sample"]]
        a, b = keys.assign(rater="a", rating=truth), keys.assign(rater="b", rating=truth)
        ratings += [a.iloc[::2], b.iloc[::3]]
    return pd.concat(judged, ignore_index=True), pd.concat(ratings, ignore_index=True)


def test_a_bias_for_a_model_is_found_and_raters_may_miss_some(rng: np.random.Generator) -> None:
    judged, ratings = judged_and_rated(rng)
    held = hold_against_raters(judged, ratings)
    (judge,) = held.judges
    assert held.raters == {"a": 600, "b": 400}
    assert held.n == judge.n == 800
    assert held.alpha == pytest.approx(1)
    assert judge.bias == pytest.approx(0.5)
    bias = judge.by_model.set_index("model")["bias"]
    assert bias.to_dict() == pytest.approx({"plain": 0, "flattered": 1})
    assert judge.same == pytest.approx(0.5)
    assert judge.within_one == 1
    assert held.corrected is None  # two models
    one = judged["model"] == "flattered"
    corrected = hold_against_raters(judged[one], ratings[ratings["model"] == "flattered"]).corrected
    assert corrected is not None
    assert corrected.persona_score == pytest.approx(corrected.judged - 1)


def test_disagreeing_raters_have_a_low_alpha(rng: np.random.Generator) -> None:
    judged, ratings = judged_and_rated(rng)
    at_random = ratings.assign(rating=rng.integers(1, 6, len(ratings)).astype(float))
    held = hold_against_raters(judged, at_random)
    assert abs(held.alpha) < 0.15
    assert held.interval.low < 0 < held.interval.high


def test_a_bias_for_one_persona_is_named_after_correction_for_their_number(
    rng: np.random.Generator,
) -> None:
    rows = pd.DataFrame(
        {"model": "m", "persona": np.repeat(list("abcdefgh"), 12), "rating": 3.0, "score": 3.0}
    )
    rows["score"] += rng.normal(0, 0.5, len(rows)) + 1.2 * (rows["persona"] == "c")
    found = against_raters(rows, "j").by_persona.set_index("persona")
    assert list(found.index[found["p_holm"] <= 0.05]) == ["c"]
    assert found.loc["c", "low"] < 1.2 < found.loc["c", "high"]


def test_responses_that_never_came_are_not_part_of_it(rng: np.random.Generator) -> None:
    judged, ratings = judged_and_rated(rng)
    judged = judged[judged["model"] == "plain"].reset_index(drop=True)
    judged.loc[0, ["score", "reason", "response"]] = [np.nan, "api_error", ""]
    judged.loc[1, ["score", "reason", "response"]] = [1.0, "no_answer", " "]
    found = rated_responses(judged, ratings[ratings["model"] == "plain"])
    assert len(found) == len(judged) - 1
    assert found["by_rule"].sum() == 1
