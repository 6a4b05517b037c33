"""Texts that come from outside, and names of files made from them."""

from __future__ import annotations

import hashlib
import re
from typing import Any


def sound(text: str) -> str:
    """A text that can be written: half of a surrogate pair, which JSON can hold, is replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def short_name(name: str, most: int = 200) -> str:
    """A name as a part of a path, which file systems limit to 255 bytes.

    Args:
        name: As it is to be, without characters that a path can't have.
        most: Most bytes in UTF-8.

    Returns:
        The name itself where it is short enough; else its end (of a path the part that tells it
        from others) and the first eight digits of its sha256, so that no two names meet.
    """
    whole = name.encode(errors="replace")
    if len(whole) <= most:
        return name
    digest = hashlib.sha256(whole).hexdigest()[:8]
    end = whole[-(most - len(digest) - 1) :].decode(errors="ignore")
    return f"{end.lstrip('_-.')}-{digest}"


def file_stem(name: str) -> str:
    """A task's or model's name as the start of a file name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")
    return short_name(stem, 100) or "task"


def near_copy(one: str, other: str) -> bool:
    """Whether two prompts are nearly the same: most of their words, or of their runs of three.

    Measured by Jaccard's index, above 0.6 of the words or 0.35 of the runs; empty prompts are no
    copies.
    """
    words = [re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower()) for text in (one, other)]
    if words[0] and words[0] == words[1]:
        return True
    runs = [set(zip(each, each[1:], each[2:], strict=False)) for each in words]
    return _jaccard(set(words[0]), set(words[1])) > 0.6 or _jaccard(*runs) > 0.35


def _jaccard(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def text_hash(*texts: str) -> str:
    """Stands for some texts: 16 digits of their sha256."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:16]
