"""Runs that are killed: nothing finished is made twice, and the end is as of a run in one piece."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from tests.support.chat_server import ChatServer

# children are forked from a process that has imported everything and started nothing
PRELOADED = ["persona_bench.harness.run", "lm_eval.models.huggingface", "lm_eval.models"]
BATCH = 2
KILLS = 10


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "tests.test_resume"])
    return context


def run_on_model(model: str, folder: str, sampled: bool) -> None:
    """A run in a process of its own; every batch that the model is asked goes to a log."""
    import torch

    from persona_bench.harness.backends.huggingface import HuggingFace
    from persona_bench.harness.run import run

    torch.set_num_threads(2)
    ask = HuggingFace.ask
    log = Path(folder) / f"batches-{os.getpid()}.txt"

    def asked(self: Any, requests: Any, **kwargs: Any) -> None:
        with log.open("a") as file:
            file.write(" ".join(sorted(request.key for request in requests)) + "\n")
        ask(self, requests, **kwargs)

    HuggingFace.ask = asked  # type: ignore[method-assign]
    sampling = {"do_sample": True, "temperature": 0.8} if sampled else {}
    run(
        model="hf",
        model_args={"pretrained": model, "dtype": "float32"},
        tasks=["persona_arithmetic"],
        output_path=Path(folder) / "out",
        metadata={
            "persona_set": "demo",
            "n_questions": 2 if sampled else 4,
            "samples": 2 if sampled else 1,
        },
        gen_kwargs={"max_gen_toks": 8, **sampling},
        batch_size=str(BATCH),
        device="cpu",
    )


def run_on_server(url: str, folder: str) -> None:
    from persona_bench.harness.run import run

    run(
        model="local-chat-completions",
        model_args={"model": "small", "base_url": url, "num_concurrent": 16},
        tasks=["persona_arithmetic"],
        output_path=Path(folder) / "out",
        metadata={"persona_set": "demo", "n_questions": 40},
    )


def stored(folder: Path) -> int:
    """How many records there are, of all processes so far."""
    lines = 0
    for segment in folder.glob("out/store/**/*.jsonl"):
        lines += max(segment.read_bytes().count(b"\n") - 1, 0)
    return lines


def run_and_kill(
    context: Any, target: Callable[..., None], arguments: tuple[Any, ...], folder: Path, at: int
) -> None:
    """Kills the run as soon as that many records are there."""
    child = context.Process(target=target, args=arguments)
    child.start()
    deadline = time.monotonic() + 120
    while stored(folder) < at and child.is_alive():
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.002)
    assert child.is_alive(), f"the run was over before {at} records"
    os.kill(child.pid, signal.SIGKILL)
    child.join()


def finish(context: Any, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    child = context.Process(target=target, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0


def outcomes_of(folder: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_outcomes(folder / "out").drop(columns="model")


def batches(folder: Path) -> list[list[frozenset[str]]]:
    """The batches that each process asked, in the order of the processes."""
    files = sorted(folder.glob("batches-*.txt"), key=lambda file: file.stat().st_mtime_ns)
    return [[frozenset(line.split()) for line in file.read_text().splitlines()] for file in files]


@pytest.mark.parametrize(
    ("sampled", "kills"),
    [
        pytest.param(False, 4, id="greedy", marks=pytest.mark.slow),
        pytest.param(True, 1, id="drawn"),
        pytest.param(False, KILLS, id="greedy, ten times", marks=pytest.mark.slow),
        pytest.param(True, 2, id="drawn, twice", marks=pytest.mark.slow),
    ],
)
def test_a_real_model_s_run_survives_kills(
    processes: Any, smollm2: Path, tmp_path: Path, sampled: bool, kills: int
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    finish(processes, run_on_model, (str(smollm2), str(whole), sampled))
    (expected,) = batches(whole)
    total = stored(whole)
    assert total == 24
    assert len(expected) == total // BATCH

    before: list[set[str]] = []
    for number in range(kills):
        before.append(keys(killed))
        at = 1 + number * BATCH  # by progress: one more batch each time, or half of it
        run_and_kill(processes, run_on_model, (str(smollm2), str(killed), sampled), killed, at)
    before.append(keys(killed))
    finish(processes, run_on_model, (str(smollm2), str(killed), sampled))

    rounds = batches(killed)
    assert len(rounds) == kills + 1
    for done, asked in zip(before, rounds, strict=True):
        for batch in asked:
            assert batch in expected  # the same make-up as in one piece
            assert not batch <= done, "a finished batch was generated again"
    assert stored(killed) == total  # each response was stored once
    pd.testing.assert_frame_equal(outcomes_of(killed), outcomes_of(whole))


def keys(folder: Path) -> set[str]:
    found = set()
    for segment in folder.glob("out/store/**/*.jsonl"):
        for line in segment.read_bytes().splitlines(keepends=True)[1:]:
            if line.endswith(b"\n"):
                found.add(json.loads(line)["key"])
    return found


def test_an_endpoint_s_run_survives_kills(processes: Any, tmp_path: Path) -> None:
    rates = {p.prompt: 0.7 for p in load_persona_set("demo")}
    questions = choose_questions(BENCHMARK.load(None, 0), 40, 0)
    answers = {BENCHMARK.prompt(q.problem): q.answer for q in questions}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with ChatServer(rates, answers, delay=0.05) as chat:
        finish(processes, run_on_server, (chat.url, str(whole)))
        total = len(chat.requests)
        assert total == 240
        for number in range(KILLS):
            sent, kept = len(chat.requests), stored(killed)
            at = 5 + number * 20
            run_and_kill(processes, run_on_server, (chat.url, str(killed)), killed, at)
            time.sleep(0.2)  # what was in flight reaches the server
            lost = len(chat.requests) - sent - (stored(killed) - kept)
            assert 0 <= lost <= 16, "more than the requests in flight was lost"
        sent, kept = len(chat.requests), stored(killed)
        finish(processes, run_on_server, (chat.url, str(killed)))
        assert len(chat.requests) - sent == total - kept
    assert stored(killed) == total
    pd.testing.assert_frame_equal(outcomes_of(killed), outcomes_of(whole))


def test_two_runs_at_once_on_one_store_end_alike(processes: Any, tmp_path: Path) -> None:
    rates = {p.prompt: 0.7 for p in load_persona_set("demo")}
    questions = choose_questions(BENCHMARK.load(None, 0), 40, 0)
    answers = {BENCHMARK.prompt(q.problem): q.answer for q in questions}
    with ChatServer(rates, answers, delay=0.02) as chat:
        both = [
            processes.Process(target=run_on_server, args=(chat.url, str(tmp_path)))
            for _ in range(2)
        ]
        for child in both:
            child.start()
        for child in both:
            child.join()
            assert child.exitcode == 0
        sent = len(chat.requests)
        finish(processes, run_on_server, (chat.url, str(tmp_path)))
        assert len(chat.requests) == sent
    files = sorted(tmp_path.glob("out/small/samples_*.jsonl"))
    assert len(files) == 3
    tables = [read_outcomes(file) for file in files]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])
