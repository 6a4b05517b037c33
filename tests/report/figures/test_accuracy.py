"""The figures, measured with the renderer: nothing overlaps, nothing is cut off."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from persona_bench.personas import KINDS
from persona_bench.report.figures.accuracy import accuracy_data, accuracy_figure
from persona_bench.report.figures.lottery import lottery_data, lottery_figure
from persona_bench.report.figures.style import KIND_COLOURS, KIND_MARKERS, save_figure

LONG = "a-persona-whose-name-somebody-made-much-longer-than-any-table-would-like-it-to-be"


def texts(figure) -> list[Text]:
    """All text that is drawn: labels of ticks beyond the limits exist, but are not."""
    beyond = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    beyond |= {tick.label1, tick.label2}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in found if t not in beyond]


def assert_readable(figure) -> None:
    """Drawn without a warning, all text and legends on the page, no two texts overlapping."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas.draw()
    renderer, page = canvas.get_renderer(), figure.bbox
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts(figure)]
    for name, box in [*boxes, *(("legend", x.get_window_extent(renderer)) for x in figure.legends)]:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, f"{name!r} is cut off"
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, f"{name!r} is cut off"
    for (a, one), (b, other) in itertools.combinations(boxes, 2):
        assert not one.overlaps(other), f"{a!r} overlaps {b!r}"


@pytest.mark.parametrize("n", [1, 6, 16, 110])
@pytest.mark.parametrize("draw", [accuracy_figure, lottery_figure])
def test_labels_are_apart_and_inside(made_up, n: int, draw) -> None:
    result = made_up(np.linspace(0.9, 0.2, n).tolist(), unscored=0.02)
    figure = draw(result, title="organisation/some-model-1.5B-Instruct, persona_math500")
    assert figure.get_figwidth() == 7
    assert_readable(figure)


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
    assert {*names[:4], "a\\x1b\\nb", "$m_1$ 100%"} <= shown


def test_points_stand_where_the_table_says(made_up) -> None:
    result = made_up([0.9, 0.7, 0.5, 0.1])
    lines = accuracy_figure(result).axes[0].get_lines()
    data = result.per_persona
    points = [line.get_xdata()[0] for line in lines if line.get_marker() != "None"]
    assert points == data["accuracy"].tolist()
    bars = [tuple(line.get_xdata()) for line in lines if len(set(line.get_ydata())) == 1]
    assert [bar for bar in bars if len(bar) == 2] == list(
        zip(data["low"], data["high"], strict=True)
    )


def test_the_baseline_is_drawn_and_named(made_up) -> None:
    result = made_up([0.9, 0.1])
    figure = accuracy_figure(result)
    dashed = [line for line in figure.axes[0].get_lines() if line.is_dashed()]
    accuracy = result.per_persona.set_index("persona").loc["none", "accuracy"]
    assert [line.get_xdata()[0] for line in dashed] == [accuracy]
    assert f"no persona (none), {accuracy:.3f}" in {t.get_text() for t in texts(figure)}


def test_the_legend_has_the_kinds_that_occur(made_up) -> None:
    figure = accuracy_figure(made_up([0.9, 0.5, 0.1]))
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["control", "expert", "adjacent expert"]


def test_ten_kinds_have_ten_looks() -> None:
    assert list(KIND_COLOURS) == list(KIND_MARKERS) == list(KINDS)
    assert len(set(KIND_COLOURS.values())) == len(set(KIND_MARKERS.values())) == len(KINDS)


def test_lottery_starts_at_the_mean_and_ends_at_the_extremes(made_up) -> None:
    result = made_up([0.9, 0.7, 0.5, 0.1])
    data = lottery_data(result)
    assert data["k"].tolist() == [1, 2, 3, 4]
    first, last = data.iloc[0], data.iloc[-1]
    assert first["expected_best"] == pytest.approx(result.mean)
    assert first["expected_worst"] == pytest.approx(result.mean)
    assert last["expected_best"] == pytest.approx(result.best)
    assert last["expected_worst"] == pytest.approx(result.worst)
    curves = [line.get_ydata() for line in lottery_figure(result).axes[0].get_lines()]
    for name in ("expected_best", "expected_worst"):
        assert any(np.array_equal(curve, data[name]) for curve in curves)


@pytest.mark.parametrize(
    ("chances", "unscored"),
    [([0.5], 0.0), ([0.5], 1.0), ([0.0] * 3, 0.0), ([1.0] * 3, 0.0), ([0.5] * 3, 1.0)],
    ids=["one", "one unscored", "all wrong", "all right", "all unscored"],
)
def test_edges(made_up, chances, unscored) -> None:
    result = made_up(chances, unscored=unscored)
    for figure in (accuracy_figure(result), lottery_figure(result)):
        assert_readable(figure)
        shown = " ".join(t.get_text() for t in texts(figure))
        assert "nan" not in shown.lower()
        assert ("nothing scored" in shown) == math.isnan(result.mean)


def test_files_are_there_without_a_date(made_up, tmp_path) -> None:
    result = made_up([0.9, 0.5, 0.1])
    paths = save_figure(accuracy_figure(result, title="t"), tmp_path / "math.v2")
    assert [path.name for path in paths] == ["math.v2.png", "math.v2.pdf"]
    first = [path.read_bytes() for path in paths]
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")
    assert min(map(len, first)) > 5000
    assert b"CreationDate" not in first[1]
    assert b"/Type3" not in first[1]  # TrueType, as publishers ask


def test_the_readers_own_settings_do_not_reach_the_figure(made_up, tmp_path) -> None:
    import matplotlib

    result = made_up([0.9, 0.1])
    plain = save_figure(accuracy_figure(result), tmp_path / "plain")[0].read_bytes()
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 50}):
        styled = save_figure(accuracy_figure(result), tmp_path / "styled")[0].read_bytes()
        assert matplotlib.rcParams["font.size"] == 30
    assert styled == plain


def test_ticks_are_shares(made_up) -> None:
    for chances in ([0.0] * 3, [1.0] * 3, [1.0, 0.0]):
        ticks = accuracy_figure(made_up(chances)).axes[0].get_xticks()
        assert min(ticks) >= 0
        assert max(ticks) <= 1
    assert max(ticks) == 1
