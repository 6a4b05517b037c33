"""The grader's sensitivity: shares of routes, and what a strict grader would conclude."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from persona_bench import grader_sensitivity, stability
from persona_bench.report.sensitivity import print_sensitivity
from tests.scoring.simulated import outcomes_of

SETTINGS = {"resamples": 200}


@pytest.fixture
def outcomes() -> pd.DataFrame:
    """Four personas alike, of which the last never states its answers: they are found last."""
    correct = np.tile((np.arange(200) % 5 > 0)[:, None], (1, 4)).astype(int)
    table = outcomes_of(correct, np.ones_like(correct))
    table["route"] = np.where(table["persona"] == "p003", "last", "boxed")
    table["verdict"] = np.where(table["correct"] == 1, "correct", "wrong")
    table["reason"] = np.where(table["correct"] == 1, "", "wrong_answer")
    return table


def test_a_manner_of_writing_is_told_from_a_change_of_skill(outcomes: pd.DataFrame) -> None:
    result = grader_sensitivity(outcomes, **SETTINGS)
    assert result is not None
    assert result.headline.conclusion == "stable"
    assert result.strict.conclusion == "unstable"
    assert not result.agree
    assert result.sentence.startswith("The conclusion depends on the grader: 25.0% of the answers")
    assert "stable as graded" in result.sentence
    assert "unstable by a strict grader" in result.sentence
    rows = result.table.set_index("persona")
    assert list(rows.loc["p003", ["boxed", "last", "accuracy", "strict"]]) == [0, 1, 0.8, 0]
    assert list(rows.loc["p000", ["boxed", "last", "accuracy", "strict"]]) == [1, 0, 0.8, 0.8]
    assert rows[["boxed", "tag", "stated", "last", "none"]].sum(axis=1).tolist() == [1.0] * 4
    json.dumps(result.to_dict(), allow_nan=False)


def test_unscored_responses_stay_unscored_for_the_strict_grader(outcomes: pd.DataFrame) -> None:
    outcomes.loc[outcomes["persona"] == "p003", "correct"] = np.nan
    outcomes.loc[outcomes["persona"] == "p003", "verdict"] = "unscored"
    result = grader_sensitivity(outcomes, **SETTINGS)
    assert result is not None
    assert result.strict.unscored == 200
    assert result.sentence == ""


def test_a_headline_that_is_there_is_not_computed_again(outcomes: pd.DataFrame) -> None:
    headline = stability(outcomes, **SETTINGS)
    result = grader_sensitivity(outcomes, headline, **SETTINGS)
    assert result is not None
    assert result.headline is headline


def test_nothing_is_said_where_routes_are_not_recorded(outcomes: pd.DataFrame) -> None:
    assert grader_sensitivity(outcomes.drop(columns="route")) is None
    assert grader_sensitivity(outcomes.assign(route="")) is None


def test_it_prints_a_line_per_persona_only_where_answers_were_found_last(
    outcomes: pd.DataFrame,
) -> None:
    for table, lines in ((outcomes, 4), (outcomes.assign(route="boxed"), 0)):
        out = io.StringIO()
        result = grader_sensitivity(table, **SETTINGS)
        assert result is not None
        print_sensitivity(result, Console(file=out, width=80))
        assert sum(line.strip().startswith("p00") for line in out.getvalue().splitlines()) == lines
        assert all(len(line) <= 80 for line in out.getvalue().splitlines())
