"""What goes to a backend and what comes back, with what lm-eval's strings have no room for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from lm_eval.api.instance import Instance
from lm_eval.models.api_models import JsonChatStr

from persona_bench.texts import sound


@dataclass(slots=True)
class Request:
    """One prompt to be answered once.

    Attributes:
        key: Under which the store holds the response.
        context: The prompt as lm-eval passes it: text, or the JSON of chat messages.
        text: The same as text: chat messages stay JSON.
        gen_kwargs: The generation arguments, normalised.
        given: The generation arguments as the task gave them.
        seed: Seed of the draw; None where decoding is greedy.
        instance: lm-eval's own request.
        continuation: The text whose likelihood after the prompt is wanted; None where the prompt
            is to be answered.
    """

    key: str
    context: Any
    text: str
    gen_kwargs: dict[str, Any]
    given: dict[str, Any]
    seed: int | None
    instance: Instance | None
    continuation: str | None = None

    @property
    def method(self) -> str:
        """lm-eval's name for what is asked."""
        return "generate_until" if self.continuation is None else "loglikelihood"

    def tagged(self, gen_kwargs: dict[str, Any] | None = None) -> Instance:
        """lm-eval's request whose prompt knows which request it is.

        A backend sorts, groups and batches prompts, and gives them back with the responses.
        """
        context: Any
        if isinstance(self.context, JsonChatStr):
            context = TaggedChat(self.context.prompt)
        else:
            context = (TaggedText if isinstance(self.context, str) else TaggedList)(self.context)
        context.request = self
        tagged_request = copy.copy(self.instance) or Instance("generate_until", {}, (), 0)
        if self.continuation is None:
            tagged_request.arguments = (
                context,
                dict(self.given) if gen_kwargs is None else gen_kwargs,
            )
        else:
            tagged_request.arguments = (context, self.continuation)
        tagged_request.resps = []
        return tagged_request


class TaggedText(str):
    """A prompt that knows its request."""

    request: Request


class TaggedList(list[Any]):
    """Chat messages that know their request."""

    request: Request


class TaggedChat(JsonChatStr):
    """Chat messages, as JSON, that know their request."""

    request: Request


class StoredResponse(TypedDict, total=False):
    """A record of the store's generations; what is not known is left out.

    `key` is what the response is found by, `task` to `sample` say what it answers. Of a response
    there are `response` (without the reasoning), `reasoning`, `finish` and `tokens`; of a
    likelihood `loglikelihood` (nats), `greedy` (whether greedy decoding would say the same) and the
    `continuation`; of a request that failed for good, `error`. `model` and `adapted` are what the
    endpoint reported and did not take, `seed`, `gen_kwargs` and `prompt` what was asked.
    """

    key: str
    task: str
    question: str
    persona: str
    sample: int
    seed: int
    response: str
    finish: str
    reasoning: str
    tokens: int
    model: str
    adapted: dict[str, str]
    error: str
    loglikelihood: float
    greedy: bool
    gen_kwargs: dict[str, Any]
    continuation: str
    prompt: str


@dataclass(frozen=True)
class Generated:
    """What a backend made of a request.

    Attributes:
        response: The text to be graded, without the reasoning.
        finish: How it ended (see `response.FINISHES`); empty where the backend does not tell.
        reasoning: What a thinking model wrote before its answer.
        tokens: How many tokens were generated, reasoning included; None where unknown.
        error: Why there is no response, where `finish` is `error`.
        model: The model's name as the endpoint reports it with this response.
        adapted: Parameters that the endpoint did not take, by name: `dropped`, or the name that
            they were sent under.
        likelihood: The continuation's log-likelihood in nats, and whether it is what greedy
            decoding would say; None where a prompt was answered.
    """

    response: str
    finish: str = ""
    reasoning: str = ""
    tokens: int | None = None
    error: str = ""
    model: str = ""
    adapted: Mapping[str, str] = field(default_factory=dict)
    likelihood: tuple[float, bool] | None = None

    def record(self) -> dict[str, Any]:
        """As plain data for the store; what is not known is left out."""
        if self.finish == "error":
            return {"error": self.error}
        if self.likelihood is not None:
            return {"loglikelihood": self.likelihood[0], "greedy": self.likelihood[1]}
        extra = {
            "finish": self.finish or None,
            "reasoning": sound(self.reasoning) or None,
            "tokens": self.tokens,
            "model": self.model or None,
            "adapted": dict(self.adapted) or None,
        }
        return {"response": sound(self.response)} | {
            k: v for k, v in extra.items() if v is not None
        }


def split_reasoning(text: str, end: str | None, finish: str) -> tuple[str, str]:
    """A thinking model's answer and the reasoning before it.

    Args:
        text: As generated.
        end: The text that ends the reasoning; None for models that do not think.
        finish: How the text ended: where it was cut off before the reasoning ended, there is
            no answer.
    """
    if not end:
        return text, ""
    reasoning, marker, answer = text.rpartition(end)
    if marker:
        return answer.lstrip(), reasoning + end
    return ("", text) if finish == "length" else (text, "")
