"""The knob `design`: which pairs are asked, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.harness import metrics
from persona_bench.harness.design import DesignError, design_record, is_sparse, read_design
from persona_bench.harness.documents import cross
from persona_bench.harness.knobs import KnobError, Knobs
from persona_bench.personas import load_persona_set

QUESTIONS, PERSONAS = ["q1", "q2", "q3"], ["none", "pirate"]


def test_a_csv_and_a_json_say_the_same(tmp_path: Path) -> None:
    pairs = [("q1", "none"), ("q3", "pirate")]
    csv, js = tmp_path / "d.csv", tmp_path / "d.json"
    pd.DataFrame(pairs, columns=["question", "persona"]).to_csv(csv, index=False)
    js.write_text(json.dumps(pairs))
    for path in (csv, js):
        assert read_design(str(path), QUESTIONS, PERSONAS) == frozenset(pairs)


def test_a_share_is_drawn_and_the_seed_matters() -> None:
    questions = [f"q{i}" for i in range(40)]
    one, same, other = (
        read_design({"share": 0.5, "seed": seed}, questions, PERSONAS) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len(one) == 40


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("d.txt", "", "must be a .csv or a .json file"),
        ("d.csv", None, "no such file"),
        ("d.csv", "question,who\nq1,none\n", "columns question and persona"),
        ("d.csv", "question,persona\n", "no pair to ask"),
        ("d.csv", "question,persona\nq1,none\nq1,none\n", "q1, none is given twice"),
        ("d.csv", "question,persona\nq1,pirat\n", "did you mean 'pirate'"),
        ("d.csv", "question,persona\nq9,none\n", "no question 'q9' among the 3 of this run"),
        ("d.json", "[]", "no pair to ask"),
        ("d.json", "[1, 2]", r"a list of \[question, persona\]"),
        ("d.json", "{", r"a list of \[question, persona\]"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DesignError, match=words):
        read_design(str(tmp_path / name), QUESTIONS, PERSONAS)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"seed": 1}, "must have 'share'"),
        ({"share": 0.1, "size": 3}, "must have 'share'"),
        ({"share": 0}, "share=0 must be a number above 0"),
        ({"share": "0.1"}, "share='0.1' must be a number"),
        ({"share": 0.1, "seed": -1}, "seed=-1 must be a whole number"),
    ],
)
def test_a_wrong_share_is_refused(spec: dict[str, object], words: str) -> None:
    with pytest.raises(DesignError, match=words):
        read_design(spec, QUESTIONS, PERSONAS)


def test_the_knob_takes_a_path_or_a_share() -> None:
    assert Knobs.from_metadata({"design": "d.csv"}).design == "d.csv"
    assert Knobs.from_metadata({"design": {"share": 0.1}}).design == {"share": 0.1}
    with pytest.raises(KnobError, match=r"design=3 must be a \.csv or \.json file"):
        Knobs.from_metadata({"design": 3})


def test_the_crossing_keeps_the_pairs_and_says_whether_it_is_sparse() -> None:
    questions, personas = BENCHMARK.load(None, 0)[:3], load_persona_set("demo")
    ids = [q.id for q in questions]
    sparse = frozenset({(ids[0], "pirate"), (ids[2], "none"), (ids[2], "pirate")})
    documents = cross(BENCHMARK, questions, personas, samples=2, pairs=sparse)
    assert {(d["question"], d["persona"]) for d in documents} == sparse
    assert len(documents) == 6
    assert all(d["sparse"] for d in documents)
    block = frozenset((q, p) for q in ids[1:] for p in ("none", "pirate"))
    documents = cross(BENCHMARK, questions, personas, pairs=block)
    assert len(documents) == 4
    assert not any(d["sparse"] for d in documents)
    assert not any(d["sparse"] for d in cross(BENCHMARK, questions, personas))


def test_the_record_knows_the_design_again() -> None:
    pairs = frozenset({("q1", "none"), ("q2", "pirate")})
    record = design_record(pairs)
    assert (record["pairs"], record["sparse"]) == (2, True)
    assert record["fingerprint"] == design_record(frozenset(sorted(pairs)))["fingerprint"]
    assert record["fingerprint"] != design_record(frozenset({("q1", "none")}))["fingerprint"]
    assert not is_sparse(frozenset({("q1", "none"), ("q1", "pirate")}))


def test_a_sparse_run_has_no_number_that_compares_personas_in_lm_eval_s_table() -> None:
    record = {"sample": 0, "reason": "", "sparse": True}
    rng = np.random.default_rng(0)
    records = [
        {**record, "question": f"q{q}", "persona": persona,
         "verdict": "correct" if rng.random() < 0.6 else "wrong"}
        for q in range(40)
        for persona in rng.choice([*"abcd"], 3, replace=False)
    ]  # fmt: skip
    for compared in (metrics.noise_floor, metrics.pss, metrics.worst, metrics.best):
        assert math.isnan(compared(records))
        assert not math.isnan(compared([{**each, "sparse": False} for each in whole(records)]))
    assert 0.4 < metrics.acc(records) < 0.8


def whole(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with every persona asked every question."""
    cells = {(each["question"], each["persona"]): each for each in records}
    return [
        cells.get((f"q{q}", p), {**records[0], "question": f"q{q}", "persona": p})
        for q in range(40)
        for p in "abcd"
    ]
