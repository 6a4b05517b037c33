"""Names and words that several reports share."""

from __future__ import annotations

from collections.abc import Sequence

from persona_bench.texts import file_stem

__all__ = ["GENERATED", "file_stem", "generation_notes"]

GENERATED = "generated under different settings"
"""How a note of different generation settings begins."""


def generation_notes(notes: Sequence[str]) -> list[str]:
    """Those of a comparison's notes that name different generation settings, as sentences."""
    return [f"{note[0].upper()}{note[1:]}." for note in notes if note.startswith(GENERATED)]
