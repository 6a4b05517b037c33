"""Prompts computed once per group give TRL's log-probabilities, gradients and completions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from persona_bench.train.shared_prefix import SharedPrefixTrainer, can_share_prefixes

PROMPTS = ["What is 3 + 4?", "You are a pirate. What is twelve times twelve, matey?"]


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    made = AutoTokenizer.from_pretrained(smollm2)
    made.padding_side = "left"
    return made


def small_model(tokenizer: Any, **changes: Any) -> Any:
    """A Llama of random weights with the real tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, **changes,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


def trainer(kind: type, tokenizer: Any, folder: Path, model: Any = None, **settings: Any) -> Any:
    args = trl.GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=8, num_generations=4, use_cpu=True,
        max_completion_length=12, report_to="none", save_strategy="no", max_steps=1,
        **{"gradient_checkpointing": False, "bf16": False, "shuffle_dataset": False, **settings},
    )  # fmt: skip
    rows = [[{"role": "user", "content": text}] for text in PROMPTS]
    return kind(
        model=model or small_model(tokenizer),
        args=args,
        reward_funcs=[lambda completions, **_: [float(i) for i, _ in enumerate(completions)]],
        train_dataset=Dataset.from_dict({"prompt": rows}),
        processing_class=tokenizer,
    )


def batch(tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Two left-padded prompts, four completions of different lengths each, in a shuffled order."""
    generator = torch.Generator().manual_seed(1)
    prompts = [tokenizer(text)["input_ids"] for text in PROMPTS]
    longest, kept = max(map(len, prompts)), 9
    ids = torch.full((8, longest + kept), int(tokenizer.pad_token_id))
    mask = torch.zeros_like(ids)
    for row in range(8):
        prompt, length = prompts[row % 2], 1 + row
        ids[row, longest - len(prompt) : longest] = torch.tensor(prompt)
        ids[row, longest : longest + length] = torch.randint(
            10, 1000, (length,), generator=generator
        )
        mask[row, longest - len(prompt) : longest + length] = 1
    order = torch.randperm(8, generator=generator)
    return ids[order], mask[order], kept


def gradients(made: Any, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probabilities, entropies, and the gradient of a weighted sum of the former."""
    ids, mask, kept = batch(tokenizer)
    made.model.zero_grad()
    logps, entropies, _ = made._get_per_token_logps_and_entropies(
        made.model, ids, mask, kept, compute_entropy=True
    )
    present = mask[:, -kept:].bool()
    weights = torch.linspace(-1, 1, 8)[:, None].expand_as(logps)
    (logps * weights)[present].sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in made.model.parameters() if p.grad is not None])
    return logps[present].detach(), entropies[present].detach(), gradient


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / a.norm())


def test_gradients_are_those_of_trl(tokenizer: Any, tmp_path: Path) -> None:
    theirs, ours = (
        gradients(trainer(kind, tokenizer, tmp_path), tokenizer)
        for kind in (trl.GRPOTrainer, SharedPrefixTrainer)
    )
    assert relative(theirs[0], ours[0]) < 1e-5
    assert relative(theirs[1], ours[1]) < 1e-5
    assert relative(theirs[2], ours[2]) < 1e-4


def test_gradients_under_bf16_autocast_are_within_5_percent(tokenizer: Any, tmp_path: Path) -> None:
    theirs = gradients(trainer(trl.GRPOTrainer, tokenizer, tmp_path), tokenizer)
    ours = gradients(trainer(SharedPrefixTrainer, tokenizer, tmp_path, bf16=True), tokenizer)
    assert 0 < relative(theirs[2], ours[2]) < 0.05


@pytest.mark.slow
def test_gradients_of_the_real_model(smollm2: Path, tokenizer: Any, tmp_path: Path) -> None:
    found = []
    for kind, bf16 in ((trl.GRPOTrainer, False), (SharedPrefixTrainer, False),
                       (SharedPrefixTrainer, True)):  # fmt: skip
        model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
        made = trainer(kind, tokenizer, tmp_path, model, bf16=bf16)
        found.append(gradients(made, tokenizer)[2])
    assert relative(found[0], found[1]) < 1e-4
    assert relative(found[0], found[2]) < 0.05


def test_greedy_completions_are_those_of_trl(tokenizer: Any, tmp_path: Path) -> None:
    prompts = [tokenizer(PROMPTS[i % 2])["input_ids"] for i in range(8)]
    written = []
    for kind in (trl.GRPOTrainer, SharedPrefixTrainer):
        made = trainer(kind, tokenizer, tmp_path)
        made.generation_config.do_sample = False
        made.generation_kwargs["do_sample"] = False
        written.append(made._generate_single_turn(prompts, None, {}, 4)[0])
    assert written[0] == written[1]
    assert len({tuple(row) for row in written[1]}) == 2


def test_completions_of_one_prompt_are_sampled_apart(tokenizer: Any, tmp_path: Path) -> None:
    made = trainer(SharedPrefixTrainer, tokenizer, tmp_path)
    prompts = [tokenizer(PROMPTS[0])["input_ids"]] * 6
    rows, _ = made._generate_single_turn(prompts, None, {}, 6)
    assert len({tuple(row) for row in rows}) == 6


def test_a_prompt_is_computed_once(tokenizer: Any, tmp_path: Path) -> None:
    """Rows that the model is called with: 2 prompts, then the 8 completions."""
    made = trainer(SharedPrefixTrainer, tokenizer, tmp_path)
    assert made.shares_prefixes
    rows: list[tuple[int, ...]] = []
    embed = made.model.get_input_embeddings()
    embed.register_forward_hook(lambda _, given, __: rows.append(tuple(given[0].shape)))
    ids, mask, kept = batch(tokenizer)
    made._get_per_token_logps_and_entropies(made.model, ids, mask, kept)
    assert rows == [(2, ids.shape[1] - kept - 1), (8, kept)]


@pytest.mark.parametrize(
    ("settings", "changes"),
    [({"gradient_checkpointing": True}, {}), ({}, {"sliding_window": 8})],
)
def test_settings_that_are_not_known_to_be_safe_take_trls_own_way(
    tokenizer: Any, tmp_path: Path, settings: dict[str, Any], changes: dict[str, Any]
) -> None:
    made = trainer(
        SharedPrefixTrainer, tokenizer, tmp_path, small_model(tokenizer, **changes), **settings
    )
    assert not can_share_prefixes(made.args, made.model)


def test_a_step_trains_as_trl_s_does(tokenizer: Any, tmp_path: Path) -> None:
    """The same completions, one step: the same change of the weights."""
    generator = torch.Generator().manual_seed(2)
    completions = [
        torch.randint(10, 1000, (5 + i,), generator=generator).tolist() for i in range(8)
    ]
    changes = []
    for kind in (trl.GRPOTrainer, SharedPrefixTrainer):

        class Given(kind):  # type: ignore[misc, valid-type]
            def _generate_single_turn(self, *_: Any, **__: Any) -> Any:
                return completions, None

        made = trainer(Given, tokenizer, tmp_path, learning_rate=1e-3, optim="sgd")
        before = torch.cat([p.detach().flatten().clone() for p in made.model.parameters()])
        made.train()
        after = torch.cat([p.detach().flatten() for p in made.model.parameters()])
        changes.append(after - before)
    assert changes[0].norm() > 1e-6
    assert relative(changes[0], changes[1]) < 1e-3
