"""The processes behind computer algebra: hangs, deaths, orphans, and parents of every kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from persona_bench.grading.algebra import POOL, Job, Pool
from persona_bench.grading.maths import grade, grade_all

REPOSITORY = Path(__file__).resolve().parents[2]
WIDE = "(x+y+z)^{400}"
"""Hangs math-verify for as long as one waits: it writes out all 80,601 terms."""
HANGS = [WIDE, "(x+y+z+w)^{300}", r"(x+y+z+w)^{90}\cdot(x-y)^{60}"]
EASY = Job("x+1", "1+x")
HUNG = Job("x+y", WIDE)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone_within(pids: list[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def busy_within(pid: int, seconds: float) -> bool:
    """Waits for a worker to be past its start, which takes 1 to 3 s of its processor time."""
    end, last = time.monotonic() + seconds, -1.0
    while time.monotonic() < end:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if used > 4 and last > 0:
            return True
        last = used
        time.sleep(0.1)
    return False


@pytest.fixture
def pool():
    pool = Pool()
    yield pool
    pool.close()


def test_hangs_are_unscored_and_the_others_are_graded() -> None:
    responses = [rf"\boxed{{{answer}}}" for answer in [*HANGS, "1+x", "7", "2^3-1", r"\sqrt{x}"]]
    golds = ["x+y"] * len(HANGS) + ["x+1", "7", "7", "x+1"]
    verdicts = grade_all(responses, golds, timeout=2.0, workers=2)
    assert [(v.verdict, v.reason) for v in verdicts[: len(HANGS)]] == [("unscored", "timeout")] * 3
    assert [v.verdict for v in verdicts[len(HANGS) :]] == ["correct", "correct", "correct", "wrong"]
    assert verdicts[0].answer == WIDE


def test_a_hung_worker_is_killed(pool: Pool) -> None:
    assert pool.run([EASY], workers=1, timeout=5) == ["same"]
    hung = pool.pids()
    assert pool.run([HUNG], workers=1, timeout=1) == ["timeout"]
    assert gone_within(hung, 5)
    assert pool.run([EASY], workers=1, timeout=5) == ["same"]


def test_a_worker_killed_at_its_job_is_replaced_and_the_job_tried_again(pool: Pool) -> None:
    pool.run([EASY], workers=1, timeout=5)
    first = pool.pids()
    found: list[str] = []
    thread = threading.Thread(
        target=lambda: found.extend(pool.run([HUNG, EASY], workers=1, timeout=4))
    )
    thread.start()
    time.sleep(0.5)
    os.kill(first[0], signal.SIGKILL)
    thread.join(60)
    # tried again by a second worker, which hangs in its turn: that is its finding
    assert found == ["timeout", "same"]


@pytest.mark.slow
def test_a_job_that_kills_two_workers_is_the_graders_error(pool: Pool) -> None:
    pool.run([EASY], workers=1, timeout=5)
    killed: set[int] = set()
    found: list[str] = []
    thread = threading.Thread(
        target=lambda: found.extend(pool.run([HUNG, EASY], workers=1, timeout=60))
    )
    thread.start()
    while len(killed) < 2 and thread.is_alive():
        for pid in set(pool.pids()) - killed:
            assert busy_within(pid, 30)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    thread.join(60)
    assert found == ["grader_error", "same"]


def test_an_idle_worker_that_died_is_replaced(pool: Pool) -> None:
    pool.run([EASY], workers=1, timeout=5)
    dead = pool.pids()
    os.kill(dead[0], signal.SIGKILL)
    assert gone_within(dead, 5)
    assert pool.run([EASY], workers=1, timeout=5) == ["same"]
    assert pool.pids() != dead


@pytest.mark.slow
def test_memory_hunger_is_the_graders_error_and_kills_nobody_else(pool: Pool) -> None:
    findings = pool.run([Job("x+y", "(x+y+z+w)^{300}"), EASY], workers=1, timeout=60)
    assert findings[0] in ("grader_error", "timeout")
    assert findings[1] == "same"


def test_workers_are_limited_in_memory(pool: Pool) -> None:
    pool.run([EASY], workers=1, timeout=5)
    limits = Path(f"/proc/{pool.pids()[0]}/limits")
    if not limits.exists():
        pytest.skip("no /proc here")
    line = next(row for row in limits.read_text().splitlines() if "address space" in row)
    assert line.split()[3] == str(2 * 1024**3)


def test_an_unreadable_reference_is_the_graders_error() -> None:
    verdict = grade(r"\boxed{3}", r"\begin{cases} x \\")
    assert (verdict.verdict, verdict.reason) == ("unscored", "grader_error")


def test_no_process_is_started_for_plain_answers() -> None:
    script = """
        from persona_bench.grading.maths import grade_all
        from persona_bench.grading.algebra import POOL
        import sys
        print([v.verdict for v in grade_all([r"\\boxed{17}", "18"], ["17", "17"])])
        print(POOL.pids(), "sympy" in sys.modules, "math_verify" in sys.modules)
    """
    assert run_script(script) == "['correct', 'wrong']\n[] False False\n"


def run_script(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *(arguments or ("-c", textwrap.dedent(script)))],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from persona_bench.grading.maths import grade\n"
        "print('once', grade(r'\\boxed{1+x}', 'x+1').verdict)\n"
    )
    assert run_script("", str(script)) == "once correct\n"


def test_from_a_thread() -> None:
    verdicts: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: verdicts.append(grade(rf"\boxed{{{n}+y}}", f"y+{n}").verdict)
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert verdicts == ["correct"] * 4


PARENT = r"""
import signal, sys, time
from persona_bench.grading.algebra import POOL, Job
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run behind `&`
POOL.run([Job("x+1", "1+x"), Job("x+2", "2+x"), Job("x+3", "3+x")], workers=2, timeout=5)
print(*POOL.pids(), flush=True)
if "hang" in sys.argv:
    import threading
    threading.Thread(target=POOL.run, args=([Job("7", "9^{9^{9^9}}")],),
                     kwargs={"workers": 1, "timeout": 5}, daemon=True).start()
if "wait" in sys.argv:
    time.sleep(60)
"""


@pytest.mark.parametrize("ending", ["exit", "interrupt", "terminate", "kill"])
def test_no_orphans(ending: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *(["wait"] if ending != "exit" else [])],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    if ending != "exit":
        assert all(alive(pid) for pid in pids)
        number = {"interrupt": 2, "terminate": 15, "kill": 9}[ending]
        parent.send_signal(number)
    parent.wait(30)
    parent.stdout.close()
    assert gone_within(pids, 15)


def test_no_orphans_even_where_a_worker_hangs() -> None:
    """A worker that computes doesn't see that its stdin has ended: it must go all the same."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "hang", "wait"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(1.0)
    parent.kill()
    parent.wait(30)
    parent.stdout.close()
    assert gone_within(pids, 15)


def test_workers_killed_in_the_middle_change_no_verdict() -> None:
    answers = [f"{n}+x" for n in range(150)]
    responses = [rf"\boxed{{{answer}}}" for answer in answers]
    golds = [f"x+{n + n % 2}" for n in range(150)]
    expected = ["wrong" if n % 2 else "correct" for n in range(150)]
    POOL.close()
    graded: list[str] = []
    thread = threading.Thread(
        target=lambda: graded.extend(v.verdict for v in grade_all(responses, golds, workers=2))
    )
    thread.start()
    killed = 0
    while thread.is_alive() and killed < 2:
        time.sleep(1.2)  # far apart: a job is lost at most once
        for pid in POOL.pids()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    thread.join(120)
    assert killed >= 1
    assert graded == expected
