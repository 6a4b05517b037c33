"""Keeps a sandbox warm: gives one program after the other namespaces of its own.

Standard library only, and started by `sandbox.Box` in bubblewrap, as its first process. Starting
bubblewrap and an interpreter costs more than most programs do, so that is done once: for each
program this process forks, and the fork gets new namespaces of processes, mounts and IPC, a /proc
and an empty /tmp, gives up all privileges, and becomes the program's `driver`. When the driver
ends, the kernel ends all that is left in there. This process never reads a program or an input: it
sees one empty frame a program.

Where it may not make namespaces, or can't filter system calls (`warm` is false), it is the driver
of one program itself.
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

from persona_bench.grading.driver import Settings, drive, receive, send
from persona_bench.grading.privileges import (
    CLONE_NEWNS,
    SYSTEM_CALLS,
    hide,
    hide_mounts,
    libc,
    set_dumpable,
    the_filter,
)

CLONE_NEWIPC, CLONE_NEWPID = 0x08000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_RELATIME = 32, 1024, 2048, 4096, 1 << 21
KEPT = {
    os.ST_NOSUID: MS_NOSUID,
    os.ST_NODEV: MS_NODEV,
    os.ST_NOEXEC: MS_NOEXEC,
    os.ST_NOATIME: MS_NOATIME,
    os.ST_NODIRATIME: MS_NODIRATIME,
    os.ST_RELATIME: MS_RELATIME,
}
"""What statvfs tells of a mount, and how it is said to mount."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts")
"""What bubblewrap mounts in its /dev."""


python = ctypes.PyDLL(None, use_errno=True)
"""The C library and the interpreter, called without giving up the interpreter's lock."""
python.syscall.argtypes = [ctypes.c_long] * 6


def main() -> None:
    settings: Settings = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = [path for path in sys.path if path] + settings["path"]
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(50_000)  # as LiveCodeBench's runner
    _thread.stack_size(8 << 20)  # else each thread would get as large a stack as the first
    if not settings["warm"]:
        stdin = os.memfd_create("stdin")  # the filter refuses it later
        if settings["isolated"]:
            with contextlib.suppress(OSError):
                hide_mounts()
            hide(settings["uid"])
        else:
            set_dumpable(0)
        drive(settings, stdin)
        return
    at_fork = os.register_at_fork
    vars(os).update(register_at_fork=lambda **_: None)  # else `random` takes a seed in every fork
    for name in settings["modules"]:
        importlib.import_module(name)
    vars(os).update(register_at_fork=at_fork)
    the_filter()
    gc.collect()
    gc.freeze()  # else each fork copies what the collector touches
    called(libc.unshare(CLONE_NEWNS), "unshare")
    lock_devices()
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY) if settings["proc"] else None
    while True:
        receive()
        try:
            driver = fork_into(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC)
        except OSError as error:
            send({"error": str(error)})
            os._exit(1)
        if driver == 0:
            program(settings, outside)
        if os.waitpid(driver, 0)[1]:
            os._exit(1)  # it did not end in peace, and the grader is to hear of it at once


def fork_into(namespaces: int) -> int:
    """`os.fork` with new namespaces, of which the child is a part and, of processes, the first.

    The same in two steps, `unshare` and `os.fork`, would take a process between, or `setns` back,
    which the keeper may not where its user namespace is not the one that bubblewrap began with.
    """
    if SYSTEM_CALLS is None:
        raise OSError("the system calls of this machine are not known")
    python.PyOS_BeforeFork()
    pid: int = python.syscall(SYSTEM_CALLS.clone, namespaces | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    called(int(pid < 0), "clone")
    return pid


def program(settings: Settings, outside: int | None) -> NoReturn:
    """Runs a program's driver, the first process of its namespaces, to its end.

    Args:
        settings: The limits, and what this machine grants.
        outside: This process's mount namespace before it was forked, where /proc is mounted.
    """
    status = 1
    try:
        try:
            mounts(settings)
            stdin = os.memfd_create("stdin")  # the filter refuses it later
            if outside is not None:
                hide_mounts(outside)
                os.close(outside)
            if not hide(settings["uid"]):
                raise OSError("the kernel filters no system calls here")
        except OSError as error:
            send({"error": str(error)})
        else:
            drive(settings, stdin)
            status = 0
    finally:
        os._exit(status)


def lock_devices() -> None:
    """Makes the mounts in /dev read-only, in which devices can still be written to: they are this
    machine's own, and a program could set their times, or close /dev/pts to the next one."""
    for name in DEVICES:
        path = f"/dev/{name}"
        if os.path.ismount(path):
            told = os.statvfs(path).f_flag
            flags = sum(flag for bit, flag in KEPT.items() if told & bit)
            flags |= MS_REMOUNT | MS_BIND | MS_RDONLY
            called(libc.mount(None, path.encode(), None, flags, None), path)


def mounts(settings: Settings) -> None:
    """A /proc of the new processes, and a /tmp in which nobody has been."""
    if settings["proc"]:
        flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
        called(libc.mount(b"proc", b"/proc", b"proc", flags, None), "/proc")
    if settings["tmp"]:
        options = b"mode=1777,nr_inodes=65536,size=%d" % settings["tmp"]
        called(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, options), "/tmp")
    os.chdir("/tmp")


def called(result: int, what: str) -> None:
    """Raises what a call of the C library says that went wrong."""
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
