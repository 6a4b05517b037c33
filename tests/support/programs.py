"""Responses with a program in them, and small tests for programs."""

from __future__ import annotations

from persona_bench.grading.code import Case, Suite

DOUBLE = Suite((Case("21\n", "42\n"), Case("4\n", "8\n"), Case("5\n", "10\n")))


def fenced(program: str) -> str:
    return f"Arr!\n```python\n{program}\n```\nThere ye go."
