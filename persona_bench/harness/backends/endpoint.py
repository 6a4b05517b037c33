"""OpenAI-compatible endpoints: one lost request is one unscored response, not a lost run.

lm-eval gives up the whole run at the first request that fails three times, and reads only answers
of the plainest form. Here lm-eval's model makes the requests, and this module sends them: with one
request at a time as with many. Each request is tried for itself, what can't succeed is not tried
again, and what fails for good is reported as such. A run stops only where going on is pointless:
the key or the address is refused, the account is empty, or nothing at all gets through any more.
"""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
from collections import deque
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm import tqdm

from persona_bench.harness.backends.answers import Answer, AnswerError, clean_words, read_answers
from persona_bench.harness.backends.base import Backend
from persona_bench.harness.backends.parameters import DROPPED, Parameters
from persona_bench.harness.backends.request import Generated, Request, split_reasoning
from persona_bench.harness.backends.retries import IN_A_ROW, Health, Trial, in_words, out_of_credit

Batch = list[tuple[Request, Any]]
"""Requests that are sent together, each with its prompt as lm-eval encodes it."""


class EndpointError(RuntimeError):
    """An endpoint that refuses all requests or no longer answers; what is done is kept."""


class Endpoint(Backend):
    """A chat or completions endpoint, asked `num_concurrent` requests at a time.

    Args:
        lm: One of lm-eval's API models; it makes the requests' bodies and headers.
        finished: Is called with each response as it comes.
    """

    tells_finish = True

    def __init__(self, lm: Any, finished: Any) -> None:
        super().__init__(lm, finished)
        self.tries = max(int(lm.max_retries), 1)
        self.where = str(lm.base_url)
        self.parameters = Parameters(self.where)
        self.health = Health(max(IN_A_ROW, 2 * lm._concurrent))
        self._takes_seed = "anthropic" not in type(lm).__name__.lower()

    def ask(self, requests: Sequence[Request], **kwargs: Any) -> None:
        """Asks these requests and reports each as it is answered or has failed for good.

        Raises:
            EndpointError: the endpoint refuses all requests, or no longer answers.
            StoreError: the store can't be written.
        """
        if not requests:
            return
        if requests[0].continuation is not None:  # lm-eval's own requests and retries
            super().ask(requests, **kwargs)
            return
        try:
            headers = dict(self.lm.header)
        except ValueError as error:  # lm-eval's: there is no key in the environment
            raise EndpointError(f"{self.where}: {error}") from None
        # the words of a header such as "Bearer KEY", too: servers repeat the key alone
        self._secrets = [word for value in headers.values() for word in str(value).split()[-1:]]
        _run(self._ask_all(deque(self._batches(requests)), headers))

    # ------------------------------------------------------------------ requests

    def _batches(self, requests: Sequence[Request]) -> list[Batch]:
        """Requests that share one body: the same arguments; with a seed, each by itself."""
        prompts: Sequence[Any] = [request.context for request in requests]
        if self.lm.tokenized_requests:
            prompts = self.lm.tok_encode(tuple(prompts), add_special_tokens=self.lm.add_bos_token)
        size = max(int(self.lm._batch_size), 1)
        batches: list[Batch] = []
        open_batches: dict[str, Batch] = {}
        for request, prompt in zip(requests, prompts, strict=True):
            arguments = json.dumps(request.given, sort_keys=True, default=str)
            batch = open_batches.get(arguments)
            if batch is None or len(batch) >= size or request.seed is not None:
                batch = open_batches[arguments] = []
                batches.append(batch)
            batch.append((request, prompt))
        return batches

    def _payload(self, batch: Batch) -> dict[str, Any]:
        """A request's body as lm-eval makes it, without what says nothing.

        Some servers refuse an empty list of stop texts, and some a seed: greedy decoding has none,
        unless the user gives one.
        """
        request = batch[0][0]
        arguments = copy.deepcopy(request.given)
        if request.seed is not None and self._takes_seed:
            arguments["seed"] = request.seed
        seeded = "seed" in arguments
        messages = self.lm.create_message([prompt for _, prompt in batch], generate=True)
        payload = dict(
            self.lm._create_payload(
                messages, generate=True, gen_kwargs=arguments, seed=self.lm._seed
            )
        )
        if not [text for text in payload.get("stop") or [] if text]:
            payload.pop("stop", None)
        if not seeded:
            payload.pop("seed", None)
        return payload

    # ------------------------------------------------------------------ asking

    async def _ask_all(self, queue: deque[Batch], headers: dict[str, str]) -> None:
        import aiohttp

        verify: Any = bool(self.lm.verify_certificate)
        if verify and self.lm.ca_cert_path:
            verify = ssl.create_default_context(cafile=self.lm.ca_cert_path)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.lm._concurrent, ssl=verify),
            timeout=aiohttp.ClientTimeout(total=self.lm.timeout),
            headers=headers,
            trust_env=True,  # proxies
        ) as session:
            with tqdm(
                total=sum(map(len, queue)), desc="Asking the endpoint", unit=" responses"
            ) as bar:
                workers = [
                    asyncio.create_task(self._work(session, queue, bar))
                    for _ in range(min(max(self.lm._concurrent, 1), len(queue)))
                ]
                try:
                    await asyncio.gather(*workers)
                except BaseException:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
                    raise

    async def _work(self, session: Any, queue: deque[Batch], bar: Any) -> None:
        while queue:
            batch = queue.popleft()
            responses = await self._responses(session, batch)
            if len(batch) > 1 and responses[0].finish == "error":
                queue.extend([each] for each in batch)  # that one is odd must not cost the others
                continue
            for (request, _), response in zip(batch, responses, strict=True):
                self.finish(request, response)
            bar.update(len(batch))

    async def _responses(self, session: Any, batch: Batch) -> list[Generated]:
        payload = self._payload(batch)
        trial = Trial(self.tries)
        while True:
            sent = self.parameters.apply(payload)
            try:
                answers = await self._send(session, sent, len(batch))
            except Exception as error:
                if self.parameters.learn(error, sent):
                    continue
                wait = self._after(error, trial)
                if wait is None:
                    return [Generated("", "error", error=self._said(error))] * len(batch)
                await asyncio.sleep(wait)
            else:
                self.health.got_through()
                return [self._generated(answer, payload) for answer in answers]

    async def _send(self, session: Any, sent: dict[str, Any], prompts: int) -> list[Answer]:
        async with session.post(self.where, json=sent) as reply:
            body = await reply.read()
        return read_answers(body, reply.status, reply.headers, prompts)

    def _after(self, error: Exception, trial: Trial) -> float | None:
        """How long to wait before the next try; None where there is none."""
        words = self._said(error)
        kept = (
            f"{self.health.answered:,} responses of this run are in the store: start the same "
            "command again once "
        )
        if self.health.refuses_all(error):
            raise EndpointError(
                f"{self.where} refuses the request ({words}): check base_url, model, and the key "
                "in the environment"
            ) from None
        if out_of_credit(error):
            raise EndpointError(
                f"{self.where} says that the account has no credit left ({words}); {kept}it has"
            ) from None
        wait = trial.wait(error)
        if wait is None and self.health.is_dead(error):
            raise EndpointError(
                f"{self.where} gave no answer to {self.health.failures} requests in a row (last: "
                f"{words}); {kept}the endpoint is well"
            ) from None
        return wait

    def _said(self, error: Exception) -> str:
        return clean_words(in_words(error), self._secrets)

    # ------------------------------------------------------------------ responses

    def _generated(self, answer: Answer, payload: dict[str, Any]) -> Generated:
        """What is stored of an answer."""
        end = getattr(self.lm, "think_end_token", None)
        response, reasoning = split_reasoning(answer.text, end, answer.finish)
        if self.parameters.adapted.get("stop") == DROPPED:  # then it is cut here
            stops = payload.get("stop") or []
            for stop in [stops] if isinstance(stops, str) else stops:
                response = response.partition(stop)[0] if stop else response
        return Generated(
            response=response,
            finish=answer.finish,
            reasoning=answer.reasoning or reasoning,
            tokens=answer.tokens,
            model=answer.model,
            adapted=dict(self.parameters.adapted),
        )


class LiteLLM(Endpoint):
    """lm-eval's `litellm` backend, which sends its requests through that library."""

    async def _send(self, session: Any, sent: dict[str, Any], prompts: int) -> list[Answer]:
        try:
            reply = await self.lm._litellm.acompletion(**sent)
        except Exception as error:
            if isinstance(status := getattr(error, "status_code", None), int):
                raise AnswerError(
                    str(error), status, str(getattr(error, "code", "") or "")
                ) from None
            raise
        return read_answers(reply.model_dump_json().encode(), prompts=prompts)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs asynchronous work, also from within a notebook, whose own loop runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()
