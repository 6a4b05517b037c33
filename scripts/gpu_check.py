"""What a GPU makes of this project, in a few minutes: throughput, a training step, lost updates.

    python -m scripts.gpu_check OUT.json --model FOLDER --data-dir MIRROR
    python -m scripts.gpu_check OUT.json --model FOLDER --data-dir MIRROR --small   # on a CPU

- `run`: `persona-bench run --model hf` on MATH-500 under the personas of `core`, by batch size.
- `train`: a step of permix beside one of TRL's own GRPO, with float32 weights and bfloat16
  autocast: seconds and peak memory.
- `moved`: how far ten steps of sft at a learning rate of 1e-6 move the weights, in float32 and in
  bfloat16 without a master copy.

Each measurement runs in a process of its own and is written as soon as it is there; one that fails
leaves its error in its place.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from persona_bench.provenance import versions

PACKAGES = ("lm-eval", "torch", "transformers", "trl", "accelerate", "datasets")
SKIPPED = 2
"""First steps, which warm up and are not counted."""
TRAININGS = ("trl", "permix")
PRECISIONS = ("float32", "bfloat16")
SIZES = {
    False: {"questions": 16, "tokens": 256, "batches": (64, 256), "steps": 12, "prompts": 8,
            "completion": 128},
    True: {"questions": 1, "tokens": 8, "batches": (4,), "steps": 3, "prompts": 1,
           "completion": 8},
}  # fmt: skip
LEARNING_RATE = 1e-6


def main() -> None:
    """Run all measurements, or the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the JSON file")
    parser.add_argument("--model", type=Path, required=True, help="a chat model's folder")
    parser.add_argument("--data-dir", type=Path, required=True, help="mirror with math500/")
    parser.add_argument("--small", action="store_true", help="a few tokens and steps, for a CPU")
    parser.add_argument(
        "--only", help="one measurement, printed: run:BATCH, train:KIND, moved:DTYPE"
    )
    args = parser.parse_args()
    sizes = SIZES[args.small]
    if args.only:
        part, _, which = args.only.partition(":")
        measure = {"run": measure_run, "train": measure_training, "moved": measure_moved}[part]
        print(json.dumps(measure(which, args, sizes)))
        return
    report: dict[str, Any] = {
        "command": "python -m scripts.gpu_check",
        "card": card(),
        "machine": platform.machine(),
        "versions": versions(PACKAGES),
        "model": args.model.name,
        "sizes": sizes,
        "seed": 0,
        "measurements": {},
    }
    wanted = [f"run:{batch}" for batch in sizes["batches"]]
    wanted += [f"train:{kind}" for kind in TRAININGS] + [f"moved:{x}" for x in PRECISIONS]
    for name in wanted:
        report["measurements"][name] = in_its_own_process(name, args)
        args.out.write_text(json.dumps(report, indent=1) + "\n")
        print(name, json.dumps(report["measurements"][name]), flush=True)


def card() -> str:
    """The accelerator's name, or the processor's."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"


def in_its_own_process(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One measurement, or `{"error": ...}`."""
    command = [sys.executable, "-m", "scripts.gpu_check", str(args.out), "--only", name]
    command += ["--model", str(args.model), "--data-dir", str(args.data_dir)]
    command += ["--small"] if args.small else []
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": lines[-1][:500] if lines else f"exit code {done.returncode}"}


def measure_run(batch: str, args: argparse.Namespace, sizes: dict[str, Any]) -> dict[str, Any]:
    """Responses and tokens per second of the `hf` backend; loading the model is not counted."""
    from persona_bench.harness.run import Asked, Session
    from persona_bench.results.outcomes import read_outcomes

    folder = args.out.parent / f"run-{batch}"
    model_args = {"pretrained": str(args.model), "dtype": "bfloat16" if on_gpu() else "float32"}
    knobs = {
        "persona_set": "core",
        "n_questions": sizes["questions"],
        "data_dir": str(args.data_dir),
    }
    lengths = {"max_gen_toks": sizes["tokens"]}
    with Session("hf", model_args, folder, batch_size=batch) as session:
        begun = time.monotonic()
        session.run([Asked("persona_math500", knobs, lengths)])
        seconds = time.monotonic() - begun
    outcomes = read_outcomes(folder)
    records = [
        json.loads(line)
        for file in (folder / "store").rglob("*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    tokens = sum(each.get("tokens") or 0 for each in records if isinstance(each, dict))
    return {
        "responses": len(outcomes),
        "new_tokens": tokens,
        "seconds": round(seconds, 2),
        "responses_per_second": round(len(outcomes) / seconds, 2),
        "tokens_per_second": round(tokens / seconds, 1),
        "accuracy": round(float(outcomes["correct"].mean()), 4),
        **memory(),
    }


def measure_training(kind: str, args: argparse.Namespace, sizes: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a step and peak memory."""
    from scripts.bench_train import step_seconds

    folder = args.out.parent / f"train-{kind}"
    settings: dict[str, Any] = {
        "model": str(args.model),
        "output_path": str(folder),
        "data": {"source": "arithmetic", "levels": ["2"], "n_questions": 200},
        "trainer": {
            "max_steps": sizes["steps"],
            "learning_rate": LEARNING_RATE,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 8 * sizes["prompts"],
            "num_generations": 8,
            "max_completion_length": sizes["completion"],
            "gradient_checkpointing": False,
        },
    }
    seconds = step_seconds(settings, trls_own=kind == "trl")
    return {
        "steps": len(seconds),
        "seconds_per_step": round(statistics.median(seconds[SKIPPED:] or seconds), 3),
        **memory(),
    }


def measure_moved(dtype: str, args: argparse.Namespace, sizes: dict[str, Any]) -> dict[str, Any]:
    """How far sft moves the weights in a precision of them."""
    from persona_bench.train import sft
    from persona_bench.train.config import TrainConfig

    folder = args.out.parent / f"moved-{dtype}"
    config = TrainConfig.model_validate(
        {
            "method": "sft",
            "model": str(args.model),
            "output_path": str(folder),
            "dtype": dtype,
            "data": {"source": "arithmetic", "levels": ["2"], "n_questions": 80},
            "trainer": {
                "max_steps": 10,
                "learning_rate": LEARNING_RATE,
                "lr_scheduler_type": "constant",
                "per_device_train_batch_size": 4,
                "gradient_checkpointing": False,
                "save_strategy": "no",
                "report_to": "none",
            },
        }
    )
    sft.train(config, lambda _: None)
    return {"steps": 10, **moved(args.model, folder)}


def moved(before: Path, after: Path) -> dict[str, float]:
    """Share of the weights that differ, and length of the difference over that of the weights."""
    import torch
    from transformers import AutoModelForCausalLM

    changed = total = 0
    update = length = 0.0
    one, other = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
        for folder in (before, after)
    )
    for name, weights in one.items():
        difference = other[name] - weights
        changed += int((difference != 0).sum())
        total += difference.numel()
        update += float(difference.double().pow(2).sum())
        length += float(weights.double().pow(2).sum())
    return {
        "weights_changed": round(changed / total, 5),
        "update_length": float(f"{(update / length) ** 0.5:.3g}"),
    }


def memory() -> dict[str, float]:
    """Peak memory on the GPU in GiB; nothing without one."""
    import torch

    if not on_gpu():
        return {}
    return {"peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}


def on_gpu() -> bool:
    """Whether there is a GPU."""
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    main()
