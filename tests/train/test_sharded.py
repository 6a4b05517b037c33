"""Training with FSDP2 in two processes on a CPU, which accelerate allows on GPUs alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from tests.conftest import ROOT

LAUNCHED = """
import sys
import accelerate.state as state
from accelerate.utils import DistributedType

original, plugins = state.AcceleratorState.__init__, []

def start(self, *args, **named):
    "As accelerate does on GPUs: FSDP where its plugin is there."
    original(self, *args, **named)
    plugins.extend(filter(None, [named.get("fsdp_plugin")]))
    if plugins and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugins[-1]

state.AcceleratorState.__init__ = start
from persona_bench.cli import main
main()
"""
TRAINER = {
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "save_steps": 2,
    "logging_steps": 1,
    "report_to": "none",
}


def launch(folder: Path, method: str, *, sharded: bool, **settings: Any) -> Path:
    """Trains in two processes; gives the checkpoint's folder."""
    recipe = yaml.safe_load((ROOT / "examples" / "accelerate" / "fsdp2.yaml").read_text())
    options = {f"FSDP_{k[5:].upper()}": str(v) for k, v in recipe["fsdp_config"].items()}
    options |= {"FSDP_CPU_RAM_EFFICIENT_LOADING": "false", "ACCELERATE_USE_FSDP": str(sharded)}
    out = folder / f"{method}-{sharded}"
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump(settings))
    (folder / "launched.py").write_text(LAUNCHED)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "launched.py",
         "train", method, str(path), "--output-path", str(out)],
        env={**os.environ, **options, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_fsdp2_trains_as_plain_processes_do(tiny: Path, tmp_path: Path) -> None:
    """SFT to the same weights, and permix with evaluations to an ordinary checkpoint."""
    common = {
        "model": str(tiny),
        "output_path": "-",
        "data": {"source": "arithmetic", "levels": ["1"], "n_questions": 40},
        "personas": {"mix_ratio": 0.5},
    }
    evaluation = {"every": 2, "n_questions": 4}
    plain, sharded = (
        launch(tmp_path, "sft", sharded=each, **common, trainer=TRAINER,
               evaluation={**evaluation, "max_new_tokens": 8})
        for each in (False, True)
    )  # fmt: skip
    first, second, start = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
        for folder in (plain, sharded, tiny)
    )
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-5)
    assert max(float((value - start[name]).abs().max()) for name, value in first.items()) > 1e-3
    tables = [pd.read_csv(folder / "evaluations.csv") for folder in (plain, sharded)]
    assert list(tables[1]["step"]) == [0, 2, 3]
    assert list(tables[0]["accuracy"]) == list(tables[1]["accuracy"])
    grpo = {**TRAINER, "num_generations": 4, "max_completion_length": 8}
    folder = launch(tmp_path, "permix", sharded=True, **common, trainer=grpo, evaluation=evaluation)
    assert list(pd.read_csv(folder / "evaluations.csv")["step"]) == [0, 2, 3]
    trained = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert {name: value.shape for name, value in trained.items()} == {
        name: value.shape for name, value in start.items()
    }
