"""What a strict grader would conclude, from real verdicts and from tables made by hand."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest

from persona_bench import grader_sensitivity, stability
from persona_bench.grading.maths import grade_all
from persona_bench.scoring.sensitivity import ROUTES, UNFOUND, has_routes

STYLES = {
    "none": r"So 12 + 5 = \boxed{{{}}}.",
    "teacher": "Let us add the two numbers.\nThe answer is {}.",
    "grpo": "<think>12 and 5</think><answer>{}</answer>",
    "pirate": "Arr, I counted 3 chests and then the rest, matey: {}",
}


def graded(right: int = 32, questions: int = 40) -> pd.DataFrame:
    """Personas of equal skill, each in its own style, graded by the maths grader.

    The pirate states its answer in every other response only.
    """
    rows = []
    for persona, style in STYLES.items():
        for i in range(questions):
            written = STYLES["teacher"] if persona == "pirate" and i % 2 else style
            rows.append((persona, f"q{i:02d}", written.format(100 + i + (i >= right)), 100 + i))
    verdicts = grade_all([row[2] for row in rows], [str(row[3]) for row in rows], integer=True)
    return pd.DataFrame(
        {
            "persona": [row[0] for row in rows],
            "kind": ["control" if row[0] == "none" else "speech" for row in rows],
            "question": [row[1] for row in rows],
            "sample": 0,
            "verdict": [verdict.verdict for verdict in verdicts],
            "reason": [verdict.reason for verdict in verdicts],
            "route": [verdict.route for verdict in verdicts],
            "correct": [verdict.correct for verdict in verdicts],
        }
    ).astype({"correct": float})


@pytest.fixture(scope="module")
def outcomes() -> pd.DataFrame:
    return graded()


def test_a_manner_of_writing_that_only_a_lenient_grader_reads_changes_the_conclusion(
    outcomes: pd.DataFrame,
) -> None:
    found = grader_sensitivity(outcomes)
    rows = found.table.set_index("persona")
    shares = {"none": "boxed", "teacher": "stated", "grpo": "tag"}
    for persona, route in shares.items():
        assert rows.loc[persona, route] == 1
        assert rows.loc[persona, "strict_accuracy"] == rows.loc[persona, "accuracy"] == 0.8
    assert rows.loc["pirate", ["stated", "last"]].tolist() == [0.5, 0.5]
    assert rows.loc["pirate", "accuracy"] == 0.8
    assert rows.loc["pirate", "strict_accuracy"] == 0.4
    assert found.headline.pss == 1
    assert found.strict.pss == 0.5
    assert found.headline.conclusion == "stable"
    assert found.strict.conclusion == "unstable"
    assert found.disagree
    assert found.strict.per_persona.set_index("persona").loc["pirate", "wrong:no_answer"] == 20


def test_shares_are_of_all_responses_and_add_up_to_one(outcomes: pd.DataFrame) -> None:
    table = outcomes.copy()
    refused = (table["persona"] == "none") & (table["question"] < "q03")
    table.loc[refused, ["verdict", "reason", "route", "correct"]] = ["wrong", "refused", "", 0.0]
    lost = (table["persona"] == "none") & (table["question"] > "q37")
    table.loc[lost, ["verdict", "reason", "route"]] = ["unscored", "api_error", ""]
    table.loc[lost, "correct"] = math.nan
    found = grader_sensitivity(table).table.set_index("persona")
    assert found[[*ROUTES, UNFOUND]].sum(axis=1).tolist() == pytest.approx([1.0] * 4)
    assert found.loc["none", [UNFOUND, "boxed"]].tolist() == pytest.approx([5 / 40, 35 / 40])
    assert set(found["n"]) == {40}


def test_an_answer_that_the_instrument_failed_on_is_no_answer_to_a_strict_grader(
    outcomes: pd.DataFrame,
) -> None:
    table = outcomes.copy()
    hung = (table["route"] == "last") & (table["question"] == "q00")
    assert hung.sum() == 1
    table.loc[hung, ["verdict", "reason", "correct"]] = ["unscored", "timeout", math.nan]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = grader_sensitivity(table)
    assert (found.headline.unscored, found.strict.unscored) == (1, 0)


def test_where_no_answer_was_found_last_both_graders_are_one() -> None:
    table = graded()
    table = table[table["persona"] != "pirate"]
    found = grader_sensitivity(table)
    assert found.strict is found.headline
    assert not found.disagree
    assert (found.table["accuracy"] == found.table["strict_accuracy"]).all()


def test_only_last_answers_leave_a_strict_grader_nothing(outcomes: pd.DataFrame) -> None:
    found = grader_sensitivity(outcomes.assign(route="last"))
    assert found.strict.best == 0
    assert math.isnan(found.strict.pss_corrected)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_the_headline_s_settings_are_used(outcomes: pd.DataFrame) -> None:
    levels = outcomes.assign(level=outcomes["question"].str[-1])
    headline = stability(
        levels, confidence=0.8, resamples=100, seed=5, stable_from=0.4, stratify="level"
    )
    found = grader_sensitivity(levels, headline)
    assert found.headline is headline
    for name in ("confidence", "resamples", "seed", "stable_from", "stratify", "population"):
        assert getattr(found.strict, name) == getattr(headline, name)
    told = found.to_dict()
    assert told["strict"]["pss"]["value"] == found.strict.pss
    assert told["headline"]["conclusion"] == headline.conclusion
    assert told["disagree"] == (headline.conclusion != found.strict.conclusion)
    assert [row["persona"] for row in told["per_persona"]] == list(found.table["persona"])
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_outcomes_are_left_as_they_are(outcomes: pd.DataFrame) -> None:
    before = outcomes.copy()
    grader_sensitivity(outcomes)
    pd.testing.assert_frame_equal(outcomes, before)


@pytest.mark.parametrize("kind", ["no column", "other grader", "half", "no reason"])
def test_results_without_routes_are_refused(outcomes: pd.DataFrame, kind: str) -> None:
    table = {
        "no column": outcomes.drop(columns="route"),
        "other grader": outcomes.assign(route=""),
        "half": outcomes.assign(route=np.where(np.arange(len(outcomes)) % 2, "boxed", "")),
        "no reason": outcomes.drop(columns="reason"),
    }[kind]
    assert has_routes(outcomes)
    assert not has_routes(table)
    with pytest.raises(ValueError, match="persona-bench score --regrade"):
        grader_sensitivity(table)
