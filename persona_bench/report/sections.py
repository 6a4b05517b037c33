"""Sections of a score: what an extra prints, writes and records beside stability."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from persona_bench.report.runs import Settings


class ScoreSection(Protocol):
    """A part of the score of one model on one task, beside its stability."""

    def record(self) -> dict[str, Any]:
        """Entries of the JSON file."""

    def write(self, folder: Path, *, task: str) -> list[Path]:
        """Writes tables, and returns their files."""

    def print(self, console: Console) -> None:
        """Prints what the person in front of the terminal is told with --full."""

    def lines(self) -> list[str]:
        """Sentences for the summary and the page; mostly none."""


class Provider(Protocol):
    """A module with a section."""

    def section(
        self, outcomes: pd.DataFrame, groups: pd.DataFrame, settings: Settings
    ) -> ScoreSection:
        """The section of one model on one task; `groups` is its table of groups."""


def installed(names: Sequence[str]) -> list[ModuleType]:
    """The modules of `persona_bench.extras` that are there, of these.

    Args:
        names: Names within `persona_bench.extras`, such as `parts.section`.

    Raises:
        ModuleNotFoundError: a module is there, but a library that it needs is not.
    """
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(f"persona_bench.extras.{name}"))
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("persona_bench.extras"):
                raise
    return modules
