"""The robustness-fidelity figure shows what the table says."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy.stats import norm

from persona_bench.report.figures.frontier import frontier_data, frontier_figure
from persona_bench.report.figures.style import MODEL_COLOURS
from tests.report.figures.readable import TITLE, assert_readable, words

METHODS = ("base", "sft", "rlvr", "rlvr", "permix")


def table() -> pd.DataFrame:
    rows = []
    for i, method in enumerate(METHODS):
        row: dict[str, object] = {"method": method, "seed": i}
        for name, value in (("pss_corrected", 0.2 + 0.15 * i), ("persona_information", 0.05 * i)):
            row |= {name: value, f"{name}_low": value - 0.04, f"{name}_high": value + 0.03}
        rows.append(row)
    return pd.DataFrame(rows)


def lines(figure) -> list[tuple[list[float], list[float], str]]:
    (axes,) = figure.axes
    return [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())), line.get_color())
        for line in axes.get_lines()
    ]


def test_points_and_intervals_are_the_table_s() -> None:
    data = table()
    drawn = lines(frontier_figure(data, title="five checkpoints"))
    points = {(x[0], y[0]): to_hex(colour) for x, y, colour in drawn if len(x) == 1}
    bars = {(tuple(x), tuple(y)) for x, y, _ in drawn if len(x) == 2}
    colours = dict(zip(("base", "sft", "rlvr", "permix"), MODEL_COLOURS, strict=False))
    for row in data.to_dict("records"):
        x, y = row["pss_corrected"], row["persona_information"]
        if row["method"] != "rlvr":
            assert points[x, y] == colours[row["method"]]
        assert ((x - 0.04, x + 0.03), (y, y)) in bars
        assert ((x, x), (y - 0.04, y + 0.03)) in bars
    seeds = data[data["method"] == "rlvr"]
    mean = seeds["pss_corrected"].mean(), seeds["persona_information"].mean()
    assert points[mean] == colours["rlvr"]  # a large point in the middle of the small ones
    bars -= {(tuple(x), tuple(y)) for x, y, _ in drawn if tuple(x) == tuple(seeds["pss_corrected"])}
    assert len(bars) == 10


def test_each_method_is_named_once_at_its_point() -> None:
    figure = frontier_figure(table())
    assert not figure.legends
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names == ["base", "sft", "rlvr", "permix"]
    assert "Small points: seeds; large points: their mean" in figure.caption


def test_what_is_not_known_is_not_drawn_and_what_lacks_is_named() -> None:
    data = table()
    data.loc[1, "pss_corrected"] = math.nan
    assert sum(len(x) == 1 for x, _, _ in lines(frontier_figure(data))) == 3
    with pytest.raises(ValueError, match="lacks the column 'identifiability'"):
        frontier_figure(data, y="identifiability")


def test_joint_regions_are_wider_than_the_intervals_by_the_ratio_of_quantiles() -> None:
    data = frontier_data(table(), "pss_corrected", "persona_information")
    for name in ("pss_corrected", "persona_information"):
        for end in ("low", "high"):
            halves = data[f"{name}_{end}"] - data[name]
            joint = data[f"{name}_joint_{end}"] - data[name]
            assert (joint / halves).tolist() == pytest.approx([2.447746831 / 1.959963985] * 5)
    assert not frontier_figure(table()).axes[0].patches  # regions are on request
    drawn = frontier_figure(table(), regions=True).axes[0].patches
    for region, row in zip(drawn, data.to_dict("records"), strict=True):
        for i, name in enumerate(("pss_corrected", "persona_information")):
            ends = row[f"{name}_joint_low"], row[f"{name}_joint_high"]
            outline = region.get_xy()[:, i]
            assert (outline.min(), outline.max()) == pytest.approx(ends)


def test_no_region_is_beyond_a_pss_of_one() -> None:
    data = table().assign(pss_corrected=0.98, pss_corrected_high=1.0)
    for region in frontier_figure(data, regions=True).axes[0].patches:
        assert region.get_xy()[:, 0].max() <= 1


def test_a_joint_region_holds_two_independent_numbers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    z = norm.ppf(0.975)
    row = {"method": "m", "seed": 0, "a": 0.0, "a_low": -z, "a_high": z}
    row |= {"b": 0.0, "b_low": -2 * z, "b_high": 2 * z}
    (found,) = frontier_data(pd.DataFrame([row]), "a", "b").to_dict("records")
    a, b = rng.normal(size=(2, 200_000)) * [[1], [2]]
    inside = (a / found["a_joint_high"]) ** 2 + (b / found["b_joint_high"]) ** 2 <= 1
    assert inside.mean() == pytest.approx(0.95, abs=0.003)


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize("n", [0, 1, 9])
def test_labels_are_apart_and_inside(n: int, width: float) -> None:
    n = min(n, 5) if width < 4 else n
    rows = pd.concat([table()] * 2, ignore_index=True).head(n)
    rows["method"] = [f"$method_{i}$-with-a-name-as-long-as-some-are" for i in range(n)]
    figure = frontier_figure(rows, title=TITLE, width=width)
    assert_readable(figure, width)
    assert ("no checkpoint has both numbers" in words(figure)) == (n == 0)


def test_a_checkpoint_without_a_correct_answer_is_named_as_left_out() -> None:
    data = table()
    numbers = ["pss_corrected", "pss_corrected_low", "pss_corrected_high"]
    data.loc[data["method"] == "sft", numbers] = math.nan
    figure = frontier_figure(data)
    assert_readable(figure)
    assert "Not shown, as one of the two numbers is undefined: sft" in words(figure)
    assert "Not shown" not in words(frontier_figure(table()))
    none = words(frontier_figure(data.assign(pss_corrected=math.nan)))
    assert "no checkpoint has both numbers" in none
    assert "nothing scored" not in none


def test_a_number_without_an_interval_is_a_point_alone() -> None:
    data = table().head(1).assign(pss_corrected_low=math.nan, pss_corrected_high=math.nan)
    figure = frontier_figure(data)
    assert_readable(figure)
    assert not figure.axes[0].patches
