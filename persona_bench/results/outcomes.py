"""The tidy table: one row per response, read from what lm-eval wrote.

Columns, in this order: `model, task, persona, kind, question, level, sample, verdict,
reason, route, correct, response, prompt_hash, grader, subject, date, domain, persona_domain,
persona_level, method, seed, generation, early`.

- `route` says how the maths grader found the answer: `boxed`, `tag`, `stated` or `last` (see
  `grader_sensitivity`). It is empty where no answer was found, and for other graders.
- `correct` is 1.0, 0.0, or NaN where the response is unscored.
- `prompt_hash` stands for the system and user message before any chat template, `grader` for the
  grader and its version.
- `level`, `subject` and `date` are the question's, `domain` its benchmark's field.
- `persona_domain` is what an expert is expert in, `persona_level` (NaN for most) the place of an
  `education` persona in the order of schooling.
- `method` and `seed` are those of the training of a checkpoint that `persona-bench train` wrote.
- `generation` says how the response was generated (temperature, tokens, samples, ...), as JSON.
- `early` is empty for a whole run. For an unfinished one, or one that `--until` asked in blocks, it
  says when it was looked at, as JSON (see `scoring.sequential`).

Runs from before some of these were recorded have them empty.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.results.samples import (
    OutcomesError,
    Samples,
    early_facts,
    newest_samples,
    sample_values,
)

COLUMNS = (
    "model",
    "task",
    "persona",
    "kind",
    "question",
    "level",
    "sample",
    "verdict",
    "reason",
    "route",
    "correct",
    "response",
    "prompt_hash",
    "grader",
    "subject",
    "date",
    "domain",
    "persona_domain",
    "persona_level",
    "method",
    "seed",
    "generation",
    "early",
)
__all__ = ["COLUMNS", "OutcomesError", "complete_questions", "read_outcomes", "read_provenance"]
_CORRECT = {"correct": 1.0, "wrong": 0.0}
_CHUNK = 50_000
"""Rows that are Python objects at a time: as columns they take a quarter of the memory."""


def read_outcomes(path: str | Path) -> pd.DataFrame:
    """Reads the outcomes of persona tasks from an lm-eval output folder.

    Looks for `samples_<task>_<date>.jsonl` in the folder and below it (lm-eval writes them
    with `--log_samples --output_path`). Of several runs of one model and task the newest
    counts. Tasks that a model judges are left out (`results.judged.read_judged` has them). A
    question that lacks some of its personas, as the last one under `--limit`
    does, is left out with a warning; not so in a sparse design (the knob `design`), where it
    lacks them on purpose.

    Args:
        path: An output folder, or one samples file.

    Returns:
        The tidy table, sorted as lm-eval wrote it, with the columns of `COLUMNS`.

    Raises:
        OutcomesError: nothing there, or a file that is not from a persona task.
    """
    frames = []
    graded = newest_samples(Path(path), judged=False)
    if not graded:
        raise OutcomesError(
            f"{path}: all tasks there are judged, not graded: see read_judged and persona-bench "
            "judge"
        )
    for samples in graded:
        rows, parts = _rows(samples), []
        while chunk := list(islice(rows, _CHUNK)):
            parts.append(pd.DataFrame(chunk, columns=list(COLUMNS)))
        if not parts:
            raise OutcomesError(f"{samples.file}: the file is empty; run the task again")
        table = pd.concat(parts, ignore_index=True)
        frames.append(table if samples.sparse else complete_questions(table))
    return pd.concat(frames, ignore_index=True)


def complete_questions(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Leaves out questions that have fewer rows than the fullest one, with a warning.

    Accuracies are compared over the same questions: a limit that cuts a question in half
    would give some personas a question that the others did not get.
    """
    counts = outcomes.groupby("question", sort=False).size()
    short = counts[counts < counts.max()]
    if short.empty:
        return outcomes
    warnings.warn(
        f"{len(short)} of {len(counts)} questions lack some of their personas and are left out "
        f"(first: {short.index[0]!r} has {short.iloc[0]} of {counts.max()} responses); a --limit "
        f"that is a multiple of {counts.max()} keeps every question whole",
        stacklevel=2,
    )
    return outcomes[~outcomes["question"].isin(short.index)].reset_index(drop=True)


def _rows(samples: Samples) -> Iterator[tuple[Any, ...]]:
    file, model, task = samples.file, samples.model, samples.task
    grader = str(samples.told.get("grader", ""))
    training = samples.told.get("training") or {}
    told = samples.generation
    generation = json.dumps(told, sort_keys=True, default=str) if told else ""
    early = early_facts(samples.told)
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                sample = sample_values(line, ("doc", "resps", "acc"))
                doc, record = sample["doc"], sample["acc"]
                response = sample["resps"][0]
                while isinstance(response, list):  # lm-eval nests repeats
                    response = response[0] if response else None
                yield (
                    model,
                    task,
                    doc["persona"],
                    doc["kind"],
                    doc["question"],
                    doc["level"],
                    doc["sample"],
                    record["verdict"],
                    record["reason"],
                    record.get("route") or "",  # older results lack it
                    _CORRECT.get(record["verdict"], float("nan")),
                    response,
                    _hash(doc.get("system") or "", doc["prompt"]) if "prompt" in doc else "",
                    grader,
                    # runs from before these were recorded lack them
                    doc.get("subject") or "",
                    doc.get("date") or "",
                    doc.get("domain") or "",
                    doc.get("persona_domain") or "",
                    float("nan") if (place := doc.get("persona_level")) is None else place,
                    str(training.get("method", "")),
                    str(training.get("seed", "")),
                    generation,
                    early,
                )
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise OutcomesError(
                    f"{file}:{number}: not a graded sample of a persona task ({error!r}); was it "
                    "run with --predict_only, or cut off? Run the task again"
                ) from None


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:16]


def read_provenance(path: str | Path) -> dict[tuple[str, str], dict[str, Any]]:
    """How each (model, task) of `read_outcomes(path)` was run, from lm-eval's results files.

    Returns:
        The samples file, what the task recorded of itself (personas and their fingerprint,
        system_role, default_system, ...), generation arguments, model arguments, date, and
        the versions of lm-eval and transformers at the run; keys are absent where unknown.
    """
    told = {}
    for samples in newest_samples(Path(path)):
        results = samples.results
        run = {
            "samples_file": samples.file.name,
            "task": samples.told or None,
            "generation_kwargs": samples.config.get("generation_kwargs"),
            "model_args": results.get("config", {}).get("model_args"),
            "lm_eval_version": results.get("lm_eval_version"),
            "transformers_version": results.get("transformers_version"),
            "date": results.get("date"),
        }
        told[samples.model, samples.task] = {
            key: value for key, value in run.items() if value is not None
        }
    return told
