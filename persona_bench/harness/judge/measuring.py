"""Measuring the judge: the calls of its audit, and what comes of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from persona_bench.grading.judge.prompt import Item
from persona_bench.harness.judge.client import JudgeSettings
from persona_bench.harness.judge.examples import Examples
from persona_bench.harness.judge.jobs import Job, Judged, Response, make_job
from persona_bench.harness.judge.plan import Plan
from persona_bench.scoring.audit import UNAFFECTED, Audit, audit


@dataclass(frozen=True)
class AuditJobs:
    """The calls of an audit beyond the verdicts themselves."""

    retests: list[Job]
    swaps: list[Job]

    @property
    def all(self) -> list[Job]:
        """Both kinds."""
        return [*self.retests, *self.swaps]


Pair = tuple[Response, Response]


def swap_pairs(judged: Judged, plan: Plan) -> list[Pair]:
    """A seeded draw of pairs of responses under different personas, each response in one pair.

    To the same question where it was asked of several personas, else on the same evaluation task.
    """
    pool = [each for each in judged.with_text if each.item.eval_task not in UNAFFECTED]
    asked: dict[str, set[str]] = {}
    for response in pool:
        asked.setdefault(response.question, set()).add(response.persona)
    groups: dict[str, list[Response]] = {}
    for response in pool:
        shared = len(asked[response.question]) > 1
        key = response.question if shared else response.item.eval_task
        groups.setdefault(key, []).append(response)
    rng = random.Random(f"{plan.seed}/swap")
    pairs: list[Pair] = []
    for group in groups.values():
        rng.shuffle(group)
        waiting: list[Response] = []
        for response in group:
            partner = next((w for w in waiting if w.item.persona != response.item.persona), None)
            if partner is None:
                waiting.append(response)
            else:
                waiting.remove(partner)
                pairs.append((partner, response))
    return rng.sample(pairs, min(max(1, plan.audited // 2), len(pairs)))


def _swapped(judged: Judged, plan: Plan) -> list[tuple[Response, Response]]:
    """Each response of a pair, with the one whose persona it is held against."""
    return [
        swap
        for first, second in swap_pairs(judged, plan)
        for swap in ((first, second), (second, first))
    ]


def swapped_items(judged: Judged, plan: Plan) -> list[Item]:
    """What examples the persona swap wants."""
    return [
        Item(response.item.eval_task, other.item.persona, response.item.question, "")
        for response, other in _swapped(judged, plan)
    ]


def audit_jobs(
    judged: Judged, plan: Plan, judge: JudgeSettings, digest: str, examples: Examples
) -> AuditJobs:
    """The calls of a judge's audit."""
    return AuditJobs(
        retests=[
            make_job(response, judged, judge, digest, examples=examples, repeat=1)
            for response in _retested(judged, plan)
        ],
        swaps=[
            make_job(response, judged, judge, digest, examples=examples, persona=other.item.persona)
            for response, other in _swapped(judged, plan)
        ],
    )


def _retested(judged: Judged, plan: Plan) -> list[Response]:
    pool = judged.with_text
    return random.Random(f"{plan.seed}/retest").sample(pool, min(plan.audited, len(pool)))


def measure(
    judge: str,
    jobs: Sequence[Job],
    extra: AuditJobs,
    records: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> Audit:
    """The audit, from the records of all these calls.

    Args:
        judge: Its name.
        jobs: The verdicts.
        extra: The audit's own calls.
        records: By key; one that is missing is unscored.
        seed: Of the test's draws.
    """

    def score(job: Job) -> Any:
        return (records.get(job.key) or {}).get("score")

    first = {id(job.response): score(job) for job in jobs}
    return audit(
        judge,
        _table(
            [
                (job.response.persona, job.item.eval_task, score(job), len(job.item.response))
                for job in jobs
            ],
            ["persona", "eval_task", "score", "length"],
        ),
        _table(
            [(first[id(job.response)], score(job)) for job in extra.retests], ["first", "again"]
        ),
        _table(
            [
                (number // 2, job.item.eval_task, first[id(job.response)], score(job))
                for number, job in enumerate(extra.swaps)  # the two of a pair stand together
            ],
            ["pair", "eval_task", "own", "other"],
        ),
        seed=seed,
    )


def _table(rows: list[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns)
    numbers = [name for name in columns if name not in ("pair", "persona", "eval_task")]
    return table.astype(dict.fromkeys(numbers, float))
