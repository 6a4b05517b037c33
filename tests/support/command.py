"""Runs `persona-bench` in this process, as a user types it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ran(NamedTuple):
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


def sentence(ran: Ran) -> str:
    """The one sentence that a failed command ends with."""
    assert ran.code == 1
    assert "Traceback" not in ran.err
    *_, last = ran.err.strip().splitlines()
    assert last.startswith("Error: ")
    assert ran.err.count("Error: ") == 1
    return last
