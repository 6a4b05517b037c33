"""A judge's part of the reward: how well a right answer keeps to its persona.

Only right answers under a persona are judged, so that being in character is never worth more than
being right. The calls of a step run at the same time, by the machinery of `persona-bench judge`.
Every verdict is stored with its cost as soon as it arrives: a resumed run pays for none twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from persona_bench.benchmarks.roleplay import rubrics
from persona_bench.benchmarks.rubrics import SCORES
from persona_bench.harness.store import RecordLog
from persona_bench.judge.calls import Work, carry_out
from persona_bench.judge.client import Judge, JudgeError, JudgeSettings, Price, Usage
from persona_bench.judge.prompts import Item, judge_messages
from persona_bench.train.config import JudgeReward, TrainError

FOLDER = "judge"
"""In the output folder: the stored verdicts."""


class Verdicts(NamedTuple):
    """What a judge said of a step's answers.

    Attributes:
        scores: From 0 to 1 for each answer; None where there is no verdict.
        calls, tokens: What it took; stored verdicts are not counted.
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

    @cached_property
    def log(self) -> RecordLog:
        """The stored verdicts; the folder is there only once the training has begun."""
        return RecordLog(self.folder / FOLDER, {"kind": "reward", "judge": self.settings.model})

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
        work = {key: self._work(key, item) for key, item in zip(keys, items, strict=True)}
        new = [key for key in work if key not in self.log]
        with ThreadPoolExecutor(1) as thread:  # notebooks have an event loop in this one
            asking = thread.submit(
                carry_out,
                list(work.values()),
                self.judge,
                self.log,
                concurrency=self.settings.concurrency,
            )
            try:
                done = asking.result()
            except JudgeError as error:
                raise TrainError(f"reward.judge: {error}") from None
        if new and len(done.failed) == len(new):
            raise TrainError(
                "reward.judge: every request of a step failed (last: "
                f"{list(done.failed.values())[-1]}); mend the endpoint, then start the same "
                "command again"
            )
        records = self.log.get(keys)
        cost = _cost([records[key] for key in new if key in records])
        return Verdicts(
            [_share(records.get(key, {}).get("score")) for key in keys],
            cost["calls"],
            cost["prompt_tokens"] + cost["completion_tokens"],
            cost.get("cost_usd", 0.0) if self.judge.price else None,
        )

    def _work(self, key: str, item: Item) -> Work:
        async def make(judge: Judge) -> dict[str, Any]:
            reading, answer, calls = await judge.read(
                lambda form: judge_messages(self.rubrics, item, form)
            )
            asked, usage = judge_messages(self.rubrics, item, judge.form), Usage()
            usage.count("".join(each["content"] for each in asked), answer)
            tokens = usage.prompt_tokens, usage.completion_tokens
            price = self.judge.price
            return {
                "score": reading.score,
                "reason": reading.reason,
                "justification": reading.justification,
                "calls": calls,
                "prompt_tokens": tokens[0],
                "completion_tokens": tokens[1],
                "cost": price.of(*tokens) if price else None,
            }

        return Work(key, {"persona": item.persona, "question": item.question}, 0, make)

    def _key(self, item: Item) -> str:
        """Hash of everything that a verdict depends on."""
        parts = (
            self.rubrics.fingerprint,
            self.settings.model,
            self.settings.base_url,
            asdict(item),
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _share(score: int | None) -> float | None:
    """A score from 0 to 1."""
    return None if score is None else (score - SCORES[0]) / (SCORES[-1] - SCORES[0])


def _cost(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Calls, tokens and, where the price is known, US dollars of verdicts."""
    names = ("calls", "prompt_tokens", "completion_tokens")
    cost: dict[str, Any] = {name: sum(record[name] for record in records) for name in names}
    if records and all(record["cost"] is not None for record in records):
        cost["cost_usd"] = round(sum(record["cost"] for record in records), 6)
    return cost


def total_cost(folder: Path) -> dict[str, Any] | None:
    """Calls, tokens and cost of all verdicts of a run; None where no judge was asked."""
    records = list(RecordLog(folder / FOLDER, {}).records())
    return _cost(records) if records else None
