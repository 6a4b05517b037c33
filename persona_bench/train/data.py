"""Which question is asked under which persona, and when; and that none of them is an evaluation's.

Everything is decided by (seed, epoch, question): TRL fetches the row of a group once for each
completion, so that a persona drawn at random on the way would differ within a group, and a run that
goes on after a stop would differ from one that was not stopped.
"""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from persona_bench.benchmarks.base import Benchmark, Question, choose_questions
from persona_bench.benchmarks.sources import SourceError
from persona_bench.personas import Persona, PersonaSet, load_persona_set, near_copy
from persona_bench.rendering import merged
from persona_bench.train.config import Data, Personas, SystemRole, TrainConfig, TrainError
from persona_bench.train.sources import PROMPT, TESTS, evaluation_sums, normalised, training_source

MILD_TO_FAR = (
    "control",
    "expert",
    "adjacent_expert",
    "education",
    "layperson",
    "irrelevant",
    "temperament",
    "character",
    "speech",
    "harmful",
)
"""The order in which a curriculum brings the kinds in."""

NONE = "none"

MATHEMATICS = ("math500", "aime24")
"""Evaluations that questions from a file are held against; generated ones are in neither."""


class Row(NamedTuple):
    """A prompt of the training.

    Attributes:
        epoch: From 0 on.
        question: What is asked.
        persona: Under whom; None: no system message.
    """

    epoch: int
    question: Question
    persona: Persona | None


class Mix:
    """Draws personas.

    Args:
        personas: From these.
        settings: How likely each is, and when.
        seed: Seed of the draws.
    """

    def __init__(self, personas: PersonaSet, settings: Personas, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.personas = [
            persona
            for persona in personas
            if persona.kind != "control" and settings.weights.get(persona.kind, 1.0) > 0
        ]
        if settings.mix_ratio and not self.personas:
            raise TrainError(
                f"personas: no persona of {personas.name!r} is left to train under: all are "
                "controls, or of weight 0"
            )

    def draw(self, epoch: int, question: str, progress: float, n: int) -> list[Persona | None]:
        """The personas of `n` completions' prompts, without repetition while there are others.

        Args:
            epoch: Epoch of the training.
            question: Its id.
            progress: Share of the training that is done, for the curriculum.
            n: How many.
        """
        rng = random.Random(f"personas/{self.seed}/{epoch}/{question}")
        under = [rng.random() < self.settings.mix_ratio for _ in range(n)]
        pool = self._admitted(progress)
        drawn: list[Persona | None] = []
        left: list[Persona] = []
        for persona in under:
            left = left or list(pool)
            weights = [self.settings.weights.get(each.kind, 1.0) for each in left]
            drawn.append(left.pop(rng.choices(range(len(left)), weights)[0]) if persona else None)
        return drawn

    def _admitted(self, progress: float) -> list[Persona]:
        over = self.settings.curriculum
        if progress >= over:
            return self.personas
        present = [kind for kind in MILD_TO_FAR if any(p.kind == kind for p in self.personas)]
        kinds = present[: 1 + int(progress / over * len(present))]
        return [persona for persona in self.personas if persona.kind in kinds]


def schedule(
    questions: Sequence[Question],
    epochs: int,
    seed: int,
    mix: Mix | None = None,
    prompts: int = 1,
    groups: int | None = None,
) -> list[Row]:
    """All prompts of a training in their order.

    Args:
        questions: Each comes once an epoch, in an order of the epoch's own.
        epochs: How many.
        seed: Seed of the order.
        mix: Who draws personas; without one there are none.
        prompts: Rows a question: the completions of its group, where each has a persona of its own.
        groups: How many groups the training takes, at most `epochs` x questions; all by default.
            The curriculum runs over these, and the schedule ends with them.

    Returns:
        `groups` x `prompts` rows, those of a question's group next to each other.
    """
    rows: list[Row] = []
    total = groups or epochs * len(questions)
    for epoch in range(epochs):
        order = list(questions)
        random.Random(f"order/{seed}/{epoch}").shuffle(order)
        for question in order:
            progress = len(rows) / prompts / total
            personas = mix.draw(epoch, question.id, progress, prompts) if mix else [None] * prompts
            rows += [Row(epoch, question, persona) for persona in personas]
    return rows[: total * prompts]


def spare_group(
    questions: Sequence[Question],
    seed: int,
    number: int,
    progress: float,
    mix: Mix | None = None,
    prompts: int = 1,
) -> list[Row]:
    """A further group, for one that is drawn again: of a schedule of its own without an end.

    Args:
        questions: As in `schedule`, which draws independently of this.
        seed: Seed of the order.
        number: Which one, from 0 on; after every question has come once, they come anew.
        progress: Share of the training that is done, for the curriculum.
        mix: Who draws personas; without one there are none.
        prompts: Rows of the group, as in `schedule`.
    """
    epoch, place = divmod(number, len(questions))
    order = list(questions)
    random.Random(f"spare/{seed}/{epoch}").shuffle(order)
    question = order[place]
    own = -1 - epoch  # the training's epochs count from 0
    personas = mix.draw(own, question.id, progress, prompts) if mix else [None] * prompts
    return [Row(own, question, persona) for persona in personas]


def messages(
    benchmark: Benchmark, problem: str, persona: str, system_role: SystemRole
) -> list[dict[str, str]]:
    """A prompt as chat messages, as an evaluation puts it; `persona` is empty for none."""
    user = benchmark.prompt(problem)
    if persona and system_role == "merge":
        return [{"role": "user", "content": merged(persona, user)}]
    system = [{"role": "system", "content": persona}] if persona else []
    return [*system, {"role": "user", "content": user}]


def columns(benchmark: Benchmark, rows: Sequence[Row], system_role: SystemRole) -> dict[str, Any]:
    """The rows as TRL's dataset has them: `prompt` (messages) and what the reward needs."""
    return {
        "prompt": [_prompt(benchmark, row, system_role) for row in rows],
        "answer": [row.question.answer for row in rows],
        "question": [row.question.id for row in rows],
        "problem": [row.question.problem for row in rows],
        "persona": [row.persona.id if row.persona else NONE for row in rows],
        "epoch": [row.epoch for row in rows],
    }


def _prompt(benchmark: Benchmark, row: Row, system_role: SystemRole) -> list[dict[str, str]]:
    persona = row.persona.prompt if row.persona else ""
    if PROMPT not in row.question.extra:
        return messages(benchmark, row.question.problem, persona, system_role)
    conversation: list[dict[str, str]] = json.loads(row.question.extra[PROMPT])
    if not persona:
        return conversation
    first, *rest = conversation
    if system_role == "merge":
        return [{**first, "content": merged(persona, first["content"])}, *rest]
    return [{"role": "system", "content": persona}, *conversation]


def _check_rows(questions: Sequence[Question], config: TrainConfig) -> None:
    """That each row has what its method learns from.

    Raises:
        TrainError: an answer or a response is missing, or a system message and a persona meet.
    """
    rewarded = config.method in ("rlvr", "permix")
    for question in questions:
        if rewarded and not question.answer:
            raise TrainError(
                f"data.source: row {question.id} has no answer, and {config.method} rewards by it"
            )
        if config.method == "sft" and not question.extra.get("solution"):
            raise TrainError(
                f"data.source: row {question.id} has no response for sft to learn: end its "
                "messages with the assistant's, or give it a completion"
            )
        needs_plain = {
            "distill": config.method == "distill",
            "reward.information_weight": config.reward.information_weight,
            "evaluation.information_personas": config.evaluation
            and config.evaluation.information_personas,
        }
        what = next((name for name, needed in needs_plain.items() if needed), "")
        if PROMPT in question.extra and what:
            raise TrainError(
                f"data.source: row {question.id} is a conversation, and {what} takes questions: "
                "rows with question and answer, or with a single message of the user and an answer"
            )
        system = PROMPT in question.extra and '"role": "system"' in question.extra[PROMPT]
        if (config.personas or config.evaluation) and system:
            raise TrainError(
                f"data.source: row {question.id} has a system message of its own, and personas "
                "would put another before it: leave out one of them"
            )


# ---------------------------------------------------------------------- what must not meet


class Prepared(NamedTuple):
    """What a run learns from.

    Attributes:
        benchmark: How questions are put and graded.
        questions: To train on.
        mix: Who draws personas; None where there are none.
        notes: What was left out, or could not be checked.
        held_out: Questions that the evaluation while training asks; none of `questions`.
    """

    benchmark: Benchmark
    questions: list[Question]
    mix: Mix | None
    notes: list[str]
    held_out: Sequence[Question] = ()


def prepare(config: TrainConfig) -> Prepared:
    """The questions and personas of a run, checked against the evaluations.

    Raises:
        TrainError: a question or a persona is an evaluation's; the overlaps are listed.
        PersonaSetError, SourceError: as there.
    """
    benchmark, questions = training_source(config.data, config.seed)
    _check_rows(questions, config)
    questions, notes = _apart(questions, config.data)
    mix = None
    if config.personas:
        personas = load_persona_set(config.personas.persona_set)
        evaluated = [*config.personas.evaluation]
        evaluated += [config.evaluation.persona_set] if config.evaluation else []
        check_personas(personas, list(dict.fromkeys(evaluated)))
        mix = Mix(personas, config.personas, config.seed)
    held_out: list[Question] = []
    if config.evaluation:
        questions, held_out = hold_out(questions, config.evaluation.n_questions, config.seed)
    return Prepared(benchmark, questions, mix, notes, held_out)


def hold_out(
    questions: Sequence[Question], n: int, seed: int
) -> tuple[list[Question], list[Question]]:
    """Questions to train on, and `n` others to evaluate with; no text is in both.

    Raises:
        TrainError: nothing would be left to train on.
    """
    if n >= len(questions):
        raise TrainError(
            f"evaluation.n_questions: {n} of {len(questions)} questions can't be set aside, as "
            "training needs some: ask for fewer"
        )
    held_out = choose_questions(questions, n, seed)
    texts = {normalised(question.problem) for question in held_out}
    kept = [question for question in questions if normalised(question.problem) not in texts]
    if not kept:
        raise TrainError("evaluation: every question has the text of one that is set aside")
    return kept, held_out


def _apart(questions: list[Question], data: Data) -> tuple[list[Question], list[str]]:
    found, notes = overlaps(questions, data)
    if not found:
        return questions, notes
    if not data.exclude_overlaps:
        listed = "; ".join(f"{question} = {place}" for question, place in list(found.items())[:5])
        raise TrainError(
            f"{len(found)} training question(s) are in an evaluation benchmark: {listed}"
            + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
            + ". Leave them out with data: {exclude_overlaps: true}"
        )
    notes.append(f"{len(found)} question(s) left out that are in an evaluation benchmark")
    kept = [question for question in questions if question.id not in found]
    if not kept:
        raise TrainError("data: every training question is in an evaluation benchmark")
    return kept, notes


def overlaps(questions: Sequence[Question], data: Data) -> tuple[dict[str, str], list[str]]:
    """Training questions with the text of an evaluation's, and what could not be checked.

    Texts are compared without case and white space; rewordings are not found.

    Raises:
        TrainError: no such benchmark.
    """
    own: dict[str, list[str]] = {}
    for question in questions:
        own.setdefault(normalised(question.problem), []).append(question.id)
    found: dict[str, str] = {}
    notes = []
    generated = data.source == "arithmetic"
    names = data.evaluation
    if names is None:
        programs = any(question.answer.startswith(TESTS) for question in questions)
        files = ("livecodebench",) if programs else ("arithmetic", *MATHEMATICS)
        names = ("arithmetic",) if generated else files
    for name in names:
        try:
            module = importlib.import_module(f"persona_bench.benchmarks.{name}")
            benchmark: Benchmark = module.BENCHMARK
        except (ImportError, AttributeError):
            raise TrainError(f"data.evaluation: there is no benchmark {name!r}") from None
        try:
            own_sums = name == "arithmetic"
            asked = evaluation_sums() if own_sums else benchmark.load(data.data_dir, 0)
        except SourceError as error:
            notes.append(f"not checked against {name}: {error}")
            continue
        for question in asked:
            for same in own.get(normalised(question.problem), ()):
                found.setdefault(same, f"{name} {question.id}")
    return found, notes


def check_personas(personas: PersonaSet, evaluation: Sequence[str]) -> None:
    """That no persona is in an evaluation set, nor a near copy of one that is.

    Raises:
        TrainError: the overlaps are listed.
    """
    shared = []
    for name in evaluation:
        for other in load_persona_set(name):
            for persona in personas:
                if near_copy(persona.prompt, other.prompt):
                    shared.append(f"{persona.id} = {other.id} of {name}")
    if shared:
        raise TrainError(
            f"persona set {personas.name!r} shares {len(shared)} persona(s) with the evaluation: "
            + "; ".join(shared[:5])
            + (f"; and {len(shared) - 5} more" if len(shared) > 5 else "")
            + ". Train under others (the bundled set `train` shares none), or take the set out of "
            "personas.evaluation where it is no evaluation's"
        )
