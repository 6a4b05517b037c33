"""What this machine grants: without a sandbox, without root, and what programs find in one."""

from __future__ import annotations

import builtins
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from persona_bench.grading import sandbox
from persona_bench.grading.code import STARS, Case, Suite, grade, grade_all, prelude
from persona_bench.grading.sandbox import PACKAGES, Limits, NoSandbox, Slot, isolation
from tests.support.programs import DOUBLE, fenced
from tests.support.sandbox import needs_sandbox

ROOT = Path(__file__).resolve().parents[2]


def test_a_program_gets_the_names_of_the_runners_prelude() -> None:
    expected: dict[str, object] = {}
    for name in STARS:
        exec(f"from {name} import *", expected)
    expected |= {name: importlib.import_module(name) for name in STARS}
    del expected["__builtins__"]
    mentioned = sorted(name for name in expected if name not in vars(builtins))
    for program in (" ".join(set(mentioned) - {"exec"}), "globals()['reduce']"):
        found: dict[str, object] = {}
        for name, names in prelude(program):
            module = importlib.import_module(name)
            found.update(
                {word: getattr(module, word) for word in names} if names else {name: module}
            )
        assert {name: found[name] for name in mentioned} == {n: expected[n] for n in mentioned}
    assert prelude("print(gcd(2, 4), heapq)") == [("math", ["gcd"]), ("heapq", [])]


# ---------------------------------------------------------------------- without a sandbox


def test_without_bubblewrap_everything_is_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    verdicts = grade_all(
        [fenced("print(1)"), "no code"], ["", ""], lambda _: DOUBLE, truncated=[False, False]
    )
    assert [v[:2] for v in verdicts] == [("unscored", "no_sandbox")] * 2
    with pytest.raises(NoSandbox, match="bwrap is not there: install bubblewrap"):
        isolation()


def test_without_a_working_sandbox_every_program_is_unscored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1"
    )
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert grade(fenced("print(1)"), DOUBLE)[:2] == ("unscored", "no_sandbox")
    with pytest.raises(NoSandbox, match="No permissions to create a new namespace"):
        isolation()


@needs_sandbox
def test_a_kernel_that_refuses_namespaces_leaves_every_program_unscored() -> None:
    """A real refusal: inside a sandbox that allows no further ones, and no privileges."""
    code = (
        "from persona_bench.grading.code import *\n"
        "print(grade('```\\nprint(1)\\n```', Suite((Case('', '1'),)))[:2])"
    )
    command = ["bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]
    if (
        "--disable-userns"
        not in subprocess.run(["bwrap", "--help"], capture_output=True, text=True).stdout
    ):
        pytest.skip("this bubblewrap can't forbid further namespaces")
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip() == "('unscored', 'no_sandbox')", done.stderr


def test_programs_run_unprotected_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    good, bad, slow = "print(int(input()) * 2)", "print(0)", "while True: pass"
    verdicts = grade_all(
        [fenced(good), fenced(bad), fenced(slow)],
        ["", "", ""],
        lambda _: DOUBLE,
        truncated=[False] * 3,
        limits=Limits(seconds=0.5),
        unsafe=True,
    )
    assert [v[1] for v in verdicts] == ["", "wrong_answer", "timeout"]
    assert isolation(unsafe=True).record()["sandbox"] == "none"


@needs_sandbox
def test_a_control_group_bounds_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here by a bound far below what the watched limit allows, so that the kernel alone acts."""
    if not isolation().memory_group:
        pytest.skip("this process can't make control groups of version 2")
    monkeypatch.setattr(sandbox, "OWN_MEMORY", -(500 << 20))
    with Slot(limits=Limits(memory=600 << 20)) as slot:
        with slot.program("x = b'x' * (450 << 20)\nprint(1)") as program:
            assert program.run("").status == "memory"
            assert slot._process is not None
            assert slot._process.group is not None
            group = slot._process.group
        with slot.program("raise ValueError") as program:
            assert program.run("").status == "crash"
    assert not group.exists()


# ---------------------------------------------------------------------- other users

AS_A_USER = """
import json, os
from persona_bench.grading.code import *
from persona_bench.grading.sandbox import Limits, isolation
suite = Suite(tuple(Case(f"{n}\\n", f"{n * 2}\\n") for n in (1, 2)))
programs = [
    "print(int(input()) * 2)",
    "print(0)",
    "import os\\nwhile True:\\n    try: os.fork()\\n    except OSError: pass",
    "import os\\nos.kill(os.getppid(), 9)\\nprint(int(input()) * 2)",
    "import os\\nprint(os.listdir('/home'))",
    "open(f'/proc/1/mem')\\nprint(int(input()) * 2)",
    "print(open('/proc/self/mountinfo').read() or int(input()) * 2)",
    "import os\\nos.memfd_create('')\\nprint(int(input()) * 2)",
]
jobs = [Job("", program) for program in programs]
outcomes = run_programs(jobs, lambda _: suite, limits=Limits(seconds=1), workers=2)
print(json.dumps([os.getuid(), isolation().own_user, [o.verdict[:2] for o in outcomes]]))
"""


@needs_sandbox
def test_the_sandbox_works_without_root() -> None:
    """As a plain user with the system's Python, which needs nothing but the standard library."""
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if os.getuid() != 0 or python is None:
        pytest.skip("the other tests ran as a plain user, or there is no Python for one")
    folder = Path(tempfile.mkdtemp(prefix="persona-bench-user-"))
    try:
        shutil.copytree(ROOT / "persona_bench", folder / "persona_bench")
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
        done = subprocess.run(
            [python, "-c", AS_A_USER],
            env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
            cwd=folder,
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        user, own_user, verdicts = json.loads(done.stdout)
    finally:
        shutil.rmtree(folder)
    assert (user, own_user) == (65534, False)
    assert verdicts[0] == ["correct", ""]
    assert verdicts[1] == ["wrong", "wrong_answer"]
    assert verdicts[2][0] == "wrong"
    assert verdicts[3] == ["correct", ""]  # the signal has no effect
    assert verdicts[4] == ["wrong", "crash"]
    assert verdicts[5] == ["wrong", "crash"]
    assert verdicts[6] == ["correct", ""]  # it is empty
    assert verdicts[7] == ["wrong", "crash"]


@needs_sandbox
def test_programs_find_the_packages_that_are_named_and_no_others() -> None:
    source = (
        "import importlib.util\nnames = input().split()\n"
        "print(*[n for n in names if importlib.util.find_spec(n)])"
    )
    others = ["pytest", "math_verify", "lm_eval", "pip", "persona_bench"]
    assert all(map(importlib.util.find_spec, (*PACKAGES, others[0], others[-1])))
    suite = Suite((Case(" ".join([*PACKAGES, *others]), " ".join(PACKAGES)),))
    assert grade(fenced(source), suite)[:2] == ("correct", "")
    assert set(isolation().record()["program_packages"]) == set(PACKAGES)


@needs_sandbox
def test_the_probe_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    isolation()
    monkeypatch.setattr(sandbox, "Slot", None)  # would fail if it were called
    assert isolation().kind == "bubblewrap"
