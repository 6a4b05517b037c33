"""Paired differences: the comparison's numbers, and filled where they are more than noise."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from persona_bench.personas import KINDS
from persona_bench.report.figures.differences import differences_data, differences_figure
from persona_bench.scoring.compare import METRICS, Comparison, compare
from tests.report.figures.readable import LONG, TITLE, assert_readable, bars, points, words
from tests.report.figures.test_heat_map import outcomes


def comparison(n: int, missing: bool = False) -> Comparison:
    """Differences that are significant every third time."""

    def rows(names: list[str], first: str) -> pd.DataFrame:
        size = len(names)
        value = np.linspace(0.3, -0.2, size) if size else np.array([])
        p = np.where(np.arange(size) % 3 == 0, 0.01, 0.4)
        table = pd.DataFrame({first: names, "a": 0.5, "b": 0.5 + value, "difference": value})
        table = table.assign(low=value - 0.1, high=value + 0.15, p_value=p)
        return table.assign(difference=math.nan, low=math.nan, high=math.nan) if missing else table

    names = ["none", LONG, *(f"persona-{i}" for i in range(n))][:n]
    personas = rows(names, "persona").assign(p_holm=lambda t: (t["p_value"] * 2).clip(upper=1))
    personas.insert(1, "kind", [list(KINDS)[i % len(KINDS)] for i in range(n)])
    metrics = rows(list(METRICS), "metric").assign(test=["flip", "swap", "swap", "swap", "draws"])
    return Comparison(metrics, personas, 40, n, 0, 0.95, 100, 0)


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize("n", [1, 6, 16, 110])
def test_labels_are_apart_and_inside(n: int, width: float) -> None:
    figure = differences_figure(comparison(n), a="base", b=TITLE, title=TITLE, width=width)
    assert_readable(figure, width)


def test_the_data_are_the_comparison_s() -> None:
    table = outcomes(6, 30, unscored=0.0)
    other = outcomes(6, 30, unscored=0.0, seed=1)
    result = compare(table, other, resamples=200)
    data = differences_data(result)
    same = ["a", "b", "difference", "low", "high", "p_value"]
    for panel, name, expected in (
        ("persona", "persona", result.per_persona),
        ("metric", "metric", result.metrics),
    ):
        own = data[data["panel"] == panel].set_index("name")
        pd.testing.assert_frame_equal(
            own[same], expected.set_index(name).loc[own.index, same], check_names=False
        )
    assert data["name"].tolist()[-5:] == list(METRICS)
    assert data.loc[data["panel"] == "persona", "difference"].is_monotonic_decreasing
    assert_readable(differences_figure(result, a="base", b="sft"))


def test_what_is_drawn_is_the_data_and_filled_where_significant() -> None:
    result = comparison(6)
    data = differences_data(result)
    figure = differences_figure(result, a="base", b="sft")
    for axes, (_, own) in zip(figure.axes, data.groupby("panel", sort=False), strict=True):
        assert [x for x, _ in points(axes)] == own["difference"].tolist()
        assert bars(axes) == list(zip(own["low"], own["high"], strict=True))
        lines = [line for line in axes.get_lines() if line.get_marker() != "None"]
        filled = [to_hex(line.get_markerfacecolor()) != "#ffffff" for line in lines]
        assert filled == own["significant"].tolist()
    assert data["significant"].tolist() == [True, False, False] * 2 + [True, False, False] * 1 + [
        True,
        False,
    ]


def test_notes_say_who_is_compared_and_by_which_test() -> None:
    said = words(differences_figure(comparison(6), a="base", b="$sft$")).replace("\n", " ")
    for told in ("$sft$ less base", "p < 0.05", "Holm", "flipped at random", "swapped"):
        assert told in said


def test_differences_that_are_not_known_are_said() -> None:
    for n in (0, 3):
        figure = differences_figure(comparison(n, missing=True), a="a", b="b")
        assert_readable(figure)
        assert "nothing scored" in words(figure)


@pytest.mark.parametrize(
    ("wrong", "label"),
    [("a", "nothing correct in a"), ("b", "nothing correct in b"), ("ab", "in a and b")],
)
def test_a_model_without_a_correct_answer_is_not_called_unscored(wrong: str, label: str) -> None:
    tables = {name: outcomes(6, 30, unscored=0.1, seed=i) for i, name in enumerate("ab")}
    for name in wrong:
        tables[name]["correct"] = tables[name]["correct"].where(tables[name]["correct"].isna(), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = compare(tables["a"], tables["b"], resamples=100)
    figure = differences_figure(result, a="base", b="sft")
    assert_readable(figure)
    assert label in words(figure)
    assert "nothing scored" not in words(figure)


def test_one_persona_or_question_has_no_corrected_pss_to_compare() -> None:
    one, other = (outcomes(1, 30, unscored=0.0, seed=seed) for seed in (0, 1))
    figure = differences_figure(compare(one, other, resamples=100), a="base", b="sft")
    assert "only one persona" in words(figure)
    assert "nothing scored" not in words(figure)
    one, other = (outcomes(3, 1, unscored=0.0, seed=seed) for seed in (0, 1))
    one["correct"] = other["correct"] = 1.0
    figure = differences_figure(compare(one, other, resamples=100), a="base", b="sft")
    assert "only one question" in words(figure)
