"""Training rows that are conversations: what is learnt of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trl

from persona_bench.train import permix, rlvr, sft
from persona_bench.train.config import TrainError
from persona_bench.train.data import columns, prepare, schedule
from tests.train.conftest import Make

PIRATE = {"role": "system", "content": "You are a pirate."}
ASKS = {"role": "user", "content": "What be 1 and 1?"}
SAYS = {"role": "assistant", "content": "Arr, 2!"}


def written(folder: Path, *rows: Any) -> dict[str, Any]:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": str(file), "evaluation": ["arithmetic"]}


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rows that TRL's trainers are given."""
    found: list[dict[str, Any]] = []
    for kind in (trl.SFTTrainer, trl.GRPOTrainer):
        begin = kind.__init__

        def spy(self: Any, *given: Any, begin: Any = begin, **named: Any) -> None:
            found.extend(named["train_dataset"].to_list())
            begin(self, *given, **named)

        monkeypatch.setattr(kind, "__init__", spy)
    return found


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"messages": [PIRATE, ASKS, SAYS]}, [PIRATE, ASKS]),
        ({"prompt": [PIRATE, ASKS], "completion": [SAYS]}, [PIRATE, ASKS]),
        ({"prompt": "What be 1 and 1?", "completion": "Arr, 2!"}, [ASKS]),
        ({"messages": [ASKS, SAYS, ASKS, SAYS]}, [ASKS, SAYS, ASKS]),
    ],
)
def test_sft_learns_the_response_under_its_own_prompt(
    make: Make, tmp_path: Path, learnt: list[dict[str, Any]], row: Any, prompt: Any
) -> None:
    sft.train(make("sft", data=written(tmp_path, row)), print)
    assert learnt[0]["prompt"] == prompt
    assert learnt[0]["completion"] == [SAYS]


def test_rlvr_asks_a_conversation_and_grades_its_answer(
    make: Make, tmp_path: Path, learnt: list[dict[str, Any]]
) -> None:
    row = {"messages": [PIRATE, ASKS], "answer": 2}
    rlvr.train(make("rlvr", data=written(tmp_path, row)), print)
    assert learnt[0]["prompt"] == [PIRATE, ASKS]
    assert learnt[0]["answer"] == "2"


def test_a_single_message_is_a_question_put_as_it_stands(make: Make, tmp_path: Path) -> None:
    rows = [{"messages": [ASKS], "answer": "2"}]
    reward = {"information_weight": 0.5}
    data = prepare(make("permix", data=written(tmp_path, *rows), reward=reward))
    table = columns(data.benchmark, schedule(data.questions, 1, 0), "native")
    assert table["prompt"] == [[ASKS]]
    assert data.benchmark.prompt(ASKS["content"]) == ASKS["content"]


def test_longer_conversations_are_no_questions(make: Make, tmp_path: Path) -> None:
    rows = [{"messages": [ASKS], "answer": "2"}, {"messages": [ASKS, SAYS, ASKS], "answer": "2"}]
    config = make("permix", data=written(tmp_path, *rows), reward={"information_weight": 0.5})
    with pytest.raises(TrainError, match="row 0 is a conversation"):
        prepare(config)


@pytest.mark.parametrize("role", ["native", "merge"])
def test_a_persona_stands_before_a_conversation(make: Make, tmp_path: Path, role: str) -> None:
    personas = {"mix_ratio": 1.0, "system_role": role}
    row = {"messages": [ASKS, SAYS, ASKS], "answer": "2"}
    config = make("permix", data=written(tmp_path, row), personas=personas)
    data = prepare(config)
    rows = schedule(data.questions, 1, 0, data.mix)
    (prompt,) = columns(data.benchmark, rows, role)["prompt"]  # type: ignore[arg-type]
    assert rows[0].persona is not None
    assert rows[0].persona.prompt in prompt[0]["content"]
    assert prompt[0]["role"] == ("user" if role == "merge" else "system")
    assert prompt[-1] == ASKS


@pytest.mark.parametrize(
    ("method", "row", "words"),
    [
        ("sft", {"messages": [PIRATE, ASKS]}, "row 0 has no response for sft to learn"),
        ("rlvr", {"messages": [PIRATE, ASKS, SAYS]}, "row 0 has no answer, and rlvr rewards by it"),
        ("permix", {"messages": [PIRATE, ASKS], "answer": "2"}, "a system message of its own"),
        ("sft", {"messages": "Arr"}, r"rows.jsonl:1: messages: must be a list of messages"),
        ("sft", {"messages": [{"role": "robot", "content": "x"}]}, "each with a role"),
        ("sft", {"messages": [PIRATE, SAYS]}, "must follow a user's message"),
        (
            "sft",
            {"text": "Arr"},
            r"rows.jsonl:1: a row has question and answer, question and tests",
        ),
        ("sft", {"question": "1 + 1?"}, "a row has question and answer"),
    ],
)
def test_a_row_that_its_method_cannot_learn_from_is_refused(
    make: Make, tmp_path: Path, method: str, row: Any, words: str
) -> None:
    modules = {"sft": sft, "rlvr": rlvr, "permix": permix}
    with pytest.raises(TrainError, match=words):
        modules[method].train(make(method, data=written(tmp_path, row)), print)
