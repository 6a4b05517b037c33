"""The voice corrected by ratings: exact with all rated, covering with few, whatever the judge."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.voice_corrected import corrected_voice
from tests.scoring.test_voice import made, sampled

KEYS = ["persona", "question", "sample"]
TRUE = {"in_voice": 0.5, "in_character": 0.5 * 0.45}
"""What `made` draws from: personas in voice in 20 to 80%, and then right in 0.5 + 0.15 - 0.2."""


def ratings_of(judged: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """What raters say of `n` responses, drawn at random: the truth."""
    drawn = judged.iloc[np.sort(rng.permutation(len(judged))[:n])]
    return drawn[KEYS].assign(rating=drawn["score"], rater="ann")


def erring(judged: pd.DataFrame, rng: np.random.Generator, share: float = 0.2) -> pd.DataFrame:
    """A judge that calls a share of what is out of voice in voice, and never the other way."""
    wrong = (judged["score"] < 4) & (rng.random(len(judged)) < 2 * share)
    return judged.assign(score=judged["score"].where(~wrong, 5.0))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_with_all_rated_it_is_what_the_raters_say(rng: np.random.Generator) -> None:
    rows, judged = made(rng, 40)
    found = corrected_voice(rows, erring(judged, rng), ratings_of(judged, len(judged), rng))
    assert found is not None
    rates = found.rates.set_index("rate")
    inside = judged["score"] >= 4
    right = rows.loc[rows["kind"] != "control", "correct"].to_numpy() == 1
    assert rates.loc["in_voice", ["value", "rated"]].tolist() == pytest.approx([inside.mean()] * 2)
    both = [(inside & right).mean()] * 2
    assert rates.loc["in_character", ["value", "rated"]].tolist() == pytest.approx(both)
    assert rates.loc["in_voice", "judged"] > inside.mean() + 0.15
    assert (found.n_rated, found.n_judged, found.n) == (160, 160, 160)


def test_a_perfect_judge_leaves_its_own_interval_and_noise_the_raters(
    rng: np.random.Generator,
) -> None:
    rows, judged = made(rng, 100)
    ratings = ratings_of(judged, 60, rng)
    perfect, noise = judged, judged.assign(score=rng.integers(1, 6, len(judged)).astype(float))
    good, bad = (corrected_voice(rows, each, ratings) for each in (perfect, noise))
    assert good is not None
    assert bad is not None
    for name in TRUE:
        row = good.rates.set_index("rate").loc[name]
        assert row["slope"] == pytest.approx(1)
        assert row[["value", "low", "high"]].tolist() == pytest.approx(
            row[["judged", "judged_low", "judged_high"]].tolist(), abs=0.02
        )
    row = bad.rates.set_index("rate").loc["in_voice"]
    assert abs(row["slope"]) < 0.3
    width = row["rated_high"] - row["rated_low"]
    assert row["high"] - row["low"] == pytest.approx(width, rel=0.15)


@pytest.mark.parametrize(("n", "part"), [(50, 1.0), (100, 0.5)])
def test_its_interval_covers_what_raters_would_say(n: int, part: float) -> None:
    rng = np.random.default_rng(int(n + 10 * part))
    covered = dict.fromkeys(TRUE, 0)
    trusted = 0
    replicates = 80
    for _ in range(replicates):
        rows, truth = made(rng, 100)
        asked = truth if part == 1 else sampled(rows, truth, part, rng)
        found = corrected_voice(rows, erring(asked, rng), ratings_of(asked, n, rng))
        assert found is not None
        for row in found.rates.to_dict("records"):
            covered[row["rate"]] += row["low"] <= TRUE[row["rate"]] <= row["high"]
            trusted += row["judged_low"] <= TRUE[row["rate"]] <= row["judged_high"]
    for hits in covered.values():
        assert hits / replicates >= 0.88
    assert trusted / replicates < 0.2  # of two rates: the judge alone is far off


def test_few_ratings_correct_nothing(rng: np.random.Generator) -> None:
    rows, judged = made(rng, 10)
    assert corrected_voice(rows, judged, ratings_of(judged, 9, rng)) is None
