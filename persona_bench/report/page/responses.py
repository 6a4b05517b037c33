"""The responses of one run with all that a reader wants beside them: verdict, prompt, judges."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from persona_bench.benchmarks.voice import IN_VOICE
from persona_bench.rendering import merged
from persona_bench.report.page.contents import RESPONSE_COLUMNS
from persona_bench.scoring.judged import judge_files
from persona_bench.scoring.responses import read_responses
from persona_bench.scoring.samples import Samples

Cell = tuple[str, str, int]
"""Persona, question and sample: one response of a run."""


def page_responses(samples: Samples) -> pd.DataFrame:
    """The responses of one samples file, graded or judged, for `PageContents.responses`.

    `verdict` is `correct`, `wrong` or `unscored`; of a judged task `scored`, `unscored` where no
    judge's words could be read, and empty where it is not judged yet. `judgements` is a list of
    dictionaries with judge, score (None where unscored), verdict, reason and justification; of a
    graded task they are on its voice, and `voice` is `in voice` or `out of voice`.

    Args:
        samples: The file; what judges said of it lies beside it.

    Raises:
        OutcomesError: a line that is no sample of a persona task, or no judged response.
    """
    table = read_responses(samples)
    judged = _judged(samples)
    cells = zip(table["persona"], table["question"], table["sample"], strict=True)
    table["judgements"] = pd.Series([judged.get(cell, []) for cell in cells], dtype=object)
    table["voice"] = ""
    if not samples.judged:
        table["voice"] = [_voice(each) for each in table["judgements"]]
    else:
        verdicts = zip(table["verdict"], table["reason"], table["judgements"], strict=True)
        table[["verdict", "reason"]] = [_of_judges(*verdict) for verdict in verdicts]
    table["question_text"] = [
        # a persona that was put into the user message is no part of the question
        prompt if system or not persona else prompt.removeprefix(merged(persona, ""))
        for prompt, system, persona in zip(
            table["prompt"], table["system"], table["persona_prompt"], strict=True
        )
    ]
    table["context"] = [_prompt(context) for context in table["context"]]
    table["model"], table["task"] = samples.model, samples.task
    table["reward"] = ""  # responses of an evaluation have none
    return table[list(RESPONSE_COLUMNS)]


def _prompt(context: Any) -> str:
    """The prompt as a model read it, or the messages that an API was sent."""
    if isinstance(context, list) and len(context) == 1:  # a batch of one
        context = context[0]
    try:
        messages = json.loads(context)
        return "\n\n".join(f"{each['role']}:\n{each['content']}" for each in messages)
    except (ValueError, KeyError, TypeError):
        return str(context)


def _judged(samples: Samples) -> dict[Cell, list[dict[str, Any]]]:
    """What each judge said of each response."""
    judged: dict[Cell, list[dict[str, Any]]] = {}
    for file in judge_files(samples):
        for row in file.rows():
            said = {key: row[key] for key in ("judge", "score", "verdict", "reason")}
            said["justification"] = row["justification"]
            cell = (row["persona"], row["question"], int(row["sample"]))
            judged.setdefault(cell, []).append(said)
    return judged


def _voice(judgements: list[dict[str, Any]]) -> str:
    """Whether a graded response is in its persona's voice; empty where no judge said."""
    scores = [said["score"] for said in judgements if said["score"] is not None]
    if not scores:
        return ""
    return "in voice" if sum(scores) / len(scores) >= IN_VOICE else "out of voice"


def _of_judges(verdict: str, reason: str, judgements: list[dict[str, Any]]) -> tuple[str, str]:
    """Verdict and reason of a response to a judged task."""
    if any(said["verdict"] == "scored" for said in judgements):
        return "scored", next(s["reason"] for s in judgements if s["verdict"] == "scored")
    if judgements:
        return "unscored", judgements[0]["reason"]
    return ("", "") if reason == "not_judged" else (verdict, reason)
