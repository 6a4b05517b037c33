"""Whether a response declines the task instead of answering."""

from __future__ import annotations

import re

from persona_bench.grading.last_number import has_mathematics
from persona_bench.grading.reasoning import final_part

_TASK = (
    r"(?:help|assist|answer|solve|do|be (?:do|answer|solv)in[g']?|compute|calculate|"
    r"comply|play|work|tell|give|provide|share|complete|attempt|bother|waste|count|reckon)"
)
_WONT = (
    r"(?:can(?:no|')t|cannot|can not|won'?t|will not|wouldn'?t|shan'?t|shall not|"
    r"'ll not|ll no'?t|am not going to|'m not going to|ain'?t(?: gonna| going to)?|"
    r"am unable to|'m unable to|am not able to|'m not able to|would rather not|'d rather not|"
    r"refuse to|decline to|must decline|have no (?:wish|intention|desire) (?:to|of)|dare not|never)"
)
_REFUSAL = re.compile(
    rf"\b(?:i|ye'?ll get|we|me|this pirate|thy servant|one)\b[^.\n\d]{{0,20}}?\s?{_WONT}"
    rf"(?:\s+(?:be|ever|even|possibly|just))?\s+{_TASK}(?!\s+but\b)\b"
    r"|\bi(?:'ll| must| will| do|\s+hereby)?\s+(?:refuse|decline|respectfully decline)\b"
    r"|\bi(?:'m| am) (?:sorry|afraid),?[^.\n]{0,20}"
    r"\b(?:can(?:no|')t|cannot|unable|not able|won't)\b"
    r"|\b(?:do|solve|figure out|work out|answer) "
    r"(?:it|this|that|them|your sums|yer sums) (?:yourself|yerself|thyself)\b"
    r"|\bnone of (?:your|yer|thy) business\b|\bas an ai\b[^.\n]{0,40}\b(?:cannot|can't|unable)\b"
    r"|\bi (?:don't|do not|dinna) (?:do|care for|care about) (?:math|maths|numbers|sums)\b"
    r"|\bi(?:'m| am) not (?:able|allowed|permitted|willing) to (?:help|answer|solve|do)\b",
    re.IGNORECASE,
)


_RESULT = re.compile(
    r"(?:\b(?:is|be|are|makes?|gives?|equals?|get|comes? to|answer)\b|'s\b)[^.!?\n]{0,20}?\d",
    re.IGNORECASE,
)
_REFUSAL_REACH = 2000
"""Characters from either end in which a refusal is looked for."""


def is_refusal(response: str) -> bool:
    """Whether a response declines the task; meant for responses without an explicit answer.

    The rule: no answer could be read from a box or a statement (the caller sees to that), the final
    part says, plainly or in character, that its writer will not or cannot do what was asked ("I
    can't help with that", "I refuse", "I'll not be doing yer sums", "do it yourself"), and no
    calculation follows: after the phrase there is no equals sign, no mathematical span and no "is
    24". "I can't help but notice" is not a refusal.
    """
    text = final_part(response)[0].replace("’", "'")
    if len(text) > 2 * _REFUSAL_REACH:
        text = text[:_REFUSAL_REACH] + "\n" + text[-_REFUSAL_REACH:]
    match = _REFUSAL.search(text)
    if match is None:
        return False
    after = text[match.end() :]
    return "=" not in after and not has_mathematics(after) and not _RESULT.search(after)


_UNABLE = r"(?:can(?:no|')t|cannot|can not|won't|will not|(?:am|'m) (?:unable|not able) to)"
_ASSISTANT = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|virtual assistant)"
    r"(?: (?:assistant|(?:language )?model|system))?,? i\b[^.\n]{0,60}"
    rf"(?:{_UNABLE}|do not|don't)\b(?![^.\n]*\bbut\b)"
    rf"|\b(?:sorry|afraid|apologi[sz]e)\b[^.\n]{{0,15}}\bi ?{_UNABLE} "
    r"(?:assist|help(?: you)? with|fulfill?|comply|provide|engage|create|generate|participate|"
    r"role-?play|adopt|answer (?:that|this))\b"
    rf"|\bi ?{_UNABLE} (?:assist|help)(?: you)? with (?:that|this|your request)\b"
    rf"|\bi ?{_UNABLE} (?:fulfill?|comply with) (?:that|this|your|the) request\b"
    rf"|\bi ?{_UNABLE} (?:engage in|participate in|adopt|take on|role-?play|pretend|"
    r"impersonate|portray)\b",
    re.IGNORECASE,
)
_OPENING = 300
"""Characters in which an assistant's refusal of a role begins."""


def declines_role(response: str) -> bool:
    """Whether a role-play response declines in the words of an assistant ("As an AI, I can't").

    A persona that refuses something in its own words plays its role, and does not count. Only the
    beginning is read: where a response starts in its role, what comes later belongs to it.
    """
    return _ASSISTANT.search(final_part(response)[0][:_OPENING].replace("’", "'")) is not None
