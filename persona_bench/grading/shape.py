"""Answers taken apart: lists, sets, tuples, intervals, unions and matrices, and their members."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from persona_bench.grading.numbers import as_fraction

Kind = Literal["leaf", "list", "set", "bracket", "union", "matrix"]


class Shape(NamedTuple):
    """An answer taken apart: `x` is a leaf, `(2,4]` a bracket with members `2` and `4`."""

    kind: Kind
    members: tuple[str, ...]
    brackets: str = ""
    """For a bracket the two characters that close it, e.g. `(]`; for a matrix its column count."""


def shape(text: str) -> Shape:
    """Takes a normalised answer apart at its outermost brackets and separators."""
    if text.startswith(r"\begin{pmatrix}") and text.endswith(r"\end{pmatrix}"):
        return _matrix(text)
    pieces = split_outside(text, r"\cup")
    if len(pieces) > 1:
        parts = [shape(piece) for piece in pieces]
        if all(part.kind == "set" for part in parts):
            return Shape("set", tuple(member for part in parts for member in part.members))
        return Shape("union", tuple(pieces))
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return Shape("set", tuple(_expand(split_outside(text[2:-2], ","))))
    if text[:1] in "([" and text[-1:] in ")]" and closes_at_end(text):
        members = split_outside(text[1:-1], ",")
        if len(members) > 1:
            return Shape("bracket", tuple(members), text[0] + text[-1])
        return shape(text[1:-1]) if text[0] == "(" and text[1:-1] else Shape("leaf", (text,))
    if as_fraction(text) is not None:
        return Shape("leaf", (text,))
    if text[:1] == "{" and text[-1:] == "}" and len(split_outside(text[1:-1], ",")) > 1:
        return shape(text[1:-1])
    members = _expand(split_outside(text.replace(";", ","), ","))
    return Shape("list" if len(members) > 1 else "leaf", tuple(members))


def _matrix(text: str) -> Shape:
    body = text[len(r"\begin{pmatrix}") : -len(r"\end{pmatrix}")]
    if r"\begin" in body:
        return Shape("leaf", (text,))
    rows = [row.split("&") for row in body.removesuffix("\\\\").split("\\\\")]
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        return Shape("leaf", (text,))
    return Shape("matrix", tuple(cell.strip() for row in rows for cell in row), str(width))


def _expand(members: Sequence[str]) -> list[str]:
    r"""Writes `a\pm b` as its two values, and drops empty members."""
    expanded: list[str] = []
    for member in members:
        if member.count(r"\pm") == 1:
            head = "" if re.fullmatch(r"[a-zA-Z]=\\pm.*", member) else None
            body = member.split("=", 1)[1] if head == "" else member
            minus = re.sub(r"\\pm ?", "-", body)
            expanded += [re.sub(r"\\pm ?", "+", body).removeprefix("+"), minus]
        elif member.strip():
            expanded.append(member)
    return expanded


def split_outside(text: str, separator: str) -> list[str]:
    """Splits where no bracket, brace or environment is open."""
    pieces, depth, start, index = [], 0, 0, 0
    while index < len(text):
        if depth == 0 and text.startswith(separator, index):
            pieces.append(text[start:index].strip())
            index += len(separator)
            start = index
            continue
        character = text[index]
        if character == "\\" and index + 1 < len(text) and text[index + 1] in "{}":
            character = text[index + 1]
            index += 1
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth = max(0, depth - 1)
        elif text.startswith(r"\begin{", index):
            depth += 1
        elif text.startswith(r"\end{", index):
            depth = max(0, depth - 1)
        index += 1
    return [*pieces, text[start:].strip()]


def closes_at_end(text: str) -> bool:
    """Whether the bracket that opens a text closes where the text ends."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return index == len(text) - 1
    return False


_SIGN = re.compile(r"(<|>|\\leq ?|\\geq ?)")
_VARIABLE = re.compile(r"[a-zA-Z](?:\([a-zA-Z]\))?")


def as_interval(inequality: Shape) -> Shape | None:
    """The interval or union that an inequality, or a list of them, describes."""
    intervals = [_one_interval(member) for member in inequality.members]
    if any(interval is None for interval in intervals):
        return None
    return shape(r"\cup".join(interval for interval in intervals if interval))


def _one_interval(text: str) -> str | None:
    parts = _SIGN.split(text)
    downwards = any(sign == ">" or "geq" in sign for sign in parts[1::2])
    if downwards:
        parts = parts[::-1]
    if len(parts) == 3:  # without a second bound
        parts = (
            [r"-\infty", "<", *parts] if _VARIABLE.fullmatch(parts[0]) else [*parts, "<", r"\infty"]
        )
    if len(parts) != 5 or not _VARIABLE.fullmatch(parts[2]) or "=" in text:
        return None
    low, left, _, right, high = parts
    if downwards and ("<" in text or "leq" in text):
        return None
    return f"{'[' if 'eq' in left else '('}{low},{high}{']' if 'eq' in right else ')'}"
