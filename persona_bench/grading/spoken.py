r"""Arithmetic said in words, as symbols: `17 over 2`, `the square root of 17`, `17分之一`.

    >>> in_symbols("The answer is the square root of 16.")
    'The answer is \\sqrt{16}.'

Read as words, such an answer would lose what changes its value: "17 squared" is not 17. Operations
between two numbers count only where the clause ends after them: "30, times 3 cheers" is 30.
"""

from __future__ import annotations

import re

from persona_bench.grading.numbers import NUMBER_WORDS, chinese_numeral, leading_number_words

_DIGITS = r"\$?-?\d+(?:[.,]\d+){0,4}\$?"
_WORD_NUMBER = rf"(?:{NUMBER_WORDS})(?:[- ](?:{NUMBER_WORDS}))?"
_OPERAND = rf"(?:{_DIGITS}|\\sqrt(?:\[3\])?\{{\d+\}}|\b{_WORD_NUMBER}\b)"
_CLAUSE_ENDS = (
    r"(?=[\s*_$)\"”]*(?:[.,;:!?](?!\d)|\n|\Z|"
    r"which\b|that is\b|or\b|(?:is|equals?|makes?|gives?)\b|=))"
)

_ROOT = re.compile(
    rf"\b(?:the )?(?:(square |cube )root o[f'’]|root(?= \$?\d)) ({_DIGITS}|{_WORD_NUMBER}\b)",
    re.IGNORECASE,
)
_POWER_WORD = re.compile(rf"(?<![\w.,])({_DIGITS}) (squared|cubed|factorial)\b", re.IGNORECASE)
_POWER_OF = re.compile(
    rf"(?<![\w.,])({_DIGITS}) (?:raised )?to the "
    r"(?:power (?:of )?(\d+)\b|(\d+)(?:st|nd|rd|th) power\b)",
    re.IGNORECASE,
)
_PART_OF = re.compile(
    rf"\b(half of|twice|(?:the )?reciprocal of) ({_DIGITS}){_CLAUSE_ENDS}", re.IGNORECASE
)
_PART_TEMPLATES = {"half of": "{}/2", "twice": r"2 \cdot {}"}
_OPERATIONS = {
    "over": "/", "divided by": "/", "times": r" \cdot ", "multiplied by": r" \cdot ",
    "plus": " + ", "minus": " - ", "more than": " + ", "less than": " - ",
}  # fmt: skip
_OPERATION = re.compile(
    rf"(?<![\w.,])(?<!\d, )({_OPERAND}) ({'|'.join(_OPERATIONS)}) ({_OPERAND}|[b-hj-z]\b)"
    rf"{_CLAUSE_ENDS}",
    re.IGNORECASE,
)
_AND_A_HALF = re.compile(
    r"(?<![\w.,/])(\d+) (?:and (?:a|one)[ -]half|y medi[oa]|et demie?|e mezz[oa]|e meia)\b",
    re.IGNORECASE,
)
_SIGNS = "零〇一二两兩三四五六七八九十百千万萬"
_NUMERAL = rf"\d+|[{_SIGNS}]+"
_CHINESE_PART = re.compile(
    rf"(?<![\d{_SIGNS}])([负負]?)({_NUMERAL})\s*(?:分之|分の|분의)\s*({_NUMERAL})"
)
_CHINESE_MINUS = re.compile(r"(?:[负負]|マイナス|마이너스)\s*(?=\$?[\d\\])")
_CHINESE_NUMBER = re.compile(
    rf"(?<=[是为為于於はも：:])(\s*[*$]*)([负負]?)([{_SIGNS}]+)"
    r"(?=[*$\s]*(?:[。，,.!！、)；;]|\n|\Z|です|である|だ|でござ|でしょう|になり|[个個元种種]))"
)


_OPERATION_WORD = re.compile(
    r"\b(?:over|divided|times|multiplied|plus|minus|than|squared|cubed|factorial|power|root|half|"
    r"twice|reciprocal|medi[oa]|et demie?|mezz[oa]|meia)\b",
    re.IGNORECASE,
)


def in_symbols(text: str) -> str:
    """The text with arithmetic on numbers written in symbols instead of words."""
    if re.search(r"[负負分분マ마零〇一二两兩三四五六七八九十百千万萬]", text):
        text = _CHINESE_PART.sub(_chinese_part, text)
        text = _CHINESE_NUMBER.sub(_chinese_number, _CHINESE_MINUS.sub("-", text))
    if not _OPERATION_WORD.search(text):  # most texts have none, and the patterns below are slow
        return text
    text = _AND_A_HALF.sub(lambda match: f"{2 * int(match[1]) + 1}/2", text)
    text = _POWER_OF.sub(lambda m: f"{_plain(m[1])}^{{{m[2] or m[3]}}}", text)
    text = _POWER_WORD.sub(_power, _ROOT.sub(_root, text))
    text = _PART_OF.sub(
        lambda m: _PART_TEMPLATES.get(m[1].lower(), "1/{}").format(_plain(m[2])), text
    )
    return _OPERATION.sub(_operation, text)


def _plain(operand: str) -> str:
    """An operand without dollars; a number in words in digits."""
    words = leading_number_words(operand)
    return words[0] if words else operand.strip("$")


def _root(match: re.Match[str]) -> str:
    index = "[3]" if (match[1] or "").strip().lower() == "cube" else ""
    return rf"\sqrt{index}{{{_plain(match[2])}}}"


def _power(match: re.Match[str]) -> str:
    number, word = _plain(match[1]), match[2].lower()
    if word == "factorial":
        return f"{{{number}!}}"  # in braces it is not taken for the mark that ends the sentence
    return f"{number}^{{{2 if word == 'squared' else 3}}}"


def _operation(match: re.Match[str]) -> str:
    left, word, right = _plain(match[1]), match[2].lower(), _plain(match[3])
    if word.endswith("than"):
        left, right = right, left
    return left + _OPERATIONS[word] + right


def _numeral(text: str) -> int:
    return int(text) if text.isdigit() else chinese_numeral(text) or 0


def _chinese_part(match: re.Match[str]) -> str:
    bottom, top = _numeral(match[2]), _numeral(match[3])
    sign = "-" if match[1] else ""
    return rf"{sign}{top}\%" if match[2] in ("百", "100") else f"{sign}{top}/{bottom}"


def _chinese_number(match: re.Match[str]) -> str:
    value = chinese_numeral(match[3])
    return match[0] if value is None else f"{match[1]}{'-' if match[2] else ''}{value}"
