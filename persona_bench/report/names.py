"""File names of what is written."""

from __future__ import annotations

import re


def file_stem(name: str) -> str:
    """A task's or model's name as the start of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[:100] or "task"
