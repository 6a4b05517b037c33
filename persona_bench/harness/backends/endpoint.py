"""OpenAI-compatible endpoints: one lost request is one unscored response, not a lost run.

lm-eval gives up the whole run at the first request that fails three times. Here each request is
tried for itself: the endpoint's own `Retry-After` is honoured, what can't succeed is not tried
again, and what fails for good is reported as such. A run stops only where going on is pointless:
the key or the address is refused, or nothing at all gets through any more.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from persona_bench.harness.backends.answers import Answer, read_answers, whole_number
from persona_bench.harness.backends.base import Backend
from persona_bench.harness.backends.request import Generated, Request, split_reasoning
from persona_bench.harness.backends.retries import (
    HOPELESS,
    IN_A_ROW,
    REFUSED,
    Trial,
    in_words,
    status_of,
)
from persona_bench.harness.store import StoreError

# Anthropic's words
STOP_REASONS = {"max_tokens": "length", "refusal": "content_filter"}


class EndpointError(RuntimeError):
    """An endpoint that refuses all requests or no longer answers; what is done is kept."""


class Endpoint(Backend):
    """A chat or completions endpoint, asked with lm-eval's concurrency."""

    tells_finish = True

    def __init__(self, lm: Any, finished: Any) -> None:
        super().__init__(lm, finished)
        self.tries = max(int(lm.max_retries), 1)
        lm.max_retries = 1  # the trying again is done here
        self._acall, self._call, self._parse = lm.amodel_call, lm.model_call, lm.parse_generations
        lm.amodel_call, lm.model_call = self._acalling, self._calling
        lm.parse_generations = self._parsing
        self._create, lm._create_payload = lm._create_payload, self._payload
        self._failures = 0
        self._answered = 0
        self.errors: Counter[str] = Counter()
        # one prompt a request, and its text goes as it is: then each may have its own arguments
        self._each = lm._batch_size == 1 and not lm.tokenized_requests

    def tagged(self, request: Request) -> Any:
        """With arguments that are the same for all, as lm-eval sends others one after another."""
        return request.tagged({} if self._each else None)

    def made(self, told: Generated, response: str) -> Generated:
        """What the endpoint said of a response."""
        return told

    # ------------------------------------------------------------------ asking

    async def _acalling(
        self, session: Any, sem: Any, messages: Any, *, cache_keys: Any = None, **kwargs: Any
    ) -> Any:
        if not kwargs.get("generate", True):
            return await self._acall(session, sem, messages, cache_keys=cache_keys, **kwargs)
        requests = [context.request for context, _ in cache_keys]
        kwargs["gen_kwargs"] = self._arguments(requests, kwargs.get("gen_kwargs"))
        trial = Trial(self.tries)
        while True:
            try:
                answers = await self._acall(session, sem, messages, cache_keys=cache_keys, **kwargs)
            except (StoreError, EndpointError, asyncio.CancelledError):
                raise
            except Exception as error:
                wait = self._after(error, trial, requests)
                if wait is None:
                    return [""] * len(requests)
                await asyncio.sleep(wait)
            else:
                self._got_through()
                return answers

    def _calling(self, messages: Any, *, generate: bool = True, **kwargs: Any) -> Any:
        if not generate:
            return self._call(messages, generate=generate, **kwargs)
        requests = [context.request for context in messages if hasattr(context, "request")]
        kwargs["gen_kwargs"] = self._arguments(requests, kwargs.get("gen_kwargs"))
        trial = Trial(self.tries)
        while True:
            try:
                outputs = self._call(messages, generate=True, **kwargs)
                if not _of_anthropic(outputs):
                    read_answers(outputs)  # what can't be read is this request's failure
            except Exception as error:
                wait = self._after(error, trial, requests)
                if wait is None:
                    return {"failed": len(requests)}
                time.sleep(wait)
            else:
                self._got_through()
                return outputs

    def _arguments(
        self, requests: Sequence[Request], given: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        arguments = dict(requests[0].given if self._each and requests else given or {})
        takes_seed = "anthropic" not in type(self.lm).__name__.lower()
        if requests and requests[0].seed is not None and takes_seed:
            arguments["seed"] = requests[0].seed
        return arguments

    # ------------------------------------------------------------------ failing

    def _after(self, error: Exception, trial: Trial, requests: Sequence[Request]) -> float | None:
        """How long to wait before the next try; None where there is none."""
        status, told = status_of(error), in_words(error)
        where = self.lm.base_url
        if status in REFUSED and not self._answered:
            raise EndpointError(
                f"{where} refuses the request ({told}): check base_url, model, and the key in the "
                "environment"
            ) from None
        wait = trial.wait(status, error)
        if status not in HOPELESS and wait is not None:
            return wait
        if not requests:  # tokens, one request at a time: lm-eval does not say whose
            raise EndpointError(
                f"{where} gave no answer ({told}), and with num_concurrent=1 nobody can tell to "
                "which prompt: use num_concurrent=2 or more to go on without it"
            ) from None
        self._failures += 1
        self.errors[told] += 1
        for request in requests:
            self.finish(request, Generated("", "error", error=told))
        if self._failures >= max(IN_A_ROW, 2 * self.lm._concurrent):
            raise EndpointError(
                f"{where} gave no answer to {self._failures} requests in a row (last: {told}); "
                f"{self._answered:,} responses of this run are in the store: start the same "
                "command again once the endpoint is well"
            ) from None
        return None

    def _got_through(self) -> None:
        self._failures = 0
        self._answered += 1

    # ------------------------------------------------------------------ reading

    def _parsing(self, outputs: Any, **kwargs: Any) -> list[str]:
        """What lm-eval reads of an answer, and beside it what it leaves out.

        Raises:
            AnswerError: there is no response in it.
        """
        if isinstance(outputs, dict) and "failed" in outputs:
            return [None] * outputs["failed"]  # type: ignore[list-item]
        answers = outputs if isinstance(outputs, list) and outputs else [outputs]
        self.told.clear()
        for answer in answers:
            if _of_anthropic(answer):  # not OpenAI's form: lm-eval reads it
                text = "".join(self._parse(outputs=answer, **kwargs))
                finish = STOP_REASONS.get(str(answer.get("stop_reason")), "stop")
                self.told.append(Generated(text, finish, model=str(answer.get("model") or "")))
                continue
            choices = read_answers(answer)
            self.told.extend(self._tell(choice, answer, len(choices)) for choice in choices)
        return [told.response for told in self.told]

    def _tell(self, choice: Answer, body: Mapping[str, Any], choices: int) -> Generated:
        end = getattr(self.lm, "think_end_token", None)
        response, reasoning = split_reasoning(choice.text, end, choice.finish)
        usage = body.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
        return Generated(
            response=response,
            finish=choice.finish,
            reasoning=choice.reasoning or reasoning,
            tokens=whole_number(tokens) if choices == 1 else None,
            model=str(body.get("model") or ""),
        )

    def _payload(self, *args: Any, gen_kwargs: Any = None, **kwargs: Any) -> dict[str, Any]:
        """lm-eval's, without what says nothing: no stop texts, and a seed for greedy decoding.

        Some endpoints refuse an empty list, and some a seed.
        """
        seeded = "seed" in (gen_kwargs or {})
        payload: dict[str, Any] = self._create(*args, gen_kwargs=gen_kwargs, **kwargs)
        if not payload.get("stop"):
            payload.pop("stop", None)
        if not seeded and kwargs.get("generate", True):
            payload.pop("seed", None)
        return payload


def _of_anthropic(answer: Any) -> bool:
    return isinstance(answer, dict) and "choices" not in answer and "stop_reason" in answer
