"""What a run asks, noted in the store until its results are written (see `unfinished`)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from persona_bench.harness.backends.request import Request
from persona_bench.harness.store import StoreError
from persona_bench.results.samples import find_samples

FOLDER = "unfinished"


class RunFacts(TypedDict):
    """What a run was started with.

    `name` is the model's in the results, and `folder` is where they go, from the store's parent on.
    """

    model: str
    model_args: dict[str, Any]
    name: str
    fingerprint: str
    folder: str
    think_end_token: str | int | None
    tasks: list[dict[str, Any]]
    limit: float | None
    seed: int
    apply_chat_template: bool
    system_instruction: str | None


class NotedRun(RunFacts):
    """And, by task, what it asks: the documents' numbers and the store's keys."""

    responses: dict[str, list[tuple[int, str]]]


@dataclass(frozen=True)
class Note:
    """What one process of a run asks.

    Attributes:
        store: The store that the note lies in.
        about: What it was started with.
        rank: Rank of the process.
    """

    store: Path
    about: RunFacts
    rank: int = 0

    @property
    def _stem(self) -> Path:
        text = json.dumps(self.about, sort_keys=True, default=str)
        return self.store / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:16]

    def write(self, requests: Iterable[Request]) -> None:
        """Writes down the requests: by task, the documents' numbers and the store's keys."""
        responses: dict[str, list[tuple[int, str]]] = {}
        for each in requests:
            if each.instance is not None:
                task, number = str(each.instance.task_name), int(each.instance.doc_id or 0)
                responses.setdefault(task, []).append((number, each.key))
        text = json.dumps({**self.about, "responses": responses}, default=str)
        file = self._stem.with_name(f"{self._stem.name}-{self.rank}.json")
        part = file.with_suffix(f".{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            part.replace(file)  # whole or not at all
        except OSError as error:
            raise StoreError(f"{file} can't be written ({error.strerror})") from None

    def remove(self) -> None:
        """Takes the notes of all processes away: the run's results are written."""
        for file in self._stem.parent.glob(f"{self._stem.name}-*.json"):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # the notes of other runs are in it
            self._stem.parent.rmdir()


def read_notes(store: Path) -> list[NotedRun]:
    """The runs that are under way or were stopped, each with the requests of all its processes."""
    by_run: dict[str, NotedRun] = {}
    for file in sorted((store / FOLDER).glob("*.json")):
        about: NotedRun = json.loads(file.read_text(encoding="utf-8"))
        whole = by_run.setdefault(file.stem.partition("-")[0], {**about, "responses": {}})
        for task, responses in about["responses"].items():
            whole["responses"].setdefault(task, []).extend((n, key) for n, key in responses)
    return list(by_run.values())


def forget_unfinished(folder: Path, tasks: Iterable[str]) -> None:
    """Removes what was written of a run's stored part, once there is more.

    That is what `score` wrote of an unfinished run, and the earlier looks of a run that is asked in
    blocks (`until`).
    """
    wanted = set(tasks)
    samples_files = find_samples(folder) if folder.is_dir() else []
    plans: set[str] = set()
    for samples in sorted(samples_files, key=lambda each: each.date, reverse=True):
        if samples.task not in wanted:
            continue
        plan = (samples.facts.get("until") or {}).get("plan", "")
        if samples.facts.get("unfinished") or plan in plans:
            for file in samples.file.parent.glob(f"*{samples.date}.json"):
                file.unlink(missing_ok=True)
            samples.file.unlink(missing_ok=True)
        elif plan:
            plans.add(plan)


def parts_of(task: Any) -> list[Any]:
    """The tasks of a group; a task itself."""
    return list(task.get_all_tasks()) if hasattr(task, "get_all_tasks") else [task]
