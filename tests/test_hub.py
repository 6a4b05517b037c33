"""Datasets of the hub: the real client against a server that speaks the hub's protocol."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench.hub import HubError, renamed
from persona_bench.results.samples import find_samples
from tests.support.hub_server import HubServer
from tests.support.tiny_model import tiny_model
from tests.test_rendering import CHATML

OLD, NEW = "a" * 40, "b" * 40
CARD = b"""---
configs:
- config_name: main
  data_files: main/*.parquet
- config_name: other
  data_files: other/*.parquet
---
"""
SCRIPT = """
import json, sys, time
from persona_bench.hub import HubError, hub_rows
time.sleep = lambda _: None  # the client waits half a minute between its tries
for given in json.loads(sys.argv[1]):
    try:
        rows, commit = hub_rows(**given)
        print(json.dumps([commit, rows]))
    except HubError as error:
        print(json.dumps(["error", str(error)]))
"""


def jsonl(*rows: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(**columns: list[Any]) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    files = {
        ("org/sums", OLD, "train.jsonl"): jsonl({"problem": "1 + 1?", "n": 2}),
        ("org/sums", NEW, "train.jsonl"): jsonl(*({"problem": f"{n}?", "n": n} for n in range(3))),
        ("org/sums", NEW, "test.jsonl"): jsonl({"problem": "Why?", "n": 0}),
        ("org/two", NEW, "README.md"): CARD,
        ("org/two", NEW, "main/train.parquet"): parquet(problem=["Main?"], answer=["1"]),
        ("org/two", NEW, "other/train.parquet"): parquet(problem=["Other?"], answer=["2"]),
        ("org/gated", NEW, "train.jsonl"): jsonl({"problem": "Secret?"}),
    }
    branches = {(name, "main"): NEW for name in ("org/sums", "org/two", "org/gated")}
    with HubServer(files, branches, gated={"org/gated"}) as server:
        yield server


def ask(hub: HubServer, cache: Path, *given: Mapping[str, Any], **variables: str) -> list[Any]:
    """What `hub_rows` returns in a fresh process: commit and rows, or `error` and its words."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PERSONA_"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(given)],
        env=environment | variables,
        cwd=cache,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_rows_come_with_the_commit_they_are_from_and_then_from_the_cache(
    hub: HubServer, tmp_path: Path
) -> None:
    newest, old, test, sliced, main, named = ask(
        hub,
        tmp_path,
        {"name": "hub:org/sums"},
        {"name": "org/sums", "revision": OLD},
        {"name": "org/sums", "split": "test"},
        {"name": "org/sums", "split": "train[:2]"},
        {"name": "org/two", "config": "main"},
        {"name": "org/two", "config": "other", "columns": {"question": "problem"}},
    )
    assert newest == [NEW, [{"problem": f"{n}?", "n": n} for n in range(3)]]
    assert old == [OLD, [{"problem": "1 + 1?", "n": 2}]]
    assert test == [NEW, [{"problem": "Why?", "n": 0}]]
    assert sliced == [NEW, newest[1][:2]]
    assert main == [NEW, [{"problem": "Main?", "answer": "1"}]]
    assert named == [NEW, [{"problem": "Other?", "answer": "2", "question": "Other?"}]]
    asked = len(hub.asked)
    cached, other = ask(
        hub,
        tmp_path,
        {"name": "org/two", "config": "main"},
        {"name": "org/two", "config": "main", "revision": OLD},
        HF_HUB_OFFLINE="1",
    )
    assert len(hub.asked) == asked
    assert cached == main
    assert other[0] == "error"
    assert f"the cache holds another commit ({NEW[:12]})" in other[1]


def test_unreachable_hub_files_raise_one_sentence_with_a_remedy(
    hub: HubServer, tmp_path: Path
) -> None:
    cases = [
        ({"name": "org/none"}, "hub:org/none: there is no such dataset, or it is private"),
        ({"name": "org/gated"}, "the dataset is gated: accept its terms on its page"),
        ({"name": "org/sums", "revision": "v9"}, "hub:org/sums at v9: there is no such revision"),
        (
            {"name": "org/sums", "split": "dev"},
            "no split 'dev': Should be one of ['train', 'test']",
        ),
        ({"name": "org/two"}, "pick one among the available configs: ['main', 'other']"),
        ({"name": "org/two", "config": "x"}, "'x' not found. Available: ['main', 'other']"),
        (
            {"name": "org/sums", "columns": {"question": "q"}},
            "hub:org/sums has no column 'q': it has problem, n",
        ),
        ({"name": "hub:a/b/c"}, "hub:a/b/c names no dataset: write hub:ORG/NAME"),
    ]
    answers = ask(hub, tmp_path, *(given for given, _ in cases))
    for (given, words), (kind, message) in zip(cases, answers, strict=True):
        assert kind == "error", given
        assert words in message
    (tmp_path / "org" / "sums").mkdir(parents=True)
    (tmp_path / "org" / "sums" / "train.jsonl").write_bytes(jsonl({"problem": "Mine?"}))
    [[kind, message]] = ask(hub, tmp_path, {"name": "org/sums"})
    assert (kind, "a folder org/sums is here" in message) == ("error", True)


def test_without_a_network_the_way_out_is_named(tmp_path: Path) -> None:
    with HubServer({}) as hub:
        pass  # nobody listens there any more
    [[kind, message]] = ask(hub, tmp_path, {"name": "org/sums"})
    assert kind == "error"
    assert "the hub can't be reached and the dataset is not in the cache" in message


def test_columns_are_exchanged_and_replaced() -> None:
    rows = [{"question": "1", "answer": "Why?", "x": None}]
    names = {"question": "answer", "answer": "question", "id": "question"}
    assert renamed(rows, names, "here") == [
        {"question": "Why?", "answer": "1", "id": "1", "x": None}
    ]
    with pytest.raises(HubError, match="here has no column 'y': it has question, answer, x"):
        renamed(rows, {"id": "y"}, "here")


RUN = """
import json, sys
from typer.testing import CliRunner
from persona_bench.cli import app
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, command)
    print(json.dumps([done.exit_code, " ".join((done.output + str(done.exception)).split())]))
"""


def run_hub(hub: HubServer, folder: Path, *asked: tuple[str, Mapping[str, Any]]) -> list[Any]:
    """Exit code and words of `persona-bench run` on a tiny model, one after the other; those with
    the knob `dry` ask nothing."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PERSONA_"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder), "HF_HUB_DISABLE_XET": "1"}
    commands = []
    for task, given in asked:
        knobs = {"persona_set": "demo", **given}
        dry = ["--dry-run"] if knobs.pop("dry", False) else []
        model = f"pretrained={folder / 'tiny'},dtype=float32,revision=main"
        commands.append([
            "run", "--model-args", model, "--tasks", task, "--metadata", json.dumps(knobs),
            "--gen-kwargs", "max_gen_toks=4", "--device", "cpu", "--output-path", "out", *dry,
        ])  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)], env=environment, cwd=folder,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dataset_of_the_hub_is_asked_under_personas(tmp_path: Path) -> None:
    rows = [{"problem": f"What is {n} + 1?", "answer": n + 1, "level": "easy"} for n in range(3)]
    fruit = {"question": "Which is a fruit?", "choices": ["stone", "pear"], "answer": 1}
    files = {
        ("org/sums", OLD, "train.jsonl"): jsonl({**rows[0], "problem": "Old?"}),
        ("org/sums", NEW, "train.jsonl"): jsonl(*rows),
        ("org/fruit", NEW, "test.jsonl"): jsonl(fruit),
    }
    branches = {("org/sums", "main"): NEW, ("org/fruit", "main"): NEW}
    tiny_model(tmp_path / "tiny", CHATML)
    named = {"split": "train", "question": "problem"}
    with HubServer(files, branches) as server:
        lacking, no_split, no_grader, programs, old, sums, one = run_hub(
            server,
            tmp_path,
            ("hub:org/sums", {"split": "train", "dry": True}),
            ("hub:org/sums", {"question": "problem", "dry": True}),
            ("hub:org/sums", {"grader": "luck", "dry": True}),
            ("hub:org/sums", {**named, "grader": "python", "dry": True}),
            ("hub:org/sums", {**named, "revision": OLD, "dry": True}),
            ("hub:org/sums", {**named, "n_questions": 2}),
            ("hub:org/fruit", {}),
        )
    assert lacking[0] == no_split[0] == no_grader[0] == programs[0] == 1
    assert "no column 'question': name it in --metadata, as {" in lacking[1]
    assert "it has problem, answer, level" in lacking[1]
    assert "there is no split 'test': Should be one of ['train']" in no_split[1]
    assert "grader: there is no grader 'luck': use maths" in no_grader[1]
    assert "add --confirm_run_unsafe_code" in programs[1]
    assert old[0] == 0
    assert "persona_org_sums 6 0 6" in old[1]  # the model's revision is not the dataset's
    assert (sums[0], one[0]) == (0, 0), (sums, one)
    found = {each.task: each for each in find_samples(tmp_path / "out")}
    facts: Mapping[str, Any] = found["persona_org_sums"].facts
    assert (facts["hub_dataset"], facts["hub_commit"]) == ("hub:org/sums", NEW)
    docs = [record["doc"] for record in found["persona_org_sums"].records()]
    assert len(docs) == 12
    asked = {(doc["question"], doc["answer"], doc["level"]) for doc in docs}
    assert asked < {(str(n), str(n + 1), "easy") for n in range(3)}
    answers = {record["doc"]["answer"] for record in found["persona_org_fruit"].records()}
    assert answers == {"choice: B. pear"}
