"""The rows of lm-eval's own results table: each gets one record a document.

A question that lacks some of its personas (the last one under `--limit`) is left out, unless
the design is sparse: then it lacks them on purpose, and what compares personas is NaN, as each
was asked other questions.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from persona_bench.results.schema import CORRECT, Outcome, complete_questions, outcome_table
from persona_bench.scoring.cells import NO_VERDICTS
from persona_bench.scoring.estimate import UNKNOWN
from persona_bench.scoring.stability import Stability, stability

Record = dict[str, Any]

RESAMPLES = 1000


def graded_with_the_others(doc: Record, results: list[Any]) -> Record:
    """Stands in the configuration for `PersonaTask.process_results`, which does the work."""
    raise RuntimeError("persona tasks need their own class: name it in the YAML as `class:`")


def _scored(records: Sequence[Record]) -> Stability:
    records = [record for record in records if record.get("kind") != "placebo"]
    rows = tuple(
        Outcome(
            persona=record["persona"],
            question=record["question"],
            sample=record["sample"],
            verdict=record["verdict"],
            correct=CORRECT.get(record["verdict"], math.nan),
            score=math.nan if (score := record.get("score")) is None else score,
        )
        for record in records
    )
    return _scored_rows(rows, any(record["sparse"] for record in records))


@lru_cache(maxsize=2)  # lm-eval asks for the rows of its results table one by one
def _scored_rows(rows: tuple[Outcome, ...], sparse: bool) -> Stability:
    outcomes = outcome_table(rows)
    if not sparse:
        with warnings.catch_warnings():  # scoring says it
            warnings.filterwarnings("ignore", re.escape(NO_VERDICTS))
            return stability(complete_questions(outcomes), resamples=RESAMPLES, seed=0)
    with warnings.catch_warnings():  # cells are missing on purpose
        warnings.simplefilter("ignore")
        result = stability(outcomes, resamples=1, seed=0)
    return replace(result, worst=UNKNOWN, best=UNKNOWN, pss=UNKNOWN, noise_floor=UNKNOWN)


def figures(config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """lm-eval's results table of a task, computed from the rows of its samples file.

    Args:
        config: The task's configuration, which names the metrics.
        rows: The samples.
    """
    names = [metric["metric"] for metric in config["metric_list"]]
    records = [row[names[0]] for row in rows]
    return {name: globals()[name](records) for name in names}


def acc(records: Sequence[Record]) -> float:
    """Mean over the personas of their accuracy, correct / (correct + wrong)."""
    return _scored(records).mean.value


def acc_se(records: Sequence[Record]) -> float:
    """Standard error of `acc`, clustered by question."""
    return _scored(records).mean_se


def worst(records: Sequence[Record]) -> float:
    """Accuracy under the worst persona."""
    return _scored(records).worst.value


def best(records: Sequence[Record]) -> float:
    """Accuracy under the best persona."""
    return _scored(records).best.value


def pss(records: Sequence[Record]) -> float:
    """Persona stability score: worst / best."""
    return _scored(records).pss.value


def pss_corrected(records: Sequence[Record]) -> float:
    """The PSS without the noise; NaN where nothing is correct, or with a single persona."""
    return _scored(records).pss_corrected.value


def noise_floor(records: Sequence[Record]) -> float:
    """The PSS that this table would show if personas had no effect."""
    return _scored(records).noise_floor.value


def unscored(records: Sequence[Record]) -> int:
    """How many responses could not be graded."""
    return int(_scored(records).unscored)


def responses(records: Sequence[Record]) -> int:
    """How many responses there are to be judged."""
    return len(records) - unanswered(records)


def unanswered(records: Sequence[Record]) -> int:
    """How many have no text: the model said nothing, or the request failed for good."""
    return sum(record["reason"] != "not_judged" for record in records)
