"""How close does judging come to what the endpoint gives? (`make bench BENCH=judge`)

A server in a process of its own answers each call with a verdict after 200 ms; with 64 calls at a
time the ideal is 320 calls/s. Timed are the calls, each with its verdict read and stored, and the
whole command: reading the responses, making prompts and keys, and writing the files too.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import openai  # noqa: F401  (the seconds that importing it takes are not timed)

from persona_bench.benchmarks.roleplay import BENCHMARK
from persona_bench.harness.tasks import load
from persona_bench.judge.client import JudgeSettings
from persona_bench.judge.run import Judging, find_judged
from persona_bench.judge.session import Plan

DELAY, CONCURRENCY, RESPONSES = 0.2, 64, 6400
VERDICT = json.dumps({"justification": "In the role, and plainly so. " * 10, "score": 4})
WORDS = "I would take the money to the nearest house and ask whose it might be, matey. " * 8


def bench_judge(header: Callable[[str], None], line: Callable[..., None]) -> None:
    """Prints the table."""
    header(f"Judging: {CONCURRENCY} calls at a time, {DELAY * 1000:.0f} ms an answer")
    ideal = CONCURRENCY / DELAY
    server = multiprocessing.Process(target=serve, args=(port := free_port(),), daemon=True)
    server.start()
    time.sleep(1)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "out"
        write_run(results / "model", RESPONSES)
        judge = JudgeSettings("judge", f"http://127.0.0.1:{port}/v1")
        plan = Plan([judge], results / "store", concurrency=CONCURRENCY)
        for again in (False, True):
            started = time.perf_counter()
            done = Judging(plan, bar=False).run(find_judged(results)).verdicts[0].done
            whole = time.perf_counter() - started
            if again:
                line(
                    "repeated: from the store", whole, done.stored, "verdicts", f"{done.made} calls"
                )
                continue
            for what, seconds in (("calls", done.seconds), ("the whole command", whole)):
                share = f"{done.made / seconds / ideal:.1%} of the ideal {ideal:.0f}/s"
                line(f"{what}: {done.made:,}", seconds, done.made, "verdicts", share)
    server.terminate()


def write_run(folder: Path, count: int) -> None:
    """A run of persona_roleplay as lm-eval writes it, without a model."""
    folder.mkdir(parents=True)
    documents = load(benchmark="roleplay", persona_set="wide")["test"].to_list()[:count]
    date = "2026-01-01T00-00-00.000000"
    record = {"verdict": "unscored", "reason": "not_judged", "finish": "stop"}
    with (folder / f"samples_persona_roleplay_{date}.jsonl").open("w") as out:
        for number, doc in enumerate(documents):
            row: dict[str, Any] = {"doc": doc, "resps": [[f"{WORDS} {number}"]]}
            row |= {"metrics": ["responses"], "responses": record}
            out.write(json.dumps(row) + "\n")
    told = {"judged": True, "grader": BENCHMARK.grader}
    config = {
        "dataset_kwargs": {"benchmark": "roleplay"},
        "metadata": {"persona_bench": told},
    }
    (folder / f"results_{date}.json").write_text(
        json.dumps({"model_name": "model", "configs": {"persona_roleplay": config}})
    )


# ---------------------------------------------------------------------- the endpoint


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(port: int, delay: float = DELAY, content: str = VERDICT) -> None:
    """Answers every chat request with the same message.

    Args:
        delay: Seconds before the answer.
        content: The message's text.
    """
    asyncio.run(_serve(port, delay, _answer(content)))


async def _serve(port: int, delay: float, answer: bytes) -> None:
    connected = partial(_connection, delay=delay, answer=answer)
    server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def _connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, answer: bytes
) -> None:
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length or 0))
        if head.startswith(b"get"):
            body = b'{"object": "list", "data": [{"id": "judge"}]}'
        else:
            await asyncio.sleep(delay)
            body = answer
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()


def _answer(content: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 600, "completion_tokens": 80, "total_tokens": 680}
    answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "judge"}
    choices = [{**choice, "finish_reason": "stop"}]
    return json.dumps({**answer, "choices": choices, "usage": usage}).encode()
