"""The roleplay questions: for anybody, of all five kinds, and this project's own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from persona_bench.benchmarks import personagym, roleplay
from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.harness.tasks import load
from persona_bench.personas import bundled_sets, load_persona_set


def words(text: str, n: int) -> set[tuple[str, ...]]:
    """All runs of n words."""
    found = re.findall(r"[a-z']+", text.lower())
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


def test_twelve_questions_for_each_task() -> None:
    questions = roleplay.load(None)
    assert Counter(q.subject for q in questions) == dict.fromkeys(EVAL_TASKS, roleplay.PER_TASK)
    assert len({q.id for q in questions}) == len({q.problem for q in questions}) == len(questions)
    assert [q.subject for q in questions[:5]] == list(EVAL_TASKS)  # the first few are of all


def test_any_persona_set_can_be_asked_but_for_its_controls() -> None:
    for name in bundled_sets():
        if all(persona.kind == "placebo" for persona in load_persona_set(name)):
            continue
        rows = load(benchmark="roleplay", persona_set=name, questions_per_task=1)["test"]
        assert "control" not in rows["kind"]
        assert all(rows["system"])
        assert set(Counter(rows["question"]).values()) == {len(set(rows["persona"]))}


def test_no_question_or_rubric_is_taken_from_personagym(data_dir: Path) -> None:
    theirs: set[tuple[str, ...]] = set()
    for question in personagym.load(data_dir):
        theirs |= words(question.problem, 6)
    for question in roleplay.load(None):
        assert not words(question.problem, 6) & theirs, question.id
    rubrics: set[tuple[str, ...]] = set()
    for rubric in personagym.rubrics(data_dir).rubrics.values():
        rubrics |= words(rubric.text, 7)
    for own in roleplay.rubrics(None).rubrics.values():
        assert not words(own.text, 7) & rubrics, own.eval_task
