"""What a step of permix costs beside a step of TRL's own GRPO (`make bench BENCH=train`).

Both take the same prompts, model, settings and seeds, so that they write the same completions;
TRL's has a reward function that compares strings, permix its verifier, its count by persona and its
logs, and computes each prompt once per group (`persona_bench/train/shared_prefix.py`). They take
turns, each in a process of its own, as a machine's speed drifts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS, ROUNDS, SKIPPED = 5, 3, 1  # the first step also warms up


def bench_train(header: Callable[[str], None], line: Callable[..., None]) -> None:
    """Prints the table."""
    header(f"Training: a step of 16 completions, {ROUNDS} runs of {STEPS - SKIPPED} steps each")
    kinds = ("trl", "permix", "permix-bf16")
    seconds: dict[str, list[float]] = {which: [] for which in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            for which in kinds if number % 2 else kinds[::-1]:
                seconds[which] += timed(which, Path(folder) / f"{which}-{number}")
    trl, permix, bf16 = (statistics.median(seconds[which]) for which in kinds)
    line("TRL's GRPOTrainer", trl, 1, "steps")
    line("permix", permix, 1, "steps", f"{trl / permix:.1f} times as fast")
    line("permix, bf16: true", bf16, 1, "steps", f"{trl / bf16:.1f} times as fast")


def timed(which: str, folder: Path) -> list[float]:
    """Seconds of each step of a run in a process of its own."""
    made = [sys.executable, "-m", "scripts.bench_train", which, str(folder)]
    done = subprocess.run(
        made,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # as the command sets it
    )
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found[SKIPPED:]


def run(which: str, folder: Path) -> None:
    """One run; prints the seconds of its steps."""
    from persona_bench.demo import demo_model

    settings = {
        "model": str(demo_model()),
        "output_path": str(folder),
        "data": {"source": "arithmetic", "levels": ["1"], "n_questions": 40},
        "trainer": {
            "max_steps": STEPS,
            "learning_rate": 0.0,  # the model stays the same, and so do its completions
            "per_device_train_batch_size": 16,
            "num_generations": 8,
            "max_completion_length": 16,
            "bf16": which == "permix-bf16",
            "gradient_checkpointing": False,
        },
    }
    print(json.dumps(step_seconds(settings, trls_own=which == "trl")))


def step_seconds(settings: dict[str, Any], *, trls_own: bool) -> list[float]:
    """Seconds of each step of a permix run, every prompt under a persona.

    Args:
        settings: Of the run, without its method.
        trls_own: With TRL's own trainer and a reward function that compares strings.
    """
    import transformers
    import trl

    from persona_bench.train import permix
    from persona_bench.train.config import TrainConfig

    seconds: list[float] = []

    class Times(transformers.TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "step_time" in logs:
                seconds.append(float(logs["step_time"]))

    def plain(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        said = (completion[-1]["content"] for completion in completions)
        return [float(a in text) for text, a in zip(said, answer, strict=True)]

    base = trl.GRPOTrainer if trls_own else permix.RedrawingTrainer

    class Timed(base):  # type: ignore[misc, valid-type]
        def __init__(self, *given: Any, **named: Any) -> None:
            if trls_own:
                named = {k: v for k, v in named.items() if k not in ("spare", "rounds")}
                named |= {"reward_funcs": [plain], "callbacks": []}
            named["callbacks"] = [*named["callbacks"], Times()]
            super().__init__(*given, **named)

    permix.RedrawingTrainer = Timed
    logged = {"logging_steps": 1, "save_strategy": "no", "report_to": "none"}
    config = TrainConfig.model_validate(
        {
            **settings,
            "method": "permix",
            "personas": {"mix_ratio": 1.0},
            "trainer": {**settings["trainer"], **logged},
        }
    )
    permix.train(config, lambda _: None)
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=("trl", "permix", "permix-bf16"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    run(given.which, given.folder)
