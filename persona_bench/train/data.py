"""Decides which question is asked under which persona and when, apart from all evaluations.

The seed, the epoch and the question decide everything. TRL fetches a group's row once per
completion: a persona drawn at that moment would differ within a group, and a resumed run would
differ from one that was not stopped.
"""

from __future__ import annotations

import importlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice, product
from types import MappingProxyType
from typing import Any, NamedTuple

from persona_bench.benchmarks.base import Benchmark, Question, choose_questions
from persona_bench.benchmarks.sources import SourceError
from persona_bench.personas import Persona, PersonaSet, load_persona_set
from persona_bench.rendering import merged
from persona_bench.texts import near_copy
from persona_bench.train.config import Data, Personas, SystemRole, TrainConfig, TrainError
from persona_bench.train.folder import read_sources
from persona_bench.train.sources import (
    PROMPT,
    TESTS,
    evaluation_sums,
    normalised,
    together,
    training_source,
)

MILD_TO_FAR = (
    "control",
    "placebo",
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
"""Evaluations that other questions than generated sums are compared with."""


class Row(NamedTuple):
    """A prompt of the training.

    Attributes:
        epoch: Counted from 0.
        question: The question.
        persona: The persona in its system message; None: no system message.
    """

    epoch: int
    question: Question
    persona: Persona | None


class Mix:
    """Draws personas.

    Args:
        personas: The set that they are drawn from.
        settings: How likely each kind is, and when.
        seed: Seed of the random draws.
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
        """Draws the personas of `n` prompts; none comes again before all have come.

        Args:
            epoch: Epoch of the training.
            question: The id of the question.
            progress: Share of the training that is done, for the curriculum.
            n: How many prompts.
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
    weights: Mapping[str, float] | None = None,
) -> list[Row]:
    """All prompts of a training in their order.

    Args:
        questions: What is asked.
        epochs: How many; an epoch has as many prompts as there are questions.
        seed: Seed of the order.
        mix: Who draws personas; without one there are none.
        prompts: Rows per question: the completions of its group, where each has its own persona.
        groups: How many groups the training takes, in place of `epochs`. The curriculum runs over
            these.
        weights: As in `ordered`.

    Returns:
        `groups` x `prompts` rows, those of a question's group next to each other.
    """
    total = epochs * len(questions) if groups is None else groups
    rows: list[Row] = []
    for number, (epoch, question) in enumerate(
        islice(ordered(questions, f"order/{seed}", weights), total)
    ):
        personas = drawn(mix, epoch, question, number / total, prompts)
        rows += [Row(epoch, question, persona) for persona in personas]
    return rows


def ordered(
    questions: Sequence[Question], seed: str, weights: Mapping[str, float] | None = None
) -> Iterator[tuple[int, Question]]:
    """Questions without an end, each with how often it has come before.

    Args:
        questions: Each comes once per epoch, in an order of the epoch's own.
        seed: Seed of the order.
        weights: Shares of the sources (`extra["source"]` of a question). Each source then has
            epochs of its own, and after any n questions has given very nearly its share of them.
            Without weights all questions are one source.
    """

    def one_source(own: Sequence[Question], name: str) -> Iterator[tuple[int, Question]]:
        for epoch in count():
            order = list(own)
            random.Random(f"{name}/{epoch}").shuffle(order)
            yield from ((epoch, question) for question in order)

    if not weights:
        yield from one_source(questions, seed)
    by_source: dict[str, list[Question]] = {name: [] for name in weights or ()}
    for question in questions:
        by_source[question.extra["source"]].append(question)
    sources = {name: one_source(own, f"{seed}/{name}") for name, own in by_source.items() if own}
    shares = {name: weight for name, weight in (weights or {}).items() if name in sources}
    given = dict.fromkeys(sources, 0)
    for number in count(1):
        name = max(
            shares, key=lambda each: number * shares[each] / sum(shares.values()) - given[each]
        )
        given[name] += 1
        yield next(sources[name])


def drawn(
    mix: Mix | None, epoch: int, question: Question, progress: float, prompts: int
) -> list[Persona | None]:
    """The personas of a group's prompts; all None without a mix."""
    return mix.draw(epoch, question.id, progress, prompts) if mix else [None] * prompts


def spare_group(
    questions: Sequence[Question],
    seed: int,
    number: int,
    progress: float,
    mix: Mix | None = None,
    prompts: int = 1,
    weights: Mapping[str, float] | None = None,
) -> list[Row]:
    """A further group, for one that is drawn again: from a schedule of its own without an end.

    Args:
        questions, mix, prompts, weights: As in `schedule`, which draws independently of this.
        seed: Seed of the order.
        number: Which one, from 0 on.
        progress: Share of the training that is done, for the curriculum.
    """
    epoch, question = next(islice(ordered(questions, f"spare/{seed}", weights), number, None))
    own = -1 - epoch  # the training's epochs count from 0
    return [Row(own, question, persona) for persona in drawn(mix, own, question, progress, prompts)]


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
    """Checks that each row has what its method learns from.

    Raises:
        TrainError: an answer or a response is missing, or a system message and a persona meet.
    """
    rewarded = config.method in ("rlvr", "permix")
    for question in questions:
        if (rewarded or config.evaluation) and not question.answer:
            needs = f"{config.method} rewards" if rewarded else "evaluation grades"
            raise TrainError(f"data.source: row {question.id} has no answer, and {needs} by it")
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
        sources: What the questions are from: for each source its `source`, `questions` (their
            number), and where it has one the `commit` and the `weight`.
        weights: Shares of the sources, as `ordered` takes them; empty without any.
    """

    benchmark: Benchmark
    questions: list[Question]
    mix: Mix | None
    notes: list[str]
    held_out: Sequence[Question] = ()
    sources: Sequence[Mapping[str, Any]] = ()
    weights: Mapping[str, float] = MappingProxyType({})

    def schedule(self, groups: int, seed: int, prompts: int = 1) -> list[Row]:
        """The prompts of a training of this many groups; see `schedule`."""
        return schedule(self.questions, 0, seed, self.mix, prompts, groups, self.weights)

    def counted(self, rows: Sequence[Row], prompts: int = 1) -> list[dict[str, Any]]:
        """The sources, each with the number of `prompts` that the rows have from it."""
        counts = Counter(row.question.extra["source"] for row in rows)
        return [
            {**each, "prompts": counts[str(number)] // prompts}
            for number, each in enumerate(self.sources)
        ]


def prepare(config: TrainConfig) -> Prepared:
    """The questions and personas of a run, checked against the evaluations.

    A dataset of the hub is read at the commit that an earlier start of the run found.

    Raises:
        TrainError: a question or a persona is an evaluation's; the overlaps are listed.
        PersonaSetError, SourceError: as there.
    """
    data, notes = config.data, []
    before = read_sources(config.output_path)
    parts: list[tuple[Benchmark, list[Question]]] = []
    sources: list[dict[str, Any]] = []
    for number, each in enumerate(data.each):
        commit = str(before[number].get("commit", "")) if number < len(before) else ""
        benchmark, questions, commit = training_source(
            each.source, each, config.seed, data.data_dir, commit
        )
        _check_rows(questions, config)
        questions, of_source = _apart(questions, data, each.source)
        notes += of_source
        before_id = f"{number}/" if data.sources else ""
        questions = [
            replace(q, id=before_id + q.id, extra={**q.extra, "source": str(number)})
            for q in questions
        ]
        parts.append((benchmark, questions))
        sources.append(
            {
                "source": each.source,
                **({"commit": commit} if commit else {}),
                **({"weight": each.weight} if each.weight is not None else {}),
            }
        )
    benchmark, questions = parts[0] if len(parts) == 1 else together("mixture", parts)
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
    kept = Counter(question.extra["source"] for question in questions)
    for number, source in enumerate(sources):
        source["questions"] = kept[str(number)]
    weights = {
        str(number): each.weight for number, each in enumerate(data.each) if each.weight is not None
    }
    return Prepared(benchmark, questions, mix, notes, held_out, sources, weights)


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


def _apart(questions: list[Question], data: Data, source: str) -> tuple[list[Question], list[str]]:
    shared, notes = overlaps(questions, data, source)
    if not shared:
        return questions, notes
    if not data.exclude_overlaps:
        listed = "; ".join(f"{question} = {place}" for question, place in list(shared.items())[:5])
        raise TrainError(
            f"{len(shared)} training question(s) of {source} are in an evaluation benchmark: "
            + listed
            + (f"; and {len(shared) - 5} more" if len(shared) > 5 else "")
            + ". Leave them out with data: {exclude_overlaps: true}"
        )
    notes.append(
        f"{len(shared)} question(s) of {source} left out that are in an evaluation benchmark"
    )
    kept = [question for question in questions if question.id not in shared]
    if not kept:
        raise TrainError("data: every training question is in an evaluation benchmark")
    return kept, notes


def overlaps(
    questions: Sequence[Question], data: Data, source: str
) -> tuple[dict[str, str], list[str]]:
    """Training questions with the text of an evaluation's, and what could not be checked.

    Texts are compared without case and white space; rewordings are not found.

    Args:
        questions: Of one source.
        data: Which evaluations, and where their files are.
        source: The source's name.

    Raises:
        TrainError: no such benchmark.
    """
    own: dict[str, list[str]] = {}
    for question in questions:
        own.setdefault(normalised(question.problem), []).append(question.id)
    shared: dict[str, str] = {}
    notes = []
    generated = source == "arithmetic"
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
                shared.setdefault(same, f"{name} {question.id}")
    return shared, notes


def check_personas(personas: PersonaSet, evaluation: Sequence[str]) -> None:
    """Checks that no persona is in an evaluation set, and none a near copy of one that is.

    Raises:
        TrainError: the overlaps are listed.
    """
    shared = []
    for name in evaluation:
        for evaluated in load_persona_set(name):
            for persona in personas:
                pairs = product(persona.wordings, evaluated.wordings)
                if any(near_copy(*pair) for pair in pairs):
                    shared.append(f"{persona.id} = {evaluated.id} of {name}")
    if shared:
        raise TrainError(
            f"persona set {personas.name!r} shares {len(shared)} persona(s) with the evaluation: "
            + "; ".join(shared[:5])
            + (f"; and {len(shared) - 5} more" if len(shared) > 5 else "")
            + ". Train under others (the bundled set `train` shares none), or take the set out of "
            "personas.evaluation where it is no evaluation's"
        )
