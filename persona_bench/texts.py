"""Texts that come from outside, and names of files made from them."""

from __future__ import annotations

import hashlib
import re


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


def text_hash(*texts: str) -> str:
    """Stands for some texts: 16 digits of their sha256."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:16]
