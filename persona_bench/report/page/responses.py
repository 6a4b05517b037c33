"""The responses of one run with all that a reader wants beside them: verdict, prompt, judges."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from persona_bench.benchmarks.voice import IN_VOICE
from persona_bench.rendering import question_text
from persona_bench.report.page.contents import RESPONSE_COLUMNS
from persona_bench.results.runs import TaskResults

Cell = tuple[str, str, int]
"""Persona, question and sample: one response of a run."""


def page_responses(results: TaskResults) -> pd.DataFrame:
    """The responses of one model to one task, for `PageContents.responses`.

    `verdict` is `correct`, `wrong` or `unscored`, or `scored` where a graded response has a score
    between 0 and 1; `score` is empty for tasks that give verdicts alone. `verdict` of a judged task
    is `scored`, `unscored` where no
    judge's words could be read, and empty where it is not judged yet. `judgements` is a list of
    dictionaries with judge, score (None where unscored), verdict, reason and justification; those
    of a graded task are about its voice, and `voice` is `in voice` or `out of voice`.

    Args:
        results: Read with `asked=True`.
    """
    table = results.responses.copy()
    graded = results.outcomes is not None
    judged = _judged(results.voice if graded else results.verdicts)
    cells = zip(table["persona"], table["question"], table["sample"], strict=True)
    table["judgements"] = pd.Series([judged.get(cell, []) for cell in cells], dtype=object)
    table["voice"] = [_voice(each) if graded else "" for each in table["judgements"]]
    if not graded:
        verdicts = zip(table["verdict"], table["reason"], table["judgements"], strict=True)
        table[["verdict", "reason"]] = [_of_judges(*verdict) for verdict in verdicts]
    asked = (table[name] for name in ("prompt", "system", "persona_prompt"))
    table["question_text"] = list(map(question_text, *asked))
    asked_by_system = table["system"] != ""
    table["system"] = table["system"].where(asked_by_system, table["persona_prompt"])
    table["context"] = [_prompt(context) for context in table["context"]]
    some = bool((table["score"] % 1 > 0).any())
    table["score"] = [f"{x:.4g}" if some and x == x else "" for x in table["score"]]
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


def _judged(verdicts: pd.DataFrame | None) -> dict[Cell, list[dict[str, Any]]]:
    """What each judge found of each response."""
    judged: dict[Cell, list[dict[str, Any]]] = {}
    if verdicts is not None:
        columns = ["judge", "score", "verdict", "reason", "justification"]
        cells = zip(verdicts["persona"], verdicts["question"], verdicts["sample"], strict=True)
        rows = verdicts[columns].astype(object).where(verdicts[columns].notna(), None)
        for cell, row in zip(cells, rows.itertuples(index=False), strict=True):
            judged.setdefault(cell, []).append(dict(zip(columns, row, strict=True)))
    return judged


def _voice(judgements: list[dict[str, Any]]) -> str:
    """Whether a graded response is in its persona's voice; empty where no judge can tell."""
    scores = [each["score"] for each in judgements if each["score"] is not None]
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
