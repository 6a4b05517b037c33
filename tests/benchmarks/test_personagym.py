"""PersonaGym: its real files in full, and its folder from a server of archives."""

from __future__ import annotations

import io
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from persona_bench.benchmarks import personagym
from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.benchmarks.sources import SourceError
from persona_bench.harness.knobs import KnobError
from persona_bench.harness.tasks import load

FOLDER = personagym.FOLDER


def test_the_whole_benchmark(data_dir: Path) -> None:
    personas = personagym.personas(data_dir)
    questions = personagym.load(data_dir)
    assert len(personas) == len({p.id for p in personas}) == 200
    assert len(questions) == len({q.id for q in questions}) == 10_000
    assert Counter(q.subject for q in questions) == dict.fromkeys(EVAL_TASKS, 2000)
    assert set(Counter(q.persona for q in questions).values()) == {50}
    assert FOLDER.digest(data_dir / FOLDER.mirror) == FOLDER.sha256


def test_the_system_message_is_personagyms(data_dir: Path) -> None:
    who = "A 19-year-old farmer from New York who is a fitness freak"
    persona = next(p for p in personagym.personas(data_dir) if who in p.prompt)
    assert persona.prompt == (
        f"Adopt the identity of {who}. Answer the questions while staying in strict accordance "
        "with the nature of this identity."
    )
    assert personagym.description(persona.prompt) == who
    document = load(benchmark="personagym", data_dir=str(data_dir))["test"][0]
    assert document["system"] == document["persona_prompt"]
    assert document["question"].startswith(document["persona"])


def test_every_question_is_asked_of_its_own_persona_alone(data_dir: Path) -> None:
    knobs = {"n_personas": 7, "questions_per_task": 3, "eval_tasks": "toxicity+expected_action"}
    rows = load(benchmark="personagym", data_dir=str(data_dir), **knobs)["test"]
    assert len(rows) == 7 * 3 * 2
    assert len(set(rows["persona"])) == 7
    assert set(rows["subject"]) == {"Toxicity", "Expected Action"}
    assert all(row["question"].startswith(f"{row['persona']}/") for row in rows)
    again = load(benchmark="personagym", data_dir=str(data_dir), **knobs)["test"]
    assert again["question"] == rows["question"]
    other = load(benchmark="personagym", data_dir=str(data_dir), **knobs, persona_seed=1)["test"]
    assert set(other["persona"]) != set(rows["persona"])


def test_a_number_of_questions_is_spread_over_the_tasks(data_dir: Path) -> None:
    rows = load(benchmark="personagym", data_dir=str(data_dir), n_personas=20, n_questions=50)
    assert Counter(rows["test"]["subject"]) == dict.fromkeys(EVAL_TASKS, 10)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"eval_tasks": "Toxicity,Kindness"}, "eval_tasks: .*use some of Expected Action"),
        ({"questions_per_task": 11}, "questions_per_task: 11 must be a whole number from 1 to 10"),
        ({"questions_per_task": 0}, "from 1 to 10"),
        ({"eval_task": "Toxicity"}, "did you mean 'eval_tasks'"),
    ],
)
def test_impossible_knobs(knobs: dict[str, object], words: str, data_dir: Path) -> None:
    with pytest.raises(KnobError, match=words):
        load(benchmark="personagym", data_dir=str(data_dir), **knobs)


# ------------------------------------------------------------------------------ from a server


@contextmanager
def archives(content: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server of one archive; its address and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def packed(folder: Path, changed: str = "", extra: tuple[str, bytes] | None = None) -> bytes:
    """The benchmark's files as its host packs them, with more that nobody asked for."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for file in [*FOLDER.files(folder), folder / "LICENSE"]:
            name = file.relative_to(folder).as_posix()
            data = file.read_bytes() + (b" " if name == changed else b"")
            add(archive, f"PersonaGym-{FOLDER.commit}/{name}", data)
        if extra:
            add(archive, *extra)
    return buffer.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no mirror."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PERSONA_BENCH_DATA", raising=False)
    return tmp_path


def test_the_pinned_commit_is_fetched_once(
    data_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archives(packed(data_dir / "personagym")) as (url, asked):
        monkeypatch.setenv("PERSONA_BENCH_GITHUB", url)
        assert len(personagym.load(None)) == 10_000
        assert set(personagym.rubrics(None).rubrics) == set(EVAL_TASKS)
    assert asked == [f"/vsamuel2003/PersonaGym/tar.gz/{FOLDER.commit}"]
    assert not list(home.rglob("LICENSE"))  # only what is wanted was unpacked
    monkeypatch.setenv("PERSONA_BENCH_GITHUB", "http://127.0.0.1:9")
    assert len(personagym.load(None)) == 10_000


def test_a_changed_file_is_refused(
    data_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archives(packed(data_dir / "personagym", changed="rubrics/Toxicity.txt")) as (url, _):
        monkeypatch.setenv("PERSONA_BENCH_GITHUB", url)
        with pytest.raises(SourceError, match=f"not the pinned {FOLDER.sha256[:16]}"):
            personagym.load(None)
    assert not list(home.rglob("*.json"))


def test_an_archive_cannot_write_elsewhere(
    data_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = ("x/../../../../../rubrics/evil.txt", b"evil")
    with archives(packed(data_dir / "personagym", extra=evil)) as (url, _):
        monkeypatch.setenv("PERSONA_BENCH_GITHUB", url)
        with pytest.raises(SourceError):
            personagym.load(None)
    assert not list(home.parent.rglob("evil.txt"))


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_no_archive_says_what_to_put_where(
    content: bytes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with archives(content) as (url, _):
        monkeypatch.setenv("PERSONA_BENCH_GITHUB", url)
        with pytest.raises(SourceError, match=r"clone vsamuel2003/PersonaGym at 536f705e6102 into"):
            personagym.load(None)


def test_a_damaged_mirror_is_refused(data_dir: Path, tmp_path: Path) -> None:
    import shutil

    mirror = tmp_path / "personagym"
    shutil.copytree(data_dir / "personagym", mirror)
    mirror.chmod(0o755)
    folder = mirror / "questions" / "benchmark-v1"
    folder.chmod(0o755)
    first = sorted(folder.iterdir())[0]
    first.chmod(0o644)
    first.write_text('{"Expected Action": ["one"]}')
    with pytest.raises(SourceError, match="not a question file of PersonaGym"):
        personagym.load(tmp_path)
    first.unlink()
    with pytest.raises(SourceError, match="questions of 199 personas, not of 200"):
        personagym.load(tmp_path)
