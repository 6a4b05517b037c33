"""What the driver of a program gives up before it reads the program; nothing of it comes back.

Standard library only: it runs inside the sandbox.
"""

from __future__ import annotations

import ctypes
import os
import struct

CAPABILITIES_3 = 0x20080522  # the version of the structures that hold them
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAP_AMBIENT = 4, 22, 47
SECCOMP_MODE_FILTER, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4

KEY_CALLS = {"x86_64": (0xC000003E, 248, 250), "aarch64": (0xC00000B7, 217, 219)}
"""By machine: what the kernel calls its architecture, and the first and the last of the system
calls add_key, request_key and keyctl."""


def hide(uid: int | None) -> None:
    """Drops to the slot's own user and gives up all capabilities, for good; nobody of that user may
    trace this process, and nothing that it starts may keep keys in the kernel.

    A process that changes its user can't be traced. One that does not says so for itself. Keys are
    a user's, in no namespace: a program could leave some for the next one.

    Raises:
        OSError: a privilege can't be given up.
    """
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.capset(struct.pack("=Ii", CAPABILITIES_3, 0), bytes(24)):
        raise OSError(ctypes.get_errno(), "the driver could not give up its capabilities")
    refuse_keys(libc)
    if uid is None:
        set_dumpable(0)


def set_dumpable(value: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, value, 0, 0, 0)


def refuse_keys(libc: ctypes.CDLL) -> None:
    """A filter that answers the system calls for keys, and all that are not of this machine's own
    architecture, with EPERM; none where the kernel has no filters, or the machine is another."""
    machine = os.uname().machine
    if machine not in KEY_CALLS:
        return
    architecture, first, last = KEY_CALLS[machine]
    load, equal, at_least, more, result = 0x20, 0x15, 0x35, 0x25, 0x06
    allow, refuse, foreign = 0x7FFF0000, 0x00050001, 0x40000000  # x32's calls are from there on
    program = [
        (load, 0, 0, 4),  # the architecture
        (equal, 0, 5, architecture),
        (load, 0, 0, 0),  # the call
        (at_least, 3, 0, foreign),
        (at_least, 0, 1, first),
        (more, 0, 1, last),
        (result, 0, 0, allow),
        (result, 0, 0, refuse),
    ]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(filters))
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)
