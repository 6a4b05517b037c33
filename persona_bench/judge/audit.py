"""The audit of a judge: retests, persona swaps, and what their scores say about it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from persona_bench.judge.client import JudgeSettings
from persona_bench.judge.prompts import Item
from persona_bench.judge.responses import JudgeCall, JudgedResponse, JudgedTask, make_call
from persona_bench.judge.session import Examples, Plan
from persona_bench.scoring.audit import UNAFFECTED, Audit, audit


@dataclass(frozen=True)
class AuditCalls:
    """The calls of an audit beyond the verdicts themselves."""

    retests: list[JudgeCall]
    swaps: list[JudgeCall]

    @property
    def all(self) -> list[JudgeCall]:
        """Both kinds."""
        return [*self.retests, *self.swaps]


Pair = tuple[JudgedResponse, JudgedResponse]


def swap_pairs(judged: JudgedTask, plan: Plan) -> list[Pair]:
    """Draws pairs of responses under different personas; each response is in at most one pair.

    Both answer the same question where several personas were asked it; otherwise both belong to
    the same evaluation task.
    """
    pool = [each for each in judged.with_text if each.item.eval_task not in UNAFFECTED]
    personas_of: dict[str, set[str]] = {}
    for response in pool:
        personas_of.setdefault(response.question, set()).add(response.persona)
    groups: dict[str, list[JudgedResponse]] = {}
    for response in pool:
        shared = len(personas_of[response.question]) > 1
        key = response.question if shared else response.item.eval_task
        groups.setdefault(key, []).append(response)
    rng = random.Random(f"{plan.seed}/swap")
    pairs: list[Pair] = []
    for group in groups.values():
        rng.shuffle(group)
        waiting: list[JudgedResponse] = []
        for response in group:
            partner = next((w for w in waiting if w.item.persona != response.item.persona), None)
            if partner is None:
                waiting.append(response)
            else:
                waiting.remove(partner)
                pairs.append((partner, response))
    return rng.sample(pairs, min(max(1, plan.audited // 2), len(pairs)))


def _swapped(judged: JudgedTask, plan: Plan) -> list[tuple[JudgedResponse, JudgedResponse]]:
    """Each response of a pair, with the response whose persona it is held against."""
    return [
        swap
        for first, second in swap_pairs(judged, plan)
        for swap in ((first, second), (second, first))
    ]


def swapped_items(judged: JudgedTask, plan: Plan) -> list[Item]:
    """The items that the persona swap needs examples for."""
    return [
        Item(response.item.eval_task, other.item.persona, response.item.question, "")
        for response, other in _swapped(judged, plan)
    ]


def audit_calls(
    judged: JudgedTask, plan: Plan, judge: JudgeSettings, digest: str, examples: Examples
) -> AuditCalls:
    """All calls of a judge's audit."""
    return AuditCalls(
        retests=[
            make_call(response, judged, judge, digest, examples=examples, repeat=1)
            for response in _retested(judged, plan)
        ],
        swaps=[
            make_call(
                response, judged, judge, digest, examples=examples, persona=other.item.persona
            )
            for response, other in _swapped(judged, plan)
        ],
    )


def _retested(judged: JudgedTask, plan: Plan) -> list[JudgedResponse]:
    pool = judged.with_text
    return random.Random(f"{plan.seed}/retest").sample(pool, min(plan.audited, len(pool)))


def measure(
    judge: str,
    calls: Sequence[JudgeCall],
    extra: AuditCalls,
    records: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> Audit:
    """Computes the audit from the records of all calls.

    Args:
        judge: The judge's name.
        calls: The calls of the verdicts.
        extra: The calls that only the audit makes.
        records: Records by key; a missing one is unscored.
        seed: Seed of the permutation test.
    """

    def score(call: JudgeCall) -> Any:
        return (records.get(call.key) or {}).get("score")

    first = {id(call.response): score(call) for call in calls}
    return audit(
        judge,
        _table(
            [
                (call.response.persona, call.item.eval_task, score(call), len(call.item.response))
                for call in calls
            ],
            ["persona", "eval_task", "score", "length"],
        ),
        _table(
            [(first[id(call.response)], score(call)) for call in extra.retests], ["first", "again"]
        ),
        _table(
            [
                (number // 2, call.item.eval_task, first[id(call.response)], score(call))
                for number, call in enumerate(extra.swaps)  # the two of a pair stand together
            ],
            ["pair", "eval_task", "own", "other"],
        ),
        seed=seed,
    )


def _table(rows: list[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns)
    numbers = [name for name in columns if name not in ("pair", "persona", "eval_task")]
    return table.astype(dict.fromkeys(numbers, float))
