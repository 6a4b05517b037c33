"""A fork that runs the program, and what is seen of it from outside: time, memory, output, its end.

Standard library only, but for its neighbours that come along into the sandbox.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time

from persona_bench.grading.inside import FAILURES, Program, Settings, child, write
from persona_bench.grading.privileges import libc

PIPE = 1 << 16  # bytes that a pipe holds
TICK = 0.05  # seconds between two looks at memory and processor time
ENDS = {0: "ok", **FAILURES}


class Fork:
    """A child that compiles or runs the program, and what is seen of it from outside.

    Args:
        program: Without `code`, the child compiles it and then answers calls of its function.
        stdin: A file in memory, which is the stdin of a script.
        settings: The limits, and what this machine grants.
    """

    def __init__(self, program: Program, stdin: int, settings: Settings) -> None:
        self.settings, self.stdin, self.output = settings, stdin, bytearray()
        self.answers = program.code is None
        self.processors = stay() if program.function else None
        given, self.calls = os.pipe() if self.answers else (os.dup(stdin), -1)
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
        return self.answer()

    def answer(self) -> str:
        """Waits for an answer: "" where it is there or the child has ended, else why it has to be
        ended."""
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
            if self.answers and self.answered():
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
        memory += file_memory(self.stdin, self.settings)
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


def fill(file: int, data: bytes) -> None:
    """Makes the data all that is in a file, to be read from its start."""
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    write(file, data)
    os.lseek(file, 0, os.SEEK_SET)


def file_memory(stdin: int, settings: Settings) -> int:
    """Bytes that files take in memory: those in /tmp, and what is in stdin."""
    size = os.fstat(stdin).st_blocks * 512
    if settings["tmp"]:
        tmp = os.statvfs("/tmp")
        size += (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize
    return size


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
