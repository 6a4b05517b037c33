"""Runs untrusted programs in sandboxes.

    with Slot() as slot, slot.program("print(int(input()) * 2)") as program:
        print(program.run("21\\n"))  # Run(status='ok', output=b'42\\n', seconds=...)

Inside there is the Python interpreter with its standard library, numpy and sortedcontainers (where
they are installed beside this project), the system's libraries, a private /tmp in memory, and no
network; everything else of this machine is absent. Each program has namespaces of its own there,
and a `test_runner` that is their PID 1. What this protects from, and what it does not:
docs/livecodebench.md.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from persona_bench.grading.bwrap_process import (
    START_LIMIT,
    BwrapProcess,
    Limits,
    SandboxError,
    close_all,
    memory_groups,
)
from persona_bench.grading.isolation import (
    INSTALL,
    Isolation,
    NoSandbox,
    command,
    packages,
    prelude,
)

__all__ = [
    "LIMITS",
    "Limits",
    "Run",
    "RunningProgram",
    "SandboxError",
    "Slot",
    "close_all",
    "isolation",
]

GRACE = 5.0
"""Seconds beyond a test's own limit after which the sandbox is taken for lost."""

Status = Literal[
    "ok", "not_plain", "timeout", "clock", "memory", "output", "crash", "syntax", "lost"
]
LIMITS = Limits()


class Run(NamedTuple):
    """The outcome of one test.

    `status` is `ok` (it ended by itself; `output` is what it printed, or the function's value as
    JSON), `not_plain` (a value that JSON can't hold), `timeout` (processor time), `clock` (twice
    that by the clock), `memory`, `output` (too much of it), `crash`, `syntax`, or `lost` (the
    sandbox has ended).
    """

    status: Status
    output: bytes
    seconds: float


# ---------------------------------------------------------------------- what this machine grants


def isolation(unsafe: bool = False) -> Isolation:
    """How programs are isolated on this machine; probed once.

    Args:
        unsafe: Don't isolate them: they run as this user, and reach all that this user can.

    Raises:
        NoSandbox: bubblewrap is missing, or namespaces are refused.
    """
    return unprotected() if unsafe else _probed(shutil.which("bwrap"))


def unprotected() -> Isolation:
    path = tuple(sorted({str(folder.parent) for folder in packages().values()}))
    return Isolation("none", (), sys.executable, path, processes=False, warm=False)


@lru_cache(maxsize=4)
def _probed(bwrap: str | None) -> Isolation:
    """The strictest options with which a program runs here; warm if that works."""
    if bwrap is None:
        raise NoSandbox(f"the command bwrap is not there: {INSTALL}")
    about = subprocess.run([bwrap, "--version"], capture_output=True, text=True, check=False)
    flags = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False)
    groups = memory_groups()
    reasons = []
    users = (False, True) if os.geteuid() == 0 else (True,)
    for user_namespace, proc, processes, warm in itertools.product(users, *[(True, False)] * 3):
        found = Isolation(
            "bubblewrap",
            tuple(command(bwrap, flags.stdout + flags.stderr, user_namespace, proc, warm)),
            "/python/bin/python3",
            ("/site",) if packages() else (),
            own_user=not user_namespace,
            processes=processes,
            warm=warm,
            memory_groups=groups,
            version=about.stdout.split()[-1] if about.stdout else "",
        )
        try:
            with Slot(how=found) as slot, slot.program("print(int(input()) * 2)") as program:
                run = program.run("21\n")
            if run.output == b"42\n":
                return found
            reasons.append(f"the program ended with {run.status!r}")
        except SandboxError as error:
            reasons.append(str(error))
    raise NoSandbox(f"bwrap does not work here ({reasons[0]}): {INSTALL}")


# ---------------------------------------------------------------------- one program after another


class Slot:
    """A place where programs run, one after another; not thread-safe.

    Args:
        number: Different for slots that are used at the same time.
        limits: What each program may use.
        how: From `isolation`.

    Raises:
        NoSandbox: `how` is not given, and this machine grants none.
    """

    def __init__(
        self, number: int = 0, *, limits: Limits = LIMITS, how: Isolation | None = None
    ) -> None:
        self.number, self.limits, self.how = number, limits, how or isolation()
        self._process: BwrapProcess | None = None

    def program(self, source: str, function: str = "") -> RunningProgram:
        """Compiles a program, ready to run. Close it before the next one.

        Args:
            source: Python code.
            function: Its function (or method of its class `Solution`) that a test calls; empty for
                a script, which reads stdin and prints.

        Raises:
            SandboxError: the sandbox does not start, which is no fault of the program.
        """
        if self._process is not None:
            try:
                return RunningProgram(self, self._process, source, function)
            except SandboxError:  # the warm sandbox is broken: start a new one
                self.drop()
            except BaseException:
                self.drop()
                raise
        self._process = BwrapProcess(self.how, self.limits, self.number)
        try:
            return RunningProgram(self, self._process, source, function)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Ends the sandbox and everything in it; the next program gets a new one."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()


class RunningProgram:
    """A program in its sandbox; made by `Slot.program`.

    Attributes:
        fault: Why it can't run at all, or not any more: compiling it did not end well (`syntax`,
            `memory`, `timeout`, `clock`, `crash`), or its sandbox has ended (`lost`, `memory`).
            Else `ok`.
        seconds: Processor time that it has taken so far, in compiling and in its tests.
        elapsed: The same by the clock.
        over: Whether the process in which its function is called has ended.
    """

    def __init__(self, slot: Slot, process: BwrapProcess, source: str, function: str) -> None:
        self._slot, self._process = slot, process
        self._lost = False
        self.over = False
        if slot.how.warm:
            process.send(b"")
        told = {"code": source, "function": function, "imports": prelude(source)}
        process.send(json.dumps(told).encode())
        hello = process.receive(START_LIMIT)
        if hello is None:
            raise SandboxError(process.complaint())
        greeting = json.loads(hello)
        if "error" in greeting:
            raise SandboxError(greeting["error"])
        if slot.how.kind == "bubblewrap" and greeting["pid"] != 1:
            raise SandboxError("bwrap gave no process namespace")
        self.elapsed = 0.0
        answer = self._receive()
        self._lost = answer is None
        self.fault: Status = "crash"
        self.seconds = 0.0
        if answer:
            self.fault, self.seconds = json.loads(answer)
        self.fault = self._cause(self.fault)

    def run(self, text: str) -> Run:
        """Runs one test: `text` is the stdin of a script, or the JSON arguments, one per line.

        Each test of a script has its own process. Calls of a function share one, as in
        LiveCodeBench's runner; once that has ended (`over`), no further calls are possible.
        """
        return self.run_some([text])[0]

    def run_some(self, texts: Sequence[str]) -> list[Run]:
        """Runs the first of several tests, and as many more as end well within 20 ms and a MiB of
        output. The program gets their inputs one by one."""
        if self.fault != "ok":
            return [Run(self.fault, b"", self.seconds)]
        inputs = [text.encode(errors="replace") for text in texts]
        self._process.send(b"".join(struct.pack(">I", len(data)) + data for data in inputs))
        answer = self._receive()
        if answer is None:
            self._lost = True
            self.fault = self._cause("lost")
            return [Run(self.fault, b"", 0.0)]
        header, _, output = answer.partition(b"\n")
        heads, alive = json.loads(header)
        self.over = not alive
        runs, at = [], 0
        for status, seconds, size in heads:
            runs.append(Run(self._cause(status), output[at : at + size], seconds))
            at += size
            self.seconds += seconds
        return runs

    def _cause(self, status: Status) -> Status:
        """`memory` where the kernel ended a process for want of it."""
        killed = (
            status in ("crash", "lost") and self._process.group and self._process.group.has_killed()
        )
        return "memory" if killed else status

    def _receive(self) -> bytes | None:
        began = time.monotonic()
        answer = self._process.receive(2 * self._slot.limits.seconds + GRACE)
        self.elapsed += time.monotonic() - began
        return answer

    def close(self) -> None:
        """Ends the program. A warm sandbox stays for the next one."""
        if not self._lost:
            self._process.send(b"")
        if self._lost or not self._slot.how.warm:
            self._slot.drop()

    def __enter__(self) -> RunningProgram:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._lost = self._lost or kind is not None  # an answer may still be on its way
        self.close()
