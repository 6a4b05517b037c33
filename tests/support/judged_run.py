"""Small stored runs of the judged tasks, made as a user makes them, and judges' answers to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from persona_bench.harness.run import run
from persona_bench.judge.client import JudgeSettings
from persona_bench.judge.run import Finished, Judging, find_judged, find_store
from persona_bench.judge.session import Plan
from persona_bench.results.judged import read_judged
from tests.support.chat_server import ChatServer

CAST = ("baker", "falconer", "glazier", "miller", "saddler", "weaver")
"""The personas' ids; each one's prompt says it, and so do its responses."""

Answer = Callable[[str, str], str | tuple[int, dict[str, str]] | tuple[str, str]]
"""From a system and a user message to a response, with its finish reason where it is another than
`stop`, or to a status and headers."""


def write_cast(file: Path) -> Path:
    """A persona set of `CAST`."""
    lines = ["name: cast", "version: 1", "description: Six trades.", "personas:"]
    for number, who in enumerate(CAST):
        kind = ("character", "layperson")[number % 2]
        lines.append(f"  - {{id: {who}, kind: {kind}, prompt: You work as a {who} in a town.}}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def in_role(system: str, user: str) -> str:
    """A response that says who it is, longer or shorter by the question."""
    who = next(name for name in CAST if name in system)
    return f"As the {who} would: {user} " + "So it goes. " * (sum(map(ord, who + user)) % 7)


def stored_run(
    folder: Path,
    answer: Answer = in_role,
    task: str = "persona_roleplay",
    model: str = "player",
    **knobs: Any,
) -> Path:
    """An output folder that a run against a chat endpoint made.

    Args:
        folder: Where to; the responses lie below `out`.
        answer: What the model says.
        task: A judged task, or persona_arithmetic.
        model: The model's name.
        knobs: Of the run; two questions a task of `CAST` by default.
    """
    if task == "persona_roleplay":
        knobs = {"persona_set": str(write_cast(folder / "cast.yaml")), **knobs}
    if task != "persona_arithmetic":
        knobs.setdefault("questions_per_task", 2)

    def reply(body: dict[str, Any], _: int) -> Any:
        by_role = {message["role"]: message["content"] for message in body["messages"]}
        said = answer(by_role.get("system", ""), by_role["user"])
        if isinstance(said, tuple) and isinstance(said[0], int):
            return said
        text, finish = said if isinstance(said, tuple) else (said, "stop")
        message = {"role": "assistant", "content": text}
        return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}

    with ChatServer({}, {}, reply) as chat:
        arguments = {"model": model, "base_url": chat.url, "num_concurrent": 16}
        run(
            model="local-chat-completions",
            model_args={**arguments, "max_retries": 1},
            tasks=[task],
            output_path=folder / "out",
            metadata=knobs,
        )
    return folder / "out"


class Shown(NamedTuple):
    """What a judge was shown by this project's own rubrics."""

    eval_task: str
    persona: str
    question: str
    response: str


_SHOWN = re.compile(
    r"given in a role: (?P<eval_task>[^\n]*)\.\n.*===== (?P<mark>\w{8}) =====\n"
    r"Persona: (?P<persona>.*?)\n\nQuestion: (?P<question>.*?)\n\nResponse: (?P<response>.*)\n"
    r"===== (?P=mark) =====",
    re.DOTALL,
)


def shown(body: dict[str, Any]) -> Shown:
    """What a request shows, whether it is asked for the first time or again."""
    match = _SHOWN.search(body["messages"][1]["content"])
    assert match is not None, body
    return Shown(*match.group("eval_task", "persona", "question", "response"))


def form_of(body: dict[str, Any]) -> str:
    """In which form an answer is asked for."""
    return "json" if "response_format" in body else "text"


def settings(url: str, model: str = "judge", **more: Any) -> JudgeSettings:
    """A judge at a small server."""
    return JudgeSettings(model, url, **{"tries": 3, "timeout": 10.0, **more})


def judge(out: Path, *judges: JudgeSettings, **plan: Any) -> Finished:
    """Judges what lies in an output folder, as the command does."""
    whole = Plan(judges, **{"store": find_store(out), **plan})
    return Judging(whole, bar=False).run(find_judged(out))


def rows_of(out: Path) -> pd.DataFrame:
    """The judged table, by response and judge."""
    keys = ["judge", "persona", "question", "sample"]
    rows = read_judged(out).set_index(keys).sort_index()
    assert rows.index.is_unique
    return rows


def records_of(store: Path, kind: str = "verdicts") -> list[dict[str, Any]]:
    """All records in a store, those too that a reader passes over."""
    found = []
    for segment in sorted(store.glob(f"{kind}/*/*.jsonl")):
        lines = segment.read_bytes().splitlines(keepends=True)[1:]
        found += [json.loads(line) for line in lines if line.endswith(b"\n")]
    return found


def files_with(folder: Path, words: Iterable[str]) -> list[str]:
    """The files below a folder that hold any of these words."""
    wanted = [word.encode() for word in words]
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [str(file) for file in files if any(word in file.read_bytes() for word in wanted)]
