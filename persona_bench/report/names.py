"""File names of what is written."""

from __future__ import annotations

import re

from persona_bench.texts import short_name


def file_stem(name: str) -> str:
    """A task's or model's name as the start of a file name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")
    return short_name(stem, 100) or "task"
