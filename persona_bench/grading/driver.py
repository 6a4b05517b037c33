"""Runs one program inside the sandbox; started by `keeper`.

Standard library only, but for its neighbours that come along: there is nothing else. It is PID 1 of
its own namespace, so that what it runs can neither kill, stop nor trace it. It never has an
expected value: all it does is run the program on inputs and hand out what came back.

A script has a fork a test. A function's tests are calls in one fork, on one `Solution`, as in
LiveCodeBench's runner; when that has ended, so has the program. It is forked before any input is
read: later, this process would have held inputs that are not yet the program's to know. The program
is compiled in a fork too, as a source can make the compiler take all memory and time.

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
import marshal
import os
import resource
import struct
import sys
import time
from types import ModuleType
from typing import Any, NamedTuple

from persona_bench.grading.forked import ENDS, Fork, cpu_seconds, ending, fill
from persona_bench.grading.inside import Program, Settings, limit, read, write

SOON = 0.02  # seconds after which no further test of a frame is begun
ENOUGH = 1 << 20  # bytes of output after which none is


def drive(settings: Settings, stdin: int) -> None:
    """Runs one program, from its frame to the end that the grader tells.

    Args:
        settings: The limits, and what this machine grants.
        stdin: An empty file in memory, for the tests of a script.
    """
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)  # up to here, complaints are for the grader
    send({"pid": os.getpid()})

    told = json.loads(receive())
    limit(resource.RLIMIT_CORE, 0)
    if settings["processes"]:
        limit(resource.RLIMIT_NPROC, settings["processes"])
    limit(resource.RLIMIT_AS, settings["memory"] + (256 << 20))  # the driver's own share
    if not told["function"]:
        streams(stdin)
    module = prelude(told["imports"], bool(told["function"]))
    program = Program(told["code"], told["function"], module)
    del told
    gc.freeze()  # else each child copies what the collector touches
    program, compiled, fork = compile_program(program, stdin, settings)
    send([compiled.status, compiled.seconds])
    while frame := receive():
        if program.code is None and fork is None:
            raise ValueError("there is nothing to run")
        fork = tests(pieces(frame), program, stdin, settings, fork)
    if fork and os.getpid() != 1:  # with the first process of a namespace, all others end
        fork.end()


def streams(stdin: int) -> None:
    """Makes `sys` that of a script, once: it takes much of a small test to do so in each fork.

    The standard streams are those of the descriptors 0 to 2, which are the forks' own there. What
    they are of is asked when they are made, so a file and pipes lie there in the meantime.
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


class Answer(NamedTuple):
    """What came of compiling, or of one test."""

    status: str
    seconds: float
    output: bytes


def compile_program(
    program: Program, stdin: int, settings: Settings
) -> tuple[Program, Answer, Fork | None]:
    """Compiles the program in a watched child.

    Returns:
        The program, a script with its code; how compiling it ended; and the child, which lives on
        where it has a function to be called.
    """
    fork = Fork(program, stdin, settings)
    answer, alive = outcome(fork, fork.answer())
    if alive and (answer.status != "ok" or not program.function):
        fork.end()
        alive = None
    if answer.status == "ok" and not program.function:
        code = marshal.loads(answer.output)
        program = program._replace(code=code)
        for name in {"numpy", "sortedcontainers"}.intersection(code.co_names):
            with contextlib.suppress(Exception):
                importlib.import_module(name)  # this is slow, so it is done before the forks
    return program, answer, alive


# ---------------------------------------------------------------------- the tests of a frame


def tests(
    inputs: list[bytes], program: Program, stdin: int, settings: Settings, fork: Fork | None
) -> Fork | None:
    """Runs the tests of a frame, as far as it is worth while, and sends the frame that answers.

    Returns:
        The child that can take the next call, if any.
    """
    began, answers, size = time.monotonic(), [], 0
    for data in inputs:
        if fork:
            answer, fork = outcome(fork, fork.call(data))
        else:
            fill(stdin, data)
            script = Fork(program, stdin, settings)
            answer, fork = outcome(script, script.watch())
        answers.append(answer)
        size += len(answer.output)
        done = answer.status != "ok" or (program.function and fork is None)
        if done or size > ENOUGH or time.monotonic() - began > SOON:
            break
    heads = [(answer.status, answer.seconds, len(answer.output)) for answer in answers]
    alive = not program.function or fork is not None
    send([heads, alive], b"".join(answer.output for answer in answers))
    return fork


def outcome(fork: Fork, status: str) -> tuple[Answer, Fork | None]:
    """What came of a test or of compiling, and the child, if it can take the next call.

    Args:
        fork: It has been watched to its answer or its end.
        status: Why it has to be ended, or "".
    """
    if fork.answers and not status and fork.answered():
        now, value = cpu_seconds(fork.pid), bytes(fork.output[5:])
        seconds, fork.before = now - fork.before, now
        return Answer(ENDS.get(fork.output[0], "crash"), seconds, value), fork
    ended, seconds = fork.end()
    seconds -= fork.before
    status = status or ending(ended, seconds, fork.settings["seconds"])
    if fork.answers and status == "ok":
        status = "crash"  # it left without an answer
    return Answer(status, seconds, bytes(fork.output) if status == "ok" else b""), None


# ---------------------------------------------------------------------- frames


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
