"""The crossing of questions and personas."""

from __future__ import annotations

from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.harness.documents import cross
from persona_bench.personas import load_persona_set


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
