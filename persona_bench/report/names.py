"""Names and words that several reports share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from persona_bench.texts import file_stem

__all__ = ["GENERATED", "file_stem", "generation_notes"]

if TYPE_CHECKING:
    from persona_bench.scoring.compare import Comparison

GENERATED = "generated under different settings"
"""How a note of different generation settings begins."""


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


GROUPS = {
    "control": "control",
    "placebo": "control",
    "expert": "expert",
    "adjacent_expert": "expert",
    "harmful": "harmful",
}


def group_of(kind: str) -> str:
    """`control`, `expert`, `harmful`, or `neutral` for every other kind of persona.

    Figures and charts tell these four apart by colour and marker.
    """
    return GROUPS.get(kind, "neutral")
