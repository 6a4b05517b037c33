"""persona_livecodebench from end to end: the real model through lm_eval, and known programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.livecodebench import configured
from persona_bench.harness.knobs import KnobError, Knobs, knobs_of
from persona_bench.harness.run import RunError, run
from tests.support.chat_server import ChatServer
from tests.support.sandbox import needs_sandbox

LmEval = Callable[..., subprocess.CompletedProcess[str]]

QUESTION = "2727"
RIGHT = (
    "class Solution:\n    def countSeniors(self, details: List[str]) -> int:\n"
    "        return sum(int(d[11:13]) > 60 for d in details)"
)


class Programmer(ChatServer):
    """Answers with a right program except under personas whose prompt it is told to hate."""

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        system = "".join(m["content"] for m in body["messages"] if m["role"] == "system")
        program = RIGHT if self.rates[system] else RIGHT.replace("> 60", "> 20")
        message = {"role": "assistant", "content": f"Arr!\n```python\n{program}\n```"}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def ask(chat: ChatServer, folder: Path, data_dir: Path, **more: Any) -> str:
    """One question (the first function of 2023-05-13) under the demo's personas."""
    knobs = {"persona_set": "demo", "data_dir": str(data_dir), "release": "v1"}
    knobs |= {"start_date": "2023-05-13", "end_date": "2023-05-13", "difficulty": "easy"}
    return run(
        model="local-chat-completions",
        model_args={"model": "small", "base_url": chat.url, "num_concurrent": 4},
        tasks=["persona_livecodebench"],
        output_path=folder / "out",
        metadata={**knobs, **more.pop("metadata", {})},
        **{"confirm_run_unsafe_code": True, **more},
    )


@pytest.fixture
def chat(data_dir: Path) -> Any:
    rates = {p.prompt: float(p.id != "pirate") for p in load_persona_set("demo")}
    with Programmer(rates, {}) as server:
        yield server


def of_the_question(folder: Path) -> Any:
    outcomes = read_outcomes(folder / "out")
    return outcomes[outcomes["question"] == QUESTION].set_index("persona")


@needs_sandbox
def test_known_programs_score_as_they_should(chat: Any, tmp_path: Path, data_dir: Path) -> None:
    ask(chat, tmp_path, data_dir, limit=None)
    rows = of_the_question(tmp_path)
    assert set(rows["subject"]) == {"leetcode"}
    assert set(rows["level"]) == {"easy"}
    assert set(rows["date"]) == {"2023-05-13"}
    assert rows.loc["pirate", "verdict"] == "wrong"
    assert set(rows.drop("pirate")["verdict"]) == {"correct"}
    (file,) = tmp_path.glob("out/*/results_*.json")
    record = json.loads(file.read_text())["configs"]["persona_livecodebench"]["metadata"]
    assert record["persona_bench"]["sandbox"] == "bubblewrap"
    assert set(record["persona_bench"]["tests"]) <= {"public", "extra"}
    assert record["persona_bench"]["release"] == "v1"
    (samples,) = tmp_path.glob("out/*/samples_*.jsonl")
    doc = json.loads(samples.read_text().splitlines()[0])["doc"]
    assert doc["answer"].startswith(doc["question"] + "#")  # a reference, not the tests
    done = subprocess.run(
        [sys.executable, "-m", "persona_bench.cli", "score", "out", "--by", "level", "--no-page"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "persona_livecodebench-easy" in done.stdout
    assert "not its pass@1" in done.stdout


def test_without_a_sandbox_all_is_unscored_and_says_how_to_mend_it(
    chat: Any, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    ask(chat, tmp_path, data_dir)
    rows = of_the_question(tmp_path)
    assert set(rows["reason"]) == {"no_sandbox"}
    monkeypatch.undo()
    done = subprocess.run(
        [sys.executable, "-m", "persona_bench.cli", "score", "out", "--no-page"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "install bubblewrap" in done.stdout


def test_without_a_sandbox_it_runs_where_that_is_asked_for_and_recorded(
    chat: Any, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    ask(chat, tmp_path, data_dir, metadata={"unsafe_no_sandbox": True})
    assert of_the_question(tmp_path).loc["none", "verdict"] == "correct"
    (file,) = tmp_path.glob("out/*/results_*.json")
    record = json.loads(file.read_text())["configs"]["persona_livecodebench"]["metadata"]
    assert record["persona_bench"]["unsafe_no_sandbox"] is True
    assert record["persona_bench"]["sandbox"] == "none"


def test_running_programs_needs_confirmation(chat: Any, tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(RunError, match="--confirm_run_unsafe_code"):
        ask(chat, tmp_path, data_dir, confirm_run_unsafe_code=False)
    assert chat.requests == []


def test_other_tasks_refuse_its_knobs() -> None:
    with pytest.raises(KnobError, match="'release' is a knob of persona_livecodebench alone"):
        knobs_of({"release": "v1"}, "math500")
    with pytest.raises(KnobError, match="release: 'v9' is not a release"):
        knobs_of({"release": "v9"}, "livecodebench")
    with pytest.raises(KnobError, match="did you mean 'difficulty'"):
        knobs_of({"dificulty": "easy"}, "livecodebench")
    knobs, benchmark = knobs_of({"release": "v1", "difficulty": "easy+hard"}, "livecodebench")
    assert knobs.own == {"release": "v1", "difficulty": ("easy", "hard")}
    assert knobs.record()["difficulty"] == ("easy", "hard")
    assert benchmark is configured(None, knobs.own)
    assert knobs_of({"pretrained": "x"}, "math500")[0] == Knobs()


@needs_sandbox
def test_the_real_model_through_lm_eval(
    lm_eval: LmEval, smollm2: Path, data_dir: Path, tmp_path: Path
) -> None:
    knobs = {"persona_set": "demo", "release": "v1", "data_dir": str(data_dir)}
    arguments = ["--model", "hf", "--model_args", f"pretrained={smollm2},dtype=float32"]
    arguments += ["--tasks", "persona_livecodebench", "--apply_chat_template", "--limit", "6"]
    arguments += ["--metadata", json.dumps(knobs), "--gen_kwargs", "max_gen_toks=32"]
    arguments += ["--batch_size", "6", "--log_samples", "--output_path", "out"]
    done = lm_eval(*arguments, "--confirm_run_unsafe_code", cwd=tmp_path)
    assert "noise_floor" in done.stdout
    rows = read_outcomes(tmp_path / "out")
    assert len(rows) == 6
    assert set(rows["verdict"]) <= {"correct", "wrong"}
    assert set(rows["subject"]) == {"codeforces"}
