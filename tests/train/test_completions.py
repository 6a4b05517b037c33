"""Completions that are logged while training, and the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench.commands.train import write_page
from persona_bench.grading import Verdict
from persona_bench.report.page.encode import unblock
from persona_bench.train import permix, sources
from persona_bench.train.logs import Logs
from tests.train.conftest import Make


def by_length(texts: list[str], *_: Any, integer: bool, **__: Any) -> list[Verdict]:
    return [
        Verdict("correct", "") if len(text) % 2 else Verdict("wrong", "wrong_answer")
        for text in texts
    ]


def test_completions_are_logged_and_shown(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "grade_all", by_length)
    config = make(
        "permix",
        personas={"mix_ratio": 1.0},
        evaluation={"every": 2, "n_questions": 2, "information_personas": 0},
        trainer={"log_completions": True, "num_completions_to_print": 1},
    )
    folder = permix.train(config, print)
    rows = [json.loads(line) for line in (folder / "completions.jsonl").open()]
    training = [row for row in rows if row["phase"] == "training"]
    assert [row["step"] for row in training] == [1] * 4 + [2] * 4
    assert len(rows) - len(training) == 2 * 2 * 6  # two evaluations, 2 questions, 6 personas
    for row in rows:
        assert row["verdict"] == ("correct" if len(row["response"]) % 2 else "wrong")
        assert row["reward"] == len(row["response"]) % 2
        assert row["problem"].startswith("How many are")
    (table,) = [
        pd.read_parquet(path) for path in sorted((folder / "completions").glob("*00001.parquet"))
    ]
    assert list(table["persona"]) == [row["persona"] for row in training[:4]]
    assert list(table["verdict"]) == [row["verdict"] for row in training[:4]]
    write_page(folder)  # as the command does at the end
    page = (folder / "report" / "index.html").read_text()
    block = page[page.index('<script type="application/octet-stream" id="data-index"') :]
    index = unblock(block[: block.index("</script>") + len("</script>")])
    assert index["rows"] == len(rows)
    values = {name: set(column["values"]) for name, column in index["columns"].items()}
    assert {"training", "held out, while training"} <= values["task"]
    assert {"step 0", "step 1", "step 2"} <= values["level"]
    assert {"0.00", "1.00"} & values["reward"]


def test_a_run_without_it_logs_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "grade_all", by_length)
    folder = permix.train(make("permix", trainer={"max_steps": 1}), print)
    assert not (folder / "completions.jsonl").exists()
    assert not (folder / "report").exists()


@pytest.mark.parametrize(("step", "kept"), [(0, []), (1, [0, 1]), (2, [0, 1, 2])])
def test_a_resumed_run_drops_what_came_after_its_step(
    tmp_path: Path, step: int, kept: list[int]
) -> None:
    lines = [json.dumps({"step": number}) + "\n" for number in (0, 1, 2)]
    (tmp_path / "completions.jsonl").write_text("".join(lines) + '{"step": 3, "resp')

    class State:
        is_world_process_zero = True
        global_step = step

    Logs(tmp_path).on_train_begin(None, State, None)  # type: ignore[arg-type]
    rows = [json.loads(line) for line in (tmp_path / "completions.jsonl").open()]
    assert [row["step"] for row in rows] == kept
