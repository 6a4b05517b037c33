"""What a result was made with: the versions of the packages that decide it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import persona_bench

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
