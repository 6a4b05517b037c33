"""Any lm-eval model, with a store of finished work around it.

What is in the store is not asked again; what is asked is in the store as soon as it is there.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs

from persona_bench.harness.backends import Backend, backend_of
from persona_bench.harness.backends.request import Generated, Request, StoredResponse
from persona_bench.harness.backends.response import Response
from persona_bench.harness.chat_date import dated_template
from persona_bench.harness.conversations import LOST
from persona_bench.harness.store import RecordLog

log = logging.getLogger("persona_bench")


def _passed_on(name: str) -> property:
    """The attribute or method of the model within."""
    return property(lambda self: getattr(self.inner, name))


class CachingLM(LM):
    """An lm-eval model whose generations go through a record_log of the store.

    Args:
        inner: The model that generates.
        record_log: The generations of this model.
        fingerprint: The model's, as the keys hold it.
        seed: Seed of the draws, where decoding samples.
        say: Is told how many responses are there already.

    Attributes:
        failed: Errors of requests that failed for good, by key.
        adapted: By task, the parameters that its endpoint did not take (`Generated.adapted`).
        before: Is told of all requests before any is asked.
    """

    def __init__(
        self,
        inner: LM,
        record_log: RecordLog,
        fingerprint: str,
        seed: int,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.inner, self.record_log, self.say = inner, record_log, say
        self.fingerprint, self.seed = fingerprint, seed
        self.backend: Backend = backend_of(inner, self._finished)
        self.failed: dict[str, str] = {}
        self.adapted: dict[str, dict[str, str]] = {}
        self.asked: set[str] = set()  # the keys of this run's requests
        self._noted: list[Request] = []
        self.before: Callable[[Sequence[Request]], None] = lambda _: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    # lm-eval asks the model itself for these, and would find the defaults of `LM` otherwise
    rank, world_size, device = map(_passed_on, ("rank", "world_size", "device"))
    all_gather, gather_object, barrier, chat_template = map(
        _passed_on, ("all_gather", "gather_object", "barrier", "chat_template")
    )

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> Any:
        """As the model's own; by this method, which lm-eval passes on, a task finds its model."""
        return self.inner.apply_chat_template(*args, **kwargs)

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's name; empty where the endpoint has it."""
        return str(getattr(self.inner, "tokenizer_name", "") or "")

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """The likelihoods of continuations, in order.

        Raises:
            StoreError: the store can't be written.
        """
        with without_collection():
            asked = [self.request(instance) for instance in requests]
        records = self._ask(asked, "log-likelihoods", before="continuation")
        return [
            (float(records[each.key]["loglikelihood"]), bool(records[each.key]["greedy"]))
            for each in asked
        ]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Passed on, not stored."""
        return self.inner.loglikelihood_rolling(requests)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The responses, in order: `Response` objects that know how they ended.

        Raises:
            StoreError: the store can't be written.
            EndpointError: an endpoint that refuses or no longer answers.
        """
        repeated: Counter[int] = Counter()
        asked: list[Request | Response] = []
        with without_collection():
            for instance in requests:  # a task with repeats has each of its requests several times
                if why := instance.doc.get(LOST):
                    asked.append(Response("", "error", why))
                    continue
                asked.append(self.request(instance, repeated[id(instance)]))
                repeated[id(instance)] += 1
        to_ask = [each for each in asked if isinstance(each, Request)]
        found = self._ask(to_ask, "responses", before="gen_kwargs")
        with without_collection():
            for request in to_ask:
                if adapted := found.get(request.key, {}).get("adapted"):
                    task = str(request.instance.task_name) if request.instance else ""
                    self.adapted.setdefault(task, {}).update(adapted)
            return [
                each if isinstance(each, Response) else self._response(each.key, found)
                for each in asked
            ]

    def _ask(self, asked: list[Request], what: str, before: str) -> dict[str, StoredResponse]:
        """The records of requests, by key; what the store lacks is asked first.

        Args:
            asked: All of one method, in order.
            what: What is asked for, in words.
            before: See `RecordLog.get`.
        """
        unique = {request.key: request for request in asked}
        missing = [request for request in unique.values() if request.key not in self.record_log]
        if self.rank == 0:
            for line in asked_in_words(asked, what, self.world_size):
                self.say(line)
        if len(missing) < len(unique):
            self.say(
                f"{len(unique) - len(missing):,} of {len(unique):,} {what} are in the store, "
                f"{len(missing):,} to {'generate' if what == 'responses' else 'compute'}"
            )
        self.asked |= set(unique)
        self._noted += asked
        self.before(self._noted)
        if missing:
            self.backend.generate(list(unique.values()), {each.key for each in missing})
            self.record_log.sync()
        with without_collection():
            return cast(dict[str, StoredResponse], self.record_log.get(unique, before=before))

    def starts(self) -> None:
        """Forgets what an earlier run of the session asked."""
        self.asked, self._noted = set(), []
        self.failed.clear()
        self.adapted.clear()

    def request(self, instance: Instance, repeat: int = 0) -> Request:
        """An lm-eval request with its key, and its seed where decoding samples.

        Args:
            instance: The request.
            repeat: How many times it was asked before in this run.
        """
        default = int(getattr(self.inner, "max_gen_toks", 256) or 256)
        dated = dated_template(self.inner)
        return request_of(
            instance, self.fingerprint, self.seed, default, repeat,
            undated=dated.undated if dated else None,
        )  # fmt: skip

    def _finished(self, request: Request, generated: Generated) -> None:
        """A response has come: into the store with it."""
        if generated.finish == "error":
            self.failed[request.key] = generated.error
        elif request.key in self.record_log:
            return
        doc = request.instance.doc if request.instance else {}
        record = {
            "key": request.key,
            "task": request.instance.task_name if request.instance else None,
            **{name: doc.get(name) for name in ("question", "persona", "sample")},
            "seed": request.seed,
            **generated.record(),
            **(
                {"gen_kwargs": request.gen_kwargs}
                if request.continuation is None
                else {"continuation": request.continuation}
            ),
            "prompt": request.text,
        }
        self.record_log.add({name: value for name, value in record.items() if value is not None})

    def _response(self, key: str, records: dict[str, StoredResponse]) -> Response:
        if (record := records.get(key)) is None:
            why = self.failed.get(key, "the backend gave no response")
            return Response("", "error", why)
        finish, tokens = record.get("finish", ""), record.get("tokens")
        return Response(record["response"], finish, tokens=tokens)


def asked_in_words(asked: Sequence[Request], what: str, processes: int) -> list[str]:
    """How much of each task is asked: `persona_math500: 100 questions × 16 personas, 1,600 ...`.

    Args:
        asked: The requests, in order.
        what: What is asked for, in words.
        processes: How many share the documents.
    """
    by_task: dict[str, list[Request]] = {}
    for request in asked:
        if request.instance is not None:
            by_task.setdefault(str(request.instance.task_name), []).append(request)
    lines = []
    for task, requests in by_task.items():
        docs = [request.instance.doc for request in requests if request.instance is not None]
        sizes = [len({str(doc.get(name)) for doc in docs}) for name in ("question", "persona")]
        part = "" if processes == 1 else f" (the share of one of {processes} processes)"
        lines.append(
            f"{task}: {sizes[0]:,} questions × {sizes[1]:,} personas, {len(docs):,} {what}{part}"
        )
    return lines


def request_of(
    instance: Instance,
    fingerprint: str,
    seed: int,
    default_length: int,
    repeat: int = 0,
    *,
    undated: Callable[[str], str] | None = None,
) -> Request:
    """What is asked, and the key under which it is found again.

    The key holds the model's fingerprint, the rendered prompt, the generation arguments as
    lm-eval normalises them, and, where decoding samples, the sample's index and the run's seed; of
    a likelihood, the continuation in place of these.
    `undated` gives what stands for a prompt with a date in it, the same on every day.
    """
    context, given = instance.args[:2]
    text = context.prompt if hasattr(context, "prompt") else context
    text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    identity = undated(text) if undated else text
    settings: dict[str, Any] = {}
    likelihood, sampled = isinstance(given, str), False
    if likelihood:
        parts = ["loglikelihood", fingerprint, given, identity]
    else:
        settings, normalised, sampled = _normalised(json.dumps(given, default=str), default_length)
        sample = int(instance.doc.get("sample", instance.idx)) * (instance.repeats or 1) + repeat
        draw = f"{sample} {seed}" if sampled else ""
        parts = ["generate_until", fingerprint, normalised, draw, identity]
    key = hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
    return Request(
        key=key,
        context=context,
        text=text,
        gen_kwargs=settings,
        given={} if likelihood else dict(given),
        # a draw of its own for each prompt and sample; within what every backend takes
        seed=int(key[:8], 16) & 0x7FFFFFFF if sampled else None,
        instance=instance,
        continuation=given if likelihood else None,
    )


@contextmanager
def without_collection() -> Iterator[None]:
    """Many objects that stay make the garbage collector look through all of them, in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@lru_cache(maxsize=256)
def _normalised(given: str, default_length: int) -> tuple[dict[str, Any], str, bool]:
    """Generation arguments as lm-eval normalises them, the same as text, and whether they draw."""
    settings = dict(normalize_gen_kwargs(json.loads(given), default_length))
    sampled = bool(settings.get("do_sample")) and float(settings.get("temperature") or 0) > 0
    return settings, json.dumps(settings, sort_keys=True), sampled
