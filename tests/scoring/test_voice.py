"""Right and in character: against plain counts, Mantel-Haenszel, and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.gate import voice_criterion
from persona_bench.scoring.resampling import influence_se
from persona_bench.scoring.voice import (
    RATES,
    SHARES,
    VoiceError,
    compare_voice,
    voice,
    voice_scores,
)

PERSONAS = ("cook", "poet", "sailor", "thief")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def made(
    rng: np.random.Generator,
    questions: int = 100,
    samples: int = 1,
    cost: float = 0.2,
    harder: float = 0.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcomes and voice: in voice in 20 to 80% by persona, and `cost` less often right then.

    `harder`: how much less the persona that is most often in voice is right, whatever its voice.
    """
    index = pd.MultiIndex.from_product(
        [("none", *PERSONAS), [f"q{i:03}" for i in range(questions)], range(samples)],
        names=["persona", "question", "sample"],
    )
    rows = pd.DataFrame(index=index).reset_index()
    rows = rows.assign(model="m", task="sums", response="text")
    rows["kind"] = np.where(rows["persona"] == "none", "control", "character")
    rate = rows["persona"].map({name: 0.2 * (i + 1) for i, name in enumerate(PERSONAS)})
    inside = rng.random(len(rows)) < rate.fillna(0)
    ease = pd.Series(rng.uniform(0.3, 0.7, questions), index=sorted(set(rows["question"])))
    right = rows["question"].map(ease) + 0.15 - cost * inside - harder * (rate.fillna(0) > 0.7)
    rows["correct"] = (rng.random(len(rows)) < right).astype(float)
    score = np.where(inside, rng.integers(4, 6, len(rows)), rng.integers(1, 4, len(rows)))
    judged = rows[rows["kind"] != "control"].assign(
        score=score[rows["kind"] != "control"].astype(float), judge="j", entry_test=math.nan
    )
    return rows, judged.drop(columns=["correct", "kind"])


def sampled(
    rows: pd.DataFrame, judged: pd.DataFrame, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Unequal shares of each persona and verdict, as a sample with a least size has them."""
    keys = ["persona", "question", "sample"]
    verdicts = judged.merge(rows[[*keys, "correct"]], on=keys)["correct"]
    kept = []
    groups = judged.groupby([judged["persona"], verdicts.to_numpy()])
    for (_, right), places in groups.indices.items():
        n = max(2, round(len(places) * (share / 2 if right else share)))
        kept.append(rng.permutation(places)[:n])
    return judged.iloc[np.sort(np.concatenate(kept))].reset_index(drop=True)


def test_with_all_judged_it_is_plain_counts(rng: np.random.Generator) -> None:
    rows, judged = made(rng)
    found = voice(rows, judged)
    both = rows[rows["kind"] != "control"].copy()
    both["in"] = judged["score"].to_numpy() >= 4
    by = both.groupby("persona")
    expected = {
        "right_in": by.apply(lambda own: (own["correct"].eq(1) & own["in"]).mean()),
        "right_out": by.apply(lambda own: (own["correct"].eq(1) & ~own["in"]).mean()),
        "wrong_in": by.apply(lambda own: (own["correct"].eq(0) & own["in"]).mean()),
        "wrong_out": by.apply(lambda own: (own["correct"].eq(0) & ~own["in"]).mean()),
    }
    table = found.personas.set_index("persona").sort_index()
    for name, shares in expected.items():
        assert table[name].to_numpy() == pytest.approx(shares.sort_index().to_numpy())
        assert getattr(found, name) == pytest.approx(shares.mean())
    assert table[list(SHARES)].sum(axis=1).to_numpy() == pytest.approx(np.ones(4))
    assert found.accuracy == pytest.approx(by["correct"].mean().mean())
    assert "none" not in table.index
    # the error of a mean over questions, each question's four responses together
    per_question = (both["correct"].eq(1) & both["in"]).groupby(both["question"]).mean()
    se = per_question.std() / math.sqrt(len(per_question))
    assert influence_se(found.pulls["in_character"].to_numpy()) == pytest.approx(se)
    assert (found.n, found.judged, found.unread) == (400, 400, 0)


def test_the_cost_within_questions_is_mantel_and_haenszels(rng: np.random.Generator) -> None:
    rows, judged = made(rng)
    found = voice(rows, judged)
    both = rows[rows["kind"] != "control"].assign(inside=judged["score"].to_numpy() >= 4)
    top = bottom = 0.0
    for _, own in both.groupby("question"):
        n_in, n_out = own["inside"].sum(), (~own["inside"]).sum()
        if n_in and n_out:
            weight = n_in * n_out / len(own)
            means = own.groupby("inside")["correct"].mean()
            top, bottom = top + weight * (means[True] - means[False]), bottom + weight
    assert found.cost.difference == pytest.approx(top / bottom)
    assert found.cost.difference.low < -0.2 < found.cost.difference.high
    assert found.cost.p_value < 0.01


def test_a_hard_persona_is_no_cost_of_voice(rng: np.random.Generator) -> None:
    rows, judged = made(rng, questions=400, cost=0.0, harder=0.4)
    found = voice(rows, judged)
    assert found.cost.difference.high < 0  # the persona that is most in voice is less often right
    within = found.cost_within_personas.difference
    assert within.low < 0 < within.high
    free = [voice(*made(rng, questions=100, cost=0.0)).cost.difference for _ in range(10)]
    assert abs(np.mean(free)) < 0.05


def test_of_a_sample_the_weights_give_the_whole_back(rng: np.random.Generator) -> None:
    rows, judged = made(rng, questions=200)
    whole = voice(rows, judged)
    found = [voice(rows, sampled(rows, judged, 0.3, rng)) for _ in range(60)]
    for name in RATES:
        values = [getattr(each, name) for each in found]
        assert np.mean(values) == pytest.approx(getattr(whole, name), abs=0.015)
    assert {each.accuracy for each in found} == {whole.accuracy}
    assert found[0].judged < 250 < found[0].n == 800
    some, all_of_it = (
        influence_se(each.pulls["in_voice"].to_numpy()) for each in (found[0], whole)
    )
    assert some > all_of_it * 1.3


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_intervals_hold_the_truth(share: float) -> None:
    rng = np.random.default_rng(11)
    inside, cost = np.array([0.2, 0.4, 0.6, 0.8]), 0.2
    truth = {"in_character": (inside * (0.65 - cost)).mean(), "in_voice": inside.mean()}
    held = {"in_character": 0, "in_voice": 0, "cost": 0}
    tables = 120
    for _ in range(tables):
        rows, judged = made(rng, questions=60, cost=cost)
        if share < 1:
            judged = sampled(rows, judged, share, rng)
        found = voice(rows, judged)
        for name, true in truth.items():
            rate = getattr(found, name)
            held[name] += rate.low <= true <= rate.high
        held["cost"] += found.cost.difference.low <= -cost <= found.cost.difference.high
    assert min(held.values()) / tables >= 0.88
    assert held["in_character"] / tables >= 0.9


def test_unread_voices_count_as_others_of_their_group(rng: np.random.Generator) -> None:
    rows, judged = made(rng)
    gone = judged.assign(score=judged["score"].where(rng.random(len(judged)) > 0.2))
    found = voice(rows, gone)
    assert found.unread == gone["score"].isna().sum()
    value = voice(rows, judged).in_character
    assert found.in_character == pytest.approx(value, abs=0.05)
    with pytest.raises(VoiceError, match="no response has both a verdict and a score"):
        voice(rows, judged.assign(score=np.nan))


def test_two_judges_count_by_their_mean_and_one_voice_has_no_cost(rng: np.random.Generator) -> None:
    rows, judged = made(rng)
    strict = judged.assign(judge="k", score=1.0)
    found = voice(rows, pd.concat([judged, strict], ignore_index=True))
    assert found.in_voice == 0  # (5 + 1) / 2 is 3
    assert math.isnan(found.cost.difference)
    assert list(found.judges["judge"]) == ["j", "k"]


def test_two_models_are_paired_by_question(rng: np.random.Generator) -> None:
    rows, judged = made(rng, questions=300)
    better = rows.assign(correct=np.maximum(rows["correct"], rng.random(len(rows)) < 0.2))
    a, b = voice(rows, judged), voice(better.assign(model="n"), judged.assign(model="n"))
    rates = compare_voice(a, b).rates.set_index("rate")
    row = rates.loc["in_character"]
    assert row["difference"] == pytest.approx(row["b"] - row["a"])
    assert row["low"] > 0
    assert row["p_value"] < 0.001
    assert row["high"] - row["low"] < 0.05  # unpaired it were about 0.1
    assert rates.loc["in_voice", "difference"] == 0
    with pytest.raises(VoiceError, match="differ in questions"):
        compare_voice(a, voice(*(each[each["question"] < "q200"] for each in (rows, judged))))


def test_the_gate_seldom_passes_a_loss_of_in_character_accuracy_at_the_margin(
    rng: np.random.Generator,
) -> None:
    rows, judged = made(rng, questions=20)
    base = voice(rows, judged)
    questions = sorted(set(judged["question"]))
    passed = 0
    for _ in range(16):
        fallen = dict(zip(questions, rng.random(len(questions)) < 0.05, strict=True))
        new = voice(
            rows, judged.assign(score=judged["score"].mask(judged["question"].map(fallen), 1))
        )
        margin = 0.05 * base.in_character.value  # what is lost on average
        passed += voice_criterion(base, new, margin=margin).verdict == "pass"
    assert passed <= 3


def test_judging_a_sample_widens_the_bounds_of_the_gate(rng: np.random.Generator) -> None:
    rows, judged = made(rng)
    whole, some = (voice(rows, each) for each in (judged, sampled(rows, judged, 0.4, rng)))
    assert (
        voice_criterion(some, some, margin=0.1).low < voice_criterion(whole, whole, margin=0.1).low
    )


def test_few_questions_without_a_change_do_not_pass_the_gate(rng: np.random.Generator) -> None:
    few, many = (voice(*made(rng, questions=n)) for n in (20, 300))
    assert voice_criterion(few, few, margin=0.02).verdict == "can't tell"
    found = voice_criterion(many, many, margin=0.02)
    assert (found.difference, found.verdict) == (0, "pass")


def test_scores_of_a_sample_have_the_mean_of_all(rng: np.random.Generator) -> None:
    rows, judged = made(rng, cost=0.4)
    whole = voice_scores(rows, judged)
    keys = ["persona", "question", "sample"]
    both = whole.merge(judged, on=keys)
    assert len(whole) == len(judged)
    assert both["value"].tolist() == both["score"].tolist()
    draws = [sampled(rows, judged, 0.2, rng) for _ in range(100)]
    weighted = [voice_scores(rows, each)["value"].mean() for each in draws]
    error = float(np.std(weighted)) / 10
    assert abs(np.mean(weighted) - judged["score"].mean()) < 4 * error
    # the sample's own mean is of more wrong responses than there are
    assert abs(np.mean([each["score"].mean() for each in draws]) - judged["score"].mean()) > (
        4 * error
    )
