"""TRL's arguments: the values of `trainer` by the types of TRL's fields, checked before a run."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from transformers import IntervalStrategy

from persona_bench.failures import first_line
from persona_bench.train.config import Evaluation, TrainConfig, TrainError

CHOICES = {
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none"),
    "importance_sampling_level": ("token", "sequence"),
    "vllm_importance_sampling_mode": (
        "token_truncate", "token_mask", "sequence_truncate", "sequence_mask",
    ),
}  # fmt: skip
"""Arguments of GRPO that TRL checks only in the first step; of others it declares the choices."""

POSITIVE = (
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "steps_per_generation",
    "generation_batch_size",
    "num_generations",
    "num_iterations",
    "max_completion_length",
    "max_length",
    "num_train_epochs",
    "save_steps",
    "temperature",
    "repetition_penalty",
    "top_p",
)
NOT_NEGATIVE = ("learning_rate", "beta", "epsilon", "epsilon_high", "max_grad_norm", "weight_decay")
AT_MOST_ONE = ("top_p", "min_p")

PATHS = ("accelerator_config", "deepspeed", "fsdp_config")
"""Arguments that are mappings, or the names of files that hold them."""


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
    own = coerced(config.trainer, kind)
    if not own.get("beta"):  # else TRL loads the reference model by it
        own.pop("model_init_kwargs", None)
    with explained("trainer"):
        return kind(**{**given, **own, **ours})


def when_evaluated(settings: Evaluation) -> dict[str, Any]:
    """TRL's arguments for when a model is evaluated while it trains."""
    return {
        "eval_strategy": IntervalStrategy.STEPS,
        "eval_steps": settings.every,
        "eval_on_start": True,
    }


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns whatever TRL, transformers or peft raise into one sentence.

    Raises:
        TrainError: in the place of another error.
    """
    try:
        yield
    except (TrainError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise TrainError(f"{what}: {first_line(error)}") from error


def coerced(trainer: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The values of `trainer` as the types of TRL's fields: YAML reads `1e-6` as text.

    Raises:
        TrainError: a value is not of its field's type, or is 0 where that can't be.
    """
    hints, values = typing.get_type_hints(kind), dict(trainer)
    fields = getattr(kind, "__dataclass_fields__", {})
    own = CHOICES if kind.__name__ == "GRPOConfig" else {}
    for name, value in trainer.items():
        types = set(typing.get_args(hints[name])) or {hints[name]}
        choices = own.get(name) or fields[name].metadata.get("choices")
        if choices and isinstance(value, bool):  # scale_rewards takes both
            continue
        try:
            values[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise TrainError(f"trainer.{name}: {message} (it is {value!r})") from None
        if isinstance(value, str) and dict in map(_origin, types) and name not in PATHS:
            raise TrainError(f"trainer.{name}: it must be a mapping (it is {value!r})")
        if choices and isinstance(value, str) and value not in choices:
            raise TrainError(
                f"trainer.{name}: there is no {value!r}: use {', '.join(map(str, choices))}"
            )
        if isinstance(values[name], (int, float)) and (wrong := _out_of_range(name, values[name])):
            raise TrainError(f"trainer.{name}: it must be {wrong} (it is {value!r})")
    return values


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _out_of_range(name: str, value: float) -> str:
    """What a number must be and is not; empty where it is right."""
    if not math.isfinite(value):
        return "a finite number"
    if name in POSITIVE and value <= 0:
        return "above 0"
    if name in NOT_NEGATIVE and value < 0:
        return "0 or more"
    if name in AT_MOST_ONE and not 0 <= value <= 1:
        return "between 0 and 1"
    if name == "max_steps" and value < 1 and value != -1:
        return "above 0, or -1 for num_train_epochs to decide"
    return ""
