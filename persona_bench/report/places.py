"""Names, folders and provenance of what scoring writes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from persona_bench.provenance import versions
from persona_bench.texts import short_name


class Places:
    """Where the files of each model go, and what it is called.

    Args:
        folder: Folder of all files; models get folders of their own where there are several.
        models: As the results name them.
    """

    def __init__(self, folder: Path, models: Iterable[str]) -> None:
        self.folder = folder
        names = list(dict.fromkeys(str(model) for model in models))
        short = {name: Path(name).name if Path(name).is_absolute() else name for name in names}
        alike = len(set(short.values())) < len(short)
        self._shown = {name: name for name in names} if alike else short

    def name(self, model: str) -> str:
        """A model's name; of one that is a path the last part, where no two are the same."""
        return self._shown[str(model)]

    def of(self, model: str) -> Path:
        """A model's folder."""
        if len(self._shown) == 1:
            return self.folder
        safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in self.name(model))
        return self.folder / short_name(safe)


def command_line() -> str:
    """The command that is running, as one would type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def provenance(results: Path, run: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a score was made: command, results, run, versions and settings."""
    return {
        "command": command_line(),
        "results": str(results),
        "run": run,
        "scored_with": versions(),
        "settings": dict(settings),
    }
