"""What plain `lm_eval` needs of a task, where `persona-bench run` sees to it by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lm_eval.loggers.evaluation_tracker import GeneralConfigTracker
from lm_eval.utils import sanitize_model_name

log = logging.getLogger("persona_bench")

LONGEST_NAME = 255  # bytes of a folder's name


def warn_of_long_name(task: str, model_args: Mapping[str, Any]) -> None:
    """Warns of a model's name that lm-eval can't make a folder of, after all is done."""
    named = GeneralConfigTracker._get_model_name(dict(model_args))
    if named and len(sanitize_model_name(named).encode()) > LONGEST_NAME:
        log.warning(
            "%s: lm-eval names its results folder after the model, and this name is too long "
            "for a file system (%s...): with --output_path its results would be lost. Stop "
            "it, and give the model by a shorter path, for example a link to it",
            task,
            named[:60],
        )


def seed_rank(rank: int) -> None:
    """Another seed for each rank, where a prompt has several samples.

    lm-eval seeds all ranks alike and deals documents out in turn, so that with several samples the
    ranks would hold the same prompts in the same order: equal samples.
    """
    if rank:
        import torch

        torch.manual_seed(torch.initial_seed() + rank)
