"""Runs untrusted Python programs in bubblewrap sandboxes: the part in the grader's own process.

    with Slot() as slot, slot.program("print(int(input()) * 2)") as program:
        print(program.run("21\\n"))  # Run(status=<Status.OK: 'ok'>, output=b'42\\n', seconds=...)

It does not protect from:
- a hole in the kernel: few system calls are filtered, and as root there is no user namespace
  between a program and the kernel. Run untrusted models at scale in a virtual machine;
- reading the interpreter, its libraries, numpy and sortedcontainers, which are visible inside, and
  what /proc says about the machine;
- short peaks of memory where this process can't make control groups: the sum over a program's
  processes is looked at 20 times a second;
- timing: programs can tell how busy the machine is, and can signal to each other that way.

docs/livecodebench.md has all of it, and what it protects from. What runs where, each process
started by the one before it:
1. the grader, with this module. It alone knows expected outputs;
2. `sandbox_server`, the first process in bubblewrap's namespaces, which stays for many programs;
3. `sandbox_runner`, one per program, PID 1 of namespaces of the program's own, without privileges;
4. `sandbox_program`, the program: one process for all calls of a function, or one per test.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import itertools
import json
import marshal
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

INSIDE = ("sandbox_program", "sandbox_runner", "sandbox_server")
"""The modules that run inside, each after those that it imports."""
PACKAGES = ("numpy", "sortedcontainers")
"""What programs may import beside the standard library, where it is installed here."""
TMP = 256 << 20
"""Bytes of the /tmp inside, for each program."""
OWN_MEMORY = 256 << 20
"""Bytes that the processes of the sandbox itself may take, beside the program's."""
START_LIMIT = 60.0
"""Seconds that a sandbox may take to start on a busy machine."""
GRACE = 5.0
"""Seconds beyond a test's own limit after which the sandbox is taken for lost."""
INSTALL = (
    "install bubblewrap (apt-get install bubblewrap, dnf install bubblewrap) and allow user "
    "namespaces (in a container: docker run --security-opt seccomp=unconfined, or run as root with "
    "--cap-add SYS_ADMIN)"
)
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LD_LIBRARY_PATH": "/python/lib",
    "MALLOC_ARENA_MAX": "1",  # else threads reserve more address space than they may have
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/python/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",  # the same program, the same verdict
}
STARTER = """
import marshal, os, resource, sys, types
stack, most = resource.getrlimit(resource.RLIMIT_STACK)
wanted = 512 << 20 if most == resource.RLIM_INFINITY else min(512 << 20, most)
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


class NoSandbox(RuntimeError):
    """This machine grants no isolation; the message says why and how to mend it."""


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


class Status(str, Enum):
    """How a test of a program, or compiling it, ended."""

    OK = "ok"  # it ended by itself
    NOT_PLAIN = "not_plain"  # a function's value that JSON can't hold
    TIMEOUT = "timeout"  # it took too much processor time
    CLOCK = "clock"  # it took twice as long by the clock
    MEMORY = "memory"
    OUTPUT = "output"  # it printed too much
    CRASH = "crash"
    SYNTAX = "syntax"
    LOST = "lost"  # its sandbox has ended


class Run(NamedTuple):
    """The outcome of one test: how it ended, what it printed (or its function's value as JSON), and
    the processor time that it took.
    """

    status: Status
    output: bytes
    seconds: float


# ---------------------------------------------------------------------- what this machine grants


@dataclass(frozen=True)
class Isolation:
    """How sandboxes are made on this machine.

    Attributes:
        command: bubblewrap, its arguments and the interpreter; without bubblewrap where the user
            asked for that.
        path: Added to the module path inside: where `PACKAGES` lie.
        own_user: Whether each slot drops to a real user of its own (started by root).
        processes: Whether the limit of processes can be set.
        warm: Whether a sandbox is kept for several programs, each in namespaces of its own.
        memory_group: Whether each sandbox is in a control group of its own that bounds its memory.
    """

    command: tuple[str, ...]
    path: tuple[str, ...]
    own_user: bool = False
    processes: bool = False
    warm: bool = False
    memory_group: bool = False

    @property
    def kind(self) -> Literal["bubblewrap", "none"]:
        return "bubblewrap" if len(self.command) > 1 else "none"

    def record(self) -> dict[str, Any]:
        """For the results file."""
        about = [self.command[0], "--version"]
        version = subprocess.run(about, capture_output=True, text=True, check=False).stdout
        return {
            "sandbox": self.kind,
            "sandbox_version": version.split()[-1] if self.kind == "bubblewrap" else "",
            "program_python": sys.version.split()[0],
            "program_packages": {name: metadata.version(name) for name in packages()},
        }


def isolation(unsafe: bool = False) -> Isolation:
    """How programs are isolated on this machine; probed once.

    Args:
        unsafe: Don't isolate them: they run as this user, and reach all that this user can.

    Raises:
        NoSandbox: bubblewrap is missing, or namespaces are refused.
    """
    if unsafe:
        path = sorted({str(folder.parent) for folder in packages().values()})
        return Isolation((sys.executable,), tuple(path))
    return _probed(shutil.which("bwrap"))


@lru_cache(maxsize=4)
def _probed(bwrap: str | None) -> Isolation:
    """The strictest options with which a program runs here; warm if that works."""
    if bwrap is None:
        raise NoSandbox(f"the command bwrap is not there: {INSTALL}")
    reason = ""
    users = (False, True) if os.geteuid() == 0 else (True,)
    path = ("/site",) if packages() else ()
    for user_namespace, proc, *others in itertools.product(users, *[(True, False)] * 4):
        processes, warm, memory_group = others
        command = bwrap_command(bwrap, user_namespace, proc, warm)
        how = Isolation(command, path, not user_namespace, processes, warm, memory_group)
        try:
            with Slot(how=how) as slot, slot.program("print(int(input()) * 2)") as program:
                run = program.run("21\n")
            if run.output == b"42\n":
                return how
            reason = f"the program ended with {run.status.value!r}"
        except SandboxError as error:
            reason = str(error)
    raise NoSandbox(f"bwrap does not work here ({reason}): {INSTALL}")


def bwrap_command(bwrap: str, user_namespace: bool, proc: bool, warm: bool) -> tuple[str, ...]:
    """bubblewrap, its arguments, and the interpreter.

    Inside, the interpreter has a path of its own, as here it may lie where its user can't look.
    Without a user namespace, as for root, the runner changes to a real user of its slot: the limit
    of processes has no effect on a user that maps to root. In a warm sandbox the first process may
    make namespaces; the runners that it forks may not.
    """
    help_text = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False)
    flags = help_text.stdout + help_text.stderr
    call = [bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    call += ["--unshare-cgroup-try", "--as-pid-1", "--die-with-parent", "--new-session"]
    call += ["--hostname", "sandbox", "--clearenv"]
    if user_namespace:
        for capability in ("CAP_SYS_ADMIN", "CAP_SYS_CHROOT") if warm else ():
            call += ["--cap-add", capability]
        call += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
        call += ["--disable-userns"] if "--disable-userns" in flags else []
    for name, value in ENVIRONMENT.items():
        call += ["--setenv", name, value]
    for folder in ("/python", "/python/bin", "/python/lib", "/python/lib64", "/site", "/usr"):
        call += ["--dir", folder]  # what bwrap makes for itself may be closed to the slot's user
    for source, target in visible():
        call += ["--ro-bind", source, target]
    call += ["--proc", "/proc"] if proc else []
    call += ["--dev", "/dev", "--remount-ro", "/dev"]
    # a shared mapping of /dev/zero is memory that no limit counts
    call += ["--dev-bind", "/dev/null", "/dev/zero"]
    if "--size" in flags and "--perms" in flags:
        call += ["--perms", "1777", "--size", str(TMP), "--tmpfs", "/tmp"]
    else:  # bubblewrap before 0.7 can't bound a /tmp: there is an empty one, not to be written
        call += ["--dir", "/tmp"]
    return (*call, "--remount-ro", "/", "--chdir", "/tmp", "/python/bin/python3")


def visible() -> list[tuple[str, str]]:
    """(path here, path inside) of the interpreter, its libraries, and `PACKAGES`."""
    binds = {"/python/bin/python3": os.path.realpath(sys._base_executable)}  # type: ignore[attr-defined]
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    for name in ("stdlib", "platstdlib"):  # the second is in lib64 on some systems
        folder = sysconfig.get_path(name, vars=base)
        binds[f"/python/{os.path.relpath(folder, sys.base_prefix)}"] = folder
    shared = sysconfig.get_config_var("INSTSONAME") or "none"
    binds[f"/python/lib/{shared}"] = f"{sysconfig.get_config_var('LIBDIR')}/{shared}"
    for folder in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        binds[folder] = os.path.realpath(folder)
    for name, package in packages().items():
        binds |= {f"/site/{name}": str(package), f"/site/{name}.libs": f"{package}.libs"}
    return [(source, target) for target, source in binds.items() if os.path.exists(source)]


def packages() -> dict[str, Path]:
    """The folders of those of `PACKAGES` that are installed here."""
    specs = {name: importlib.util.find_spec(name) for name in PACKAGES}
    return {name: Path(spec.origin).parent for name, spec in specs.items() if spec and spec.origin}


# ---------------------------------------------------------------------- one program after another


class Slot:
    """A place where programs run, one after another; not thread-safe.

    Args:
        number: Different for slots that are used at the same time. Where the grader is root, each
            has a real user of its own.
        limits: What each program may use.
        how: From `isolation`.
        preload: Modules that a warm sandbox imports once for all its programs.

    Raises:
        NoSandbox: `how` is not given, and this machine grants none.
    """

    def __init__(
        self,
        number: int = 0,
        *,
        limits: Limits | None = None,
        how: Isolation | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self.number, self.limits, self.preload = number, limits or Limits(), preload
        self.how = how or isolation()
        self._process: Process | None = None

    def program(
        self, source: str, function: str = "", imports: Sequence[tuple[str, list[str]]] = ()
    ) -> RunningProgram:
        """Compiles a program, ready to run. Close it before the next one.

        Args:
            source: Python code.
            function: Its function (or method of its class `Solution`) that a test calls; empty for
                a script, which reads stdin and prints.
            imports: Made before the program: (module, names); no names for the module itself. A
                name that does not exist is skipped.

        Raises:
            SandboxError: the sandbox does not start, which is no fault of the program.
        """
        request = {"code": source, "function": function, "imports": imports}
        for process in (self._process, None):
            try:
                self._process = process or Process(self)
                return RunningProgram(self, self._process, request)
            except BaseException as error:
                self.drop()
                if process is None or not isinstance(error, SandboxError):
                    raise  # else the warm sandbox is broken: start a new one
        raise AssertionError

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
        fault: Why it can't run at all, or not any more: how compiling it ended, or that its
            sandbox has ended (`LOST`, `MEMORY`). Else `OK`.
        seconds: Processor time that it has taken so far, in compiling and in its tests.
        elapsed: The same by the clock.
        over: Whether the process in which its function is called has ended.
    """

    def __init__(self, slot: Slot, process: Process, request: dict[str, Any]) -> None:
        self._slot, self._process, self.over = slot, process, False
        if slot.how.warm:
            process.send(b"")
        process.send(json.dumps(request).encode())
        greeting = json.loads(process.receive(START_LIMIT) or b"null")
        if greeting is None or "error" in greeting:
            raise SandboxError(greeting["error"] if greeting else process.complaint())
        self.elapsed = 0.0
        answer = self._receive()
        self._lost = answer is None
        fault, self.seconds = json.loads(answer or b'["crash", 0.0]')
        self.fault = self._cause(Status(fault))

    def run(self, text: str) -> Run:
        """Runs one test: `text` is the stdin of a script, or the JSON arguments, one per line.

        Each test of a script has its own process. Calls of a function share one, as in
        LiveCodeBench's runner; once that has ended (`over`), no further calls are possible.
        """
        return self.run_some([text])[0]

    def run_some(self, texts: Sequence[str]) -> list[Run]:
        """Runs the first of several tests, and as many more as end well within 20 ms and a MiB of
        output. The program gets their inputs one by one."""
        if self.fault is not Status.OK:
            return [Run(self.fault, b"", self.seconds)]
        self._process.send(json.dumps(texts).encode())
        answer = self._receive()
        if answer is None:
            self._lost, self.fault = True, self._cause(Status.LOST)
            return [Run(self.fault, b"", 0.0)]
        header, _, output = answer.partition(b"\n")
        heads, alive = json.loads(header)
        self.over = not alive
        runs, at = [], 0
        for status, seconds, size in heads:
            runs.append(Run(self._cause(Status(status)), output[at : at + size], seconds))
            at += size
            self.seconds += seconds
        return runs

    def _cause(self, status: Status) -> Status:
        """`MEMORY` where the kernel ended a process for want of it."""
        killed = status in (Status.CRASH, Status.LOST) and self._process.has_been_short_of_memory()
        return Status.MEMORY if killed else status

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


# ---------------------------------------------------------------------- bubblewrap and its pipes


_ALIVE: set[Process] = set()


def close_all() -> None:
    """Ends all sandboxes, as after Ctrl-C; what runs in them is `lost`."""
    for process in list(_ALIVE):
        process.kill()


atexit.register(close_all)


class Process:
    """bubblewrap, what runs in it, and the frames (a length, then bytes) to and from it.

    Raises:
        SandboxError: it can't be started.
    """

    def __init__(self, slot: Slot) -> None:
        how, self.limits = slot.how, slot.limits
        settings = {
            **asdict(slot.limits),
            "processes": slot.limits.processes if how.processes else 0,
            "path": how.path,
            "uid": own_user(slot.number) if how.own_user else None,
            "warm": how.warm,
            "isolated": how.kind == "bubblewrap",
            "preload": slot.preload,
            "proc": "--proc" in how.command,
            "tmp": TMP if "--tmpfs" in how.command else 0,
            "grader": os.getpid(),  # so that ps shows whose it is
        }
        command = [*how.command, "-s", "-S", "-c", STARTER, json.dumps(settings)]
        info, child_info = os.pipe()
        if how.kind == "bubblewrap":
            command[1:1] = ["--info-fd", str(child_info)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if how.kind == "bubblewrap" else ENVIRONMENT,
                pass_fds=(child_info,) if how.kind == "bubblewrap" else (),
                start_new_session=True,  # Ctrl-C goes to the grader alone
                cwd="/",
            )
        except OSError as error:
            os.close(info)
            raise SandboxError(f"{command[0]} can't be started ({error.strerror})") from None
        finally:
            os.close(child_info)
        self._in, self._out = (pipe.fileno() for pipe in self._pipes())
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._poll = select.poll()  # not select: a grader may have more than 1,024 files open
        self._poll.register(self._out, select.POLLIN)
        self._buffer = bytearray()
        self.group: Path | None = None
        _ALIVE.add(self)
        with open(info) as file:
            facts = file.read()  # until bubblewrap has started PID 1, or has failed
        self._first: int = json.loads(facts)["child-pid"] if facts else self.process.pid
        if how.memory_group and facts:
            try:
                self._join_group(slot.limits.memory + TMP + OWN_MEMORY)
            except OSError as error:
                self.close()
                raise SandboxError(f"no control group: {error}") from None
        self.send(_inside())

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self.process.stdin
        assert self.process.stdout
        return self.process.stdin, self.process.stdout

    def _join_group(self, most: int) -> None:
        """Puts PID 1 of the sandbox in a control group (version 2) that bounds its memory.

        Raises:
            OSError: this process can't make one, as on most machines where it is not root.
        """
        with open("/proc/self/cgroup") as file:
            own = next((line[3:].strip() for line in file if line.startswith("0::")), "")
        folder = Path("/sys/fs/cgroup", own.strip("/"))
        if "memory" not in (folder / "cgroup.subtree_control").read_text().split():
            folder = folder.parent  # a group beside the own one
        self.group = Path(tempfile.mkdtemp(prefix="persona-bench-", dir=folder))
        self._killed = 0
        (self.group / "memory.max").write_text(str(most))
        with contextlib.suppress(OSError):
            (self.group / "memory.swap.max").write_text("0")
        with contextlib.suppress(ProcessLookupError):  # it has ended, as `receive` tells
            (self.group / "cgroup.procs").write_text(str(self._first))

    def has_been_short_of_memory(self) -> bool:
        """Whether the kernel has killed a process for want of memory since this was last asked."""
        if self.group is None:
            return False
        before = self._killed
        with contextlib.suppress(OSError):
            events = dict(map(str.split, (self.group / "memory.events").open()))
            self._killed = int(events["oom_kill"])
        return self._killed > before

    def send(self, data: bytes) -> None:
        """Sends one frame; does nothing where the process has died, as `receive` tells."""
        view = memoryview(len(data).to_bytes(4, "big") + data)
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
        deadline, buffer = time.monotonic() + seconds, self._buffer
        while True:
            if len(buffer) >= 4:
                size = 4 + int.from_bytes(buffer[:4], "big")
                if size > self.limits.output + (4 << 20):
                    return None
                if len(buffer) >= size:
                    frame = bytes(buffer[4:size])
                    del buffer[:size]
                    return frame
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                return None
            with contextlib.suppress(BlockingIOError):
                piece = os.read(self._out, 1 << 20)
                if not piece:
                    return None
                buffer += piece

    def complaint(self) -> str:
        """Ends the sandbox; returns the last line that bubblewrap or the interpreter wrote."""
        self.kill()
        output = self.process.stderr.read().decode(errors="replace") if self.process.stderr else ""
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return lines[-1][:200] if lines else "it ended without a word"

    def kill(self) -> None:
        """Kills PID 1 of the sandbox, and so everything in it."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(self._first, 9)
            self.process.kill()

    def close(self) -> None:
        """Ends the sandbox and waits until nothing of it is left."""
        for pipe in self._pipes():
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self.process.wait(1.0)  # it ends where its stdin does
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        _ALIVE.discard(self)
        group, self.group = self.group, None
        for _ in range(100):
            with contextlib.suppress(OSError):  # the kernel has not yet removed the last process
                if group is not None:
                    group.rmdir()
                break
            time.sleep(0.01)


@lru_cache(maxsize=1)
def _inside() -> bytes:
    """The modules `INSIDE`, compiled once."""
    compiled = []
    for name in INSIDE:
        file = Path(__file__).with_name(f"{name}.py")
        code = compile(file.read_text(encoding="utf-8"), file.name, "exec")
        compiled.append((f"{__package__}.{name}", code))
    return marshal.dumps(compiled)


def own_user(slot: int) -> int:
    """A user that no other slot of any grader on this machine has, if there are enough users."""
    with open("/proc/self/uid_map") as file:
        most = max(int(line.split()[0]) + int(line.split()[2]) for line in file)
    if most > 1 << 31:
        return 1_100_000_000 + os.getpid() * 64 + slot % 64
    return max(1, most // 2 + (os.getpid() * 64 + slot) % max(1, most // 2 - 1))
