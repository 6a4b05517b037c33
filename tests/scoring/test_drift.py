"""Drift over a conversation: slopes whose truth is known, and personas that are lost."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.drift import (
    DriftError,
    by_task,
    clustered_mean,
    compare_drift,
    drift,
    told_apart,
)
from tests.scoring.drifting import Model, coverage

TURNS = [0, 4, 16]


def table(slope: float = -0.01, personas: int = 3, questions: int = 8) -> pd.DataFrame:
    """Accuracies that fall on a line from turn to turn, with a little of each question's own."""
    rows = []
    for p in range(personas):
        for q in range(questions):
            for turns in TURNS:
                value = 0.8 + (slope + 0.001 * ((p * 7 + q * 3) % 5 - 2)) * turns
                rows.append(
                    {
                        "persona": f"p{p}" if p else "none",
                        "kind": "speech" if p else "control",
                        "question": f"q{q}",
                        "sample": 0,
                        "script": str(q % 4),
                        "turns": turns,
                        "accuracy": value,
                    }
                )
    return pd.DataFrame(rows)


def test_the_slope_is_least_squares_of_each_cell() -> None:
    rows = table()
    found = drift(rows)
    by_cell = [
        np.polyfit(own["turns"], own["accuracy"], 1)[0]
        for _, own in rows.groupby(["persona", "question"])
    ]
    slope = found.slope("accuracy")
    assert slope == pytest.approx(np.mean(by_cell))
    assert slope.low < slope < slope.high < 0
    assert found.turns == TURNS
    assert list(found.slopes["conversations"])[:4] == [12, 4, 4, 4]


def test_one_persona_has_the_t_interval_of_its_conversations() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "persona": "a", "question": [f"q{n}" for n in range(20)],
            "script": [str(n % 4) for n in range(20)], "value": rng.normal(size=20),
        }
    )  # fmt: skip
    found = clustered_mean(rows)
    means = rows.groupby("script")["value"].mean()
    assert found.value == pytest.approx(means.mean())
    assert found.se == pytest.approx(means.std() / math.sqrt(4))
    assert found.df == 3


def test_a_cell_without_one_of_the_numbers_of_turns_counts_in_no_slope() -> None:
    rows = table()
    gone = (rows["persona"] == "p1") & (rows["question"] == "q0") & (rows["turns"] == 16)
    rows.loc[gone, "accuracy"] = math.nan
    found = drift(rows)
    assert "1 of 24 cells lack a number of turns" in found.notes[0]


def test_what_can_not_drift_is_refused() -> None:
    with pytest.raises(DriftError, match="needs two numbers"):
        drift(table().query("turns == 4"))
    with pytest.raises(DriftError, match="belong to no script"):
        drift(table().assign(script=""))


@pytest.mark.parametrize("conversation_sd", [0.0, 0.06])
@pytest.mark.parametrize(("personas", "least", "most"), [(1, 0.88, 0.99), (6, 0.90, 0.99)])
def test_the_interval_covers_the_truth(
    personas: int, least: float, most: float, conversation_sd: float
) -> None:
    """Bounds are three standard errors of 150 replicates about 92 to 98%."""
    model = Model(personas, conversation_sd)
    covered, _ = coverage(model, questions=40, scripts=4, replicates=150)
    assert least <= covered <= most


def test_questions_alone_would_cover_too_little() -> None:
    """Where conversations drift by themselves, errors clustered by question are too small."""
    model, rng = Model(6, 0.06), np.random.default_rng(1)
    covered = []
    for _ in range(100):
        by_question = model.units(200, 4, rng).groupby("question")["value"].mean()
        half = 1.96 * by_question.std() / math.sqrt(len(by_question))
        covered.append(abs(by_question.mean() - model.truth) <= half)
    assert np.mean(covered) < 0.85


def test_texts_are_told_apart_only_by_what_holds_in_other_conversations() -> None:
    """Words that belong to one conversation tell nothing about the persona."""
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta"]

    def pairs(persona: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "script": [str(n % 4) for n in range(80)],
                "response": [f"{persona} {rng.choice(words)} of {n % 4} one" for n in range(80)],
                "response_control": [f"{rng.choice(words)} of {n % 4} two" for n in range(80)],
            }
        )

    assert told_apart(pairs("arr")).value == 1
    only_here = pairs("").assign(
        response=[f"{rng.choice(words)} {('fox', 'sky', 'jug', 'wimp')[n % 4]}" for n in range(80)],
        response_control=[
            f"{rng.choice(words)} {('cob', 'hen', 'zip', 'rust')[n % 4]}" for n in range(80)
        ],
    )
    found = told_apart(only_here)
    assert abs(found.value - 0.5) < 3 * found.se


def test_no_difference_is_rarely_called_one() -> None:
    rng = np.random.default_rng(3)
    words = np.array(["so", "we", "get", "the", "sum", "of", "both"])
    called = 0
    for _ in range(60):
        texts = [" ".join(rng.choice(words, 5)) for _ in range(80)]
        found = told_apart(
            pd.DataFrame(
                {"script": [str(n % 4) for n in range(40)], "response": texts[:40],
                 "response_control": texts[40:]}
            )
        )  # fmt: skip
        called += (found.value - 0.5) / found.se > 2.353
    assert called <= 7  # 3 expected at 5%


def test_two_models_are_compared_cell_by_cell() -> None:
    slopes = compare_drift(table(-0.01), table(-0.03)).slopes
    found = slopes.query("measure == 'accuracy' and persona == ''").iloc[0]
    assert found["difference"] == pytest.approx(-0.02)
    assert (found["a"], found["b"]) == (
        pytest.approx(-0.01, abs=1e-3),
        pytest.approx(-0.03, abs=1e-3),
    )
    worse = table()  # the second model loses one persona on the way, the first does not
    worse.loc[worse["persona"] == "p1", "accuracy"] -= 0.02 * worse["turns"]
    pss = compare_drift(table(0.0), worse).slopes.query("measure == 'pss'").iloc[0]
    assert abs(pss["a"]) < 0.002
    assert pss["b"] < -0.015
    assert pss["high"] < 0
    with pytest.raises(DriftError, match="other numbers of turns"):
        compare_drift(table(), table().query("turns < 16"))
    other = table()
    other["script"] = other["question"].str[1:]  # eight scripts: the first four have the same names
    with pytest.raises(DriftError, match="same `scripts`"):
        compare_drift(table(), other)


def test_with_one_script_no_persona_is_called_lost() -> None:
    rows = table().assign(script="0", response="Arr.")
    found = drift(rows)
    assert found.told.empty
    assert found.lost.empty
    assert "takes two scripts" in found.notes[-1]


def test_tasks_that_differ_in_turns_belong_together() -> None:
    asked = {"persona_a_turns16": 16, "persona_a": 0, "persona_b_turns4": 4, "persona_a_turns4": 4}
    assert by_task(asked) == {"persona_a": ["persona_a", "persona_a_turns4", "persona_a_turns16"]}
