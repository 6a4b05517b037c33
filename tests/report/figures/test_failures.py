"""Reasons for failure: bars add up to all responses, and are the counts of the table."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from matplotlib.container import BarContainer

from persona_bench.report.figures.failures import failures_data, failures_figure, name_of
from tests.report.figures.readable import TITLE, assert_readable, words


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize(("n", "personas"), [(1, 1), (2, 110), (2, 6), (3, 16), (6, 6)])
def test_labels_are_apart_and_inside(models, n: int, personas: int, width: float) -> None:
    figure = failures_figure(models(n, personas), title=TITLE, width=width)
    assert_readable(figure, width)


def test_shares_are_the_counts_of_the_table(models) -> None:
    results = models(2, 16, 0.1)
    data = failures_data(results)
    for model, result in results.items():
        own = data[data["model"] == model]
        table = result.per_persona.set_index("persona")
        for row in own.to_dict("records"):
            assert row["count"] == table.loc[row["persona"], row["outcome"]]
            n = table.loc[row["persona"], ["n", "unscored"]].sum()
            assert (row["responses"], row["share"]) == (n, pytest.approx(row["count"] / n))
        assert own.groupby("persona")["share"].sum().tolist() == pytest.approx([1.0] * 16)


def test_one_model_needs_no_name(models) -> None:
    (result,) = models(1).values()
    assert failures_data(result).equals(failures_data({"": result}))


def test_what_is_drawn_is_the_data_end_to_end(models) -> None:
    (result,) = models(1, 6, 0.1).values()
    data = failures_data(result)
    (axes,) = failures_figure(result).axes
    stacked = [c for c in axes.containers if isinstance(c, BarContainer)]
    for container, (_, own) in zip(stacked, data.groupby("outcome", sort=False), strict=True):
        assert [bar.get_width() for bar in container] == pytest.approx(own["share"].tolist())
    for before, after in itertools.pairwise(stacked):
        for one, other in zip(before, after, strict=True):
            assert other.get_x() == pytest.approx(one.get_x() + one.get_width())
    for bar in stacked[-1]:
        assert bar.get_x() + bar.get_width() == pytest.approx(1.0)


def test_each_outcome_stands_in_the_legend_with_a_look_of_its_own(models) -> None:
    (result,) = models(1, 6, 0.1).values()
    (legend,) = failures_figure(result).legends
    names = [t.get_text() for t in legend.get_texts()]
    assert names == ["correct", "wrong answer", "no answer", "unscored, api error"]
    looks = {(patch.get_facecolor(), patch.get_hatch()) for patch in legend.legend_handles}
    assert len(looks) == len(names)


def test_failures_without_a_reason_are_counted_as_such(models) -> None:
    (result,) = models(1, 6).values()
    table = result.per_persona.drop(columns="wrong:no_answer")
    data = failures_data(dataclasses.replace(result, per_persona=table))
    counts = data.groupby("outcome")["count"].sum()
    assert counts["wrong:"] == result.per_persona["wrong:no_answer"].sum()
    assert data.groupby("persona")["share"].sum().tolist() == pytest.approx([1.0] * 6)
    assert name_of("wrong:") == "wrong, no reason given"
    assert name_of("unscored:") == "unscored, no reason given"


@pytest.mark.parametrize(
    ("chances", "unscored"), [([1.0], 0.0), ([0.0, 0.0], 0.0), ([0.5] * 3, 1.0)]
)
def test_edges(made_up, chances, unscored) -> None:
    assert_readable(failures_figure(made_up(chances, unscored=unscored)))


def test_no_models_is_said() -> None:
    assert failures_data({}).empty
    assert "no responses" in words(failures_figure({}))
