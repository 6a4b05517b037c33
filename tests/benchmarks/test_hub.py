"""Benchmark files from the hub: a real client against a server that speaks its protocol."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from persona_bench.benchmarks import aime24, math500
from persona_bench.benchmarks.sources import HubFile
from tests.support.hub_server import HubServer

NO_WAITING = "import time; time.sleep = lambda _: None\n"
"""The client tries five times more, and waits 24 s in all between."""


def load(
    benchmark: str, url: str, cache: Path, before: str = "", **variables: str
) -> tuple[int, str]:
    """The number of questions that a fresh process loads, and what it wrote to stderr."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PERSONA_"))}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    code = f"{before}from persona_bench.benchmarks.{benchmark} import load; print(len(load(None)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return (int(done.stdout) if done.returncode == 0 else 0), done.stderr


def key(file: HubFile) -> tuple[str, str, str]:
    return file.repo_id, file.revision, file.filename


def test_the_pinned_revision_is_fetched_once_and_then_read_offline(
    data_dir: Path, tmp_path: Path
) -> None:
    content = (data_dir / math500.FILE.mirror).read_bytes()
    with HubServer({key(math500.FILE): content}) as hub:
        assert load("math500", hub.url, tmp_path) == (500, "")
        assert hub.asked
        assert all(math500.FILE.revision in path for path in hub.asked)
        fetched = len(hub.asked)
        assert load("math500", hub.url, tmp_path) == (500, "")
        assert len(hub.asked) == fetched  # a pinned revision can't change: nothing to ask
    assert load("math500", hub.url, tmp_path, HF_HUB_OFFLINE="1") == (500, "")


def test_a_changed_file_is_refused_by_its_checksum(data_dir: Path, tmp_path: Path) -> None:
    content = (data_dir / math500.FILE.mirror).read_bytes()
    with HubServer({key(math500.FILE): content.replace(b"36", b"63", 1)}) as hub:
        count, stderr = load("math500", hub.url, tmp_path)
    assert count == 0
    assert "not the pinned" in stderr
    assert math500.FILE.sha256[:16] in stderr


def test_a_missing_file_says_what_to_put_where(tmp_path: Path) -> None:
    with HubServer({}) as hub:
        count, stderr = load("math500", hub.url, tmp_path)
    assert count == 0
    assert "<folder>/math500/test.jsonl" in stderr


def test_no_network_says_what_to_put_where(tmp_path: Path) -> None:
    with HubServer({}) as hub:
        url = hub.url  # and nobody listens there any more
    count, stderr = load("aime24", url, tmp_path, NO_WAITING)
    assert count == 0
    assert "<folder>/aime24/aime24.jsonl" in stderr
    assert "PERSONA_BENCH_DATA" in stderr


def test_the_mirror_goes_before_the_hub(data_dir: Path, tmp_path: Path) -> None:
    with HubServer({}) as hub:
        found = load("math500", hub.url, tmp_path, PERSONA_BENCH_DATA=str(data_dir))
    assert found == (500, "")
    assert hub.asked == []


def test_aime_from_the_hub_s_parquet_equals_the_mirror_s(data_dir: Path, tmp_path: Path) -> None:
    """The hub's copy has other ids and pads its answers with zeros."""
    rows = pd.read_json(data_dir / aime24.FILE.mirror, lines=True, dtype=False)
    hub_rows = pd.DataFrame(
        {
            "id": range(60, 90),
            "problem": rows["problem"],
            "solution": rows["solution"],
            "answer": [f"{int(a):03d}" for a in rows["answer"]],
            "url": rows["url"],
            "year": "2024",
        }
    )
    buffer = io.BytesIO()
    hub_rows.sample(frac=1, random_state=0).to_parquet(buffer)
    with HubServer({key(aime24.FILE): buffer.getvalue()}) as hub:
        assert load("aime24", hub.url, tmp_path) == (30, "")
    # as the error message says: the hub's file under the mirror's name
    (tmp_path / "aime24").mkdir()
    (tmp_path / aime24.FILE.mirror).write_bytes(buffer.getvalue())
    mirror = aime24.load(data_dir)
    assert [q.id for q in mirror[:2]] == ["2024-I-1", "2024-I-2"]
    assert aime24.load(tmp_path) == mirror


def test_aime_refuses_what_is_not_its_thirty_problems(data_dir: Path, tmp_path: Path) -> None:
    lines = (data_dir / aime24.FILE.mirror).read_text().splitlines(keepends=True)
    (tmp_path / "aime24").mkdir()
    target = tmp_path / aime24.FILE.mirror
    for text, words in [
        ("".join(lines[:29]), "29 rows, not the 30 problems"),
        ("".join([*lines[:29], lines[0]]), "30 rows, not the 30 problems"),
        ("".join(lines).replace("2024_AIME_I_", "2023_AIME_I_", 1), "not a problem of AIME 2024"),
    ]:
        target.write_text(text)
        with pytest.raises(RuntimeError, match=words):
            aime24.load(tmp_path)
