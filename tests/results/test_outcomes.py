"""What the tidy table says of questions and personas, from new samples files and old ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.harness.documents import cross
from persona_bench.results import outcomes
from persona_bench.results.outcomes import read_responses
from persona_bench.results.samples import OutcomesError, Samples, decode_keys
from persona_bench.results.schema import COLUMNS


def written(
    folder: Path, documents: list[dict[str, object]], routes: Sequence[str] = ()
) -> pd.DataFrame:
    """The outcomes of a samples file; without `routes` it is one from before they were recorded."""
    rows: list[dict[str, Any]] = [
        {"doc": doc, "acc": {"verdict": "correct", "reason": ""}, "resps": [["7"]]}
        for doc in documents
    ]
    for row, route in zip(rows, routes, strict=False):
        row["acc"]["route"] = route
    file = folder / "samples_persona_arithmetic_2026-01-01T00-00-00.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return read_outcomes(file)


def test_domains_and_levels_of_schooling_reach_the_table(tmp_path: Path) -> None:
    core = load_persona_set("core")
    found = written(tmp_path, cross(BENCHMARK, BENCHMARK.load(None, 0)[:2], core))
    assert tuple(found.columns) == COLUMNS
    rows = found.drop_duplicates("persona").set_index("persona")
    for persona in core:
        assert rows.loc[persona.id, "persona_domain"] == persona.domain
        level = rows.loc[persona.id, "persona_level"]
        assert (pd.isna(level) and persona.level is None) or level == persona.level
    assert set(found["domain"]) == {"mathematics"}
    assert rows["persona_level"].notna().sum() == sum(each.level is not None for each in core)


def test_files_without_them_are_still_read(tmp_path: Path) -> None:
    documents = cross(BENCHMARK, BENCHMARK.load(None, 0)[:2], load_persona_set("demo"))
    newer = ("subject", "domain", "persona_domain", "persona_level")
    old = [{k: v for k, v in doc.items() if k not in newer} for doc in documents]
    found = written(tmp_path, old)
    assert (found[["subject", "domain", "persona_domain"]] == "").all(axis=None)
    assert found["persona_level"].isna().all()
    assert set(found["route"]) == {""}


def test_the_route_to_the_answer_reaches_the_table(tmp_path: Path) -> None:
    documents = cross(BENCHMARK, BENCHMARK.load(None, 0)[:1], load_persona_set("demo"))
    routes = ["boxed", "tag", "stated", "last", ""]
    documents = documents[: len(routes)]
    found = written(tmp_path, documents, routes)
    assert list(found["route"]) == routes


ROW = {
    "doc_id": 0,
    "doc": {"question": 'q "doc": {1}', "answer": "}"},
    "resps": [['\\"acc": {"verdict": "correct"}']],
    "filtered_resps": ["no"],
    "acc": {"verdict": "wrong", "answer": "}{"},
    "worst": {"verdict": "wrong"},
}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(ROW),
        json.dumps(ROW, separators=(",", ":")),  # other spaces
        json.dumps(ROW, indent=1),
        json.dumps(dict(reversed(ROW.items()))),  # another order
    ],
)
def test_values_of_a_line_are_those_of_the_whole_line(line: str) -> None:
    found = decode_keys(line + "\n", ("doc", "resps", "acc"))
    assert {name: found[name] for name in ("doc", "resps", "acc")} == {
        name: ROW[name] for name in ("doc", "resps", "acc")
    }


def test_a_line_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        decode_keys(json.dumps(ROW)[:-5], ("doc", "resps", "acc"))


def test_a_table_that_is_read_in_parts_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = cross(BENCHMARK, BENCHMARK.load(None, 0)[:3], load_persona_set("core"))
    whole = written(tmp_path, documents)
    monkeypatch.setattr(outcomes, "_CHUNK", 7)
    pd.testing.assert_frame_equal(written(tmp_path, documents), whole)


def test_responses_are_read_from_a_samples_file(tmp_path: Path) -> None:
    doc = {"persona": "pirate", "kind": "speech", "question": "q", "sample": 0}
    doc |= {"persona_prompt": "Arr", "system": "Arr", "prompt": "What is 1 + 1?"}
    asked = {"gen_args_0": {"arg_0": "Arr What is 1 + 1?", "arg_1": {}}}
    rows = [
        {"doc": doc, "resps": [["two"]], "arguments": asked, "acc": {"reason": ""}},
        {"doc": {**doc, "sample": 1}, "resps": [[""]], "acc": {"reason": "api_error"}},
        {"doc": {**doc, "sample": 2}, "resps": [[""]]},
    ]
    file = tmp_path / "samples_t_2026-01-01T00-00-00.0.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read_responses(Samples(file, "t", ""), asked=True)
    assert table["response"].fillna("missing").tolist() == ["two", "missing", ""]
    assert table["context"].tolist() == ["Arr What is 1 + 1?", "", ""]
    file.write_text(json.dumps(rows[0]) + "\n{")
    with pytest.raises(OutcomesError, match=":2: not a sample of a persona task"):
        read_responses(Samples(file, "t", ""), asked=True)
    file.write_text("")
    with pytest.raises(OutcomesError, match="the file is empty"):
        read_responses(Samples(file, "t", ""), asked=True)


def test_half_of_a_surrogate_pair_in_a_response_is_replaced(tmp_path: Path) -> None:
    documents = cross(BENCHMARK, BENCHMARK.load(None, 0)[:1], load_persona_set("demo"))
    row = {"doc": documents[0], "resps": [["a \ud83d b"]], "acc": {"verdict": "correct"}}
    file = tmp_path / "samples_t_2026-01-01T00-00-00.jsonl"
    file.write_text(json.dumps(row))
    assert read_outcomes(file)["response"].tolist() == ["a \ufffd b"]
