"""A bubblewrap process as the grader sees it: its start, the frames to and from it, its end.

Inside it runs `warm_server`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import marshal
import os
import select
import struct
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from persona_bench.grading.isolation import ENVIRONMENT, STARS, TMP, Isolation

INSIDE = ("privileges", "child", "child_monitor", "test_runner", "warm_server")
"""The modules that run inside, each after those that it imports."""
STACK = 512 << 20
"""Bytes that the stack of a program's first thread may grow to."""
STARTER = f"""
import marshal, os, resource, sys, types
stack, most = resource.getrlimit(resource.RLIMIT_STACK)
wanted = {STACK} if most == resource.RLIM_INFINITY else min({STACK}, most)
if stack != wanted:
    resource.setrlimit(resource.RLIMIT_STACK, (wanted, most))
    os.execv(sys.executable, sys.orig_argv)
def read(size):
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data)) or os._exit(0)
    return data
for name, code in marshal.loads(read(int.from_bytes(read(4), "big"))):
    module = sys.modules[name] = types.ModuleType(name)
    exec(code, vars(module))
module.main()
"""
"""What the interpreter runs. It starts itself again with room for a larger stack, which only a new
process gets; then it reads the modules `INSIDE` from the first frame and runs the last one."""
OWN_MEMORY = 256 << 20
"""Bytes that the processes of the sandbox itself may take, beside the program's."""
START_LIMIT = 60.0
"""Seconds that a sandbox may take to start on a busy machine."""


class SandboxError(RuntimeError):
    """The sandbox did not start. This is no fault of the program, which it has not seen."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: Processor time of one test, of all its processes; by the clock it has twice as
            long. Compiling has as much.
        total: Processor time of a program on all its tests together; by the clock it has twice as
            long.
        memory: Bytes of address space of one process; and of all its processes together, what they
            hold resident and in files in memory.
        processes: Processes and threads at a time.
        file_size: Bytes of each file that it writes.
        output: Bytes that it prints in one test.
    """

    seconds: float = 6.0
    total: float = 60.0
    memory: int = 2 << 30
    processes: int = 64
    file_size: int = 64 << 20
    output: int = 32 << 20


class MemoryGroup:
    """A control group (version 2) whose `memory.max` bounds all that a sandbox takes.

    Args:
        most: Bytes.

    Raises:
        OSError: this process can't make one, as on most machines where it is not root.
    """

    def __init__(self, most: int) -> None:
        with open("/proc/self/cgroup") as file:
            own = next((line[3:].strip() for line in file if line.startswith("0::")), "")
        folder = Path("/sys/fs/cgroup", own.strip("/"))
        if "memory" not in (folder / "cgroup.subtree_control").read_text().split():
            folder = folder.parent  # a group beside the own one
        self.path = Path(tempfile.mkdtemp(prefix="persona-bench-", dir=folder))
        try:
            (self.path / "memory.max").write_text(str(most))
            with contextlib.suppress(OSError):
                (self.path / "memory.swap.max").write_text("0")
        except OSError:
            self.close()
            raise
        self._killed = 0

    def enter(self) -> list[str]:
        """What stands before a command, so that it runs in here."""
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs")]

    def has_killed(self) -> bool:
        """Whether the kernel has killed a process for want of memory since this was last asked."""
        before = self._killed
        with contextlib.suppress(OSError):
            events = dict(map(str.split, (self.path / "memory.events").open()))
            self._killed = int(events["oom_kill"])
        return self._killed > before

    def close(self) -> None:
        for _ in range(100):
            with contextlib.suppress(OSError):  # the kernel has not yet removed the last process
                self.path.rmdir()
                return
            time.sleep(0.01)


def memory_groups() -> bool:
    """Whether this process can make a `MemoryGroup` and start commands in it."""
    try:
        group = MemoryGroup(1 << 30)
    except OSError:
        return False
    command = [*group.enter(), "true"]
    entered = subprocess.run(command, capture_output=True, check=False).returncode == 0
    group.close()
    return entered


_ALIVE: set[BwrapProcess] = set()


def close_all() -> None:
    """Ends all sandboxes, as after Ctrl-C; what runs in them is `lost`."""
    for process in list(_ALIVE):
        process.kill()


atexit.register(close_all)


class BwrapProcess:
    """One bubblewrap process with its pipes; not thread-safe.

    Args:
        how: From `sandbox.isolation`.
        limits: What each program may use.
        slot: Number among the sandboxes of this grader. Where the grader is root, each of them has
            a real user of its own.

    Raises:
        SandboxError: it can't be started.
    """

    def __init__(self, how: Isolation, limits: Limits, slot: int) -> None:
        self.how, self.limits = how, limits
        self._buffer = bytearray()
        settings = {
            **asdict(limits),
            "processes": limits.processes if how.processes else 0,
            "path": list(how.path),
            "uid": _user(slot) if how.own_user else None,
            "warm": how.warm,
            "isolated": how.kind == "bubblewrap",
            "modules": STARS,
            "proc": "--proc" in how.command,
            "tmp": TMP if "--tmpfs" in how.command else 0,
            "grader": os.getpid(),  # so that ps shows whose it is
        }
        self.group = MemoryGroup(limits.memory + TMP + OWN_MEMORY) if how.memory_groups else None
        call = [*how.command, how.python, "-s", "-S", "-c", STARTER]
        info, child_info = os.pipe()
        if how.kind == "bubblewrap":
            call[1:1] = ["--info-fd", str(child_info)]
        if self.group:
            call = self.group.enter() + call
        self._info = info
        try:
            self.process = subprocess.Popen(
                [*call, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if how.kind == "bubblewrap" else ENVIRONMENT,
                pass_fds=(child_info,),
                start_new_session=True,  # Ctrl-C goes to the grader alone
                cwd="/",
            )
        except OSError as error:
            os.close(info)
            if self.group:
                self.group.close()
            raise SandboxError(f"{call[0]} can't be started ({error.strerror})") from None
        finally:
            os.close(child_info)
        _ALIVE.add(self)
        self._in, self._out = _number(self.process.stdin), _number(self.process.stdout)
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._poll = select.poll()  # not select: a grader may have more than 1,024 files open
        self._poll.register(self._out, select.POLLIN)
        self.send(_inside())

    # ------------------------------------------------------------------ frames

    def send(self, data: bytes) -> None:
        """Sends one frame; does nothing where the process has died, as `receive` tells."""
        view = memoryview(struct.pack(">I", len(data)) + data)
        with contextlib.suppress(BrokenPipeError):
            while view:
                try:
                    view = view[os.write(self._in, view) :]
                except BlockingIOError:
                    poll = select.poll()
                    poll.register(self._in, select.POLLOUT)
                    if not poll.poll(START_LIMIT * 1000):
                        return

    def receive(self, seconds: float) -> bytes | None:
        """The next frame; None where the process is gone or silent for too long."""
        deadline = time.monotonic() + seconds
        if not self._fill(4, deadline):
            return None
        (size,) = struct.unpack(">I", self._buffer[:4])
        if size > self.limits.output + (4 << 20) or not self._fill(4 + size, deadline):
            return None
        frame = bytes(self._buffer[4 : 4 + size])
        del self._buffer[: 4 + size]
        return frame

    def _fill(self, size: int, deadline: float) -> bool:
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                return False
            with contextlib.suppress(BlockingIOError):
                piece = os.read(self._out, 1 << 20)
                if not piece:
                    return False
                self._buffer += piece
        return True

    # ------------------------------------------------------------------ the end

    def complaint(self) -> str:
        """Ends the sandbox; returns the last line that bubblewrap or the interpreter wrote."""
        self.kill()
        said = self.process.stderr.read().decode(errors="replace") if self.process.stderr else ""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return lines[-1][:200] if lines else "it ended without a word"

    def kill(self) -> None:
        """Kills PID 1 of the sandbox, and so everything in it."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            os.set_blocking(self._info, False)
            facts = json.loads(os.read(self._info, 4096))
            os.kill(int(facts["child-pid"]), 9)
        with contextlib.suppress(OSError):
            self.process.kill()

    def close(self) -> None:
        """Ends the sandbox and waits until nothing of it is left."""
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                stream.close() if stream else None
        try:
            self.process.wait(1.0)  # it ends where its stdin does
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        if self in _ALIVE:
            _ALIVE.discard(self)
            os.close(self._info)
            if self.group:
                self.group.close()


def _number(stream: Any) -> int:
    number: int = stream.fileno()
    return number


@lru_cache(maxsize=1)
def _inside() -> bytes:
    """The modules `INSIDE`, compiled once."""
    compiled = []
    for name in INSIDE:
        file = Path(__file__).with_name(f"{name}.py")
        code = compile(file.read_text(encoding="utf-8"), file.name, "exec")
        compiled.append((f"{__package__}.{name}", code))
    return marshal.dumps(compiled)


def _user(slot: int) -> int:
    """A user that no other slot of any grader on this machine has, if there are enough users."""
    with open("/proc/self/uid_map") as file:
        most = max(int(line.split()[0]) + int(line.split()[2]) for line in file)
    if most > 1 << 31:
        return 1_100_000_000 + os.getpid() * 64 + slot % 64
    return max(1, most // 2 + (os.getpid() * 64 + slot) % max(1, most // 2 - 1))
