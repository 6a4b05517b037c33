"""The robustness-fidelity figure shows what the table says."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from persona_bench.report.figures.frontier import LOOKS, frontier_figure
from persona_bench.report.figures.style import save_figure

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
    points = [(x[0], y[0], colour) for x, y, colour in drawn if len(x) == 1]
    bars = {(tuple(x), tuple(y)) for x, y, _ in drawn if len(x) == 2}
    colours = dict(zip(("base", "sft", "rlvr", "permix"), (c for c, _ in LOOKS), strict=False))
    for row, point in zip(data.to_dict("records"), points, strict=True):
        x, y = row["pss_corrected"], row["persona_information"]
        assert point[:2] == (x, y)
        assert to_hex(point[2]) == colours[row["method"]]
        assert ((x - 0.04, x + 0.03), (y, y)) in bars
        assert ((x, x), (y - 0.04, y + 0.03)) in bars
    assert len(bars) == 2 * len(points) == 10


def test_each_method_stands_once_in_the_legend_with_a_marker_of_its_own() -> None:
    (legend,) = frontier_figure(table()).legends
    assert [text.get_text() for text in legend.get_texts()] == ["base", "sft", "rlvr", "permix"]
    assert len({handle.get_marker() for handle in legend.legend_handles}) == 4
    assert len({marker for _, marker in LOOKS}) == len({colour for colour, _ in LOOKS}) == 8


def test_what_is_not_known_is_not_drawn_and_what_lacks_is_named() -> None:
    data = table()
    data.loc[1, "pss_corrected"] = math.nan
    assert sum(len(x) == 1 for x, _, _ in lines(frontier_figure(data))) == 4
    with pytest.raises(ValueError, match="lacks the column 'identifiability'"):
        frontier_figure(data, y="identifiability")


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        save_figure(frontier_figure(table()), tmp_path / name)
    for suffix in (".png", ".pdf"):
        one, other = (tmp_path / f"{name}{suffix}" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
