"""Runs that were stopped before lm-eval wrote their results: what is stored of them, graded.

A run notes in `store/unfinished/` what it asks, and takes the note away once its results are
written. The note of a run that was killed stays, and with it the stored responses find their
questions and reference answers again, without a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lm_eval.evaluator_utils import get_sample_size
from lm_eval.utils import sanitize_model_name

from persona_bench.grading.reasoning import reasoning_start
from persona_bench.harness.grade_finished import grade
from persona_bench.harness.notes import forget_unfinished, parts_of, read_notes
from persona_bench.harness.results_files import write_results
from persona_bench.harness.run import Asked, load_tasks
from persona_bench.harness.store import RecordLog
from persona_bench.scoring.samples import find_samples
from persona_bench.texts import short_name


@dataclass(frozen=True)
class Unfinished:
    """One task of a run that was stopped.

    Attributes:
        model, task: Names of the model and the task.
        stored: How many responses are in the store.
        asked: How many the run would have.
        file: The samples file of the stored ones; None where there are none.
    """

    model: str
    task: str
    stored: int
    asked: int
    file: Path | None


def grade_unfinished(
    output_path: Path, *, confirm_run_unsafe_code: bool = False
) -> list[Unfinished]:
    """Grades what is stored of the stopped runs of a folder, and writes it as lm-eval would.

    Models and tasks with results of a finished run are left as they are.

    Raises:
        RunError: programs would be run without confirmation.
        KnobError, PersonaSetError, SourceError: what the run asked can't be had any more.
    """
    found = []
    for about in read_notes(output_path / "store"):
        found += _grade_run(output_path, about, confirm_run_unsafe_code)
    return found


def _grade_run(output_path: Path, about: Mapping[str, Any], confirmed: bool) -> list[Unfinished]:
    folder = output_path / about["folder"]
    folder /= short_name(sanitize_model_name(about["name"]))
    earlier = find_samples(folder) if folder.is_dir() else []
    asked = [Asked(**each) for each in about["tasks"]]
    tasks = load_tasks(
        asked, about["model_args"], limit=about["limit"], confirm_run_unsafe_code=confirmed
    )
    record_log = RecordLog(output_path / "store" / "generations" / about["fingerprint"][:16], {})
    found = []
    for task in [part for each in tasks for part in parts_of(each)]:
        of_task = [each for each in earlier if each.task == task.task_name]
        if any(not each.told.get("unfinished") for each in of_task):
            continue
        forget_unfinished(folder, [task.task_name])
        docs = dict(task.doc_iterator(limit=get_sample_size(task, about["limit"])))
        pairs = _matched(docs, about["responses"].get(task.task_name, ()), record_log)
        file = _write(folder, task, pairs, len(docs), about) if pairs else None
        found.append(Unfinished(about["name"], task.task_name, len(pairs), len(docs), file))
    return found


Pair = tuple[dict[str, Any], dict[str, Any]]
"""A document, and the record of its response."""


def _matched(
    docs: Mapping[int, dict[str, Any]], asked: Iterable[tuple[int, str]], record_log: RecordLog
) -> list[Pair]:
    """The documents whose responses are stored, in the order of a finished run."""
    keys = dict(sorted((number, key) for number, key in asked if key in record_log))
    records = record_log.get(keys.values())
    return [(docs[number], records[key]) for number, key in keys.items()]


def _messages_text(prompt: str) -> str:
    """A stored prompt as text; of chat messages, which are stored as JSON, what they say."""
    try:
        return "\n\n".join(str(message["content"]) for message in json.loads(prompt))
    except (ValueError, TypeError, KeyError):
        return prompt


def _write(
    folder: Path, task: Any, pairs: Sequence[Pair], asked: int, about: Mapping[str, Any]
) -> Path:
    said, finishes, starts = [], [], []
    for _, record in pairs:
        response = record["response"]
        # the reasoning of a model with a think_end_token was taken off before it was stored
        plain = not about["think_end_token"]
        start = reasoning_start(_messages_text(record["prompt"])) if plain else ""
        starts.append(start)
        said.append(start + response if response else response)
        finishes.append(str(record.get("finish", "")))
    verdicts = grade(task.benchmark, said, [doc["answer"] for doc, _ in pairs], finishes)
    config = json.loads(json.dumps(task.dump_config(), default=str))
    names = [metric["metric"] for metric in config["metric_list"]]
    rows = []
    for number, ((doc, record), verdict) in enumerate(zip(pairs, verdicts, strict=True)):
        graded = {
            **{name: doc[name] for name in ("question", "persona", "sample")},
            **verdict._asdict(),
            "sparse": True,  # what is missing is no mistake
            "finish": finishes[number],
            **({"tokens": record["tokens"]} if "tokens" in record else {}),
            **({"reasoning_start": starts[number]} if starts[number] else {}),
        }
        rows.append(
            {
                "doc_id": number,
                "doc": {**doc, "sparse": True},
                "target": doc["answer"],
                "arguments": {
                    "gen_args_0": {"arg_0": record["prompt"], "arg_1": record["gen_kwargs"]}
                },
                "resps": [[record["response"]]],
                "filtered_resps": [record["response"]],
                "filter": "none",
                "metrics": names,
                **dict.fromkeys(names, graded),
            }
        )
    facts = {
        **task.facts(about["system_instruction"]),
        "chat_template": about["apply_chat_template"],
        "unfinished": {"stored": len(pairs), "asked": asked},
    }
    now = datetime.now(timezone.utc)
    results = {
        "model_name": about["name"],
        "config": {"model": about["model"], "model_args": about["model_args"]},
        "date": now.timestamp(),
    }
    config["metadata"] = dict(config.get("metadata") or {})
    date = now.strftime("%Y-%m-%dT%H-%M-%S.%f")
    return write_results(folder, task.task_name, date, rows, results, config, facts)
