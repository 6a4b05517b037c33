"""Grading stored responses again, with the grader of today and no model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from persona_bench.benchmarks.base import Benchmark
from persona_bench.harness.grade_finished import grade
from persona_bench.harness.knobs import Knobs, benchmark_named, knobs_of
from persona_bench.harness.metrics import figures
from persona_bench.harness.run import RunError
from persona_bench.provenance import versions
from persona_bench.results.samples import Samples, newest_samples, response_of, write_samples


@dataclass(frozen=True)
class Regraded:
    """One task of one model, graded again.

    Attributes:
        model, task: Names of the model and the task.
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
    """Grades the newest run of every model and task again, but for tasks that a model judges.

    The new verdicts are written beside the old ones, which are kept; the newest count.

    Raises:
        OutcomesError: no results there.
        RunError: programs would be run without confirmation, or a file lacks what grading needs.
    """
    graded = newest_samples(path, judged=False)
    return [_regrade(samples, confirm_run_unsafe_code) for samples in graded]


def _regrade(samples: Samples, confirmed: bool) -> Regraded:
    task, config = samples.task, samples.config
    if samples.facts.get("wrapped"):
        raise RunError(
            f"{task} is graded by lm-eval's own task: start the same run again, which "
            "asks for nothing that is stored, and grades by the metric that is wanted"
        )
    _, benchmark = benchmark_of(samples)
    if config.get("unsafe_code") and not confirmed:
        raise RunError(f"{task} runs programs that a model wrote: add --confirm_run_unsafe_code")
    rows = list(samples.records())
    responses = [response_of(row) or "" for row in rows]
    finishes = [_finish(row, response) for row, response in zip(rows, responses, strict=True)]
    said = [
        row["acc"].get("reasoning_start", "") + response if response else response
        for row, response in zip(rows, responses, strict=True)
    ]
    verdicts = grade(benchmark, said, [row["doc"]["answer"] for row in rows], finishes)
    changed = 0
    for row, finish, verdict in zip(rows, finishes, verdicts, strict=True):
        old = row["acc"]
        changed += (old["verdict"], old["reason"]) != (verdict.verdict, verdict.reason)
        new = {**old, **verdict._asdict(), "finish": finish}
        for metric in row["metrics"]:
            row[metric] = new
    date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%S.%f")
    facts = {
        **samples.facts,
        "grader": benchmark.grader,
        "versions": versions(),
        "regraded_from": samples.file.name,
    }
    file = write_samples(
        samples.file.parent, task, date, rows, samples.results, config, facts, figures(config, rows)
    )
    return Regraded(samples.model, task, len(rows), changed, file)


def benchmark_of(samples: Samples) -> tuple[Knobs, Benchmark]:
    """The knobs of a stored run, and its benchmark under them.

    Raises:
        RunError: lm-eval's results file of the run is gone.
    """
    name = (samples.config.get("dataset_kwargs") or {}).get("benchmark")
    if not name:
        raise RunError(f"{samples.file}: lm-eval's results file of this run is gone: run it again")
    own = [*Knobs.__dataclass_fields__, *benchmark_named(name).knobs]
    return knobs_of({key: each for key, each in samples.facts.items() if key in own}, name)


def _finish(row: dict[str, Any], response: str) -> str:
    """How a response ended; runs from before this was recorded tell only some of it."""
    record = row["acc"]
    if "finish" in record:
        return str(record["finish"])
    if record["reason"] == "api_error":
        return "error"
    return "length" if record["reason"] == "truncated" else ""
