"""Questions × personas: the documents of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from persona_bench.benchmarks.base import Benchmark, Question
from persona_bench.harness.design import Pairs, is_sparse
from persona_bench.harness.knobs import KnobError, Knobs, SystemRole
from persona_bench.personas import PersonaSet
from persona_bench.rendering import merged


def build_documents(knobs: Knobs, benchmark: Benchmark) -> dict[str, datasets.Dataset]:
    """The documents of a task: the questions and personas that its knobs choose, crossed.

    Raises:
        KnobError: a design that asks none of a shard's questions.
        PersonaSetError, SourceError: see there.
    """
    personas = knobs.choose_personas(benchmark)
    questions = knobs.choose_questions(benchmark, personas)
    asked = knobs.of_shard(questions)
    (turns,) = knobs.turns if len(knobs.turns) == 1 else (None,)
    if benchmark.complete is not None:
        asked = [benchmark.complete(question) for question in asked]
    documents = cross(
        benchmark,
        asked,
        personas,
        samples=knobs.samples,
        system_role=knobs.system_role,
        pairs=knobs.choose_pairs(questions, personas),
        turns=turns,
        # by the place among all questions, so that shards talk as the whole run would
        scripts={each.id: place % knobs.scripts for place, each in enumerate(questions)},
        n_scripts=knobs.scripts,
    )
    if not documents:
        raise KnobError(f"shard={knobs.shard}: the design asks none of its questions")
    return {"test": datasets.Dataset.from_list(documents)}


def cross(
    benchmark: Benchmark,
    questions: Sequence[Question],
    personas: PersonaSet,
    *,
    samples: int = 1,
    system_role: SystemRole = "native",
    pairs: Pairs | None = None,
    turns: int | None = None,
    scripts: Mapping[str, int] | None = None,
    n_scripts: int = 1,
) -> list[dict[str, Any]]:
    """One document per question, persona and sample.

    Question-major, so that lm-eval's `--limit` keeps whole blocks: every persona and
    sample of one question stand together; a question of one persona's own is asked of it alone.
    Where all wordings are asked, each has `samples` responses, numbered on from one wording to the
    next, the last wording first: its responses are then those of a run that asks it alone. A
    persona with fewer wordings than another is asked in some of them again, so that all personas
    have equally many responses. `system` is the system message (empty for
    none), `prompt` the user message. `pairs` restricts the crossing to a design; where that
    is no full block, every document says so (`sparse`), as its questions lack personas on
    purpose. Where the question follows a conversation, `turns` says how many rounds it has,
    `scripts` by which script its first sample talks, and further samples take the next of
    `n_scripts`; all personas have the same script, so that they are compared within it.
    """
    documents = []
    sparse = pairs is not None and is_sparse(pairs)
    slots = max(len(persona.asked(personas.wording)) for persona in personas)
    for question in questions:
        user = benchmark.prompt(question.problem)
        for persona in personas:
            if pairs is not None and (question.id, persona.id) not in pairs:
                continue
            if question.persona not in ("", persona.id):
                continue
            wordings = persona.asked(personas.wording)
            for sample in range(slots * samples):
                wording, text = wordings[sample // samples % len(wordings)]
                merge = system_role == "merge" and text
                # else the persona stands before the conversation's first turn
                ask = merge and not turns
                documents.append(
                    {
                        "question": question.id,
                        "level": question.level,
                        "subject": question.subject,
                        "domain": benchmark.domain,
                        "persona": persona.id,
                        "kind": persona.kind,
                        "persona_domain": persona.domain,
                        "persona_level": persona.level,
                        "wording": wording,
                        "sample": sample,
                        "persona_prompt": text,
                        "system": "" if merge else text,
                        "prompt": merged(text, user) if ask else user,
                        "answer": question.answer,
                        **question.extra,
                        "sparse": sparse,
                        **(
                            {}
                            if turns is None
                            else {
                                "turns": turns,
                                "script": ((scripts or {})[question.id] + sample) % n_scripts,
                            }
                        ),
                    }
                )
    return documents
