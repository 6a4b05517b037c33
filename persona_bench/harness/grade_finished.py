"""Grading responses of which it is known how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from persona_bench.benchmarks.base import Benchmark
from persona_bench.grading import Verdict

FIXED = {"error": Verdict("unscored", "api_error"), "content_filter": Verdict("wrong", "refused")}


def grade(
    benchmark: Benchmark, responses: Sequence[Any], golds: Sequence[str], finishes: Sequence[str]
) -> list[Verdict]:
    """The verdicts of responses of which it is known how they ended.

    A request that failed is the instrument's failure (`unscored`); a response that the
    provider's filter withheld is the endpoint's refusal (`wrong`), as the model's own is.
    """
    open_ = [n for n, finish in enumerate(finishes) if finish not in FIXED]
    verdicts = benchmark.grade(
        [responses[n] for n in open_],
        [golds[n] for n in open_],
        truncated=[finishes[n] == "length" for n in open_],
    )
    by_place = dict(zip(open_, verdicts, strict=True))
    return [by_place.get(n) or FIXED[finish] for n, finish in enumerate(finishes)]
