"""The grader's sensitivity in the terminal and as files."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from persona_bench import grader_sensitivity, stability
from persona_bench.report.sensitivity import print_sensitivity, write_sensitivity
from persona_bench.scoring.sensitivity import GraderSensitivity
from tests.scoring.test_sensitivity import graded


@pytest.fixture(scope="module")
def outcomes() -> pd.DataFrame:
    return graded()


def printed(found: GraderSensitivity, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_sensitivity(found, console)
    return console.file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 120])
def test_routes_stand_by_persona_and_both_conclusions_are_named(outcomes, width: int) -> None:
    text = printed(grader_sensitivity(outcomes), width)
    assert max(map(len, text.splitlines())) <= width
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    header = next(line for line in text.splitlines() if line.startswith(" persona"))
    assert header.split() == ["persona", "boxed", "tag", "stated", "last", "accuracy", "strict"]
    assert lines["pirate"] == ["pirate", "0.000", "0.000", "0.500", "0.500", "0.800", "0.400"]
    assert lines["none"] == ["none", "1.000", "0.000", "0.000", "0.000", "0.800", "0.800"]
    told = words(text)
    assert "last: the last number" in told
    assert "no answer was found" not in told  # it does not occur
    assert "would give mean accuracy 0.700, PSS 0.500, corrected PSS 0." in told
    assert "(unstable); as graded: mean accuracy 0.800, PSS 1.000, corrected PSS" in told
    assert (
        "The conclusion depends on the grader: stable as graded, unstable under a strict grader."
        in told
    )


@pytest.mark.parametrize(
    ("route", "words_of_it"),
    [
        ("boxed", "Every answer that was found is boxed."),
        ("tag", "Every answer that was found stands in an answer tag."),
        ("stated", "Every answer that was found is stated in words."),
    ],
)
def test_one_route_takes_one_sentence(outcomes, route: str, words_of_it: str) -> None:
    text = words(printed(grader_sensitivity(outcomes.assign(route=route))))
    assert text == (
        f"{words_of_it} A strict grader (boxed, tagged or stated answers only) would give the "
        "same verdicts."
    )


def test_only_last_answers_take_no_table_and_show_that_a_strict_grader_finds_nothing(
    outcomes,
) -> None:
    text = words(printed(grader_sensitivity(outcomes.assign(route="last"))))
    assert text.startswith("Every answer that was found is the last number or expression")
    assert "would give mean accuracy 0.000, PSS 0.000, corrected PSS n/a (undetermined)" in text
    assert "n/a n/a" not in text
    assert "stable as graded, undetermined under a strict grader." in text


def test_equal_conclusions_are_not_called_a_difference(outcomes) -> None:
    few = outcomes["route"].mask(outcomes["question"] > "q00", "boxed")
    table = outcomes.assign(route=few)
    text = words(printed(grader_sensitivity(table, stability(table, stable_from=0.5))))
    assert "0.025" in text
    assert "(stable); as graded" in text
    assert "The conclusion depends" not in text


def test_the_csv_is_the_table_and_goes_when_routes_do(outcomes, tmp_path) -> None:
    found = grader_sensitivity(outcomes)
    (path,) = write_sensitivity(found, tmp_path / "new", task="a/b")
    assert path.name == "a_b_routes.csv"
    pd.testing.assert_frame_equal(pd.read_csv(path), found.table)
    assert write_sensitivity(None, tmp_path / "new", task="a/b") == []
    assert not path.exists()
