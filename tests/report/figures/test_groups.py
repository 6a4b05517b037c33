"""Stability by level, accuracy by kind: the numbers of the results they come from."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from persona_bench.report.figures.groups import groups_data, groups_figure
from persona_bench.scoring.groups import scores_by_group
from tests.report.figures.readable import TITLE, assert_readable, bars, points, words
from tests.report.figures.test_heat_map import outcomes


@pytest.fixture(scope="module")
def by_level(models, made_up):
    three = zip(("1", "2", "a level of a longer name"), models(3, 6).values(), strict=True)
    return {**dict(three), "unscored": made_up([0.5, 0.5], unscored=1.0)}


@pytest.fixture(scope="module")
def kinds() -> pd.DataFrame:
    table = outcomes(6, 20)
    names = list(table["persona"].unique())
    kind = ["control", "harmful", "expert", "adjacent_expert", "expert", "somebody's own kind"]
    table["kind"] = table["persona"].map(dict(zip(names, kind, strict=True)))
    table["level"] = table["question"].str[-1]
    return scores_by_group(table, resamples=50)


@pytest.mark.parametrize("width", [2.75, 5.5])
def test_labels_are_apart_and_inside(by_level, kinds, width: float) -> None:
    for levels, groups in ((by_level, kinds), (by_level, kinds.head(0)), ({}, kinds)):
        figure = groups_figure(levels, groups, title=TITLE, width=width)
        assert_readable(figure, width)
        assert len(figure.axes) == bool(levels) + bool(len(groups))


def test_the_data_are_those_of_the_results(by_level, kinds) -> None:
    data = groups_data(by_level, kinds).set_index(["panel", "group", "metric"])
    for level, result in by_level.items():
        for metric in ("pss", "pss_corrected", "noise_floor"):
            row = data.loc[("level", level, metric)]
            ends = [math.nan] * 2 if metric == "pss" else getattr(result, metric).interval
            expected = [getattr(result, metric), *ends]
            assert row[["value", "low", "high"]].tolist() == pytest.approx(expected, nan_ok=True)
    of_kinds = kinds[kinds["by"] == "kind"].set_index("group")
    found = data.loc["kind"].reset_index("metric")
    assert list(found.index) == [
        "control", "expert", "adjacent_expert", "harmful", "somebody's own kind",
    ]  # fmt: skip
    for name, column in (("value", "accuracy"), ("low", "low"), ("high", "high")):
        assert found[name].tolist() == of_kinds.loc[found.index, column].tolist()


def test_what_is_drawn_is_the_data(by_level, kinds) -> None:
    data = groups_data(by_level, kinds)
    levels, groups = groups_figure(by_level, kinds).axes
    own = data[data["panel"] == "kind"]
    assert [x for x, _ in points(groups)] == own["value"].tolist()
    assert bars(groups) == list(zip(own["low"], own["high"], strict=True))
    known = data[(data["panel"] == "level") & data["value"].notna()]
    pss = known[known["metric"] != "noise_floor"]
    assert [x for x, _ in points(levels)] == pss["value"].tolist()
    pss = pss[pss["metric"] == "pss_corrected"]
    assert bars(levels) == list(zip(pss["low"], pss["high"], strict=True))
    floor = known[known["metric"] == "noise_floor"]
    boxes = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in levels.patches]
    for box, ends in zip(boxes, zip(floor["low"], floor["high"], strict=True), strict=True):
        assert box == pytest.approx(ends)


def test_no_groups_and_nothing_scored_are_said(by_level, kinds) -> None:
    assert "no groups" in words(groups_figure({}, kinds.head(0)))
    assert "nothing scored" in words(groups_figure(by_level, kinds.head(0)))


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize(
    ("chances", "unscored", "label"),
    [
        ([0.0, 0.0], 0.0, "nothing correct"),
        ([0.0, 0.0], 0.3, "nothing correct"),
        ([0.5], 0.0, "only one persona"),
        ([0.5, 0.5], 1.0, "nothing scored"),
    ],
)
def test_a_level_says_why_its_corrected_pss_is_undefined(
    made_up, chances: list[float], unscored: float, label: str, width: float
) -> None:
    easy, hard = made_up([0.8, 0.7]), made_up(chances, unscored=unscored)
    figure = groups_figure({"easy": easy, "hard": hard}, pd.DataFrame(), width=width)
    assert_readable(figure, width)
    said = words(figure)
    assert label in said
    for other in {"nothing correct", "only one persona", "nothing scored"} - {label}:
        assert other not in said
