"""Ctrl-C: what is stored and how to go on, in a line or two, and exit code 130."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import persona_bench_autoload
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.judged_run import stored_run
from tests.support.studies import server, study_of
from tests.support.tiny_model import tiny_model

COUNTED = 72
KNOBS = '{"persona_set": "demo", "n_questions": 12}'


def interrupt(
    arguments: list[str], cwd: Path, when: Callable[[], bool], *, group: bool = True
) -> tuple[int, str]:
    """Sends Ctrl-C once it is time, to all processes as a terminal does; code and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "persona_bench", *arguments],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "400"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell starts background jobs with Ctrl-C ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not when():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it does not get on"
        time.sleep(0.01)
    if group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def stored(folder: Path) -> int:
    segments = folder.glob("store/generations/*/*.jsonl")
    return sum(max(segment.read_bytes().count(b"\n") - 1, 0) for segment in segments)


def lines(said: str) -> list[str]:
    """What stands there when all is over, without progress bars."""
    return [line for line in said.split("\n") if line.startswith(("Interrupted", "persona-bench"))]


@pytest.mark.parametrize("concurrent", [1, 8])
def test_a_run_against_an_endpoint(tmp_path: Path, concurrent: int) -> None:
    with server() as chat:
        chat.delay = 0.05
        arguments = f"model=small,base_url={chat.url},num_concurrent={concurrent}"
        command = ["run", "--model", "local-chat-completions", "--model-args", arguments]
        command += ["--tasks", "persona_arithmetic", "--metadata", KNOBS, "--output-path", "out"]
        code, said = interrupt(command, tmp_path, lambda: stored(tmp_path / "out") >= 10)
    assert code == 130, said
    assert "Traceback" not in said
    (first, second) = lines(said)
    kept = stored(tmp_path / "out")
    assert first == (
        f"Interrupted: {kept} of {COUNTED} responses are stored in out/store; the same command "
        "goes on from there"
    )
    assert second == "persona-bench score out scores what is there"


@pytest.mark.slow
@pytest.mark.parametrize("group", [True, False])
def test_a_study_of_several_models(tmp_path: Path, group: bool) -> None:
    with server() as chat:
        chat.delay = 0.05 if group else 1.0  # a process that is not sent the signal gets on
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study_of(chat)))
        code, said = interrupt(
            ["run", "study.yaml"], tmp_path, lambda: stored(tmp_path / "out") >= 10, group=group
        )
    assert code == 130, said
    assert "Traceback" not in said
    assert "Model 2 of 2" not in said
    (first, second) = lines(said)
    assert first.startswith(f"Interrupted: {stored(tmp_path / 'out')} of 72 responses are stored")
    assert second == "persona-bench score out scores what is there"


def test_a_model_that_runs_here(tmp_path: Path) -> None:
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
    model = tiny_model(tmp_path / "model", template)
    command = ["run", "--model", "hf", "--model-args", f"pretrained={model},dtype=float32"]
    command += ["--tasks", "persona_arithmetic", "--metadata", KNOBS, "--output-path", "out"]
    command += ["--batch-size", "2", "--gen-kwargs", "max_gen_toks=60", "--device", "cpu"]
    code, said = interrupt(command, tmp_path, lambda: stored(tmp_path / "out") >= 4)
    assert code == 130, said
    assert "Traceback" not in said
    kept = stored(tmp_path / "out")
    assert kept < COUNTED
    assert lines(said)[0].startswith(f"Interrupted: {kept} of {COUNTED} responses are stored")


def test_judging(tmp_path: Path) -> None:
    def verdicts() -> int:
        segments = out.glob("store/verdicts/*/*.jsonl")
        return sum(max(segment.read_bytes().count(b"\n") - 1, 0) for segment in segments)

    out = stored_run(tmp_path)
    with JudgeServer(lambda body, n: Reply(verdict(4), delay=0.05)) as judges:
        (tmp_path / "judge.yaml").write_text("models: [judge]\nexamples: false\n")
        command = ["judge", "out", "--judge", "judge.yaml", "--base-url", judges.url]
        command += ["--concurrency", "2"]
        code, said = interrupt(command, tmp_path, lambda: verdicts() >= 5)
    assert code == 130, said
    assert "Traceback" not in said
    (only,) = lines(said)
    assert only == (
        f"Interrupted: {verdicts()} verdicts are stored in out/store; the same command asks only "
        "for the others"
    )


def test_training_names_its_last_checkpoint(tmp_path: Path) -> None:
    from persona_bench.train.terminal import interrupted

    assert "Interrupted before the first checkpoint" in interrupted(tmp_path / "none")
    assert "starts again" in interrupted(tmp_path)
    rows = [{"teacher": {}}, {"question": "q"}, {"question": "r"}]
    (tmp_path / "teacher.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "2 responses of the teacher are stored" in interrupted(tmp_path)
    for step in (5, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-12").mkdir()  # half written: no run resumes from it
    words = f"Interrupted: {tmp_path}/checkpoint-10 is stored; the same command goes on from there"
    assert interrupted(tmp_path) == words


def test_ctrl_c_while_modules_are_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "persona_bench.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "persona_bench.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        persona_bench_autoload.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Interrupted before anything was begun\n"
