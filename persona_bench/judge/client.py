"""A judge, or a teacher: one model at an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from persona_bench.harness.backends.answers import Answer, clean_words, read_answers
from persona_bench.harness.backends.parameters import Parameters
from persona_bench.harness.backends.retries import (
    Health,
    Trial,
    in_words,
    out_of_credit,
    status_of,
)
from persona_bench.harness.fingerprint import fingerprint
from persona_bench.judge.prompts import Messages, again
from persona_bench.judge.ratings import SCHEMA, Form, Reading, read_answer
from persona_bench.texts import sound

if sys.version_info >= (3, 11):
    from asyncio import timeout as within
else:
    from async_timeout import timeout as within  # aiohttp needs it there, too

OPENAI = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
DEFAULTS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1024}
UNSUPPORTED = (400, 404, 415, 422, 501)  # status codes of servers without response_format
TOO_LONG = (400, 413, 422)  # status codes for a prompt that is too long
NO_KEY = "none"
CHARACTERS_A_TOKEN = 4.0  # of English text, for estimates

FormOption = Literal["auto", "json", "text"]


class JudgeError(RuntimeError):
    """Judging can't start or continue; finished verdicts are kept."""


@dataclass(frozen=True)
class Price:
    """US dollars a million tokens."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The cost in US dollars."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge is asked.

    Attributes:
        model: Its name at the endpoint, and in the results.
        base_url: The endpoint, as `https://host/v1`; OpenAI's where there is none.
        form: `json`: an answer held to a schema; `text`: a stated sentence at the end; `auto`:
            the first, and the second where the server knows no schemas.
        gen_kwargs: Generation arguments, merged over `DEFAULTS`; None removes one of these.
        key_variable: The environment variable with the endpoint's key.
        timeout: Seconds that a call may take.
        tries: How often a call is tried that fails for another reason than a rate limit.
        price: None where it is not known.
        role: What error messages call the model.
        address: The option that error messages name for its address.
        kept: What error messages say of finished work when the endpoint gives up.
    """

    model: str
    base_url: str | None = None
    form: FormOption = "auto"
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    key_variable: str = KEY_VARIABLE
    timeout: float = 180.0
    tries: int = 5
    price: Price | None = None
    role: str = "judge"
    address: str = "--base-url"
    kept: str = "the verdicts that are there are in the store"

    @cached_property
    def url(self) -> str:
        """The endpoint's address."""
        url = (self.base_url or OPENAI).rstrip("/")
        return url.removesuffix("/chat/completions")

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What is sent beside the messages."""
        arguments = {**DEFAULTS, **self.gen_kwargs}
        if self.url.startswith(OPENAI) and "max_completion_tokens" not in self.gen_kwargs:
            arguments["max_completion_tokens"] = arguments.pop(
                "max_tokens"
            )  # its newer models want this
        return {name: value for name, value in sorted(arguments.items()) if value is not None}

    @cached_property
    def adapting(self) -> Parameters:
        """Which parameters the endpoint refuses, learnt from its errors."""
        return Parameters(self.url)

    @property
    def key(self) -> str:
        """The endpoint's key.

        Raises:
            JudgeError: OpenAI wants one, and the environment has none.
        """
        key = os.environ.get(self.key_variable, "")
        if not key and self.url.startswith(OPENAI):
            raise JudgeError(
                f"{self.role} {self.model!r} at {self.url} needs a key in the environment: "
                f"{self.key_variable}; another endpoint is named with {self.address}"
            )
        return key or NO_KEY

    def digest(self) -> str:
        """Which model this is, by the name (and on vLLM the folder) that the endpoint reports.

        Raises:
            FingerprintError: the endpoint does not answer.
        """
        headers = {"Authorization": f"Bearer {self.key}"}
        model = fingerprint(
            "local-chat-completions",
            {"model": self.model, "base_url": f"{self.url}/chat/completions", "header": headers},
        )
        return model.digest


@dataclass
class Usage:
    """Calls and tokens so far.

    Attributes:
        calls: Requests.
        characters: Number of characters of the prompts that were answered.
        prompt_tokens, completion_tokens: As the endpoint counts them; estimated where it does not.
    """

    calls: int = 0
    characters: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, prompt: str, answer: Answer) -> None:
        """Adds an answered call."""
        self.characters += len(prompt)
        self.prompt_tokens += _tokens(answer.prompt_tokens, prompt)
        self.completion_tokens += _tokens(answer.tokens, answer.reasoning + answer.text)


def _tokens(counted: int | None, text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_A_TOKEN) if counted is None else counted


class CallFailed(RuntimeError):
    """A call that failed for good."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


class Judge:
    """Asks one model; use as an async context manager.

    Attributes:
        usage: Calls and tokens so far.
        form: The form in use.
        parameters: What the endpoint does not take.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.usage = Usage()
        self.parameters = settings.adapting
        self.form: Form = "text" if settings.form == "text" else "json"
        self._key = settings.key
        self._address = f"{settings.url}/chat/completions"  # whole: joining it takes time
        self._schema_works = False
        self._health = Health()

    async def __aenter__(self) -> Judge:
        import openai

        for name in ("openai", "httpx", "httpx2"):  # a line a call, with the address
            logging.getLogger(name).setLevel(logging.WARNING)
        try:  # half the time of a call of the default transport
            transport = openai.DefaultAioHttpClient()
        except (AttributeError, ImportError, RuntimeError):  # without aiohttp, or an older openai
            transport = None
        self._client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.settings.url,
            max_retries=0,  # done here, as for the generations
            timeout=self.settings.timeout,
            http_client=transport,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def read(self, make: Callable[[Form], Messages]) -> tuple[Reading, Answer, int]:
        """A verdict: the reading of the answer, the answer, and how many calls it took.

        An answer that can't be read is asked for once more; it stands where that does not fit
        into the judge's context.

        Args:
            make: From a form to the messages.

        Raises:
            CallFailed: the request failed for good.
            JudgeError: the endpoint refuses all requests, or no longer answers.
        """
        form, messages, answer = await self._first(make)
        reading = read_answer(answer.text, form, finish=answer.finish)
        if reading.score is not None or answer.finish == "content_filter":
            return reading, answer, 1
        try:
            answer = await self._ask(again(messages, answer.text, form), form)
        except CallFailed as error:
            if error.status not in TOO_LONG:
                raise
            return reading, answer, 2
        return read_answer(answer.text, form, finish=answer.finish), answer, 2

    async def write(self, messages: Messages, **parameters: Any) -> Answer:
        """Plain text.

        Args:
            messages: The prompt.
            parameters: Parameters of this request alone, such as `seed`.

        Raises:
            CallFailed, JudgeError: as `read`.
        """
        return await self._ask(messages, None, parameters)

    # ------------------------------------------------------------------ asking

    async def _first(self, make: Callable[[Form], Messages]) -> tuple[Form, Messages, Answer]:
        form: Form = self.form
        messages = make(form)
        try:
            return form, messages, await self._ask(messages, form)
        except CallFailed as error:
            if not self._schema_refused(form, error.status):
                raise
        messages = make("text")
        answer = await self._ask(messages, "text")
        self.form = "text"  # only now: the prompt itself might have been what was refused
        return "text", messages, answer

    def _schema_refused(self, form: Form | None, status: int | None) -> bool:
        """Whether it may be the schema that the server does not like."""
        tried = self.settings.form == "auto" and form == "json" and not self._schema_works
        return tried and status in UNSUPPORTED

    async def _ask(
        self, messages: Messages, form: Form | None, parameters: Mapping[str, Any] | None = None
    ) -> Answer:
        schema = {"response_format": SCHEMA} if form == "json" else {}
        trial = Trial(self.settings.tries)
        while True:
            sent = self.parameters.apply(
                {
                    "model": self.settings.model,
                    "messages": messages,
                    **self.settings.parameters,
                    **(parameters or {}),
                    **schema,
                }
            )
            try:
                async with within(self.settings.timeout):  # whole: httpx's is of each read
                    answer = await self._call(sent)
            except Exception as error:
                if self.parameters.learn(error, sent):
                    continue
                await asyncio.sleep(self._after(error, trial, form))
            else:
                self._health.got_through()
                self._schema_works |= form == "json"
                return answer

    def _after(self, error: Exception, trial: Trial, form: Form | None) -> float:
        """Seconds to wait before the next try of a call.

        Raises:
            CallFailed: the call is not tried again.
            JudgeError: no other request would get through either.
        """
        status = status_of(error)
        words = clean_words(in_words(error), [self._key if self._key != NO_KEY else ""])
        url, kept, role = self.settings.url, self.settings.kept, self.settings.role
        if self._health.refuses_all(error) and not (form == "json" and status == 404):
            raise JudgeError(
                f"{url} refuses {role} {self.settings.model!r} ({words}): check "
                f"{self.settings.address}, the {role}'s name, and {self.settings.key_variable}"
            ) from None
        if out_of_credit(error):
            raise JudgeError(
                f"{url} says that the account has no credit left ({words}); {kept}: start the same "
                "command again once it has"
            ) from None
        if self._schema_refused(form, status):  # asked for text next: no sign of death
            raise CallFailed(words, status) from None
        if (wait := trial.wait(error)) is not None:
            return wait
        if self._health.is_dead(error):
            raise JudgeError(
                f"{url} gave no answer to {self._health.failures} requests in a row (last: "
                f"{words}); {kept}: start the same command again once the endpoint is well"
            ) from None
        raise CallFailed(words, status) from None

    async def _call(self, sent: Mapping[str, Any]) -> Answer:
        import openai

        self.usage.calls += 1
        try:
            # the plain form: the client's typed one takes twice the time of a call
            body: Any = await self._client.post(self._address, cast_to=bytes, body=sent)
        except openai.APIStatusError as error:
            reply = error.response
            (answer,) = read_answers(reply.content, reply.status_code, reply.headers)
        else:
            (answer,) = read_answers(body)
        self.usage.count("".join(each["content"] for each in sent["messages"]), answer)
        return replace(answer, text=sound(answer.text))
