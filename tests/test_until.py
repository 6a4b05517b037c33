"""Runs that stop when they know: looks, resuming, the gate, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.cli import app
from persona_bench.harness.run import RunError
from persona_bench.harness.store import RecordLog
from persona_bench.results.samples import find_samples
from tests.support.chat_server import ChatServer
from tests.support.studies import study_of, written

PERSONAS = list(load_persona_set("demo"))
QUESTIONS = BENCHMARK.load(None, 0)
ALL = ("--metadata", "{}")
HARMFUL = next(p.prompt for p in PERSONAS if p.kind == "harmful")


def server(rate: float = 0.8, harmful: float | None = None) -> ChatServer:
    rates = {p.prompt: rate for p in PERSONAS}
    rates[HARMFUL] = rate if harmful is None else harmful
    return ChatServer(rates, {BENCHMARK.prompt(q.problem): q.answer for q in QUESTIONS})


def command(
    chat: ChatServer, out: Path, *more: str, questions: int = 200, name: str = "small"
) -> list[str]:
    return [
        "run", "--model", "local-chat-completions", "--tasks", "persona_arithmetic",
        "--model-args", f"model={name},base_url={chat.url},num_concurrent=8",
        "--metadata", json.dumps({"persona_set": "demo", "n_questions": questions}),
        "--output-path", str(out), *more,
    ]  # fmt: skip


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def record(out: Path) -> dict[str, Any]:
    (samples,) = find_samples(out)  # earlier looks leave nothing behind
    found: dict[str, Any] = samples.facts["until"]
    return found


@contextmanager
def killed_at(responses: int) -> Iterator[None]:
    """Stops the run, as by Ctrl-C, once so many more responses are stored."""
    add, made = RecordLog.add, []

    def counted(self: RecordLog, response: Any) -> None:
        add(self, response)
        made.append(response)
        if len(made) == responses:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordLog, "add", counted)
        yield


def test_a_harmful_persona_is_found_at_the_first_look(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with server(harmful=0.05) as chat:
        done = invoke(*command(chat, out, "--until", "decided"))
        assert done.exit_code == 0, done.output
        assert len(chat.requests) == 600
        assert "look 1 of at most 3: 100 of 200 questions" in done.stderr
        assert "unstable; stopped, 50% of the responses saved" in done.stderr
        first = record(out)
        assert invoke(*command(chat, out, "--until", "decided")).exit_code == 0
        assert len(chat.requests) == 600  # the same decision at no cost
    assert first == record(out)
    assert first["looks"] == [100]
    assert first["planned"] == [100, 140, 200]
    assert first["decision"] == "unstable"
    assert (first["responses"], first["responses_of_all"]) == (600, 1200)
    asked = set(read_outcomes(out)["question"])
    assert asked != {q.id for q in QUESTIONS[:100]}  # a random choice
    scored = invoke("score", str(out), "--json", "--no-page")
    (told,) = json.loads(scored.stdout)
    assert told["until"] == first
    assert told["conclusion"] == "unstable"
    assert told["p_value"]["value"] is None
    text = invoke("score", str(out), "--no-page").stdout
    assert "Stopped early (unstable): look 1 of at most 3" in text
    assert "600 of 1,200 responses asked, 50% saved" in " ".join(text.split())


def test_a_killed_run_goes_on_to_the_cap_and_asks_nothing_twice(tmp_path: Path) -> None:
    def run(chat: ChatServer) -> Result:
        return invoke(*command(chat, tmp_path / "out", "--until", "decided", questions=150))

    with server() as chat:
        with killed_at(105 * 6 + 20):
            assert run(chat).exit_code != 0
        between = record(tmp_path / "out")
        assert (between["looks"], between["decision"], between["over"]) == ([105], None, False)
        text = invoke("score", str(tmp_path / "out"), "--no-page").stdout
        assert "Not decided yet: look 1 of at most 2, after 105 of 150 questions" in text
        assert "UNDETERMINED" in text
        sent = len(chat.requests)
        done = run(chat)
        assert done.exit_code == 0, done.output
        assert sent < 900
        assert 900 <= len(chat.requests) <= 900 + 8  # 8 were in flight when it was killed
    assert "look 2 of at most 2: 150 of 150 questions" in done.stderr
    assert "undetermined; stopped at the cap without a decision" in done.stderr
    end = record(tmp_path / "out")
    assert end["looks"] == [105, 150]
    assert (end["decision"], end["over"], end["responses"]) == (None, True, 900)
    assert len(read_outcomes(tmp_path / "out")) == 900


@pytest.mark.slow
def test_the_gate_stops_the_run_and_gives_its_exit_code(tmp_path: Path) -> None:
    base, new = tmp_path / "base", tmp_path / "new"
    against = ("--until", "decided", "--against", str(base))
    with server() as chat:
        assert invoke(*command(chat, base, questions=180)).exit_code == 0
    with server(rate=0.3) as chat:
        worse = invoke(*command(chat, new, *against, name="worse"))
        assert worse.exit_code == 1, worse.output
        assert len(chat.requests) == 126 * 6
    assert "FAIL" in worse.stdout
    assert record(new)["decision"] == "fail"
    assert record(new)["planned"] == [126, 180]  # what the base has is the cap
    assert record(new)["against"] == str(base)
    again = invoke("gate", str(base), str(new))
    assert again.exit_code == 1
    assert "126 questions" in again.stdout
    assert worse.stdout.strip().endswith(again.stdout.strip())  # after the scores
    with server() as chat:
        wide = ("--margin", "0.3", "--margin", "persona=0.6", "--margin", "pss=0.7")
        same = invoke(*command(chat, tmp_path / "same", *against, *wide, questions=50, name="same"))
        assert same.exit_code == 0, same.output
        assert "PASS" in same.stdout
        strict = invoke(*command(chat, tmp_path / "few", *against, questions=30, name="few"))
        assert strict.exit_code == 3
        assert "can't tell; stopped at the cap without a decision" in strict.stderr


def test_every_model_of_a_study_stops_by_itself(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with server(harmful=0.05) as chat:
        tasks = {"metadata": {"persona_set": "demo", "n_questions": 200}}
        file = written(tmp_path, study_of(chat, **tasks))
        done = invoke("run", str(file), "--until", "decided", "--only", "a")
        assert done.exit_code == 0, done.output
        assert len(chat.requests) == 600
    assert record(tmp_path / "out" / "a")["decision"] == "unstable"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--until", "sure"], "there is only --until decided"),
        (["--until", "decided", "--limit", "60"], "leave out --limit"),
        (["--until", "decided", "--shard", "1/2"], "leave out --shard"),
        (["--against", "base"], "--against needs --until decided"),
        (["--until", "decided", "--tasks", "persona_roleplay", *ALL], "persona_roleplay is judged"),
        (["--until", "decided", "--metadata", '{"design": {"share": 0.5}}'], "leave out design"),
    ],
)
def test_undecidable_tasks_are_refused_before_any_request(
    tmp_path: Path, more: list[str], words: str
) -> None:
    with server() as chat:
        done = invoke(*command(chat, tmp_path, *more))
        assert not chat.requests
    assert isinstance(done.exception, RunError), done.output
    assert words in str(done.exception)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("persona,question,correct\nnone,q,1\n", "its personas differ"),
        ("\n".join(["persona,question,correct", *(f"{p.id},q,1" for p in PERSONAS)]), "other que"),
    ],
)
def test_a_base_of_another_kind_is_refused(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "base.csv").write_text(rows)
    against = ("--until", "decided", "--against", str(tmp_path / "base.csv"))
    with server() as chat:
        done = invoke(*command(chat, tmp_path / "out", *against))
        assert not chat.requests
    assert isinstance(done.exception, RunError), done.output
    assert words in str(done.exception)
