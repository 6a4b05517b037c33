"""Leaderboards: the order of the models, and ties."""

from __future__ import annotations

import io
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from persona_bench.extras.paper.leaderboard import TIED, leaderboards
from persona_bench.extras.paper.table import Column, Number, PaperTable
from persona_bench.extras.paper.terminal import print_table
from persona_bench.report.runs import Settings
from persona_bench.results.runs import Run, TaskResults
from persona_bench.results.samples import Samples


def outcomes(correct: dict[str, int | None], questions: int = 20) -> pd.DataFrame:
    """The first `correct[persona]` questions are right; None: nothing is scored."""
    rows = [
        {"persona": persona, "question": f"q{i:02d}", "prompt_hash": "p", "grader": "g",
         "correct": np.nan if n is None else float(i < n)}
        for persona, n in correct.items()
        for i in range(questions)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def board(models: dict[str, dict[str, int | None]], sort_by: str = "worst") -> PaperTable:
    samples = Samples(Path(), "t", "")
    tables = {name: outcomes(correct) for name, correct in models.items()}
    runs = [
        Run(name, name, Path(), {"t": TaskResults(samples, table, table)})
        for name, table in tables.items()
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (table,) = leaderboards(runs, Settings(resamples=50), sort_by)
    return table


MODELS: dict[str, dict[str, int | None]] = {
    "low": {"x": 5, "y": 2},
    "first": {"x": 12, "y": 8},
    "unscored": {"x": None, "y": None},
    "second": {"x": 8, "y": 16},
    "high": {"x": 20, "y": 12},
}


def test_models_of_equal_value_share_a_rank_that_is_called_a_tie() -> None:
    table = board(MODELS)
    frame = table.frame()
    assert frame["model"].tolist() == ["high", "first", "second", "low", "unscored"]
    assert frame["rank"].tolist()[:4] == [1, 2, 2, 4]
    assert pd.isna(frame["rank"].iloc[4])
    assert frame.to_dict("records")[1]["worst"] == frame.to_dict("records")[2]["worst"] == 0.4
    shown = [line.split("|")[1].strip() for line in table.markdown().splitlines() if "|" in line]
    assert shown[2:] == ["1", "2 (tie)", "2 (tie)", "4", "n/a"]
    assert TIED in table.notes
    told = json.loads(frame.to_json(orient="records"))
    assert [row["rank"] for row in told] == [1, 2, 2, 4, None]


@pytest.mark.parametrize("sort_by", ["mean", "best", "pss"])
def test_without_a_tie_none_is_named(sort_by: str) -> None:
    table = board({name: MODELS[name] for name in ("low", "first", "high")}, sort_by)
    assert table.frame()["rank"].tolist() == [1, 2, 3]
    assert TIED not in table.notes
    assert "tie" not in table.markdown()


def printed(table: PaperTable, width: int = 80) -> str:
    out = io.StringIO()
    print_table(table, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_leaderboard_fits_the_terminal_without_breaking_a_word(width: int) -> None:
    long = "an-organisation/a-model-with-a-very-long-name-indeed-135M-Instruct"
    models = {**MODELS, long: {"x": 12, "y": 8}}
    table = board(models)
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width
    words = set(text.split())
    for column in table.columns:
        assert set(column.header.split()) <= words
    for model in MODELS:
        assert model in words
    (cut,) = {word for word in words if "…" in word}
    assert cut.startswith("an-org")
    assert cut.endswith("Instruct")
    numbers = [cell for row in table.rows for cell in row if isinstance(cell, Number)]
    whole = re.findall(r"\[[01]\.\d\d, [01]\.\d\d\]", text)
    assert len(whole) == sum(bool(cell.interval) for cell in numbers)  # none is cut off


def test_columns_that_do_not_fit_follow_below_with_the_models_again() -> None:
    columns = [Column("model", align="l"), *(Column(f"measure {i}") for i in range(9))]
    row = ["base", *(Number(0.1 * i, 0.0, 1.0) for i in range(9))]
    text = printed(PaperTable("t", "A table", columns, [row]))
    assert text.count("A table") == 1
    assert text.count("base") == 2
    assert max(map(len, text.splitlines())) <= 80
