"""What the driver of a program gives up before it reads the program; nothing of it comes back.

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
        refused: add_key, request_key, keyctl, unshare, setns and io_uring_setup.
    """

    architecture: int
    refused: tuple[int, ...]
    socket: int
    clone: int
    clone3: int


SYSTEM_CALLS = {
    "x86_64": SystemCalls(0xC000003E, (248, 249, 250, 272, 308, 425), 41, 56, 435),
    "aarch64": SystemCalls(0xC00000B7, (217, 218, 219, 97, 268, 425), 198, 220, 435),
}.get(os.uname().machine)
"""Of this machine, where they are known."""
FOREIGN = 0x40000000  # x32's calls are from there on
CLONE_NAMESPACES = 0x7E020000


def hide(uid: int | None) -> bool:
    """Drops to the slot's own user and gives up all capabilities, for good; nobody of that user may
    trace this process.

    A process that changes its user can't be traced. One that does not says so for itself.

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
        raise OSError(ctypes.get_errno(), "the driver could not give up its capabilities")
    filtered = filter_calls()
    if uid is None:
        set_dumpable(0)
    return filtered


def set_dumpable(value: int) -> None:
    libc.prctl(PR_SET_DUMPABLE, value, 0, 0, 0)


def filter_calls() -> bool:
    """Refuses the system calls that would reach out of a program's namespaces; whether it could.

    The kernel's keys, sockets but for AF_UNIX (some families know no namespaces), io_uring (which
    makes sockets too), new namespaces, and all calls that are not of this machine's own
    architecture. clone3 hides its arguments: the C library does without it where it is unknown.
    """
    if SYSTEM_CALLS is None:
        return False
    code = the_filter()
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(code))
    return not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


@lru_cache(maxsize=1)
def the_filter() -> ctypes.Array[ctypes.c_char]:
    """In the kernel's form, made once."""
    if SYSTEM_CALLS is None:
        raise OSError("the system calls of this machine are not known")
    architecture, refused, socket, clone, clone3 = SYSTEM_CALLS
    load, equal, at_least, any_bit, end = 0x20, 0x15, 0x35, 0x45, 0x06
    call, its_architecture, argument = 0, 4, 16
    lines: list[tuple[int, int, str, str] | str] = [
        (load, its_architecture, "", ""),
        (equal, architecture, "", "refuse"),
        (load, call, "", ""),
        (at_least, FOREIGN, "refuse", ""),
        *((equal, number, "refuse", "") for number in refused),
        (equal, clone3, "unknown", ""),
        (equal, socket, "socket", ""),
        (equal, clone, "clone", "allow"),
        "socket",
        (load, argument, "", ""),
        (equal, 1, "allow", "refuse"),  # AF_UNIX
        "clone",
        (load, argument, "", ""),
        (any_bit, CLONE_NAMESPACES, "refuse", "allow"),
        "refuse",
        (end, 0x00050001, "", ""),  # EPERM
        "unknown",
        (end, 0x00050026, "", ""),  # ENOSYS
        "allow",
        (end, 0x7FFF0000, "", ""),
    ]
    return ctypes.create_string_buffer(assembled(lines))


def assembled(lines: list[tuple[int, int, str, str] | str]) -> bytes:
    """The kernel's form of (operation, operand, label where true, where false) and labels; an empty
    label is the next line."""
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
