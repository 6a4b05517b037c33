"""The lottery curves of one model and of several."""

from __future__ import annotations

import math

import numpy as np
import pytest

from persona_bench.report.figures.lottery import lottery_data, lottery_figure
from tests.report.figures.readable import TITLE, assert_readable, words

ENDS = ("expected_best", "expected_worst")


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize(("n", "personas"), [(1, 1), (1, 16), (1, 110), (3, 1), (3, 110), (6, 16)])
def test_labels_are_apart_and_inside(models, n: int, personas: int, width: float) -> None:
    results = models(n, personas)
    (shown,) = results.values() if n == 1 else (results,)
    assert_readable(lottery_figure(shown, title=TITLE, width=width), width)


def test_it_starts_at_the_mean_and_ends_at_the_extremes(made_up) -> None:
    result = made_up([0.9, 0.7, 0.5, 0.1])
    data = lottery_data(result)
    assert list(data.columns) == ["k", *ENDS, "mean", "mean_low", "mean_high"]
    assert data["k"].tolist() == [1, 2, 3, 4]
    first, last = data.iloc[0], data.iloc[-1]
    assert first["expected_best"] == pytest.approx(result.mean)
    assert first["expected_worst"] == pytest.approx(result.mean)
    assert last["expected_best"] == pytest.approx(result.best)
    assert last["expected_worst"] == pytest.approx(result.worst)
    curves = [line.get_ydata() for line in lottery_figure(result).axes[0].get_lines()]
    for name in ENDS:
        assert any(np.array_equal(curve, data[name]) for curve in curves)
    assert len(lottery_figure(result).axes[0].collections) == 1


def test_several_models_have_the_curves_and_means_that_each_has_alone(models) -> None:
    results = models(3, 16)
    data = lottery_data(results)
    (axes,) = lottery_figure(results).axes
    lines = axes.get_lines()
    curves = [(line.get_ydata(), line.get_linestyle()) for line in lines]
    for model, result in results.items():
        own = data[data["model"] == model].reset_index(drop=True)
        assert own.drop(columns="model").equals(lottery_data(result))
        for name, style in zip(ENDS, ("-", "--"), strict=True):
            assert any(np.array_equal(y, own[name]) and s == style for y, s in curves)
    named = {text.get_color(): text.get_text() for text in axes.texts}  # where the curves end
    assert {"base", "sft"} < set(named.values())
    assert set(named) == {line.get_color() for line in lines}
    assert len(axes.collections) == 3  # a ribbon each


@pytest.mark.parametrize(
    ("chances", "unscored"),
    [([0.5], 0.0), ([0.5], 1.0), ([0.0] * 3, 0.0), ([1.0] * 3, 0.0), ([0.5] * 3, 1.0)],
    ids=["one", "one unscored", "all wrong", "all right", "all unscored"],
)
def test_edges(made_up, chances, unscored) -> None:
    result = made_up(chances, unscored=unscored)
    for shown in (result, {"one": result, "other": result}, {}):
        figure = lottery_figure(shown)
        assert_readable(figure)
        nothing = shown == {} or math.isnan(result.mean)
        assert ("nothing scored" in words(figure)) == nothing
