"""Reading a judge's answer: a justification and a whole number from 1 to 5, or why there is none.

Two forms are asked for: a JSON object, where the server holds the model to a schema, else text
that ends with one stated sentence. Whatever else a judge says is not a score: a number that could
be meant is not guessed.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NamedTuple

from persona_bench.benchmarks.rubrics import SCORES
from persona_bench.grading.refusal import is_refusal
from persona_bench.texts import sound

Form = Literal["json", "text"]

SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "justification": {"type": "string"},
                "score": {"type": "integer", "enum": list(SCORES)},
            },
            "required": ["justification", "score"],
            "additionalProperties": False,
        },
    },
}

ASKED: dict[str, str] = {
    "json": (
        'Answer with one JSON object and nothing else: {"justification": "...", "score": N}. The '
        "justification comes first, in one to three sentences; N is a whole number from 1 to 5."
    ),
    "text": (
        "Justify the score in one to three sentences. Then end with this sentence, on a line of "
        "its own, with a whole number from 1 to 5 for N:\nTherefore, the final score is N."
    ),
}

AGAIN = "That was not in the form that was asked for. {asked}"

REASONS = {
    "judge_unreadable": "the answer is not in the form that was asked for",
    "judge_out_of_range": "the score is no whole number from 1 to 5",
    "judge_empty": "the answer has no text",
    "judge_refused": "the judge declined to judge",
    "judge_truncated": "the answer was cut off at its length limit",
    "judge_error": "the request failed for good",
}

_SENTENCE = re.compile(
    r"therefore,?\s+the\s+final\s+score\s+is\s*:?\s*(?P<score>[^\n]*)", re.IGNORECASE
)
# 4, **4**, 4/5, 4 out of 5, "4."; no two repeats side by side can share a character, as judges
# that are stuck say one a thousand times
_SCORE = re.compile(
    r"[\s*_\"'`(\[]*(?P<score>-?\d+(?:\.\d+)?)(?:[\s*_]*(?:/|out\s+of)[\s*_]*(?P<of>\d+))?"
    r"[\s*_\"'`)\].!]*"
)
_FENCE = re.compile(r"\A```(?:json)?(?P<inside>.*)```\Z", re.DOTALL)


class Reading(NamedTuple):
    """What was read of an answer.

    Attributes:
        score: 1 to 5; None where it could not be read.
        reason: Why not, one of `REASONS`; empty where it could.
        justification: The judge's words; the whole answer where it could not be read.
    """

    score: int | None
    reason: str
    justification: str


def read_answer(text: str, form: Form, *, finish: str = "stop") -> Reading:
    """The verdict in an answer.

    Args:
        text: What the judge said.
        form: What it was asked for.
        finish: How the answer ended: `stop`, `length` (cut off) or `content_filter`.
    """
    text = sound(text or "").strip()
    if finish == "content_filter":
        return Reading(None, "judge_refused", text)
    if not text:
        return Reading(None, "judge_truncated" if finish == "length" else "judge_empty", "")
    reading = _read_json(text) if form == "json" else _read_text(text)
    if reading.score is None and finish == "length":
        return Reading(None, "judge_truncated", text)
    if reading.reason == "judge_unreadable" and is_refusal(text):
        return Reading(None, "judge_refused", text)
    return reading


def _read_json(text: str) -> Reading:
    if fenced := _FENCE.match(text):
        text = fenced["inside"]
    try:
        verdict = json.loads(text)
    except (ValueError, RecursionError):
        return Reading(None, "judge_unreadable", text)
    if not isinstance(verdict, dict) or not isinstance(verdict.get("justification"), str):
        return Reading(None, "judge_unreadable", text)
    value, words = verdict.get("score"), sound(verdict["justification"])
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return Reading(None, "judge_unreadable", text)
    score, reason = _score(str(value))
    return Reading(score, reason, words if score else text)


def _read_text(text: str) -> Reading:
    sentences = list(_SENTENCE.finditer(text))
    if not sentences or text[sentences[-1].end() :].strip(" \t\r\n*_`\"'"):
        return Reading(None, "judge_unreadable", text)  # none, or not at the end
    score, reason = _score(sentences[-1]["score"])
    return Reading(score, reason, text[: sentences[-1].start()].strip(" \n*_") if score else text)


def _score(text: str) -> tuple[int | None, str]:
    match = _SCORE.fullmatch(text.strip())
    if match is None:
        return None, "judge_unreadable"
    number = float(match["score"])
    if number not in SCORES or match["of"] not in (None, str(SCORES[-1])):
        return None, "judge_out_of_range"
    return int(number), ""
