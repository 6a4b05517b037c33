"""Where a response's reasoning ends and its answer begins.

A draft inside reasoning is never graded, whatever it holds: a box, a stated answer, a program.
Models mark their reasoning in the text with tokens of their own; where the chat template puts the
start into the prompt (DeepSeek-R1's does), only the end stands in the response.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# DeepSeek, Qwen, GLM, EXAONE; `seed:think`, `longcat_think`, `think_fast`; and GRPO recipes
_TAGS = (
    r"(?:\w{1,20}[:_])?(?:think|thinking|thoughts?|thought_process|reason|reasoning|scratch_?pad|"
    r"(?:inner_)?monologue|reflection|analysis|cot|planning)(?:_(?!end\b)\w{1,20})?"
)

_START = re.compile(
    rf"<\s*{_TAGS}(?:\s+\w+=[^<>\n]{{1,60}})?\s*>"
    rf"|<\|(?:{_TAGS}|begin_of_thought)\|>"  # Sky-T1, Command-R
    r"|<\|im_start\|>think\b"  # s1
    r"|◁think▷|\[THINK\]"  # Kimi, Magistral
    r"|<\|inner_prefix\|>|\[unused16\]|<unused94>(?:thought\b)?"  # Apertus, Pangu, MedGemma
    r"|<\|channel>thought\b"  # Gemma 4
    r"|<\|channel\|>(?:analysis|commentary)\b[^<]*<\|message\|>"  # Harmony (gpt-oss)
    r"|\A\s*analysis(?=[A-Z])",  # Harmony, decoded without its special tokens
    re.IGNORECASE,
)
_END = re.compile(
    rf"<\s*/\s*{_TAGS}\s*>|<\|(?:/{_TAGS}|end_of_thought|end_?{_TAGS}|{_TAGS}_?end)\|>"
    r"|<\|im_start\|>answer\b"
    r"|◁/think▷|\[/THINK\]|<channel\|>|<\|inner_suffix\|>|\[unused17\]|<unused95>"
    r"|\A\s*here(?: is|'s) my thought process:[\s\S]*?here(?: is|'s) my response:"  # Granite 3.2
    r"|<\|channel\|>final\b[^<]*<\|message\|>|assistantfinal",
    re.IGNORECASE,
)
_EMPTY = re.compile(rf"(?:{_START.pattern})\s*(?:{_END.pattern})", re.IGNORECASE)
_OPEN_AT_END = re.compile(rf"(?:{_START.pattern})\s*\Z", re.IGNORECASE)


class FinalPart(NamedTuple):
    """The text to be graded, and whether reasoning that began has ended."""

    text: str
    finished: bool


def final_part(response: str) -> FinalPart:
    """What a response says after its reasoning.

    Where reasoning begins and doesn't end, this is what stands before it. Markers with nothing
    between them hide nothing.
    """
    response = _EMPTY.sub("", response)
    end = 0
    for match in _END.finditer(response):
        end = match.end()
    if start := _START.search(response, end):
        return FinalPart(response[end : start.start()], False)
    return FinalPart(response[end:], True)


def reasoning_start(prompt: str) -> str:
    """The marker of reasoning that a prompt ends with; empty where it ends with none.

    A response to such a prompt is inside reasoning from its first character on. Put before the
    response, the marker says so.
    """
    match = _OPEN_AT_END.search(prompt[-200:])
    return match[0] if match else ""
