"""Runs that were stopped before lm-eval wrote their results: what is stored of them, graded.

A run notes in `store/unfinished/` what it asks, and takes the note away once its results are
written. The note of a run that was killed stays, and with it the stored responses find their
questions and reference answers again, without a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from lm_eval.api.instance import Instance
from lm_eval.evaluator_utils import get_sample_size
from lm_eval.utils import sanitize_model_name

from persona_bench.harness.backends.request import StoredResponse
from persona_bench.harness.backends.response import Response
from persona_bench.harness.metrics import figures
from persona_bench.harness.notes import NotedRun, forget_unfinished, parts_of, read_notes
from persona_bench.harness.run import Asked, load_tasks
from persona_bench.harness.store import RecordLog
from persona_bench.personas import PersonaSetError
from persona_bench.rendering import MissingPersonaError, check_persona
from persona_bench.results.samples import find_samples, write_samples
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
    graded = []
    for about in read_notes(output_path / "store"):
        graded += _grade_run(output_path, about, confirm_run_unsafe_code)
    return graded


def _grade_run(output_path: Path, about: NotedRun, confirmed: bool) -> list[Unfinished]:
    folder = output_path / about["folder"]
    folder /= short_name(sanitize_model_name(about["name"]))
    earlier = find_samples(folder) if folder.is_dir() else []
    asked = [Asked(**each) for each in about["tasks"]]
    tasks = load_tasks(
        asked, about["model_args"], limit=about["limit"], confirm_run_unsafe_code=confirmed
    )
    record_log = RecordLog(output_path / "store" / "generations" / about["fingerprint"][:16], {})
    graded = []
    for task in [part for each in tasks for part in parts_of(each)]:
        of_task = [each for each in earlier if each.task == task.task_name]
        if any(not each.facts.get("unfinished") for each in of_task):
            continue
        forget_unfinished(folder, [task.task_name])
        docs = dict(task.doc_iterator(limit=get_sample_size(task, about["limit"])))
        requests = _answered(task, docs, about, record_log)
        stored = len({request.doc_id for request in requests})
        file = _write(folder, task, requests, stored, len(docs), about) if requests else None
        graded.append(Unfinished(about["name"], task.task_name, stored, len(docs), file))
    return graded


def _answered(
    task: Any, docs: Mapping[int, dict[str, Any]], about: NotedRun, record_log: RecordLog
) -> list[Instance]:
    """The requests of the documents of which everything is stored, with their responses.

    In the order of a finished run; a request that a task repeats has all its responses.
    """
    by_document: dict[int, list[str]] = {}
    for number, key in about["responses"].get(task.task_name, ()):
        by_document.setdefault(number, []).append(key)
    whole = {
        number: keys
        for number, keys in sorted(by_document.items())
        if all(key in record_log for key in keys)
    }
    records = record_log.get({key for keys in whole.values() for key in keys})
    repeats = int(task.config.repeats or 1)
    requests = []
    for number, keys in whole.items():
        for place, start in enumerate(range(0, len(keys), repeats)):
            answers = [cast(StoredResponse, records[key]) for key in keys[start : start + repeats]]
            request = _request(answers, docs[number], about)
            request.idx, request.doc_id, request.task_name = place, number, task.task_name
            requests.append(request)
    return requests


def _request(records: Sequence[StoredResponse], doc: dict[str, Any], about: NotedRun) -> Instance:
    """lm-eval's request as it was asked, with the stored responses to it."""
    first = records[0]
    doc = {**doc, "sparse": True}  # what is missing is no mistake
    try:
        check_persona(_messages_text(first["prompt"]), doc["persona_prompt"], doc["persona"], "")
    except MissingPersonaError:
        raise PersonaSetError(
            f"a stopped run in this folder asked other prompts than its persona set has now, first "
            f"where {doc['persona']!r} stands: the set has changed since (core, for one, is now "
            "version 2). Start the same run again, which keeps the responses that still fit, or "
            "put the set back as it was"
        ) from None
    if "continuation" in first:
        request = Instance("loglikelihood", doc, (first["prompt"], first["continuation"]), 0)
        request.resps = [(each["loglikelihood"], each["greedy"]) for each in records]
        return request
    prompt = _messages_text(first["prompt"])
    request = Instance("generate_until", doc, (prompt, first["gen_kwargs"]), 0)
    request.resps = [
        Response(each["response"], each.get("finish") or "", tokens=each.get("tokens"))
        for each in records
    ]
    return request


def _messages_text(prompt: str) -> str:
    """A stored prompt as text; of chat messages, which are stored as JSON, what they say."""
    try:
        return "\n\n".join(str(message["content"]) for message in json.loads(prompt))
    except (ValueError, TypeError, KeyError):
        return prompt


def _write(
    folder: Path, task: Any, requests: list[Instance], stored: int, asked: int, about: NotedRun
) -> Path:
    # the reasoning of a model with a think_end_token was taken off before it was stored
    task.reasoning_is_apart = bool(about["think_end_token"])
    task._instances = requests
    task.apply_filters()
    config = json.loads(json.dumps(task.dump_config(), default=str))
    names = [metric["metric"] for metric in config["metric_list"]]
    by_document: dict[int, list[Instance]] = {}
    for request in task.instances:
        by_document.setdefault(int(request.doc_id), []).append(request)
    rows = []
    for number, several in enumerate(by_document.values()):
        doc = several[0].doc
        arguments = [
            {f"arg_{place}": each for place, each in enumerate(request.args)} for request in several
        ]
        rows.append(
            {
                "doc_id": number,
                "doc": doc,
                "target": doc["answer"],
                "arguments": {f"gen_args_{n}": each for n, each in enumerate(arguments)},
                "resps": [request.resps for request in several],
                "filtered_resps": [request.filtered_resps["none"] for request in several],
                "filter": "none",
                "metrics": names,
                **task.process_results(doc, []),
            }
        )
    facts = {
        **task.facts(about["system_instruction"]),
        "chat_template": about["apply_chat_template"],
        "unfinished": {"stored": stored, "asked": asked},
    }
    now = datetime.now(timezone.utc)
    results = {
        "model_name": about["name"],
        "config": {"model": about["model"], "model_args": about["model_args"]},
        "date": now.timestamp(),
    }
    config["metadata"] = dict(config.get("metadata") or {})
    date = now.strftime("%Y-%m-%dT%H-%M-%S.%f")
    return write_samples(
        folder, task.task_name, date, rows, results, config, facts, figures(config, rows)
    )
