"""Small real runs, graded and judged, against servers that answer at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from persona_bench import load_persona_set
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.harness.run import run
from persona_bench.report.page import page_responses
from persona_bench.results.runs import read_folder
from tests.support.chat_server import ChatServer
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.judged_run import judge, settings, shown, stored_run

N_QUESTIONS = 8


class RealRuns(NamedTuple):
    """What runs left, as the page's responses."""

    graded_folder: Path
    graded: pd.DataFrame
    judged: pd.DataFrame
    open: pd.DataFrame


def real_runs(folder: Path) -> RealRuns:
    """A graded run with one request that failed, a judged run, and the same before its judges."""
    graded = _graded(folder / "graded")
    (folder / "judged").mkdir()
    out = stored_run(folder / "judged", model="player", questions_per_task=1)
    before = _read(out)
    with JudgeServer(_judgement, ("judge", "second")) as server:
        judge(out, settings(server.url, "judge"), settings(server.url, "second"))
    return RealRuns(graded, _read(graded), _read(out), before)


def _read(folder: Path) -> pd.DataFrame:
    (run,) = read_folder(folder, asked=True)
    (results,) = run.tasks.values()
    return page_responses(results)


def _graded(folder: Path) -> Path:
    personas = load_persona_set("demo")
    questions = choose_questions(BENCHMARK.load(None, 0), N_QUESTIONS, 0)
    answers = {BENCHMARK.prompt(each.problem): each.answer for each in questions}
    rates = {each.prompt: 0.5 for each in personas}
    last = questions[-1].problem

    def one_fails(body: dict[str, Any], _: int) -> tuple[int, dict[str, str]] | None:
        messages = body["messages"]
        failing = len(messages) == 1 and last in messages[0]["content"]
        return (400, {}) if failing else None

    with ChatServer(rates, answers, one_fails) as chat:
        run(
            model="local-chat-completions",
            model_args={"model": "small", "base_url": chat.url, "num_concurrent": 8,
                        "max_retries": 1},
            tasks=["persona_arithmetic"],
            output_path=folder,
            metadata={"persona_set": "demo", "n_questions": N_QUESTIONS},
        )  # fmt: skip
    return folder


def _judgement(body: dict[str, Any], number: int) -> Reply:
    seen = shown(body)
    if "weaver" in seen.persona:
        return Reply("I would rather not say.")
    return Reply(verdict(1 + len(seen.response) % 5, f"Because it says: {seen.response[:30]}"))
