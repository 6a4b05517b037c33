"""Four groups of personas, which figures and charts tell apart by colour and marker."""

from __future__ import annotations

KINDS = (
    "control", "placebo", "expert", "adjacent_expert", "layperson", "education", "character",
    "temperament", "speech", "irrelevant", "harmful",
)  # fmt: skip
"""Kinds of personas in the order in which they are listed."""

GROUPS = {
    "control": "control",
    "placebo": "control",
    "expert": "expert",
    "adjacent_expert": "expert",
    "harmful": "harmful",
}


def group_of(kind: str) -> str:
    """`control`, `expert`, `harmful`, or `neutral` for every other kind of persona."""
    return GROUPS.get(kind, "neutral")
