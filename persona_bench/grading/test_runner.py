"""Runs one program on its tests, inside the sandbox; started by `warm_server`.

Standard library only. It is PID 1 of a namespace of its own, so that the signals of what it runs
have no effect on it. It never has an expected value: it runs the program on inputs and returns
what came back.

The program is compiled in a fork, as a source can make the compiler take all time and memory. Each
test of a script then runs in its own fork. The tests of a function are calls in the fork that
compiled it, on one `Solution`, as in LiveCodeBench's runner; when that fork has ended, so has the
program. It is made before any input is read, since a later fork would hold inputs that the program
must not know yet.

Frames on stdin and stdout: a length in four bytes, then the bytes. In: the program, then frames of
tests (the inputs, each after its length); an empty frame is the end. Out: a greeting, one frame
about compiling, and one frame per frame of tests: a line of JSON with a list per test, then their
outputs. Of several tests as many are run as end well and soon. The program's own stdin and stdout
are separate.
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
import struct
import sys
import time
from types import ModuleType
from typing import Any, NamedTuple

from persona_bench.grading.child import Program, Settings, limit, read, write
from persona_bench.grading.child_monitor import (
    ENDS,
    MonitoredChild,
    cpu_seconds,
    exit_reason,
    refill,
)

SOON = 0.02  # seconds after which no further test of a frame is begun
ENOUGH = 1 << 20  # bytes of output after which none is
OWN_MEMORY = 256 << 20  # bytes of address space beyond the program's limit
SLOW_IMPORTS = frozenset(("numpy", "sortedcontainers"))


def run_program(settings: Settings, stdin: int) -> None:
    """Runs one program, from its frame to the empty one.

    Args:
        settings: The limits, and what this machine grants.
        stdin: An empty file in memory, which becomes the stdin of a script.
    """
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # until here, errors are for the grader to read
    send({"pid": os.getpid()})

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
    program, compiled, child = compile_program(program, stdin, settings)
    send([compiled.status, compiled.seconds])
    while frame := receive():
        if program.code is None and child is None:
            raise ValueError("there is nothing to run")
        child = run_tests(split_inputs(frame), program, stdin, settings, child)
    if child and os.getpid() != 1:  # with PID 1, all others of its namespace end anyway
        child.end()


def redirect_streams(stdin: int) -> None:
    """Gives `sys` the streams of a script, once: doing so in each fork would dominate small tests.

    The streams use the descriptors 0 to 2, which each fork makes its own. Python looks at a
    descriptor's kind when a stream is made, so a file and a pipe lie there in the meantime.
    """
    saved = [os.dup(fd) for fd in range(3)]
    reader, writer = os.pipe()
    for target, fd in enumerate((stdin, writer, writer)):
        os.dup2(fd, target)
    kind: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "closefd": False}
    for fd, (name, mode) in enumerate(zip(("stdin", "stdout", "stderr"), "rww", strict=True)):
        stream = open(fd, mode, **kind)  # noqa: SIM115
        vars(sys).update({name: stream, f"__{name}__": stream})
    for target, fd in enumerate(saved):
        os.dup2(fd, target)
    for fd in (*saved, reader, writer):
        os.close(fd)
    sys.argv = ["program.py"]
    atexit._clear()


def make_module(imports: list[tuple[str, list[str]]], function: bool) -> ModuleType:
    """The module in which the program runs, made before the forks, as copying pages is slow.

    Args:
        imports: (module, names), see `isolation.prelude`; a name that does not exist is skipped.
        function: Whether the tests call a function.
    """
    module = ModuleType("solution" if function else "__main__")
    for source, names in imports:
        imported = importlib.import_module(source)
        if names:
            present = {name: getattr(imported, name) for name in names if hasattr(imported, name)}
            vars(module).update(present)
        else:
            vars(module)[source] = imported
    sys.modules[module.__name__] = module
    sys.setrecursionlimit(50_000)  # as LiveCodeBench's runner
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # the interpreter runs without `site`
    return module


# ---------------------------------------------------------------------- compiling and tests


class Answer(NamedTuple):
    """How compiling, or one test, ended."""

    status: str
    seconds: float
    output: bytes


def compile_program(
    program: Program, stdin: int, settings: Settings
) -> tuple[Program, Answer, MonitoredChild | None]:
    """Compiles the program in a monitored child.

    Returns:
        The program (a script with its code), how compiling ended, and the child, which stays alive
        where it has a function to call.
    """
    child = MonitoredChild(program, stdin, settings)
    answer, alive = outcome(child, child.wait_for_answer())
    if alive and (answer.status != "ok" or not program.function):
        child.end()
        alive = None
    if answer.status == "ok" and not program.function:
        code = marshal.loads(answer.output)
        program = program._replace(code=code)
        for name in SLOW_IMPORTS.intersection(code.co_names):  # before the forks
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    return program, answer, alive


def run_tests(
    inputs: list[bytes],
    program: Program,
    stdin: int,
    settings: Settings,
    child: MonitoredChild | None,
) -> MonitoredChild | None:
    """Runs the tests of one frame, until one fails or takes long, and sends the answers.

    Returns:
        The child that can take the next call, if any.
    """
    began, answers, size = time.monotonic(), [], 0
    for data in inputs:
        if child:
            answer, child = outcome(child, child.call(data))
        else:
            refill(stdin, data)
            script = MonitoredChild(program, stdin, settings)
            answer, child = outcome(script, script.watch())
        answers.append(answer)
        size += len(answer.output)
        done = answer.status != "ok" or (program.function and child is None)
        if done or size > ENOUGH or time.monotonic() - began > SOON:
            break
    heads = [(answer.status, answer.seconds, len(answer.output)) for answer in answers]
    alive = not program.function or child is not None
    send([heads, alive], b"".join(answer.output for answer in answers))
    return child


def outcome(child: MonitoredChild, status: str) -> tuple[Answer, MonitoredChild | None]:
    """What came of compiling or of a test, and the child, if it can take the next call.

    Args:
        child: It has been watched until it answered or ended.
        status: Why it has to be ended, else "".
    """
    if child.answers and not status and child.has_answered():
        now, value = cpu_seconds(child.pid), bytes(child.output[5:])
        seconds, child.before = now - child.before, now
        return Answer(ENDS.get(child.output[0], "crash"), seconds, value), child
    ended, seconds = child.end()
    seconds -= child.before
    status = status or exit_reason(ended, seconds, child.settings["seconds"])
    if child.answers and status == "ok":
        status = "crash"  # it exited without an answer
    return Answer(status, seconds, bytes(child.output) if status == "ok" else b""), None


# ---------------------------------------------------------------------- frames


def receive() -> bytes:
    return read(struct.unpack(">I", read(4))[0])


def send(header: Any, body: bytes = b"") -> None:
    data = json.dumps(header).encode() + b"\n" + body
    write(1, struct.pack(">I", len(data)) + data)


def split_inputs(data: bytes) -> list[bytes]:
    """The inputs of a frame."""
    inputs, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        inputs.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return inputs
