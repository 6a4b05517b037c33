"""Groups without spread are drawn again: how often, from what, and the same after a stop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from persona_bench.benchmarks.base import Question
from persona_bench.grading import Verdict
from persona_bench.personas import load_persona_set
from persona_bench.train import permix, redraw, rlvr, sources
from persona_bench.train.config import Personas, TrainError, read_config
from persona_bench.train.data import Mix, spare_group
from persona_bench.train.redraw import join, split
from tests.train.conftest import Make


@pytest.fixture
def graded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Only every third question has right and wrong answers; all others are wrong throughout."""
    asked: list[str] = []

    def grade(responses: Sequence[str], golds: Sequence[str], **_: Any) -> list[Verdict]:
        asked.extend(golds)
        return [
            Verdict("correct", "") if i % 2 and int(gold) % 3 == 0 else Verdict("wrong", "x")
            for i, gold in enumerate(golds)
        ]

    monkeypatch.setattr(sources, "grade_all", lambda *given, integer, **rest: grade(*given))
    return asked


def log_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rlvr", "permix"])
def test_groups_without_spread_are_drawn_again(make: Make, graded: list[str], method: str) -> None:
    modules = {"rlvr": rlvr, "permix": permix}
    settings = {"per_device_train_batch_size": 8, "max_steps": 3}
    plain = modules[method].train(make(method, trainer=settings), print)
    without = log_of(plain)
    asked = len(graded)
    assert "groups_drawn" not in without
    assert without["frac_reward_zero_std"].mean() > 0.3
    folder = make(method).output_path.with_name("redrawn")
    again = make(method, trainer=settings, redraw=6, output_path=str(folder))
    log = log_of(modules[method].train(again, print))
    assert (log["groups_without_spread"] == 0).all()
    assert log["groups_drawn"].iloc[-1] * 4 == len(graded) - 2 * asked > 0


def test_the_cap_leaves_groups_without_spread(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sources, "grade_all",
        lambda responses, golds, **_: [Verdict("wrong", "x") for _ in golds],
    )  # fmt: skip
    log = log_of(rlvr.train(make("rlvr", redraw=2), print))
    assert (log["groups_without_spread"] == 1).all()
    assert list(log["groups_drawn"]) == [2, 4]


def test_across_personas_each_completion_keeps_a_persona_of_its_own(
    make: Make, graded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[dict[str, Any]]] = []
    make_rows = redraw.spare_rows

    def spy(*given: Any) -> Any:
        rows = make_rows(*given)

        def spare(number: int, progress: float) -> list[dict[str, Any]]:
            drawn.append(rows(number, progress))
            return drawn[-1]

        return spare

    monkeypatch.setattr(rlvr, "spare_rows", spy)
    personas = {"mix_ratio": 1.0, "group": "question"}
    permix.train(make("permix", redraw=4, personas=personas), print)
    assert drawn
    for group in drawn:
        assert len(group) == len({row["persona"] for row in group}) == 4
        assert len({row["question"] for row in group}) == 1


@pytest.mark.slow
def test_a_stopped_run_draws_what_an_unstopped_one_draws(
    make: Make, graded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = make("rlvr", redraw=5, trainer=settings)
    rlvr.train(whole, print)
    torn = make("rlvr", redraw=5, trainer=settings,
                output_path=str(whole.output_path.with_name("torn")))  # fmt: skip
    step = redraw.RedrawingTrainer.training_step

    def stops(self: Any, *given: Any, **named: Any) -> Any:
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return step(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(redraw.RedrawingTrainer, "training_step", stops)
        with pytest.raises(KeyboardInterrupt):
            rlvr.train(torn, print)
    rlvr.train(torn, print)
    assert list(log_of(torn.output_path)["groups_drawn"]) == list(
        log_of(whole.output_path)["groups_drawn"]
    )
    one, other = (
        AutoModelForCausalLM.from_pretrained(each.output_path, dtype=torch.float32).state_dict()
        for each in (whole, torn)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_further_groups_come_from_a_schedule_without_an_end() -> None:
    questions = [Question(id=f"q{i}", problem=f"{i}?", answer="1") for i in range(5)]
    mix = Mix(load_persona_set("train"), Personas(mix_ratio=1.0), 0)
    rows = [spare_group(questions, 0, n, 1.0, mix)[0] for n in range(15)]
    for start in (0, 5, 10):
        assert len({row.question.id for row in rows[start : start + 5]}) == 5
    assert len({(row.question.id, row.persona.id) for row in rows if row.persona}) > 10
    assert [spare_group(questions, 0, n, 1.0, mix)[0] for n in range(15)] == rows
    assert [spare_group(questions, 1, n, 1.0, mix)[0] for n in range(15)] != rows


def test_groups_are_joined_with_padding_on_the_right_sides() -> None:
    short = {"prompt_ids": torch.tensor([[1]]), "completion_ids": torch.tensor([[5, 6]]),
             "advantages": torch.tensor([1.0])}  # fmt: skip
    long = {"prompt_ids": torch.tensor([[1, 2]]), "completion_ids": torch.tensor([[7]]),
            "advantages": torch.tensor([-1.0])}  # fmt: skip
    joined = join([short, long])
    assert joined["prompt_ids"].tolist() == [[0, 1], [1, 2]]
    assert joined["completion_ids"].tolist() == [[5, 6], [7, 0]]
    assert [group["advantages"].tolist() for group in split(joined, 1)] == [[1.0], [-1.0]]


def test_methods_without_groups_redraw_nothing(tmp_path: Path) -> None:
    file = tmp_path / "sft.yaml"
    file.write_text("model: m\noutput_path: o\ndata: {source: arithmetic}\nredraw: 2\n")
    with pytest.raises(TrainError, match="redraw: sft has no groups"):
        read_config(file, "sft")
