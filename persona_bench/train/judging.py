"""A judge's part of the reward: how well a right answer keeps to its persona.

Only right answers under a persona are judged, so that being in character is never worth more than
being right. The calls of a step run at the same time, through the client of `persona-bench judge`.
Every verdict is stored with its cost as soon as it is there: a resumed run pays for none twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from persona_bench.benchmarks.roleplay import rubrics
from persona_bench.benchmarks.rubrics import SCORES
from persona_bench.judge.client import (
    CHARACTERS_A_TOKEN,
    CallFailed,
    Judge,
    JudgeError,
    JudgeSettings,
    Price,
)
from persona_bench.judge.prompts import Item, judge_messages
from persona_bench.train.config import JudgeReward, TrainError

FILE = "judge.{rank}.jsonl"
"""In the output folder: the verdicts that a process had."""


class Verdicts(NamedTuple):
    """What a judge said of a step's answers.

    Attributes:
        scores: From 0 to 1 for each answer; None where there is no verdict.
        calls, tokens: What it took, answers of earlier starts not counted.
        cost: In US dollars; None where no price is set.
    """

    scores: list[float | None]
    calls: int
    tokens: int
    cost: float | None


class JudgeScores:
    """Asks a judge how well answers keep to their personas.

    Args:
        settings: Which judge, and by which rubric.
        prompts: From a persona's id to its prompt.
        folder: The run's output folder.

    Raises:
        TrainError: the endpoint's key is missing.
    """

    def __init__(self, settings: JudgeReward, prompts: Mapping[str, str], folder: Path) -> None:
        self.settings, self.prompts, self.folder = settings, prompts, folder
        self.rubrics = rubrics(None)
        self.rank = 0
        price = settings.price
        self.judge = JudgeSettings(
            settings.model,
            settings.base_url,
            key_variable=settings.api_key_variable,
            timeout=settings.timeout,
            price=Price(price.prompt, price.completion) if price else None,
            address="reward.judge.base_url",
            kept="its verdicts are kept",
        )
        try:
            _ = self.judge.key
        except JudgeError as error:
            raise TrainError(f"reward.judge: {error}") from None
        self._known: dict[str, float] | None = None

    def __call__(
        self, texts: Sequence[str], problems: Sequence[str], personas: Sequence[str]
    ) -> Verdicts:
        """The verdicts on right answers under a persona.

        Raises:
            TrainError: the endpoint refuses everything, or is gone.
        """
        items = [
            Item(self.settings.rubric, self.prompts[persona], problem, text)
            for text, problem, persona in zip(texts, problems, personas, strict=True)
        ]
        keys = [self._key(item) for item in items]
        known = self._stored()
        new = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
        rows = _in_a_thread(self._ask_all(new)) if new else []
        failed = [row for row in rows if isinstance(row, BaseException)]
        for error in failed:
            if not isinstance(error, CallFailed):
                words = f"reward.judge: {error}" if isinstance(error, JudgeError) else ""
                raise TrainError(words) from None if words else error
        if new and len(failed) == len(new):
            raise TrainError(
                f"reward.judge: every request of a step failed (last: {failed[-1]}); mend the "
                "endpoint, then start the same command again"
            )
        found = [row for row in rows if isinstance(row, dict)]
        costs = [row["cost"] for row in found if row["cost"] is not None]
        return Verdicts(
            [known.get(key) for key in keys],
            sum(row["calls"] for row in found),
            sum(row["prompt_tokens"] + row["completion_tokens"] for row in found),
            sum(costs) if self.judge.price else None,
        )

    # ------------------------------------------------------------------ asking

    async def _ask_all(self, items: Mapping[str, Item]) -> list[dict[str, Any] | BaseException]:
        free = asyncio.Semaphore(self.settings.concurrency)

        async def one(judge: Judge, key: str, item: Item) -> dict[str, Any]:
            async with free:
                reading, answer, calls = await judge.read(
                    lambda form: judge_messages(self.rubrics, item, form)
                )
            asked = judge_messages(self.rubrics, item, judge.form)
            used = (
                _tokens(answer.prompt_tokens, "".join(each["content"] for each in asked)),
                _tokens(answer.tokens, answer.text),
            )
            price = self.judge.price
            row = {
                "key": key,
                "persona": item.persona,
                "question": item.question,
                "score": reading.score,
                "reason": reading.reason,
                "justification": reading.justification,
                "calls": calls,
                "prompt_tokens": used[0],
                "completion_tokens": used[1],
                "cost": price.of(*used) if price else None,
            }
            self._store(row)
            return row

        async with Judge(self.judge) as judge:
            calls = [one(judge, key, item) for key, item in items.items()]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    # ------------------------------------------------------------------ what is stored

    def _key(self, item: Item) -> str:
        """What a verdict depends on, in short."""
        told = (self.rubrics.fingerprint, self.settings.model, self.settings.base_url, asdict(item))
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def _stored(self) -> dict[str, float]:
        if self._known is None:
            self._known = {}
            for path in sorted(self.folder.glob(FILE.format(rank="*"))):
                for row in rows_of(path):
                    self._remember(row)
        return self._known

    def _store(self, row: dict[str, Any]) -> None:
        with (self.folder / FILE.format(rank=self.rank)).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._remember(row)

    def _remember(self, row: Mapping[str, Any]) -> None:
        if row["score"] is not None and self._known is not None:
            self._known[row["key"]] = (row["score"] - SCORES[0]) / (SCORES[-1] - SCORES[0])


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The stored verdicts of a file, without a line that a kill cut off."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def total_cost(folder: Path) -> dict[str, Any] | None:
    """Calls, tokens and cost of all verdicts of a run; None where no judge was asked."""
    rows = [row for path in folder.glob(FILE.format(rank="*")) for row in rows_of(path)]
    if not rows:
        return None
    names = ("calls", "prompt_tokens", "completion_tokens")
    told: dict[str, Any] = {name: sum(row[name] for row in rows) for name in names}
    if all(row["cost"] is not None for row in rows):
        told["cost_usd"] = round(sum(row["cost"] for row in rows), 6)
    return told


def _tokens(counted: int | None, text: str) -> int:
    """As the endpoint counts them; estimated where it does not."""
    return math.ceil(len(text) / CHARACTERS_A_TOKEN) if counted is None else counted


def _in_a_thread(work: Any) -> Any:
    """Runs a coroutine to its end, in a thread: notebooks have a loop of their own here."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work))
        except BaseException as error:
            found.append([error])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    return found[0]
