"""Programs that cheat or do harm (`attacks`): none is correct, reaches the host, or stays."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_bench.grading import code
from persona_bench.grading.code import Case, Job, Suite, run_programs
from persona_bench.grading.sandbox import Limits, isolation
from tests.grading.attacks import ATTACKS, HELD, HOLDING, Attack
from tests.support.sandbox import needs_sandbox

pytestmark = needs_sandbox

NUMBERS = (3, 5, 12)
SCRIPT = Suite(tuple(Case(f"{n}\n", f"{n * n + 7}\n") for n in NUMBERS))
FUNCTION = Suite(tuple(Case(f"{n}", f"{n * n + 7}") for n in NUMBERS), "solve")
HONEST = "import time\nn = int(input())\nprint(n * n + 7)"
LIMITS = Limits(seconds=0.5)


class Host:
    """What an attack must not reach: a folder that all may write to, and a server that tells."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.visits = folder, 0
        (folder / "answers.txt").write_text("\n".join(str(n * n + 7) for n in NUMBERS))
        folder.chmod(0o777)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.tcp.getsockname()[1]
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(f"\0persona-bench-{self.port}")
        self.unix.listen()
        for server in (self.tcp, self.unix):
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            self.visits += 1
            with connection:
                connection.sendall(b"16")

    def close(self) -> None:
        for server in (self.tcp, self.unix):
            server.close()


@pytest.fixture
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="persona-bench-host-"))
    host = Host(folder)
    yield host
    host.close()
    shutil.rmtree(folder)


def left_running() -> list[str]:
    """The sandboxed processes of this grader: by their users where it is root, by name else."""
    ours = range(1_100_000_000 + os.getpid() * 64, 1_100_000_000 + os.getpid() * 64 + 64)
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            named = f'"grader": {os.getpid()}'.encode() in (folder / "cmdline").read_bytes()
            if named or folder.stat().st_uid in ours:
                found.append(f"{folder.name} {(folder / 'status').read_text()[:60]!r}")
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, host: Host) -> None:
    repel(name, host)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_on_a_sandbox_of_its_own(
    name: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where no sandbox can be kept warm."""
    cold = dataclasses.replace(isolation(), warm=False)
    monkeypatch.setattr(code, "isolation", lambda unsafe: cold)
    repel(name, host)


def repel(name: str, host: Host) -> None:
    attack: Attack = ATTACKS[name]
    program = attack.program.replace("{host}", str(host.folder)).replace("{port}", str(host.port))
    suites = {"attack": FUNCTION if attack.function else SCRIPT, "honest": SCRIPT}
    jobs = [Job("attack", program), Job("honest", HONEST)]
    holds = attack in HOLDING.values()
    limits = Limits(seconds=2, memory=HELD) if holds else LIMITS
    attacked, honest = run_programs(jobs, suites.__getitem__, limits=limits, workers=2)

    assert attacked.verdict.verdict == "wrong", attacked
    assert attacked.verdict.reason in attack.reasons, attacked
    assert honest.verdict.verdict == "correct", honest
    assert left_running() == []
    assert host.visits == 0
    assert sorted(path.name for path in host.folder.iterdir()) == ["answers.txt"]


def test_the_attempts_would_be_correct_if_they_succeeded(host: Host) -> None:
    """The control of this suite: what an attack prints where it succeeds is right."""
    from tests.grading.attacks import attempt

    jobs = [Job("a", attempt("return True")), Job("b", attempt("return False"))]
    won, lost = run_programs(jobs, lambda _: SCRIPT, limits=LIMITS)
    assert won.verdict.verdict == "correct"
    assert lost.verdict[:2] == ("wrong", "wrong_answer")
