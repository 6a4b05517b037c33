"""Names and words that several reports share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from persona_bench.texts import short_name

if TYPE_CHECKING:
    from persona_bench.scoring.compare import Comparison

GENERATED = "generated under different settings"
"""How a note of different generation settings begins."""


def file_stem(name: str) -> str:
    """A task's or model's name as the start of a file name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")
    return short_name(stem, 100) or "task"


def generation_notes(notes: Sequence[str]) -> list[str]:
    """Those of a comparison's notes that name different generation settings, as sentences."""
    return [f"{note[0].upper()}{note[1:]}." for note in notes if note.startswith(GENERATED)]


def generation_sentences(comparisons: Mapping[str, Comparison], reference: str) -> list[str]:
    """Which models were generated under other settings than the reference, and which these are."""
    return [
        f"{reference} and {model}: {note}"
        for model, each in comparisons.items()
        for note in generation_notes(each.notes)
    ]
