"""The page's responses from real runs: graded, judged, and asked in other ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from persona_bench.report.page import page_responses
from persona_bench.report.page.contents import RESPONSE_COLUMNS
from persona_bench.results.outcomes import read_outcomes, read_responses
from persona_bench.results.runs import TaskResults
from persona_bench.results.samples import OutcomesError, find_samples
from tests.report.page.real_runs import RealRuns


def test_a_graded_run(real_runs: RealRuns) -> None:
    table = real_runs.graded
    assert tuple(table.columns) == RESPONSE_COLUMNS
    assert len(table) == 8 * 6
    assert set(table["task"]) == {"persona_arithmetic"}
    assert set(table["model"]) == {"small"}
    assert {"correct", "wrong", "unscored"} == set(table["verdict"])
    lost = table[table["verdict"] == "unscored"]
    assert list(lost["reason"]) == ["api_error"]
    assert lost["response"].isna().all()
    pirate = table[table["persona"] == "pirate"].iloc[0]
    assert pirate["kind"] == "speech"
    assert pirate["context"] == (f"system:\n{pirate['system']}\n\nuser:\n{pirate['question_text']}")
    assert pirate["answer"].isdigit()
    assert pirate["level"] == "1"
    assert all(said == [] for said in table["judgements"])
    assert set(table.loc[table["verdict"] != "unscored", "route"]) == {"boxed", "stated"}
    assert set(lost["route"]) == {""}


def test_a_judged_run_has_its_judges_words(real_runs: RealRuns) -> None:
    table = real_runs.judged
    said = table["judgements"].iloc[0]
    assert [each["judge"] for each in said] == ["judge", "second"]
    assert said[0]["justification"].startswith("Because ")
    assert set(table["verdict"]) == {"scored", "unscored"}
    lost = table[table["verdict"] == "unscored"].iloc[0]
    assert lost["persona"] == "weaver"
    assert [each["score"] for each in lost["judgements"]] == [None, None]
    assert lost["reason"]


def test_what_is_not_judged_yet_has_no_verdict(real_runs: RealRuns) -> None:
    assert set(real_runs.open["verdict"]) == {""}
    assert set(real_runs.open["reason"]) == {""}
    assert set(real_runs.open["route"]) == {""}


def test_a_persona_in_the_user_message_is_no_part_of_the_question(
    real_runs: RealRuns, tmp_path: Path
) -> None:
    (samples,) = find_samples(real_runs.graded_folder)
    rows = [json.loads(line) for line in samples.file.read_text().splitlines()]
    for row in rows:
        doc = row["doc"]
        if doc["persona_prompt"]:
            doc["prompt"] = f"{doc['persona_prompt']}\n\n{doc['prompt']}"
            doc["system"] = ""
    file = tmp_path / samples.file.name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (samples,) = find_samples(file)
    table = page_responses(TaskResults(samples, read_responses(samples, asked=True)))
    assert list(table["question_text"]) == list(real_runs.graded["question_text"])


def test_a_run_that_graded_nothing_has_no_verdicts(real_runs: RealRuns, tmp_path: Path) -> None:
    (samples,) = find_samples(real_runs.graded_folder)
    rows = [json.loads(line) for line in samples.file.read_text().splitlines()]
    for row in rows:  # as --predict_only writes them
        for name in row.pop("metrics"):
            row.pop(name)
        row |= {"metrics": ["bypass"], "bypass": 999}
    file = tmp_path / samples.file.name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (samples,) = find_samples(file)
    table = page_responses(TaskResults(samples, read_responses(samples, asked=True)))
    assert set(table["verdict"]) == {""}
    assert table["response"].str.len().gt(0).any()
    with pytest.raises(OutcomesError, match=r":1: not a graded sample .* --predict_only"):
        read_outcomes(file)


def test_a_broken_line_is_named(real_runs: RealRuns, tmp_path: Path) -> None:
    (samples,) = find_samples(real_runs.graded_folder)
    file = tmp_path / samples.file.name
    file.write_text(samples.file.read_text()[:-100])
    with pytest.raises(OutcomesError, match=r":48: not a sample of a persona task"):
        read_outcomes(file)
