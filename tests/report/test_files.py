"""The files of a report hold the numbers of the table, and say how they were made."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from persona_bench.report.files import write_stability
from persona_bench.report.names import file_stem

NAMES = [
    "t_personas.csv",
    "t_stability.csv",
    "t_stability.json",
]


@pytest.fixture(scope="module")
def result(made_up):
    return made_up([0.9, 0.7, 0.5, 0.1], unscored=0.05)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    paths = write_stability(result, folder, model="org/m", task="t", provenance={"seed": 3})
    assert [path.name for path in paths] == NAMES
    assert all(path.stat().st_size > 100 for path in paths)
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    return folder


def test_the_csv_holds_the_numbers_of_the_table(result, folder) -> None:
    found = pd.read_csv(folder / "t_personas.csv")
    assert_frame_equal(found, result.per_persona, check_dtype=False, rtol=1e-12)


def test_each_metric_has_value_interval_and_definition(result, folder) -> None:
    table = pd.read_csv(folder / "t_stability.csv")
    assert list(table.columns) == ["metric", "value", "low", "high", "definition"]
    assert table["definition"].notna().all()
    rows = table.set_index("metric")
    assert rows.index.is_unique
    assert rows.index[0] == "pss_corrected"
    assert rows.loc["pss", "value"] == pytest.approx(result.pss)
    assert rows.loc["pss", ["low", "high"]].isna().all()
    for name in ("pss_corrected", "noise_floor", "mean", "agreement"):
        assert rows.loc[name, "value"] == pytest.approx(getattr(result, name))
        ends = tuple(rows.loc[name, ["low", "high"]])
        assert ends == pytest.approx(getattr(result, name).interval)
    assert rows.loc["pss_if_unscored_all_wrong", "value"] == pytest.approx(
        result.pss_if_unscored[0]
    )
    assert rows.loc["pss_bounds", "low"] == pytest.approx(result.pss_bounds.low)
    assert rows.loc["n_questions", "value"] == result.n_questions
    assert rows.loc["unscored", "value"] == result.unscored


def test_json_holds_the_result_and_where_it_came_from(result, folder) -> None:
    record = json.loads((folder / "t_stability.json").read_text(encoding="utf-8"))
    assert record["model"] == "org/m"
    assert record["task"] == "t"
    assert record["provenance"] == {"seed": 3}
    for name, value in result.to_dict().items():
        assert record[name] == json.loads(json.dumps(value))


def test_the_same_result_gives_the_same_bytes(result, folder, tmp_path) -> None:
    write_stability(result, tmp_path, model="org/m", task="t", provenance={"seed": 3})
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize(
    ("task", "stem"),
    [
        ("persona_math500", "persona_math500"),
        ("../../etc/x y", "_.._etc_x_y"),
        ("..", "task"),
        ("", "task"),
        ("a/b:c*?", "a_b_c_"),
    ],
)
def test_stems_stay_in_the_folder(task: str, stem: str) -> None:
    assert file_stem(task) == stem


def test_nothing_scored_is_written_as_null(made_up, tmp_path) -> None:
    result = made_up([0.5, 0.5], names=["none", "$x_1$ [red]"], unscored=1.0)
    write_stability(result, tmp_path, model="[red]$m$", task="t", provenance={"path": tmp_path})
    record = json.loads((tmp_path / "t_stability.json").read_text(encoding="utf-8"))
    assert record["pss"]["value"] is None
    assert record["per_persona"][0]["accuracy"] is None
    assert pd.read_csv(tmp_path / "t_personas.csv")["persona"].tolist() == ["$x_1$ [red]", "none"]
