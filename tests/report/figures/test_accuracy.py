"""Accuracy per persona: what stands in the table is what is drawn, and all of it can be read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from persona_bench.report.figures.accuracy import accuracy_data, accuracy_figure
from persona_bench.report.figures.style import GROUP_LOOKS
from tests.report.figures.readable import LONG, TITLE, assert_readable, bars, points, texts, words


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize("n", [1, 6, 16, 110])
def test_labels_are_apart_and_inside(models, n: int, width: float) -> None:
    (result,) = models(1, n).values()
    assert_readable(accuracy_figure(result, title=TITLE, width=width), width)


def test_every_persona_is_named_in_order(made_up) -> None:
    result = made_up(np.linspace(0.9, 0.2, 110).tolist())
    axes = accuracy_figure(result).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == accuracy_data(result)["persona"].tolist()
    ticks = axes.get_yticks()
    bottom, top = axes.get_ylim()
    assert all(np.diff(ticks) > 0)
    assert bottom > top  # the first, the best, is on top


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
@pytest.mark.parametrize("name", [LONG, LONG * 3, "x" * 300, "数学" * 40])
def test_long_names_are_broken_not_cut(made_up, name: str) -> None:
    figure = accuracy_figure(made_up([0.9, 0.5, 0.1], names=["none", name, "b"]), title=name)
    if name.isascii():  # the font has no glyphs for the last one, which is a warning
        assert_readable(figure)
    labels = [label.get_text().replace("\n", "") for label in figure.axes[0].get_yticklabels()]
    assert name in labels


def test_untrusted_names_are_not_mathematics(made_up) -> None:
    names = ["none", "$x_1$", "\\$5", r"$\frac{broken$", "a\x1b\nb"]
    figure = accuracy_figure(made_up([0.9, 0.7, 0.5, 0.3, 0.1], names=names), title="$m_1$ 100%")
    assert_readable(figure)
    assert not any(t.get_parse_math() for t in texts(figure))
    shown = {t.get_text() for t in texts(figure)}
    assert {*names[:4], "a\\x1b\\nb"} <= shown
    assert figure.caption.startswith("$m_1$ 100%. Accuracy is correct / scored responses. ")


def test_points_stand_where_the_table_says(made_up) -> None:
    result = made_up([0.9, 0.7, 0.5, 0.1])
    (axes,) = accuracy_figure(result).axes
    data = result.per_persona
    assert [x for x, _ in points(axes)] == data["accuracy"].tolist()
    assert bars(axes) == list(zip(data["low"], data["high"], strict=True))


def test_the_baseline_is_drawn_and_named(made_up) -> None:
    result = made_up([0.9, 0.1])
    figure = accuracy_figure(result)
    dashed = [line for line in figure.axes[0].get_lines() if line.is_dashed()]
    accuracy = result.per_persona.set_index("persona").loc["none", "accuracy"]
    assert [line.get_xdata()[0] for line in dashed] == [accuracy]
    assert "no system prompt" in {t.get_text() for t in texts(figure)}


def test_the_legend_has_the_groups_that_occur_and_there_are_four(made_up) -> None:
    figure = accuracy_figure(made_up([0.9, 0.5, 0.1]))
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["control", "expert"]
    assert list(GROUP_LOOKS) == ["control", "expert", "neutral", "harmful"]
    colours, markers = zip(*GROUP_LOOKS.values(), strict=True)
    assert len(set(colours)) == len(set(markers)) == 4


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize(("n", "personas"), [(2, 6), (3, 16), (6, 16), (2, 110)])
def test_labels_of_several_models_are_apart_and_inside(
    models, n: int, personas: int, width: float
) -> None:
    figure = accuracy_figure(models(n, personas), title=TITLE, width=width)
    assert_readable(figure, width)


def test_several_models_are_drawn_as_their_tables_say(models) -> None:
    results = models(3, 6)
    data = accuracy_data(results)
    means = data.groupby("persona", sort=False)["accuracy"].mean()
    assert means.is_monotonic_decreasing
    figure = accuracy_figure(results)
    (axes,) = figure.axes
    assert [x for x, _ in points(axes)] == data["accuracy"].tolist()
    assert bars(axes) == list(zip(data["low"], data["high"], strict=True))
    heights = [y for _, y in points(axes)]
    assert len(set(heights)) == len(heights)  # one line each within a row
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == list(results)
    for model in results:
        assert f"{model}: corrected PSS " in figure.caption


@pytest.mark.parametrize(
    ("chances", "unscored"),
    [([0.5], 0.0), ([0.5], 1.0), ([0.0] * 3, 0.0), ([1.0] * 3, 0.0), ([0.5] * 3, 1.0)],
    ids=["one", "one unscored", "all wrong", "all right", "all unscored"],
)
def test_edges(made_up, chances, unscored) -> None:
    result = made_up(chances, unscored=unscored)
    figure = accuracy_figure(result)
    assert_readable(figure)
    assert ("nothing scored" in words(figure)) == math.isnan(result.mean)


def test_ticks_are_shares(made_up) -> None:
    for chances in ([0.0] * 3, [1.0] * 3, [1.0, 0.0]):
        ticks = accuracy_figure(made_up(chances)).axes[0].get_xticks()
        assert min(ticks) >= 0
        assert max(ticks) <= 1
    assert max(ticks) == 1
