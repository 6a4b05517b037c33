"""Two models' fidelity compared: against SciPy, brute force and hand."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test, ttest_1samp
from statsmodels.stats.multitest import multipletests

from persona_bench.scoring.comparable import CompareError
from persona_bench.scoring.fidelity import fidelity
from persona_bench.scoring.fidelity_compare import (
    FidelityComparison,
    compare_fidelity,
    restrict_to_common_verdicts,
    sign_flip_p,
)

ACTION, TOXICITY = "Expected Action", "Toxicity"


def judged(scores: np.ndarray, model: str = "m") -> pd.DataFrame:
    """Of scores in shape (personas, 2 tasks, questions, judges)."""
    rows = [
        {
            "model": model,
            "task": "personagym",
            "eval_task": (ACTION, TOXICITY)[t],
            "persona": f"p{p}",
            "kind": "character",
            "question": f"p{p}/{t}/{q}",
            "sample": 0,
            "judge": f"j{j}",
            "score": float(scores[p, t, q, j]),
            "rubric": "r1",
        }
        for p, t, q, j in itertools.product(*map(range, scores.shape))
    ]
    return pd.DataFrame(rows)


def draw(personas: int, questions: int, judges: int, seed: int, low: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(low, 6, (personas, 2, questions, judges)).astype(float)


def quietly(a: pd.DataFrame, b: pd.DataFrame, **settings: Any) -> FidelityComparison:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare_fidelity(a, b, **settings)


def test_difference_and_interval_are_the_paired_t_of_personas() -> None:
    a, b = draw(8, 3, 2, 0), draw(8, 3, 2, 1, low=2)
    result = quietly(judged(a, "base"), judged(b, "tuned"), confidence=0.9)
    own = (b - a).mean(axis=(1, 2, 3))
    exact = ttest_1samp(own, 0).confidence_interval(0.9)
    assert result.difference == pytest.approx(own.mean())
    assert result.difference.interval == pytest.approx((exact.low, exact.high))
    assert (result.score_a, result.score_b) == pytest.approx((a.mean(), b.mean()))
    assert (result.model_a, result.model_b) == ("base", "tuned")
    for i, row in enumerate(result.task_scores.to_dict("records")):
        of_task = (b - a)[:, i].mean(axis=(1, 2))
        exact = ttest_1samp(of_task, 0).confidence_interval(0.9)
        assert row["difference"] == pytest.approx(of_task.mean())
        assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high))
        assert (row["a"], row["b"]) == pytest.approx((a[:, i].mean(), b[:, i].mean()))
    table = result.per_persona.set_index("persona")
    assert list(table["difference"]) == pytest.approx(sorted(own))
    assert table.loc["p3", "difference"] == pytest.approx(own[3])
    assert table.loc["p3", "b"] - table.loc["p3", "a"] == pytest.approx(own[3])


def test_scores_are_those_of_fidelity_where_all_is_scored() -> None:
    a, b = judged(draw(4, 3, 2, 0)), judged(draw(4, 3, 2, 1))
    result = quietly(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = fidelity(b)
    assert result.score_b == alone.persona_score
    assert list(result.task_scores["b"]) == list(alone.task_scores["score"])


def test_p_values_over_personas_are_exact_where_all_flips_fit() -> None:
    a, b = draw(7, 2, 1, 4), draw(7, 2, 1, 5, low=3)
    result = quietly(judged(a), judged(b), resamples=128)
    for p, own in (
        (result.p_value, (b - a).mean(axis=(1, 2, 3))),
        (result.task_scores.loc[0, "p_value"], (b - a)[:, 0].mean(axis=(1, 2))),
    ):
        theirs = permutation_test(
            (own,), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert 0 < theirs < 0.5
        assert p == pytest.approx(theirs)
    assert quietly(judged(a), judged(b), resamples=128, seed=9).p_value == result.p_value


def test_p_values_of_a_persona_are_exact_over_its_questions() -> None:
    a, b = draw(2, 3, 2, 6), draw(2, 3, 2, 7, low=2)
    result = quietly(judged(a), judged(b))
    for p in (0, 1):
        of_questions = (b - a)[p].mean(axis=2).ravel()
        hits = sum(
            abs(np.dot(signs, of_questions)) >= abs(of_questions.sum()) - 1e-9
            for signs in itertools.product((-1, 1), repeat=6)
        )
        row = result.per_persona.set_index("persona").loc[f"p{p}"]
        assert row["p_value"] == pytest.approx(hits / 64)
        assert (row["n"], row["questions"]) == (6, 6)


def test_questions_weigh_by_their_task_in_a_personas_p_value() -> None:
    a = judged(np.full((2, 2, 4, 1), 3.0))
    cut = a[~((a["eval_task"] == TOXICITY) & ~a["question"].str.endswith("/0"))]
    b = cut.assign(score=[4.0, 4.0, 4.0, 4.0, 2.0] * 2)
    # four questions of +1 weigh 1/8 each, one of -1 weighs 1/2: their sum is 0
    result = quietly(cut, b)
    assert list(result.per_persona["difference"]) == [0.0, 0.0]
    assert list(result.per_persona["p_value"]) == [1.0, 1.0]


def test_random_flips_agree_with_all_of_them_and_are_never_0() -> None:
    added = np.random.default_rng(0).normal(0.3, 1, 12)
    exact = sign_flip_p(added, 2**12, np.random.default_rng(0))
    random = sign_flip_p(added, 2**12 - 1, np.random.default_rng(0))
    assert 0.05 < exact < 0.95
    assert random == pytest.approx(exact, abs=0.03)
    assert random != exact
    assert sign_flip_p(np.ones(40), 99, np.random.default_rng(0)) == 1 / 100
    assert sign_flip_p(np.ones(5), 99, np.random.default_rng(0)) == 2 / 32


def test_p_value_holds_its_level_for_skewed_personas_of_no_difference() -> None:
    rng = np.random.default_rng(2)
    added = rng.exponential(1, (2000, 8)) * rng.choice([-1.0, 1.0], (2000, 8))
    p = np.array([sign_flip_p(row, 256, rng) for row in added])
    assert 0.035 < (p <= 0.05).mean() < 0.055  # the test's own level is 12 / 256 = 0.047


def test_holm_over_tasks_and_over_personas() -> None:
    result = quietly(judged(draw(6, 4, 1, 8)), judged(draw(6, 4, 1, 9, low=3)))
    for table in (result.task_scores, result.per_persona):
        holm = multipletests(table["p_value"], method="holm")[1]
        assert list(table["p_holm"]) == pytest.approx(list(holm))
        assert (table["p_holm"] > table["p_value"]).any()


def test_a_verdict_unscored_in_one_run_is_left_out_of_both() -> None:
    a, b = draw(4, 3, 2, 10), draw(4, 3, 2, 11)
    holed_a, holed_b = a.copy(), b.copy()
    holed_a[0, 0, 0, 0] = holed_b[1, 1, 2, 1] = math.nan  # one judge's verdict
    holed_a[2, 0, 1, 0] = holed_b[2, 0, 1, 1] = math.nan  # a response with no judge in common
    result = quietly(judged(holed_a), judged(holed_b))
    assert "4 of 48 verdicts are unscored in a run: left out of both" in result.notes
    assert (result.left_out, result.n_verdicts, result.n_responses) == (4, 48, 23)
    of_responses = (b - a).mean(axis=3)
    of_responses[0, 0, 0] = (b - a)[0, 0, 0, 1]
    of_responses[1, 1, 2] = (b - a)[1, 1, 2, 0]
    of_responses[2, 0, 1] = math.nan
    own = np.nanmean(of_responses, axis=2).mean(axis=1)
    assert result.difference == pytest.approx(own.mean())
    assert result.score_b - result.score_a == pytest.approx(result.difference)


def test_a_harsher_judge_that_fails_on_one_run_does_not_move_the_difference() -> None:
    scores = np.stack([np.full((4, 2, 3), 5.0), np.full((4, 2, 3), 2.0)], axis=3)
    holed = scores.copy()
    holed[:, :, 0, 1] = math.nan  # the harsh judge's verdicts on a third of b's responses
    result = quietly(judged(scores), judged(holed))
    assert result.difference == 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fidelity(judged(holed)).persona_score > fidelity(judged(scores)).persona_score


def test_a_run_against_itself() -> None:
    table = judged(draw(6, 3, 2, 12))
    with pytest.warns(UserWarning, match="the same for every persona"):
        result = compare_fidelity(table, table)
    assert (result.difference, result.p_value) == (0.0, 1.0)
    assert result.difference.interval == (0.0, 0.0)
    assert set(result.per_persona["p_holm"]) == {1.0}


def test_a_persona_and_a_task_without_a_common_verdict() -> None:
    a, b = draw(4, 2, 1, 13), draw(4, 2, 1, 14)
    a[3], b[0, 1] = math.nan, math.nan
    result = quietly(judged(a), judged(b))
    assert "no verdict of persona p3 is scored in both runs: not compared" in result.notes
    assert set(result.per_persona["persona"]) == {"p0", "p1", "p2"}
    assert list(result.task_scores["personas"]) == [3, 2]
    own = (b - a)[:3].mean(axis=(2, 3))
    assert result.difference == pytest.approx((own[:, 0].mean() + own[1:, 1].mean()) / 2)
    assert result.n_personas == 3


def test_a_persona_with_one_task_weighs_as_that_task_in_the_p_value() -> None:
    a, b = np.full((3, 2, 2, 1), 3.0), np.full((3, 2, 2, 1), 4.0)
    b[0, 0], b[0, 1] = 2.0, math.nan
    result = quietly(judged(a), judged(b))
    # the personas add -1 / 6, 1 / 6 + 1 / 4 and the same: 4 of 8 sums are as large as theirs
    assert result.difference == pytest.approx(2 / 3)
    assert result.p_value == 4 / 8


def test_few_personas_are_told_what_p_can_be() -> None:
    result = quietly(judged(np.full((3, 2, 2, 1), 2.0)), judged(draw(3, 2, 1, 15, low=3)))
    assert result.p_value == 0.25
    assert any("3 personas: no p-value over personas can be below 0.25" in n for n in result.notes)
    single = quietly(judged(draw(1, 4, 1, 16)), judged(draw(1, 4, 1, 17)))
    assert math.isnan(single.p_value)
    assert math.isnan(single.difference.low)
    assert not math.isnan(single.per_persona.loc[0, "p_value"])


def test_order_of_rows_does_not_matter_and_the_seed_only_where_flips_are_random() -> None:
    a, b = judged(draw(16, 2, 2, 18)), judged(draw(16, 2, 2, 19))
    one = quietly(a, b, resamples=500)
    mixed = quietly(a.sample(frac=1, random_state=1), b.sample(frac=1, random_state=2),
                    resamples=500)  # fmt: skip
    assert one.to_dict() == mixed.to_dict()
    other = quietly(a, b, resamples=500, seed=1)
    assert other.p_value != one.p_value
    pd.testing.assert_series_equal(other.per_persona["p_value"], one.per_persona["p_value"])


def test_to_dict_is_plain_json() -> None:
    result = quietly(judged(draw(1, 1, 2, 20)), judged(draw(1, 1, 2, 21)))
    told = result.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["persona_score"]["difference"] == result.difference
    assert told["persona_score"]["p_value"] is None
    assert told["task_scores"][0]["p_holm"] is None
    assert told["judges"] == ["j0", "j1"]


# ------------------------------------------------------------------------ what is refused
TABLE = judged(np.full((3, 2, 2, 2), 3.0))


def _other(**columns: Any) -> pd.DataFrame:
    return TABLE.assign(**columns)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (_other(task="roleplay"), "tasks differ: personagym and roleplay"),
        (_other(rubric="r2"), "rubrics differ: Expected Action was judged by r1 and by r2; judge"),
        (
            TABLE.replace({"judge": {"j1": "j9"}}),
            r"judges differ: 1 only in the first \(j1\) and 1 only in the second \(j9\); ",
        ),
        (TABLE[TABLE["persona"] != "p2"], r"personas differ: 1 only in the first \(p2\); run both"),
        (TABLE[TABLE["eval_task"] == ACTION], r"eval_tasks differ: 1 only in the first"),
        (
            TABLE[TABLE["question"] != "p1/0/1"],
            r"questions differ: 1 only in the first \(persona p1, eval_task Expected Action, "
            r"question p1/0/1\)",
        ),
        (
            pd.concat([TABLE, _other(sample=1)]),
            r"samples differ: 12 only in the second \(persona p0, .*sample 1; .*\.\.\.\)",
        ),
        (TABLE[1:], r"verdicts differ: 1 only in the first \(persona p0, .*judge j0\)"),
    ],
)
def test_runs_that_differ_are_refused(b: pd.DataFrame, message: str) -> None:
    with pytest.raises(CompareError, match=message):
        compare_fidelity(TABLE, b)


def test_other_errors() -> None:
    with pytest.raises(CompareError, match="no response is scored by the same judge in both"):
        compare_fidelity(TABLE, _other(score=math.nan))
    with pytest.raises(ValueError, match="resamples is 0"):
        compare_fidelity(TABLE, TABLE, resamples=0)
    with pytest.raises(ValueError, match="score is 9"):
        compare_fidelity(TABLE, _other(score=9))


def test_restricted_to_common_verdicts_they_can_be_compared() -> None:
    b = TABLE[(TABLE["persona"] != "p2") & (TABLE["question"] != "p1/0/1")].assign(score=4.0)
    left, right = restrict_to_common_verdicts(TABLE, b[::-1])
    assert len(left) == len(right) == len(b)
    result = quietly(left, right)
    assert (result.difference, result.n_personas, result.n_questions) == (1.0, 2, 7)
    with pytest.raises(CompareError, match="no verdict in common"):
        restrict_to_common_verdicts(TABLE, _other(judge="j9"))
