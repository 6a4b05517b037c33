"""An entry test for judges: pairs of which one must score higher, before a judge is believed.

The judge scores both members of each pair by the rubrics of `persona_roleplay`, one per call, as it
scores responses; it never sees two side by side. The pairs are in `entry_test.yaml`. A judge that
gives every response the same score is right in half of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from persona_bench.benchmarks import roleplay
from persona_bench.benchmarks.rubrics import read_yaml
from persona_bench.judge.calls import Done, verdict_work
from persona_bench.judge.client import JudgeError, JudgeSettings
from persona_bench.judge.prompts import Item
from persona_bench.judge.responses import JudgeCall, JudgedResponse, JudgedTask, make_call
from persona_bench.judge.session import JudgeSession
from persona_bench.results.samples import Samples
from persona_bench.scoring.resampling import Interval, mean_interval

FILE = Path(__file__).with_suffix(".yaml")

BAR = 0.8
"""Accuracy below which a judge is refused (docs/fidelity.md has the reasons).

A judge that gives 20% of its verdicts the wrong way round reaches it in half of all tests, one with
5% always, one with 30% almost never."""


class Pair(NamedTuple):
    """Two items of which the first has to score higher.

    Attributes:
        level: One of the five difficulties.
        right, wrong: What the judge is shown.
    """

    level: str
    right: Item
    wrong: Item


@dataclass(frozen=True)
class EntryResult:
    """How one judge did.

    Attributes:
        judge: Its name.
        accuracy: Share of pairs whose first member scored higher; a tie counts half, and a pair
            with a verdict that can't be read is wrong.
        interval: 95%, with pairs as the sample.
        n: Number of pairs.
        levels: Accuracy at each difficulty, easiest first.
        unread: Number of pairs with a verdict that could not be read.
        bar: Accuracy that is asked for.
        version: Version of the pairs.
    """

    judge: str
    accuracy: float
    interval: Interval
    n: int
    levels: dict[str, float]
    unread: int
    bar: float
    version: int

    @property
    def passed(self) -> bool:
        """Whether its accuracy reaches the bar."""
        return self.accuracy >= self.bar

    @property
    def words(self) -> str:
        """One sentence."""
        by_level = ", ".join(f"{name} {value:.0%}" for name, value in self.levels.items())
        unread = f"; {self.unread} with a verdict that can't be read" if self.unread else ""
        return (
            f"{self.judge} {'passed' if self.passed else 'FAILED'} the entry test for judges: "
            f"{self.accuracy:.0%} [{self.interval.low:.0%}, {self.interval.high:.0%}] of {self.n} "
            f"pairs, where {self.bar:.0%} are asked for and 50% are chance ({by_level}{unread})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a file."""
        return {**self.__dict__, "passed": self.passed, "words": self.words}


@cache
def _file() -> dict[str, Any]:
    return read_yaml(FILE)


@cache
def entry_pairs() -> tuple[Pair, ...]:
    """The pairs, easiest difficulty first."""
    pairs = []
    for pair in _file()["pairs"]:
        personas = pair.get("personas") or [pair["persona"]] * 2
        responses = pair.get("responses") or [pair["response"]] * 2
        right, wrong = (
            Item(pair["task"], persona, pair["question"], response)
            for persona, response in zip(personas, responses, strict=True)
        )
        pairs.append(Pair(pair["level"], right, wrong))
    return tuple(pairs)


def _task() -> JudgedTask:
    """The pairs as responses of a judged task: first all right ones, then all wrong ones."""
    pairs = entry_pairs()
    responses = [
        JudgedResponse(side, "", f"{number:02}-{pair.level}", 0, item, "")
        for side in ("right", "wrong")
        for number, pair in enumerate(pairs)
        for item in [getattr(pair, side)]
    ]
    return JudgedTask(Samples(FILE, "entry test", ""), roleplay.rubrics(None), responses)


def entry_calls(judge: JudgeSettings, digest: str) -> tuple[JudgedTask, list[JudgeCall]]:
    """The calls of the test: two per pair."""
    task = _task()
    return task, [make_call(each, task, judge, digest) for each in task.responses]


def take_entry_test(session: JudgeSession, judge: JudgeSettings) -> EntryResult:
    """Has a judge take the test; verdicts that are stored are not asked for again.

    Raises:
        JudgeError: the endpoint refuses or no longer answers, calls failed, or the cost limit was
            reached; what was answered is stored.
    """
    task, calls = entry_calls(judge, session.digest(judge))
    work = [verdict_work(call, task, judge) for call in calls]
    done = session.carry_out("entry test", work, judge, f"entry test of {judge.model}")
    if result := stored_entry_test(session, judge):
        return result
    raise JudgeError(_unfinished(judge, done))


def _unfinished(judge: JudgeSettings, done: Done) -> str:
    if done.left:
        return (
            f"the entry test of {judge.model!r} was not finished: {done.left} calls would have "
            "cost more than --max-cost"
        )
    return (
        f"the entry test of {judge.model!r} was not finished: {len(done.failed)} requests failed "
        f"(for instance: {next(iter(done.failed.values()), '')}); the same command asks for them "
        "again"
    )


def stored_entry_test(session: JudgeSession, judge: JudgeSettings) -> EntryResult | None:
    """The result of a test that was taken before, asked in the same way; None without one."""
    _, calls = entry_calls(judge, session.digest(judge))
    records = session.record_log("entry test", judge).get(call.key for call in calls)
    if any("score" not in (records.get(call.key) or {}) for call in calls):
        return None
    return grade(judge.model, [records[call.key] for call in calls])


def grade(judge: str, records: Sequence[Mapping[str, Any]]) -> EntryResult:
    """The result from the records of `entry_calls`, in their order."""
    pairs = entry_pairs()
    right, wrong = records[: len(pairs)], records[len(pairs) :]
    scores = [(a["score"], b["score"]) for a, b in zip(right, wrong, strict=True)]
    unread = [a is None or b is None for a, b in scores]
    points = np.array(
        [
            0.0 if bad else 0.5 + 0.5 * float(np.sign(a - b))
            for (a, b), bad in zip(scores, unread, strict=True)
        ]
    )
    se = float(points.std(ddof=1)) / math.sqrt(len(points))
    places = {name: [pair.level == name for pair in pairs] for name in _file()["levels"]}
    levels = {name: float(points[place].mean()) for name, place in places.items()}
    accuracy = float(points.mean())
    return EntryResult(
        judge=judge,
        accuracy=accuracy,
        interval=mean_interval(accuracy, se, len(points), 0.95),
        n=len(points),
        levels=levels,
        unread=sum(unread),
        bar=BAR,
        version=int(_file()["version"]),
    )
