"""Scores between 0 and 1 in place of verdicts: what is computed of them, and what is not."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from persona_bench.extras.parts.variance import variance_parts
from persona_bench.report.tables import near_zero
from persona_bench.scoring.cells import NO_VERDICTS, Cells, check
from persona_bench.scoring.compare import compare
from persona_bench.scoring.corrected import conclude, posterior, summarise
from persona_bench.scoring.estimate import Interval
from persona_bench.scoring.gate import gate
from persona_bench.scoring.groups import scores_by_group
from persona_bench.scoring.pass_at_k import pass_at_k
from persona_bench.scoring.resampling import null_accuracies
from persona_bench.scoring.stability import stability
from persona_bench.scoring.unscored import pss_bounds
from persona_bench.scoring.voice import VoiceError, voice

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def table(scores: np.ndarray) -> pd.DataFrame:
    """Scores of shape (questions, personas) or (questions, personas, samples) as a tidy table."""
    scores = scores.reshape(*scores.shape, *[1] * (3 - scores.ndim))
    question, persona, sample = (each.ravel() for each in np.indices(scores.shape))
    return pd.DataFrame(
        {
            "persona": [f"p{i:02d}" for i in persona],
            "question": [f"q{i:03d}" for i in question],
            "sample": sample,
            "score": scores.ravel(),
        }
    )


def drawn(
    effects: list[float], questions: int, samples: int = 1, *, seed: int = 0, width: float = 4
) -> np.ndarray:
    """Beta scores whose mean is logistic(ease + effect)."""
    rng = np.random.default_rng(seed)
    mean = expit(1.5 * rng.standard_normal((questions, 1)) + np.asarray(effects))[..., None]
    size = (*mean.shape[:2], samples)
    return rng.beta(width * mean, width * (1 - mean), size)


def test_scores_of_0_and_1_are_verdicts() -> None:
    verdicts = table((drawn([0, 0, -1], 40, 2) > 0.5).astype(float))
    asked = verdicts.rename(columns={"score": "correct"})
    mine, theirs = (json.dumps(stability(x, resamples=200).to_dict()) for x in (verdicts, asked))
    assert mine == theirs
    both = asked.assign(score=verdicts["score"])
    assert json.dumps(stability(both, resamples=200).to_dict()) == theirs


def test_metrics_are_those_of_the_mean_scores() -> None:
    scores = np.array([[0.2, 0.5, 1.0], [0.4, 0.5, 0.0], [0.6, 0.8, 0.2], [np.nan, 0.2, 1.0]])
    result = stability(table(scores), resamples=200)
    means = np.nanmean(scores, axis=0)
    assert result.measure == "score"
    assert result.mean == pytest.approx(means.mean())
    assert (result.worst, result.best) == pytest.approx((means.min(), means.max()))
    assert result.pss == pytest.approx(means.min() / means.max())
    assert result.sd == pytest.approx(means.std())
    assert result.unscored == 1
    low, high = np.nan_to_num(scores).mean(axis=0), np.nan_to_num(scores, nan=1.0).mean(axis=0)
    assert result.mean_if_unscored == pytest.approx((low.mean(), high.mean()))
    rows = result.per_persona.set_index("persona")
    assert rows.loc["p02", ["correct", "wrong", "scored", "unscored"]].tolist() == [2, 1, 1, 0]
    assert rows.loc["p00", ["correct", "wrong", "scored", "unscored"]].tolist() == [0, 0, 3, 1]


def test_what_needs_verdicts_is_undefined_and_said_to_be() -> None:
    result = stability(table(drawn([0, -1, 0.5], 30, 2)), resamples=200)
    for name in ("agreement", "solid", "persona_sd_logit"):
        value = getattr(result, name)
        assert math.isnan(value)
        assert math.isnan(value.low)
    assert NO_VERDICTS in result.notes
    for name in ("pss_corrected", "pss_corrected_asked", "noise_floor", "mean", "p_value"):
        assert not math.isnan(getattr(result, name))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"score": [0.5, 1.2]}, "row 1 .*: score is 1.2, but only numbers from 0 to 1 and NaN"),
        ({"correct": [1.0, 0.5]}, "only 1.0, 0.0 and NaN .* belong in a column score"),
        ({"score": [0.5, 0.5], "correct": [math.nan, 1.0]}, "correct is 1, but score is 0.5"),
        ({"score": ["0.5", "good"]}, "score is 'good'"),
        ({}, "lack the column"),
    ],
)
def test_impossible_values_are_named(rows: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(pd.DataFrame({"persona": ["a", "b"], "question": ["q", "q"], **rows}))


def test_the_noise_floor_exchanges_scores_within_questions() -> None:
    scores = np.array([[0.1, 0.7, 0.4], [0.2, 0.9, 0.5]])
    orders = itertools.product(*(itertools.permutations(row) for row in scores))
    wanted = {tuple(np.mean(order, axis=0).round(9)) for order in orders}
    scored = np.ones(scores.shape, dtype=int)
    found = null_accuracies(scores, scored, 4000, np.random.default_rng(0))
    seen, counts = np.unique(found.round(9), axis=0, return_counts=True)
    assert {tuple(row) for row in seen} == wanted
    assert counts.min() > 0.6 * 4000 / 36


def test_alike_personas_look_stable_and_a_harmful_one_is_found() -> None:
    alike = stability(table(drawn([0] * 8, 150)), resamples=300)
    assert alike.p_value > 0.05
    assert alike.pss_corrected.high == pytest.approx(1, abs=0.02)
    harmed = stability(table(drawn([-1.2, *[0] * 7], 150)), resamples=300)
    assert harmed.worst_persona == "p00"
    assert harmed.p_value < 0.01
    assert harmed.conclusion == "unstable"
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    true = [weights @ expit(effect + 1.5 * nodes) for effect in (-1.2, 0)]
    assert harmed.pss_corrected.low < true[0] / true[1] < harmed.pss_corrected.high


def test_scores_that_vary_less_say_more() -> None:
    """Verdicts with the same means vary more: their intervals and noise floor are wider."""
    mean = drawn([-0.5, 0, 0, 0, 0.2], 80, seed=3, width=1000)[..., 0]
    verdicts = (np.random.default_rng(1).random(mean.shape) < mean).astype(float)
    by_score, by_verdict = (stability(table(x), resamples=300) for x in (mean, verdicts))
    for name in ("pss_corrected", "noise_floor"):
        widths = [np.ptp(getattr(x, name).interval) for x in (by_score, by_verdict)]
        assert widths[0] < 0.5 * widths[1]
    assert by_score.minimum_detectable > by_verdict.minimum_detectable + 0.1


def test_a_constant_score_is_stable() -> None:
    result = stability(table(np.full((30, 4), 0.5)), resamples=200)
    assert result.pss == 1
    assert result.pss_corrected == pytest.approx(1, abs=0.01)
    assert 0.9 < result.pss_corrected.low < 0.99  # a score of 0 may occur yet
    assert result.mean.low <= 0.5 <= result.mean.high


def test_scores_of_one_persona_may_vary_more_than_those_of_the_others() -> None:
    """High scores alike, and one persona refuses in 8%: a true PSS of 0.92."""
    covered = stable = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = rng.uniform(0.8, 0.95, (50, 1)) + rng.uniform(-0.05, 0.05, (50, 6))
        scores[:, 0] *= rng.random(50) >= 0.08
        drawn = posterior(Cells.count(check(table(scores))), rng)
        assert drawn is not None
        interval = summarise(drawn.pss, 0.95).interval
        covered += interval.low <= 0.92 <= interval.high
        stable += conclude(interval) == "stable"
    assert covered >= 32  # 29 with one variance for all personas
    assert stable <= 5


def test_cells_know_the_variance_of_their_samples() -> None:
    scores = drawn([0, 1], 5, 4)
    cells = Cells.count(check(table(scores)))
    np.testing.assert_allclose(cells.sampling_variance, scores.var(axis=2, ddof=1) / 4)
    one = Cells.count(check(table(scores[..., :1])))
    assert np.isnan(one.sampling_variance).all()


def test_bounds_of_the_pss_let_unscored_responses_have_any_score() -> None:
    sums, lost, n = np.array([2.5, 4.0]), np.array([1, 2]), np.array([10, 10])
    grid = np.linspace(0, 1, 101)
    first, second = (sums[0] + grid * lost[0]) / 10, (sums[1] + grid * lost[1]) / 10
    ratios = np.minimum.outer(first, second) / np.maximum.outer(first, second)
    assert pss_bounds(sums, lost, n) == pytest.approx(Interval(ratios.min(), ratios.max()))
    assert pss_bounds(np.array([2.5, 3.0]), lost, n).high == 1


def test_variance_parts_of_scores_are_those_of_a_two_way_analysis() -> None:
    scores = drawn([-1, 0, 0.5, 1], 60, 3)
    parts = variance_parts(table(scores), resamples=50).table["variance"]
    q, p, k = scores.shape
    cell = scores.mean(axis=2)
    within = scores.var(axis=2, ddof=1).mean()
    centred = cell - cell.mean(axis=0) - cell.mean(axis=1, keepdims=True) + cell.mean()
    crossed = (centred**2).sum() / (q - 1) / (p - 1)
    of_question = p * cell.mean(axis=1).var(ddof=1)
    assert parts["sampling"] == pytest.approx(within)
    assert parts["question"] == pytest.approx((of_question - crossed) / p)
    assert parts["interaction"] == pytest.approx(crossed - within / k)


def test_groups_have_scores_too() -> None:
    scores = drawn([0, -1, 0.5], 20)
    rows = table(scores).assign(level=lambda t: np.where(t["question"] < "q010", "easy", "hard"))
    groups = scores_by_group(rows, resamples=100).set_index("group")
    assert groups.loc["easy", "accuracy"] == pytest.approx(scores[:10].mean())
    assert groups.loc["hard", "worst"] == pytest.approx(scores[10:].mean(axis=0).min())


def test_models_are_compared_and_gated_by_scores() -> None:
    a, b = drawn([0, 0, -0.4, 0.3], 150), drawn([0, 0, -0.4, 0.3], 150, seed=0)
    worse = b**2
    same = compare(table(a), table(b), resamples=300).metrics.set_index("metric")
    assert same.loc["mean", "difference"] == 0
    found = compare(table(a), table(worse), resamples=300).metrics.set_index("metric")
    assert found.loc["mean", "difference"] == pytest.approx(worse.mean() - a.mean())
    assert found.loc["mean", "high"] < 0
    assert found.loc["mean", "p_value"] < 0.01
    assert gate(table(a), table(worse), margin=0.05).verdict == "fail"
    assert gate(table(a), table(b), margin=0.05, margin_pss=0.2).verdict == "pass"


def test_a_model_that_only_got_0_and_1_is_compared_with_one_that_got_scores() -> None:
    a = drawn([0, 0, -0.4], 40)
    b = (a > 0.4).astype(float)
    found = compare(table(a), table(b), resamples=200).metrics.set_index("metric")
    assert found.loc["mean", "b"] == pytest.approx(b.mean())


def test_numbers_of_verdicts_alone_are_refused() -> None:
    rows = check(table(drawn([0, 1], 5, 2))).assign(kind="character", model="m", task="t")
    with pytest.raises(ValueError, match="pass@k needs verdicts"):
        pass_at_k(rows, 1)
    with pytest.raises(VoiceError, match="needs verdicts"):
        voice(rows, pd.DataFrame())


def test_a_ratio_near_zero_says_so_and_gives_the_difference_and_the_odds() -> None:
    """As on hard competition problems: few are solved under any persona."""
    rng = np.random.default_rng(2)
    right = (rng.random((30, 6)) < np.array([0.02, 0.05, 0.06, 0.06, 0.06, 0.08])).astype(float)
    result = stability(table(right).rename(columns={"score": "correct"}), resamples=200)
    assert result.is_near_zero
    gap, odds = result.worst_minus_best, result.worst_odds_ratio
    assert gap.low <= 0.02 - 0.08 <= gap.high <= 0
    assert odds.low <= np.log(0.02 / 0.98 / (0.08 / 0.92)) <= odds.high <= 0
    assert "worst accuracy is near 0, where a ratio tells little" in near_zero(result)
    spoiler = (rng.random((200, 6)) < np.array([0.0, 0.8, 0.8, 0.8, 0.8, 0.8])).astype(float)
    clear = stability(table(spoiler).rename(columns={"score": "correct"}), resamples=200)
    assert clear.worst == 0
    assert not clear.is_near_zero  # the ratio is near 0, and known to be
    assert near_zero(clear) == ""
