"""Grading stored responses again, with the grader of today and no model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from persona_bench.harness import metrics
from persona_bench.harness.crossing import Knobs
from persona_bench.harness.finishes import grade
from persona_bench.harness.merge import METRICS
from persona_bench.harness.run import RunError
from persona_bench.harness.tasks import benchmark_named, knobs_of
from persona_bench.provenance import versions
from persona_bench.scoring.samples import Samples, newest_samples


@dataclass(frozen=True)
class Regraded:
    """One task of one model, graded again.

    Attributes:
        model, task: Which.
        responses: How many there are.
        changed: How many have another verdict or reason than before.
        file: The samples file with the new verdicts, beside the old one.
    """

    model: str
    task: str
    responses: int
    changed: int
    file: Path


def regrade(path: Path, *, confirm_run_unsafe_code: bool = False) -> list[Regraded]:
    """Grades the newest run of every model and task again.

    The new verdicts are written beside the old ones, which are kept; the newest count.

    Raises:
        OutcomesError: no results there.
        RunError: programs would be run without confirmation, or a file lacks what grading needs.
    """
    return [_regrade(samples, confirm_run_unsafe_code) for samples in newest_samples(path)]


def _regrade(samples: Samples, confirmed: bool) -> Regraded:
    task = samples.task
    config = samples.config
    name = (config.get("dataset_kwargs") or {}).get("benchmark")
    if not name:
        raise RunError(f"{samples.file}: lm-eval's results file of this run is gone: run it again")
    if config.get("unsafe_code") and not confirmed:
        raise RunError(f"{task} runs programs that a model wrote: add --confirm_run_unsafe_code")
    own = [each.name for each in fields(Knobs)] + list(benchmark_named(name).knobs)
    given = {key: value for key, value in samples.told.items() if key in own}
    _, benchmark = knobs_of(given, name)
    rows = [json.loads(line) for line in samples.file.read_text(encoding="utf-8").splitlines()]
    responses = [_response(row) for row in rows]
    finishes = [_finish(row, response) for row, response in zip(rows, responses, strict=True)]
    verdicts = grade(benchmark, responses, [row["doc"]["answer"] for row in rows], finishes)
    changed = 0
    for row, finish, verdict in zip(rows, finishes, verdicts, strict=True):
        old = row["acc"]
        changed += (old["verdict"], old["reason"]) != (verdict.verdict, verdict.reason)
        new = {**old, **verdict._asdict(), "finish": finish}
        for metric in row["metrics"]:
            row[metric] = new
    date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%S.%f")
    told = {
        **samples.told,
        "grader": benchmark.grader,
        "versions": versions(),
        "regraded_from": samples.file.name,
    }
    config["metadata"] = {**config["metadata"], "persona_bench": told}
    records = [row["acc"] for row in rows]
    results = {
        **samples.results,
        "configs": {task: config},
        "results": {
            task: {
                "alias": task,
                **{f"{metric},none": getattr(metrics, metric)(records) for metric in METRICS},
            }
        },
    }
    folder = samples.file.parent
    file = folder / f"samples_{task}_{date}.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"results_{task}_{date}.json").write_text(
        json.dumps(results, indent=2, ensure_ascii=False), encoding="utf-8"
    )
    file.write_text(text, encoding="utf-8")
    return Regraded(samples.model, task, len(rows), changed, file)


def _response(row: dict[str, Any]) -> str:
    response = row["resps"][0]
    while isinstance(response, list):
        response = response[0] if response else ""
    return response or ""


def _finish(row: dict[str, Any], response: str) -> str:
    """How a response ended; runs from before this was recorded tell only some of it."""
    record = row["acc"]
    if "finish" in record:
        return str(record["finish"])
    if record["reason"] == "api_error":
        return "error"
    return "length" if record["reason"] == "truncated" else ""
