"""Training on several sources: shares by weight, exact counts, the hub's commit kept."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks import livecodebench, math500
from persona_bench.benchmarks.base import Question
from persona_bench.hub import HubRows
from persona_bench.train import rlvr, sources
from persona_bench.train.config import TrainConfig, TrainError, read_config
from persona_bench.train.data import ordered, prepare
from tests.support.sandbox import needs_sandbox
from tests.train.conftest import Make

COMMIT = "c" * 40


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sums(path: Path, n: int, start: int = 0) -> str:
    rows = [{"question": f"What is {start} + {k}?", "answer": str(start + k)} for k in range(n)]
    return jsonl(path, rows)


@pytest.fixture
def two(tmp_path: Path) -> list[dict[str, Any]]:
    """A source of four questions and one of forty."""
    return [
        {"source": sums(tmp_path / "few.jsonl", 4)},
        {"source": sums(tmp_path / "many.jsonl", 40, start=1000)},
    ]


def mixture(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"sources": list(parts), "evaluation": [], **more}


def test_shares_are_by_weight_whatever_the_sizes(make: Make, two: list[dict[str, Any]]) -> None:
    two[0]["weight"], two[1]["weight"] = 2, 1
    data = prepare(make("rlvr", data=mixture(*two)))
    rows = data.schedule(60, 5)
    names = [row.question.extra["source"] for row in rows]
    for n in range(1, 61):
        assert abs(names[:n].count("0") - n * 2 / 3) <= 1
    counted = data.counted(rows)
    assert [(each["questions"], each["weight"], each["prompts"]) for each in counted] == [
        (4, 2.0, 40),
        (40, 1.0, 20),
    ]
    few = [(row.question.id, row.epoch) for row in rows if row.question.extra["source"] == "0"]
    assert len(set(few)) == 40  # every question ten times, in epochs of the source's own
    assert set(Counter(name for name, _ in few).values()) == {10}
    assert [epoch for _, epoch in few] == sorted(epoch for _, epoch in few)
    orders = {tuple(name for name, _ in few[i : i + 4]) for i in range(0, 40, 4)}
    assert len(orders) > 1
    assert data.schedule(60, 5) == rows
    assert data.schedule(30, 5) == rows[:30]
    assert data.schedule(60, 6) != rows


def test_without_weights_every_question_comes_once_an_epoch(
    make: Make, two: list[dict[str, Any]]
) -> None:
    data = prepare(make("rlvr", data=mixture(*two)))
    rows = data.schedule(88, 0)
    assert set(Counter(row.question.id for row in rows[:44]).values()) == {1}
    assert [each["prompts"] for each in data.counted(rows)] == [8, 80]
    assert "weight" not in data.counted(rows)[0]


def test_groups_that_are_drawn_again_have_the_same_shares() -> None:
    questions = [
        Question(f"{name}{n}", "?", "1", extra={"source": name}) for name in "ab" for n in range(9)
    ]
    drawn = islice(ordered(questions, "spare/0", {"a": 3, "b": 1}), 100)
    assert Counter(question.extra["source"] for _, question in drawn) == {"a": 75, "b": 25}


@needs_sandbox
def test_each_source_is_put_and_graded_as_by_itself(make: Make, tmp_path: Path) -> None:
    maths = {"question": "Half?", "answer": "\\frac{1}{2}"}
    program = {"question": "Double it.", "tests": [{"input": "4\n", "output": "8\n"}]}
    path = jsonl(tmp_path / "both.jsonl", [maths, program])
    sums_too = {"source": "arithmetic", "n_questions": 1, "levels": ["1"]}
    data = prepare(make("rlvr", data=mixture({"source": path}, sums_too)))
    own, coding, plus = data.questions
    assert data.benchmark.prompt(own.problem) == math500.prompt("Half?")
    assert data.benchmark.prompt(coding.problem) == livecodebench.prompt("Double it.")
    assert plus.problem.startswith(sources.arithmetic.prompt("What")[:4])
    responses = ["```python\nprint(2 * int(input()))\n```", "\\boxed{0.5}", "0.5", "\\boxed{3}"]
    verdicts = data.benchmark.grade(
        responses, [coding.answer, own.answer, coding.answer, own.answer], truncated=[False] * 4
    )
    assert [verdict.verdict for verdict in verdicts] == ["correct", "correct", "wrong", "wrong"]


def test_a_worked_solution_is_an_answer(make: Make, tmp_path: Path) -> None:
    rows = [
        {"problem": "A?", "solution": "Since 1 + 1 is 2, $x = \\boxed{2}$."},
        {"problem": "B?", "solution": "She has 2*600=<<2*600=1200>>1,200.\n#### 1,200"},
        {"problem": "C?", "solution": "17"},
    ]
    path = jsonl(tmp_path / "worked.jsonl", rows)
    columns = {"question": "problem", "answer": "solution"}
    data = prepare(make("sft", data={"source": path, "columns": columns}))
    assert [question.answer for question in data.questions] == ["2", "1200", "17"]
    assert [question.extra["solution"] for question in data.questions] == [
        rows[0]["solution"],
        "She has 2*600=1,200.\nThe answer is $\\boxed{1200}$.",
        "The answer is $\\boxed{17}$.",
    ]


@pytest.mark.usefixtures("graded_by_length")
def test_a_run_records_its_sources_and_keeps_the_hub_s_commit(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def hub_rows(name: str, **given: Any) -> HubRows:
        asked.append(given["revision"])
        assert (name, given["split"], given["columns"]) == ("hub:org/sums", "test", None)
        rows = [{"question": f"What is 5 + {n}?", "answer": str(5 + n)} for n in range(6)]
        return HubRows(rows, COMMIT)

    monkeypatch.setattr(sources, "hub_rows", hub_rows)
    theirs = {"source": "hub:org/sums", "split": "test", "weight": 3}
    ours = {"source": sums(tmp_path / "own.jsonl", 6, start=100), "weight": 1}
    trainer = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    config = make("rlvr", data=mixture(theirs, ours), trainer=trainer)
    folder = rlvr.train(config, print)
    expected = [
        {"source": "hub:org/sums", "commit": COMMIT, "weight": 3.0, "questions": 6, "prompts": 3},
        {"source": ours["source"], "weight": 1.0, "questions": 6, "prompts": 1},
    ]
    assert json.loads((folder / "data.json").read_text()) == expected
    assert json.loads((folder / "finished.json").read_text())["sources"] == expected
    card = (folder / "README.md").read_text()
    assert f"`hub:org/sums` at {COMMIT[:12]} (6 questions, 3 prompts)" in card
    prepare(config)  # as a later start would
    assert asked == [None, COMMIT]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "data: name one source in data.source, or several in data.sources"),
        (
            {"source": "math", "sources": [{"source": "math"}]},
            "data: name one source in data.source, or several",
        ),
        ({"source": ["math"]}, "data.source: several sources, each with keys of its own"),
        ({"source": "math", "split": "test"}, "split: only a dataset of the hub"),
        ({"source": "math", "columns": {"question": "q"}}, "columns: math has columns of its own"),
        ({"sources": [{"source": "math"}], "levels": ["1"]}, "levels: with several sources"),
        (
            {"sources": [{"source": "math", "weight": 1}, {"source": "gsm8k"}]},
            "sources: give a weight to each of them, or to none",
        ),
        ({"sources": [{"source": "math", "weight": 0}]}, "data.sources.0.weight: Input should be"),
        ({"sources": [{"source": "math", "weigth": 1}]}, "no key 'data.sources.0.weigth'"),
        ({"sources": [{"weight": 1}]}, "data.sources.0.source is missing"),
    ],
)
def test_a_wrong_list_of_sources_raises_one_sentence(
    tmp_path: Path, data: dict[str, Any], words: str
) -> None:
    path = tmp_path / "rlvr.yaml"
    path.write_text(json.dumps({"model": "org/name", "output_path": "out", "data": data}))
    with pytest.raises(TrainError) as caught:
        read_config(path, "rlvr")
    assert words in str(caught.value)


def test_a_single_source_is_written_into_the_settings_as_it_was(make: Make) -> None:
    config = make("rlvr", data={"source": "arithmetic"})
    written = config.model_dump(mode="json", exclude_none=True)["data"]
    assert written == {"source": "arithmetic", "exclude_overlaps": False}
    assert TrainConfig.model_validate({**config.model_dump(), "data": written}) == config
