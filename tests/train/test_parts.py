"""PerMix's data and reward with TRL's own trainer, and programs as verifiable answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks import math500
from persona_bench.grading.sandbox import NoSandbox, isolation
from persona_bench.train import permix_dataset, verifiable_reward
from persona_bench.train.config import TrainError
from persona_bench.train.data import columns, prepare, schedule
from tests.train.conftest import Make

RIGHT = "Arr!\n```python\nprint(2 * int(input()))\n```"
WRONG = "```python\nprint(3 * int(input()))\n```"
ENDLESS = "```python\nwhile True: pass\n```"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    path = tmp_path / "programs.jsonl"
    twice = {"question": "Print twice the number that is read.", "tests": [
        {"input": "21\n", "output": "42\n"}, {"input": "4\n", "output": "8\n"},
    ]}  # fmt: skip
    most = {
        "question": "Write a function most(values) that returns the largest.",
        "tests": [{"input": "[1, 5, 2]", "output": "5"}],
        "function": "most",
    }
    path.write_text("".join(json.dumps(row) + "\n" for row in (twice, most)))
    return path


def rewarded(reward: Any, texts: list[str], answers: list[str], ids: Any = None) -> Any:
    return reward(
        prompts=[[]] * len(texts),
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completion_ids=ids or [[1]] * len(texts),
        answer=answers,
        problem=["?"] * len(texts),
        persona=["none"] * len(texts),
    )


def test_the_dataset_is_what_permix_trains_on(make: Make, questions: Path) -> None:
    config = make("permix", seed=3, personas={"mix_ratio": 0.7, "weights": {"harmful": 2}})
    data = prepare(config)
    rows = schedule(data.questions, 2, 3, data.mix)
    found = permix_dataset(
        str(questions),
        mix_ratio=0.7,
        epochs=2,
        seed=3,
        personas={"weights": {"harmful": 2}},
        evaluation=["arithmetic"],
    )
    assert found.to_dict() == columns(data.benchmark, rows, "native")
    assert len(found) == 24


def test_trl_s_own_trainer_trains_on_it(make: Make, questions: Path, tiny: Path) -> None:
    """The few lines of docs/training.md."""
    from trl import GRPOConfig, GRPOTrainer

    reward = verifiable_reward("math")
    trainer = GRPOTrainer(
        model=str(tiny),
        args=GRPOConfig(
            output_dir=str(questions.parent / "own"),
            shuffle_dataset=False,
            max_steps=2,
            num_generations=2,
            per_device_train_batch_size=4,
            max_completion_length=4,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=permix_dataset(str(questions), mix_ratio=0.5, evaluation=["arithmetic"]),
        reward_funcs=reward,
    )
    trainer.train()
    assert len(reward.seen) == 8
    assert {each.verdict.verdict for each in reward.seen} <= {"correct", "wrong"}
    assert {each.persona for each in reward.seen} > {"none"}


def test_the_reward_is_the_verifier_s() -> None:
    reward = verifiable_reward("math", format_weight=0.25)
    texts = ["It is \\boxed{17}.", "The answer is 17", "It is \\boxed{4}."]
    assert rewarded(reward, texts, ["17"] * 3) == [1.25, 1.0, 0.25]


def test_a_completion_is_cut_off_where_the_ends_are_known() -> None:
    text, ids = ["The answer is 17"], [[5, 6]]
    assert rewarded(verifiable_reward(), text, ["17"], ids) == [1.0]
    assert rewarded(verifiable_reward(ends=[2]), text, ["17"], ids) == [0.0]


def test_programs_are_a_verifiable_reward(programs: Path) -> None:
    try:
        isolation(False)
    except NoSandbox as error:
        pytest.skip(str(error))
    table = permix_dataset(str(programs), mix_ratio=0.0, evaluation=[]).to_dict()
    script, function = sorted(table["answer"], key=lambda answer: "most" in answer)
    assert any("Print twice" in prompt[-1]["content"] for prompt in table["prompt"])
    most = "```python\ndef most(values):\n    return max(values)\n```"
    texts = [RIGHT, WRONG, "I will not.", most, RIGHT]
    found = rewarded(verifiable_reward("code"), texts, [script, script, script, function, function])
    assert found == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_without_a_sandbox_training_on_programs_stops(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_bench.grading import code

    def none(unsafe: bool) -> Any:
        raise NoSandbox("bwrap is not here")

    monkeypatch.setattr(code, "isolation", none)
    table = permix_dataset(str(programs), evaluation=[]).to_dict()
    with pytest.raises(TrainError, match="no_sandbox"):
        rewarded(verifiable_reward("code"), [RIGHT], table["answer"][:1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q", "tests": [{"input": 4, "output": "8"}]}, ":1: tests must be a list"),
        ({"question": "q", "tests": "4"}, ":1: tests must be a list"),
    ],
)
def test_tests_that_cannot_be_run_are_refused(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(TrainError, match=message):
        permix_dataset(str(path), evaluation=[])


def test_programs_and_other_answers_may_stand_in_one_file(programs: Path) -> None:
    with programs.open("a") as file:
        file.write(json.dumps({"question": "2 + 2?", "answer": "4"}) + "\n")
    rows = permix_dataset(str(programs), evaluation=[], mix_ratio=0)
    asked = {row["question"]: row for row in rows}
    assert asked["2"]["prompt"][-1]["content"] == math500.prompt("2 + 2?")
    assert asked["0"]["prompt"][-1]["content"].startswith("You will be given a question")


def test_impossible_arguments_raise_one_sentence(questions: Path) -> None:
    with pytest.raises(TrainError, match=r"no key 'data\.n_question': did you mean"):
        permix_dataset(str(questions), n_question=3)
    with pytest.raises(TrainError, match="shares"):
        permix_dataset(str(questions), persona_set="core", evaluation=[])
    with pytest.raises(TrainError, match="no grader for 'prose'"):
        verifiable_reward("prose")
