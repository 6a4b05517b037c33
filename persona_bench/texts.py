"""Texts that come from outside."""

from __future__ import annotations


def sound(text: str) -> str:
    """A text that can be written: half of a surrogate pair, which JSON can hold, is replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
