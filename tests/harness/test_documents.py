"""The crossing of questions and personas."""

from __future__ import annotations

import pytest

from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.roleplay import BENCHMARK as ROLEPLAY
from persona_bench.harness.documents import cross
from persona_bench.harness.knobs import KnobError, Knobs
from persona_bench.personas import PersonaSetError, load_persona_set


def test_documents_are_question_major_and_complete() -> None:
    questions = BENCHMARK.load(None, 0)[:3]
    demo = load_persona_set("demo")
    documents = cross(BENCHMARK, questions, demo, samples=2)
    assert len(documents) == 3 * 6 * 2
    for block in range(3):
        rows = documents[block * 12 : (block + 1) * 12]
        assert {r["question"] for r in rows} == {questions[block].id}
        assert [(r["persona"], r["sample"]) for r in rows] == [
            (p.id, s) for p in demo for s in range(2)
        ]
    assert all(r["system"] == r["persona_prompt"] for r in documents)
    assert all(r["persona_prompt"] not in r["prompt"] for r in documents if r["persona_prompt"])


def test_merge_puts_the_persona_before_the_question() -> None:
    questions = BENCHMARK.load(None, 0)[:1]
    for row in cross(BENCHMARK, questions, load_persona_set("demo"), system_role="merge"):
        assert row["system"] == ""
        assert row["prompt"].endswith(BENCHMARK.prompt(questions[0].problem))
        assert row["prompt"].startswith(row["persona_prompt"])


# ---------------------------------------------------------------------- wordings and placebos


def test_all_wordings_are_samples_of_one_cell_and_every_persona_has_as_many() -> None:
    questions = BENCHMARK.load(None, 0)[:2]
    chosen = Knobs(wording="all").choose_personas(BENCHMARK)
    documents = cross(BENCHMARK, questions, chosen, samples=2)
    assert len(documents) == 2 * 16 * 3 * 2
    core = {persona.id: persona for persona in load_persona_set("core")}
    for row in documents:
        assert row["persona_prompt"] == core[row["persona"]].wordings[row["wording"] - 1]
    of_pirate = [(r["sample"], r["wording"]) for r in documents if r["persona"] == "pirate"][:6]
    assert of_pirate == [(0, 3), (1, 3), (2, 1), (3, 1), (4, 2), (5, 2)]
    of_none = [(r["sample"], r["wording"]) for r in documents if r["persona"] == "none"][:6]
    assert of_none == [(sample, 1) for sample in range(6)]


def test_one_wording_is_asked_by_its_number_and_the_last_by_default() -> None:
    questions = BENCHMARK.load(None, 0)[:1]
    asked = {}
    for wording in ("last", 1):
        chosen = Knobs(wording=wording).choose_personas(BENCHMARK)
        asked[wording] = {r["persona"]: r for r in cross(BENCHMARK, questions, chosen)}
    assert (asked["last"]["pirate"]["wording"], asked[1]["pirate"]["wording"]) == (3, 1)
    assert asked[1]["pirate"]["system"] == "You are a pirate."
    assert asked["last"]["none"]["wording"] == 1
    with pytest.raises(PersonaSetError, match="more than 1: use 1 to 1, last or all"):
        Knobs(persona_set="wide", wording=2).choose_personas(BENCHMARK)


def test_placebos_are_asked_beside_the_personas_but_play_no_role() -> None:
    knobs = Knobs(placebos="core-placebos", n_personas=5)
    kinds = [persona.kind for persona in knobs.choose_personas(BENCHMARK)]
    assert len(kinds) == 11
    assert kinds[-6:] == ["placebo"] * 6
    assert "placebo" not in {p.kind for p in knobs.choose_personas(ROLEPLAY)}
    with pytest.raises(KnobError, match="only placebos, which are for comparison"):
        Knobs(persona_set="core-placebos").choose_personas(BENCHMARK)
    with pytest.raises(KnobError, match="leave out turns, or wording=all"):
        Knobs(wording="all", turns=(2,)).choose_personas(BENCHMARK)
