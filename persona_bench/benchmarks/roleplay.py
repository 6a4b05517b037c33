"""Roleplay: questions on PersonaGym's five evaluation tasks that anyone can be asked.

Written for this project, with rubrics of its own (`roleplay.yaml`): needs no download and works
with any persona set. Responses are judged afterwards, by `persona-bench judge`; without a judge,
`persona-bench trace` says whether personas leave a trace in them.

    lm_eval --model hf --model_args pretrained=... --tasks persona_roleplay \
        --apply_chat_template --log_samples --output_path results
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from persona_bench.benchmarks.base import Benchmark, Question, not_judged
from persona_bench.benchmarks.personagym import eval_knobs
from persona_bench.benchmarks.rubrics import EVAL_TASKS, RubricSet, own_rubrics, read_yaml

FILE = Path(__file__).with_suffix(".yaml")
PER_TASK = 12


def load(
    data_dir: Path | None,
    seed: int = 0,
    *,
    eval_tasks: tuple[str, ...] = EVAL_TASKS,
    questions_per_task: int = PER_TASK,
) -> list[Question]:
    """The questions, the five evaluation tasks in turn; nothing is downloaded or drawn.

    Args:
        data_dir, seed: Not used.
        eval_tasks: Only these.
        questions_per_task: Only the first so many of each.
    """
    rows = []
    for eval_task in eval_tasks:
        own = [each for each in _file()["questions"] if each["eval_task"] == eval_task]
        rows += list(enumerate(own[:questions_per_task]))
    rows.sort(key=lambda row: row[0])  # so that the first few questions are of all tasks
    return [
        Question(each["id"], each["question"].strip(), "", subject=each["eval_task"])
        for _, each in rows
    ]


def rubrics(data_dir: Path | None) -> RubricSet:
    """This project's own rubrics."""
    return own_rubrics("roleplay", _file()["rubrics"])


@cache
def _file() -> dict[str, Any]:
    return read_yaml(FILE)


def configured(data_dir: Path | None, knobs: Mapping[str, Any]) -> Benchmark:
    """The benchmark under its own knobs."""
    return Benchmark(
        "roleplay",
        partial(load, **knobs),
        str,
        not_judged,
        "judge",
        knobs=eval_knobs(PER_TASK),
        configured=configured,
        rubrics=rubrics,
    )


BENCHMARK = configured(None, {})
