"""What does the store cost, and how fast does a run continue? (`make bench BENCH=store`)

Overhead: the same prompts through the same loaded backend, plainly as lm-eval asks it and with the
store around it, in turn: a real model (transformers), and a local endpoint that takes 50 ms for an
answer, with 16 requests in flight. Resume: 100,000 stored responses, found again by their prompts.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.api_models import JsonChatStr

from persona_bench.benchmarks.arithmetic import BENCHMARK as ARITHMETIC
from persona_bench.demo import demo_model
from persona_bench.harness.backends import model_class
from persona_bench.harness.caching_lm import CachingLM
from persona_bench.harness.store import RecordLog
from scripts.bench_judge import free_port, serve

ROUNDS = 5
RESPONSE = "We multiply the two numbers and add what is left over, step by step. " * 28  # 2 kB


def bench_store(header: Callable[[str], None], line: Callable[..., None]) -> None:
    """Prints both tables."""
    header("The store: 100,000 stored responses of 2 kB")
    with tempfile.TemporaryDirectory() as folder:
        resume(Path(folder), 100_000, line)
    header(f"The store: overhead, median of {ROUNDS} pairs")
    prompts = [ARITHMETIC.prompt(q.problem) for q in ARITHMETIC.load(None, 0)]
    overhead("transformers, SmolLM2-135M, 24 tokens, batch 16", real_model(), prompts[:48], line)
    server = multiprocessing.Process(
        target=serve, args=(port := free_port(), 0.05, RESPONSE), daemon=True
    )
    server.start()
    time.sleep(1)
    chat = [JsonChatStr(f'[{{"role": "user", "content": "{n}"}}]') for n in range(800)]
    overhead("endpoint, 50 ms an answer, 16 at a time", endpoint(port), chat, line)
    server.terminate()


class Refuses(LM):
    """A model that must not be asked."""

    def generate_until(self, requests: list[Instance]) -> list[str]:
        raise AssertionError("everything is in the store")

    loglikelihood = loglikelihood_rolling = generate_until  # type: ignore[assignment]


def instances(prompts: list[Any], tokens: int) -> list[Instance]:
    settings = {"until": [], "do_sample": False, "max_gen_toks": tokens}
    return [
        Instance("generate_until", {"sample": 0, "question": str(n), "persona": "none"},
                 (prompt, settings), 0, ("bench", n, 1))
        for n, prompt in enumerate(prompts)
    ]  # fmt: skip


def resume(folder: Path, count: int, line: Callable[..., None]) -> None:
    about = {"fingerprint": "0" * 64}
    asked = instances([f"{n} " + "What is the sum of these? " * 40 for n in range(count)], 2048)
    record_log = RecordLog(folder, about)
    stored = CachingLM(Refuses(), record_log, "0" * 64, 0)
    requests = [stored.request(each) for each in asked]
    started = time.perf_counter()
    for request in requests:
        told = {"finish": "stop", "gen_kwargs": request.gen_kwargs, "prompt": request.text}
        record_log.add({"key": request.key, "response": RESPONSE, **told})
    record_log.close()
    line("writing them, synced once a second", time.perf_counter() - started, count, "responses")
    started = time.perf_counter()
    record_log = RecordLog(folder, about)
    found = CachingLM(Refuses(), record_log, "0" * 64, 0).generate_until(asked)
    seconds = time.perf_counter() - started
    if found != [RESPONSE] * count:
        raise AssertionError("the store gave back something else")
    line("resume: reading, and finding each by its prompt", seconds, count, "responses", "aim 5 s")


def overhead(what: str, lm: LM, prompts: list[Any], line: Callable[..., None]) -> None:
    asked = instances(prompts, 24)
    plainly, around, inside = [], [], []
    for number in range(-1, ROUNDS):  # the first warms up
        times = []
        for keep in (False, True) if number % 2 else (True, False):
            with tempfile.TemporaryDirectory() as folder:
                before = dict(vars(lm))
                record_log = RecordLog(Path(folder), {"fingerprint": "0" * 64})
                spent = timed_writes(record_log)
                model = CachingLM(lm, record_log, "0" * 64, 0) if keep else lm
                started = time.perf_counter()
                model.generate_until(asked)
                times.append((keep, time.perf_counter() - started, spent[0]))
                record_log.close()
                vars(lm).clear()
                vars(lm).update(before)  # unwrapped again
        if number >= 0:
            for keep, seconds, spent_inside in times:
                (around if keep else plainly).append(seconds)
                if keep:
                    inside.append(spent_inside / seconds)
    ratio = median(around) / median(plainly) - 1
    line(f"{what}: plainly", median(plainly), len(asked), "responses")
    line(
        f"{what}: with the store", median(around), len(asked), "responses",
        f"{ratio:+.1%} (aim under 3%); writing takes {median(inside):.2%}",
    )  # fmt: skip


def timed_writes(record_log: RecordLog) -> list[float]:
    """Seconds that `record_log.add` takes, counted as it is called."""
    spent, add = [0.0], record_log.add

    def timed(record: Any) -> None:
        started = time.perf_counter()
        add(record)
        spent[0] += time.perf_counter() - started

    record_log.add = timed  # type: ignore[method-assign]
    return spent


def real_model() -> LM:
    settings = {"dtype": "float32", "batch_size": 16, "device": "cpu"}
    model: LM = model_class("hf")(pretrained=str(demo_model()), **settings)
    return model


def endpoint(port: int) -> LM:
    from lm_eval.models.openai_completions import LocalChatCompletion

    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    return LocalChatCompletion(model="bench", base_url=url, num_concurrent=16)
