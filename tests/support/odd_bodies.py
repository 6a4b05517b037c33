"""Bodies that endpoints really send, and what becomes of the response in each.

Most are from public bug reports on OpenRouter, Azure, Mistral, DeepSeek, Gemini, Together, MiniMax,
GLM, vLLM, SGLang, llama.cpp, Ollama and proxies before them.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

RIGHT = "RIGHT"
"""Stands in a body for what the model should say."""

KEY = "sk-or-v1-0123456789abcdef"
"""Stands in errors, as servers repeat the key that they were sent."""


class Odd(NamedTuple):
    """A body and its end.

    Attributes:
        body: Plain data for JSON, or bytes.
        outcome: `correct`, or the reason why not.
        words: What the stored error holds of the server's own.
        status: The HTTP status that it comes with.
    """

    body: Any
    outcome: str
    words: str = ""
    status: int = 200


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "stop", **fields}], "model": "small"}


def message(content: Any, finish: str | None = "stop", **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **fields}
    return choice(message=said, finish_reason=finish)


def part(kind: str, text: Any) -> dict[str, Any]:
    return {"type": kind, kind if kind in ("thinking", "refusal") else "text": text}


DRAFT = "is it \\boxed{99999}?"
RIGHT_PART = part("text", RIGHT)

READABLE = {
    "text parts": Odd(message([RIGHT_PART]), "correct"),
    "two text parts": Odd(message([part("text", "Well: "), RIGHT_PART]), "correct"),
    "output_text": Odd(message([part("output_text", RIGHT)]), "correct"),
    "strings as parts": Odd(message(["Well: ", RIGHT]), "correct"),
    "text with annotations": Odd(
        message([{"type": "text", "text": {"value": RIGHT, "annotations": []}}]), "correct"
    ),
    "one part": Odd(message({"type": "text", "text": RIGHT}), "correct"),
    "an object with text": Odd(message({"text": RIGHT}), "correct"),
    "Mistral's thinking": Odd(
        message([part("thinking", [part("text", DRAFT)]), RIGHT_PART]), "correct"
    ),
    "Anthropic's thinking": Odd(
        message([{"type": "thinking", "thinking": DRAFT, "signature": "x"}, RIGHT_PART]), "correct"
    ),
    "thinking after text": Odd(message([RIGHT_PART, part("thinking", DRAFT)]), "correct"),
    "reasoning as a part": Odd(
        message([{"type": "reasoning", "summary": [part("text", DRAFT)]}, RIGHT_PART]), "correct"
    ),
    "hidden thinking": Odd(
        message([{"type": "redacted_thinking", "data": "abc"}, RIGHT_PART]), "correct"
    ),
    "DeepSeek's reasoning": Odd(message(RIGHT, reasoning_content=DRAFT), "correct"),
    "OpenRouter's reasoning": Odd(
        message(RIGHT, reasoning=DRAFT, reasoning_details=[{"text": DRAFT}], refusal=None),
        "correct",
    ),
    "Ollama's thinking": Odd(message(RIGHT, thinking=DRAFT), "correct"),
    "counts as text": Odd({**message(RIGHT), "usage": {"completion_tokens": "12"}}, "correct"),
    "counts as words": Odd({**message(RIGHT), "usage": {"completion_tokens": "many"}}, "correct"),
    "NaN and Infinity": Odd(
        {
            **message(RIGHT),
            "usage": {"completion_tokens": float("nan"), "prompt_tokens": float("inf")},
        },
        "correct",
    ),
    "no usage": Odd({**message(RIGHT), "usage": None}, "correct"),
    "usage as a list": Odd({**message(RIGHT), "usage": [1]}, "correct"),
    "index as text": Odd(choice(index="0", message={"content": RIGHT}), "correct"),
    "index as null": Odd(choice(index=None, message={"content": RIGHT}), "correct"),
    "an empty error": Odd({**message(RIGHT), "error": {"code": 0, "message": ""}}, "correct"),
    "SGLang's finish reason": Odd(
        choice(message={"content": RIGHT}, finish_reason={"type": "stop", "matched": 2}), "correct"
    ),
    "blank lines that keep the connection": Odd(
        b"\n\n\n" + json.dumps(message("42")).encode(), "wrong_answer"
    ),
    "line breaks inside a text": Odd(
        b'{"choices": [{"message": {"content": "It is\n42"}, "finish_reason": "stop"}]}',
        "wrong_answer",
    ),
    "a byte order mark": Odd(b"\xef\xbb\xbf" + json.dumps(message("42")).encode(), "wrong_answer"),
}
"""Responses in another form than OpenAI's."""

DECLINED = {
    "refusal": Odd(message(None, refusal="I can't help with that."), "refused"),
    "refusal as a part": Odd(message([part("refusal", "No.")]), "refused"),
    "Azure's filter, without content": Odd(
        choice(message={"role": "assistant"}, finish_reason="content_filter"), "refused"
    ),
    "Azure's filter of the prompt": Odd(
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering the policy.",
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "refused",
        status=400,
    ),
    "Gemini's filter": Odd(choice(finish_reason="content_filter: SAFETY", message=None), "refused"),
    "GLM's filter": Odd(message("", "sensitive"), "refused"),
    "nothing said": Odd(message(""), "no_answer"),
    "null": Odd(message(None), "no_answer"),
    "reasoning alone, cut off": Odd(message(None, "length", reasoning_content=DRAFT), "truncated"),
    "Mistral's length": Odd(message("Let me count: 1, 2", "model_length"), "truncated"),
    "thinking alone, cut off": Odd(message([part("thinking", DRAFT)], "length"), "truncated"),
}
"""The model, or the provider for it, did not answer."""

FAILED = {
    "no choices": Odd({"choices": [], "model": "small"}, "api_error", "has no choices"),
    "choices null, with an error": Odd(
        {
            "id": None,
            "choices": None,
            "error": {
                "message": "Provider returned error",
                "code": 502,
                "metadata": {"raw": f"bad gateway for {KEY}", "provider_name": "X"},
            },
        },
        "api_error",
        "error 502: Provider returned error; bad gateway for ***",
    ),
    "message null": Odd(choice(message=None), "api_error", "message is null"),
    "message as text": Odd(choice(message=RIGHT), "api_error", "message is a text"),
    "choices of numbers": Odd({"choices": [4]}, "api_error", "choice is a number"),
    "content as a number": Odd(message(4), "api_error", "content is a number"),
    "FAILED with text": Odd({"status": "FAILED", "error": "no capacity"}, "api_error", "capacity"),
    "FAILED with an object": Odd(
        {"status": "FAILED", "error": {"reason": "no capacity", "id": 7}}, "api_error", "capacity"
    ),
    "code and msg": Odd({"code": 500, "msg": "queue is full"}, "api_error", "queue is full"),
    "vLLM's error": Odd(
        {"object": "error", "message": "KV cache is gone", "type": "InternalServerError"},
        "api_error",
        "KV cache is gone",
    ),
    "FastAPI's detail": Odd({"detail": "Engine stopped"}, "api_error", "Engine stopped"),
    "MiniMax's status": Odd(
        {"choices": None, "base_resp": {"status_code": 1013, "status_msg": "unknown error"}},
        "api_error",
        "unknown error",
    ),
    "Ollama's error": Odd({"error": "llama runner process died"}, "api_error", "process died"),
    "llama.cpp's error": Odd(
        {"error": {"code": 500, "message": "Context shift failed", "type": "server_error"}},
        "api_error",
        "Context shift failed",
    ),
    "Gemini's list": Odd(
        [{"error": {"code": 500, "message": "Internal error", "status": "INTERNAL"}}],
        "api_error",
        "error 500: Internal error",
    ),
    "error true": Odd({"error": True, "message": "no workers"}, "api_error", "no workers"),
    "finish_reason error": Odd(message("The ans", "error"), "api_error", "ended with 'error'"),
    "finish_reason error, with words": Odd(
        choice(message={"content": "The ans"}, finish_reason="error", error={"message": "gone"}),
        "api_error",
        "gone",
    ),
    "DeepSeek out of resources": Odd(
        message("The ans", "insufficient_system_resource"), "api_error", "insufficient_system"
    ),
    "SGLang's abort": Odd(
        choice(message={"content": ""}, finish_reason={"type": "abort", "message": "x"}),
        "api_error",
        "ended with 'abort'",
    ),
    "a page": Odd(
        b"<!DOCTYPE html><html><head><title>Just a\nmoment...</title></head></html>",
        "api_error",
        "page of HTML: Just a moment...",
    ),
    "a stream": Odd(
        b'data: {"choices": [{"delta": {"content": "4"}}]}\n\ndata: [DONE]\n\n',
        "api_error",
        "stream of events",
    ),
    "an error in a stream": Odd(
        b': keep-alive\n\ndata: {"error": {"message": "upstream died"}}\n\n',
        "api_error",
        "upstream died",
    ),
    "half a body": Odd(b'{"choices": [{"message": ', "api_error", "not JSON"),
    "nothing": Odd(b"", "api_error", "empty"),
    "null alone": Odd(b"null", "api_error", "answer is null"),
    "an empty list": Odd([], "api_error", "answer is a list"),
    "endless brackets": Odd(b"[" * 100_000, "api_error", "not JSON"),
    "no UTF-8": Odd(b"\xff\xfe\x00 broken", "api_error", "not JSON"),
    "a status with words": Odd(
        {"error": {"message": f"the model crashed for Bearer {KEY}"}},
        "api_error",
        "HTTP 500 Internal Server Error: the model crashed for Bearer ***",
        500,
    ),
    "a status with a page": Odd(
        b"<html><body><h1>504 Gateway Time-out</h1></body></html>",
        "api_error",
        "HTTP 504 Gateway Timeout: 504 Gateway Time-out",
        504,
    ),
}
"""There is no response: the endpoint's failure."""

ODD = {**READABLE, **DECLINED, **FAILED}


def filled(body: Any, right: str) -> Any:
    """A body with what the model should say in its place."""
    if isinstance(body, str):
        return body.replace(RIGHT, right)
    if isinstance(body, dict):
        return {name: filled(value, right) for name, value in body.items()}
    return [filled(each, right) for each in body] if isinstance(body, list) else body


def sent(odd: Odd, right: str) -> bytes:
    """A body as it goes over the wire."""
    return odd.body if isinstance(odd.body, bytes) else json.dumps(filled(odd.body, right)).encode()
