"""Variance parts and contrasts as tables and files."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from persona_bench import contrasts, load_persona_set, variance_parts
from persona_bench.extras.parts.section import (
    PartsSection,
    parts_record,
    print_parts,
    write_parts,
)
from tests.scoring.simulated import outcomes_of


def results(samples: int, **columns: list[object]) -> tuple:
    core = load_persona_set("core")
    correct = np.random.default_rng(0).binomial(samples, 0.5, size=(30, len(core)))
    table = outcomes_of(
        correct, np.full(correct.shape, samples), [p.id for p in core],
        {"kind": [p.kind for p in core], **columns}, {"level": ["1", "2", "3"] * 10},
    )  # fmt: skip
    return variance_parts(table, resamples=50), contrasts(table, resamples=50)


def printed(found: tuple, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_parts(*found, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_only_what_there_is_to_say_is_printed(width: int) -> None:
    text = printed(results(2), width)
    assert max(map(len, text.splitlines())) <= width
    assert "interaction " in text
    assert "sampling " in text
    assert "interaction_or_noise" not in text
    assert "No education_tau: no education persona says its place in the order." in text
    assert "expertise_advantage" in text
    single = printed(results(1), width)
    assert "interaction_or_noise" in single
    assert "\n sampling" not in single


def test_with_levels_of_schooling_there_is_a_tau() -> None:
    levels = [p.level for p in load_persona_set("core")]
    text = printed(results(1, persona_level=levels))
    assert "education_tau" in text
    assert "No education_tau" not in text


def test_files_hold_the_tables(tmp_path) -> None:
    parts, found = results(2)
    paths = write_parts(parts, found, tmp_path, task="a/b")
    assert [path.name for path in paths] == [
        "a_b_variance.csv", "a_b_groups.csv", "a_b_contrasts.csv", "a_b_persona_contrasts.csv",
    ]  # fmt: skip
    variance, groups, table, personas = (pd.read_csv(path) for path in paths)
    assert variance["variance"].to_numpy() == pytest.approx(parts.table["variance"].to_numpy())
    assert len(groups) == len(parts.groups) == 10 + 3
    assert table["contrast"].tolist() == list(found.table.index)
    assert personas["p_holm"].to_numpy() == pytest.approx(found.per_persona["p_holm"].to_numpy())
    record = parts_record(parts, found)
    assert json.loads(json.dumps(record, allow_nan=False))["contrasts"]["control"] == "none"


def test_a_table_without_rows_leaves_no_old_file(tmp_path) -> None:
    parts, found = results(2)
    write_parts(parts, found, tmp_path, task="t")
    table = outcomes_of(np.ones((2, 2), int), np.ones((2, 2), int))
    paths = write_parts(
        variance_parts(table, resamples=5), contrasts(table, resamples=5), tmp_path, task="t"
    )
    assert [path.name for path in paths] == ["t_variance.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["t_variance.csv"]


@pytest.mark.parametrize("right", [0, 1])
def test_a_table_of_undefined_shares_is_not_printed(right: int) -> None:
    table = outcomes_of(np.full((10, 3), right), np.ones((10, 3), int))
    found = variance_parts(table, resamples=50), contrasts(table, control="p000", resamples=50)
    assert "Where the variance" not in printed(found)


@pytest.mark.parametrize("alike", [True, False])
def test_wordings_are_told_apart_where_responses_differ(alike: bool) -> None:
    correct = np.ones((12, 4), int) if alike else np.random.default_rng(1).integers(0, 2, (12, 4))
    table = outcomes_of(correct, np.ones((12, 4), int))
    table["wording"] = table["persona"].map({"p000": 1, "p001": 2, "p002": 1, "p003": 2})
    table["persona"] = table["persona"].map({"p000": "a", "p001": "a", "p002": "b", "p003": "b"})
    table["sample"] = table.groupby(["question", "persona"]).cumcount()
    found = PartsSection(
        variance_parts(table, resamples=50), contrasts(table, control="a", resamples=50)
    )
    told = "".join(found.lines())
    assert "nan" not in told
    assert ("wordings of a persona" in told) is not alike
