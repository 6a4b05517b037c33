"""What all methods share: the model, TRL's arguments, going on after a stop, and the last words."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.trainer_utils import get_last_checkpoint

from persona_bench.harness.fingerprint import FingerprintError
from persona_bench.harness.preflight import load
from persona_bench.provenance import PACKAGES, versions
from persona_bench.rendering import MissingPersonaError, check_persona
from persona_bench.train.card import model_card
from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.data import NONE, Mix, Row
from persona_bench.train.folder import ARGUMENTS, FINISHED, as_data, begin

TRAINING_PACKAGES = (*PACKAGES, "trl", "peft", "accelerate", "datasets")


def load_tokenizer(model: str) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        TrainError: it can't be had, or has no chat template.
    """
    try:
        tokenizer = load("AutoTokenizer", model, {})
    except FingerprintError as error:
        raise TrainError(f"model {model!r} can't be loaded: {error}") from None
    except (OSError, ValueError) as error:
        raise TrainError(f"model {model!r} can't be loaded: {_first_line(error)}") from None
    if not tokenizer.chat_template:
        raise TrainError(
            f"model {model!r} has no chat template, and personas are system messages: start from "
            "a chat model"
        )
    tokenizer.padding_side = "left"
    return tokenizer


def load_model(config: TrainConfig, model: str | None = None) -> Any:
    """A checkpoint in the run's precision; the run's own where none is named.

    Raises:
        TrainError: it can't be had.
    """
    name = model or config.model
    try:
        return AutoModelForCausalLM.from_pretrained(name, dtype=precision(config))
    except (OSError, ValueError) as error:
        raise TrainError(f"model {name!r} can't be loaded: {_first_line(error)}") from None


def precision(config: TrainConfig) -> torch.dtype:
    """The weights' precision: as asked for, else float32, and bfloat16 under adapters on a GPU.

    Steps at the learning rates of RL are smaller than bfloat16 can hold: without a master copy in
    float32 most of them are lost (results/gpu has how many). On a GPU the calculation is in
    bfloat16 all the same, by TRL's autocast.
    """
    if config.dtype == "auto":
        frozen = config.lora is not None and torch.cuda.is_available()
        return torch.bfloat16 if frozen else torch.float32
    if config.dtype != "float32" and config.lora is None:
        warnings.warn(
            f"dtype: {config.dtype} weights without a float32 copy hardly move at the learning "
            "rates of RL (ten steps at 1e-6 change 0.5% of them, 95% in float32): leave dtype "
            "out, or train adapters (lora)",
            stacklevel=2,
        )
    return {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }[config.dtype]


def arguments(config: TrainConfig, kind: type, **ours: Any) -> Any:
    """TRL's arguments: its defaults, over them the run's own, over them what the method needs.

    One default is not TRL's: without a GPU no mixed precision, which is slower there.

    Args:
        config: The run.
        kind: `trl.GRPOConfig` or `trl.SFTConfig`.
        ours: What the method needs.

    Raises:
        TrainError: TRL has no such argument, or refuses its value.
    """
    fields = getattr(kind, "__dataclass_fields__", {})
    for name in config.trainer:
        if name not in fields:
            close = get_close_matches(name, fields, n=1)
            raise TrainError(
                f"trainer.{name}: TRL's {kind.__name__} has no such argument"
                + (f": did you mean {close[0]!r}?" if close else "")
            )
    given: dict[str, Any] = {"output_dir": str(config.output_path), "seed": config.seed}
    if not torch.cuda.is_available():
        given |= {"bf16": False, "use_cpu": True}  # transformers refuses bf16 without use_cpu
    try:
        return kind(**{**given, **config.trainer, **ours})
    except (ValueError, TypeError) as error:
        raise TrainError(f"trainer: {_first_line(error)}") from None


def adapters(config: TrainConfig) -> Any:
    """peft's configuration; None where all weights are trained."""
    if config.lora is None:
        return None
    from peft import LoraConfig

    targets = config.lora.target_modules
    return LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )


def check_prompts(rows: Iterable[Row], prompts: Iterable[Any], tokenizer: Any, name: str) -> None:
    """That the chat template puts every persona into its prompt.

    Args:
        rows: Of the training.
        prompts: Their messages.
        tokenizer: With the template.
        name: The model's, for the message.

    Raises:
        TrainError: it drops one.
    """
    checked = {NONE}
    for row, messages in zip(rows, prompts, strict=True):
        persona = row.persona
        if persona is None or persona.id in checked:
            continue
        checked.add(persona.id)
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False)
            check_persona(text, persona.prompt, persona.id, f"the chat template of {name}")
        except Exception as error:  # jinja's, where a template refuses
            if not isinstance(error, MissingPersonaError) and len(messages) == 1:
                raise
            raise TrainError(
                f"the chat template of {name} takes no system message, and the persona "
                f"{persona.id!r} would be lost: set personas: {{system_role: merge}}, here and in "
                "the evaluation"
            ) from None


# ---------------------------------------------------------------------- training


def train(
    trainer: Any,
    config: TrainConfig,
    say: Any,
    *,
    mix: Mix | None = None,
    notes: Iterable[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Trains, saves the checkpoint as an ordinary folder, and writes its card.

    Args:
        trainer: TRL's, ready.
        config: The run.
        say: Is told what is being done.
        mix: Its personas.
        notes: What the data's check had to say.
        facts: What else the card should say.

    Returns:
        The folder.
    """
    for note in notes:
        warnings.warn(note, stacklevel=2)
    folder = config.output_path
    begin(config)
    last = get_last_checkpoint(str(folder))
    if last:
        say(f"Going on from {Path(last).name}")
    first = trainer.is_world_process_zero()
    if first:
        (folder / ARGUMENTS).write_text(json.dumps(trainer.args.to_dict(), indent=1, default=str))
    trainer.train(resume_from_checkpoint=last)
    if config.lora:
        trainer.model = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    trainer.save_model(str(folder))
    if first:
        made = {
            "versions": versions(TRAINING_PACKAGES),
            "steps": trainer.state.global_step,
            "settings": as_data(config),
            **({"personas": [p.id for p in mix.personas]} if mix else {}),
            **(facts or {}),
        }
        (folder / "README.md").write_text(model_card(made), encoding="utf-8")
        (folder / FINISHED).write_text(json.dumps(made, indent=1, ensure_ascii=False))
        say(f"The checkpoint: {folder}")
    return folder


def epochs(args: Any) -> int:
    """Whole epochs that cover what TRL's arguments ask for, where they count epochs."""
    return max(1, -int(-args.num_train_epochs // 1))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
