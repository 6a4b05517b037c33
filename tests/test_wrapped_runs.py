"""Runs of lm-eval's tasks under personas: a real model, the literal lm_eval, kills, the report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lm_eval.models.huggingface import HFLM
from typer.testing import CliRunner

from persona_bench import read_outcomes
from persona_bench.cli import app
from persona_bench.commands.score import score_folder
from persona_bench.harness.dry_run import plan_run
from persona_bench.harness.merge import merge
from persona_bench.harness.run import Asked, Session
from persona_bench.harness.store import RecordLog
from persona_bench.harness.unfinished import grade_unfinished
from persona_bench.harness.until import Base, plan_tasks, run_until_decided
from persona_bench.results.runs import read_runs
from persona_bench.scoring.gate import Gate
from persona_bench.scoring.stability import Stability
from tests.harness.test_wrap import assert_equal, plain, samples_in
from tests.support.local_tasks import write_tasks
from tests.support.tiny_model import tiny_model
from tests.test_rendering import CHATML

TASKS = ("local_sums", "local_choice")
PERSONAS = {"none": "", "pirate": "You are a pirate."}
STUDY = """
output_path: {folder}/out
include_path: {folder}/tasks
num_fewshot: 0
models:
  - {{name: tiny, pretrained: {model}, model_args: {{dtype: float32}}, device: cpu}}
tasks:
  - {{task: local_sums, num_fewshot: 1, metadata: {{metric: "exact_match,flexible"}}}}
  - local_digits
  - local_choice
metadata: {{persona_set: {set}}}
"""
SET = """name: two
version: 1
description: For tests.
personas:
  - {id: none, kind: control, prompt: ""}
  - {id: pirate, kind: character, prompt: You are a pirate.}
"""


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The local tasks, a tiny model, and a set of two personas."""
    root = tmp_path_factory.mktemp("wrapped")
    write_tasks(root / "tasks", most=9)
    tiny_model(root / "tiny", CHATML)
    (root / "set.yaml").write_text(SET)
    return root


def ask(
    model: Path,
    folder: Path,
    out: Path,
    said: Callable[[str], None] = lambda _: None,
    knobs: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, list[dict[str, Any]]]:
    arguments = {"pretrained": str(model), "dtype": "float32"}
    metadata = {"persona_set": str(folder / "set.yaml"), **(knobs or {})}
    asked = [Asked(task, metadata, {}, (str(folder / "tasks"),)) for task in TASKS]
    with Session("hf", arguments, out, batch_size="1", device="cpu", say=said) as session:
        session.run(asked, output_path=settings.pop("output_path", None), **settings)
    return samples_in(out)


def test_a_real_model_answers_as_under_plain_lm_eval(
    smollm2: Path, folder: Path, tmp_path: Path
) -> None:
    ours = ask(smollm2, folder, tmp_path, limit=6)
    lm = HFLM(pretrained=str(smollm2), dtype="float32", batch_size=1, device="cpu")
    headlines = {"local_sums": "exact_match,strict", "local_choice": "acc,none"}
    for task, metric in headlines.items():
        theirs = {
            name: plain(lm, folder, task, text, limit=3)[task] for name, text in PERSONAS.items()
        }
        assert len(ours[task]) == 6
        assert_equal(ours[task], theirs, metric)
    assert {row["acc"]["score"] for rows in ours.values() for row in rows} == {0.0, 1.0}


def stop_after(records: int) -> Any:
    """Interrupts a run as soon as that many responses are stored."""
    add, made = RecordLog.add, []

    def counted(self: RecordLog, record: Any) -> None:
        add(self, record)
        made.append(record)
        if len(made) == records:
            raise KeyboardInterrupt

    return counted


def without_model(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["task", "question", "persona"]
    return table.drop(columns=["model", "early"]).sort_values(columns).reset_index(drop=True)


@pytest.mark.slow
def test_a_stopped_run_is_scored_resumed_and_ends_as_a_whole_one(
    folder: Path, tmp_path: Path
) -> None:
    tiny = folder / "tiny"
    whole = ask(tiny, folder, tmp_path / "whole")
    stopped, said = tmp_path / "stopped", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordLog, "add", stop_after(31))
        with pytest.raises(KeyboardInterrupt):
            ask(tiny, folder, stopped)
    (first, second) = sorted(grade_unfinished(stopped), key=lambda each: each.task)
    # 12 responses, then 19 likelihoods: of 12 documents with four choices each 4 are whole
    assert (first.task, first.stored, first.asked) == ("persona_local_choice", 4, 12)
    assert (second.task, second.stored, second.asked) == ("persona_local_sums", 12, 12)
    early = {
        (row["doc"]["question"], row["doc"]["persona"]): row["acc"]["metrics"]
        for row in samples_in(stopped)["local_choice"]
    }
    final = {
        (row["doc"]["question"], row["doc"]["persona"]): row["acc"]["metrics"]
        for row in whole["local_choice"]
    }
    assert early.items() <= final.items()

    asked = [
        Asked(task, {"persona_set": str(folder / "set.yaml")}, {}, (str(folder / "tasks"),))
        for task in TASKS
    ]
    arguments = {"pretrained": str(tiny), "dtype": "float32"}
    plans = {plan.task: plan for plan in plan_run("hf", arguments, asked, stopped / "store")}
    assert plans["persona_local_choice"].done == 19
    assert plans["persona_local_choice"].prompts == 48

    ask(tiny, folder, stopped, said.append)
    assert "19 of 48 log-likelihoods are in the store, 29 to compute" in said
    tables = [without_model(read_outcomes(tmp_path / name)) for name in ("whole", "stopped")]
    pd.testing.assert_frame_equal(*tables)

    written = score_folder(stopped, stopped / "scores")
    assert written[-1].name.endswith(".html")
    assert "What is " in written[-1].read_text(encoding="utf-8")
    result = CliRunner().invoke(
        app, ["compare", str(tmp_path / "whole"), str(stopped), "--out", str(tmp_path / "c")]
    )
    assert result.exit_code == 0, result.output


def test_shards_are_merged_into_the_whole_run(folder: Path, tmp_path: Path) -> None:
    tiny = folder / "tiny"
    ask(tiny, folder, tmp_path / "whole")
    for part in ("1", "2"):
        ask(tiny, folder, tmp_path / part, knobs={"shard": f"{part}/2"})
    merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
    tables = [without_model(read_outcomes(tmp_path / name)) for name in ("whole", "merged")]
    pd.testing.assert_frame_equal(*tables)


def test_the_literal_lm_eval_asks_the_same(
    lm_eval: Callable[..., subprocess.CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    ours = ask(folder / "tiny", folder, tmp_path / "ours")
    wrap = ["wrap", *TASKS, "--include-path", str(folder / "tasks"), "--out", str(tmp_path / "my")]
    result = CliRunner().invoke(app, wrap)
    assert result.exit_code == 0, result.output
    lm_eval(
        *("--model", "hf", "--model_args", f"pretrained={folder / 'tiny'},dtype=float32"),
        *("--include_path", "my", "--tasks", ",".join(f"persona_{task}" for task in TASKS)),
        *("--metadata", json.dumps({"persona_set": str(folder / "set.yaml")})),
        *("--apply_chat_template", "--batch_size", "1", "--device", "cpu"),
        *("--log_samples", "--output_path", "theirs"),
        cwd=tmp_path,
    )
    theirs = samples_in(tmp_path / "theirs")
    for task in TASKS:
        for mine, other in zip(ours[task], theirs[task], strict=True):
            assert mine["arguments"] == other["arguments"]
            assert mine["acc"]["metrics"] == other["acc"]["metrics"]
            assert mine["acc"]["verdict"] == other["acc"]["verdict"]


def test_scores_of_a_stopped_run_are_resumed_scored_compared_and_gated(
    folder: Path, tmp_path: Path
) -> None:
    """local_digits gives the share of the answer's digits that a response holds."""

    def answer(out: Path, salt: str) -> None:
        metadata = {"persona_set": str(folder / "set.yaml")}
        asked = [Asked("local_digits", metadata, {}, (str(folder / "tasks"),))]
        with Session(
            "answering", {"pretrained": str(folder / "tiny"), "salt": salt}, out
        ) as session:
            session.run(asked)

    old, new = tmp_path / "old", tmp_path / "new"
    answer(old, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordLog, "add", stop_after(7))
        with pytest.raises(KeyboardInterrupt):
            answer(new, "b")
    (part,) = grade_unfinished(new)
    assert (part.stored, part.asked) == (7, 12)
    early = read_outcomes(new)
    answer(new, "b")
    outcomes = read_outcomes(new)
    keys = ["question", "persona"]
    for row in early.to_dict("records"):
        (same,) = outcomes[(outcomes[keys] == [row[key] for key in keys]).all(axis=1)]["score"]
        assert same == row["score"]
    by_verdict = outcomes.groupby("verdict")["score"].agg(["min", "max", "size"])
    assert by_verdict.loc["correct"].tolist()[:2] == [1, 1]
    assert by_verdict.loc["wrong"].tolist()[:2] == [0, 0]
    assert 0 < by_verdict.loc["scored", "min"] <= by_verdict.loc["scored", "max"] < 1
    assert outcomes["correct"].isna().sum() == by_verdict.loc["scored", "size"]

    def told(*command: str) -> Any:
        result = CliRunner().invoke(app, [*command, "--json"])
        assert result.exit_code in (0, 1, 3), result.output
        return json.loads(result.stdout)

    means = outcomes.groupby("persona")["score"].mean()
    (scored,) = told("score", str(new))
    assert scored["measure"] == "score"
    assert scored["pss"]["value"] == pytest.approx(means.min() / means.max())
    assert scored["agreement"]["value"] is None
    page = (new / "scores" / "index.html").read_text(encoding="utf-8")
    assert "Score, worst to best persona" in page
    (compared,) = told("compare", str(old), str(new), "--no-page")
    (mean,) = [row for row in compared["metrics"] if row["metric"] == "mean"]
    assert mean["a"] == pytest.approx(read_outcomes(old)["score"].mean())
    assert mean["b"] == pytest.approx(outcomes["score"].mean())
    (gated,) = told("gate", str(old), str(new))["tasks"].values()
    (criterion,) = [each for each in gated["criteria"] if each["name"] == "mean accuracy"]
    assert criterion["difference"] == pytest.approx(mean["difference"])
    result = CliRunner().invoke(app, ["leaderboard", str(old), str(new)])
    assert "accuracy stands for the mean score" in " ".join(result.output.split())


def test_a_study_asks_wrapped_tasks_each_with_its_own_examples(
    folder: Path, tmp_path: Path
) -> None:
    write_tasks(tmp_path / "tasks", most=9)
    file = tmp_path / "study.yaml"
    told = {"folder": tmp_path, "model": folder / "tiny", "set": folder / "set.yaml"}
    file.write_text(STUDY.format(**told))
    result = CliRunner().invoke(app, ["run", str(file)])
    assert result.exit_code == 0, result.output
    found = samples_in(tmp_path / "out")
    assert set(found) == {"local_sums", "local_digits", "local_choice"}
    for task, examples in (("local_sums", 1), ("local_choice", 0)):
        prompt = found[task][0]["arguments"]["gen_args_0"]["arg_0"]
        assert prompt.count("<|im_start|>assistant") == 1 + examples
    grader = read_outcomes(tmp_path / "out").groupby("task")["grader"].first()
    assert grader["persona_local_sums"].endswith("exact_match,flexible")


def test_wrapped_tasks_are_asked_until_decided_and_gated(tmp_path: Path) -> None:
    """The new model answers otherwise, so that the gate sees a difference."""
    write_tasks(tmp_path / "tasks", questions=210)
    (tmp_path / "set.yaml").write_text(SET)
    tiny_model(tmp_path / "tiny", CHATML)
    knobs = {"persona_set": str(tmp_path / "set.yaml")}
    tasks = ("local_digits", "local_choice")
    asked = [Asked(task, knobs, {}, (str(tmp_path / "tasks"),)) for task in tasks]

    def session(out: str, salt: str) -> Session:
        named = {"pretrained": str(tmp_path / "tiny"), "salt": salt}
        return Session("answering", named, tmp_path / out)

    with session("old", "") as old:
        old.run(asked)
    before = read_runs([tmp_path / "old"])[0].outcomes
    with session("new", "x") as new:
        stopped = run_until_decided(new, plan_tasks(asked, new.model_args))
        for each in stopped:
            assert isinstance(each.result, Stability)
            assert each.plan.looks[-1] == 210
            n = each.plan.looks[each.look - 1]
            assert each.result.n_questions == n
        base = Base("old", before, {"margin": 0.2, "margin_persona": 0.3, "margin_pss": 0.5})
        gated = run_until_decided(new, plan_tasks(asked, new.model_args, base))
    after = read_outcomes(tmp_path / "new")
    for each in gated:
        assert isinstance(each.result, Gate)
        assert each.word == "pass"
        assert each.look < len(each.plan.looks)
        rows = after[after["task"] == each.plan.asked.name]
        assert rows["question"].nunique() == each.result.n_questions
    assert set(after["verdict"]) == {"correct", "scored", "wrong"}
    result = CliRunner().invoke(app, ["gate", str(tmp_path / "old"), str(tmp_path / "new"),
                                      "--margin", "0.2"])  # fmt: skip
    assert result.exit_code in (0, 3), result.output
    assert "persona_local_digits: " in result.output
