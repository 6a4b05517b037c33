"""Reading what an endpoint sends: responses, or why there are none.

Servers that call themselves OpenAI-compatible differ. Status 200 does not mean that there is a
response: providers send their errors with it, and proxies send pages of HTML or streams that nobody
asked for. `read_answers` is the one reader for the model under test and for judges. A body that
holds no response raises `AnswerError` with the server's own words.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NoReturn

LONGEST_WORDS = 300  # characters of a stored error

# the words for how a response ended, from OpenAI, Azure, Mistral, Anthropic, Gemini, GLM, DeepSeek,
# vLLM and SGLang; any other word counts as the model's own end
CUT_OFF = {"length", "max_tokens", "max_output_tokens", "model_length"} | {
    "model_context_window_exceeded"
}
WITHHELD = {"content_filter", "refusal", "safety", "sensitive", "prohibited_content"} | {
    "recitation",
    "blocklist",
    "spii",
}
FAILED = {"error", "abort", "aborted", "cancelled", "network_error"} | {
    "insufficient_system_resource"
}
LATER = {"rate_limit_exceeded", "rate_limit_error", "resource_exhausted", "too_many_requests"}

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
WORDS = ("message", "msg", "detail", "error_message", "error_msg", "status_msg", "error", "reason")
CODES = ("code", "status_code", "http_code", "error_code", "status", "type")
HINTS = ("retry_after", "retry-after", "retry_after_seconds", "retrydelay", "x-ratelimit-reset")


class AnswerError(RuntimeError):
    """There is no response; the message holds the server's own words.

    Attributes:
        status: The HTTP status; where that is 200, the one that the body names, or None.
        code: The server's name for the error, such as `insufficient_quota`.
        parameter: The parameter of the request that the server names.
        wait: Seconds after which the server wants to be asked again, where it says so.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        code: str = "",
        parameter: str = "",
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.parameter, self.wait = status, code, parameter, wait


@dataclass(frozen=True)
class Answer:
    """One response of an endpoint.

    Attributes:
        text: What the model said, without its reasoning; the words of a refusal where it refused.
        finish: `stop`, `length` (cut off) or `content_filter` (withheld, or refused).
        reasoning: What a thinking model wrote before, where the endpoint sends it apart.
        tokens: Generated tokens, reasoning included; None where the endpoint does not say.
        prompt_tokens: Likewise.
        model: The model's name as the endpoint reports it.
    """

    text: str
    finish: str = "stop"
    reasoning: str = ""
    tokens: int | None = None
    prompt_tokens: int | None = None
    model: str = ""


def read_answers(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None, prompts: int = 1
) -> list[Answer]:
    """The responses in a body: of a chat or text completion, Anthropic's or SGLang's form.

    Args:
        body: As it came.
        status, headers: Status and headers of the HTTP response.
        prompts: How many prompts the request had, in the order of the responses.

    Raises:
        AnswerError: there is no response, or not one for each prompt.
    """
    headers = headers or {}
    text = body.decode("utf-8-sig", errors="replace").strip()
    try:
        body_json = json.loads(text, strict=False)  # some servers leave line breaks as they are
    except (ValueError, RecursionError):
        raise _unreadable(text, status, headers) from None
    if isinstance(body_json, list) and len(body_json) == 1:  # Gemini's errors
        (body_json,) = body_json
    if status >= 400:
        return _prompt_filtered(body_json) or _fail(body_json, "", status, headers)
    if isinstance(body_json, Mapping) and _says(body_json.get("error")):
        error = body_json if body_json["error"] is True else body_json["error"]
        return _prompt_filtered(body_json) or _fail(error, "", None, headers)
    choices, usage = _choices(body_json, headers)
    answers = [_answer(choice, body_json, headers) for choice in sorted(choices, key=_index)]
    if prompts == 1:
        answers = answers[:1]
    elif len(answers) != prompts:
        raise AnswerError(f"{len(answers)} responses came for {prompts} prompts")
    whole = len(choices) == 1  # the usage of several is their sum
    model = str(body_json.get("model") or "") if isinstance(body_json, Mapping) else ""
    tokens = _number(usage, "completion_tokens", "output_tokens")
    prompt_tokens = _number(usage, "prompt_tokens", "input_tokens")
    return [
        Answer(
            each.text,
            each.finish,
            each.reasoning,
            tokens if whole else None,
            prompt_tokens if whole else None,
            model,
        )
        for each in answers
    ]


# ---------------------------------------------------------------------- responses


def _choices(body: Any, headers: Mapping[str, str]) -> tuple[list[Any], Any]:
    """The choices of a body and its usage, whatever form it has."""
    many = body if isinstance(body, list) and body else [body]
    if all(isinstance(each, Mapping) and "meta_info" in each for each in many):  # SGLang's own form
        infos = [
            each["meta_info"] if isinstance(each["meta_info"], Mapping) else {} for each in many
        ]
        choices = [
            {"text": each.get("text"), "finish_reason": about.get("finish_reason")}
            for each, about in zip(many, infos, strict=True)
        ]
        return choices, infos[0]
    if not isinstance(body, Mapping):
        raise AnswerError(f"the answer is {_kind(body)}, where an object belongs: {_short(body)}")
    if "choices" not in body and "content" in body and "stop_reason" in body:  # Anthropic's
        choice = {"message": body, "finish_reason": body["stop_reason"]}
        return [choice], body.get("usage")
    listed = body.get("choices")
    if not isinstance(listed, list) or not listed:
        rest = {name: value for name, value in body.items() if name != "choices"}
        _fail(rest, "the answer has no choices", None, headers)
    return listed, body.get("usage")


def _answer(choice: Any, body: Any, headers: Mapping[str, str]) -> Answer:
    if not isinstance(choice, Mapping):
        raise AnswerError(f"the choice is {_kind(choice)}, where an object belongs")
    reason = choice.get("finish_reason")
    if isinstance(reason, Mapping):  # SGLang's
        reason = reason.get("type")
    ended = str(reason or "stop").lower().partition(":")[0].strip()
    if _says(choice.get("error")):
        _fail(choice["error"], "", None, headers)
    message = choice.get("message", choice if "text" in choice else None)
    if ended in FAILED:
        words = message.get("error") if isinstance(message, Mapping) else None
        _fail(words or {}, f"the response ended with {ended!r}", None, headers)
    if not isinstance(message, Mapping):
        if ended in WITHHELD:
            return Answer("", "content_filter")
        raise AnswerError(f"the message is {_kind(message)}, where an object belongs")
    content = _Content(message.get("content", message.get("text")))
    text = "".join(content.text)
    refusal = "".join(content.refusal) or _plain(message.get("refusal"))
    reasoning = "".join(content.reasoning)
    for field in REASONING_FIELDS:
        reasoning = reasoning or _plain(message.get(field))
    if ended in WITHHELD or (refusal and not text):
        return Answer(text or refusal, "content_filter", reasoning)
    return Answer(text, "length" if ended in CUT_OFF else "stop", reasoning)


class _Content:
    """A message's content, taken apart: text as it is, one part, or a list of parts."""

    def __init__(self, content: Any) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        for part in content if isinstance(content, list) else [content]:
            self._take(part)

    def _take(self, part: Any) -> None:
        if part is None:
            return
        if isinstance(part, str):
            self.text.append(part)
            return
        if not isinstance(part, Mapping):
            raise AnswerError(f"the content is {_kind(part)}, where text or parts belong")
        kind = str(part.get("type") or "text")
        if kind in ("thinking", "reasoning"):
            self.reasoning.append(_plain(part))
        elif kind == "refusal":
            self.refusal.append(_plain(part))
        elif "text" in part:
            self.text.append(_plain(part["text"]))
        elif kind in ("text", "output_text"):
            raise AnswerError(f"a part of the content has no text: {_short(part)}")


def _plain(value: Any) -> str:
    """The text of a field that may be text, a part, or a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        fields = ("text", "thinking", "reasoning", "refusal", "content", "summary", "value")
        return next((text for field in fields if (text := _plain(value.get(field)))), "")
    return "".join(map(_plain, value)) if isinstance(value, list) else ""


def _index(choice: Any) -> int:
    return (_number(choice, "index") or 0) if isinstance(choice, Mapping) else 0


def _number(holder: Any, *names: str) -> int | None:
    """A count under the first of the names that holds one, as a number or as text.

    What can't be read (NaN, other text) counts as not told: the response itself is there.
    """
    holder = holder if isinstance(holder, Mapping) else {}
    for name in names:
        with suppress(TypeError, ValueError, OverflowError):  # int(NaN), int(Infinity)
            if (number := int(float(holder.get(name)))) >= 0:
                return number
    return None


# ---------------------------------------------------------------------- errors


def _says(error: Any) -> bool:
    """Whether a field named error says anything: some servers always send an empty one."""
    if isinstance(error, Mapping):
        return any(map(_says, error.values()))
    return bool(error)


def _prompt_filtered(body: Any) -> list[Answer]:
    """Azure refuses a prompt with an error that says so: a refusal, not a failure."""
    if any(name == "code" and value == "content_filter" for name, value in _walk(body)):
        return [Answer(_words(body), "content_filter")]
    return []


_RATE_LIMIT = re.compile(r"\brate[ _-]?limit|\btoo many requests", re.IGNORECASE)


def _fail(error: Any, why: str, status: int | None, headers: Mapping[str, str]) -> NoReturn:
    """Raises what a server's error says.

    Args:
        error: The error, or the body that it is in.
        why: What is wrong with the answer; in front of the server's own words.
        status: The HTTP status, where it is one of an error.
    """
    words, parameter = _words(error), _parameter(error)
    if parameter and parameter not in words:
        words += f" ({parameter})"
    codes = [_scalar(error, (name,)) for name in CODES]
    numbers = [int(code) for code in codes if str(code).isdecimal()]
    names = [code for code in codes if isinstance(code, str) and not code.isdecimal()]
    if status is None:
        status = next((number for number in numbers if 400 <= number < 600), None)
        later = any(name.lower() in LATER for name in names) or _RATE_LIMIT.search(words)
        if status is None and later:
            status = 429
        head = f"error {status}" if status is not None else ""
    else:
        head = _http(status)
    message = ": ".join(part for part in (head, why, words) if part)
    raise AnswerError(
        message,
        status,
        code=names[0] if names else "",
        parameter=parameter,
        wait=_hint(error, words, headers),
    )


def _unreadable(text: str, status: int, headers: Mapping[str, str]) -> AnswerError:
    """What a body that is not JSON says."""
    failed = status if status >= 400 else None
    head = _http(status) if failed else "the answer"
    if not text:
        words = head if failed else f"{head} is empty"
    elif text.startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        page = title[1] if title else re.sub(r"<[^>]*>", " ", text)
        words = f"{head}{'' if failed else ' is a page of HTML'}: {' '.join(page.split())}"
    elif re.match(r"(data|event|id|retry)?:", text):
        for line in text.splitlines():
            with suppress(ValueError, RecursionError):
                event = json.loads(line.partition(":")[2])
                if isinstance(event, Mapping) and _says(event.get("error")):
                    _fail(event["error"], "", failed, headers)
        words = f"{head} is a stream of events, which nobody asked for: {text}"
    else:
        words = f"{head}{'' if failed else ' is not JSON'}: {text}"
    return AnswerError(words, failed, wait=_hint(None, text[:LONGEST_WORDS], headers))


def _http(status: int) -> str:
    """`HTTP 502 Bad Gateway`."""
    with suppress(ValueError):
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    return f"HTTP {status}"


def _words(error: Any) -> str:
    """The server's own words, wherever it puts them; all of it where there are none."""
    if isinstance(error, str):
        return error
    words = str(_scalar(error, WORDS) or "")
    raw = _scalar(error, ("raw",))  # OpenRouter: what its provider said
    if isinstance(raw, str) and raw not in words:
        words = f"{words}; {raw}" if words else raw
    return words or (_short(error) if error else "")


def _parameter(error: Any) -> str:
    """The parameter that is named: OpenAI's `param`, or the end of FastAPI's `loc`."""
    place = next((value for name, value in _walk(error) if name == "loc"), None)
    if isinstance(place, Sequence) and not isinstance(place, str) and place:
        return str(place[-1])
    return str(_scalar(error, ("param",)) or "")


def _scalar(error: Any, names: Sequence[str]) -> Any:
    """The first text or number under one of the names, the first name first, at any depth."""
    fields = [
        (name, value)
        for name, value in _walk(error)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""
    ]
    return next((value for wanted in names for name, value in fields if name == wanted), None)


def _walk(body: Any, depth: int = 6) -> Iterator[tuple[str, Any]]:
    """All named fields, those nearer to the top first on each branch."""
    if depth and isinstance(body, Mapping):
        yield from ((str(name).lower(), value) for name, value in body.items())
        for value in body.values():
            yield from _walk(value, depth - 1)
    elif depth and isinstance(body, list):
        for value in body:
            yield from _walk(value, depth - 1)


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an object"
    names = {list: "a list", str: "a text", bool: "a truth value", int: "a number"}
    names |= {float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return repr(text[:100]) if isinstance(value, str) else text[:100]


# ---------------------------------------------------------------------- when to come back

_AGAIN_IN = re.compile(
    r"(?:try again|retry|available again)[^.\d]{0,20}(?:in|after)\s+(?P<number>\d+(?:\.\d+)?)\s*"
    r"(?P<unit>ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?)\b",
    re.IGNORECASE,
)


def _hint(error: Any, words: str, headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: from the headers, else from a field of the body, else from its words."""
    given = {name.lower(): value for name, value in headers.items()}
    if (seconds := _seconds(given.get("retry-after-ms"), 1e-3)) is not None:
        return seconds
    if (seconds := _seconds(given.get("retry-after"))) is not None:
        return seconds
    for wanted in HINTS:
        for name, value in _walk(error):
            if name == wanted and (seconds := _seconds(value)) is not None:
                return seconds
    if (match := _AGAIN_IN.search(words)) is None:
        return None
    unit = match["unit"].lower()
    factor = 1e-3 if unit.startswith(("ms", "mil")) else 60.0 if unit.startswith("m") else 1.0
    return float(match["number"]) * factor


def _seconds(value: Any, unit: float = 1.0) -> float | None:
    """Seconds from now: `5`, `"34.5s"`, a date, or seconds or milliseconds since 1970."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    with suppress(ValueError):
        number = float(str(value).strip().removesuffix("s")) * unit
        if not math.isfinite(number):
            return None
        if number > 1e9:  # a time
            number = number / (1e3 if number > 1e11 else 1.0) - time.time()
        return max(number, 0.0)
    with suppress(ValueError, TypeError):
        return max(parsedate_to_datetime(str(value)).timestamp() - time.time(), 0.0)
    return None


# ---------------------------------------------------------------------- what is stored of them

_KEYS = re.compile(
    r"\b(?:sk|pk|rk|hf|gsk|xai|nvapi|tgp|fw|csk|r8|pplx)[-_][\w*-]{8,}"  # by the provider
    r"|\bAIza[\w-]{20,}|\beyJ[\w-]{8,}(?:\.[\w-]+){0,2}"  # Google's; JSON web tokens
    r"|(?<=Bearer )\S+|(?<=api_key=)[^\s&\"']+|(?<=api-key: )\S+",
    re.IGNORECASE,
)


def clean_words(words: str, secrets: Sequence[str] = ()) -> str:
    """A server's words in one line, cut to length, without keys and tokens.

    Args:
        words: What it said; servers repeat the key that they were sent.
        secrets: The keys that were sent.
    """
    words = " ".join(words.split())
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        words = words.replace(secret, "***")
    return _KEYS.sub("***", words)[:LONGEST_WORDS]
