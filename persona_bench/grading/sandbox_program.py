"""The process of an untrusted program, in a sandbox; forked by `sandbox_runner`.

The program can change everything in here, which spoils only its own output. Standard library only.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import marshal
import os
import resource
import sys
from types import CodeType, ModuleType
from typing import Any, NamedTuple, NoReturn

RESULT, CALLS = 3, 4  # descriptors on which answers go out, and arguments come in
CRASH, MEMORY, NOT_PLAIN, SYNTAX = 70, 71, 72, 73  # exit codes, and the status of an answer
SCALARS = frozenset((int, str, float, bool, type(None)))
PR_SET_DUMPABLE = 4
dumps = json.dumps
libc = ctypes.CDLL(None, use_errno=True)

Settings = dict[str, Any]
"""What `sandbox.Process` sends: the limits, and what this machine grants."""


class Program(NamedTuple):
    """A program.

    Attributes:
        source: Its text.
        function: The function that tests call; empty for a script.
        module: Where it runs.
        code: A script, compiled by an earlier process; None asks for compiling it.
    """

    source: str
    function: str
    module: ModuleType
    code: CodeType | None = None


def start(given: int, out: int, program: Program, settings: Settings) -> NoReturn:
    """All that the forked process does, with no other files open than its input and output.

    Without `program.code` it compiles the program, answers how that went, and serves calls of its
    function, if it has one. With it, it is one test of a script.
    """
    status = CRASH
    try:
        os.setsid()
        if "/dev/std" in program.source:
            libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /dev/stdin is closed to it
        fds = (2, 2, 2, out, given) if program.code is None else (given, out, 2)
        saved = [os.dup(fd) for fd in fds]
        for target, fd in enumerate(saved):
            os.dup2(fd, target)
        os.closerange(len(fds), 256)
        limit(resource.RLIMIT_AS, settings["memory"])
        limit(resource.RLIMIT_FSIZE, settings["file_size"])
        limit(resource.RLIMIT_NOFILE, 64)
        if "random" in sys.modules:
            sys.modules["random"].seed(0)  # the same program, the same verdict
        run_script(program) if program.code else serve_calls(program)
        status = 0
    except MemoryError:
        status = MEMORY
    except BaseException:
        pass
    finally:
        os._exit(status)


def limit(which: int, value: int) -> None:
    """Sets a limit that can't be raised again, or as much of it as is allowed."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def run_script(program: Program) -> None:
    """Runs the program as `python program.py` would, on the input that is its stdin."""
    stdout = sys.stdout
    with contextlib.suppress(SystemExit):  # with any exit code, as LiveCodeBench's runner
        exec(program.code or "", vars(program.module))
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()  # waits for threads that are not daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, stdout):  # the program may have replaced it
        with contextlib.suppress(Exception):
            stream.flush()


def serve_calls(program: Program) -> None:
    """Compiles the program and answers with the code of a script. If it has a function, calls that
    with each frame (one JSON argument per line) and answers with its value as JSON.

    Compiling happens here, as it can take all time and memory, or overflow the stack.
    """
    function, code, status, value = None, None, 0, b""
    try:
        code = compile(program.source, "<program>", "exec", dont_inherit=True)
        value = b"" if program.function else marshal.dumps(code)
    except MemoryError:
        status = MEMORY
    except (SyntaxError, ValueError, OverflowError, RecursionError):
        status = SYNTAX
    answer(status, value)
    while program.function and code:
        frame = os.read(CALLS, 1 << 16)  # usually a whole call, as one is sent at a time
        if len(frame) < 4 or len(frame) < 4 + int.from_bytes(frame[:4], "big"):
            frame += read(max(0, 4 - len(frame)), CALLS)
            frame += read(4 + int.from_bytes(frame[:4], "big") - len(frame), CALLS)
        text, status, value = frame[4:], 0, b""
        try:
            if function is None:
                exec(code, vars(program.module))
                owner = vars(program.module).get("Solution")
                function = getattr(owner() if owner else program.module, program.function)
            result = function(*[json.loads(line) for line in text.decode().split("\n")])
            value = dumps(plain(list(result) if isinstance(result, tuple) else result)).encode()
        except MemoryError:
            status = MEMORY
        except NotPlain:
            status = NOT_PLAIN
        except BaseException:
            status = CRASH
        answer(status, value)


def answer(status: int, value: bytes) -> None:
    write(RESULT, bytes([status]) + len(value).to_bytes(4, "big") + value)


class NotPlain(Exception):
    """A value that no list of JSON values can equal."""


def plain(value: Any) -> Any:
    """A copy in plain types, made without any method that the program could have replaced."""
    kind = type(value)  # compared by `is`: a class can claim to equal another
    if value is None or kind is int or kind is str or kind is float or kind is bool:
        return value
    if kind is list:
        if SCALARS.issuperset(map(type, value)):
            return value
        return [plain(item) for item in value]
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    copies: dict[type, Any] = {int: int.__int__, float: float.__float__, str: str.__str__}
    for base, copy in copies.items():
        if isinstance(value, base):
            return copy(value)
    if isinstance(value, list):
        return [plain(item) for item in list.__iter__(value)]
    if isinstance(value, dict):
        items = [(key, plain(item)) for key, item in dict.items(value)]
        if all(isinstance(key, str) for key, _ in items):
            return {str.__str__(key): item for key, item in items}
    raise NotPlain


def read(size: int, fd: int = 0) -> bytes:
    """Exactly `size` bytes; ends the process where the other side has gone."""
    data = bytearray()
    while len(data) < size:
        data += os.read(fd, min(size - len(data), 1 << 20)) or os._exit(0)
    return bytes(data)


def write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
