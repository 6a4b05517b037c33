"""PersonaScore as PersonaGym's released code computes it, from the answers of two judges.

    from persona_bench.scoring.as_published import as_published

    result = as_published(records)  # of the judges' files
    print(result.persona_score, result.task_scores)

A batch is up to five responses in one call. A judge's score of a batch is the mean of the scores
that could be read in its answer, and 0 where none could; the batch's is the mean of both judges, a
persona's task score the mean of its batches, and PersonaScore the mean over tasks and personas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.scoring.estimate import Estimate, Result
from persona_bench.scoring.fidelity_compare import WIDEST, sign_flip_p
from persona_bench.scoring.fidelity_means import over_personas, score_interval, t_interval
from persona_bench.scoring.fidelity_table import HIGHEST

JUDGES = 2
"""Judges of the protocol."""


@dataclass(frozen=True, eq=False)
class AsPublished(Result):
    """One model's scores under PersonaGym's published protocol, 0 to 5.

    Attributes:
        persona_score: Mean over personas of the mean over tasks; the interval is Student's t over
            personas, which PersonaGym itself does not give.
        task_scores: eval_task, score, low, high, personas; in the order of `EVAL_TASKS`.
        personas: One row per persona (the index), one column per evaluation task.
        judges: The first judge, and the second, which is sent no system message.
        read: Scores that the protocol read in the answers.
        unread: Evaluations in which it found no score; they drop out of the mean of their batch.
        out_of_range: Scores outside of 1 to 5, which it takes as they are.
        empty_batches: Answers without a score that could be read; they count 0.
        failed_calls: Those of them whose request failed for good.
        failed_responses: Responses `Error` of failed requests, which it has judged.
        confidence: Level of the intervals.
    """

    persona_score: Estimate
    task_scores: pd.DataFrame
    personas: pd.DataFrame
    judges: tuple[str, ...]
    read: int
    unread: int
    out_of_range: int
    empty_batches: int
    failed_calls: int
    failed_responses: int
    confidence: float


def as_published(
    records: Sequence[Mapping[str, Any]], *, confidence: float = 0.95
) -> AsPublished | None:
    """The scores of the published protocol.

    Args:
        records: `JudgeFile.as_published` of each judge's file; those that hold nothing are passed
            over, and so are those of a pair of judges of which one is missing.
        confidence: Level of the intervals.

    Returns:
        None where no pair of judges was asked by the protocol.
    """
    pair = _whole_pair(records)
    if pair is None:
        return None
    rows = [
        (name, persona, batch, _mean(answer), answer)
        for record in pair
        for name, by_persona in record["scores"].items()
        for persona, answers in by_persona.items()
        for batch, answer in enumerate(answers)
    ]
    table = pd.DataFrame(rows, columns=["eval_task", "persona", "batch", "score", "answer"])
    by_batch = table.groupby(["persona", "eval_task", "batch"])["score"].mean()
    wide = by_batch.groupby(level=["persona", "eval_task"]).mean().unstack("eval_task")
    scores = pd.DataFrame(wide)[[name for name in EVAL_TASKS if name in wide]]
    given = [score for answer in table["answer"] for score in answer]
    whole = over_personas(scores.mean(axis=1).to_numpy()[:, None])
    by_task = []
    for name in scores:
        estimate = over_personas(scores[[name]].to_numpy())
        ends = score_interval(estimate, confidence, lowest=0.0)._asdict()
        n = int(estimate.n)
        by_task.append({"eval_task": name, "score": estimate.value, **ends, "personas": n})
    return AsPublished(
        persona_score=Estimate(whole.value, *score_interval(whole, confidence, lowest=0.0)),
        task_scores=pd.DataFrame(by_task),
        personas=scores,
        judges=tuple(pair[0]["judges"]),
        read=sum(score != 0 for score in given),
        unread=given.count(0),
        out_of_range=sum(score > HIGHEST for score in given),
        empty_batches=sum(not any(answer) for answer in table["answer"]),
        failed_calls=sum(int(record["failed_calls"]) for record in pair),
        failed_responses=int(pair[0]["failed_responses"]),
        confidence=confidence,
    )


def _whole_pair(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """The records of two judges that were asked together, the first judge's first."""
    pairs: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        if record:
            pairs.setdefault(tuple(record["judges"]), []).append(record)
    for pair in pairs.values():
        if len(pair) == JUDGES:
            return sorted(pair, key=lambda each: int(each["place"]))
    return None


def _mean(answer: Sequence[int]) -> float:
    """The score of an answer: the mean of the scores that are not 0, and 0 without any."""
    read = [score for score in answer if score]
    return sum(read) / len(read) if read else 0.0


@dataclass(frozen=True)
class PublishedComparison(Result):
    """Two models under the published protocol, on the same personas; b less a.

    Attributes:
        score_a, score_b: Their PersonaScores on these personas.
        difference: With its interval, Student's t over personas.
        p_value: Of no difference, by exchanging signs of personas.
        n_personas: Personas that both have.
    """

    score_a: float
    score_b: float
    difference: Estimate
    p_value: float
    n_personas: int


def compare_published(
    a: AsPublished, b: AsPublished, *, resamples: int = 10_000, seed: int = 0
) -> PublishedComparison | None:
    """The difference of two models; None if they share no persona, or judges or tasks differ."""
    both = a.personas.index.intersection(b.personas.index)
    if a.judges != b.judges or not len(both) or set(a.personas) != set(b.personas):
        return None
    in_a, in_b = (each.personas.loc[both].mean(axis=1).to_numpy() for each in (a, b))
    apart = over_personas((in_b - in_a)[:, None])
    ends = t_interval(apart, a.confidence, -WIDEST, WIDEST) if len(both) > 1 else (math.nan,) * 2
    p = sign_flip_p((in_b - in_a) / len(both), resamples, np.random.default_rng(seed))
    return PublishedComparison(
        float(in_a.mean()), float(in_b.mean()), Estimate(apart.value, *ends), p, len(both)
    )
