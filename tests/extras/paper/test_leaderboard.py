"""Leaderboards: the order of the models, and ties."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_bench.extras.paper.leaderboard import TIED, leaderboards
from persona_bench.extras.paper.table import PaperTable
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
