"""What all methods share: the model, resuming a stopped run, and what is written at the end."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.trainer_callback import ProgressCallback

from persona_bench.failures import missing
from persona_bench.harness.preflight import load
from persona_bench.provenance import PACKAGES, versions
from persona_bench.rendering import MissingPersonaError, check_persona
from persona_bench.train.arguments import explained
from persona_bench.train.card import model_card
from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.data import NONE, Prepared, Row
from persona_bench.train.evaluation import Evaluation, merge_best
from persona_bench.train.folder import (
    ARGUMENTS,
    FINISHED,
    as_data,
    begin,
    newest_complete_checkpoint,
    write_sources,
)
from persona_bench.train.judging import total_cost
from persona_bench.train.progress import Progress

TRAINING_PACKAGES = (*PACKAGES, "trl", "peft", "accelerate", "datasets")


def load_tokenizer(config: TrainConfig, model: str | None = None) -> Any:
    """The tokenizer of a checkpoint; of the run's own where none is named.

    Raises:
        TrainError: it can't be loaded, or has no chat template.
    """
    settings = {} if model else model_settings(config)
    model = model or config.model
    with explained(f"model {model!r} can't be loaded"):
        tokenizer = load("AutoTokenizer", model, settings)
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
        TrainError: it can't be loaded.
    """
    name = model or config.model
    settings = {} if model else model_settings(config)
    with explained(f"model {name!r} can't be loaded"):
        loaded = AutoModelForCausalLM.from_pretrained(name, dtype=precision(config), **settings)
    if config.lora and not model:
        _check_targets(config.lora.target_modules, loaded)
    return loaded


def model_settings(config: TrainConfig) -> dict[str, Any]:
    """Arguments for transformers' loader from `trainer.model_init_kwargs`, such as attention.

    Raises:
        TrainError: it is no mapping, sets what the run sets itself, or quantises trained weights.
    """
    given = config.trainer.get("model_init_kwargs") or {}
    if not isinstance(given, Mapping):
        raise TrainError(f"trainer.model_init_kwargs: it must be a mapping (it is {given!r})")
    for name in ("dtype", "torch_dtype"):
        if name in given:
            raise TrainError(f"trainer.model_init_kwargs.{name}: set dtype beside trainer")
    if given.get("quantization_config") and not config.lora:
        raise TrainError(
            "trainer.model_init_kwargs.quantization_config: quantised weights can't be trained; "
            "add lora, which trains adapters on them"
        )
    return {"trust_remote_code": bool(config.trainer.get("trust_remote_code")), **given}


def _check_targets(targets: str | tuple[str, ...], model: Any) -> None:
    """Checks that a model has the layers named for adapters; a plain text is a pattern for peft.

    Raises:
        TrainError: the model has no layer of that name.
    """
    names = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
    for target in () if isinstance(targets, str) else targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            modules = sorted({name.rpartition(".")[2] for name in names})
            raise TrainError(
                f"lora.target_modules: the model has no linear layer {target!r}: use some of "
                f"{', '.join(modules)}, or all-linear"
            )


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
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
        config.dtype
    ]


def built(kind: type, **given: Any) -> Any:
    """Builds TRL's trainer, and checks what TRL itself would check only when it trains.

    Raises:
        TrainError: TRL refuses the settings, or a library is missing.
    """
    with explained("trainer"):
        trainer = kind(**given)
        trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
        if trainer.args.use_liger_kernel and (problem := missing("liger_kernel")):
            raise TrainError(f"trainer.use_liger_kernel: {problem}")
    return trainer


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


def check_prompts(
    rows: Iterable[Row], prompts: Iterable[Any], tokenizer: Any, name: str, part: str = "personas"
) -> None:
    """Checks that the chat template puts every persona into its prompt.

    Args:
        rows: Rows of the training, or of its evaluation.
        prompts: Their messages.
        tokenizer: With the template.
        name: The model's, for the message.
        part: The settings that have a `system_role`, for the message.

    Raises:
        TrainError: the template drops one.
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
                f"{persona.id!r} would be lost: set {part}: {{system_role: merge}}, and the same "
                "where you evaluate the checkpoint"
            ) from None


def check_evaluation(evaluation: Evaluation, tokenizer: Any, name: str) -> None:
    """Checks the prompts of the evaluation while training in the same way."""
    check_prompts(evaluation.rows, evaluation.table["prompt"], tokenizer, name, "evaluation")


# ---------------------------------------------------------------------- training


def train(
    trainer: Any,
    config: TrainConfig,
    say: Any,
    data: Prepared,
    sources: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Trains, saves the checkpoint as an ordinary folder, and writes its card.

    Args:
        trainer: TRL's, ready.
        config: The run.
        say: Receives what is being done.
        data: What is learnt from.
        sources: Its sources, with the number of prompts from each.
        facts: What else the card should say.

    Returns:
        The folder.
    """
    for note in data.notes:
        warnings.warn(note, stacklevel=2)
    folder = config.output_path
    begin(config)
    last = newest_complete_checkpoint(folder, redraws=bool(config.redraw))
    if last:
        say(f"Going on from {last.name}")
        trainer.args.eval_on_start = False
    first = trainer.is_world_process_zero()
    if first:
        write_sources(folder, sources)
        (folder / ARGUMENTS).write_text(json.dumps(trainer.args.to_dict(), indent=1, default=str))
    if trainer.pop_callback(ProgressCallback):  # absent with disable_tqdm
        trainer.add_callback(Progress)
    personas = f", personas from {len(data.mix.personas)}" if data.mix else ""
    say(f"{config.method}: {len(data.questions):,} questions{personas}; {config.model}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if config.lora:
        trainer.model = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    trainer.save_model(str(folder))
    if first:
        if config.lora and config.evaluation:
            merge_best(folder, precision(config))
        summary = {
            "versions": versions(TRAINING_PACKAGES),
            "steps": trainer.state.global_step,
            "settings": as_data(config),
            "sources": sources,
            "questions": len(data.questions),
            **({"personas": [p.id for p in data.mix.personas]} if data.mix else {}),
            **(facts or {}),
            **({"judge": cost} if (cost := total_cost(folder)) else {}),
        }
        (folder / "README.md").write_text(model_card(summary), encoding="utf-8")
        (folder / FINISHED).write_text(json.dumps(summary, indent=1, ensure_ascii=False))
        rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
        if rewards and not any(rewards):
            say("Every reward was zero: nothing was learnt. Start with easier questions")
        say(f"The checkpoint: {folder}")
    return folder


def rows_taken(args: Any, questions: int) -> int:
    """Rows that `num_train_epochs` takes; half an epoch takes half of the questions."""
    return max(1, math.ceil(args.num_train_epochs * questions))
