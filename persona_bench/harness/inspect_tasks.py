"""The maths benchmarks as tasks of inspect_ai, with the documents and the grader of lm-eval's.

    inspect eval persona_bench/persona_math500 -T persona_set=core --model openai/MODEL
    persona-bench score logs

`-T` takes the knobs (docs/tasks.md); `--epochs` asks for several samples.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from anyio import to_thread
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import (
    CORRECT,
    INCORRECT,
    Score,
    Scorer,
    Target,
    accuracy,
    grouped,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState, generate
from lm_eval.tasks._yaml_loader import load_yaml

from persona_bench.benchmarks.base import Benchmark
from persona_bench.harness.documents import KnobError, Knobs
from persona_bench.harness.grade_finished import grade
from persona_bench.harness.tasks import benchmark_named, build_documents
from persona_bench.resources import resource_folder
from persona_bench.results.inspect_logs import FINISHES, OURS

INSTALLED = {"site-packages", "dist-packages"} & set(Path(__file__).parts)
PREFIX = "" if INSTALLED else "persona_bench/"
"""inspect_ai itself puts the package before a task's name, but not where a checkout is installed
(`pip install -e`) whose distribution has another name than the package."""
VALUES = {"correct": CORRECT, "wrong": INCORRECT, "unscored": math.nan}
KNOWN = ("persona", "kind", "question", "level", "subject", "persona_prompt")
"""What the log holds of each document, for `persona-bench score`."""


@task(name=f"{PREFIX}persona_math500")
def persona_math500(**knobs: Any) -> Task:
    """MATH-500 under every persona of a set."""
    return _task("math500", knobs)


@task(name=f"{PREFIX}persona_aime24")
def persona_aime24(**knobs: Any) -> Task:
    """AIME 2024 under every persona of a set."""
    return _task("aime24", knobs)


@task(name=f"{PREFIX}persona_arithmetic")
def persona_arithmetic(**knobs: Any) -> Task:
    """Generated arithmetic under every persona of a set."""
    return _task("arithmetic", knobs)


def _task(name: str, given: dict[str, Any]) -> Task:
    """A benchmark as a task.

    Raises:
        KnobError: a name that is no knob's, or `samples`, which are epochs here.
    """
    if "samples" in given:
        raise KnobError("samples are epochs in inspect_ai: use --epochs")
    knobs, benchmark = _configured(name, given)
    config = load_yaml(resource_folder("tasks") / f"persona_{name}.yaml")
    settings = config["generation_kwargs"]
    sampled = settings.get("do_sample", False)
    return Task(
        name=f"persona_{name}",
        dataset=MemoryDataset([_sample(doc) for doc in build_documents(knobs, benchmark)["test"]]),
        solver=generate(),
        scorer=verdict(name, given),
        epochs=config["metadata"].get("samples", 1),
        config=GenerateConfig(
            max_tokens=settings["max_gen_toks"],
            temperature=settings["temperature"] if sampled else 0.0,
            top_p=settings.get("top_p"),
        ),
        metadata={OURS: {"grader": benchmark.grader, **knobs.record()}},
    )


def _configured(name: str, given: dict[str, Any]) -> tuple[Knobs, Benchmark]:
    benchmark = benchmark_named(name)
    knobs = Knobs.from_metadata(given, benchmark, only_knobs=True)
    return knobs, knobs.configure(benchmark)


def _sample(doc: dict[str, Any]) -> Sample:
    messages: list[ChatMessage] = [ChatMessageUser(content=doc["prompt"])]
    if doc["system"]:
        messages.insert(0, ChatMessageSystem(content=doc["system"]))
    return Sample(
        id=f"{doc['question']}/{doc['persona']}",
        input=messages,
        target=doc["answer"],
        metadata={
            "persona": doc["persona"],
            "question": doc["question"],
            OURS: {name: doc[name] for name in KNOWN},
        },
    )


@scorer(metrics=[accuracy(), stderr(cluster="question"), grouped(accuracy(), "persona")])
def verdict(benchmark: str, knobs: dict[str, Any]) -> Scorer:
    """The grader of a benchmark under its knobs; what it can't grade is NaN, for unscored."""
    _, chosen = _configured(benchmark, knobs)

    async def score(state: TaskState, target: Target) -> Score:
        stop = state.output.choices[0].stop_reason if state.output.choices else ""
        finish = FINISHES.get(stop, stop)
        found = await to_thread.run_sync(
            lambda: grade(chosen, [state.output.completion], [target.text], [finish])[0]
        )
        return Score(
            value=VALUES[found.verdict],
            answer=found.answer or None,
            metadata={"reason": found.reason, "route": found.route},
        )

    return score
