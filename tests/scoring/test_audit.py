"""Judges with known faults, and what their audit says of them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.scoring.audit import Audit, agreement, alpha, audit

AUDITS = 200
NONE = pd.DataFrame({"persona": [], "eval_task": [], "score": [], "length": []}, dtype=float)
NO_RETESTS = pd.DataFrame({"first": [], "again": []}, dtype=float)
NO_SWAPS = pd.DataFrame({"pair": [], "eval_task": [], "own": [], "other": []}, dtype=float)

Scoring = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""From the number of a response's own persona, that of the persona it is held against, and the
response's quality to scores, before they are rounded."""


def whole(scores: np.ndarray) -> np.ndarray:
    return np.clip(np.round(scores), 1, 5)


def swapped(
    judge: Scoring, pairs: int, rng: np.random.Generator, personas: int = 12
) -> pd.DataFrame:
    """What an audit asks of a judge: two responses under two personas, each under both."""
    of = np.stack([rng.choice(personas, 2, replace=False) for _ in range(pairs)])
    quality = rng.normal(3, 1, size=(pairs, 2))
    own = [whole(judge(of[:, k], of[:, k], quality[:, k], rng)) for k in (0, 1)]
    other = [whole(judge(of[:, k], of[:, 1 - k], quality[:, k], rng)) for k in (0, 1)]
    return pd.DataFrame(
        {
            "pair": np.repeat(np.arange(pairs), 2),
            "eval_task": np.repeat([EVAL_TASKS[n % 4] for n in range(pairs)], 2),
            "own": np.stack(own, axis=1).ravel(),
            "other": np.stack(other, axis=1).ravel(),
        }
    )


def audited(
    swaps: pd.DataFrame = NO_SWAPS,
    retests: pd.DataFrame = NO_RETESTS,
    scores: pd.DataFrame = NONE,
    resamples: int = 500,
) -> Audit:
    return audit("j", scores, retests, swaps, resamples=resamples)


def table(*rows: tuple[float, float]) -> pd.DataFrame:
    """A swap table of (own, other) by pairs of two rows."""
    return pd.DataFrame(
        {
            "pair": [n // 2 for n in range(len(rows))],
            "eval_task": "Expected Action",
            "own": [float(row[0]) for row in rows],
            "other": [float(row[1]) for row in rows],
        }
    )


# ---------------------------------------------------------------------- judges

LIKED = np.random.default_rng(5).normal(0, 1.5, size=12)

BLIND: dict[str, Scoring] = {
    "at random": lambda own, held, quality, rng: rng.integers(1, 6, size=len(own)),
    "personas": lambda own, held, quality, rng: 3 + LIKED[held] + rng.normal(0, 0.5, len(own)),
    "both": lambda own, held, quality, rng: quality + LIKED[held] + rng.normal(0, 0.5, len(own)),
}


@pytest.mark.parametrize(
    ("judge", "pairs"),
    [("at random", 6), ("at random", 40), ("personas", 40), ("both", 40)],
)
def test_a_judge_that_does_not_hold_the_response_against_the_persona_seldom_passes(
    judge: str, pairs: int
) -> None:
    rng = np.random.default_rng(11)
    told = [audited(swapped(BLIND[judge], pairs, rng)).tells_personas_apart for _ in range(AUDITS)]
    assert set(told) <= {"not", "weakly", "clearly"}
    # a false alarm in 5% at most, and what chance adds to so many audits in 999 of 1,000 cases
    assert AUDITS - told.count("not") <= stats.binom.ppf(0.999, AUDITS, 0.05)


@pytest.mark.parametrize(
    "judge",
    [
        lambda own, held, quality, rng: np.full(len(own), 3.0),
        lambda own, held, quality, rng: quality,
        lambda own, held, quality, rng: 1 + 4.0 * (held == 0),
        lambda own, held, quality, rng: 1 + 4.0 * (own == 0),
    ],
    ids=["constant", "the prose", "one persona liked", "one author liked"],
)
def test_a_steady_judge_that_does_not_never_passes(judge: Scoring) -> None:
    """What it likes cancels out over the four scores of a pair."""
    rng = np.random.default_rng(11)
    for _ in range(20):
        found = audited(swapped(judge, 30, rng), resamples=100)
        assert found.tells_personas_apart == "not"
        assert found.swap is not None
        assert found.swap.drop == 0


@pytest.mark.parametrize(
    ("gain", "noise", "pairs", "expected"),
    [(3.0, 0.0, 6, "clearly"), (1.0, 0.5, 40, "clearly"), (1.0, 1.0, 100, "clearly")],
)
def test_a_judge_that_looks_is_seen_to_look(
    gain: float, noise: float, pairs: int, expected: str
) -> None:
    def judge(
        own: np.ndarray, held: np.ndarray, quality: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        seen = gain * (own == held) - gain / 2
        return 3 + (quality - 3) / 2 + LIKED[held] / 3 + seen + rng.normal(0, noise, len(own))

    rng = np.random.default_rng(3)
    found = [audited(swapped(judge, pairs, rng)) for _ in range(40)]
    assert [each.tells_personas_apart for each in found].count(expected) >= 38


@pytest.mark.parametrize("level", [4.0, 4.5, 5.5])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_judge_that_only_likes_personas_near_the_ceiling_is_warned_about(
    level: float, noise: float
) -> None:
    """Better responses come from less liked personas, which have no room to gain by the swap."""
    rng = np.random.default_rng(13)
    found = []
    for _ in range(20):
        of = np.stack([rng.choice(12, 2, replace=False) for _ in range(50)])
        quality = level - LIKED[of] + rng.normal(size=of.shape)
        rows = []
        for own, held in ((of, of), (of, of[:, ::-1])):
            rows.append(whole(quality + LIKED[held] + noise * rng.normal(size=own.shape)).ravel())
        found.append(audited(table(*zip(*rows, strict=True))))
    drops = [each.swap for each in found if each.swap is not None]
    assert sum(swap.interval.low > 0 and swap.p_value <= 0.05 for swap in drops) >= 12
    assert all(each.tells_personas_apart == "not" for each in found)
    warned = [each for each in found if any("only likes some personas" in w for w in each.words)]
    assert len(warned) >= 12
    assert all("can't be seen to tell personas apart" in each.words[0] for each in warned)


def test_a_judge_that_looks_passes_near_the_ceiling_where_both_responses_lose() -> None:
    found = audited(table(*[(5, 3), (5, 4)] * 20))
    assert found.swap is not None
    assert (found.swap.both_lower, found.swap.both_higher) == (20, 0)
    assert found.swap.at_end == 0.5
    assert found.tells_personas_apart == "clearly"
    assert not any("only likes" in word for word in found.words)


def test_the_interval_of_the_drop_covers_it() -> None:
    def judge(
        own: np.ndarray, held: np.ndarray, quality: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        return 2.0 + (rng.random(len(own)) < np.where(own == held, 0.7, 0.3))

    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(AUDITS):
        swap = audited(swapped(judge, 30, rng), resamples=50).swap
        assert swap is not None
        hits += swap.interval.low <= 0.4 <= swap.interval.high
    low, high = stats.binom.ppf([0.001, 0.999], AUDITS, 0.95)
    assert low <= hits <= high


# ---------------------------------------------------------------------- the swap, by hand


def test_the_swap_by_hand() -> None:
    swaps = table((5, 1), (4, 4), (5, 3), (2, 3), (4, 2), (4, 3))
    swap = audited(swaps).swap
    assert swap is not None
    assert (swap.n, swap.pairs) == (6, 3)
    means = [2.0, 0.5, 1.5]  # (4 + 0) / 2, (2 - 1) / 2, (2 + 1) / 2
    assert swap.drop == pytest.approx(4 / 3)
    assert (swap.lower, swap.equal, swap.higher) == pytest.approx((4 / 6, 1 / 6, 1 / 6))
    assert swap.discrimination == pytest.approx(4.5 / 6)
    expected = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    assert swap.interval == pytest.approx(expected)
    assert swap.p_value == 1 / 8  # of the 8 ways to put signs only this one reaches the sum
    assert (swap.both_lower, swap.both_higher, swap.p_crossed) == (1, 0, 0.5)
    assert swap.at_end == 2 / 12  # two of twelve scores are 5, and one is 1
    assert swap.by_task == {"Expected Action": pytest.approx(4 / 3)}
    assert audited(swaps).tells_personas_apart == "not"  # three pairs prove nothing


def test_the_p_value_is_that_of_all_signs_and_of_drawn_ones() -> None:
    rng = np.random.default_rng(0)
    for pairs in (8, 14):
        rows = rng.integers(1, 6, size=(2 * pairs, 2))
        rows[:, 1] = np.minimum(rows[:, 1], rows[:, 0] + 1)
        swap = audited(table(*map(tuple, rows)), resamples=20_000).swap
        assert swap is not None
        means = (rows[:, 0] - rows[:, 1]).reshape(-1, 2).mean(axis=1)
        signs = itertools.product([1, -1], repeat=pairs)
        exact = np.mean([np.dot(each, means) >= means.sum() - 1e-9 for each in signs])
        assert swap.p_value == pytest.approx(exact, abs=1e-12 if pairs == 8 else 0.005)
        assert swap.p_value > 0


def test_a_small_steady_drop_is_weak() -> None:
    rows = [(4, 3) if n % 12 == 0 else (4, 4) for n in range(200)]
    found = audited(table(*rows))
    assert found.swap is not None
    assert found.swap.p_value < 0.05
    assert found.swap.interval.low > 0
    assert found.tells_personas_apart == "weakly"
    assert "tells personas apart only weakly" in found.words[0]
    assert "can't be read" not in " ".join(found.words)


def test_a_judge_that_has_it_backwards_does_not_tell() -> None:
    found = audited(table(*[(1, 5)] * 40))
    assert found.tells_personas_apart == "not"
    assert found.swap is not None
    assert found.swap.p_value == pytest.approx(1)


def test_a_pair_that_lacks_a_score_is_left_out_whole_and_toxicity_too() -> None:
    swaps = table(*[(5, 1)] * 20)
    swaps.loc[3, "other"] = math.nan
    swaps.loc[8, "own"] = math.nan
    swaps.loc[18:19, "eval_task"] = "Toxicity"
    swap = audited(swaps).swap
    assert swap is not None
    assert (swap.n, swap.pairs, swap.drop) == (14, 7, 4.0)


@pytest.mark.parametrize("pairs", [0, 1])
def test_without_two_pairs_nothing_is_known(pairs: int) -> None:
    found = audited(table(*[(5, 1)] * 2 * pairs) if pairs else NO_SWAPS)
    assert found.swap is None
    assert found.tells_personas_apart == "unknown"
    assert found.words[:2] == [
        "j was not tested on swapped personas.",
        "Its scores can't be read as fidelity to a persona.",
    ]


# ---------------------------------------------------------------------- retest, length, spread


def retests(first: np.ndarray, again: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"first": first, "again": again}).astype(float)


def test_a_fixed_judge_agrees_with_itself_and_a_random_one_does_not() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(1, 6, size=300)
    fixed = audited(retests=retests(first, first)).retest
    assert fixed is not None
    assert (fixed.n, fixed.same, fixed.difference, fixed.alpha) == (300, 1.0, 0.0, 1.0)
    drawn = audited(retests=retests(first, rng.integers(1, 6, size=300))).retest
    assert drawn is not None
    assert drawn.same == pytest.approx(0.2, abs=0.08)
    assert drawn.difference == pytest.approx(1.6, abs=0.25)
    assert abs(drawn.alpha) < 0.15


def test_a_retest_leaves_out_what_has_no_score() -> None:
    found = audited(retests=retests(np.array([4, 4, math.nan, 2]), np.array([4, 3, 4, math.nan])))
    assert found.retest is not None
    assert (found.retest.n, found.retest.same, found.retest.difference) == (2, 0.5, 0.5)
    assert "same score in 50% of 2 calls (mean difference 0.50 points)" in " ".join(found.words)


def scored(score: np.ndarray, length: np.ndarray, tasks: np.ndarray | str = "a") -> pd.DataFrame:
    """Scores, each response under a persona of its own."""
    table = {"persona": np.arange(len(score)), "eval_task": tasks, "score": score, "length": length}
    return pd.DataFrame(table).astype({"score": float, "length": float})


def test_a_judge_of_length_is_found_out() -> None:
    length = np.random.default_rng(4).integers(20, 800, size=60)
    found = audited(scores=scored(whole(length / 160), length)).length
    assert found is not None
    assert found.n == 60
    assert found.rho > 0.9
    assert found.interval.low > 0.8
    words = audited(scores=scored(whole(length / 160), length)).words
    assert any(word.startswith("Rank correlation of score and length: 0.9") for word in words)


def test_tasks_that_differ_in_length_are_no_bias() -> None:
    """One task has long responses and high scores; within each, nothing goes with length."""
    rng = np.random.default_rng(4)
    second = np.repeat([0, 1], 100)
    length = 100 + 500 * second + rng.integers(0, 100, size=200)
    score = whole(2 + 2 * second + rng.normal(0, 0.5, size=200))
    found = audited(scores=scored(score, length, np.where(second, "b", "a"))).length
    assert found is not None
    assert found.interval.low < 0 < found.interval.high
    assert abs(stats.spearmanr(score, length).statistic) > 0.7  # it would have been seen


def test_the_length_s_correlation_is_spearman_s_within_one_task() -> None:
    rng = np.random.default_rng(9)
    score, length = rng.integers(1, 6, size=40), rng.integers(1, 30, size=40)
    found = audited(scores=scored(score, length)).length
    assert found is not None
    assert found.rho == pytest.approx(stats.spearmanr(score, length).statistic)
    assert found.interval.low < found.rho < found.interval.high


def of_personas(personas: int, each: int, rng: np.random.Generator) -> pd.DataFrame:
    """Personas whose responses are of like length and like quality; the two have no connection."""
    persona = np.repeat(np.arange(personas), each)
    own = (
        rng.normal(size=(2, personas))[:, persona] * 0.8 + rng.normal(size=(2, len(persona))) * 0.6
    )
    table = scored(whole(3 + own[0]), np.round(np.exp(5 + own[1])))
    return table.assign(persona=persona)


def test_the_interval_of_the_length_s_correlation_covers_it_with_personas_as_the_sample() -> None:
    rng = np.random.default_rng(12)
    hits = plain = 0
    for _ in range(AUDITS):
        found = audited(scores=of_personas(15, 12, rng)).length
        assert found is not None
        hits += found.interval.low <= 0 <= found.interval.high
        plain += abs(found.rho) <= 1.96 * 1.03 / math.sqrt(found.n - 3)  # responses as the sample
    low, high = stats.binom.ppf([0.001, 0.999], AUDITS, 0.95)
    assert low <= hits <= high
    assert plain < 0.7 * AUDITS


def test_one_persona_says_nothing_of_others_lengths() -> None:
    table = of_personas(1, 30, np.random.default_rng(2))
    found = audited(scores=table).length
    assert found is not None
    assert not math.isnan(found.rho)
    assert math.isnan(found.interval.low)
    many = audited(scores=of_personas(120, 2, np.random.default_rng(2))).length  # in groups
    assert many is not None
    assert many.interval.low < many.rho < many.interval.high


def test_spread_and_share_of_unscored() -> None:
    score = np.array([1, 5, math.nan, 1, 5, math.nan, 1, 5])
    found = audited(scores=scored(score, np.arange(8)))
    assert found.spread == 2.0
    assert found.unscored == 0.25
    assert "25.0% of its verdicts could not be read." in found.words
    constant = audited(scores=scored(np.full(8, 3), np.arange(8)))
    assert "It gives every response the same score." in constant.words
    assert constant.length is not None
    assert math.isnan(constant.length.rho)
    assert not any("length" in word for word in constant.words)


@pytest.mark.parametrize("what", ["nothing", "constant", "unscored", "two", "whole"])
def test_an_audit_can_be_written_whatever_it_lacks(what: str) -> None:
    """Strictly: other readers of JSON know no NaN."""
    nan = np.full(8, math.nan)
    some, few = np.arange(8) % 5 + 1, np.array([1, 2])
    found = {
        "nothing": lambda: audited(),
        "constant": lambda: audited(
            table(*[(3, 3)] * 8), retests(some * 0, some * 0), scored(some * 0 + 3, np.arange(8))
        ),
        "unscored": lambda: audited(
            table(*[(math.nan, math.nan)] * 8), retests(nan, nan), scored(nan, np.arange(8))
        ),
        "two": lambda: audited(table((5, 1), (5, 1)), retests(few[:1], few[:1]), scored(few, few)),
        "whole": lambda: audited(
            table(*[(5, 1)] * 8), retests(some, some), scored(some, np.arange(8))
        ),
    }[what]()
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["tells_personas_apart"] == found.tells_personas_apart
    assert told["words"] == found.words
    if what == "constant":
        assert told["retest"]["alpha"] is None
        assert told["length"]["rho"] is None
        assert told["length"]["interval"] == [None, None]
        assert told["retest"]["same"] == 1.0
    if what == "whole":
        assert told["swap"]["drop"] == 4.0
        assert told["swap"]["interval"] == [4.0, 4.0]
        assert told["swap"]["by_task"] == {"Expected Action": 4.0}


# ---------------------------------------------------------------------- agreement

# the worked example of the krippendorff package and of its article (Krippendorff 2004, 11.1)
PUBLISHED = """\
* * * * * 3 4 1 2 1 1 3 3 * 3
1 * 2 1 3 3 4 3 * * * * * * *
* * 2 1 3 4 4 * 2 1 1 3 3 * 4"""


def by_hand(ratings: np.ndarray) -> float:
    """1 - observed / expected disagreement: squared differences of all pairs of ratings, within
    responses and among all."""
    responses = [column[~np.isnan(column)] for column in ratings.T]
    responses = [each for each in responses if len(each) > 1]
    everything = np.concatenate(responses)
    n = len(everything)
    observed = sum(
        ((each[:, None] - each) ** 2).sum() / (len(each) - 1) for each in responses
    ) / n  # fmt: skip
    expected = ((everything[:, None] - everything) ** 2).sum() / (n * (n - 1))
    return float(1 - observed / expected)


def test_alpha_is_the_published_one() -> None:
    rows = [[float(x.replace("*", "nan")) for x in row.split()] for row in PUBLISHED.split("\n")]
    ratings = np.array(rows)
    assert alpha(ratings) == pytest.approx(0.811, abs=0.0005)
    assert alpha(ratings) == pytest.approx(by_hand(ratings))


def test_alpha_by_hand() -> None:
    ratings = np.array([[1.0, 2, 3, 5], [1, 3, 3, 4]])
    # observed: (0 + 2 + 0 + 2) / 8; expected: over the 8 ratings' 56 ordered pairs
    assert by_hand(ratings) == pytest.approx(1 - 0.5 / (216 / 56))
    assert alpha(ratings) == pytest.approx(by_hand(ratings))
    rng = np.random.default_rng(1)
    drawn = rng.integers(1, 6, size=(3, 30)).astype(float)
    drawn[rng.random(drawn.shape) < 0.2] = math.nan
    assert alpha(drawn) == pytest.approx(by_hand(drawn))


def test_alpha_of_equal_judges_is_one_and_of_unrelated_ones_about_zero() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(1, 6, size=(2, 2000)).astype(float)
    assert alpha(np.stack([one, one])) == 1.0
    assert alpha(np.stack([one, other])) == pytest.approx(0, abs=0.06)
    assert alpha(np.stack([one, 6 - one])) < -0.9
    # a judge that is always a point harsher does not agree wholly, though their ranks do
    assert alpha(np.stack([np.maximum(one, 2), np.maximum(one, 2) - 1])) < 0.9


@pytest.mark.parametrize(
    "ratings",
    [
        [[3, 3, 3], [3, 3, 3]],
        [[1, math.nan], [2, math.nan]],
        [[1, math.nan, 3], [math.nan, 2, math.nan]],
        [[math.nan] * 3, [math.nan] * 3],
        [[1, 2, 3]],
    ],
)
def test_alpha_of_too_little_is_nothing(ratings: list[list[float]]) -> None:
    assert math.isnan(alpha(np.array(ratings, dtype=float)))


def two_judges(personas: int, each: int, rng: np.random.Generator, alike: float) -> pd.DataFrame:
    """Judges that differ for whole personas: agreement hangs on which personas there are."""
    score = rng.integers(1, 6, size=personas * each).astype(float)
    same = np.repeat(rng.random(personas) < alike, each)
    other = np.where(same, score, rng.integers(1, 6, size=len(score)))
    persona = np.repeat([f"p{n}" for n in range(personas)], each)
    return pd.DataFrame({"persona": persona, "one": score, "two": other})


def test_agreement_has_an_interval_over_personas() -> None:
    rng = np.random.default_rng(6)
    scores = two_judges(20, 10, rng, 0.5)
    found = agreement(scores, resamples=300)
    assert found == pytest.approx(by_hand(scores[["one", "two"]].to_numpy().T))
    assert found.low < found < found.high
    shuffled = scores.assign(persona=rng.permutation(scores["persona"]))
    mixed = agreement(shuffled, resamples=300)
    assert found.high - found.low > 1.5 * (mixed.high - mixed.low)  # personas are drawn whole
    alike = agreement(scores.assign(two=scores["one"]), resamples=50)
    assert (alike, *alike.interval) == (1.0, 1.0, 1.0)
    one, other = (agreement(scores, resamples=50, seed=1).interval for _ in range(2))
    assert one == other


def test_agreement_without_two_personas_has_no_interval() -> None:
    scores = two_judges(1, 30, np.random.default_rng(6), 0.0)
    found = agreement(scores)
    assert not math.isnan(found)
    assert all(map(math.isnan, found.interval))
    nothing = pd.DataFrame({"persona": ["a", "b"], "one": [3.0, 3.0], "two": [3.0, 3.0]})
    found = agreement(nothing)
    assert all(map(math.isnan, (found, *found.interval)))
