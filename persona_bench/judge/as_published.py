"""PersonaGym's published protocol with the faults of its released code: `as_published: true`.

The number that papers cite comes from this protocol, so it is reproduced as it is, beside the
corrected scores. docs/fidelity.md lists each difference. The released code is `code/run.py` of
vsamuel2003/PersonaGym; its prompts are read from its files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from persona_bench.benchmarks.personagym import PublishedPrompts, published_prompts
from persona_bench.benchmarks.rubrics import fill
from persona_bench.harness.regrade import benchmark_of
from persona_bench.judge.calls import ANSWER_TOKENS, Work
from persona_bench.judge.client import Judge, JudgeSettings
from persona_bench.judge.prompts import Messages
from persona_bench.judge.responses import JudgedResponse, JudgedTask, hash_key
from persona_bench.scoring.fidelity_table import BATCH

LETTERS = "Score"
"""What each response of a batch is shown as its score examples: a single letter.

The released code asks a model for examples, joins them into one text that begins `Score 1: "`, and
gives the i-th response the i-th character of that text. The examples never reach a judge, so they
are not asked for here."""

FAILED_RESPONSE = "Error"
"""The response that the released code has judged where the model's request failed."""

PARAMETERS: tuple[dict[str, Any], dict[str, Any]] = (
    {"temperature": 0.0, "top_p": 0.0, "max_tokens": 3000},
    {"temperature": 0.0, "top_p": 0.0, "max_tokens": None},
)
"""Generation arguments of the first and of the second judge; the second has no length limit."""

_EVALUATION = re.compile(r"\(\d+\) Evaluation:")
_SCORE = re.compile(r"Therefore, the final score is\s*(\d+)")


class Batch(NamedTuple):
    """Up to five responses of one persona on one evaluation task, judged in one call."""

    eval_task: str
    persona: str
    sample: int
    responses: tuple[JudgedResponse, ...]


def batches(judged: JudgedTask) -> list[Batch]:
    """The batches of a run of persona_personagym, in the order in which questions were asked."""
    groups: dict[tuple[str, str, int], list[JudgedResponse]] = {}
    for each in judged.responses:
        groups.setdefault((each.item.eval_task, each.persona, each.sample), []).append(each)
    return [
        Batch(*key, tuple(group[start : start + BATCH]))
        for key, group in groups.items()
        for start in range(0, len(group), BATCH)
    ]


def batch_messages(prompts: PublishedPrompts, batch: Batch, place: int) -> Messages:
    """What one judge is sent about a batch.

    Args:
        prompts: PersonaGym's own.
        batch: The responses.
        place: 0 for the first judge, 1 for the second, which is sent no system message.
    """
    filled = [
        fill(
            prompts.rubrics[batch.eval_task],
            persona=each.item.persona,
            question=each.item.question,
            response=FAILED_RESPONSE if each.missing == "api_error" else each.item.response,
            score_example=letter,
        )
        for each, letter in zip(batch.responses, LETTERS, strict=False)
    ]
    # the released code formats a Python list into the prompt: quotes and escaped line ends included
    user = {"role": "user", "content": prompts.outline.replace("{rubrics}", repr(filled))}
    return [user] if place else [{"role": "system", "content": prompts.system}, user]


def read_evaluations(answer: str) -> list[int]:
    """The scores in a judge's answer as the released code reads them; 0 for one it can't read.

    One per `(N) Evaluation:`, however many there are; no score is checked against the range 1 to 5.
    """
    _, *evaluations = _EVALUATION.split(answer)
    scores = map(_SCORE.search, evaluations)
    return [int(score[1]) if score else 0 for score in scores]


def published_settings(judge: JudgeSettings, place: int) -> JudgeSettings:
    """How a judge is asked under the protocol; its own generation arguments stand above it."""
    return replace(judge, gen_kwargs={**PARAMETERS[place], **judge.gen_kwargs})


class PublishedCalls(NamedTuple):
    """The calls of one judge under the protocol.

    Attributes:
        judge: Its settings.
        batches: What is judged.
        work: One call per batch.
    """

    judge: JudgeSettings
    batches: list[Batch]
    work: list[Work]


def published_calls(
    judged: JudgedTask, judge: JudgeSettings, place: int, digest: str
) -> PublishedCalls:
    """The calls that score the responses of persona_personagym by the published protocol.

    Raises:
        SourceError: PersonaGym's files can't be had.
    """
    knobs, _ = benchmark_of(judged.samples)
    prompts, settings = published_prompts(knobs.folder), published_settings(judge, place)
    of_run = batches(judged)
    work = [
        _work(batch, batch_messages(prompts, batch, place), settings, digest) for batch in of_run
    ]
    return PublishedCalls(settings, of_run, work)


def _work(batch: Batch, messages: Messages, settings: JudgeSettings, digest: str) -> Work:
    async def make(judge: Judge) -> dict[str, Any]:
        answer = await judge.write(messages)
        record = {"scores": read_evaluations(answer.text), "answer": answer.text}
        return {**record, "model": answer.model, "adapted": dict(judge.parameters.adapted)}

    about = {
        "eval_task": batch.eval_task,
        "persona": batch.persona,
        "sample": batch.sample,
        "questions": [each.question for each in batch.responses],
        "judge": settings.model,
    }
    return Work(
        key=hash_key("as published", digest, settings.parameters, messages),
        about=about,
        characters=sum(len(message["content"]) for message in messages),
        make=make,
        answer_tokens=ANSWER_TOKENS * len(batch.responses),
        calls=1,
    )


def published_record(
    calls: PublishedCalls,
    judges: Sequence[JudgeSettings],
    place: int,
    records: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What a judge's file keeps of the protocol, for `scoring.as_published`.

    A call that failed for good has no scores, and counts 0: the released code reads the answer
    "Error" then.
    """
    scores: dict[str, dict[str, list[list[int]]]] = {}
    adapted: dict[str, str] = {}
    failed = 0
    for batch, work in zip(calls.batches, calls.work, strict=True):
        record = records.get(work.key) or {}
        failed += "scores" not in record
        adapted |= record.get("adapted", {})
        of_task = scores.setdefault(batch.eval_task, {})
        of_task.setdefault(batch.persona, []).append(list(record.get("scores", ())))
    return {
        "judges": [each.model for each in judges],
        "place": place,
        "parameters": calls.judge.parameters,
        "parameters_adapted": adapted,
        "failed_calls": failed,
        "failed_responses": sum(
            each.missing == "api_error" for batch in calls.batches for each in batch.responses
        ),
        "scores": scores,
    }
