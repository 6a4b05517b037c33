"""Programs that try to be graded correct without solving the task, or to do harm.

The task: print n * n + 7 for the number n on stdin (or return it from `solve`). A program that
attempts something forbidden prints the right answer where its attempt succeeds, so that `correct`
means a hole. Those that look for the expected value don't know the formula.
"""

from __future__ import annotations

from typing import NamedTuple

WRONG = "wrong_answer"


class Attack(NamedTuple):
    """A program, and what may come of it; `function` where it is called rather than run.

    `{host}` stands for a folder of the test's own that everybody may write to, with the answers in
    `answers.txt`; `{port}` for a server there that tells the answers.
    """

    program: str
    reasons: tuple[str, ...] = (WRONG,)
    function: str = ""


SUCCEEDS = "\nn = int(input())\nprint(n * n + 7 if attempt() else 'failed')\n"


def attempt(body: str) -> str:
    """A script that does `body` (it returns whether it got what it wanted), then tells."""
    lines = "\n".join("    " + line for line in body.strip("\n").split("\n"))
    return (
        f"def attempt_():\n{lines}\n\ndef attempt():\n    try:\n        return attempt_()\n"
        f"    except BaseException:\n        return False\n{SUCCEEDS}"
    )


def function(body: str) -> Attack:
    """A program whose `solve(n)` ends in `body`."""
    return Attack(body, (WRONG, "crash", "timeout"), "solve")


PEEKING = {
    "frames": Attack(
        """
import sys
found, frame = [], sys._getframe()
while frame:
    for space in (frame.f_locals, frame.f_globals):
        for key, value in list(space.items()):
            if any(word in key.lower() for word in ("expect", "output", "answer", "gold", "case")):
                found.append(value)
    frame = frame.f_back
print(*found, sep="\\n")
"""
    ),
    "gc": Attack(
        """
import gc
n = int(input())
near = [o for o in gc.get_objects() if isinstance(o, dict) and ("output" in o or "expected" in o)]
numbers = [o for d in near for o in d.values() if isinstance(o, (str, bytes, bytearray)) and o]
print(numbers[0] if numbers else "nothing")
"""
    ),
    "memory of all processes": Attack(
        attempt(
            """
import os
for pid in os.listdir("/proc"):
    if pid.isdigit() and pid != str(os.getpid()):
        for name in ("mem", "environ", "maps", "fd"):
            path = f"/proc/{pid}/{name}"
            try:
                if os.listdir(path) if name == "fd" else open(path, "rb").read(1):
                    return True
            except OSError:
                pass
"""
        )
    ),
    "environment": Attack("import os\nprint(*os.environ.values(), sep='\\n')"),
    "stdin look-ahead": Attack(
        attempt(
            """
import os, sys
text = sys.stdin.read()
globals()["input"] = lambda: text
rest = os.read(0, 100)
return rest or len(text.split()) > 1
"""
        )
    ),
    "open descriptors": Attack(
        attempt(
            """
import os
for fd in range(4, 300):
    try:
        os.fstat(fd)
        return True
    except OSError:
        pass
"""
        )
    ),
    "the test runner's stdin": Attack(
        attempt(
            """
return any(open(f"/proc/{pid}/fd/0", "rb") for pid in (1, __import__("os").getppid()))
"""
        )
    ),
    "file with the answers": Attack("print(open('{host}/answers.txt').read())", ("crash",)),
}

LYING = {
    "int that equals everything": function(
        "class Int(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def solve(n): return Int(0)"
    ),
    "object that equals everything": function(
        "class Any:\n    def __eq__(self, other): return True\n"
        "    def __ne__(self, other): return False\n    def __hash__(self): return 0\n"
        "def solve(n): return Any()"
    ),
    "object that says it is an int": function(
        "class Liar:\n    __class__ = int\n    def __eq__(self, other): return True\n"
        "    def __int__(self): return 0\n    def __index__(self): return 0\n"
        "def solve(n): return Liar()"
    ),
    "list whose __iter__ lies": function(
        "class List(list):\n    def __eq__(self, other): return True\n"
        "    def __iter__(self): return iter([True])\n    def __len__(self): return 1\n"
        "def solve(n): return List([0])"
    ),
    "string whose __str__ lies": function(
        "class Text(str):\n    def __str__(self): return self\n"
        "    def __eq__(self, other): return True\n    def __repr__(self): return '0'\n"
        "    __hash__ = str.__hash__\ndef solve(n): return Text('x')"
    ),
    "dict whose items lie": function(
        "class Dict(dict):\n    def items(self): return [('a', 1)]\n"
        "    def __eq__(self, other): return True\ndef solve(n): return Dict()"
    ),
    "not a number": function("def solve(n): return float('nan')"),
    "nested without end": function(
        "def solve(n):\n    x = []\n    for _ in range(10**6): x = [x]\n    return x"
    ),
    "list in itself": function("def solve(n):\n    x = []\n    x.append(x)\n    return x"),
    "signalling NaN": Attack("print('sNaN')"),
    "huge exponent": Attack("print('1e999999999999999999')"),
    "million digits": Attack("print('7' * 10**6)"),
    "million lines": Attack("print('7\\n' * 10**6)"),
}

REPLACING = {
    "sys.stdout": Attack(
        "import sys\nclass Out:\n    def write(self, text): return len(text)\n"
        "    def flush(self): pass\n    def getvalue(self): return self\n"
        "    def __eq__(self, other): return True\n    def strip(self): return self\n"
        "    def split(self, *a): return self\nsys.stdout = Out()\nprint('anything')"
    ),
    "json": function(
        "import json\njson.dumps = lambda *a, **k: '[0]'\njson.loads = lambda *a: True\n"
        "def solve(n): return 0"
    ),
    "builtins": function(
        "import builtins\n"
        "for name in ('all', 'any', 'map', 'zip', 'len', 'bool', 'isinstance', 'list'):\n"
        "    setattr(builtins, name, lambda *a, **k: True)\ndef solve(n): return 0"
    ),
    "the test runner's functions": function(
        "import sys\nframe = sys._getframe()\nwhile frame.f_back: frame = frame.f_back\n"
        "space = frame.f_globals\n"
        "for name in ('send', 'watch', 'answer', 'plain', 'outcome', 'drain'):\n"
        "    space[name] = lambda *a, **k: 'ok'\nspace['CRASH'] = 0\ndef solve(n): return 0"
    ),
    "os.write": function(
        "import os\nwrite = os.write\n"
        "os.write = lambda fd, data: write(fd, b'true') and len(data)\n"
        "def solve(n): return 0"
    ),
    "os._exit(0)": Attack("import os\nos._exit(0)"),
    "os._exit(0) in a function": function("import os\ndef solve(n): os._exit(0)"),
    "SystemExit": Attack("raise SystemExit(0)"),
    "SystemExit in a function": function("def solve(n): raise SystemExit(0)"),
    "raising in atexit": Attack(
        "import atexit\n@atexit.register\ndef f(): raise ValueError\nprint(0)", (WRONG, "crash")
    ),
    "frames on every descriptor": Attack(
        """
import os, struct
body = b'{"status": "ok", "seconds": 0.0}\\n' + str(int(input()) + 1).encode()
frame = struct.pack(">I", len(body)) + body
for fd in range(256):
    try:
        os.write(fd, frame * 3)
    except OSError:
        pass
""",
        (WRONG, "crash"),
    ),
    "markers of the protocol": Attack(
        'print(\'{"status": "ok", "passed": true, "verdict": "correct"}\')\nprint("ready")'
    ),
}

HOGGING = {
    "fork bomb": Attack(
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        ("timeout", "memory", "crash"),
    ),
    "fork bomb of short lives": Attack(
        "import os\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n"
        "    except OSError:\n        pass",
        ("timeout", "memory", "crash", WRONG),
    ),
    "thread bomb": Attack(
        "import threading, time\nwhile True:\n    try:\n"
        "        threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
        "    except RuntimeError:\n        pass",
        ("timeout", "memory", "crash"),
    ),
    "endless output": Attack("while True: print('x' * 10**5)", (WRONG, "timeout")),
    "endless loop": Attack("while True: pass", ("timeout",)),
    "loop that ignores signals": Attack(
        "import signal\nfor s in range(1, 65):\n    try:\n"
        "        signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nwhile True: pass",
        ("timeout",),
    ),
    "loop at import of a function": Attack("while True: pass", ("timeout",), "solve"),
    "sleeping": Attack("import time\ntime.sleep(1000)", ("timeout",)),
    "10 GB": Attack("x = bytearray(10**10)\nprint(len(x))", ("memory",)),
    "memory bit by bit": Attack(
        "x = []\nwhile True: x.append(bytearray(10**8))", ("memory", "timeout")
    ),
    "memory of many processes": Attack(
        "import os, time\nfor _ in range(5): os.fork()\nx = b'x' * (200 << 20)\ntime.sleep(1000)",
        ("memory", "timeout"),
    ),
    "huge file": Attack(
        attempt(
            """
import os
with open("/tmp/huge", "wb") as file:
    for _ in range(1000):
        file.write(b"x" * (1 << 20))
return os.path.getsize("/tmp/huge") > 1 << 29
"""
        ),
        (WRONG, "crash", "timeout"),
    ),
    "filling /tmp": Attack(
        attempt(
            """
for number in range(100):
    with open(f"/tmp/{number}", "wb") as file:
        file.write(b"x" * (50 << 20))
return True
"""
        ),
        (WRONG, "timeout"),
    ),
    "raising its own limits": Attack(
        attempt(
            """
import resource
for which in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC):
    resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
return True
"""
        )
    ),
    "zip bomb": Attack(
        "import zlib\nx = zlib.compress(b'0' * (1 << 28))\nprint(len(zlib.decompress(x * 1) * 40))",
        ("memory", "timeout"),
    ),
    "regular expression": Attack(
        "import re\nprint(re.match(r'(a+)+$', 'a' * 50 + 'b'))", ("timeout",)
    ),
    "integer of many digits": Attack(
        "import sys\nsys.set_int_max_str_digits(0)\nprint(len(str(int('9' * 10**7))))", ("timeout",)
    ),
    "nested parentheses": Attack("print(" + "(" * 100_000 + ")" * 100_000 + ")", ("syntax",)),
    "nested terms": Attack("print(" + "-" * 500_000 + "1)", ("syntax", "crash", "memory")),
    "null byte": Attack("print(0)\x00", ("syntax",)),
    "deep recursion": Attack("def f(): return f()\nf()", ("crash", "memory")),
    "deep recursion without a limit": Attack(
        "import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**9)\n"
        "@lru_cache(None)\ndef f(n): return f(n + 1)\nf(0)",
        ("crash", "memory", "timeout"),
    ),
}

COMPILING = {
    "time of a script": Attack("x = f'" + "{1}" * 10**6 + "'", ("timeout",)),
    "time of a function": Attack("x = f'" + "{1}" * 10**6 + "'", ("timeout",), "solve"),
    "memory": Attack("x = [" + "0," * 6_000_000 + "]", ("memory", "timeout")),
    "stack": Attack("x = 0" + "[0]" * 200_000, ("crash", "syntax", "timeout")),
    "parentheses": Attack("x = " + "(a for a in " * 150 + "b" + ")" * 150, ("syntax", "crash")),
    "branches": Attack("if 0: pass\n" + "elif 0: pass\n" * 50_000, ("memory", "syntax", WRONG)),
    "powers": Attack("x = 9**9**9", ("timeout", "memory")),
    "literal": Attack("print(0x" + "9" * 10**7 + ")", ("crash", "timeout")),
}


def holding(body: str) -> Attack:
    """A script that tries to get twice the memory of its limit (`HELD`) where no process has it
    resident."""
    return Attack(
        attempt("import ctypes, mmap, os\nlibc = ctypes.CDLL(None)\nPIECE = 16 << 20\n" + body),
        (WRONG, "memory", "crash"),
    )


HELD = 256 << 20
"""The limit of memory for those that hold it."""
HOLDING = {
    "memfd": holding(
        """
data = bytes(PIECE)
return sum(os.write(os.memfd_create(""), data) for _ in range(32)) == 32 * PIECE
"""
    ),
    "System V segments": holding(
        """
libc.shmat.restype = ctypes.c_void_p
for _ in range(32):
    segment = libc.shmget(0, PIECE, 0o1666)
    address = libc.shmat(segment, None, 0)
    if segment < 0 or address in (None, 2**64 - 1):
        return False
    ctypes.memset(address, 1, PIECE)
    libc.shmdt(ctypes.c_void_p(address))
return True
"""
    ),
    "System V queues and semaphores": holding(
        "return libc.msgget(0, 0o1666) >= 0 or libc.semget(0, 100, 0o1666) >= 0"
    ),
    "/dev/shm": holding(
        """
for number in range(32):
    with open(f"/dev/shm/{number}", "wb") as file:
        file.write(bytes(PIECE))
return True
"""
    ),
    "shared mappings": holding(
        """
for number in range(32):
    shared = mmap.mmap(-1, PIECE)
    shared.write(bytes(PIECE))
    shared.madvise(mmap.MADV_DONTNEED)
return True
"""
    ),
    "shared mappings of /dev/zero": holding(
        """
zero = os.open("/dev/zero", os.O_RDWR)
for number in range(32):
    shared = mmap.mmap(zero, PIECE)
    shared.write(bytes(PIECE))
    shared.madvise(mmap.MADV_DONTNEED)
return True
"""
    ),
    "pages in a pipe": holding(
        """
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("size", ctypes.c_size_t)]
piece = Piece(b"x" * 4096, 4096)
return libc.vmsplice(os.pipe()[1], ctypes.byref(piece), ctypes.c_ulong(1), 0) > 0
"""
    ),
    "files and resident pages": holding(
        """
import time
with open("/tmp/x", "wb") as file:
    for _ in range(10):
        file.write(bytes(PIECE))
resident = b"x" * (8 * PIECE)
time.sleep(0.5)
return True
"""
    ),
    "attributes of stdin": holding(
        """
for number in range(100):
    os.setxattr("/proc/self/fd/0", f"user.{number}", bytes(60_000))
return True
"""
    ),
    "stdin itself": holding(
        """
os.lseek(0, 0, os.SEEK_END)
while os.lseek(0, 0, os.SEEK_CUR) < 32 * PIECE:
    os.write(0, bytes(PIECE))
return True
"""
    ),
}

REACHING = {
    "write to the host": Attack(
        attempt(
            """
open("{host}/written", "w").write("x")
return True
"""
        )
    ),
    "write to the system": Attack(
        attempt(
            """
for path in ("/usr/lib/x", "/lib/x", "/python/lib/x", "/etc/x", "/x", "/dev/x", "/dev/shm/x"):
    try:
        open(path, "w").write("x")
        return True
    except OSError:
        pass
"""
        )
    ),
    "symlink escape": Attack(
        attempt(
            """
import os
os.symlink("{host}", "/tmp/way")
os.symlink("/proc/1/root{host}", "/tmp/other")
os.symlink("../../../../../..{host}", "/tmp/up")
for way in ("way", "other", "up"):
    try:
        open(f"/tmp/{way}/written", "w").write("x")
        return True
    except OSError:
        pass
"""
        )
    ),
    "the host's files": Attack(
        attempt(
            """
for path in ("/etc/passwd", "/etc/hostname", "/home", "/root", "/var", "/usr/bin/env", "/sys"):
    if __import__("os").path.exists(path):
        return True
"""
        )
    ),
    "home": Attack(
        attempt("import os\nreturn os.listdir(os.path.expanduser('~')) not in ([], ['.cache'])")
    ),
    "a shell": Attack(
        attempt(
            "import subprocess\nreturn not subprocess.run(['/bin/sh', '-c', 'true']).returncode"
        )
    ),
    "loopback": Attack(
        attempt("import socket\nreturn socket.create_connection(('127.0.0.1', {port}), 2).recv(9)")
    ),
    "abstract socket": Attack(
        attempt(
            "import socket\ns = socket.socket(socket.AF_UNIX)\n"
            "s.connect(chr(0) + 'persona-bench-{port}')\nreturn s.recv(9)"
        )
    ),
    "outside": Attack(
        attempt(
            """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"x", ("192.0.2.1", 53))
return True
"""
        )
    ),
    "kill the parent": Attack(
        attempt(
            """
import os, signal
for target in (os.getppid(), 1):
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        try:
            os.kill(target, number)
        except OSError:
            pass
"""
        )
    ),
    "kill everything": Attack("import os\nos.kill(-1, 9)\nprint('alive')", (WRONG, "crash")),
    "ptrace the parent": Attack(
        attempt(
            """
import ctypes, os
libc = ctypes.CDLL(None)
return libc.ptrace(16, os.getppid(), 0, 0) == 0 or libc.ptrace(0x4206, 1, 0, 0) == 0
"""
        )
    ),
    "take the test runner's limits": Attack(
        attempt(
            """
import resource
for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_CPU):
    resource.prlimit(1, which, (0, 0))
"""
        ),
        (WRONG, "crash"),
    ),
    "names of the host's folders": Attack(
        attempt(
            """
import os
for pid in ("self", "1", str(os.getppid()), "self/task/" + str(os.getpid())):
    for name in ("mountinfo", "mounts", "mountstats"):
        try:
            if open(f"/proc/{pid}/{name}").read():
                return True
        except OSError:
            pass
"""
        )
    ),
    "become root": Attack(attempt("import os\nos.setuid(0)\nreturn True")),
    "mount": Attack(
        attempt(
            """
import ctypes
libc = ctypes.CDLL(None)
return libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 or libc.umount(b"/tmp") == 0
"""
        )
    ),
    "chroot": Attack(attempt("import os\nos.chroot('/tmp')\nreturn True")),
    "the system's settings": Attack(
        attempt("open('/proc/sys/kernel/hostname', 'w').write('x')\nreturn True")
    ),
    "daemon": Attack(
        """
import os, sys, time
n = int(input())
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            print(n, flush=True)
            time.sleep(0.01)
    os._exit(0)
print(0)
"""
    ),
    "daemon that waits for the next test": Attack(
        attempt(
            """
import os, time
if os.path.exists("/tmp/first"):
    time.sleep(0.2)
    return os.path.getmtime("/tmp/alive") > time.time() - 0.15
open("/tmp/first", "w")
if os.fork() == 0:
    while True:
        open("/tmp/alive", "w").write("x")
        time.sleep(0.01)
print(int(input()) ** 2 + 7, flush=True)
os._exit(0)
"""
        )
    ),
}

ATTACKS = {
    f"{group}: {name}": attack
    for group, attacks in {
        "peeks": PEEKING,
        "lies": LYING,
        "replaces": REPLACING,
        "hogs": HOGGING,
        "compiles": COMPILING,
        "holds": HOLDING,
        "reaches": REACHING,
    }.items()
    for name, attack in attacks.items()
}
