"""How figures are saved, and that they can be told apart without colour."""

from __future__ import annotations

import math
import re
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from persona_bench.report.figures.accuracy import accuracy_data, accuracy_figure
from persona_bench.report.figures.failures import LOOKS, OTHERS
from persona_bench.report.figures.frontier import frontier_figure
from persona_bench.report.figures.heat_map import COLOURS
from persona_bench.report.figures.style import (
    MODEL_COLOURS,
    limits,
    model_colours,
    save_figure,
    set_in,
)

LINE = "runs a and b;\n persona-bench 0.1.0; seeds 0 to 3; persona-bench report é 数"


@pytest.fixture(scope="module")
def result(made_up):
    return made_up([0.9, 0.5, 0.1])


@pytest.fixture(scope="module")
def files(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "math.v2"
    data = accuracy_data(result)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return save_figure(accuracy_figure(result, title="t"), path, data=data, provenance=LINE)


def test_each_format_is_there_and_holds_its_fonts_but_no_date(files) -> None:
    names = [f"math.v2.{suffix}" for suffix in ("png", "pdf", "svg", "csv", "tex")]
    assert [path.name for path in files] == names
    png, pdf, svg = (path.read_bytes() for path in files[:3])
    assert png.startswith(b"\x89PNG")
    assert pdf.startswith(b"%PDF")
    assert min(map(len, (png, pdf, svg))) > 5000
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf  # TrueType, as publishers ask
    assert b"<text" not in svg  # outlines: the same in every viewer
    assert b"CreationDate" not in pdf
    assert b"<dc:date>" not in svg
    assert not re.search(rb"20\d\d-\d\d-\d\d", svg)


def test_the_csv_is_the_data_and_the_line_says_how_it_was_made(files, result) -> None:
    pd.testing.assert_frame_equal(
        pd.read_csv(files[3]), accuracy_data(result), check_dtype=False, rtol=1e-12
    )
    line = "runs a and b; persona-bench 0.1.0; seeds 0 to 3; persona-bench report é 数"
    tex = files[4].read_text(encoding="utf-8").splitlines()
    assert tex[0] == "% " + line
    assert tex[1].startswith("\\caption{t. Accuracy is correct / scored responses. ")
    assert tex[2] == "\\label{fig:math.v2}"
    assert Image.open(files[0]).info["Description"] == line
    assert line in files[2].read_text(encoding="utf-8")
    assert b"/Subject" in files[1].read_bytes()


def test_without_data_and_provenance_only_images_are_written(result, tmp_path) -> None:
    files = save_figure(Figure(), tmp_path / "a")
    assert [path.suffix for path in files] == [".png", ".pdf", ".svg"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_figure_is_as_wide_as_it_is_printed_and_its_text_is_8_points(result, tmp_path) -> None:
    for width in (2.75, 3.25, 5.5):
        png, pdf, *_ = save_figure(accuracy_figure(result, width=width), tmp_path / f"w{width}")
        assert Image.open(png).width == pytest.approx(300 * width, abs=1)
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", pdf.read_bytes())
        assert float(box[1]) == pytest.approx(72 * width)
    for wrong in (0, 1.5, 70):
        with pytest.raises(ValueError, match="a figure is 2 to 20 inches wide, not"):
            accuracy_figure(result, width=wrong)


def test_serif_is_set_in_serif(result, tmp_path) -> None:
    with set_in("serif"):
        _, pdf, *_ = save_figure(accuracy_figure(result), tmp_path / "serif")
    assert b"STIX" in pdf.read_bytes()
    assert b"DejaVu" not in pdf.read_bytes()
    with pytest.raises(ValueError, match="no font 'comic': use sans or serif"), set_in("comic"):
        pass


def test_the_same_figure_gives_the_same_bytes_whatever_the_reader_has_set(
    files, result, tmp_path
) -> None:
    data = accuracy_data(result)
    settings = {"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 50, "svg.hashsalt": "x"}
    with matplotlib.rc_context(settings):
        figure = accuracy_figure(result, title="t")
        again = save_figure(figure, tmp_path / "math.v2", data=data, provenance=LINE)
        assert matplotlib.rcParams["font.size"] == 30
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.suffix


def test_regions_and_curves_too_give_the_same_bytes(tmp_path) -> None:
    row = {"method": "m", "seed": 0}
    for name in ("pss_corrected", "persona_information"):
        row |= {name: 0.5, f"{name}_low": 0.4, f"{name}_high": 0.7}
    for name in "ab":
        (tmp_path / name).mkdir()
    one, other = (
        save_figure(frontier_figure(pd.DataFrame([row])), tmp_path / name / "f") for name in "ab"
    )
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]


def lightness(colour) -> float:
    red, green, blue, *_ = matplotlib.colors.to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_models_have_a_colour_each() -> None:
    assert len(set(MODEL_COLOURS)) == 8
    names = [f"m{i}" for i in range(10)]
    assert list(model_colours([*names, "m3"])) == names


def test_reasons_are_told_apart_by_hatch_or_lightness() -> None:
    looks = list(dict.fromkeys([*LOOKS.values(), *OTHERS]))  # correct and answered are one
    for i, (colour, hatch) in enumerate(looks):
        for other, its in looks[:i]:
            same = set(hatch) == set(its)
            assert not same or abs(lightness(colour) - lightness(other)) > 0.3


def test_the_colours_of_cells_get_steadily_darker_and_stay_off_white() -> None:
    steps = [lightness(COLOURS(x)) for x in np.linspace(0, 1, 64)]
    assert all(np.diff(steps) < 0)
    assert steps[0] < 0.95
    assert steps[0] - steps[-1] > 0.4


def test_limits_leave_room_and_know_nothing_of_nothing() -> None:
    assert limits([math.nan]) == (0, 1)
    assert limits([0.4, math.nan, 0.6]) == pytest.approx((0.38, 0.62))
    assert limits([0.0, 1.0]) == (-0.02, 1.02)
