"""Groups that teach: those whose answers are all right or all wrong are drawn again.

Such a group has no advantage and no gradient. DAPO (Yu et al. 2025, arXiv 2503.14476) draws other
questions in their place until the batch is full; here for at most `rounds` rounds, after which what
was drawn last stays. The further draws come from a schedule of their own, so that the training's
order of questions is the same with and without them, and their number is stored in every
checkpoint, so that a resumed run draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from trl.trainer.utils import pad

from persona_bench.train.config import SystemRole
from persona_bench.train.data import Prepared, Row, columns, spare_group
from persona_bench.train.shared_prefix import SharedPrefixTrainer

DRAWS = "draws.json"
"""In a checkpoint's folder: how many groups each process has drawn again so far."""

PADDED = {
    "prompt_ids": "left",
    "prompt_mask": "left",
    "completion_ids": "right",
    "completion_mask": "right",
    "old_per_token_logps": "right",
    "ref_per_token_logps": "right",
    "sampling_per_token_logps": "right",
    "importance_sampling_ratio": "right",
}
"""Tensors with an axis of tokens, and the side on which they are padded."""


Spare = Callable[[int, float], list[dict[str, Any]]]


def spare_rows(data: Prepared, seed: int, system_role: SystemRole, prompts: int = 1) -> Spare:
    """The further groups of a run, as TRL's dataset has its rows."""

    def rows(number: int, progress: float) -> list[dict[str, Any]]:
        group: Sequence[Row] = spare_group(
            data.questions, seed, number, progress, data.mix, prompts, data.weights
        )
        table = columns(data.benchmark, group, system_role)
        return [
            dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)
        ]

    return rows


class RedrawingTrainer(SharedPrefixTrainer):
    """GRPO that draws groups without spread again.

    Args:
        spare: The rows of a further group, by its number (0, 1, ...) and the share of the
            training that is done; one row for all completions, or one for each.
        rounds: How often the groups without spread are drawn again at most; 0 is TRL's own GRPO.
    """

    def __init__(
        self, *args: Any, spare: Spare | None = None, rounds: int = 0, **named: Any
    ) -> None:
        self.spare, self.rounds, self.drawn = spare, rounds, 0
        super().__init__(*args, **named)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        if not (self.model.training and self.rounds and self.spare):
            return dict(batch)
        size = self.num_generations
        groups = split(batch, size)
        for _ in range(self.rounds):
            dull = [i for i, group in enumerate(groups) if not group["advantages"].any()]
            wanted = self._most_of_any_process(len(dull))
            if not wanted:
                break
            progress = self.state.global_step / max(1, self.state.max_steps)
            rows = []
            for n in range(wanted):
                own = self.spare(self._number(n), progress)
                rows += own * (size // len(own))
            self.drawn += wanted
            drawn = split(super()._generate_and_score_completions(rows), size)
            for place, group in zip(dull, drawn, strict=False):
                groups[place] = group
        left = sum(not group["advantages"].any() for group in groups)
        self._metrics["train"]["groups_drawn"].append(float(self.drawn))
        self._metrics["train"]["groups_without_spread"].append(left / len(groups))
        merged = join(groups)
        merged["num_items_in_batch"] = self.accelerator.gather(
            merged["completion_mask"].sum()[None]
        ).sum()
        return merged

    def _most_of_any_process(self, number: int) -> int:
        """Every process draws as many, as generation and scoring are done together."""
        counts = self.accelerator.gather(torch.tensor([number], device=self.accelerator.device))
        return int(counts.max())

    def _number(self, n: int) -> int:
        """The number of a draw; no two processes have the same."""
        return (self.drawn + n) * self.accelerator.num_processes + self.accelerator.process_index

    # ------------------------------------------------------------------ stopping and resuming

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            (folder / DRAWS).write_text(json.dumps({"groups": self.drawn}))

    def train(self, resume_from_checkpoint: Any = None, **named: Any) -> Any:
        """As TRL's; a checkpoint says how many groups were drawn again before it."""
        if resume_from_checkpoint and (file := Path(resume_from_checkpoint) / DRAWS).is_file():
            self.drawn = int(json.loads(file.read_text())["groups"])
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **named)


def split(batch: dict[str, Any], size: int) -> list[dict[str, torch.Tensor]]:
    """The groups of a batch, `size` rows each; what is not a tensor of rows is left out."""
    rows = len(batch["advantages"])
    tensors = {
        name: value
        for name, value in batch.items()
        if isinstance(value, torch.Tensor) and value.dim() and len(value) == rows
    }
    return [
        {name: value[start : start + size] for name, value in tensors.items()}
        for start in range(0, rows, size)
    ]


def join(groups: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
    """Groups as one batch, padded to the longest prompt and the longest completion."""
    merged: dict[str, Any] = {}
    for name in groups[0]:
        rows = [row for group in groups for row in group[name]]
        side = PADDED.get(name)
        if side is None or rows[0].dim() == 0:
            merged[name] = torch.stack(rows)
        else:
            merged[name] = pad(rows, padding_value=0, padding_side=side)
    return merged
