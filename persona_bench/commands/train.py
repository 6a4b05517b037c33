"""`persona-bench train`: makes the checkpoints that the benchmark compares."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape

from persona_bench.failures import missing

if TYPE_CHECKING:
    from persona_bench.train.config import TrainConfig
    from persona_bench.train.data import Prepared

err = Console(stderr=True)

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


def train(
    method: Annotated[str, typer.Argument(help="sft, distill, rlvr or permix.")],
    config: Annotated[Path, typer.Argument(help="The run's settings (YAML); docs/training.md.")],
    model: Annotated[
        str | None, typer.Option(help="Over the settings': a hub id or a folder.")
    ] = None,
    output_path: Annotated[
        Path | None, typer.Option("--output-path", help="Over the settings'.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Over the settings'.", min=0)] = None,
    use_vllm: Annotated[
        str | None,
        typer.Option("--use-vllm", help="colocate or server: who writes the completions."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Over the settings' teacher.model (distill).")
    ] = None,
    teacher_only: Annotated[
        bool, typer.Option("--teacher-only", help="Sample the teacher and stop (distill).")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show settings and data; train nothing.")
    ] = False,
) -> None:
    """Train a checkpoint; the same command resumes a run that was stopped."""
    from persona_bench.train.config import METHODS, TrainError, read_config

    if method not in METHODS:
        raise TrainError(f"there is no method {method!r}: use {', '.join(METHODS)}")
    settings = read_config(
        config,
        method,
        {
            "model": model,
            "output_path": output_path,
            "seed": seed,
            "use_vllm": use_vllm,
            "teacher.model": teacher,
        },
    )
    check_installed(settings, dry_run=dry_run)
    from persona_bench.train.data import prepare
    from persona_bench.train.folder import check_folder, finished

    if finished(settings):
        say(f"{settings.output_path} holds this very run, finished: nothing to do")
        return
    check_folder(settings)  # before anything is loaded
    module = importlib.import_module(f"persona_bench.train.{method}")
    show(settings, module.arguments(settings))
    try:
        if dry_run:
            show_data(prepare(settings))
        elif teacher_only:
            from persona_bench.train.teacher import sample

            sample(settings, prepare(settings), say)
        else:
            module.train(settings, say)
    except KeyboardInterrupt:
        say(f"\n{interrupted(settings.output_path)}")
        raise


def interrupted(folder: Path) -> str:
    """What to say of a training that was stopped by hand: what is stored, and how to resume."""
    from persona_bench.train.folder import FINISHED, newest_complete_checkpoint
    from persona_bench.train.teacher import FILE

    if (folder / FINISHED).is_file():
        return f"Interrupted at the end: the checkpoint in {folder} is finished"
    if last := newest_complete_checkpoint(folder, redraws=False):
        return f"Interrupted: {last} is stored; the same command goes on from there"
    words = "Interrupted before the first checkpoint (trainer: {save_steps: N} says how often)"
    if (folder / FILE).is_file():
        with (folder / FILE).open("rb") as lines:
            said = max(sum(1 for _ in lines) - 1, 0)
        return f"{words}: {said:,} responses of the teacher are stored; the same command uses them"
    return f"{words}: the same command starts anew"


def check_installed(settings: TrainConfig, *, dry_run: bool = False) -> None:
    """Checks that the libraries that a run needs are installed, and its model looks like one.

    Raises:
        TrainError: what is missing, and what to do.
    """
    from persona_bench.harness.preflight import folder_problem
    from persona_bench.train.config import TrainError

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
        err.print(escape(text), soft_wrap=True)


def show(settings: TrainConfig, args: Any) -> None:
    """Prints the settings of a run, with the defaults."""
    told = settings.model_dump(mode="json", exclude_none=True, exclude={"trainer"})
    say(yaml.safe_dump(told, sort_keys=False, allow_unicode=True).strip())
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
