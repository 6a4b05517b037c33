"""Watches the forked process in which a program is compiled or runs: time, memory, output, its end.

Standard library only: it runs inside the sandbox.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time

from persona_bench.grading.child import FAILURES, Program, Settings, start, write
from persona_bench.grading.privileges import libc

PIPE = 1 << 16  # bytes that a pipe holds
TICK = 0.05  # seconds between two looks at memory and processor time
ENDS = {0: "ok", **FAILURES}


class MonitoredChild:
    """A forked process that compiles or runs the program.

    Args:
        program: Without `code`, the child compiles it and then answers calls of its function. With
            it, the child is one test of a script.
        stdin: A file in memory, which becomes the stdin of a script.
        settings: The limits, and what this machine grants.
    """

    def __init__(self, program: Program, stdin: int, settings: Settings) -> None:
        self.settings, self.stdin, self.output = settings, stdin, bytearray()
        self.answers = program.code is None
        self.processors = pin_to_processor() if program.function else None
        given, self.calls = os.pipe() if self.answers else (os.dup(stdin), -1)
        self.out, child_out = os.pipe()
        self.before, self.next_look = 0.0, time.monotonic() + TICK
        self.pid = os.fork()
        if self.pid == 0:
            start(given, child_out, program, settings)
        os.close(given)
        os.close(child_out)
        os.set_blocking(self.out, False)
        self.ended = os.pidfd_open(self.pid)
        self.poll = select.poll()
        self.poll.register(0, 0)  # only to see that the grader has gone
        for fd in (self.out, self.ended):
            self.poll.register(fd, select.POLLIN)

    def call(self, data: bytes) -> str:
        """Sends arguments to the function; returns as `wait_for_answer`."""
        self.output.clear()
        try:
            write(self.calls, len(data).to_bytes(4, "big") + data)
        except BrokenPipeError:
            return self.watch()
        return self.wait_for_answer()

    def wait_for_answer(self) -> str:
        """Returns "" once there is an answer or the child has ended, else why it must be ended."""
        if self.poll.poll(TICK * 1000) == [(self.out, select.POLLIN)]:  # mostly all of it
            self.output += os.read(self.out, PIPE)
            if self.has_answered():
                return self.exceeded_limit() if self.is_look_due() else ""
        return self.watch()

    def has_answered(self) -> bool:
        """Whether a whole answer has arrived."""
        output = self.output
        return len(output) >= 5 and len(output) >= 5 + int.from_bytes(output[1:5], "big")

    def watch(self) -> str:
        """Reads the output until the child answers or ends by itself (""), or must be ended (why).

        The reasons: `timeout`, `clock`, `memory`, `output`.
        """
        wall = time.monotonic() + 2 * self.settings["seconds"]
        while True:
            left = max(0.0, self.next_look - time.monotonic())
            events = {fd for fd, _ in self.poll.poll(left * 1000)}
            if 0 in events:
                os._exit(0)
            if self.out in events and not drain(self.out, self.output, self.settings["output"]):
                self.poll.unregister(self.out)
            if len(self.output) > self.settings["output"]:
                return "output"
            if self.answers and self.has_answered():
                return ""
            if self.ended in events:  # processes that it left may hold the pipe open: don't wait
                drain(self.out, self.output, self.settings["output"])
                return ""
            if self.is_look_due():
                self.unpin()
                if why := self.exceeded_limit():
                    return why
                if time.monotonic() >= wall:
                    return "clock"

    def is_look_due(self) -> bool:
        """Whether it is time to look at what is used: once per tick, however short the calls."""
        now = time.monotonic()
        if now < self.next_look:
            return False
        self.next_look = now + TICK
        return True

    def unpin(self) -> None:
        """Lets all processes use every processor again: a call that runs this long is worth it."""
        if self.processors:
            for thread in (0, *threads(self.pid)):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(thread, self.processors)
            self.processors = None

    def exceeded_limit(self) -> str:
        """The limit that the test has exceeded, else ""."""
        seconds, memory = usage(self.pid)
        if seconds - self.before > self.settings["seconds"]:
            return "timeout"
        memory += file_memory(self.stdin, self.settings)
        return "memory" if memory > self.settings["memory"] else ""

    def end(self) -> tuple[int, float]:
        """Kills all that is left of the program.

        Returns:
            The child's wait status and its processor seconds.
        """
        with contextlib.suppress(ProcessLookupError):
            if os.getpid() == 1:
                os.kill(-1, signal.SIGKILL)  # everything in this namespace except this process
            else:  # without a sandbox only the child and its process group can be named
                os.kill(self.pid, signal.SIGKILL)
                os.killpg(self.pid, signal.SIGKILL)
        _, status, used = os.wait4(self.pid, 0)
        while os.getpid() == 1:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
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


def refill(file: int, data: bytes) -> None:
    """Replaces what is in a file, and goes back to its start."""
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    write(file, data)
    os.lseek(file, 0, os.SEEK_SET)


def drain(out: int, output: bytearray, most: int) -> bool:
    """Reads what has arrived; returns False at the end of the stream."""
    while len(output) <= most:
        try:
            piece = os.read(out, PIPE)
        except BlockingIOError:
            break
        if not piece:
            return False
        output += piece
        if len(piece) < PIPE:  # that was all
            break
    return True


def file_memory(stdin: int, settings: Settings) -> int:
    """Bytes that files take in memory: those in /tmp, and what is in stdin."""
    size = os.fstat(stdin).st_blocks * 512
    if settings["tmp"]:
        tmp = os.statvfs("/tmp")
        size += (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize
    return size


def usage(pid: int) -> tuple[float, int]:
    """Processor seconds and resident bytes of all processes in here except this one.

    Without a /proc of this namespace: the seconds of the child alone, and no bytes. The limits that
    each process has by itself remain.
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
    """All processes in here except this one; only the child where there is no /proc to list."""
    if os.getpid() == 1 and os.path.exists("/proc/self"):
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    return [pid]


def threads(pid: int) -> list[int]:
    """The threads of these processes."""
    numbers = []
    for number in processes(pid):
        with contextlib.suppress(OSError):  # it has just ended
            numbers += [int(name) for name in os.listdir(f"/proc/{number}/task")]
    return numbers or [pid]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads, from its clock (as the C library encodes it)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it has just ended
        return 0.0


def exit_reason(status: int, seconds: float, allowed: float) -> str:
    """How a child ended, from its wait status and its processor time."""
    if seconds > allowed or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return "timeout"
    if not os.WIFEXITED(status):
        return "crash"
    return ENDS.get(os.WEXITSTATUS(status), "crash")
