"""What `persona-bench train` tells the person who runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console
from rich.markup import escape

from persona_bench.failures import missing
from persona_bench.harness.preflight import folder_problem
from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.folder import FINISHED, newest_complete_checkpoint

if TYPE_CHECKING:
    from persona_bench.train.data import Prepared

SHOWN = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "max_steps",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_generations",
    "max_completion_length",
    "max_length",
    "temperature",
    "beta",
    "loss_type",
    "scale_rewards",
    "epsilon",
    "num_iterations",
    "bf16",
    "gradient_checkpointing",
)
"""TRL's arguments that decide most, shown before a run; all of them go to trainer.json."""


def interrupted(folder: Path) -> str:
    """The message after a training was stopped by hand: what is stored, and how to resume."""
    from persona_bench.train.teacher import FILE  # loads graders

    if (folder / FINISHED).is_file():
        return f"Interrupted at the end: the checkpoint in {folder} is finished"
    if last := newest_complete_checkpoint(folder, redraws=False):
        return f"Interrupted: {last} is stored; the same command goes on from there"
    words = "Interrupted before the first checkpoint (trainer: {save_steps: N} says how often)"
    if (folder / FILE).is_file():
        with (folder / FILE).open("rb") as lines:
            count = max(sum(1 for _ in lines) - 1, 0)
        return f"{words}: {count:,} responses of the teacher are stored; the same command uses them"
    return f"{words}: the same command starts again"


def check_installed(settings: TrainConfig, *, dry_run: bool = False) -> None:
    """Checks that the libraries of a run are installed, and that its model looks like one.

    Raises:
        TrainError: what is missing, and what to do.
    """

    wanted = ["torch", "transformers", "trl"]
    wanted += ["peft"] if settings.lora else []
    wanted += ["vllm"] if settings.use_vllm == "colocate" and not dry_run else []
    endpoint = settings.reward.judge or (settings.teacher and settings.teacher.base_url)
    wanted += ["openai"] if endpoint else []
    models = [settings.model]
    models += [settings.teacher.model] if settings.teacher and not settings.teacher.base_url else []
    problems = [missing(*wanted), *(folder_problem(model) for model in models)]
    if problem := next(filter(None, problems), ""):
        raise TrainError(problem)


def say(text: str) -> None:
    """Prints a line for people, in the first process alone."""
    if os.environ.get("RANK", "0") == "0":
        Console(stderr=True).print(escape(text), soft_wrap=True)


def show(settings: TrainConfig, args: Any) -> None:
    """Prints the settings of a run, defaults too."""
    values = settings.model_dump(mode="json", exclude_none=True, exclude={"trainer"})
    say(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).strip())
    given = {name: getattr(args, name) for name in SHOWN if hasattr(args, name)}
    words = (f"{name} {getattr(value, 'value', value)}" for name, value in given.items())
    say("TRL: " + ", ".join(words))


def show_data(data: Prepared) -> None:
    """Prints what a run would learn from."""
    for note in data.notes:
        say(f"Note: {note}")
    for each in data.sources:
        commit = f" at {each['commit']}" if "commit" in each else ""
        weight = f", weight {each['weight']:g}" if "weight" in each else ""
        say(f"{each['source']}{commit}: {each['questions']} questions{weight}")
    personas = f"{len(data.mix.personas)} personas" if data.mix else "no personas"
    held_out = f", {len(data.held_out)} more for evaluation" if data.held_out else ""
    say(f"{len(data.questions)} questions{held_out}, {personas}. The first question:")
    say(data.benchmark.prompt(data.questions[0].problem))
