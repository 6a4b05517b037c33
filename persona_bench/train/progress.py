"""How far a training is: one bar with the numbers that matter, and a line per evaluation.

    Training: 40%|████      | 16/40 [10:12<15:18, 38.2s/ steps, reward 0.42, length 11.6, kl 0.013]
    Step 25, held out: accuracy 0.41, worst accuracy 0.33

`log.csv` has all that TRL logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

SHOWN = {
    "reward": "reward",
    "loss": "loss",
    "completions/mean_length": "length",
    "kl": "kl",
    "eval_accuracy": "accuracy",
    "eval_worst_accuracy": "worst accuracy",
    "eval_pss_corrected": "corrected PSS",
    "eval_persona_information": "persona information",
    "eval_loss": "loss",
}
"""What is shown of TRL's logs, and how it is called; the loss only where nothing is rewarded."""


class Progress(ProgressCallback):
    """The bar of transformers, with a few numbers on it instead of a dictionary above it."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Opens the bar, at the step from which a stopped run resumes."""
        super().on_train_begin(args, state, control, **more)
        self.current_step = state.global_step
        if (bar := self.training_bar) is not None:
            bar.initial = bar.n = state.global_step
            bar.unit = " steps"
            bar.set_description("Training")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Shows the newest numbers."""
        if (bar := self.training_bar) is None or not logs or "train_runtime" in logs:
            return
        text = in_words(logs)
        if any(name.startswith("eval_") for name in logs):
            bar.write(f"Step {state.global_step}, held out: {text}")
        else:
            bar.set_postfix_str(text)


def in_words(logs: Mapping[str, Any]) -> str:
    """`reward 0.42, length 11.6`: the numbers in `SHOWN` that are there; no reward is None."""
    return ", ".join(
        f"{word} {float(logs[name]):.3g}"
        for name, word in SHOWN.items()
        if logs.get(name) is not None and not (name == "loss" and "reward" in logs)
    )
