"""Programs that share a sandbox: nothing of one reaches the next; a broken one is replaced."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from persona_bench.grading import code
from persona_bench.grading.code import STARS, Case, Job, Suite, prelude, run_programs
from persona_bench.grading.sandbox import Isolation, Limits, SandboxError, Slot, isolation
from tests.grading.test_sandbox_attacks import left_running
from tests.support.sandbox import needs_sandbox

pytestmark = needs_sandbox

CHANNELS = (
    f"""
USUAL = {os.nice(0)}
"""
    + '''
import ctypes, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
KEY, USER_KEYRING, ADD_KEY, KEYCTL, SEARCH, MQ_OPEN = b"left", -4, 248, 250, 10, 240


def daemon():
    """Lives on after the program, and listens on two sockets."""
    if os.fork():
        time.sleep(0.2)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    server = socket.socket(socket.AF_UNIX)
    server.bind("\\0left")
    server.listen()
    time.sleep(1000)


def connects():
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex("\\0left") == 0


def made(kind):
    try:
        return bool(socket.socket(kind, socket.SOCK_DGRAM))
    except OSError:
        return False


def dated(path):
    try:
        return os.utime(path) is None
    except OSError:
        return False


def found():
    everything = {
        "file": os.listdir("/tmp"),
        "unix socket": connects(),
        "other sockets": any(map(made, range(2, 46))),
        "devices": any(map(dated, ("/dev/null", "/dev/tty", "/dev/pts", "/dev/pts/ptmx"))),
        "user namespace": libc.unshare(0x10000000) == 0,
        "shared memory": libc.shmget(4242, 4096, 0) >= 0,
        "System V queue": libc.msgget(4242, 0) >= 0,
        "POSIX queue": libc.syscall(MQ_OPEN, b"left", os.O_RDONLY, 0, None) >= 0,
        "key": libc.syscall(KEYCTL, SEARCH, USER_KEYRING, b"user", KEY, 0) >= 0,
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]) > 2,
        "priority": os.nice(0) > USUAL,
    }
    return [name for name, there in everything.items() if there]


def leave():
    open("/tmp/left", "w").close()
    daemon()
    libc.shmget(4242, 4096, 0o1666)
    libc.msgget(4242, 0o1666)
    libc.syscall(MQ_OPEN, b"left", os.O_RDWR | os.O_CREAT, 0o666, None)
    libc.syscall(ADD_KEY, b"user", KEY, b"1", 1, USER_KEYRING)
    os.nice(5)
'''
)


@pytest.fixture
def slot() -> Iterator[Slot]:
    with Slot(limits=Limits(seconds=2)) as slot:
        yield slot
    assert left_running() == []


@pytest.fixture(autouse=True)
def warm() -> None:
    """Some machines grant no namespaces within a sandbox; the one that runs CI has to."""
    if not isolation().warm and not os.environ.get("CI"):
        pytest.skip("this machine keeps no sandbox warm: each program has one of its own")
    assert isolation().warm


def test_no_file_process_or_memory_of_a_program_reaches_the_next(slot: Slot) -> None:
    with slot.program(CHANNELS + "leave()\nprint(*found(), sep=',')") as program:
        left = program.run("").output.decode().strip().split(",")
    process = slot._process
    with slot.program(CHANNELS + "print(*found(), sep=',')") as program:
        found = program.run("").output.decode().strip()
    assert slot._process is process is not None  # the same sandbox
    # the control: these can be found where they are. Others no program may have.
    there = {"file", "unix socket", "POSIX queue", "processes"}
    if os.nice(0) < 19:  # else there is no lower priority
        there.add("priority")
    assert set(left) == there
    assert found == ""


def test_many_programs_have_one_sandbox_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    real = code.Slot.program

    def program(self: Slot, *request: Any) -> object:
        found = real(self, *request)
        started.append(self._process)
        return found

    monkeypatch.setattr(code.Slot, "program", program)
    suite = Suite((Case("1\n", "2\n"),))
    jobs = [Job("", f"print(int(input()) + 1 + {number % 2})") for number in range(20)]
    outcomes = run_programs(jobs, lambda _: suite, workers=2)
    assert [o.verdict.verdict for o in outcomes] == ["correct", "wrong"] * 10
    assert len(started) == 20
    assert len(set(started)) == 2
    assert left_running() == []


def test_a_sandbox_that_was_killed_is_replaced(slot: Slot) -> None:
    with slot.program("print(1)") as program:
        assert program.run("").output == b"1\n"
    first = slot._process
    assert first is not None
    first.kill()
    time.sleep(0.5)
    with slot.program("print(2)") as program:
        assert program.run("").output == b"2\n"
    assert slot._process is not first


def test_a_program_whose_sandbox_is_killed_is_lost_and_the_next_is_not(slot: Slot) -> None:
    with slot.program("def f(): return 1", "f") as program:
        assert program.run("").status == "crash"  # an empty line is no argument
        assert slot._process is not None
        slot._process.kill()
        time.sleep(0.5)  # the kernel ends it in its own time
        assert program.run("").status == "lost"
    with slot.program("print(2)") as program:
        assert program.run("").output == b"2\n"


def test_a_sandbox_that_can_t_be_made_is_an_error_each_time(slot: Slot) -> None:
    slot.how = dataclasses.replace(
        slot.how, command=(*slot.how.command[:-1], "/python/bin/missing")
    )
    for _ in range(2):
        with pytest.raises(SandboxError, match="missing"):
            slot.program("print(1)")


def test_a_program_without_syntax_leaves_the_sandbox_whole(slot: Slot) -> None:
    with slot.program("print(") as program:
        assert program.fault == "syntax"
        assert program.run("").status == "syntax"
    process = slot._process
    with slot.program("print(2)") as program:
        assert program.run("").output == b"2\n"
    assert slot._process is process


# ---------------------------------------------------------------------- several tests at a time


def test_calls_are_answered_in_their_order(slot: Slot) -> None:
    with slot.program("def add(a, b): return a + b", "add") as program:
        runs = program.run_some([f"{n}\n{n * n}" for n in range(10)])
    assert [run.output for run in runs] == [str(n + n * n).encode() for n in range(10)]


def test_calls_after_one_that_fails_are_not_made(slot: Slot) -> None:
    source = "def f(n):\n    if n == 2: raise ValueError\n    return n"
    with slot.program(source, "f") as program:
        runs = program.run_some(["0", "1", "2", "3"])
        assert [run.status for run in runs] == ["ok", "ok", "crash"]
        assert not program.over
        assert program.run("3").output == b"3"


def test_once_its_process_has_ended_a_function_is_over(slot: Slot) -> None:
    with slot.program("import os\ndef f(n): os._exit(0)", "f") as program:
        assert [run.status for run in program.run_some(["0", "1"])] == ["crash"]
        assert program.over


def test_calls_that_take_long_are_sent_again(slot: Slot) -> None:
    source = "import time\ndef f(n):\n    time.sleep(0.03)\n    return n"
    with slot.program(source, "f") as program:
        assert len(program.run_some(["0", "1", "2"])) == 1
    suite = Suite(tuple(Case(str(n), str(n)) for n in range(5)), "f")
    (outcome,) = run_programs([Job("", source)], lambda _: suite)
    assert outcome.verdict.verdict == "correct"
    assert len(outcome.runs) == 5


def test_all_tests_are_run_where_a_call_ends_the_process() -> None:
    source = "import os\ndef f(n):\n    return n if n % 3 else os._exit(0)"
    suite = Suite(tuple(Case(str(n), str(n)) for n in range(8)), "f")
    (outcome,) = run_programs([Job("", source)], lambda _: suite, all_tests=True)
    assert outcome.verdict[:2] == ("wrong", "crash")
    assert outcome.passed == tuple(bool(n % 3) for n in range(8))


def test_a_function_has_no_later_calls_in_reach(slot: Slot) -> None:
    """In the first call it reads on where its arguments came from, and looks through its memory."""
    source = """
import gc, os, select
def f(text):
    if text != "first":
        return []
    there = bool(select.select([4], [], [], 0.2)[0])
    word = "".join(["sec", "ond"])  # as one word it would find its own constant
    objects = [o for o in gc.get_objects() if isinstance(o, (list, dict, tuple))]
    held = [x for o in objects for x in (o.values() if isinstance(o, dict) else o)]
    return [there, any(type(x) in (str, bytes) and word in str(x)[:20] for x in held)]
"""
    with slot.program(source, "f") as program:
        runs = program.run_some(['"first"', '"second"', '"second"'])
    assert runs[0].output == b"[false, false]"


def test_later_inputs_are_nowhere_in_the_memory_of_a_call() -> None:
    """Not in the first process of a function either, nor in those after one that has ended."""
    source = """
import ctypes, os, re
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
def f(text):
    if int(text[7:9]) % 3 == 2:
        os._exit(0)
    seen = set()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            low, high = (int(end, 16) for end in line.split()[0].split("-"))
            if "rw" in line and "[v" not in line:
                memory.seek(low)
                try:
                    seen.update(re.findall(rb"hidden-([0-9]+)-end", memory.read(high - low)))
                except OSError:
                    pass
    return sorted(map(int, seen))
"""
    suite = Suite(tuple(Case(f'"hidden-{n:02}-end"', "[]") for n in range(12)), "f")
    (outcome,) = run_programs([Job("", source)], lambda _: suite, all_tests=True)
    found = [json.loads(run.output) if run.output else [] for run in outcome.runs]
    assert found == [[0], [0, 1], [], [3], [3, 4], [], [6], [6, 7], [], [9], [9, 10], []]


def test_a_script_that_leaves_a_daemon_does_not_keep_the_next_waiting(slot: Slot) -> None:
    source = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\nprint(1)"
    for _ in range(3):
        with slot.program(source) as program:
            assert program.run("").output == b"1\n"


GREEDY = """
import os, time
def f(x):
    if x and os.fork() == 0:
        held = bytearray(150 << 20)
        time.sleep(1000)
    time.sleep(0.02)
    return x
"""


def test_memory_is_bounded_however_short_the_calls_are(slot: Slot) -> None:
    slot.limits = Limits(memory=300 << 20)
    with slot.program(GREEDY, "f") as program:
        assert program.run("0").status == "ok"
        statuses = []
        while not program.over and len(statuses) < 60:
            statuses += [run.status for run in program.run_some(["1"] * 10)]
    assert statuses[-1] == "memory"
    assert len(statuses) < 20


def test_threads_too_run_anywhere_once_a_call_takes_long(slot: Slot) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    source = (
        "import os, threading, time\ndef f(x):\n    found = []\n    def look():\n"
        "        time.sleep(0.5)\n        found.append(len(os.sched_getaffinity(0)))\n"
        "    thread = threading.Thread(target=look)\n    thread.start()\n    thread.join()\n"
        "    return found[0]"
    )
    with slot.program(source, "f") as program:
        assert int(program.run("1").output) == len(os.sched_getaffinity(0))


def test_files_without_end_and_without_bytes_are_bounded(slot: Slot) -> None:
    source = (
        "import os\nmade = 0\ntry:\n    for made in range(200_000):\n"
        "        os.close(os.open(f'/tmp/{made}', os.O_CREAT | os.O_WRONLY))\n"
        "except OSError:\n    pass\nprint(made)"
    )
    with slot.program(source) as program:
        assert int(program.run("").output) < 65_536


# ---------------------------------------------------------------------- where none is kept warm


def cold(unsafe: bool = False) -> Isolation:
    return dataclasses.replace(isolation(unsafe), warm=False)


HOWS = {"warm": isolation, "cold": cold, "unsafe": lambda: isolation(unsafe=True)}


@pytest.mark.parametrize("how", HOWS)
def test_the_same_program_draws_the_same_numbers(how: str) -> None:
    script = "import random\nprint(random.random())"
    function = "def f(x):\n    return random.random()"  # by the prelude
    found = set()
    for _ in range(2):
        with Slot(how=HOWS[how](), preload=STARS) as slot:
            with slot.program(script, "", prelude(script)) as program:
                found |= {float(program.run("").output) for _ in range(2)}
            with slot.program(function, "f", prelude(function)) as program:
                found.add(float(program.run("1").output))
    random.seed(0)
    assert found == {random.random()}


@pytest.mark.parametrize("how", HOWS)
def test_a_function_s_children_end_with_it(how: str) -> None:
    source = (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        time.sleep(1000)\n    return x"
    )
    with Slot(how=HOWS[how]()) as slot:
        with slot.program(source, "f") as program:
            assert program.run("1").output == b"1"
            assert left_running()
        if how == "warm":  # the next one waits until all of it is gone
            with slot.program("print(1)") as program:
                program.run("")
    deadline = time.monotonic() + 5
    while left_running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_running() == []


def test_without_warm_sandboxes_each_program_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "isolation", cold)
    suite = Suite((Case("1\n", "2\n"), Case("2\n", "3\n")))
    sources = ["print(int(input()) + 1)", "print(0)", "print(", "while True: pass", "exit(3)"]
    jobs = [Job("", source) for source in sources]
    outcomes = run_programs(jobs, lambda _: suite, limits=Limits(seconds=0.5), workers=2)
    reasons = [outcome.verdict.reason for outcome in outcomes]
    assert reasons == ["", "wrong_answer", "syntax", "timeout", "wrong_answer"]
    assert left_running() == []
    with Slot(how=cold()) as slot:  # type: ignore[arg-type]
        for number in range(2):
            with slot.program(f"import os\nprint(os.getpid(), {number})") as program:
                run = program.run("")
                assert run.output == f"3 {number}\n".encode()  # 2 compiled the program
            assert slot._process is None
    assert os.getpid() != 1
