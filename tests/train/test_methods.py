"""Each method on a tiny model: what is asked, what is rewarded, what is learnt, what is written."""

from __future__ import annotations

import csv
import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_bench.grading import Verdict
from persona_bench.personas import load_persona_set
from persona_bench.train import rlvr, running, sft, sources
from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.data import prepare
from persona_bench.train.folder import newest_complete_checkpoint
from persona_bench.train.information import Information
from persona_bench.train.rewards import Reward
from persona_bench.train.teacher import _seed
from tests.support import odd_bodies
from tests.support.chat_server import ChatServer
from tests.train.conftest import Make

PROMPTS = {persona.id: persona.prompt for persona in load_persona_set("train")}


def run(config: TrainConfig) -> Path:
    return importlib.import_module(f"persona_bench.train.{config.method}").train(config, print)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the reward is called with and gives, call by call."""
    found: list[dict[str, Any]] = []
    call = Reward.__call__

    def spy(self: Reward, *args: Any, **given: Any) -> list[float | None]:
        rewards = call(self, *args, **given)
        found.append({**given, "rewards": rewards})
        return rewards

    monkeypatch.setattr(Reward, "__call__", spy)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------- end to end


@pytest.mark.parametrize("method", ["sft", "rlvr", "permix"])
@pytest.mark.usefixtures("graded_by_length")
def test_a_method_trains_and_its_folder_is_a_checkpoint(
    method: str, make: Make, tiny: Path, tmp_path: Path
) -> None:
    folder = run(make(method))
    before, after = weights(tiny), weights(folder)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    log = rows(folder / "log.csv")
    assert [int(row["step"]) for row in log] == [1, 2]
    card = (folder / "README.md").read_text()
    assert f"- {method}" in card
    assert "seed 0" in card
    if method == "sft":
        assert not (folder / "personas.csv").exists()
        return
    assert {"reward", "frac_reward_zero_std", "entropy", "completions/mean_length"} <= set(log[0])
    personas = rows(folder / "personas.csv")
    assert sum(int(row["completions"]) for row in personas) == 8
    for step in (1, 2):
        own = [row for row in personas if int(row["step"]) == step]
        mean = sum(float(row["reward"]) * int(row["completions"]) for row in own) / 4
        assert float(log[step - 1]["reward"]) == pytest.approx(mean)


def test_sft_s_first_loss_is_the_cross_entropy_of_the_solutions_alone(
    make: Make, tiny: Path, calls: list[Any]
) -> None:
    config = make("sft", trainer={"max_steps": 1, "per_device_train_batch_size": 12})
    folder = run(config)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    losses: list[float] = []
    benchmark, questions, *_ = prepare(config)
    for question in questions:
        prompt = [{"role": "user", "content": benchmark.prompt(question.problem)}]
        said = [{"role": "assistant", "content": question.extra["solution"]}]
        head = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        whole = tokenizer.apply_chat_template(prompt + said, tokenize=False)
        assert whole.startswith(head)
        ids = torch.tensor([tokenizer.encode(whole, add_special_tokens=False)])
        start = len(tokenizer.encode(head, add_special_tokens=False))
        with torch.no_grad():
            logs = model(ids).logits[0, :-1].log_softmax(-1)
        told = logs.gather(-1, ids[0, 1:, None])[start - 1 :, 0]
        losses += (-told).tolist()
    assert float(rows(folder / "log.csv")[0]["loss"]) == pytest.approx(
        sum(losses) / len(losses), rel=1e-4
    )


# ---------------------------------------------------------------------- groups


@pytest.mark.usefixtures("graded_by_length")
def test_a_group_holds_one_question_and_one_persona(
    make: Make, calls: list[dict[str, Any]]
) -> None:
    trainer = {"max_steps": 3, "per_device_train_batch_size": 8}
    run(make("permix", personas={"mix_ratio": 0.7}, trainer=trainer))
    assert len(calls) == 3
    seen = set()
    for call in calls:
        for start in (0, 4):
            group = slice(start, start + 4)
            assert len(set(call["question"][group])) == 1
            assert len(set(call["persona"][group])) == 1
            seen.add(call["persona"][start])
        check_prompts(call)
    assert len(seen - {"none"}) >= 2


def check_prompts(call: dict[str, Any]) -> None:
    """That each row's prompt has its persona and its question, and no other persona."""
    for prompt, persona, problem in zip(
        call["prompts"], call["persona"], call["problem"], strict=True
    ):
        system = [message["content"] for message in prompt if message["role"] == "system"]
        assert system == ([PROMPTS[persona]] if persona != "none" else [])
        assert prompt[-1]["content"].startswith(problem)


@pytest.mark.usefixtures("graded_by_length")
def test_a_group_across_personas_holds_one_question_and_each_its_own_completion(
    make: Make, tiny: Path, calls: list[dict[str, Any]]
) -> None:
    """At a temperature near 0 a completion is what its own prompt, and hardly another's, gives."""
    personas = {"mix_ratio": 0.8, "group": "question"}
    run(make("permix", personas=personas, trainer={"max_steps": 2, "temperature": 1e-4}))
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    first = calls[0]
    assert len(set(first["question"])) == 1
    under = [persona for persona in first["persona"] if persona != "none"]
    assert len(set(under)) == len(under) >= 2
    check_prompts(first)
    assert calls[1]["question"] != first["question"]
    for prompt, ids in zip(first["prompts"], first["completion_ids"], strict=True):
        text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        alone = model.generate(**inputs, do_sample=False, max_new_tokens=8)
        assert alone[0, inputs["input_ids"].shape[1] :].tolist() == ids
    assert len({tuple(ids) for ids in first["completion_ids"]}) > 1


def test_a_server_is_sent_every_prompt_of_a_group_across_personas(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's own code of the server mode, with a server that answers each prompt by its number."""
    from trl.generation import vllm_generation

    from persona_bench.train import permix, running

    trainers: list[Any] = []
    monkeypatch.setattr(running, "train", lambda trainer, *_, **__: trainers.append(trainer))
    personas = {"mix_ratio": 1.0, "group": "question"}
    permix.train(make("permix", personas=personas), print)
    (trainer,) = trainers
    rows_ = [trainer.train_dataset[i] for i in list(trainer._get_train_sampler())[:4]]
    sent: list[Any] = []

    class Client:
        def generate(self, prompts: list[Any], n: int, **_: Any) -> dict[str, Any]:
            sent.append((prompts, n))
            each = [(number, k) for number in range(len(prompts)) for k in range(n)]
            return {
                "prompt_ids": prompts,
                "completion_ids": [[number] for number, _ in each],
                "logprobs": [[[0.0]] for _ in each],
            }

    server = vllm_generation.VLLMGeneration.__new__(vllm_generation.VLLMGeneration)
    for name in ("repetition_penalty", "temperature", "top_p", "top_k", "min_p"):
        setattr(server, name, 1.0)
    server.mode, server.accelerator = "server", trainer.accelerator
    server.max_completion_length, server.logprobs = 8, 0
    server.structured_outputs_regex, server.generation_kwargs = None, {}
    server.vllm_client = Client()
    monkeypatch.setattr(server, "sync_weights", lambda: None, raising=False)
    trainer.use_vllm, trainer.vllm_generation = True, server
    trainer._last_loaded_step = trainer.state.global_step
    ids, images, fields = trainer._tokenize_prompts([row["prompt"] for row in rows_])
    answers, _ = trainer._generate_single_turn(ids, images, fields, trainer.num_generations)
    assert sent == [(ids, 1)]
    assert answers == [[0], [1], [2], [3]]


# ---------------------------------------------------------------------- advantages, loss, unscored


@pytest.mark.parametrize("scale", ["group", "none"])
@pytest.mark.usefixtures("graded_by_length")
def test_advantages_and_loss_are_those_computed_by_hand(
    scale: str, make: Make, tiny: Path, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advantage: reward less the group's mean (over its sd); loss (dr_grpo): -sum A_i n_i / (B L).

    The first step is on policy, so the ratio is 1 and the loss shows the advantages alone; its
    gradient is that of -sum A_i log p(completion i) / (B L).
    """
    from trl import GRPOTrainer

    inputs: list[dict[str, torch.Tensor]] = []
    compute = GRPOTrainer._compute_loss

    def spy(self: Any, model: Any, given: Any) -> Any:
        inputs.append(given)
        return compute(self, model, given)

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", spy)
    trainer = {
        "max_steps": 1,
        "per_device_train_batch_size": 8,
        "loss_type": "dr_grpo",
        "scale_rewards": scale,
        "max_grad_norm": 0.0,
        "optim": "sgd",
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
    }
    folder = run(make("permix", personas={"mix_ratio": 0.5}, trainer=trainer))
    rewards = [float(reward or 0) for reward in calls[0]["rewards"]]
    by_hand: list[float] = []
    for group in (rewards[:4], rewards[4:]):
        mean = sum(group) / 4
        sd = math.sqrt(sum((reward - mean) ** 2 for reward in group) / 3)
        by_hand += [(r - mean) / (sd + 1e-4 if scale == "group" else 1.0) for r in group]
    assert any(by_hand), "no group with different rewards: the test would show nothing"
    # TRL shuffles the rows within a batch
    got = {
        tuple(ids[mask.bool()].tolist()): float(advantage)
        for ids, mask, advantage in zip(
            inputs[0]["completion_ids"],
            inputs[0]["completion_mask"],
            inputs[0]["advantages"],
            strict=True,
        )
    }
    completions = [tuple(ids) for ids in calls[0]["completion_ids"]]
    assert [got[ids] for ids in completions] == pytest.approx(by_hand, abs=1e-5)
    lengths = [len(ids) for ids in completions]
    loss = -sum(a * n for a, n in zip(by_hand, lengths, strict=True)) / (8 * 8)
    assert float(rows(folder / "log.csv")[0]["loss"]) == pytest.approx(loss, abs=1e-5)

    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    total = torch.tensor(0.0)
    for prompt, ids, advantage in zip(calls[0]["prompts"], completions, by_hand, strict=True):
        text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        head = tokenizer.encode(text, add_special_tokens=False)
        whole = torch.tensor([[*head, *ids]])
        logs = model(whole).logits[0, :-1].log_softmax(-1)
        told = logs.gather(-1, whole[0, 1:, None])[len(head) - 1 :, 0]
        total = total - advantage * told.sum() / (8 * 8)
    total.backward()
    after = weights(folder)
    for name, parameter in model.named_parameters():
        step = parameter.detach() - after[name]  # of plain gradient descent at a rate of 1
        assert parameter.grad is not None
        assert torch.allclose(step, parameter.grad, atol=2e-5, rtol=1e-3), name


def test_unscored_completions_give_no_signal(
    make: Make, tiny: Path, monkeypatch: pytest.MonkeyPatch, calls: list[dict[str, Any]]
) -> None:
    """With all unscored nothing is learnt; a format reward does not change that."""

    def slow(responses: Sequence[str], *_: Any, **__: Any) -> list[Verdict]:
        return [Verdict("unscored", "timeout")] * len(responses)

    monkeypatch.setattr(sources, "grade_all", slow)
    folder = run(make("rlvr", reward={"format_weight": 0.5}))
    assert calls[0]["rewards"] == [None] * 4
    before, after = weights(tiny), weights(folder)
    assert all(torch.equal(before[name], after[name]) for name in before)
    (first, second) = rows(folder / "personas.csv")
    assert first["unscored"] == second["unscored"] == "4"
    assert first["accuracy"] == first["reward"] == ""


def test_information_can_be_rewarded_beside_answers_by_a_frozen_model(
    make: Make,
    calls: list[dict[str, Any]],
    graded_by_length: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = Information.__call__

    def spy(self: Information, *given: Any) -> Any:
        assert not self.model.training
        assert not any(weight.requires_grad for weight in self.model.parameters())
        return measure(self, *given)

    monkeypatch.setattr(Information, "__call__", spy)
    reward = {"information_weight": 2.0, "information_personas": 2}
    folder = run(make("permix", personas={"mix_ratio": 1.0}, reward=reward))
    parts = [float(value or 0) for value in calls[0]["rewards"]]
    assert any(part not in (0.0, 1.0) for part in parts)
    assert (folder / "personas.csv").is_file()


# ---------------------------------------------------------------------- stopping and going on


@pytest.mark.parametrize("method", ["sft", "permix"])
@pytest.mark.usefixtures("graded_by_length")
def test_a_run_that_goes_on_equals_one_that_was_not_stopped(
    method: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_bench.train.logs import Logs

    trainer = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    if method == "permix":  # four micro-batches of one generation a step
        trainer |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    whole = run(make(method, output_path=str(tmp_path / "whole"), trainer=trainer))
    on_log = Logs.on_log

    def stop(self: Logs, args: Any, state: Any, *rest: Any, **given: Any) -> None:
        on_log(self, args, state, *rest, **given)
        if state.global_step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Logs, "on_log", stop)
    config = make(method, output_path=str(tmp_path / "stopped"), trainer=trainer)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert [row["step"] for row in rows(tmp_path / "stopped" / "log.csv")] == ["1", "2", "3"]
    monkeypatch.setattr(Logs, "on_log", on_log)
    stopped = run(config)
    one, other = weights(whole), weights(stopped)
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("log.csv", "personas.csv"):
        if method == "permix" or name == "log.csv":
            told = [rows(folder / name) for folder in (whole, stopped)]
            for table in told:
                for row in table:
                    for counted_anew in ("step_time", "num_tokens"):  # by TRL
                        row.pop(counted_anew, None)
            assert told[0] == told[1]


def test_another_run_s_folder_is_refused(make: Make) -> None:
    run(make("sft"))
    with pytest.raises(TrainError, match=r"other settings \(seed\)"):
        run(make("sft", seed=1))


# ---------------------------------------------------------------------- distillation, adapters


@pytest.mark.parametrize("keep", ["all", "correct"])
def test_distill_learns_from_a_checkpoint_s_responses(
    keep: str, make: Make, tiny: Path, graded_by_length: None
) -> None:
    teacher = {"model": str(tiny), "samples": 2, "keep": keep, "max_new_tokens": 6, "batch_size": 5}
    config = make("distill", teacher=teacher)
    folder = run(config)
    told = (folder / "teacher.jsonl").read_text().splitlines()
    assert len(told) == 1 + 24
    right = sum('"verdict": "correct"' in line for line in told)
    assert 0 < right < 24
    card = (folder / "README.md").read_text()
    assert f"24 responses, {right} right" in card
    assert weights(folder).keys() == weights(tiny).keys()


def test_a_teacher_that_was_stopped_is_asked_for_the_rest_alone(
    make: Make, tiny: Path, graded_by_length: None
) -> None:
    from persona_bench.train.teacher import sample

    config = make("distill", teacher={"model": str(tiny), "max_new_tokens": 4, "batch_size": 6})
    whole = sample(config, prepare(config), print)
    path = config.output_path / "teacher.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:13]) + '{"question": "q9", "sam')  # cut off while writing
    assert sample(config, prepare(config), print) == whole
    other = make("distill", teacher={"model": "another", "max_new_tokens": 4})
    with pytest.raises(TrainError, match="other settings"):
        sample(other, prepare(other), print)


def test_a_teacher_at_an_endpoint(make: Make, questions: Path) -> None:
    config = make("distill", teacher={"model": "t", "base_url": "http://x", "samples": 2})
    benchmark, asked, *_ = prepare(config)
    answers = {benchmark.prompt(question.problem): question.answer for question in asked}
    with ChatServer({"": 0.5}, answers) as server:
        url = server.url.removesuffix("/chat/completions")
        teacher = {"model": "t", "base_url": url, "samples": 2, "max_new_tokens": 40}
        folder = run(make("distill", teacher=teacher))
        assert len(server.requests) == 24
        assert all(len(request["messages"]) == 1 for request in server.requests)
        assert len({request["seed"] for request in server.requests}) == 24
    told = (folder / "teacher.jsonl").read_text()
    assert told.count('"verdict": "correct"') == server.tally[""][0]


def test_a_teachers_malformed_answers_are_read_as_the_evaluation_reads_them(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read is kept; what failed is asked for again by the same command."""
    from persona_bench.harness.backends import retries
    from persona_bench.train.teacher import sample

    monkeypatch.setattr(retries.Trial, "wait", lambda *_: None)
    names = [name for name, odd in odd_bodies.ODD.items() if odd.status == 200]
    sizes = {"samples": -(-len(names) // 12), "batch_size": 1, "model": "t", "max_new_tokens": 9}
    config = make("distill", teacher={**sizes, "base_url": "http://x"})
    answers = {
        prepare(config).benchmark.prompt(question.problem): question.answer
        for question in prepare(config).questions
    }
    sent: dict[int, str] = {}

    def fault(body: dict[str, Any], number: int) -> Any:
        if body["seed"] in sent or len(sent) == len(names):
            return None  # asked again, or no odd body is left
        sent[body["seed"]] = names[len(sent)]
        right = f"\\boxed{{{answers[body['messages'][-1]['content']]}}}"
        return odd_bodies.sent(odd_bodies.ODD[sent[body["seed"]]], right)

    with ChatServer({"": 1.0}, answers, fault) as server:
        url = server.url.removesuffix("/chat/completions")
        config = make("distill", teacher={**sizes, "base_url": url})
        failed = [name for name in names if odd_bodies.ODD[name].outcome == "api_error"]
        with pytest.raises(TrainError, match=f"^teacher 't'.*: {len(failed)} of "):
            sample(config, prepare(config), print)
        stored = (config.output_path / "teacher.jsonl").read_text().splitlines()[1:]
        by_seed = {
            _seed(config, (question, k)): f"{question.id}#{k}"
            for question in prepare(config).questions
            for k in range(sizes["samples"])
        }
        found = {}
        for line in stored:
            row = json.loads(line)
            found[f"{row['question']}#{row['sample']}"] = row
        for seed, name in sent.items():
            outcome = odd_bodies.ODD[name].outcome
            row = found.get(by_seed[seed])
            if outcome == "api_error":
                assert row is None, name
            elif outcome == "refused":
                assert row["text"] == "", name  # the provider's words are not learnt
            else:
                assert outcome in (row["verdict"], row["reason"]), name
        before = len(server.requests)
        assert len(sample(config, prepare(config), print)) == 12 * sizes["samples"]
        assert len(server.requests) == before + len(failed)


def test_a_teacher_that_is_not_there_is_one_sentence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_bench.harness.backends import retries

    monkeypatch.setattr(retries.Trial, "wait", lambda *_: None)
    teacher = {"model": "t", "base_url": "http://127.0.0.1:9/v1"}
    with pytest.raises(TrainError, match=r"teacher 't' at http://127\.0\.0\.1:9/v1"):
        run(make("distill", teacher=teacher))


@pytest.mark.parametrize("method", ["sft", "permix"])
def test_adapters_are_merged_into_an_ordinary_checkpoint(
    method: str, make: Make, tiny: Path, graded_by_length: None
) -> None:
    folder = run(make(method, lora={"r": 4}))
    assert not list(folder.glob("adapter*"))
    before, after = weights(tiny), weights(folder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("proj" in name for name in changed)  # all linear layers, and nothing else


# ---------------------------------------------------------------------- what is refused


def test_faults_are_one_sentence_before_anything_is_trained(
    make: Make, tiny: Path, tmp_path: Path
) -> None:
    for given, words in (
        ({"trainer": {"learning_rates": 1}}, "did you mean 'learning_rate'"),
        ({"trainer": {"num_generations": 3}}, "trainer: "),
        ({"model": str(tmp_path / "nowhere")}, "can't be loaded"),
        (
            {"trainer": {"per_device_train_batch_size": 512, "max_steps": -1}},
            "12 prompts|36 prompts",
        ),
    ):
        with pytest.raises(TrainError, match=words):
            run(make("rlvr", **given))
        assert not (tmp_path / "out").exists()


def test_a_template_that_loses_personas_is_refused_and_merge_is_the_way_out(
    make: Make, tiny: Path, tmp_path: Path, calls: list[dict[str, Any]], graded_by_length: None
) -> None:
    folder = tmp_path / "no-system"
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.role }}\n"
        "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder)
    with pytest.raises(TrainError, match="system_role: merge"):
        run(make("permix", model=str(folder), personas={"mix_ratio": 1.0}))
    personas = {"mix_ratio": 1.0, "system_role": "merge"}
    run(make("permix", model=str(folder), personas=personas))
    for prompt, persona in zip(calls[0]["prompts"], calls[0]["persona"], strict=True):
        assert [message["role"] for message in prompt] == ["user"]
        assert prompt[0]["content"].startswith(PROMPTS[persona])


def test_vllm_s_place_reaches_trl(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("colocate", "server"):
        args = rlvr.arguments(make("rlvr", use_vllm=place))
        assert args.use_vllm is True
        assert args.vllm_mode == place
    assert rlvr.arguments(make("rlvr")).use_vllm is False


def test_a_schedule_is_as_long_as_the_steps_need(make: Make) -> None:
    """Prompts a step: completions of a generation over the group, however they are split."""
    for trainer, prompts in (
        ({"max_steps": 5}, 5),
        ({"max_steps": 5, "gradient_accumulation_steps": 4}, 20),
        (
            {"max_steps": 5, "gradient_accumulation_steps": 4, "steps_per_generation": 8},
            24,
        ),  # whole rounds
        ({"max_steps": 6, "num_iterations": 2}, 3),
    ):
        args = rlvr.arguments(make("rlvr", trainer=trainer))
        assert rlvr.groups_taken(args, 1) == prompts, trainer
    args = rlvr.arguments(make("rlvr", trainer={"max_steps": -1, "num_train_epochs": 2.5}))
    assert rlvr.groups_taken(args, 7) == 18


def test_half_an_epoch_takes_half_of_the_questions(make: Make) -> None:
    for method, module in (("rlvr", rlvr), ("sft", sft)):
        trainer = {"max_steps": -1, "num_train_epochs": 0.5}
        args = module.arguments(make(method, trainer=trainer))
        taken = rlvr.groups_taken if method == "rlvr" else sft.rows_taken
        assert taken(args, 12) == 6


def test_numbers_written_as_text_are_numbers(make: Make) -> None:
    """YAML reads 1e-6 as text."""
    args = rlvr.arguments(make("rlvr", trainer={"learning_rate": "1e-6", "beta": "1e-3"}))
    assert (args.learning_rate, args.beta) == (1e-6, 1e-3)


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"learning_rate": "fast"}, "trainer.learning_rate: .*it is 'fast'"),
        ({"loss_type": "grpoo"}, "trainer.loss_type: there is no 'grpoo': use grpo"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size: it must be above 0"),
        ({"temperature": 0}, "trainer.temperature: it must be above 0"),
        ({"num_generations": 0}, "trainer.num_generations: it must be above 0"),
        ({"num_generations": "many"}, "trainer.num_generations: .*it is 'many'"),
        ({"learning_rate": -1e-6}, "trainer.learning_rate: it must be 0 or more"),
        ({"learning_rate": float("nan")}, "trainer.learning_rate: it must be a finite number"),
        ({"beta": "-0.1"}, "trainer.beta: it must be 0 or more"),
        ({"top_p": 1.5}, "trainer.top_p: it must be between 0 and 1"),
        ({"max_steps": 0}, "trainer.max_steps: it must be above 0, or -1"),
        ({"save_steps": 0}, "trainer.save_steps: it must be above 0"),
        ({"scale_rewards": "groups"}, "trainer.scale_rewards: there is no 'groups': use group"),
        ({"importance_sampling_level": "tokens"}, "there is no 'tokens': use token, sequence"),
        ({"gradient_checkpointing": "maybe"}, "trainer.gradient_checkpointing: .*'maybe'"),
        ({"generation_kwargs": "x"}, "trainer.generation_kwargs: it must be a mapping"),
        ({"model_init_kwargs": "x"}, "trainer.model_init_kwargs: it must be a mapping"),
        ({"label_names": 3}, "trainer.label_names: .*it is 3"),
        ({"lr_scheduler_type": "cosin"}, "trainer: cosin is not a valid SchedulerType"),
        ({"optim": "adam"}, "trainer: adam is not a valid OptimizerNames"),
        (
            {"num_iterations": 2, "save_strategy": "steps", "save_steps": 3},
            "trainer.save_steps: .*use a multiple of 2",
        ),
    ],
)
def test_values_that_trl_would_take_until_the_first_step_are_refused(
    make: Make, trainer: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        rlvr.arguments(make("rlvr", trainer=trainer))


def test_truth_values_that_trl_takes_are_taken(make: Make) -> None:
    given = {"scale_rewards": False, "mask_truncated_completions": "no"}
    args = rlvr.arguments(make("rlvr", trainer=given))
    assert args.scale_rewards == "none"
    assert args.mask_truncated_completions is False


def test_sft_knows_the_losses_that_trl_declares(make: Make) -> None:
    assert sft.arguments(make("sft", trainer={"loss_type": "chunked_nll"}))
    with pytest.raises(TrainError, match="there is no 'nlll': use nll, dft, chunked_nll"):
        sft.arguments(make("sft", trainer={"loss_type": "nlll"}))


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("rlvr", {"trainer": {"report_to": "wandb"}}, "trainer: WandbCallback requires wandb"),
        ("rlvr", {"trainer": {"optim": "adamw_8bit"}}, "trainer: .*bitsandbytes"),
        ("rlvr", {"trainer": {"reward_weights": [1, 2]}}, "trainer: Number of reward weights"),
        ("sft", {"trainer": {"eos_token": "<x>"}}, "trainer: The specified `eos_token`"),
        (
            "sft",
            {"trainer": {"model_init_kwargs": {"attn_implementation": "flash_attention_2"}}},
            "can't be loaded: FlashAttention",
        ),
        ("rlvr", {"model": "/nowhere"}, "model '/nowhere' can't be loaded"),
        (
            "rlvr",
            {"trainer": {"model_init_kwargs": {"dtype": "bfloat16"}}},
            "model_init_kwargs.dtype: set dtype beside trainer",
        ),
        (
            "rlvr",
            {"trainer": {"model_init_kwargs": {"quantization_config": {"load_in_4bit": True}}}},
            "quantised weights can't be trained; add lora",
        ),
    ],
)
def test_arguments_that_the_loader_or_trainer_refuses_leave_no_folder(
    make: Make, method: str, given: dict[str, Any], message: str
) -> None:
    config = make(method, **given)
    with pytest.raises(TrainError, match=message) as caught:
        run(config)
    assert "\n" not in str(caught.value)
    assert not list(config.output_path.glob("*"))  # transformers makes the folder


def test_model_init_kwargs_reach_the_loaders(
    make: Make, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_bench.train import running as module

    given = {"attn_implementation": "eager", "revision": "v1", "quantization_config": {"bits": 4}}
    config = make("rlvr", lora={"r": 2}, trainer={"model_init_kwargs": given})
    told: list[dict[str, Any]] = []

    def from_pretrained(name: str, **settings: Any) -> Any:
        told.append(settings)
        raise OSError("stop")

    monkeypatch.setattr(module.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    with pytest.raises(TrainError, match="can't be loaded: stop"):
        running.load_model(config)
    assert given.items() <= told[0].items()
    monkeypatch.setattr(
        module, "load", lambda kind, name, settings: told.append(settings) or tokenizer
    )
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    running.load_tokenizer(config)
    assert told[1]["revision"] == "v1"


def test_attention_is_as_asked_for(make: Make) -> None:
    config = make("rlvr", trainer={"model_init_kwargs": {"attn_implementation": "eager"}})
    assert running.load_model(config).config._attn_implementation == "eager"


@pytest.mark.parametrize("right", [False, True])
def test_rewards_that_are_all_zero_are_reported_at_the_end(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    right: bool,
) -> None:
    verdict = Verdict("correct", "") if right else Verdict("wrong", "wrong_answer")
    monkeypatch.setattr(
        sources, "grade_all", lambda texts, *_, integer, **__: [verdict] * len(texts)
    )
    run(make("rlvr", trainer={"max_steps": 1}))
    assert ("Every reward was zero" in capsys.readouterr().out) is not right


def test_a_grader_that_always_fails_stops_the_run_and_its_checkpoints_stay(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works in the first step and breaks in the second."""
    steps = 0

    def grade(texts: Sequence[str], *_: Any, integer: bool, **__: Any) -> list[Verdict]:
        nonlocal steps
        steps += 1
        if steps > 1:
            raise RuntimeError("no sandbox")
        return [Verdict("correct", "")] * len(texts)

    monkeypatch.setattr(sources, "grade_all", grade)
    config = make("rlvr", trainer={"save_strategy": "steps", "save_steps": 1})
    with pytest.raises(TrainError, match="the grader failed on every completion"):
        run(config)
    assert (config.output_path / "checkpoint-1" / "trainer_state.json").is_file()


def test_adapters_for_layers_that_do_not_exist_are_refused(make: Make) -> None:
    config = make("sft", lora={"target_modules": ["q_porj"]})
    with pytest.raises(TrainError, match=r"lora.target_modules: .*'q_porj'.*q_proj"):
        run(config)
    assert not config.output_path.exists()


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    newest = newest_complete_checkpoint
    assert newest(tmp_path, redraws=False) is None
    for step, state in ((2, '{"global_step": 2}'), (10, '{"glob'), (12, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert newest(tmp_path, redraws=False) == tmp_path / "checkpoint-2"
    assert newest(tmp_path, redraws=True) is None
    (tmp_path / "checkpoint-2" / "draws.json").write_text('{"groups": 3}')
    assert newest(tmp_path, redraws=True) == tmp_path / "checkpoint-2"
