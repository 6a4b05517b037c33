r"""Mathematics in running text: the span, expression or number in words that begins at a position.

Written for prose that plays a part: "Arr, for $3 the treasure be 17 doubloons, matey".
"""

from __future__ import annotations

import re

from persona_bench.grading.normalise import ALIGNED
from persona_bench.grading.numbers import SCALE, leading_number_words, scaled_number

BEFORE_NUMBER = "0-9A-Za-z_\u00c0-\u052f.\\\\"
"""Characters that a number can't follow; it can follow Chinese, Japanese and Korean ones."""
_MARKUP = re.compile(r"(?:[\s*_`>~:=,\"“”‘’']|\\quad|#+\s)+")
_FILLER = re.compile(
    r"(?:(?:simply|just|exactly|precisely|therefore|thus|hence|then|clearly|indeed|actually|only|about|"
    r"approximately|roughly|none other than|no other than|of course|equal to|given by|found to be|"
    r"option|choice|letter|naught but|nowt but|the (?:number|value|integer|fraction|expression|"
    r"interval|set|point|pair|vector|matrix|sum)|an?|the|a grand total of|me hearty|matey|lad|"
    r"friend|now|so|well|aye|arr+|yes|is|be|(?:it|that)(?:'s| is)|'?tis)\b[\s,:*]*"
    r"|\b(?:fine|sure|ok(?:ay)?|alright|very well|easy|simple)\b[.!,:…]+(?=\s)[\s*]*"
    r"|\b(?:approx|e\.g|i\.e|viz|ca)\b\.?[\s,:*]*|(?:\.\.\.|…)\s*|\*[a-z ]{2,30}\*[\s.…,]*)+",
    re.IGNORECASE,
)


def skip_filler(text: str, position: int) -> int:
    """Past markup and filler words."""
    for pattern in (_MARKUP, _FILLER, _MARKUP):
        if match := pattern.match(text, position):
            after = text[match.end() : match.end() + 1]
            if pattern is not _FILLER or not (after in "=+^" and after):
                position = match.end()
    return position


_MINUS = re.compile(r"(?:minus|negative|moins|menos|meno|минус)\s+(?=[\d$\\.])", re.IGNORECASE)


def value_at(text: str, position: int) -> tuple[str, int] | None:
    """The span, expression or number in words that begins at a position, and where it ends."""
    if expression := mathematics_at(text, position):
        length = max(len(expression), 1)
        end = position + length
        if (span := span_at(text, position)) is not None:
            end = span[1]
        return with_scale(text, position, expression, end)
    if number := leading_number_words(text[position : position + 200]):
        return with_scale(text, position, number[0], position + number[1])
    if (minus := _MINUS.match(text, position)) and (
        expression := mathematics_at(text, minus.end())
    ):
        return f"-{expression}", minus.end() + len(expression)
    return None


def with_scale(text: str, position: int, expression: str, end: int) -> tuple[str, int]:
    """A number with its power of ten in words: `1.2 million`, `$3$ dozen`."""
    match = SCALE.match(text, end)
    if match and (value := scaled_number(expression, match[1])):
        return value, match.end()
    return expression, end


_JOIN = re.compile(r"\s*(?:,\s*(?:and|or)?|and|or)\s*(?=\$|\\\()", re.IGNORECASE)
PERCENT_AFTER = re.compile(r"\s*(?:\\?%|per\s?cent\b)", re.IGNORECASE)


def mathematics_at(text: str, position: int) -> str:
    """The span or expression that begins at a position; empty where none does."""
    span = span_at(text, position)
    if span is None:
        end = expression_end(text, position)
        return text[position:end].strip() if end > position else ""
    content, end = span
    parts = [content]
    while (joint := _JOIN.match(text, end)) and (following := span_at(text, joint.end())):
        parts.append(following[0])
        end = following[1]
    percent = r"\%" if PERCENT_AFTER.match(text, end) else ""
    if re.match(r"[a-z](?: ?\+ ?[a-z])+ ?=", parts[-1]):
        return parts[-1]  # the answer is m/n = 3/7, and m + n = 10
    return ", ".join(parts) + percent


_PROSE_IN_SPAN = re.compile(r"(?<![\\a-zA-Z{])[a-zA-Z]{2,}\s+[a-zA-Z]{2,}")
_TEXT_BLOCK = re.compile(r"\\(?:text\w*|mbox|mathrm)\s*\{[^{}]*\}")


def span_at(text: str, position: int) -> tuple[str, int] | None:
    """The mathematics between the delimiters that open at a position, and where it ends.

    A dollar is a delimiter only where the pair holds together as in Pandoc (no space inside the
    edges, no digit after the closing one) and there is no prose between: in "for $3 the treasure
    be 17, and $5 for rum" both are currency.
    """
    for opening, closing in (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)")):
        if text.startswith(opening, position):
            end = text.find(closing, position + 2)
            return (text[position + 2 : end].strip(), end + 2) if end > 0 else None
    if aligned := ALIGNED.match(text, position):
        return aligned[0], aligned.end()
    if not text.startswith("$", position):
        return None
    end = position + 1
    while (end := text.find("$", end)) > 0 and text[end - 1] == "\\":
        end += 1
    content = text[position + 1 : end] if end > 0 else ""
    if not content.strip() or "\n\n" in content or len(content) > 1000:
        return None
    if text[end + 1 : end + 2].isdigit() or _PROSE_IN_SPAN.search(_TEXT_BLOCK.sub("", content)):
        return None
    if content[0].isspace() != content[-1].isspace() and "\\" not in content:
        return None
    return content.strip(), end + 1


_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|log|ln|sqrt|pi|infinity|inf|exp)"
_ATOM = re.compile(
    rf"""
    \d[\d,]*\d(?:\.\d+)?(?!\w*[a-zA-Z]{{3}}) | \.?\d+(?:\.\d+)?
    | \\[a-zA-Z]+\s*\*? | \\[,;:!\ {{}}%$|\\]
    | \{{(?:[^{{}}]|\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}})*\}}
    | (?<=\d):(?=\d) | (?<=\d\ ):(?=\ \d)
    | {_FUNCTION}(?![a-zA-Z]) | [a-zA-Z](?![a-zA-Z'’]|-[a-zA-Z]{{2}})
    | [-−–+/^_=<>()\[\]|%°√π∞≤≥≠±×÷·∪∩∈⁄²³⁴½¼¾&!€£¥] | \*(?!\*)
    """,
    re.VERBOSE,
)
_BETWEEN = re.compile(
    r"[ \t]*,\s*(?:(?:and|or)[ \t]+)?"
    r"|[ \t]+(?:and|or|und|oder|et|ou|[yeo]|и|или)[ \t]+(?=[-−$\\\d])"
    r"|[ \t]+(?:and|or)[ \t]+|[ \t]*[、和与與及或][ \t]*(?=[-−$\\\d])|[ \t]*",
    re.IGNORECASE,
)


def expression_end(text: str, position: int) -> int:
    """Where a plain expression that begins at a position ends; the position itself where none does.

    Takes numbers, operators, LaTeX and single letters, and lists of these; stops at words and at
    the punctuation of the sentence.
    """
    start = position
    if text[position : position + 1] == "$" and text[position + 1 : position + 2].isdigit():
        position += 1
    end = position
    while position < len(text) and not text.startswith("!!", position):
        atom = _ATOM.match(text, position)
        if not atom or not _belongs(text, start, atom):
            break
        end = position = atom.end()
        between = _BETWEEN.match(text, position)
        gap = between[0] if between else ""
        position += len(gap)
    taken = text[start:end].rstrip(" \t+-−–/^_=<([*\\|&")
    if taken.endswith("!!") or not re.search(r"\d!", taken[:-1]):
        taken = taken.rstrip("!")  # the sentence's, not a factorial
    while taken.endswith(")") and taken.count(")") > taken.count("("):
        taken = taken[:-1]
    return start + len(taken)


_WORD_AFTER = re.compile(r"[ \t]+[a-zA-Z]{2,}|['’]")


def _belongs(text: str, start: int, atom: re.Match[str]) -> bool:
    """A single letter before a word is an article or pronoun, not a variable."""
    if not re.fullmatch(r"[a-zA-Z]", atom[0]):
        return True
    if re.match(r"[a-zA-Z]\.\s?[a-zA-Z]\.", text[atom.start() : atom.start() + 5]):
        return False  # i.e., e.g.
    if not text[start : atom.start()].strip():
        follows = re.match(
            r"\s*(?:[-+*/^_=<>(),.;!?]|\\|\d|$|\n)", text[atom.end() : atom.end() + 8]
        )
        return bool(follows) and not (
            atom[0] in "aI" and not re.match(r"\s*[-+*/^_=]", text[atom.end() :])
        )
    spaced = text[atom.start() - 1].isspace()
    return not (spaced and _WORD_AFTER.match(text, atom.end()))
