"""What is read of the models in some folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from persona_bench.results.runs import read_folder, read_runs, split_name
from persona_bench.results.samples import OutcomesError, find_samples, write_samples
from persona_bench.results.schema import ASKED, COLUMNS, Judgement, Outcome

DATE = "2026-01-01T00-00-00.000000"
JUDGED = Judgement(
    "m", "roles", "Expected Action", "a", "", "q0", 0, "judge", None, "unscored", "not_judged",
    "", "text", "rubric 1", "",
)  # fmt: skip


def write_run(folder: Path, model: str, task: str, cells: list[tuple[str, str]], **facts) -> Path:
    """The files of a run: one response for each (question, persona)."""
    judged = bool(facts.get("judged"))
    grade = {"verdict": "unscored", "reason": "not_judged"} if judged else {"verdict": "correct"}
    records = [
        {
            "doc": {
                "question": question, "persona": persona, "sample": 0, "prompt": f"{question}?",
                "system": f"You are {persona}.", "persona_prompt": f"You are {persona}.",
                "answer": "7",
            },
            "resps": [["7"]],
            "metrics": ["acc"],
            "acc": {"reason": "", "finish": "stop", **grade},
        }
        for question, persona in cells
    ]  # fmt: skip
    config = {"metadata": {}, "metric_list": []}
    results = {"model_name": model}
    return write_samples(folder / model, task, DATE, records, results, config, facts, {})


WHOLE = [(question, persona) for question in ("q0", "q1") for persona in "ab"]


def test_all_that_is_known_of_a_model_is_read(tmp_path: Path) -> None:
    file = write_run(tmp_path, "m", "roles", WHOLE, judged=True)
    write_run(tmp_path, "m", "sums", WHOLE, grader="sums 1", training={"method": "x", "seed": 3})
    (run,) = read_folder(tmp_path, asked=True)
    assert (run.name, run.checkpoint) == ("m", ("x", "3"))
    assert list(run.tasks) == ["sums", "roles"]  # the graded one first
    assert list(run.outcomes) == ["sums"]
    assert list(run.judged) == ["roles"]
    assert run.verdicts == {}
    sums = run.outcomes["sums"]
    assert set(sums["grader"]) == {"sums 1"}
    assert list(sums["correct"]) == [1.0] * 4
    assert sums.loc[0, list(ASKED)].tolist()[:3] == ["You are a.", "You are a.", "q0?"]
    judge_file = file.with_name(f"judged_roles_{DATE}_judge.jsonl")
    judge_file.write_text(json.dumps(JUDGED._asdict()) + "\n")
    (run,) = read_folder(tmp_path)
    assert tuple(run.outcomes["sums"].columns) == COLUMNS
    assert Outcome._fields == (*COLUMNS, *ASKED)
    assert run.verdicts["roles"]["score"].isna().tolist() == [True]


def test_outcomes_have_whole_questions_and_responses_all(tmp_path: Path) -> None:
    write_run(tmp_path, "m", "sums", WHOLE[:3])
    with pytest.warns(UserWarning, match="1 of 2 questions lack some of their personas"):
        (run,) = read_folder(tmp_path)
    assert len(run.outcomes["sums"]) == 2
    assert len(run.tasks["sums"].responses) == 3


def test_runs_have_different_names(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_run(tmp_path / folder, "m", "sums", WHOLE)
    write_run(tmp_path / "two", "n", "sums", WHOLE)
    one, two = tmp_path / "one", tmp_path / "two" / "m"
    assert [run.name for run in read_runs([one, two])] == ["m (one)", "m (two)"]
    assert [run.name for run in read_runs([f"x@1={one}", f"x@2={two}"])] == ["x@1", "x@2"]
    assert read_runs([f"x@1={one}"])[0].checkpoint == ("x", "1")
    with pytest.raises(OutcomesError, match=r"2 of these are called m \(one\): name them"):
        read_runs([one / "m", one])
    with pytest.raises(OutcomesError, match=r"holds 2 models \(m, n\), and 'x' names one"):
        read_runs([f"x={tmp_path / 'two'}"])


def test_a_step_of_a_training_is_named_with_its_training(tmp_path: Path) -> None:
    write_run(tmp_path / "out", "m", "sums", WHOLE)
    (file,) = (tmp_path / "out").rglob("results_*.json")
    results = json.loads(file.read_text()) | {"model_name": "/trained/rlvr-1/checkpoint-40"}
    file.write_text(json.dumps(results))
    assert read_folder(tmp_path / "out")[0].name == "rlvr-1/checkpoint-40"


def test_a_folder_whose_name_has_an_equals_sign_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert split_name(tmp_path / "a=b") == ("", tmp_path / "a=b")
    assert split_name("a=results/b") == ("a", Path("results/b"))


def test_folders_without_samples_are_dropped_where_that_is_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path / "one", "m", "sums", WHOLE)
    (tmp_path / "none").mkdir()
    folders = [tmp_path / "one", tmp_path / "none"]
    with pytest.raises(OutcomesError, match="no samples of a persona task"):
        read_runs(folders)
    with pytest.warns(UserWarning, match="left out: .*none, which has no samples"):
        assert len(read_runs(folders, leave_empty=True)) == 1


def test_what_is_written_as_lm_eval_writes_it_is_read_again(tmp_path: Path) -> None:
    file = write_run(tmp_path, "m", "sums", WHOLE, shard="1/2")
    (samples,) = find_samples(tmp_path)
    assert samples.file == file
    assert samples.facts == {"shard": "1/2"}
    assert samples.results["n-samples"] == {"sums": {"original": 4, "effective": 4}}
    assert [record["doc"]["question"] for record in samples.records()] == ["q0", "q0", "q1", "q1"]
