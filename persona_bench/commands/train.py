"""`persona-bench train`: makes the checkpoints that the benchmark compares."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Annotated

import typer

OVER = "Over the settings file"
DONE = "What is done"


def train(
    method: Annotated[str, typer.Argument(help="sft, distill, rlvr or permix.")],
    config: Annotated[Path, typer.Argument(help="The run's settings (YAML); docs/training.md.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A hub id or a folder, instead of the file's model.", rich_help_panel=OVER
        ),
    ] = None,
    output_path: Annotated[
        Path | None,
        typer.Option(
            "--output-path", help="Instead of the file's output_path.", rich_help_panel=OVER
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Instead of the file's seed.", min=0, rich_help_panel=OVER),
    ] = None,
    teacher_only: Annotated[
        bool,
        typer.Option(
            "--teacher-only",
            help="Sample the teacher's responses and stop (distill).",
            rich_help_panel=DONE,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show settings and data; train nothing.", rich_help_panel=DONE
        ),
    ] = False,
) -> None:
    """Train a checkpoint; started again after a stop, it resumes.

    Example: persona-bench train permix examples/permix.yaml --seed 2
    --output-path checkpoints/permix-2
    """
    from persona_bench.train.config import METHODS, TrainError, read_config

    if method not in METHODS:
        raise TrainError(f"there is no method {method!r}: use {', '.join(METHODS)}")
    given = {"model": model, "output_path": output_path, "seed": seed}
    settings = read_config(config, method, given)
    from persona_bench.train.terminal import check_installed, interrupted, say, show, show_data

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
            write_page(settings.output_path)
    except KeyboardInterrupt:
        say(f"\n{interrupted(settings.output_path)}")
        raise


def write_page(folder: Path) -> None:
    """The page of the logged completions, by the first process alone, if there are any."""
    from persona_bench.report.sections import installed
    from persona_bench.train.folder import FINISHED
    from persona_bench.train.logs import COMPLETIONS
    from persona_bench.train.terminal import say

    if os.environ.get("RANK", "0") != "0" or not (folder / COMPLETIONS).is_file():
        return
    for extra in installed(["training.page"]):
        run = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
        say(f"The completions: {extra.training_page(folder, run)}")
