"""The tidy table, one row per response (`schema.Outcome`), read from what lm-eval wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.results.other_run import Choice
from persona_bench.results.samples import (
    OutcomesError,
    Samples,
    decode_keys,
    early_facts,
    newest_samples,
    response_of,
)
from persona_bench.results.schema import CORRECT, Outcome, complete_questions, outcome_table
from persona_bench.results.sources import read_source
from persona_bench.texts import sound, text_hash

_CHUNK = 50_000
"""Rows that are Python objects at a time: as columns they take a quarter of the memory."""


def read_outcomes(path: str | Path, choice: Choice | None = None) -> pd.DataFrame:
    """Reads the outcomes of persona tasks from an lm-eval output folder, or another source.

    Looks for `samples_<task>_<date>.jsonl` in the folder and below it (lm-eval writes them
    with `--log_samples --output_path`). Of several runs of one model and task the newest
    counts. Tasks that a model judges are left out (`read_judged` has them). A question that lacks
    some of its personas, as the last one under `--limit` does, is dropped with a warning; not so
    in a sparse design (the knob `design`), where it lacks them on purpose.

    Args:
        path: An output folder, or one samples file; or results of another program, as
            `sources.read_source` recognises them.
        choice: What is chosen about another program's logs.

    Returns:
        The tidy table, sorted as lm-eval wrote it, with the columns of `schema.COLUMNS`.

    Raises:
        OutcomesError: nothing there, or a file that is not from a persona task.
    """
    if others := read_source([Path(path)], choice or Choice()):
        return pd.concat([each.outcomes(asked=False) for each in others], ignore_index=True)
    graded = newest_samples(Path(path), judged=False)
    if not graded:
        raise OutcomesError(
            f"{path}: all tasks there are judged, not graded: see read_judged and persona-bench "
            "judge"
        )
    tables = [graded_outcomes(samples, read_responses(samples)) for samples in graded]
    return pd.concat(tables, ignore_index=True)


def read_responses(samples: Samples, *, asked: bool = False) -> pd.DataFrame:
    """All responses of one samples file, graded or not, in its order.

    Args:
        samples: The file.
        asked: Whether to read what was asked, too (the columns `schema.ASKED`).

    Returns:
        One row per response, with the columns of `schema.COLUMNS`, and of `ASKED` if wanted.

    Raises:
        OutcomesError: a line that is no sample of a persona task, or an empty file.
    """
    rows, parts = _rows(samples, asked), []
    while chunk := list(islice(rows, _CHUNK)):
        parts.append(outcome_table(chunk, asked=asked))
    if not parts:
        raise OutcomesError(f"{samples.file}: the file is empty; run the task again")
    return pd.concat(parts, ignore_index=True)


def graded_outcomes(samples: Samples, responses: pd.DataFrame) -> pd.DataFrame:
    """The responses to the questions that have all their personas.

    Raises:
        OutcomesError: a response that was not graded.
    """
    if (ungraded := responses["verdict"] == "").any():
        raise OutcomesError(
            f"{samples.file}:{1 + int(ungraded.argmax())}: not a graded sample of a persona task; "
            "was it run with --predict_only? Run the task again without it"
        )
    return responses if samples.sparse else complete_questions(responses)


# ---------------------------------------------------------------------- lines of a samples file


def _rows(samples: Samples, asked: bool) -> Iterator[Outcome]:
    facts, generation = samples.facts, samples.generation
    training = facts.get("training") or {}
    run = {
        "model": samples.model,
        "task": samples.task,
        "grader": str(facts.get("grader", "")),
        "method": str(training.get("method", "")),
        "seed": str(training.get("seed", "")),
        "generation": json.dumps(generation, sort_keys=True, default=str) if generation else "",
        "persona_set": " ".join(
            str(facts[key]) for key in ("persona_set_name", "persona_set_version") if facts.get(key)
        ),
        "early": early_facts(facts),
    }
    keys = ("doc", "arguments", "resps") if asked else ("doc", "resps")
    metric = ""  # the first one; its value holds the verdict
    with samples.file.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = decode_keys(line, (*keys, metric)) if metric else dict(json.loads(line))
                metric = metric or next(iter(record.get("metrics") or ()), "acc")
                yield _outcome(record, record.get(metric), run)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                raise OutcomesError(
                    f"{samples.file}:{number}: not a sample of a persona task ({error!r}); was the "
                    "file cut off? Run the task again"
                ) from None


def _outcome(record: Mapping[str, Any], graded: Any, run: Mapping[str, str]) -> Outcome:
    doc, response = record["doc"], response_of(record)
    graded = graded if isinstance(graded, dict) else {}  # --predict_only has no verdict
    verdict, reason = graded.get("verdict", ""), graded.get("reason", "")
    place, score = doc.get("persona_level"), graded.get("score")
    arguments = (record.get("arguments") or {}).get("gen_args_0", {})
    lost = response is None or reason == "api_error"
    return Outcome(
        persona=doc["persona"],
        kind=doc.get("kind") or "",
        question=doc["question"],
        level=doc.get("level") or "",
        sample=int(doc["sample"]),
        verdict=verdict,
        reason=reason,
        route=graded.get("route") or "",
        correct=CORRECT.get(verdict, math.nan),
        score=math.nan if score is None else score,
        response=None if lost else sound(response),
        prompt_hash=text_hash(doc.get("system") or "", doc["prompt"]) if "prompt" in doc else "",
        subject=doc.get("subject") or "",
        date=doc.get("date") or "",
        domain=doc.get("domain") or "",
        persona_domain=doc.get("persona_domain") or "",
        persona_level=math.nan if place is None else place,
        wording=int(doc.get("wording") or 0),
        persona_prompt=doc.get("persona_prompt") or "",
        system=doc.get("system") or "",
        prompt=doc.get("prompt") or "",
        context=arguments.get("arg_0", ""),
        answer=doc.get("answer") or "",
        finish=graded.get("finish") or "",
        taken=graded.get("answer") or "",
        tokens=str(graded.get("tokens") or ""),
        limit=str((arguments.get("arg_1") or {}).get("max_gen_toks") or ""),
        turns=int(doc.get("turns") or 0),
        script=str(doc.get("script", "")),
        conversation=json.dumps(said) if (said := doc.get("conversation")) else "",
        **run,
    )
