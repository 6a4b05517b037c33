"""The files of a judging: a row for each response, and beside them how they were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_bench.harness.judge.asking import Done
from persona_bench.harness.judge.jobs import Job, Judged
from persona_bench.texts import short_name


def judged_file(judged: Judged, judge: str) -> Path:
    """Where a judge's verdicts go: beside the samples."""
    safe = short_name("".join(c if c.isalnum() or c in "-." else "_" for c in judge), 120)
    short = hashlib.sha256(judge.encode()).hexdigest()[:6]  # of names that look alike as files
    samples = judged.samples
    return samples.file.parent / f"judged_{samples.task}_{samples.date}_{safe}-{short}.jsonl"


def judged_rows(
    judged: Judged,
    judge: str,
    jobs: Sequence[Job],
    records: Mapping[str, Mapping[str, Any]],
    done: Done,
    rubric: str,
) -> Iterator[dict[str, Any]]:
    """A row for each response, as `scoring.judged` describes them."""
    waiting = iter(jobs)
    for response in judged.responses:
        verdict: Mapping[str, Any]
        if response.missing == "api_error":
            verdict = {"score": None, "reason": "api_error"}
        elif response.missing:
            empty = judged.rubrics.rubrics[response.item.eval_task].empty
            verdict = {"score": empty, "reason": response.missing}
        else:
            key = next(waiting).key
            why = "judge_error" if key in done.failed else "not_judged"
            verdict = records.get(key) or {"score": None, "reason": why}
        yield {
            "model": judged.samples.model,
            "task": judged.samples.task,
            "eval_task": response.item.eval_task,
            "persona": response.persona,
            "kind": response.kind,
            "question": response.question,
            "sample": response.sample,
            "judge": judge,
            "score": verdict["score"],
            "verdict": "unscored" if verdict["score"] is None else "scored",
            "reason": verdict["reason"],
            "justification": verdict.get("justification", ""),
            "response": response.item.response,
            "rubric": rubric,
            "prompt_hash": _hash(response.item.persona, response.item.question),
        }


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:16]


def write_judged(file: Path, rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> None:
    """Writes both files, each whole or not at all."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    about = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    for place, content in ((file, text), (file.with_suffix(".json"), about)):
        partial = place.with_name(place.name + ".part")
        with partial.open("w", encoding="utf-8", newline="\n") as out:
            out.write(content)
        partial.replace(place)
