"""A model small enough to be trained in seconds, with a real tokenizer and chat template."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from persona_bench.grading import Verdict
from persona_bench.train import sources
from persona_bench.train.config import TrainConfig


@pytest.fixture(scope="session")
def tiny(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's tokenizer and template on two layers of random weights."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            initializer_range=0.2,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Twelve questions of one's own."""
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question": f"How many are {n} and {n}?", "answer": str(2 * n), "id": f"q{n}"}
        for n in range(1, 13)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


Make = Callable[..., TrainConfig]


@pytest.fixture
def make(tiny: Path, questions: Path, tmp_path: Path) -> Make:
    """Settings of a short run; `trainer` is added to what every test wants."""

    def settings(method: str, **given: Any) -> TrainConfig:
        trainer: dict[str, Any] = {
            "max_steps": 2,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "save_strategy": "no",
            "learning_rate": 1e-3,
            "report_to": "none",
        }
        if method in ("rlvr", "permix"):
            trainer |= {"num_generations": 4, "max_completion_length": 8}
        if method == "permix":
            given.setdefault("personas", {"mix_ratio": 0.5})
        return TrainConfig.model_validate(
            {
                "method": method,
                "model": str(tiny),
                "output_path": str(tmp_path / "out"),
                "data": {"source": str(questions), "evaluation": ["arithmetic"]},
                **given,
                "trainer": trainer | given.get("trainer", {}),
            }
        )

    return settings


def by_length(responses: Sequence[str], golds: Sequence[str], **_: Any) -> list[Verdict]:
    """Finds a random model's responses right about every other time."""
    return [
        Verdict("correct", "") if len(text) % 2 else Verdict("wrong", "wrong_answer")
        for text in responses
    ]


@pytest.fixture
def graded_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grades by `by_length` in place of the maths grader."""
    monkeypatch.setattr(sources, "grade_all", lambda *given, integer, **rest: by_length(*given))
