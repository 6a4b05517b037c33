"""Models side by side, persona by persona: the numbers of their tables."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from persona_bench.report.figures.forest import MEAN, forest_data, forest_figure

from tests.report.figures.readable import TITLE, assert_readable, bars, points, words


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize(("n", "personas"), [(1, 1), (2, 6), (3, 16), (6, 16), (2, 110), (4, 110)])
def test_labels_are_apart_and_inside(models, n: int, personas: int, columns: int) -> None:
    figure = forest_figure(models(n, personas), title=TITLE, columns=columns)
    assert_readable(figure, columns)


def test_the_data_are_the_tables(models) -> None:
    results = models(3, 16)
    data = forest_data(results)
    assert len(data) == 3 * 16
    for model, result in results.items():
        own = data[data["model"] == model].set_index("persona")
        table = result.per_persona.set_index("persona").loc[own.index]
        columns = ["kind", "accuracy", "low", "high", "n"]
        pd.testing.assert_frame_equal(own[columns], table[columns])
        assert set(own["mean"]) == {result.mean}
        assert set(zip(own["mean_low"], own["mean_high"], strict=True)) == {result.mean.interval}
    means = data.groupby("persona", sort=False)["accuracy"].mean()
    assert means.is_monotonic_decreasing


@pytest.mark.parametrize("columns", [1, 2])
def test_what_is_drawn_is_the_data(models, columns: int) -> None:
    results = models(4, 6)
    data = forest_data(results)
    figure = forest_figure(results, columns=columns)
    assert len(figure.axes) == (4 if columns == 2 else 1)  # one panel where four find no room
    drawn, ends = [], []
    for axes in figure.axes:
        drawn += [x for x, _ in points(axes)]
        ends += bars(axes)
    expected, intervals = [], []
    for _, own in data.groupby("model", sort=False):
        expected += [*own["accuracy"], own["mean"].iloc[0]]
        intervals += list(zip(own["low"], own["high"], strict=True))
        intervals.append((own["mean_low"].iloc[0], own["mean_high"].iloc[0]))
    assert drawn == expected
    assert ends == intervals


def test_rows_are_named_once_and_hold_each_model_s_own_persona(models) -> None:
    results = models(2, 6)
    data = forest_data(results)
    first, second = forest_figure(results).axes
    named = [t.get_text().replace("\n", "") for t in first.get_yticklabels()]
    assert named == [*data["persona"].unique(), MEAN]
    assert not any(t.get_text() for t in second.get_yticklabels())
    rows = dict(zip(named, first.get_yticks(), strict=True))
    for axes, model in ((first, "base"), (second, list(results)[1])):
        at = {y: x for x, y in points(axes)}
        for row in data[data["model"] == model].to_dict("records"):
            assert at[rows[row["persona"]]] == row["accuracy"]


def test_a_persona_that_one_model_was_not_asked_under_is_left_out_there(made_up) -> None:
    results = {
        "one": made_up([0.9, 0.5], names=["none", "a"]),
        "other": made_up([0.7, 0.6], names=["none", "b"]),
    }
    figure = forest_figure(results)
    assert_readable(figure)
    assert [len(points(axes)) for axes in figure.axes] == [3, 3]
    assert len(forest_data(results)) == 4


@pytest.mark.parametrize("columns", [1, 2])
def test_nothing_scored_is_said(made_up, models, columns: int) -> None:
    nothing = made_up([0.5, 0.5], unscored=1.0)
    assert "no models" in words(forest_figure({}, columns=columns))
    for results in ({"a": nothing}, {"a": nothing, **models(3, 6)}):
        figure = forest_figure(results, columns=columns)
        assert_readable(figure, columns)
        assert "nothing scored" in words(figure) or "n/a" in words(figure)
    assert forest_data({}).empty
    assert all(map(math.isnan, forest_data({"a": nothing})["accuracy"]))
