"""Runs one program inside the sandbox; started by `keeper`.

Standard library only, but for its neighbours that come along: there is nothing else. It is PID 1 of
its own namespace, so that what it runs can neither kill, stop nor trace it. It never has an
expected value: all it does is run the program on inputs and hand out what came back.

A script has a fork a test. A function's tests are calls in one fork, on one `Solution`, as in
LiveCodeBench's runner; when that has ended, so has the program. It is forked before any input is
read: later, this process would have held inputs that are not yet the program's to know.

Frames on stdin and stdout: a length in four bytes, then the bytes. In: the program, then frames of
tests: the inputs, each after its length; an empty one is the end. Out: a greeting, one frame for
the program, and one a frame of tests: a line of JSON with a list a test, then their outputs. Of
several tests as many are run as end well and soon. The program's own standard streams are others.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from persona_bench.grading.inside import (
    FAILURES,
    Program,
    Settings,
    child,
    limit,
    read,
    write,
)
from persona_bench.grading.privileges import libc

PIPE = 1 << 16  # bytes that a pipe holds
TICK = 0.05  # seconds between two looks at memory and processor time
SOON = 0.02  # seconds after which no further test of a frame is begun
ENOUGH = 1 << 20  # bytes of output after which none is
ENDS = {0: "ok", **FAILURES}


def drive(settings: Settings) -> None:
    """Runs one program, from its frame to the end that the grader tells."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # up to here, complaints are for the grader
    send({"pid": os.getpid()})

    told = json.loads(receive())
    limit(resource.RLIMIT_CORE, 0)
    if settings["processes"]:
        limit(resource.RLIMIT_NPROC, settings["processes"])
    limit(resource.RLIMIT_AS, settings["memory"] + (256 << 20))  # the driver's own share
    if not told["function"]:
        streams()
    module = prelude(told["imports"], bool(told["function"]))
    code, fault = compiled(told["code"])
    send({"status": fault or "ok"})
    program = Program(code, told["function"], module, "/dev/std" in told["code"]) if code else None
    del told
    gc.freeze()  # else each child copies what the collector touches
    fork = Fork(program, b"", settings) if program and program.function else None
    while frame := receive():
        if program is None or (program.function and fork is None):
            raise ValueError("there is nothing to run")
        fork = tests(pieces(frame), program, settings, fork)
    if fork and os.getpid() != 1:  # with the first process of a namespace, all others end
        fork.end()


def streams() -> None:
    """Makes `sys` that of a script, once: in each fork it would take a fourth of a small test.

    The standard streams are those of the descriptors 0 to 2, which are the forks' own there. What
    they are of is asked when they are made, so a file and pipes lie there in the meantime.
    """
    saved = [os.dup(fd) for fd in range(3)]
    file, (reader, writer) = memory_file(b""), os.pipe()
    for target, fd in enumerate((file, writer, writer)):
        os.dup2(fd, target)
    kind: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "closefd": False}
    for fd, (name, mode) in enumerate(zip(("stdin", "stdout", "stderr"), "rww", strict=True)):
        stream = open(fd, mode, **kind)  # noqa: SIM115
        vars(sys).update({name: stream, f"__{name}__": stream})
    for target, fd in enumerate(saved):
        os.dup2(fd, target)
    for fd in (*saved, file, reader, writer):
        os.close(fd)
    sys.argv = ["program.py"]
    atexit._clear()


def prelude(imports: list[tuple[str, list[str]]], function: bool) -> ModuleType:
    """The module that each test runs the program in, made before the forks, as copies are slow.

    Args:
        imports: (module, names), see `isolation.prelude`; a name that is not there is left out.
        function: Whether it has a function to be called.
    """
    module = ModuleType("solution" if function else "__main__")
    for source, names in imports:
        found = importlib.import_module(source)
        if names:
            vars(module).update({n: getattr(found, n) for n in names if hasattr(found, n)})
        else:
            vars(module)[source] = found
    sys.modules[module.__name__] = module
    sys.setrecursionlimit(50_000)  # as LiveCodeBench's runner
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # `site` is not in here
    return module


def compiled(source: str) -> tuple[CodeType | None, str]:
    """The program, or what is wrong with it."""
    try:
        code = compile(source, "<program>", "exec", dont_inherit=True)
    except MemoryError:
        return None, "memory"
    except (SyntaxError, ValueError, OverflowError, RecursionError):
        return None, "syntax"
    if "numpy" in code.co_names:
        with contextlib.suppress(Exception):
            import numpy  # noqa: F401 - slow, so before the forks
    return code, ""


# ---------------------------------------------------------------------- one test, seen from outside


class Fork:
    """A child that runs the program, and what is seen of it from outside."""

    def __init__(self, program: Program, data: bytes, settings: Settings) -> None:
        self.settings, self.output = settings, bytearray()
        self.processors = stay() if program.function else None
        given, self.calls = (memory_file(data), -1) if not program.function else os.pipe()
        self.out, child_out = os.pipe()
        self.before, self.look = 0.0, time.monotonic() + TICK
        self.pid = os.fork()
        if self.pid == 0:
            child(given, child_out, program, settings)
        os.close(given)
        os.close(child_out)
        os.set_blocking(self.out, False)
        self.ended = os.pidfd_open(self.pid)
        self.poll = select.poll()
        self.poll.register(0, 0)  # but for the end of the grader
        for fd in (self.out, self.ended):
            self.poll.register(fd, select.POLLIN)

    def call(self, data: bytes) -> str:
        """Hands arguments to the function, and watches."""
        self.output.clear()
        try:
            write(self.calls, len(data).to_bytes(4, "big") + data)
        except BrokenPipeError:
            return self.watch()
        if self.poll.poll(TICK * 1000) == [(self.out, select.POLLIN)]:  # as a rule all of it
            self.output += os.read(self.out, PIPE)
            if self.answered():
                return self.excess() if self.due() else ""
        return self.watch()

    def answered(self) -> bool:
        """Whether a call's whole value is there."""
        output = self.output
        return len(output) >= 5 and len(output) >= 5 + int.from_bytes(output[1:5], "big")

    def watch(self) -> str:
        """Reads the output until the test ends by itself ("") or has to be ended (why)."""
        wall = time.monotonic() + 2 * self.settings["seconds"]
        while True:
            left = max(0.0, self.look - time.monotonic())
            events = {fd for fd, _ in self.poll.poll(left * 1000)}
            if 0 in events:
                os._exit(0)
            if self.out in events and not drain(self.out, self.output, self.settings["output"]):
                self.poll.unregister(self.out)
            if len(self.output) > self.settings["output"]:
                return "output"
            if self.calls >= 0 and self.answered():
                return ""
            if self.ended in events:  # what it left behind may hold the pipe open: don't wait
                drain(self.out, self.output, self.settings["output"])
                return ""
            if self.due():
                self.roam()
                if why := self.excess():
                    return why
                if time.monotonic() >= wall:
                    return "clock"

    def due(self) -> bool:
        """Whether it is time for a look at what is used; at most one a tick, however short the
        calls are."""
        now = time.monotonic()
        if now < self.look:
            return False
        self.look = now + TICK
        return True

    def roam(self) -> None:
        """Lets all run anywhere again: it takes longer, so that its calls' ways don't matter."""
        if self.processors:
            for task in (0, *tasks(self.pid)):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(task, self.processors)
            self.processors = None

    def excess(self) -> str:
        """What the test has used too much of, if anything."""
        seconds, memory = used(self.pid)
        if seconds - self.before > self.settings["seconds"]:
            return "timeout"
        return "memory" if memory > self.settings["memory"] else ""

    def end(self) -> tuple[int, float]:
        """Kills all that is left of it and waits: its status and its processor seconds."""
        with contextlib.suppress(ProcessLookupError):
            if os.getpid() == 1:
                os.kill(-1, signal.SIGKILL)  # all of this namespace but this process
            else:  # without a sandbox only the child and its process group can be named
                os.kill(self.pid, signal.SIGKILL)
                os.killpg(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        while os.getpid() == 1:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        for fd in (self.out, self.ended, self.calls):
            if fd >= 0:
                os.close(fd)
        return status, usage.ru_utime + usage.ru_stime


class Answer(NamedTuple):
    """What came of one test."""

    status: str
    seconds: float
    output: bytes


def tests(
    inputs: list[bytes], program: Program, settings: Settings, fork: Fork | None
) -> Fork | None:
    """The tests of a frame, as far as it is worth while, and the frame that answers; the fork that
    can take the next call, if any."""
    began, answers, size = time.monotonic(), [], 0
    for data in inputs:
        answer, fork = test(data, program, settings, fork)
        answers.append(answer)
        size += len(answer.output)
        done = answer.status != "ok" or (program.function and fork is None)
        if done or size > ENOUGH or time.monotonic() - began > SOON:
            break
    heads = [(answer.status, answer.seconds, len(answer.output)) for answer in answers]
    alive = not program.function or fork is not None
    send([heads, alive], b"".join(answer.output for answer in answers))
    return fork


def test(
    data: bytes, program: Program, settings: Settings, fork: Fork | None
) -> tuple[Answer, Fork | None]:
    """One test, and the fork that can take the next call, if any."""
    fork = fork or Fork(program, data, settings)
    status = fork.call(data) if program.function else fork.watch()
    if program.function and not status and fork.answered():
        now, value = cpu_seconds(fork.pid), bytes(fork.output[5:])
        seconds, fork.before = now - fork.before, now
        status = ENDS.get(fork.output[0], "crash")
        return Answer(status, seconds, value), fork
    ended, seconds = fork.end()
    status = status or ending(ended, seconds - fork.before, settings["seconds"])
    if program.function and status == "ok":
        status = "crash"  # it left without an answer
    body = bytes(fork.output) if status == "ok" else b""
    return Answer(status, seconds - fork.before, body), None


def stay() -> set[int] | None:
    """Keeps this process and its children on the processor on which it is: calls go back and forth,
    and to wake another processor for each takes longer than most calls do.

    Returns:
        The processors on which it could run before; None where nothing was changed.
    """
    processors = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {libc.sched_getcpu()})
    except (OSError, ValueError):
        return None
    return processors


def memory_file(data: bytes) -> int:
    """A file with the data, to be read from its start."""
    fd = os.memfd_create("input")
    write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def drain(out: int, output: bytearray, most: int) -> bool:
    """Reads what is there; False at the end of the stream."""
    while len(output) <= most:
        try:
            piece = os.read(out, PIPE)
        except BlockingIOError:
            break
        if not piece:
            return False
        output += piece
        if len(piece) < PIPE:  # it gives all that it has
            break
    return True


def used(pid: int) -> tuple[float, int]:
    """Processor seconds and resident bytes of all that runs in here but this process.

    Where there is no /proc of this namespace: the seconds of the child alone, and no bytes; the
    limits that each process has by itself remain.
    """
    seconds, pages = 0.0, 0
    for number in processes(pid):
        seconds += cpu_seconds(number)
        try:
            if os.getpid() == 1:
                with open(f"/proc/{number}/statm", "rb") as file:
                    pages += int(file.read().split()[1])
        except (OSError, IndexError):  # it has just ended
            continue
    return seconds, pages * resource.getpagesize()


def processes(pid: int) -> list[int]:
    """All that run in here but this one; the child alone where there is no /proc to tell."""
    if os.getpid() == 1 and os.path.exists("/proc/self"):
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    return [pid]


def tasks(pid: int) -> list[int]:
    """The threads of these processes."""
    found = []
    for number in processes(pid):
        with contextlib.suppress(OSError):  # it has just ended
            found += [int(name) for name in os.listdir(f"/proc/{number}/task")]
    return found or [pid]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads: its clock, as the C library names it."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it has just ended
        return 0.0


def ending(status: int, seconds: float, allowed: float) -> str:
    if seconds > allowed or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return "timeout"
    if not os.WIFEXITED(status):
        return "crash"
    return ENDS.get(os.WEXITSTATUS(status), "crash")


def receive() -> bytes:
    return read(struct.unpack(">I", read(4))[0])


def send(header: Any, body: bytes = b"") -> None:
    data = json.dumps(header).encode() + b"\n" + body
    write(1, struct.pack(">I", len(data)) + data)


def pieces(data: bytes) -> list[bytes]:
    """The inputs of a frame."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found
