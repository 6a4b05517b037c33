"""Runs one program on its tests and watches it, inside the sandbox; forked by `sandbox_server`.

It is PID 1 of the program's own namespaces, so that signals from the program have no effect on it.
It never has an expected value: it gets inputs and returns what the program made of them. Standard
library only.

The program is compiled in a fork. Each test of a script then runs in a fork of its own. The tests
of a function are calls in the fork that compiled it, on one `Solution`, as in LiveCodeBench's
runner; it was forked before any input came, so that it holds no later one.

Frames on stdin and stdout: a length in four bytes, then JSON. In: the program, then any number of
lists of inputs; an empty frame is the end. Out: a greeting, the result of compiling, and per list
of inputs a line with the results, followed by the outputs as they are.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib
import json
import marshal
import os
import resource
import select
import signal
import sys
import time
from types import ModuleType
from typing import Any, NamedTuple

from persona_bench.grading.sandbox_program import (
    MEMORY,
    NOT_PLAIN,
    SYNTAX,
    Program,
    Settings,
    libc,
    limit,
    read,
    start,
    write,
)

PIPE = 1 << 16  # bytes that a pipe holds
TICK = 0.05  # seconds between two looks at memory and processor time
SOON = 0.02  # seconds after which no further test of a frame is begun
ENOUGH = 1 << 20  # bytes of output after which none is
OWN_MEMORY = 256 << 20  # bytes of address space beyond the program's limit
SLOW_IMPORTS = frozenset(("numpy", "sortedcontainers"))
STATUSES = {0: "ok", MEMORY: "memory", NOT_PLAIN: "not_plain", SYNTAX: "syntax"}


def run_program(settings: Settings, stdin: int) -> None:
    """Runs one program, from its frame to the empty one.

    Args:
        settings: The limits, and what this machine grants.
        stdin: An empty file in memory, which becomes the stdin of a script.
    """
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # until here, errors are for the grader to read
    send({})
    request = json.loads(receive())
    source, function = request["code"], request["function"]
    limit(resource.RLIMIT_CORE, 0)
    if settings["processes"]:
        limit(resource.RLIMIT_NPROC, settings["processes"])
    limit(resource.RLIMIT_AS, settings["memory"] + OWN_MEMORY)
    if not function:
        redirect_streams(stdin)
    program = Program(source, function, make_module(request["imports"], bool(function)))
    gc.freeze()  # else the collector touches, and each fork copies, all these objects
    process = Watched(program, stdin, settings)
    compiled = process.result()
    if compiled.status == "ok" and not function:
        process.end()
        code = marshal.loads(compiled.output)
        program = program._replace(code=code)
        for name in SLOW_IMPORTS.intersection(code.co_names):  # before the forks
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    send([compiled.status, compiled.seconds])
    while frame := receive():
        began, results, size = time.monotonic(), [], 0
        for text in json.loads(frame):
            data = text.encode(errors="replace")
            if function:
                results.append(process.call(data))
            else:
                refill(stdin, data)
                results.append(Watched(program, stdin, settings).result())
            size += len(results[-1].output)
            done = results[-1].status != "ok" or (function and not process.alive)
            if done or size > ENOUGH or time.monotonic() - began > SOON:
                break
        heads = [(result.status, result.seconds, len(result.output)) for result in results]
        alive = not function or process.alive
        send([heads, alive], b"".join(result.output for result in results))
    if process.alive and os.getpid() != 1:  # PID 1 takes all of its namespace with it
        process.end()


def redirect_streams(stdin: int) -> None:
    """Gives `sys` the streams of a script, once: doing so in each fork would dominate small tests.

    The streams use the descriptors 0 to 2, which each fork makes its own. Python looks at a
    descriptor's kind when a stream is made, so a file and a pipe lie there in the meantime.
    """
    saved = [os.dup(fd) for fd in range(3)]
    reader, writer = os.pipe()
    for target, fd in enumerate((stdin, writer, writer)):
        os.dup2(fd, target)
    for fd, (name, mode) in enumerate(zip(("stdin", "stdout", "stderr"), "rww", strict=True)):
        stream = open(fd, mode, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        vars(sys).update({name: stream, f"__{name}__": stream})
    for target, fd in enumerate(saved):
        os.dup2(fd, target)
    for fd in (*saved, reader, writer):
        os.close(fd)
    sys.argv = ["program.py"]
    atexit._clear()


def make_module(imports: list[tuple[str, list[str]]], function: bool) -> ModuleType:
    """The module in which the program runs, made before the forks, as copying pages is slow."""
    module = ModuleType("solution" if function else "__main__")
    for source, names in imports:
        imported = importlib.import_module(source)
        present = {name: getattr(imported, name) for name in names if hasattr(imported, name)}
        vars(module).update(present if names else {source: imported})
    sys.modules[module.__name__] = module
    sys.setrecursionlimit(50_000)  # as LiveCodeBench's runner
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # the interpreter runs without `site`
    return module


# ---------------------------------------------------------------------- watching


class Result(NamedTuple):
    """How compiling, a call or a script's test ended; `sandbox.Run` lists the statuses."""

    status: str
    seconds: float
    output: bytes


class Watched:
    """A process in which the program is compiled or runs: its time, memory, output and end.

    Args:
        program: Without `code`, the process compiles it and then answers calls of its function.
            With it, the process is one test of a script.
        stdin: A file in memory, which becomes the stdin of a script.
        settings: The limits, and what this machine grants.
    """

    def __init__(self, program: Program, stdin: int, settings: Settings) -> None:
        self.settings, self.stdin, self.output = settings, stdin, bytearray()
        self.answers, self.alive = program.code is None, True
        self.processors = pin_to_processor() if program.function else None
        given, self.calls = os.pipe() if self.answers else (os.dup(stdin), -1)
        self.out, out = os.pipe()
        self.used_before, self.next_look = 0.0, time.monotonic() + TICK
        self.pid = os.fork()
        if self.pid == 0:
            start(given, out, program, settings)
        os.close(given)
        os.close(out)
        os.set_blocking(self.out, False)
        self.ended = os.pidfd_open(self.pid)
        self.poll = select.poll()
        self.poll.register(0, 0)  # only to see that the grader has gone
        for fd in (self.out, self.ended):
            self.poll.register(fd, select.POLLIN)

    def call(self, data: bytes) -> Result:
        """Sends arguments to the function, and waits for its answer."""
        self.output.clear()
        with contextlib.suppress(BrokenPipeError):  # it has ended, as `result` sees
            write(self.calls, len(data).to_bytes(4, "big") + data)
        return self.result()

    def result(self) -> Result:
        """Waits until the process answers or ends; ends it where it exceeds a limit."""
        status = self._wait()
        if not status and self._has_answered():
            now = cpu_seconds(self.pid)
            seconds, self.used_before = now - self.used_before, now
            return Result(STATUSES.get(self.output[0], "crash"), seconds, bytes(self.output[5:]))
        ended, seconds = self.end()
        seconds -= self.used_before
        if not status and seconds > self.settings["seconds"]:
            status = "timeout"
        if not status:
            status = STATUSES.get(os.waitstatus_to_exitcode(ended), "crash")
            status = "crash" if self.answers and status == "ok" else status  # without an answer
        return Result(status, seconds, bytes(self.output) if status == "ok" else b"")

    def _has_answered(self) -> bool:
        output = self.output
        return self.answers and len(output) >= 5 + int.from_bytes(output[1:5], "big")

    def _wait(self) -> str:
        """Reads the output until the process answers or ends (""), or has to be ended (why)."""
        wall, ended = time.monotonic() + 2 * self.settings["seconds"], False
        most: int = self.settings["output"]
        while True:
            left = max(0.0, self.next_look - time.monotonic())
            for fd, _ in self.poll.poll(left * 1000):
                if fd == self.out:
                    piece = os.read(self.out, PIPE)
                    self.output += piece
                    if not piece:
                        self.poll.unregister(self.out)
                elif fd == self.ended:  # processes that it left may hold the pipe open
                    ended = True
                    with contextlib.suppress(BlockingIOError):
                        while len(self.output) <= most and (piece := os.read(self.out, PIPE)):
                            self.output += piece
                else:
                    os._exit(0)  # the grader has gone
            if len(self.output) > most:
                return "output"
            answered = ended or self._has_answered()
            now = time.monotonic()
            if now >= self.next_look:  # once per tick, however short the calls
                self.next_look = now + TICK
                if not answered:
                    self._unpin()
                if not ended and (status := self._exceeded()):
                    return status
            if answered:
                return ""
            if now >= wall:
                return "clock"

    def _exceeded(self) -> str:
        """The limit that is exceeded by all processes in here except this one, else "".

        Without a /proc of this namespace only the seconds of the watched process are known; the
        limits that each process has by itself remain.
        """
        seconds, size = 0.0, os.fstat(self.stdin).st_blocks * 512
        for pid in self._processes():
            seconds += cpu_seconds(pid)
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                if os.getpid() == 1:
                    with open(f"/proc/{pid}/statm", "rb") as file:
                        size += int(file.read().split()[1]) * resource.getpagesize()
        if self.settings["tmp"]:
            tmp = os.statvfs("/tmp")
            size += (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize
        if seconds - self.used_before > self.settings["seconds"]:
            return "timeout"
        return "memory" if size > self.settings["memory"] else ""

    def _processes(self) -> list[int]:
        if os.getpid() == 1 and os.path.exists("/proc/self"):
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return [self.pid]

    def _unpin(self) -> None:
        """Lets all processes use every processor again: a call that runs this long is worth it."""
        processors, self.processors = self.processors, None
        for pid in (os.getpid(), *self._processes()) if processors else ():
            with contextlib.suppress(OSError):  # it has just ended
                os.sched_setaffinity(pid, processors or ())
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), processors or ())

    def end(self) -> tuple[int, float]:
        """Kills all that is left of the program.

        Returns:
            The wait status of the process and its processor seconds.
        """
        self.alive = False
        with contextlib.suppress(ProcessLookupError):
            if os.getpid() == 1:
                os.kill(-1, signal.SIGKILL)  # everything in this namespace except this process
            else:  # without a sandbox only the process and its group can be named
                os.kill(self.pid, signal.SIGKILL)
                os.killpg(self.pid, signal.SIGKILL)
        _, status, used = os.wait4(self.pid, 0)
        with contextlib.suppress(ChildProcessError):
            while os.getpid() == 1:
                os.waitpid(-1, 0)
        for fd in (self.out, self.ended, self.calls):
            if fd >= 0:
                os.close(fd)
        return status, used.ru_utime + used.ru_stime


def pin_to_processor() -> set[int] | None:
    """Keeps this process and its children on the current processor: calls go back and forth, and
    waking another processor takes longer than most calls.

    Returns:
        The processors that could be used before; None where nothing was changed.
    """
    processors = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {libc.sched_getcpu()})
    except (OSError, ValueError):
        return None
    return processors


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads, from its clock (as the C library encodes it)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it has just ended
        return 0.0


# ---------------------------------------------------------------------- frames


def receive() -> bytes:
    return read(int.from_bytes(read(4), "big"))


def send(header: Any, body: bytes = b"") -> None:
    data = json.dumps(header).encode() + b"\n" + body
    write(1, len(data).to_bytes(4, "big") + data)


def refill(file: int, data: bytes) -> None:
    """Replaces what is in a file, and goes back to its start."""
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    write(file, data)
    os.lseek(file, 0, os.SEEK_SET)
