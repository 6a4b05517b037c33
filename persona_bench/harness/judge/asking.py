"""Many calls to one judge at once, each verdict stored as soon as it is there."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from persona_bench.grading.judge.prompt import (
    Item,
    Messages,
    example_messages,
    judge_messages,
    read_examples,
)
from persona_bench.grading.judge.rubrics import RubricSet
from persona_bench.harness.judge.client import (
    CHARACTERS_A_TOKEN,
    CallFailed,
    Judge,
    JudgeSettings,
    Price,
)
from persona_bench.harness.judge.jobs import Job, Judged
from persona_bench.harness.store import Shelf

FORM_TOKENS = 120  # what a schema and the messages' frames add
ANSWER_TOKENS = 150  # of a verdict, before any is seen
EXAMPLES_TOKENS = 500


@dataclass
class Budget:
    """What may be spent, over all judges.

    Attributes:
        limit: US dollars; None: no limit.
        spent: By calls that are done.
        reserved: By calls under way, at most.
    """

    limit: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    def admits(self, cost: float) -> bool:
        """Whether a call of this cost may be made."""
        return self.limit is None or self.spent + self.reserved + cost <= self.limit


@dataclass(frozen=True)
class Work:
    """One record to be had from a judge.

    Attributes:
        key: Of the record.
        about: What the record says beside the outcome.
        characters: Of the prompt.
        make: Asks the judge and gives the rest of the record.
        answer_tokens: About how long the answer is.
        calls: At most; an answer that can't be read is asked for again.
    """

    key: str
    about: dict[str, Any]
    characters: int
    make: Callable[[Judge], Awaitable[dict[str, Any]]]
    answer_tokens: int = ANSWER_TOKENS
    calls: int = 2


@dataclass
class Done:
    """What came of it.

    Attributes:
        stored: Records that were there before.
        made: New ones.
        failed: Requests that failed for good, by key.
        left: Not asked, as the cost limit was reached.
        seconds: That the calls took, from the first to the last.
    """

    stored: int = 0
    made: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left: int = 0
    seconds: float = 0.0


def verdict_work(job: Job, judged: Judged, settings: JudgeSettings) -> Work:
    """A job as work."""

    async def make(judge: Judge) -> dict[str, Any]:
        reading, answer, calls = await judge.read(
            lambda form: judge_messages(judged.rubrics, job.item, form, job.examples)
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

    response = job.response
    about = {
        "task": judged.samples.task,
        "question": response.question,
        "persona": response.persona,
        "sample": response.sample,
        "eval_task": job.item.eval_task,
        "judge": settings.model,
        "repeat": job.repeat,
        **({"held_against": job.item.persona} if job.item != response.item else {}),
    }
    return Work(job.key, about, _length(judge_messages(judged.rubrics, job.item, "json")), make)


def examples_work(key: str, item: Item, rubrics: RubricSet, settings: JudgeSettings) -> Work:
    """An example response of each score, as work."""
    messages = example_messages(rubrics, item)

    async def make(judge: Judge) -> dict[str, Any]:
        answer = await judge.write(messages)
        return {"examples": read_examples(answer.text), "model": answer.model}

    about = {"eval_task": item.eval_task, "judge": settings.model}
    return Work(key, about, _length(messages), make, EXAMPLES_TOKENS, calls=1)


def _length(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages)


def estimate(work: Sequence[Work]) -> tuple[int, int]:
    """About how many prompt and completion tokens work takes."""
    prompt = sum(each.characters / CHARACTERS_A_TOKEN + FORM_TOKENS for each in work)
    return round(prompt), sum(each.answer_tokens for each in work)


def carry_out(
    work: Sequence[Work],
    settings: JudgeSettings,
    shelf: Shelf,
    *,
    concurrency: int = 16,
    budget: Budget | None = None,
    show: str = "",
) -> Done:
    """Asks for what is not in the shelf, `concurrency` calls at a time.

    Args:
        work: What is wanted; the same key twice is asked once.
        settings: Of the judge.
        shelf: Where the records go.
        concurrency: Calls at a time.
        budget: What may be spent; this judge's price must be known where it has a limit.
        show: Title of a progress bar; none where empty.

    Raises:
        JudgeError: the endpoint refuses or no longer answers; what was had is in the shelf.
        StoreError: the store can't be written.
    """
    unique = {each.key: each for each in work}
    todo = [each for each in unique.values() if each.key not in shelf]
    done = Done(stored=len(unique) - len(todo))
    if todo:
        run = _Run(todo, settings, shelf, budget or Budget(), done, show)
        try:
            asyncio.run(run.go(max(1, concurrency)))
        finally:
            shelf.sync()
    return done


class _Run:
    """The calls of one `carry_out`."""

    def __init__(
        self,
        todo: Sequence[Work],
        settings: JudgeSettings,
        shelf: Shelf,
        budget: Budget,
        done: Done,
        show: str,
    ) -> None:
        self.queue = deque(todo)
        self.settings, self.shelf, self.budget, self.done = settings, shelf, budget, done
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
            self.shelf.add({"key": work.key, **work.about, **record})
            self.bar.update()

    def _at_most(self, work: Work, judge: Judge) -> float:
        """What a call may cost: answers of full length, and asked for again where that is done.

        A character is a token, as in Chinese, until the endpoint has counted some.
        """
        usage, given = judge.usage, self.settings.parameters
        counted = usage.prompt_tokens / usage.characters if usage.characters else 1.0
        a_character = max(1 / CHARACTERS_A_TOKEN, counted)
        prompt = work.characters * a_character + FORM_TOKENS
        limit = given.get("max_completion_tokens") or given.get("max_tokens") or work.answer_tokens
        answer = max(limit, usage.completion_tokens / max(usage.calls, 1))
        earlier = answer * (work.calls - 1)  # is part of the second prompt
        return self.price.of(prompt * work.calls + earlier, answer * work.calls)

    def _count(self, judge: Judge) -> None:
        cost = self.price.of(judge.usage.prompt_tokens, judge.usage.completion_tokens)
        self.budget.spent += cost - self.counted
        self.counted = cost
        if self.settings.price:
            self.bar.set_postfix_str(f"${self.budget.spent:.2f}", refresh=False)
