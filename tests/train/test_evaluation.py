"""Evaluation while training: what is asked, measured, logged, drawn and kept."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from persona_bench.extras.training.curves import read_training, training_data, training_figure
from persona_bench.personas import load_persona_set
from persona_bench.scoring.stability import stability
from persona_bench.train import distill, permix, rlvr, sft, sources
from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.data import prepare
from persona_bench.train.evaluation import (
    EvaluatingSFTTrainer,
    EvaluatingTrainer,
    random_state_kept,
)
from persona_bench.train.logs import Logs
from tests.train.conftest import Make, by_length

DEMO = [persona.id for persona in load_persona_set("demo")]
EVERY = {"every": 2, "n_questions": 4}
SMALL = {"n_questions": 2, "information_personas": 0}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The outcomes of each evaluation."""
    from persona_bench.train.evaluation import Evaluation

    found: list[pd.DataFrame] = []
    outcomes = Evaluation.outcomes

    def spy(self: Evaluation, seen: Any) -> pd.DataFrame:
        found.append(outcomes(self, seen))
        return found[-1]

    monkeypatch.setattr(Evaluation, "outcomes", spy)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())


def equal(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def rows(folder: Path, name: str = "evaluations.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("graded_by_length")
def test_a_run_is_evaluated_at_the_start_every_so_many_steps_and_at_the_end(
    make: Make, tables: list[pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = permix.train(make("permix", evaluation=EVERY, trainer={"max_steps": 5}), print)
    found = rows(folder)
    assert [row["step"] for row in found] == ["0", "2", "4", "5"]
    for row, table in zip(found, tables, strict=True):
        assert len(table) == 4 * len(DEMO)
        assert set(table["persona"]) == set(DEMO)
        expected = stability(table, resamples=500, seed=0)
        assert float(row["accuracy"]) == pytest.approx(expected.mean)
        assert float(row["worst_accuracy"]) == pytest.approx(expected.worst)
        assert float(row["pss_corrected"]) == pytest.approx(expected.pss_corrected)
        for persona, own in table.groupby("persona"):
            assert float(row[f"accuracy/{persona}"]) == pytest.approx(own["correct"].mean())
        assert row["persona_information"]
    assert capsys.readouterr().out.count("Held out: accuracy") == 4
    training = {row["step"] for row in rows(folder, "log.csv")}
    assert training == {"1", "2", "3", "4", "5"}
    assert {row["persona"] for row in rows(folder, "personas.csv")}.isdisjoint(set(DEMO) - {"none"})
    check_figure(folder, tmp_path)


def check_figure(folder: Path, tmp_path: Path) -> None:
    """The training figure shows the evaluations of the run with their intervals."""
    runs = {"permix": read_training(folder)}
    data = training_data(runs)
    held_out = rows(folder)
    for quantity in ("accuracy", "worst_accuracy", "persona_information"):
        own = data[data["quantity"] == f"eval_{quantity}"]
        assert list(own["step"]) == [0, 2, 4, 5]
        assert list(own["value"]) == pytest.approx([float(row[quantity]) for row in held_out])
    accuracy = data[data["quantity"] == "eval_accuracy"]
    assert list(accuracy["low"]) == pytest.approx([float(row["accuracy_low"]) for row in held_out])
    figure = training_figure(runs)
    titles = {axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes}
    assert {"Held-out accuracy", "Held out, worst persona"} <= titles
    figure.savefig(tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 10_000


@pytest.mark.usefixtures("graded_by_length")
def test_trl_logs_the_measures(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches `on_log` reaches TensorBoard, W&B and trackio."""
    told: list[dict[str, Any]] = []
    on_log = Logs.on_log

    def spy(self: Logs, *given: Any, logs: Any = None, **named: Any) -> None:
        told.append(dict(logs))
        on_log(self, *given, logs=logs, **named)

    monkeypatch.setattr(Logs, "on_log", spy)
    rlvr.train(make("rlvr", evaluation=EVERY), print)
    evaluations = [each for each in told if "eval_worst_accuracy" in each]
    assert len(evaluations) == 2
    for each in evaluations:
        assert {"eval_accuracy", "eval_persona_information", "eval_accuracy/pirate"} <= set(each)
        assert all(isinstance(value, (int, float, type(None))) for value in each.values())


@pytest.mark.usefixtures("graded_by_length")
def test_greedy_responses_are_those_of_the_model_under_the_persona(
    make: Make, tiny: Path, tables: list[pd.DataFrame]
) -> None:
    config = make("rlvr", evaluation=EVERY, trainer={"max_steps": 1, "temperature": 2.0})
    rlvr.train(config, print)
    check_greedy(config, tiny, tables[0], 8)


def check_greedy(config: TrainConfig, folder: Path, table: pd.DataFrame, longest: int) -> None:
    """Some responses of a table are what a checkpoint says greedily under the row's persona."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    data = prepare(config)
    prompts = {persona.id: persona.prompt for persona in load_persona_set("demo")}
    for row in table.sample(8, random_state=0).itertuples():
        messages = [{"role": "user", "content": data.benchmark.prompt(str(row.problem))}]
        if prompts[str(row.persona)]:
            messages.insert(0, {"role": "system", "content": prompts[str(row.persona)]})
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=longest)
        written = ids[0, inputs["input_ids"].shape[1] :]
        assert tokenizer.decode(written, skip_special_tokens=True) == row.text


def test_questions_are_set_aside_and_asked_in_no_training_step(make: Make) -> None:
    data = prepare(make("permix", evaluation=EVERY))
    held_out = {question.id for question in data.held_out}
    assert len(held_out) == 4
    assert held_out.isdisjoint(question.id for question in data.questions)
    assert len(data.questions) == 8
    assert not prepare(make("permix")).held_out


def test_a_copy_of_a_question_that_is_set_aside_is_not_trained_on(
    make: Make, tmp_path: Path
) -> None:
    path = tmp_path / "twice.jsonl"
    asked = [{"question": f"How many are {n} and {n}?", "answer": str(2 * n)} for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in asked * 2))
    data = prepare(make("permix", data={"source": str(path)}, evaluation=EVERY))
    texts = {question.problem for question in data.held_out}
    assert texts.isdisjoint(question.problem for question in data.questions)


@pytest.mark.usefixtures("graded_by_length")
@pytest.mark.parametrize("group", ["persona", "question"])
def test_evaluation_changes_nothing_of_the_training(make: Make, tmp_path: Path, group: str) -> None:
    """The same training questions with one evaluation at the start and with one per step."""
    folders = []
    for every in (100, 1):
        config = make(
            "permix",
            output_path=str(tmp_path / f"every-{every}"),
            personas={"mix_ratio": 0.5, "group": group},
            evaluation={**SMALL, "every": every, "samples": 2, "temperature": 1.0},
            trainer={"max_steps": 2},
        )
        folders.append(permix.train(config, print))
    assert equal(*folders)
    log, other = (rows(folder, "log.csv") for folder in folders)
    for one, two in zip(log, other, strict=True):
        assert one["reward"] == two["reward"]
        assert one["completions/mean_length"] == two["completions/mean_length"]


@pytest.mark.slow
@pytest.mark.usefixtures("graded_by_length")
def test_a_resumed_run_equals_one_that_was_not_stopped(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str) -> TrainConfig:
        trainer = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
        evaluation = {**SMALL, "every": 1, "samples": 2, "temperature": 1.0}
        return make("rlvr", output_path=str(tmp_path / name), evaluation=evaluation,
                    trainer=trainer)  # fmt: skip

    whole = rlvr.train(config("whole"), print)
    evaluate = EvaluatingTrainer.evaluate

    def stops(self: Any, *given: Any, **named: Any) -> Any:
        found = evaluate(self, *given, **named)
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patched:
        patched.setattr(EvaluatingTrainer, "evaluate", stops)
        with pytest.raises(KeyboardInterrupt):
            rlvr.train(config("stopped"), print)
    stopped = rlvr.train(config("stopped"), print)
    assert equal(whole, stopped)
    assert equal(whole / "best", stopped / "best")
    tables = [pd.read_csv(folder / "evaluations.csv") for folder in (whole, stopped)]
    for table in tables:
        assert list(table["step"]) == [0, 1, 2, 3, 4]
    one, other = (table.filter(regex="^(?!runtime|num_tokens|.*per_second)") for table in tables)
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.usefixtures("graded_by_length")
def test_sft_is_evaluated_as_rlvr_is_and_trains_the_same(
    make: Make, tiny: Path, tmp_path: Path, tables: list[pd.DataFrame]
) -> None:
    folders = []
    for every in (100, 1):
        config = make(
            "sft",
            output_path=str(tmp_path / f"every-{every}"),
            evaluation={"every": every, "n_questions": 4, "max_new_tokens": 8},
            trainer={"max_steps": 3, "save_strategy": "steps", "save_steps": 2},
        )
        folders.append(sft.train(config, print))
    assert equal(*folders)
    assert [row["step"] for row in rows(folders[0])] == ["0", "3"]
    found = rows(folders[1])
    assert [row["step"] for row in found] == ["0", "1", "2", "3"]
    assert {row["persona_information"] for row in found} - {""}
    for row, table in zip(found, tables[2:], strict=True):
        assert len(table) == 4 * len(DEMO)
        assert float(row["accuracy"]) == pytest.approx(table["correct"].mean())
    best = json.loads((folders[1] / "best" / "best.json").read_text())
    assert best["worst_accuracy"] == max(float(row["worst_accuracy"]) for row in found)
    check_greedy(config, tiny, tables[2], 8)


@pytest.mark.slow
@pytest.mark.usefixtures("graded_by_length")
def test_a_resumed_distillation_with_sampled_evaluations_equals_a_whole_one(
    make: Make, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str) -> TrainConfig:
        return make(
            "distill",
            output_path=str(tmp_path / name),
            teacher={"model": str(tiny), "samples": 1, "keep": "all", "max_new_tokens": 8},
            evaluation={
                **SMALL, "every": 1, "samples": 2, "temperature": 1.0, "max_new_tokens": 4
            },
            trainer={"max_steps": 3, "save_strategy": "steps", "save_steps": 1},
        )  # fmt: skip

    whole = distill.train(config("whole"), print)
    evaluate = EvaluatingSFTTrainer.evaluate

    def stops(self: Any, *given: Any, **named: Any) -> Any:
        if self.state.global_step == 2:
            raise KeyboardInterrupt
        return evaluate(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(EvaluatingSFTTrainer, "evaluate", stops)
        with pytest.raises(KeyboardInterrupt):
            distill.train(config("stopped"), print)
    stopped = distill.train(config("stopped"), print)
    assert equal(whole, stopped)
    one, other = ([dict(row) for row in rows(folder)] for folder in (whole, stopped))
    assert [row["step"] for row in one] == ["0", "1", "2", "3"]
    for row, same in zip(one, other, strict=True):
        assert row["accuracy"] == same["accuracy"]
        assert row["accuracy/pirate"] == same["accuracy/pirate"]


@pytest.mark.parametrize("keep_best", ["worst_accuracy", "accuracy"])
def test_the_best_checkpoint_is_kept(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_best: str
) -> None:
    """Step 2 is best under the worst persona, step 3 on average; the weights are those of then."""
    accuracies = {0: (0.5, 0.2), 1: (0.5, 0.2), 2: (0.6, 0.4), 3: (0.9, 0.3), 4: (0.6, 0.4)}
    then: dict[int, dict[str, torch.Tensor]] = {}
    from persona_bench.train.evaluation import Evaluation

    loop = EvaluatingTrainer.evaluation_loop

    def spy(self: Any, *given: Any, **named: Any) -> Any:
        step = self.state.global_step
        then[step] = {name: value.clone() for name, value in self.model.state_dict().items()}
        accuracy, worst = accuracies[step]
        measures = {"accuracy": accuracy, "worst_accuracy": worst}
        monkeypatch.setattr(Evaluation, "measure", lambda *_: measures)
        return loop(self, *given, **named)

    monkeypatch.setattr(EvaluatingTrainer, "evaluation_loop", spy)
    monkeypatch.setattr(sources, "grade_all", lambda *given, integer, **rest: by_length(*given))
    evaluation = {**SMALL, "every": 1, "keep_best": keep_best}
    folder = rlvr.train(make("rlvr", evaluation=evaluation, trainer={"max_steps": 4}), print)
    step = 2 if keep_best == "worst_accuracy" else 3
    told = json.loads((folder / "best" / "best.json").read_text())
    assert (told["step"], told["criterion"]) == (step, keep_best)
    kept = weights(folder / "best")
    assert all(torch.equal(kept[name], then[step][name]) for name in kept)
    assert AutoTokenizer.from_pretrained(folder / "best").chat_template
    assert not (folder / "best.part").exists()


@pytest.mark.usefixtures("graded_by_length")
def test_the_best_checkpoint_of_adapters_is_an_ordinary_one(make: Make, tiny: Path) -> None:
    folder = rlvr.train(make("rlvr", evaluation={**SMALL, "every": 2}, lora={"r": 4}), print)
    assert (folder / "best" / "model.safetensors").is_file()
    assert not (folder / "best" / "adapter_config.json").exists()
    assert json.loads((folder / "best" / "best.json").read_text())["criterion"] == "worst_accuracy"
    assert weights(folder / "best").keys() == weights(tiny).keys()


def test_the_random_state_is_put_back() -> None:
    def draws() -> tuple[Any, ...]:
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    set_seed(7)
    expected = draws()
    set_seed(7)
    with random_state_kept():
        draws()
        torch.manual_seed(5)
    assert draws() == expected


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"n_questions": 12}, "12 of 12 questions can't be set aside"),
        ({"persona_set": "train"}, "shares .* with the evaluation"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(
    make: Make, evaluation: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        prepare(make("permix", evaluation={**EVERY, **evaluation}))


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("rlvr", {"evaluation": {"max_new_tokens": 9}}, "trainer.max_completion_length decides"),
        ("rlvr", {"evaluation": {"samples": 2}}, "set a temperature above 0"),
        ("rlvr", {"trainer": {"eval_steps": 5}}, "set evaluation: {every: N} beside trainer"),
    ],
)
def test_settings_of_an_evaluation_are_checked(
    make: Make, method: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(method, **given)
