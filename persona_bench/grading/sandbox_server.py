"""The first process in a sandbox: it gives one program after the other namespaces of its own.

Starting bubblewrap and an interpreter takes longer than most programs run, so that is done once.
For each program this process then forks into new namespaces of processes, mounts and IPC. The fork
gets a /proc and an empty /tmp, gives up all privileges, and becomes the program's `sandbox_runner`.
When that ends, the kernel kills everything that is left in its namespaces. This process never reads
a program or an input: it gets one empty frame per program. Standard library only.

Where it can't make namespaces or filter system calls (`warm` is false), it is itself the runner of
a single program.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import struct
import sys
from functools import lru_cache
from typing import NoReturn

from persona_bench.grading.sandbox_program import PR_SET_DUMPABLE, Settings, libc
from persona_bench.grading.sandbox_runner import receive, run_program, send

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NAMESPACES = 0x20000, 0x8000000, 1 << 29, 0x7E020000
MS_NOSUID, MS_NODEV, MS_NOEXEC = os.ST_NOSUID, os.ST_NODEV, os.ST_NOEXEC
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_RELATIME = 1, 32, 4096, 1 << 21
MAP_SHARED, MAP_ANONYMOUS, MAP_HUGETLB = 0x01, 0x20, 0x40000
CAPABILITIES_3 = 0x20080522  # the version of the structures that hold them
PR_SET_SECCOMP, PR_CAP_AMBIENT, AF_UNIX = 22, 47, 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts")  # mounted in /dev
THREAD_STACK = 8 << 20
"""Bytes of a thread's stack, as usual; by default it would be as large as the first thread's."""

python = ctypes.PyDLL(None, use_errno=True)
"""The C library and the interpreter, called while holding the interpreter's lock."""
python.syscall.argtypes = [ctypes.c_long] * 6


def main() -> None:
    settings: Settings = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = [path for path in sys.path if path] + settings["path"]
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(50_000)  # as LiveCodeBench's runner
    _thread.stack_size(THREAD_STACK)
    if settings["isolated"] and os.getpid() != 1:
        send({"error": "bwrap gave no process namespace"})
    elif settings["warm"]:
        serve(settings)
    else:
        stdin = os.memfd_create("stdin")  # the filter refuses memfds later
        if settings["isolated"]:
            with contextlib.suppress(OSError):
                hide_mounts()
            drop_privileges(settings["uid"])
        else:
            libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        run_program(settings, stdin)


def serve(settings: Settings) -> NoReturn:
    """Forks a runner for each frame."""
    register = os.register_at_fork
    vars(os).update(register_at_fork=lambda **_: None)  # else `random` reseeds itself in each fork
    for name in settings["preload"]:
        importlib.import_module(name)
    vars(os).update(register_at_fork=register)
    bpf_filter()
    gc.collect()
    gc.freeze()  # else the collector touches, and each fork copies, all these objects
    check(libc.unshare(CLONE_NEWNS), "unshare")
    lock_devices()
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY) if settings["proc"] else None
    while True:
        receive()
        try:
            runner = fork_into(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC)
        except OSError as error:
            send({"error": str(error)})
            os._exit(1)
        if runner == 0:
            become_runner(settings, outside)
        if os.waitpid(runner, 0)[1]:
            os._exit(1)  # the runner crashed: the grader sees that at once


def fork_into(namespaces: int) -> int:
    """`os.fork`, with the child in new namespaces and PID 1 of them.

    `unshare` and `os.fork` would need a process in between, or `setns` back, which is refused where
    bubblewrap nests user namespaces.
    """
    if not SYSTEM_CALLS:
        raise OSError("the system calls of this machine are not known")
    python.PyOS_BeforeFork()
    pid: int = python.syscall(SYSTEM_CALLS["clone"], namespaces | signal.SIGCHLD, 0, 0, 0, 0)
    python.PyOS_AfterFork_Parent() if pid else python.PyOS_AfterFork_Child()
    check(int(pid < 0), "clone")
    return pid


def become_runner(settings: Settings, outside: int | None) -> NoReturn:
    """Becomes the runner of one program, and exits when that has ended.

    Args:
        settings: The limits, and what this machine grants.
        outside: The mount namespace of the process that forked, if /proc is mounted there.
    """
    try:
        try:
            stdin = prepare(settings, outside)
        except OSError as error:
            send({"error": str(error)})
            os._exit(1)
        run_program(settings, stdin)
        os._exit(0)
    finally:
        os._exit(1)


def prepare(settings: Settings, outside: int | None) -> int:
    """Mounts a /proc and an empty /tmp, and gives up all privileges; returns a file in memory."""
    if settings["proc"]:
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        check(libc.mount(b"proc", b"/proc", b"proc", flags, None), "/proc")
    if settings["tmp"]:
        options = b"mode=1777,nr_inodes=65536,size=%d" % settings["tmp"]
        check(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, options), "/tmp")
    stdin = os.memfd_create("stdin")  # the filter refuses memfds later
    if outside is not None:
        hide_mounts(outside)
        os.close(outside)
    os.chdir("/tmp")
    if not drop_privileges(settings["uid"]):
        raise OSError("the kernel filters no system calls here")
    return stdin


def lock_devices() -> None:
    """Remounts what is in /dev read-only. Devices can still be written to, but these are the
    machine's own: a program could change their times, or close /dev/pts to the next one."""
    kept = MS_NOSUID | MS_NODEV | MS_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
    for path in (f"/dev/{name}" for name in DEVICES):
        if os.path.ismount(path):
            flags = os.statvfs(path).f_flag
            relative = MS_RELATIME if flags & os.ST_RELATIME else 0
            flags = flags & kept | relative | MS_REMOUNT | MS_BIND | MS_RDONLY
            check(libc.mount(None, path.encode(), None, flags, None), path)


def hide_mounts(outside: int | None = None) -> None:
    """Makes /proc/PID/mountinfo, mounts and mountstats empty, which name folders of the host.

    They list the mounts of a process's namespace that lie below its root. So this process enters
    another mount namespace, but keeps its root.

    Args:
        outside: The other namespace, which is slower to make than to enter; without it a copy is
            made.

    Raises:
        OSError: it may not.
    """
    os.open("/proc/self/ns/mnt", os.O_RDONLY)  # the namespace lives as long as this is open
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    check(libc.unshare(CLONE_NEWNS) if outside is None else libc.setns(outside, CLONE_NEWNS), "ns")
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    os.chdir("/tmp")


def check(result: int, what: str) -> None:
    """Raises OSError where a call of the C library failed."""
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


# ---------------------------------------------------------------------- giving up privileges


def drop_privileges(uid: int | None) -> bool:
    """Changes to the slot's own user, gives up all capabilities, and filters system calls.

    Processes of the same user can't trace this one: changing the user sees to that, or else
    PR_SET_DUMPABLE.

    Returns:
        Whether system calls are filtered, see `bpf_filter`.

    Raises:
        OSError: a privilege can't be given up.
    """
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(PR_CAP_AMBIENT, 4, 0, 0, 0)  # clear all
    check(libc.capset(struct.pack("=Ii", CAPABILITIES_3, 0), bytes(24)), "capset")
    code = bpf_filter()
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(code))
    filtered = len(code) > 1 and not libc.prctl(PR_SET_SECCOMP, 2, header, 0, 0)
    if uid is None:
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    return filtered


REFUSED = (
    *("add_key", "request_key", "keyctl", "unshare", "setns", "io_uring_setup"),
    *("shmget", "semget", "msgget", "memfd_create", "memfd_secret", "vmsplice"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
)
NAMES = ("architecture", "mmap", "socket", "clone", "clone3", *REFUSED)
NUMBERS = {
    "x86_64": (0xC000003E, 9, 41, 56, 435, 248, 249, 250, 272, 308, 425, 29, 64, 68, 319, 447, 278,
               188, 189, 190, 463),
    "aarch64": (0xC00000B7, 222, 198, 220, 435, 217, 218, 219, 97, 268, 425, 194, 190, 186, 279,
                447, 75, 5, 6, 7, 463),
}  # fmt: skip
SYSTEM_CALLS = dict(zip(NAMES, NUMBERS.get(os.uname().machine, ()), strict=False))
"""The numbers of this machine's system calls, and of its architecture; empty if not known."""


@lru_cache(maxsize=1)
def bpf_filter() -> ctypes.Array[ctypes.c_char]:
    """BPF instructions that make the kernel refuse two kinds of system calls, to this process and
    all its children; empty where this machine's calls are not known.

    Those that reach out of a program's namespaces: the kernel's keys, sockets other than AF_UNIX
    (some families ignore namespaces), io_uring (which makes sockets too), new namespaces, and all
    calls of another architecture than this machine's own. clone3 hides its arguments, so the
    kernel pretends not to know it; the C library then uses clone.

    Those that hold memory which the limits of a process don't count (the runner counts resident
    pages, the kernel counts address space): System V objects, memfds, extended attributes, pages
    given to a pipe, huge pages, and shared anonymous mappings, which stay allocated when no process
    has them resident.
    """
    if not SYSTEM_CALLS:
        return ctypes.create_string_buffer(0)
    calls, foreign = SYSTEM_CALLS, 0x40000000  # x32's calls are from there on
    equal, at_least, any_bit = 0x15, 0x35, 0x45
    number, architecture, first, fourth = (bpf(0x20, offset) for offset in (0, 4, 16, 40))  # loads
    allow, refuse, unknown = (bpf(0x06, end) for end in (0x7FFF0000, 0x50001, 0x50026))  # ENOSYS
    shared = when(any_bit, MAP_SHARED, when(any_bit, MAP_ANONYMOUS, refuse))
    rules = (
        when(at_least, foreign, refuse)
        + when(equal, calls["mmap"], fourth + when(any_bit, MAP_HUGETLB, refuse) + shared + allow)
        + b"".join(when(equal, calls[name], refuse) for name in REFUSED)
        + when(equal, calls["clone3"], unknown)
        + when(equal, calls["socket"], first + when(equal, AF_UNIX, allow) + refuse)
        + when(equal, calls["clone"], first + when(any_bit, CLONE_NAMESPACES, refuse))
    )
    whole = architecture + when(equal, calls["architecture"], number + rules + allow) + refuse
    return ctypes.create_string_buffer(whole)


def bpf(operation: int, operand: int, skipped: int = 0) -> bytes:
    """A BPF instruction; a test that fails skips `skipped` instructions."""
    return struct.pack("=HBBI", operation, 0, skipped, operand)


def when(test: int, value: int, then: bytes) -> bytes:
    """BPF instructions that run `then` only where a test of what was loaded last holds."""
    return bpf(test, value, len(then) // 8) + then
