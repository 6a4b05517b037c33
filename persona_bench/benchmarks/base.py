"""What every benchmark gives: its questions, its prompt, its grader."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from persona_bench.benchmarks.rubrics import RubricSet
from persona_bench.grading import Verdict
from persona_bench.personas import PersonaSet


@dataclass(frozen=True)
class Question:
    """One item of a benchmark.

    Attributes:
        id: Unique within the benchmark, the same in every run.
        problem: The text of the question.
        answer: The reference answer, or what the grader finds it by.
        level: Its difficulty, in the benchmark's own words; empty where there is none.
        subject: Its field, likewise.
        extra: What else its documents carry, e.g. a date.
        persona: The id of the one persona that it is asked of; empty: of every one.
    """

    id: str
    problem: str
    answer: str
    level: str = ""
    subject: str = ""
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)
    persona: str = ""


class Grader(Protocol):
    """Grades many responses at once, so that a grader may share work among them."""

    def __call__(
        self, responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
    ) -> list[Verdict]: ...


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: As in `tasks/persona_<name>.yaml`.
        load: From the mirror folder (or None) and a seed to all its questions. The seed
            matters only where questions are generated.
        prompt: The user message for a question's text.
        grade: The grader.
        grader: Its name and version, which changes when a response may get another verdict.
        domain: The field of all its questions, in the words of personas' `domain`; an expert
            in it is an expert in every question's own field. Empty where there is none.
        knobs: Names of knobs of its own, each with what reads its value (ValueError: impossible).
        configured: From the mirror folder and the values of these knobs to the benchmark so
            configured.
        record: From the ids of the questions asked to what the results file has to say of it.
        personas: From the mirror folder to the benchmark's own personas, where it has some; the
            knob `persona_set` does not apply then.
        rubrics: From the mirror folder to what a judge goes by, where a model judges the responses
            (`persona-bench judge`) rather than a grader with a reference.
        describe: From a persona's prompt to the description that the judge is given.
        unsafe_code: Whether grading runs programs that the model wrote.
        complete: Adds to a question that is asked what `load` left out to be quick: its text and
            its answer. None where nothing is left out.
    """

    name: str
    load: Callable[[Path | None, int], list[Question]]
    prompt: Callable[[str], str]
    grade: Grader
    grader: str
    domain: str = ""
    knobs: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    configured: Callable[[Path | None, Mapping[str, Any]], Benchmark] | None = None
    record: Callable[[Sequence[str]], dict[str, Any]] | None = None
    personas: Callable[[Path | None], PersonaSet] | None = None
    rubrics: Callable[[Path | None], RubricSet] | None = None
    describe: Callable[[str], str] = str
    unsafe_code: bool = False
    complete: Callable[[Question], Question] | None = None

    @property
    def judged(self) -> bool:
        """Whether a model judges the responses."""
        return self.rubrics is not None


def not_judged(
    responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
) -> list[Verdict]:
    """The grader of a judged benchmark: what a judge says comes later."""
    return [
        Verdict("unscored", "not_judged" if text.strip() else "no_answer") for text in responses
    ]


def choose_questions(questions: Sequence[Question], n: int | None, seed: int) -> list[Question]:
    """A seeded subset of `n` questions, in their own order.

    Spread evenly over the levels; over the subjects where there are no levels.

    A smaller subset is part of every larger one drawn with the same seed.

    Raises:
        ValueError: `n` is not between 1 and the number of questions.
    """
    if n is None:
        return list(questions)
    if not 1 <= n <= len(questions):
        raise ValueError(
            f"n_questions={n}, but there are {len(questions)} questions: "
            "ask for between 1 and that many"
        )
    rng = random.Random(seed)
    by_level: dict[str, list[int]] = {}
    for index, question in enumerate(questions):
        by_level.setdefault(question.level or question.subject, []).append(index)
    ranked: list[tuple[float, int]] = []
    for indices in by_level.values():
        rng.shuffle(indices)
        ranked += [((rank + 0.5) / len(indices), index) for rank, index in enumerate(indices)]
    ranked.sort()
    chosen = sorted(index for _, index in ranked[:n])
    return [questions[index] for index in chosen]
