"""Where this project's own YAML folders lie, and its folder in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_folder(name: str) -> Path:
    """The folder `tasks` or `persona_sets`.

    A wheel carries them inside the package; in a checkout (and in an editable
    install) they stand beside it.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if any(folder.glob("*.yaml")):
            return folder
    raise FileNotFoundError(
        f"the folder {name!r} of persona-bench is missing beside {_PACKAGE}: install it again"
    )


def stored_run() -> Path:
    """The outcomes of SmolLM2-135M-Instruct on sums, and of checkpoints trained from it.

    A wheel carries the table inside the package; in a checkout it is in `results/`.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    inside = _PACKAGE / "stored" / "smollm2-arithmetic.csv.gz"
    beside = _PACKAGE.parent / "results" / "smollm2-arithmetic" / "outcomes.csv.gz"
    for file in (inside, beside):
        if file.is_file():
            return file
    raise FileNotFoundError(f"{inside} of persona-bench is missing: install it again")


def cache_folder() -> Path:
    """This project's folder in the user's cache (`XDG_CACHE_HOME`, else `~/.cache`)."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "persona-bench"
