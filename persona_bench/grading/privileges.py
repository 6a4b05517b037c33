"""The privileges that a test runner gives up, for good, before it reads its program.

Standard library only: it runs inside the sandbox.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import lru_cache
from typing import NamedTuple

CAPABILITIES_3 = 0x20080522  # the version of the structures that hold them
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAP_AMBIENT = 4, 22, 47
SECCOMP_MODE_FILTER, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4

libc = ctypes.CDLL(None, use_errno=True)


class SystemCalls(NamedTuple):
    """The numbers of a machine's system calls.

    Attributes:
        architecture: What the kernel calls the machine.
        reaching: add_key, request_key, keyctl, unshare, setns and io_uring_setup.
        holding: shmget, semget, msgget, memfd_create, memfd_secret, vmsplice, setxattr, lsetxattr,
            fsetxattr and setxattrat.
    """

    architecture: int
    reaching: tuple[int, ...]
    holding: tuple[int, ...]
    mmap: int
    socket: int
    clone: int
    clone3: int


SYSTEM_CALLS = {
    "x86_64": SystemCalls(
        architecture=0xC000003E,
        reaching=(248, 249, 250, 272, 308, 425),
        holding=(29, 64, 68, 319, 447, 278, 188, 189, 190, 463),
        mmap=9,
        socket=41,
        clone=56,
        clone3=435,
    ),
    "aarch64": SystemCalls(
        architecture=0xC00000B7,
        reaching=(217, 218, 219, 97, 268, 425),
        holding=(194, 190, 186, 279, 447, 75, 5, 6, 7, 463),
        mmap=222,
        socket=198,
        clone=220,
        clone3=435,
    ),
}.get(os.uname().machine)
"""Of this machine, where they are known."""
FOREIGN = 0x40000000  # x32's calls are from there on
CLONE_NEWNS = 0x00020000
CLONE_NAMESPACES = 0x7E020000
MAP_SHARED, MAP_ANONYMOUS, MAP_HUGETLB = 0x01, 0x20, 0x40000


def drop_privileges(uid: int | None) -> bool:
    """Changes to the slot's own user, gives up all capabilities, and filters system calls.

    Processes of the same user can't trace this one: changing the user sees to that, and
    `set_dumpable` where the user stays the same.

    Returns:
        Whether system calls are filtered, see `filter_calls`.

    Raises:
        OSError: a privilege can't be given up.
    """
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.capset(struct.pack("=Ii", CAPABILITIES_3, 0), bytes(24)):
        raise OSError(ctypes.get_errno(), "the test runner could not give up its capabilities")
    filtered = filter_calls()
    if uid is None:
        set_dumpable(0)
    return filtered


def set_dumpable(value: int) -> None:
    libc.prctl(PR_SET_DUMPABLE, value, 0, 0, 0)


def hide_mounts(outside: int | None = None) -> int:
    """Makes /proc/PID/mountinfo, mounts and mountstats empty, which name folders of the host.

    They list the mounts of a process's namespace that lie below its root. So this process enters
    another mount namespace, but keeps its root.

    Args:
        outside: The other namespace, which is slower to make than to enter; without it a copy is
            made.

    Returns:
        A descriptor of the namespace that it left, which lives as long as this is open.

    Raises:
        OSError: it may not.
    """
    left = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    if libc.unshare(CLONE_NEWNS) if outside is None else libc.setns(outside, CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "could not enter another mount namespace")
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    os.chdir("/tmp")
    return left


def filter_calls() -> bool:
    """Makes the kernel refuse two kinds of system calls, to this process and all its children.

    Those that reach out of a program's namespaces: the kernel's keys, sockets other than AF_UNIX
    (some families ignore namespaces), io_uring (which makes sockets too), new namespaces, and all
    calls of another architecture than this machine's own. clone3 hides its arguments, so the
    kernel pretends not to know it; the C library then uses clone.

    Those that hold memory which the limits of a process don't count (the monitor counts resident
    pages, the kernel counts address space): System V objects, memfds, extended attributes,
    pages given to a pipe, huge pages, and shared anonymous mappings, which stay allocated when no
    process has them resident.

    Returns:
        Whether the filter is in place.
    """
    if SYSTEM_CALLS is None:
        return False
    code = bpf_filter()
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(code))
    return not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


@lru_cache(maxsize=1)
def bpf_filter() -> ctypes.Array[ctypes.c_char]:
    """The filter as BPF instructions."""
    if SYSTEM_CALLS is None:
        raise OSError("the system calls of this machine are not known")
    calls = SYSTEM_CALLS
    load, equal, at_least, any_bit, end = 0x20, 0x15, 0x35, 0x45, 0x06
    call, its_architecture, first, fourth = 0, 4, 16, 40  # the last two are arguments
    lines: list[tuple[int, int, str, str] | str] = [
        (load, its_architecture, "", ""),
        (equal, calls.architecture, "", "refuse"),
        (load, call, "", ""),
        (at_least, FOREIGN, "refuse", ""),
        (equal, calls.mmap, "mmap", ""),  # the most frequent first
        *((equal, number, "refuse", "") for number in (*calls.reaching, *calls.holding)),
        (equal, calls.clone3, "unknown", ""),
        (equal, calls.socket, "socket", ""),
        (equal, calls.clone, "clone", "allow"),
        "mmap",
        (load, fourth, "", ""),
        (any_bit, MAP_HUGETLB, "refuse", ""),
        (any_bit, MAP_SHARED, "", "allow"),
        (any_bit, MAP_ANONYMOUS, "refuse", "allow"),
        "socket",
        (load, first, "", ""),
        (equal, 1, "allow", "refuse"),  # AF_UNIX
        "clone",
        (load, first, "", ""),
        (any_bit, CLONE_NAMESPACES, "refuse", "allow"),
        "refuse",
        (end, 0x00050001, "", ""),  # EPERM
        "unknown",
        (end, 0x00050026, "", ""),  # ENOSYS
        "allow",
        (end, 0x7FFF0000, "", ""),
    ]
    return ctypes.create_string_buffer(assemble(lines))


def assemble(lines: list[tuple[int, int, str, str] | str]) -> bytes:
    """BPF instructions from lines of (operation, operand, label if true, label if false), and
    labels; an empty label means the next line."""
    places: dict[str, int] = {}
    plain: list[tuple[int, int, str, str]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(plain)
        else:
            plain.append(line)
    code = b""
    for index, (operation, operand, *labels) in enumerate(plain):
        jumps = [places[label] - index - 1 if label else 0 for label in labels]
        code += struct.pack("=HBBI", operation, *jumps, operand)
    return code
