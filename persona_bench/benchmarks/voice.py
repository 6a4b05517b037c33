"""The rubric for the voice of responses to graded tasks: right or wrong, are they in character?"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from persona_bench.benchmarks.rubrics import RubricSet, own_rubrics, read_yaml

IN_VOICE = 4
"""Score from which on a response counts as in character."""

WITHOUT_VOICE = ("control", "placebo")
"""Kinds of personas that have no voice to be in."""


@cache
def voice_rubrics() -> RubricSet:
    """This project's rubric for the voice of a graded response."""
    return own_rubrics("voice", read_yaml(Path(__file__).with_suffix(".yaml")))
