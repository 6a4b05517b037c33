"""What a result was made with: versions of packages, and how a checkpoint was trained."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

import persona_bench

TRAINING_SETTINGS = "train.yaml"
"""The settings that `persona-bench train` writes into a checkpoint's folder."""

PACKAGES = ("lm-eval", "math-verify", "torch", "transformers", "vllm")


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of this package, of Python, and of those of `packages` that are installed."""
    found = {"persona-bench": persona_bench.__version__, "python": sys.version.split()[0]}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def training_of(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Method and seed of a checkpoint that `persona-bench train` wrote.

    Args:
        model_args: lm-eval's model arguments; a checkpoint's folder is `peft` or `pretrained`.

    Returns:
        `{"method": ..., "seed": ...}`; empty for any other model.
    """
    for name in ("peft", "lora_local_path", "pretrained"):
        file = Path(str(model_args.get(name) or "")) / TRAINING_SETTINGS
        if not model_args.get(name) or not file.is_file():
            continue
        try:
            settings = yaml.safe_load(file.read_text(encoding="utf-8"))
            return {"method": str(settings["method"]), "seed": int(settings["seed"])}
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
            continue
    return {}
