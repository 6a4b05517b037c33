"""The logs of a training run: `log.csv` and `personas.csv`, whatever else TRL reports to.

`log.csv` has what TRL logs (reward, its standard deviation, `frac_reward_zero_std`, length,
entropy, `kl` where there is a reference, loss, learning rate), a row for each time it logs.
`personas.csv` has a row for each of these and persona: completions, accuracy, unscored, reward,
length. `evaluations.csv` has a row for each evaluation while training. With TRL's
`log_completions`, `completions.jsonl` has every completion with its persona, verdict and reward.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from persona_bench.train.rewards import Reward, Rewarded

LOG = "log.csv"
PERSONAS = "personas.csv"
EVALUATIONS = "evaluations.csv"
COMPLETIONS = "completions.jsonl"


class Logs(TrainerCallback):
    """Writes the logs.

    A run that goes on after a stop writes on from the step that it goes on from.

    Args:
        folder: Where.
        reward: Whose completions are counted by persona; None where nothing is rewarded.
    """

    def __init__(self, folder: Path, reward: Reward | None = None) -> None:
        self.folder, self.reward = folder, reward

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        for name in (LOG, PERSONAS, EVALUATIONS):
            path = self.folder / name
            if path.is_file():
                table = pd.read_csv(path, dtype=str, keep_default_na=False)
                done = state.global_step or -1  # a new run is evaluated before step 1
                table = table[table["step"].astype(int) <= done]
                table.to_csv(path, index=False)
                if table.empty:
                    path.unlink()
        path = self.folder / COMPLETIONS
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n")]
            kept = [line for line in kept if json.loads(line)["step"] <= (state.global_step or -1)]
            path.write_text("".join(kept), encoding="utf-8")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        row = logs or {}
        if "train_runtime" in row:
            return
        if any(name.startswith("eval_") for name in row):
            own = {name.removeprefix("eval_"): value for name, value in row.items()}
            if state.is_world_process_zero:
                append(self.folder / EVALUATIONS, [{"step": state.global_step, **own}])
            return
        seen: list[Rewarded] = []
        if self.reward:
            seen = of_all_processes(self.reward.seen)
            self.reward.seen = []
        if state.is_world_process_zero:
            append(self.folder / LOG, [{"step": state.global_step, **row}])
            append(self.folder / PERSONAS, by_persona(seen, state.global_step))
            if getattr(args, "log_completions", False):
                append_completions(self.folder, state.global_step, "training", seen)


def append_completions(folder: Path, step: int, phase: str, seen: Sequence[Rewarded]) -> None:
    """Adds completions to `completions.jsonl`.

    Args:
        folder: Folder of the run.
        step: Steps taken so far.
        phase: `training` or `evaluation`.
        seen: The completions.
    """
    with (folder / COMPLETIONS).open("a", encoding="utf-8") as file:
        for each in seen:
            row = {
                "step": step,
                "phase": phase,
                "persona": each.persona,
                "question": each.question,
                "problem": each.problem,
                "answer": each.answer,
                "response": each.text,
                "verdict": each.verdict.verdict,
                "reason": each.verdict.reason,
                "reward": each.reward,
                "information": each.information,
                "voice": each.voice,
                "tokens": each.tokens,
            }
            file.write(json.dumps(row) + "\n")


def of_all_processes(seen: list[Rewarded]) -> list[Rewarded]:
    """What the reward saw in all processes together."""
    from accelerate.utils import gather_object

    return list(gather_object(seen))


def by_persona(seen: Sequence[Rewarded], step: int) -> list[dict[str, Any]]:
    """A row a persona: `step, persona, completions, accuracy, unscored, reward, tokens`.

    Accuracy and reward are means over the scored ones; empty where there are none.
    """
    rows = []
    for persona in sorted({each.persona for each in seen}):
        own = [each for each in seen if each.persona == persona]
        rewards = [each.reward for each in own if each.reward is not None]
        right = [each.verdict.correct for each in own if each.verdict.correct is not None]
        rows.append(
            {
                "step": step,
                "persona": persona,
                "completions": len(own),
                "accuracy": sum(right) / len(right) if right else "",
                "unscored": len(own) - len(right),
                "reward": sum(rewards) / len(rewards) if rewards else "",
                "tokens": sum(each.tokens for each in own) / len(own),
            }
        )
    return rows


def append(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Adds rows to a CSV; a column that is new is added to all."""
    if not rows:
        return
    names: list[str] = []
    if path.is_file():
        with path.open(newline="") as file:
            names = next(csv.reader(file), [])
    wanted = [*names, *(name for row in rows for name in row if name not in names)]
    wanted = list(dict.fromkeys(wanted))
    old: list[dict[str, Any]] = []
    if names and wanted != names:
        with path.open(newline="") as file:
            old = list(csv.DictReader(file))
    fresh = not names or wanted != names
    with path.open("w" if fresh else "a", newline="") as file:
        writer = csv.DictWriter(file, wanted, restval="")
        if fresh:
            writer.writeheader()
            writer.writerows(old)
        writer.writerows(rows)
