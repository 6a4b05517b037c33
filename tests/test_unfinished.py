"""Runs that were stopped before their results were written: what is stored is scored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench import load_persona_set, read_outcomes
from persona_bench.harness.backends.base import Backend
from persona_bench.harness.merge import MergeError, merge
from persona_bench.harness.run import RunError, run
from persona_bench.harness.store import RecordLog
from persona_bench.harness.unfinished import Unfinished, grade_unfinished
from persona_bench.persona_building import dump_persona_set
from persona_bench.personas import PersonaSetError
from persona_bench.results.samples import NoSamplesError, find_samples
from tests.support.chat_server import ChatServer
from tests.support.studies import N_QUESTIONS, server

PROMPTS = 6 * N_QUESTIONS
STOPPED = 41
SAMPLED = {"do_sample": True, "temperature": 0.8}


def ask(
    chat: ChatServer,
    folder: Path,
    at: int | None = None,
    gen_kwargs: dict[str, Any] | None = None,
    seed: int = 1234,
    task: str = "persona_arithmetic",
    **knobs: Any,
) -> None:
    """A run; with `at` it is stopped, as by Ctrl-C, after that many responses."""
    with pytest.MonkeyPatch.context() as patch:
        if at is not None:
            add, made = RecordLog.add, []

            def counted(self: RecordLog, record: Any) -> None:
                add(self, record)
                made.append(record)
                if len(made) == at:
                    raise KeyboardInterrupt

            patch.setattr(RecordLog, "add", counted)
        try:
            run(
                model="local-chat-completions",
                model_args={"model": "small", "base_url": chat.url, "num_concurrent": 1},
                tasks=[task],
                output_path=folder,
                metadata={"persona_set": "demo", "n_questions": N_QUESTIONS, **knobs},
                gen_kwargs=gen_kwargs,
                seed=seed,
                confirm_run_unsafe_code=True,
            )
        except KeyboardInterrupt:
            assert at is not None


def score(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "persona_bench", "score", folder.name, *more],
        cwd=folder.parent,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_stored_part_of_a_stopped_run_is_scored_and_marked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with server() as chat:
        ask(chat, out, at=STOPPED)
        assert not list(out.rglob("samples_*.jsonl"))
        asked = len(chat.requests)
        done = score(out)
        assert len(chat.requests) == asked  # no model
        assert done.returncode == 0, done.stderr
        words = f"unfinished run: {STOPPED} of {PROMPTS} responses are stored"
        assert f"persona_arithmetic of small is an {words}" in done.stderr
        assert f"Unfinished run: {STOPPED} of {PROMPTS} responses." in done.stdout
        assert "Conclusion: undetermined because the run is unfinished" in done.stdout
        assert f"early look at an unfinished run ({STOPPED} of {PROMPTS} responses" in done.stdout
        told = json.loads((out / "scores" / "persona_arithmetic_stability.json").read_text())
        assert told["p_value"]["value"] is None  # whoever looks early gets no p-value
        assert {row["p_value"] for row in told["contrasts"]["per_persona"]} == {None}
        recorded = {"stored": STOPPED, "asked": PROMPTS}
        assert told["provenance"]["run"]["task"]["unfinished"] == recorded
        assert f"is an unfinished run: {STOPPED} of" in (out / "scores/index.html").read_text()
        part = read_outcomes(out)
        assert len(part) == STOPPED

        ask(chat, out)  # to the end
    assert not (out / "store" / "unfinished").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of the part nothing is left
        whole = read_outcomes(out)
    assert len(whole) == PROMPTS
    keys = ["persona", "question", "sample"]
    both = part.merge(whole, on=keys, suffixes=("", "_whole"))
    assert len(both) == STOPPED
    for column in ("verdict", "reason", "response", "kind", "prompt_hash", "grader"):
        pd.testing.assert_series_equal(both[column], both[f"{column}_whole"], check_names=False)
    assert "unfinished" not in score(out, "--no-page").stderr


def test_scoring_again_counts_what_came_since(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path, at=10)
        (first,) = grade_unfinished(tmp_path)
        ask(chat, tmp_path, at=12)
        (second,) = grade_unfinished(tmp_path)
    assert (first.stored, second.stored) == (10, 22)
    assert first.asked == second.asked == PROMPTS
    assert [samples.file for samples in find_samples(tmp_path)] == [second.file]


def test_a_finished_run_counts_and_not_the_stopped_one_after_it(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path, n_questions=2)
        ask(chat, tmp_path, at=10)
    assert grade_unfinished(tmp_path) == []
    assert len(read_outcomes(tmp_path)) == 12


def test_a_stopped_run_whose_persona_set_has_changed_is_not_graded(tmp_path: Path) -> None:
    one = tmp_path / "mine.yaml"
    lines = dump_persona_set(load_persona_set("demo"))
    one.write_text(lines, encoding="utf-8")
    with server() as chat:
        ask(chat, tmp_path / "out", at=STOPPED, persona_set=str(one))
    kept = load_persona_set("demo")
    fewer = replace(kept, personas=tuple(p for p in kept if p.id != "mathematician"))
    one.write_text(dump_persona_set(fewer), encoding="utf-8")
    with pytest.raises(PersonaSetError, match="other prompts than its persona set has now"):
        grade_unfinished(tmp_path / "out")
    assert not list(tmp_path.rglob("samples_*.jsonl"))


@pytest.mark.parametrize(
    "other",
    [
        {"gen_kwargs": {"max_gen_toks": 33}},
        {"gen_kwargs": SAMPLED},
        {"gen_kwargs": SAMPLED, "seed": 7, "samples": 2},
        {"system_role": "merge"},
    ],
)
def test_responses_of_other_settings_are_not_taken(tmp_path: Path, other: Any) -> None:
    mine = {"gen_kwargs": {**SAMPLED}, "samples": 2} if "samples" in other else {}
    with server() as chat:
        chat.rates = dict.fromkeys([*chat.rates, ""], 0.7)
        chat.fault = lambda body, n: {
            "choices": [{"message": {"content": f"{n}"}, "finish_reason": "stop"}]
        }
        ask(chat, tmp_path, at=20, **other)
        shutil.rmtree(tmp_path / "store" / "unfinished")
        ask(chat, tmp_path, at=11, **mine)
    (found,) = grade_unfinished(tmp_path)
    taken = read_outcomes(tmp_path)
    if "system_role" in other:  # without a persona the prompt is the same in either role
        taken = taken[taken["persona"] != "none"]
    assert {int(text) for text in taken["response"]} <= set(range(20, 31))
    assert len(taken) >= 9
    assert "system_role" in other or found.stored == len(taken) == 11


def test_an_empty_store_is_reported(tmp_path: Path) -> None:
    with server() as chat, pytest.MonkeyPatch.context() as patch:

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(Backend, "generate", stop)
        ask(chat, tmp_path / "out", at=99)
    found = grade_unfinished(tmp_path / "out")
    assert found == [Unfinished("small", "persona_arithmetic", 0, PROMPTS, None)]
    done = score(tmp_path / "out")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"Error: out: none of the {PROMPTS} responses of the run is stored yet")
    assert line.endswith("start the same run again")


def test_a_store_without_a_note_says_what_to_do(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path, at=5)
    shutil.rmtree(tmp_path / "store" / "unfinished")
    with pytest.raises(NoSamplesError, match="responses are stored there, but no run's results"):
        read_outcomes(tmp_path)


def test_the_part_of_a_shard_is_not_merged(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path / "1", shard="1/2")
        ask(chat, tmp_path / "2", at=10, shard="2/2")
    grade_unfinished(tmp_path / "2")
    with pytest.raises(MergeError, match="shard 2/2 is missing"):
        merge([tmp_path / "1", tmp_path / "2"], tmp_path / "joined")
    with pytest.raises(MergeError, match="the run is unfinished"):
        merge([tmp_path / "2"], tmp_path / "joined")


def test_no_key_of_an_endpoint_is_noted(tmp_path: Path) -> None:
    header = {"Authorization": "Bearer not-to-be-written"}
    with server() as chat, pytest.MonkeyPatch.context() as patch:

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(Backend, "generate", stop)
        with pytest.raises(KeyboardInterrupt):
            run(
                model="local-chat-completions",
                model_args={"model": "small", "base_url": chat.url, "header": header},
                tasks=["persona_arithmetic"],
                output_path=tmp_path,
                metadata={"persona_set": "demo", "n_questions": 1},
            )
    (note,) = tmp_path.glob("store/unfinished/*.json")
    assert "not-to-be-written" not in note.read_text()


def test_programs_are_not_run_without_confirmation(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path, at=5)
    (note,) = tmp_path.glob("store/unfinished/*.json")
    about = json.loads(note.read_text())
    about["tasks"][0]["task"] = "persona_livecodebench"
    note.write_text(json.dumps(about))
    with pytest.raises(RunError, match="confirm_run_unsafe_code"):
        grade_unfinished(tmp_path)
