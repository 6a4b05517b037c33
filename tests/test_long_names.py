"""Names that are too long for a file system."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from persona_bench import read_outcomes
from persona_bench.commands.score import score_folder
from persona_bench.harness.run import Asked, load_tasks, run
from persona_bench.report.names import file_stem
from persona_bench.report.places import Places
from persona_bench.texts import short_name
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.judged_run import judge, settings, stored_run
from tests.support.studies import N_QUESTIONS, server

LONG = "experiments/" + "a-very-long-run-name/" * 15 + "checkpoint-{}"
ARABIC = "نموذج" * 60


@pytest.mark.parametrize("most", [40, 100, 200])
@pytest.mark.parametrize(
    "name", ["a" * 1000, "n" + "é" * 300, ARABIC, "😀" * 200, "_" * 400, "half \ud83d" * 90]
)
def test_long_names_are_cut_to_bytes_and_stay_apart(name: str, most: int) -> None:
    short = short_name(name, most)
    assert 8 <= len(short.encode()) <= most
    assert short == short_name(name, most)
    assert short != short_name(f"{name}b", most)
    assert short != short_name(f"b{name}", most)
    assert short_name(short, most) == short


def test_short_names_stay_as_they_are() -> None:
    for name in ("small", "org__model-7B", "_x", "a" * 200):
        assert short_name(name) == name
    assert file_stem("org/model 7B") == "org_model_7B"
    assert file_stem("a" * 300) != file_stem("a" * 301)


@pytest.mark.parametrize("name", [LONG.format(100), ARABIC])
def test_a_run_of_a_model_with_a_long_name_is_written_and_scored(tmp_path: Path, name: str) -> None:
    with server() as chat:
        for model in (name, f"{name}0"):
            run(
                model="local-chat-completions",
                model_args={"model": model, "base_url": chat.url, "num_concurrent": 8},
                tasks=["persona_arithmetic"],
                output_path=tmp_path,
                metadata={"persona_set": "demo", "n_questions": N_QUESTIONS},
            )
    outcomes = read_outcomes(tmp_path)
    assert set(outcomes["model"]) == {name, f"{name}0"}
    assert len(outcomes) == 2 * 6 * N_QUESTIONS
    folders = {file.parent for file in tmp_path.rglob("samples_*.jsonl")}
    assert len(folders) == 2
    score_folder(tmp_path, tmp_path / "scores", page=False)
    assert len(list((tmp_path / "scores").glob("*/*_stability.json"))) == 2


def test_several_models_with_long_names_have_folders_of_their_own(tmp_path: Path) -> None:
    names = [LONG.format(n) for n in range(3)]
    folders = {Places(tmp_path, names).of(name) for name in names}
    assert len(folders) == 3
    for folder in folders:
        folder.mkdir()


def test_a_judge_with_a_long_name(tmp_path: Path) -> None:
    out = stored_run(tmp_path)
    with JudgeServer(lambda body, n: Reply(verdict(4)), models=(ARABIC,)) as judges:
        found = judge(out, settings(judges.url, ARABIC), examples=False)
    assert found.verdicts[0].file.is_file()


def test_plain_lm_eval_is_warned_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    for name, warned in (("short", False), (LONG.format(1), True)):
        caplog.clear()
        asked = Asked("persona_arithmetic", {"persona_set": "demo", "n_questions": 1})
        (task,) = load_tasks([asked], {"pretrained": name})
        with caplog.at_level(logging.WARNING, logger="persona_bench"):
            task.build_all_requests(limit=6, rank=0, world_size=1)
        assert ("its results would be lost" in caplog.text) == warned
