"""What judges of the tests say, and what is written down of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from persona_bench.results.judged import judge_files
from persona_bench.results.samples import newest_samples
from tests.support.judge_server import Reply, verdict
from tests.support.judged_run import form_of, records_of, shown

RESPONSES = 60  # of six personas to two questions on each of five evaluation tasks
DECLINED = "I'm sorry, but I can't help with rating this."


def truth(body: dict[str, Any]) -> int:
    """What a judge that works says."""
    return sum(map(ord, shown(body).response)) % 5 + 1


def said(score: Any, body: dict[str, Any]) -> str:
    """A verdict in the form that is asked for."""
    if form_of(body) == "json":
        return verdict(score)
    return f"It reads so.\nTherefore, the final score is {score}."


def right(body: dict[str, Any], _: int = 0) -> Reply:
    return Reply(said(truth(body), body))


def about(out: Path) -> dict[str, Any]:
    (samples,) = newest_samples(out, judged=True)
    (file,) = judge_files(samples)
    return file.about


def keys_of(store: Path) -> list[str]:
    """The keys of the verdicts that count."""
    return [record["key"] for record in records_of(store) if "error" not in record]
