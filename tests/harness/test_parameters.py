"""Endpoints that do not take a parameter: their errors are understood, others are left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from persona_bench.harness.backends.answers import AnswerError, read_answers
from persona_bench.harness.backends.parameters import Parameters

SENT = {"model": "m", "messages": [], "max_tokens": 9, "temperature": 0, "stop": ["x"], "seed": 1}


def openai(message: str, param: str | None = None, code: str = "unsupported_parameter") -> Any:
    return {"error": {"message": message, "param": param, "code": code}}


REFUSED = {
    "OpenAI, length": (
        openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
               "'max_completion_tokens' instead.", "max_tokens"),
        {"max_tokens": "max_completion_tokens"}),
    "Copilot, length, without param": (
        openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
               "'max_completion_tokens' instead.", None, "invalid_request_body"),
        {"max_tokens": "max_completion_tokens"}),
    "OpenAI, stop": (
        openai("Unsupported parameter: 'stop' is not supported with this model.", "stop"),
        {"stop": "dropped"}),
    "OpenAI, temperature": (
        openai("Unsupported value: 'temperature' does not support 0 with this model. Only the "
               "default (1) value is supported.", "temperature", "unsupported_value"),
        {"temperature": "dropped"}),
    "TGI, temperature 0": (
        {"error": "Input validation error: `temperature` must be strictly positive"},
        {"temperature": "dropped"}),
    "FastAPI": (
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
                     "msg": "Extra inputs are not permitted", "input": 1}]},
        {"seed": "dropped"}),
    "vLLM, within the message": (
        {"object": "error", "code": 400, "param": None, "message":
         "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs'}]"},
        {"seed": "dropped"}),
    "old OpenAI": ({"error": {"message": "Unrecognized request argument supplied: seed"}},
                   {"seed": "dropped"}),
    "Gemini": (
        [{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"seed\": "
                    "Cannot find field."}}],
        {"seed": "dropped"}),
    "Groq": ({"error": {"message": "property 'seed' is unsupported"}}, {"seed": "dropped"}),
}  # fmt: skip
OTHER = {
    "a prompt that is too long": openai(
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "messages", "context_length_exceeded"),
    "a length that is too large": openai(
        "'max_tokens' is too large: 9. This model's maximum context length is 8 tokens",
        "max_tokens", "invalid_value"),
    "a parameter of the user's": openai("Unknown parameter: 'top_k'", "top_k"),
    "words that are no names": openai("Please stop: the temperature of the machine is unsupported"),
    "the model": openai("Unknown model 'seed-1'", "model", "model_not_found"),
}  # fmt: skip


def error(body: Any, status: int = 400) -> AnswerError:
    with pytest.raises(AnswerError) as caught:
        read_answers(json.dumps(body).encode(), status)
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
def test_a_parameter_that_the_endpoint_refuses_is_dropped_or_renamed_once(
    name: str, caplog: Any
) -> None:
    body, adapted = REFUSED[name]
    parameters = Parameters("http://here")
    assert parameters.learn(error(body), SENT)
    assert parameters.adapted == adapted
    assert parameters.learn(error(body), SENT)  # of a request that was on its way
    assert len(caplog.records) == 1
    sent = parameters.apply(SENT)
    ((old, new),) = adapted.items()
    assert old not in sent
    assert new == "dropped" or sent[new] == SENT[old]
    assert not parameters.learn(error(body), sent)  # it is not in there any more


@pytest.mark.parametrize("name", OTHER)
def test_other_errors_change_nothing(name: str) -> None:
    parameters = Parameters("http://here")
    assert not parameters.learn(error(OTHER[name]), SENT)
    assert not parameters.learn(error(REFUSED["Groq"][0], 500), SENT)
    assert parameters.apply(SENT) == SENT


def test_an_endpoint_that_takes_neither_name_of_the_length_is_not_asked_for_ever() -> None:
    parameters = Parameters("http://here")
    assert parameters.learn(error(REFUSED["OpenAI, length"][0]), SENT)
    other = openai("Unsupported parameter: 'max_completion_tokens'", "max_completion_tokens")
    assert not parameters.learn(error(other), parameters.apply(SENT))
