"""Many calls to one judge at a time; each record is stored as soon as it arrives."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from persona_bench.benchmarks.rubrics import RubricSet
from persona_bench.harness.store import RecordLog
from persona_bench.judge.client import (
    CHARACTERS_A_TOKEN,
    CallFailed,
    Judge,
    JudgeSettings,
    Price,
)
from persona_bench.judge.prompts import (
    Item,
    Messages,
    example_messages,
    judge_messages,
    read_examples,
)
from persona_bench.judge.responses import JudgeCall, JudgedTask

FORM_TOKENS = 120  # what a schema and the messages' frames add
ANSWER_TOKENS = 150  # of a verdict, before any is seen
EXAMPLES_TOKENS = 500


@dataclass
class Budget:
    """The budget that all judges share, in US dollars.

    Attributes:
        limit: None for no limit.
        spent: Cost of the finished calls.
        reserved: Upper bound of the cost of the calls under way.
    """

    limit: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    def admits(self, cost: float) -> bool:
        """Whether a call of this cost may be made."""
        return self.limit is None or self.spent + self.reserved + cost <= self.limit


@dataclass(frozen=True)
class Work:
    """One record to get from a judge.

    Attributes:
        key: Key of the record.
        about: Fields of the record that are known before the call.
        characters: Length of the prompt.
        make: Calls the judge and returns the remaining fields of the record.
        answer_tokens: Expected length of the answer.
        calls: Highest number of calls; an answer that can't be read is asked for once more.
    """

    key: str
    about: dict[str, Any]
    characters: int
    make: Callable[[Judge], Awaitable[dict[str, Any]]]
    answer_tokens: int = ANSWER_TOKENS
    calls: int = 2


@dataclass
class Done:
    """Counts of one `carry_out`.

    Attributes:
        stored: Records that were stored before.
        made: New records.
        failed: Error messages of the requests that failed for good, by key.
        left: Calls that were not made because the cost limit was reached.
        seconds: Time from the first call to the last.
    """

    stored: int = 0
    made: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0
    seconds: float = 0.0


def verdict_work(call: JudgeCall, judged: JudgedTask, settings: JudgeSettings) -> Work:
    """The work of getting one verdict."""

    async def make(judge: Judge) -> dict[str, Any]:
        reading, answer, calls = await judge.read(
            lambda form: judge_messages(judged.rubrics, call.item, form, call.examples)
        )
        return {
            "score": reading.score,
            "reason": reading.reason,
            "justification": reading.justification,
            "model": answer.model,
            "form": judge.form,
            "calls": calls,
            **({"adapted": dict(adapted)} if (adapted := judge.parameters.adapted) else {}),
        }

    response = call.response
    about = {
        "task": judged.samples.task,
        "question": response.question,
        "persona": response.persona,
        "sample": response.sample,
        "eval_task": call.item.eval_task,
        "judge": settings.model,
        "repeat": call.repeat,
        **({"held_against": call.item.persona} if call.item != response.item else {}),
    }
    return Work(call.key, about, _length(judge_messages(judged.rubrics, call.item, "json")), make)


def examples_work(key: str, item: Item, rubrics: RubricSet, settings: JudgeSettings) -> Work:
    """The work of getting one example response for each score."""
    messages = example_messages(rubrics, item)

    async def make(judge: Judge) -> dict[str, Any]:
        answer = await judge.write(messages)
        return {"examples": read_examples(answer.text), "model": answer.model}

    about = {"eval_task": item.eval_task, "judge": settings.model}
    return Work(key, about, _length(messages), make, EXAMPLES_TOKENS, calls=1)


def _length(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages)


def estimate(work: Sequence[Work]) -> tuple[int, int]:
    """Estimated prompt and completion tokens of some work."""
    prompt = sum(each.characters / CHARACTERS_A_TOKEN + FORM_TOKENS for each in work)
    return round(prompt), sum(each.answer_tokens for each in work)


def carry_out(
    work: Sequence[Work],
    settings: JudgeSettings,
    record_log: RecordLog,
    *,
    concurrency: int = 16,
    budget: Budget | None = None,
    show: str = "",
) -> Done:
    """Makes the calls whose records are not in the log, `concurrency` at a time.

    Args:
        work: The records to get; a key that occurs twice is called once.
        settings: The judge's settings.
        record_log: The log that the records go to.
        concurrency: Number of calls at a time.
        budget: The shared budget; if it has a limit, this judge's price must be known.
        show: Title of the progress bar; no bar if empty.

    Raises:
        JudgeError: the endpoint refuses or no longer answers; finished records are in the log.
        StoreError: the store can't be written.
    """
    unique = {each.key: each for each in work}
    todo = [each for each in unique.values() if each.key not in record_log]
    done = Done(stored=len(unique) - len(todo))
    if todo:
        run = _Run(todo, settings, record_log, budget or Budget(), done, show)
        try:
            asyncio.run(run.go(max(1, concurrency)))
        finally:
            record_log.sync()
    return done


class _Run:
    """The calls of one `carry_out`."""

    def __init__(
        self,
        todo: Sequence[Work],
        settings: JudgeSettings,
        record_log: RecordLog,
        budget: Budget,
        done: Done,
        show: str,
    ) -> None:
        self.queue = deque(todo)
        self.settings, self.record_log, self.budget, self.done = settings, record_log, budget, done
        self.price = settings.price or Price(0.0, 0.0)
        self.counted = 0.0
        self.bar = tqdm(total=len(todo), desc=show, unit="call", disable=not show)

    async def go(self, concurrency: int) -> None:
        async with Judge(self.settings) as judge:
            started = time.monotonic()
            tasks = [
                asyncio.create_task(self._worker(judge))
                for _ in range(min(concurrency, len(self.queue)))
            ]
            try:
                await asyncio.gather(*tasks)
            except BaseException:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                raise
            finally:
                self.done.seconds = time.monotonic() - started
                self.bar.close()
        self.done.left = len(self.queue)

    async def _worker(self, judge: Judge) -> None:
        while self.queue:
            work = self.queue[0]
            cost = 0.0 if self.budget.limit is None else self._at_most(work, judge)
            if not self.budget.admits(cost):
                return
            self.queue.popleft()
            self.budget.reserved += cost
            try:
                record = await work.make(judge)
            except CallFailed as error:
                record = {"error": str(error)}
                self.done.failed[work.key] = str(error)
            else:
                self.done.made += 1
            finally:
                self.budget.reserved -= cost
            self._count(judge)
            self.record_log.add({"key": work.key, **work.about, **record})
            self.bar.update()

    def _at_most(self, work: Work, judge: Judge) -> float:
        """Upper bound of a call's cost: full-length answers, and a second call where allowed.

        One character counts as one token, as in Chinese, until the endpoint has counted some.
        """
        usage, parameters = judge.usage, self.settings.parameters
        counted = usage.prompt_tokens / usage.characters if usage.characters else 1.0
        a_character = max(1 / CHARACTERS_A_TOKEN, counted)
        prompt = work.characters * a_character + FORM_TOKENS
        limit = (
            parameters.get("max_completion_tokens")
            or parameters.get("max_tokens")
            or work.answer_tokens
        )
        answer = max(limit, usage.completion_tokens / max(usage.calls, 1))
        earlier = answer * (work.calls - 1)  # is part of the second prompt
        return self.price.of(prompt * work.calls + earlier, answer * work.calls)

    def _count(self, judge: Judge) -> None:
        cost = self.price.of(judge.usage.prompt_tokens, judge.usage.completion_tokens)
        self.budget.spent += cost - self.counted
        self.counted = cost
        if self.settings.price:
            self.bar.set_postfix_str(f"${self.budget.spent:.2f}", refresh=False)
