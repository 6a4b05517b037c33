"""Reading what an OpenAI-compatible endpoint answers, whatever form it has.

A status of 200 does not mean that there is an answer: providers send their errors with it, answers
in parts, numbers as text. What can't be read raises `AnswerError` with the provider's own words, so
that one odd answer is one unscored response.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class AnswerError(RuntimeError):
    """An answer without a response in it; the message holds the provider's words.

    Attributes:
        status: The HTTP status that the body names, such as 429; None where it names none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(without_keys(message)[:300])
        self.status = status


@dataclass(frozen=True)
class Answer:
    """One choice of an answer.

    Attributes:
        text: The response, without its reasoning.
        finish: `stop`, `length`, or `content_filter` (withheld, or declined in so many words).
        reasoning: What a thinking model wrote before, where it is told apart.
    """

    text: str
    finish: str
    reasoning: str = ""


def read_answers(body: Any) -> list[Answer]:
    """The choices of a chat or text completion, in the order of their index.

    Raises:
        AnswerError: the body is an error, or has no response in it.
    """
    if not isinstance(body, Mapping):
        raise AnswerError(f"the answer is no JSON object: {_short(body)}")
    if body.get("error"):
        raise _error(body["error"])
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _error(body, "the answer has no choices")
    return [_choice(choice) for choice in sorted(choices, key=_index)]


def whole_number(value: Any) -> int | None:
    """A count, also where it is written as text; None for anything else, NaN too."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None


_KEYS = re.compile(r"\b(?:sk|pk|key|hf|gsk|xai)[-_][A-Za-z0-9_-]{8,}|\bBearer\s+\S+", re.IGNORECASE)


def without_keys(text: str) -> str:
    """The text with API keys and tokens blanked out."""
    return _KEYS.sub("[key]", text)


# ------------------------------------------------------------------------------- its parts


def _choice(choice: Any) -> Answer:
    if not isinstance(choice, Mapping):
        raise AnswerError(f"a choice is no JSON object: {_short(choice)}")
    finish = str(choice.get("finish_reason") or "stop")
    if choice.get("error") or finish == "error":
        raise _error(choice.get("error") or choice, "finish_reason is error")
    message = choice.get("message")
    if not isinstance(message, Mapping):
        if not isinstance(choice.get("text"), str):
            raise AnswerError(f"a choice has no message: {_short(choice)}")
        message = {"content": choice["text"]}
    text, reasoning, refusal = _content(message.get("content"))
    refusal = refusal or str(message.get("refusal") or "")
    apart = message.get("reasoning_content") or message.get("reasoning") or ""
    if not text and refusal:
        text, finish = refusal, "content_filter"
    known = finish if finish in ("length", "content_filter") else "stop"
    return Answer(text, known, reasoning or (apart if isinstance(apart, str) else ""))


def _content(content: Any) -> tuple[str, str, str]:
    """Text, reasoning and refusal of a message's content: text, a part, or a list of parts."""
    if content is None or isinstance(content, str):
        return content or "", "", ""
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            kind = str(part.get("type") or "text")
            where = thoughts if kind in ("thinking", "reasoning") else texts
            where = refusals if kind == "refusal" else where
            inside = next(
                (part[k] for k in ("text", kind, "content", "summary") if part.get(k)), ""
            )
            where.append(inside if isinstance(inside, str) else _content(inside)[0])
        else:
            raise AnswerError(f"the content is neither text nor parts: {_short(content)}")
    return "".join(texts), "".join(thoughts), "".join(refusals)


def _error(told: Any, otherwise: str = "") -> AnswerError:
    """The provider's words and status, wherever it puts them."""
    status = None
    words = told if isinstance(told, str) else ""
    if isinstance(told, Mapping):
        for name in ("code", "status_code", "status"):
            number = whole_number(told.get(name))
            if number is not None and 400 <= number < 600:
                status = number
        for name in ("message", "msg", "detail", "error_message", "error", "reason"):
            if told.get(name):
                words = told[name] if isinstance(told[name], str) else _short(told[name])
                break
        words = words or _short(told)
    return AnswerError(": ".join(part for part in (otherwise, words) if part), status)


def _index(choice: Any) -> int:
    return (whole_number(choice.get("index")) or 0) if isinstance(choice, Mapping) else 0


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 200 else text[:197] + "..."
