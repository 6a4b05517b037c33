r"""The last number or expression of a response that states no answer: "12 + 5 = 17, 3 cheers!" """

from __future__ import annotations

import re

from persona_bench.grading.expressions import (
    BEFORE_NUMBER,
    PERCENT_AFTER,
    expression_end,
    skip_filler,
    span_at,
    value_at,
    with_scale,
)
from persona_bench.grading.normalise import ALIGNED
from persona_bench.grading.numbers import SCALE_WORDS, leading_number_words
from persona_bench.grading.statements import IS

_LAST_NUMBER = re.compile(
    rf"(?<![{BEFORE_NUMBER}])(?<!/[a-z]\^)(?:[-−](?=[\d.]))?"
    r"(?:\d+ \d+/\d+|\d*\s?[¼½¾⅐-⅞]|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:\s?/\s?\d+(?!\d))?(?:\s*\\?%)?(?!(?:st|nd|rd|th)\b)"
)
_NO_ANSWER_BEFORE = re.compile(
    r"(?:\bmod(?:ulo)?|\b(?:not|nicht|niet|nie|pas|не|não)|n't|不是|\bthan|≠|\\neq?|!=)[\s$*]*\Z",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"(?<!\\)\b(?:about|approximately|approx\.?|roughly)[\s$*]*\Z"
    r"|(?:π|\bpi|√[\d(]\S{0,9}|\d\s?/\s?\d+|\d\)|\})[\s$]*≈[\s$]*\Z",
    re.IGNORECASE,
)
_LAST_LATEX = re.compile(
    r"\\(?:[dtc]?frac|sqrt|d?binom|pi|infty|left|begin\{[bpvBV]?matrix\})(?![a-zA-Z])"
    r"|(?<![a-zA-Z\\])sqrt(?=\()|√(?=\s*[\d({a-z])|(?<![\w.}\\])\d+(?:\^(?:\{[^{}]*\}|\d+)|[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
)
_COEFFICIENT = re.compile(r"(?<![\w}])[-−+]?\s?(?:\d+(?:\.\d+)?|[a-z])?\s?\Z")
_VARIABLE_SPAN = re.compile(
    r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?'?(?:\([a-zA-Z]\))?|\\(?:angle|triangle) ?[A-Z]+"
)
_LAST_REACH = 4000
"""Characters from the end in which a last number is looked for."""
_NAMED_LIST = re.compile(
    r"(?<![a-zA-Z\\\d])([a-zA-Z])\s*=\s*[^\s,=，、或和]+"
    r"(?:\s*(?:,|\bor\b|\band\b|[，、或和])\s*(?:or\s+)?\1\s*=\s*[^\s,=，、或和]+)+\Z"
)
"""`x = 3 or x = 6`."""
_ASSIGNED = r"[$(\\]{0,2}(?<![a-zA-Z\\])[a-zA-Z](?:_\w)?\s*=\s*[^\s,=，、$]+?[$)\\]{0,2}"
_ASSIGNMENTS = re.compile(rf"{_ASSIGNED}(?:\s*(?:,|\bor\b|\band\b)+\s*{_ASSIGNED}(?=[\s,.;]|$))+")
"""`x = 2 and y = 3`."""
_CONCLUSION = re.compile(
    r"\bthere (?:are|is|be|were|will be|must be) "
    r"(?:(?:exactly|only|precisely|a total of|thus|therefore|hence) )*(?=[$\\]*\d)"
    r"|(?:^|\n)[\s*_]*(?:therefore|thus|hence|so|consequently)[,:]? "
    r"(?=[$\\(]*[-−]?\d\S*\s(?:is|are) (?:the|our|my)\b)",
    re.IGNORECASE,
)
"""Before a number that a sentence concludes with: "there are 6 ways", "so 6 is the smallest"."""


def _last_conclusion(text: str) -> str:
    """The number that the last sentence concludes with; empty where it concludes otherwise."""
    sentences = [match for match in _SENTENCE.finditer(text) if re.search(r"\d", match[0])]
    if not sentences:
        return ""
    sentence = sentences[-1][0].lstrip()
    for match in _CONCLUSION.finditer(sentence):
        if value_and_end := value_at(sentence, match.end()):
            number, end = value_and_end
            rest = re.sub(r"^[\s$]*(?:is|are) (?:the|our|my)\b", "", sentence[end:])
            if re.search(r"\d", number) and not _CONCLUDES.search(rest):
                return number
    return ""


def find_last(text: str, *, several: bool = False) -> str:
    """The last mathematical span or number of a text; a number in words where it has no digits.

    Args:
        text: A response without its reasoning.
        several: The reference has several members: `x = 2 and y = 3` is read as one list.
    """
    text = ALIGNED.sub(lambda match: match[2].replace("&", " "), text[-_LAST_REACH:])
    plain = _ASSURANCE.sub("", _ASIDE.sub("", text))
    plain = _BOAST.sub(r"\1", _REASON.sub(_without_reason, plain))
    if (check := _CHECK.search(plain)) and _VALUE.search(plain[: check.start()]):
        plain = plain[: check.start()]
    text = _without_chat(plain if _VALUE.search(plain) else text)
    lists = list(_ASSIGNMENTS.finditer(text)) if several else []
    if lists and not re.search(r"\d", text[lists[-1].end() :]):
        return re.sub(r"[$\\()]", "", re.sub(r"\s(?:and|or)\s", ", ", lists[-1][0]))
    if concluded := _last_conclusion(text):
        return concluded
    span, span_end = _last_span(text)
    latex, latex_end = _last_latex(text, span_end)
    if latex:
        span, span_end = latex, latex_end
    numbers = [
        match
        for match in _LAST_NUMBER.finditer(text, span_end)
        if not _ordinal(text, match) and not _NO_ANSWER_BEFORE.search(text[: match.start()][-20:])
    ]
    exact = [match for match in numbers if not _ABOUT.search(text[: match.start()][-20:])]
    if exact or (numbers and not span):
        number = _result(text, numbers) or (exact or numbers)[-1]
        if named := _NAMED_LIST.search(text, 0, number.end()):
            return named[0]
        whole = _concluded_with(text, number.start(), number.end())
        if whole != number[0].strip() and whole:
            return whole
        return with_scale(text, number.start(), number[0].strip(), number.end())[0]
    if span:
        return span
    if listed := list(_LAST_NUMBER.finditer(text)):
        opens_line = _LIST_ITEM.match(text, listed[0].end())
        return listed[0][0].strip() if len(listed) == 1 and opens_line else ""
    return "" if re.search(r"\d", text) else _last_words(text)


def _concluded_with(text: str, begin: int, stop: int) -> str:
    """The expression around what stands there, where a verb or sign states it: `is e^2`."""
    start = text.rfind("\n", 0, begin) + 1
    signs = [match.end() for match in re.finditer(IS, text[start:begin], re.IGNORECASE)]
    for sign in reversed(signs[-3:]):
        position = skip_filler(text, start + sign)
        end = expression_end(text, position)
        if end >= stop and not re.search(r",|\b(?:and|or)\b", text[stop:end]):
            return text[position:end].strip()
        return ""
    return ""


_ASIDE = re.compile(r"(?<=[\d$*]) \([^()$=]*[a-zA-Z]{2,}[^()$=]*\)")
_ASSURANCE = re.compile(
    r",?\s*\b(?:of (?:that|which) )?I(?:'m| am|’m) (?:about |like )?\d+(?:\.\d+)?\s?% [a-z]+"
    r"|\b\d+(?:\.\d+)?\s?% (?:sure|certain|confident|positive|accurate)\b"
    r"|(?<=\d), (?:with|to) (?:an? )?(?:probability|confidence|certainty|likelihood|accuracy)"
    r"(?: level)? of [\d.]*\d\s?%"
    r"|(?<=\d),? (?:as )?(?:sure|certain|true) as [^.!?\n]*"
    r"|\b(?:it(?:'s|’s| is)|is it) (?:like |almost |already |past |only |really )*\d{1,2}(?::\d\d)?"
    r"(?:\s?[ap]\.?m\b\.?| o['’]clock)",
    re.IGNORECASE,
)
"""How sure the writer is, and what the clock says: `I am 99% certain`, `it's like 3am`."""
_REASON = re.compile(
    r"([\d$)][^.!?\n]{0,60}?)(?:,\s+(?:since|because)\b|\s\((?:(?:we|I) )?"
    r"(?:discard|reject|ignor|exclud|rul|not|since|because|check))"
    r"(?:(?!\b(?:so|thus|hence|therefore|answer)\b)[^.!?\n])*",
    re.IGNORECASE,
)
"""Why the value before it is right, or another is not: `x = 6, because x = -2 is negative`."""
_CHECK = re.compile(
    r"(?:\n|[.!?]\s)[\s*#_]*(?:let me |let's |to )?"
    r"(?:(?:double[- ])?check|verif(?:y|ication)|proof)(?:ing)?\b[\s*_]*[:：]"
    r"(?![\s\S]*\b(?:so|thus|hence|therefore|answer|final|wait|no)\b)",
    re.IGNORECASE,
)
"""A check at the end that concludes nothing: `Check: 2(6) + 1 = 13`."""
_BOAST = re.compile(
    r"([\d$)][^.!?\n]{0,30}),\s+(?:(?:and )?(?:it|that) )?"
    r"(?:(?:only |just |barely )?took|not bad for|easy as|thanks to|pay me|you owe me|"
    r"see you|trust me)\b[^.!?\n=$\\]*",
    re.IGNORECASE,
)
"""Chat in the sentence of the answer: `it's $9$, took me like 2 secs`."""
_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*[.!?\n]*")
_CONCLUDED = re.compile(
    rf"(?:{IS}|\b(?:its|makes?|gives?|gets?|got|leaves?|yields?|totals?)\b)[\s*_(:]*"
    r"(?:[$\\]*[-−]?\d|\$(?=[^$\n]*\$)|\\[(\[])"
    r"|\d[$*]*,\s*(?:it|that|this) (?:is|be)\b",
    re.IGNORECASE,
)
_COUNTS_SOMETHING = re.compile(
    r"[^\d=+*/^$\\]*\d+\s+[^\W\d]{2,}[^\d=+*/^$\\]*|[^\d=]*\bno\. ?\d+[^\d=]*"
)
_LONE_NUMBER = re.compile(r"[\s*_$]*(?!1\.)[-−]?\d+(?:[.,]\d+)*[\s*_$]*[.!?]+\s*")
"""`30.` before chat; `1.` may open a list."""


def _without_reason(match: re.Match[str]) -> str:
    """The value alone, unless the sentence denies it: "it can't be 5, because 8 works"."""
    before = re.split(r"[.!?\n]", match.string[: match.start()])[-1]
    denied = re.search(r"\b(?:not|never|cannot|no)\b|n['’]t\b", before, re.IGNORECASE)
    return match[0] if denied else match[1]


_VALUE = re.compile(r"\d|\$[^$\n]+\$|\\[(\[]")


def _without_chat(text: str) -> str:
    """The text up to the sentence that concludes with a number, where only chat follows.

    Chat counts something and concludes nothing: "It's 42. Leave me alone, I need 3 naps."
    """
    chats = False
    for sentence in reversed(list(_SENTENCE.finditer(text))):
        if not _VALUE.search(sentence[0]):
            continue
        alone = _LONE_NUMBER.fullmatch(sentence[0]) and "\n" not in text[: sentence.start()][-1:]
        if alone or _CONCLUDED.search(sentence[0]):
            return text[: sentence.end()] if chats else text
        if not _COUNTS_SOMETHING.fullmatch(sentence[0].strip(" *_")) or _CONCLUDES.search(
            sentence[0]
        ):
            break
        chats = True
    return text


def _last_latex(text: str, position: int) -> tuple[str, int]:
    """The last LaTeX expression without delimiters from a position on, and where it ends."""
    last = ("", 0)
    while match := _LAST_LATEX.search(text, position):
        before = _COEFFICIENT.search(text, 0, match.start())
        start = before.start() if before else match.start()
        while start < match.start() and text[start].isspace():
            start += 1
        end = max(expression_end(text, start), match.end())
        last = (_concluded_with(text, start, end) or text[start:end].strip(), end)
        position = end
    return last


_CONCLUDES = re.compile(
    r"=|≈|\b(?:is|are|was|were|get|gets|got|give|gives|gave|given|make|makes|equals?|leaves|left|"
    r"totals?|sum|so|thus|therefore|hence|then|means|answer|result|final|(?<!\bi )have|has|"
    r"remain\w*|becomes?|yields?|comes? to|obtain|find|conclude|there)\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"[\s$]*(?:[-+*/×÷^:]|(?:or|and|to|through)\s+[-$]?\d|,\s*[-$]?\d)")


def _result(text: str, numbers: list[re.Match[str]]) -> re.Match[str] | None:
    """The right side of the last plain equation, where only chat with numbers in it follows.

    "12 + 5 = 17, and 3 cheers for you!" ends in 3 and answers 17. What follows must not conclude
    anything: "12 + 5 = 17. Adding 3, we get 20" answers 20.
    """
    for number in reversed(numbers):
        before = text[: number.start()].rstrip(" $*")
        if before.endswith("=") and not before.endswith(("!=", "<=", ">=")):
            after = number.end()
            ends = not (_GOES_ON.match(text, after) or _CONCLUDES.search(text, after))
            return number if ends else None
    return None


def has_mathematics(text: str) -> bool:
    """Whether the end of a text holds a mathematical span that is more than a variable."""
    return bool(_last_span(text[-_LAST_REACH:])[0])


_LIST_ITEM = re.compile(r"[.)]\s")


def _ordinal(text: str, match: re.Match[str]) -> bool:
    """`2nd`, `x2`, and the `2.` that opens a line of a list."""
    after = text[match.end() : match.end() + 3]
    return bool(
        re.match(r"[a-zA-Z_]{2}\w|st|nd|rd|th", after) and not after.startswith(("cm", "km"))
    ) or (
        bool(_LIST_ITEM.match(after))
        and not text[: match.start()].rpartition("\n")[2].strip()
        and len(text[match.end() :].partition("\n")[0]) > 3
    )


def _last_span(text: str) -> tuple[str, int]:
    last, position = ("", 0), 0
    while match := re.compile(r"(?<!\\)(?:\$|\\[(\[])").search(text, position):
        span = span_at(text, match.start())
        if span is None:
            position = match.end()
            continue
        if not _VARIABLE_SPAN.fullmatch(span[0]) or span[0] in (r"\pi", r"\infty"):
            value = span[0] + (r"\%" if PERCENT_AFTER.match(text, span[1]) else "")
            last = (value, span[1])
        position = span[1]
    return last


def _last_words(text: str) -> str:
    """The last number written in words, but for a lone `one` or `zero`, which rarely is one."""
    last, position = "", 0
    for match in re.finditer(r"[A-Za-z]+(?:-[A-Za-z]+)*", text):
        if match.start() < position or re.fullmatch(SCALE_WORDS, match[0], re.IGNORECASE):
            continue
        number = leading_number_words(text[match.start() : match.start() + 200])
        if number:
            position = match.start() + number[1]
            if match[0].lower() not in ("one", "zero", "half", "quarter") or number[1] > len(
                match[0]
            ):
                last = number[0]
    return last
