"""What a sandbox is made of: bubblewrap's arguments, what is visible inside, the environment."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

TMP = 256 << 20
"""Bytes of the /tmp inside, for each program."""

INSTALL = (
    "install bubblewrap (apt-get install bubblewrap, dnf install bubblewrap) and allow user "
    "namespaces (in a container: docker run --security-opt seccomp=unconfined, or run as root with "
    "--cap-add SYS_ADMIN)"
)


class NoSandbox(RuntimeError):
    """This machine grants no isolation; the message says why and how to mend it."""


@dataclass(frozen=True)
class Isolation:
    """How sandboxes are made on this machine.

    Attributes:
        kind: `bubblewrap`, or `none` where the user asked for that.
        command: What stands before the interpreter.
        python: The interpreter, by its path inside.
        path: Added to its module path: where `PACKAGES` lie.
        own_user: Whether each slot drops to a real user of its own (started by root).
        processes: Whether the limit of processes can be set.
        warm: Whether a sandbox is kept for several programs, each in namespaces of its own.
        memory_groups: Whether each sandbox is in a control group of its own that bounds its memory.
        version: Version of bubblewrap.
    """

    kind: Literal["bubblewrap", "none"]
    command: tuple[str, ...]
    python: str
    path: tuple[str, ...]
    own_user: bool = False
    processes: bool = True
    warm: bool = True
    memory_groups: bool = False
    version: str = ""

    def record(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "sandbox": self.kind,
            "sandbox_version": self.version,
            "program_python": sys.version.split()[0],
            "program_packages": {name: metadata.version(name) for name in packages()},
        }


def command(bwrap: str, flags: str, user_namespace: bool, proc: bool, warm: bool) -> list[str]:
    """bubblewrap's arguments.

    Without a user namespace, as for root, the test runner changes to a real user of its slot: the
    limit of processes has no effect on a user that maps to root. In a warm sandbox the first
    process may make namespaces; the test runners that it forks may not.
    """
    arguments = [bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    arguments += ["--unshare-cgroup-try", "--as-pid-1", "--die-with-parent", "--new-session"]
    arguments += ["--hostname", "sandbox", "--clearenv"]
    if user_namespace:
        for capability in ("CAP_SYS_ADMIN", "CAP_SYS_CHROOT") if warm else ():
            arguments += ["--cap-add", capability]
        arguments += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
        arguments += ["--disable-userns"] if "--disable-userns" in flags else []
    for name, value in ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    for folder in ("/python", "/python/bin", "/python/lib", "/python/lib64", "/site", "/usr"):
        arguments += [
            "--dir",
            folder,
        ]  # what bwrap makes for itself may be closed to the slot's user
    for source, target in _system():
        arguments += ["--ro-bind", source, target]
    arguments += ["--proc", "/proc"] if proc else []
    arguments += ["--dev", "/dev", "--remount-ro", "/dev"]
    # a shared mapping of /dev/zero is memory that no limit counts
    arguments += ["--dev-bind", "/dev/null", "/dev/zero"]
    if "--size" in flags and "--perms" in flags:
        arguments += ["--perms", "1777", "--size", str(TMP), "--tmpfs", "/tmp"]
    else:  # bubblewrap before 0.7 can't bound a /tmp: there is an empty one, not to be written
        arguments += ["--dir", "/tmp"]
    return [*arguments, "--remount-ro", "/", "--chdir", "/tmp"]


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


def _system() -> list[tuple[str, str]]:
    """(path here, path inside) of the interpreter, its libraries, and numpy.

    The interpreter has a path of its own inside: here it may lie where its user can't look.
    """
    binds = [(os.path.realpath(sys._base_executable), "/python/bin/python3")]  # type: ignore[attr-defined]
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    for name in ("stdlib", "platstdlib"):  # the second is in lib64 on some systems
        folder = sysconfig.get_path(name, vars=base)
        pair = (folder, f"/python/{os.path.relpath(folder, sys.base_prefix)}")
        if Path(folder).is_dir() and pair not in binds:
            binds.append(pair)
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    if (library := Path(sysconfig.get_config_var("LIBDIR") or "", shared)).is_file():
        binds.append((str(library), f"/python/lib/{shared}"))
    for folder in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        if Path(folder).is_dir():
            binds.append((os.path.realpath(folder), folder))
    for name, package in packages().items():
        binds.append((str(package), f"/site/{name}"))
        if (libraries := package.with_name(f"{name}.libs")).is_dir():
            binds.append((str(libraries), f"/site/{name}.libs"))
    return binds


PACKAGES = ("numpy", "sortedcontainers")
"""What programs may import beside the standard library, where it is installed here."""


def packages() -> dict[str, Path]:
    """The folders of those of `PACKAGES` that are installed here."""
    specs = {name: importlib.util.find_spec(name) for name in PACKAGES}
    return {name: Path(spec.origin).parent for name, spec in specs.items() if spec and spec.origin}


STARS = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random"),
    *("statistics", "itertools", "functools", "operator", "io", "sys", "json", "builtins"),
    "typing",
)
"""What LiveCodeBench's runner imports with a star, and then by name, before each program."""


def prelude(program: str) -> list[tuple[str, list[str]]]:
    """The imports of the runner's prelude that a program can notice: the others cost time.

    All of them where it may look names up as text.

    Returns:
        (module, names) in the order of the imports; no names for the module itself.
    """
    words = set(re.findall(r"\w+", program))
    every = not words.isdisjoint(("eval", "exec", "globals", "locals", "vars", "__dict__"))
    stars: dict[str, list[str]] = {}
    for name, module in _star_names().items():
        if every or name in words:
            stars.setdefault(module, []).append(name)
    return [*stars.items(), *((name, []) for name in STARS if every or name in words)]


@lru_cache(maxsize=1)
def _star_names() -> dict[str, str]:
    """What the imports with a star name, and the module that names it last."""
    found: dict[str, str] = {}
    for name in STARS:
        module = importlib.import_module(name)
        public = [word for word in vars(module) if not word.startswith("_")]
        found.update(dict.fromkeys(getattr(module, "__all__", public), name))
    return {word: name for word, name in found.items() if name != "builtins"}
