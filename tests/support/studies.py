"""Studies against a small endpoint: their files, and what they ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from persona_bench import load_persona_set
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.harness.run import run
from tests.support.chat_server import ChatServer

N_QUESTIONS = 12


def server() -> ChatServer:
    rates = {p.prompt: 0.7 for p in load_persona_set("demo")}
    questions = choose_questions(BENCHMARK.load(None, 0), N_QUESTIONS, 0)
    return ChatServer(rates, {BENCHMARK.prompt(q.problem): q.answer for q in questions})


def study_of(chat: ChatServer, **more: Any) -> dict[str, Any]:
    endpoint = {"base_url": chat.url, "num_concurrent": 8}
    return {
        "output_path": "out",
        "models": [
            {
                "name": name,
                "model": "local-chat-completions",
                "model_args": {**endpoint, "model": name},
            }
            for name in ("a", "b")
        ],
        "tasks": ["persona_arithmetic"],
        "metadata": {"persona_set": "demo", "n_questions": N_QUESTIONS},
        **more,
    }


def written(folder: Path, study: Any) -> Path:
    file = folder / "study.yaml"
    file.write_text(study if isinstance(study, str) else yaml.safe_dump(study))
    return file


def ask(chat: ChatServer, folder: Path, **knobs: Any) -> None:
    run(
        model="local-chat-completions",
        model_args={"model": "small", "base_url": chat.url, "num_concurrent": 8},
        tasks=["persona_arithmetic"],
        output_path=folder,
        metadata={"persona_set": "demo", "n_questions": N_QUESTIONS, **knobs},
    )


def hub_model(cache: Path, name: str, commit: str) -> Path:
    """The folder of a model in the hub's cache, still to be filled."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots").mkdir()
    return folder / "snapshots" / commit
