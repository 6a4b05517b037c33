"""A judge: one model at an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from persona_bench.grading.judge.prompt import Messages, again
from persona_bench.grading.judge.reading import SCHEMA, Form, Reading, read_answer
from persona_bench.harness.backends.retries import (
    HOPELESS,
    IN_A_ROW,
    REFUSED,
    Trial,
    in_words,
    status_of,
)
from persona_bench.harness.fingerprint import fingerprint
from persona_bench.texts import sound

if sys.version_info >= (3, 11):
    from asyncio import timeout as within
else:
    from async_timeout import timeout as within  # aiohttp needs it there, too

OPENAI = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
DEFAULTS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1024}
UNSUPPORTED = (400, 404, 415, 422, 501)  # how servers say that they know no response_format
TOO_LONG = (400, 413, 422)  # how they say that a prompt does not fit
NO_KEY = "none"
NO_CREDIT = "insufficient_quota"  # OpenAI's code: waiting is in vain
CHARACTERS_A_TOKEN = 4.0  # of English text, for estimates

FormOption = Literal["auto", "json", "text"]


class JudgeError(RuntimeError):
    """Judging that can't start or go on; the verdicts that are there are kept."""


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
        gen_kwargs: Over `DEFAULTS`; None takes one of these away.
        key_variable: The environment variable with the endpoint's key.
        timeout: Seconds that a call may take.
        tries: Of a call that fails for another reason than "come back later".
        price: Where it is known.
    """

    model: str
    base_url: str | None = None
    form: FormOption = "auto"
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    key_variable: str = KEY_VARIABLE
    timeout: float = 180.0
    tries: int = 5
    price: Price | None = None

    @cached_property
    def url(self) -> str:
        """The endpoint's address."""
        url = (self.base_url or OPENAI).rstrip("/")
        return url.removesuffix("/chat/completions")

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What is sent beside the messages."""
        given = {**DEFAULTS, **self.gen_kwargs}
        if self.url.startswith(OPENAI) and "max_completion_tokens" not in self.gen_kwargs:
            given["max_completion_tokens"] = given.pop("max_tokens")  # its newer models want this
        return {name: value for name, value in sorted(given.items()) if value is not None}

    @property
    def key(self) -> str:
        """The endpoint's key.

        Raises:
            JudgeError: OpenAI wants one, and the environment has none.
        """
        key = os.environ.get(self.key_variable, "")
        if not key and self.url.startswith(OPENAI):
            raise JudgeError(
                f"judge {self.model!r} at {self.url} needs a key in the environment: "
                f"{self.key_variable}; another endpoint is named with --base-url"
            )
        return key or NO_KEY

    def digest(self) -> str:
        """Which model this is, by the name (and on vLLM the folder) that the endpoint reports.

        Raises:
            FingerprintError: the endpoint does not answer.
        """
        headers = {"Authorization": f"Bearer {self.key}"}
        found = fingerprint(
            "local-chat-completions",
            {"model": self.model, "base_url": f"{self.url}/chat/completions", "header": headers},
        )
        return found.digest


@dataclass
class Usage:
    """What was asked so far.

    Attributes:
        calls: Requests.
        characters: Of the prompts that were answered.
        prompt_tokens, completion_tokens: As the endpoint counts them; estimated where it does not.
    """

    calls: int = 0
    characters: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, prompt: str, answer: str, told: Mapping[str, Any]) -> None:
        """Adds an answered call, with what the endpoint told of it."""
        self.characters += len(prompt)
        for name, text in (("prompt_tokens", prompt), ("completion_tokens", answer)):
            tokens = told.get(name)
            estimated = math.ceil(len(text) / CHARACTERS_A_TOKEN)
            setattr(self, name, getattr(self, name) + (estimated if tokens is None else tokens))


@dataclass(frozen=True)
class Answer:
    """What the endpoint said.

    Attributes:
        text: The message.
        finish: `stop`, `length` or `content_filter`.
        model: As the endpoint names it.
    """

    text: str
    finish: str
    model: str


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
    """

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.usage = Usage()
        self.form: Form = "text" if settings.form == "text" else "json"
        self._key = settings.key
        self._address = f"{settings.url}/chat/completions"  # whole: joining it takes time
        self._schema_works = False
        self._answered = self._failures = 0

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

    async def write(self, messages: Messages) -> Answer:
        """Plain text.

        Raises:
            CallFailed, JudgeError: as `read`.
        """
        return await self._ask(messages, None)

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

    async def _ask(self, messages: Messages, form: Form | None) -> Answer:
        schema = {"response_format": SCHEMA} if form == "json" else {}
        trial = Trial(self.settings.tries)
        while True:
            try:
                async with within(self.settings.timeout):  # whole: httpx's is of each read
                    answer = await self._call(messages, schema)
            except Exception as error:
                status = status_of(error)
                words = self._without_key(in_words(error))
                if status in REFUSED and not self._answered and not (schema and status == 404):
                    raise JudgeError(
                        f"{self.settings.url} refuses judge {self.settings.model!r} ({words}): "
                        f"check --base-url, the judge's name, and {self.settings.key_variable}"
                    ) from None
                if status == 429 and getattr(error, "code", "") == NO_CREDIT:
                    raise JudgeError(
                        f"{self.settings.url} says that the account has no credit left ({words}); "
                        "the verdicts that are there are in the store: start the same command "
                        "again once it has"
                    ) from None
                if self._schema_refused(form, status):  # asked for text next: no sign of death
                    raise CallFailed(words, status) from None
                wait = None if status in HOPELESS else trial.wait(status, error)
                if wait is None:
                    self._failed(words, status)
                    raise CallFailed(words, status) from None
                await asyncio.sleep(wait)
            else:
                self._answered += 1
                self._failures = 0
                self._schema_works |= form == "json"
                return answer

    async def _call(self, messages: Messages, schema: Mapping[str, Any]) -> Answer:
        self.usage.calls += 1
        body = {
            "model": self.settings.model,
            "messages": messages,
            **self.settings.parameters,
            **schema,
        }
        # the plain form: the client's typed one takes twice the time of a call
        found: Any = await self._client.post(self._address, cast_to=object, body=body)
        try:
            choice, usage = found["choices"][0], found.get("usage") or {}
            message = choice["message"]
            refusal = message.get("refusal")
            text = str(message.get("content") or refusal or "")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ValueError("the endpoint's answer is no chat completion") from None
        self.usage.count("".join(each["content"] for each in messages), text, usage)
        finish = "content_filter" if refusal else choice.get("finish_reason") or "stop"
        return Answer(sound(text), str(finish), str(found.get("model") or ""))

    def _without_key(self, words: str) -> str:
        """An endpoint's words in one line without the key, or its start where they are cut off."""
        words = " ".join(words.split())
        if self._key == NO_KEY:
            return words
        words = words.replace(self._key, "***")
        starts = (self._key[:length] for length in range(len(self._key) - 1, 3, -1))
        cut = next((start for start in starts if words.endswith(start)), "")
        return words.removesuffix(cut) + "***" if cut else words

    def _failed(self, words: str, status: int | None) -> None:
        if status in HOPELESS and self._answered:
            return  # this request's own fault
        self._failures += 1
        if self._failures >= IN_A_ROW:
            raise JudgeError(
                f"{self.settings.url} gave no answer to {self._failures} requests in a row (last: "
                f"{words}); the verdicts that are there are in the store: start the same command "
                "again once the endpoint is well"
            ) from None
