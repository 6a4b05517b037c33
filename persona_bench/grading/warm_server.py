"""The first process in a sandbox: gives one program after the other namespaces of its own.

Started by `bwrap_process.BwrapProcess`; standard library only. Starting bubblewrap and an
interpreter takes longer than most programs run, so that is done once. For each program this process
forks. The fork gets new namespaces of processes, mounts and IPC, a /proc and an empty /tmp, gives
up all privileges, and becomes the program's `test_runner`. When that ends, the kernel kills
everything left in its namespaces. This process never reads a program or an input: it gets one empty
frame per program.

Where it can't make namespaces or filter system calls (`warm` is false), it is itself the test
runner of a single program.
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
import sys
from typing import NoReturn

from persona_bench.grading.privileges import (
    CLONE_NEWNS,
    SYSTEM_CALLS,
    bpf_filter,
    drop_privileges,
    hide_mounts,
    libc,
    set_dumpable,
)
from persona_bench.grading.test_runner import Settings, receive, run_program, send

CLONE_NEWIPC, CLONE_NEWPID = 0x08000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_RELATIME = 32, 1024, 2048, 4096, 1 << 21
MOUNT_FLAGS = {
    os.ST_NOSUID: MS_NOSUID,
    os.ST_NODEV: MS_NODEV,
    os.ST_NOEXEC: MS_NOEXEC,
    os.ST_NOATIME: MS_NOATIME,
    os.ST_NODIRATIME: MS_NODIRATIME,
    os.ST_RELATIME: MS_RELATIME,
}
"""The flags of a mount: as statvfs reports them, and as mount takes them."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts")
"""What is mounted in /dev."""
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
    if not settings["warm"]:
        stdin = os.memfd_create("stdin")  # the filter refuses memfds later
        if settings["isolated"]:
            with contextlib.suppress(OSError):
                hide_mounts()
            drop_privileges(settings["uid"])
        else:
            set_dumpable(0)
        run_program(settings, stdin)
        return
    register = os.register_at_fork
    vars(os).update(register_at_fork=lambda **_: None)  # else `random` reseeds itself in each fork
    for name in settings["modules"]:
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
            serve_program(settings, outside)
        if os.waitpid(runner, 0)[1]:
            os._exit(1)  # the test runner crashed: the grader sees that at once


def fork_into(namespaces: int) -> int:
    """`os.fork`, with the child in new namespaces and PID 1 of them.

    `unshare` and `os.fork` would need a process in between, or `setns` back, which is refused where
    bubblewrap nests user namespaces.
    """
    if SYSTEM_CALLS is None:
        raise OSError("the system calls of this machine are not known")
    python.PyOS_BeforeFork()
    pid: int = python.syscall(SYSTEM_CALLS.clone, namespaces | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    check(int(pid < 0), "clone")
    return pid


def serve_program(settings: Settings, outside: int | None) -> NoReturn:
    """Becomes the test runner of one program, and exits when that has ended.

    Args:
        settings: The limits, and what this machine grants.
        outside: The mount namespace of the process that forked, where /proc is mounted.
    """
    status = 1
    try:
        try:
            mount_private(settings)
            stdin = os.memfd_create("stdin")  # the filter refuses memfds later
            if outside is not None:
                hide_mounts(outside)
                os.close(outside)
            if not drop_privileges(settings["uid"]):
                raise OSError("the kernel filters no system calls here")
        except OSError as error:
            send({"error": str(error)})
        else:
            run_program(settings, stdin)
            status = 0
    finally:
        os._exit(status)


def lock_devices() -> None:
    """Remounts what is in /dev read-only. Devices can still be written to, but these are the
    machine's own: a program could change their times, or close /dev/pts to the next one."""
    for name in DEVICES:
        path = f"/dev/{name}"
        if os.path.ismount(path):
            present = os.statvfs(path).f_flag
            flags = sum(flag for bit, flag in MOUNT_FLAGS.items() if present & bit)
            flags |= MS_REMOUNT | MS_BIND | MS_RDONLY
            check(libc.mount(None, path.encode(), None, flags, None), path)


def mount_private(settings: Settings) -> None:
    """Mounts a /proc of the new process namespace and an empty /tmp."""
    if settings["proc"]:
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        check(libc.mount(b"proc", b"/proc", b"proc", flags, None), "/proc")
    if settings["tmp"]:
        options = b"mode=1777,nr_inodes=65536,size=%d" % settings["tmp"]
        check(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, options), "/tmp")
    os.chdir("/tmp")


def check(result: int, what: str) -> None:
    """Raises OSError where a call of the C library failed."""
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
