"""Virtual environments for the installation tests, and what can be seen in them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
PROBE = Path(__file__).with_name("probe.py")
FORBIDDEN = "*persona[-_]*bench*"  # the name of everything that an uninstall has to remove

METRICS = {
    "acc", "acc_se", "worst", "best", "pss", "pss_corrected", "noise_floor", "unscored",
}  # fmt: skip

# no variable of the test run's own may reach the installed programs
OWN_VARIABLES = ("PYTHON", "PERSONA_BENCH", "VIRTUAL_ENV")


class Environment:
    """A virtual environment, whose programs are run from a folder that has nothing to do with it.

    Args:
        folder: Where it is made.
        borrowed: A folder of packages that are to be importable in it without being
            installed in it (see `borrow_packages`), pip among them; None makes it empty,
            with the pip that Python ships.
    """

    def __init__(self, folder: Path, borrowed: Path | None = None) -> None:
        self.folder = folder
        self.elsewhere = folder.parent / f"{folder.name}-elsewhere"
        self.elsewhere.mkdir(parents=True)
        options = ["--without-pip"] if borrowed else []
        run([sys.executable, "-m", "venv", *options, folder], cwd=self.elsewhere)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site_packages = Path(self.run(self.python, "-c", code).stdout.strip())
        if borrowed:
            (self.site_packages / "borrowed.pth").write_text(f"{borrowed}\n")

    def run(
        self, *command: str | Path, ok: bool = True, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command from the unrelated folder; where `ok`, its failure fails the test."""
        return run(command, cwd=self.elsewhere, ok=ok, variables=variables)

    def pip(self, *arguments: str | Path) -> None:
        """Runs this environment's pip."""
        self.run(self.python, "-m", "pip", *arguments)

    def probe(self, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What `probe.py` prints in this environment."""
        done = self.run(self.python, PROBE, self.elsewhere, variables=variables)
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def files(self) -> set[str]:
        """Everything in the environment except compiled files, which come and go."""
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if "__pycache__" not in path.parts
        }

    def traces(self) -> list[str]:
        """What lies in the environment and has this project's name, compiled files too."""
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob(FORBIDDEN))


@dataclass(frozen=True)
class LiteralCommand:
    """`lm_eval --model hf --model_args pretrained=... --tasks ... --apply_chat_template`.

    Attributes:
        task: The task it runs.
        checkpoint: The folder of the model.
        variables: Environment variables that say where the task's data is.
    """

    task: str
    checkpoint: Path
    variables: Mapping[str, str]

    def run(self, environment: Environment) -> subprocess.CompletedProcess[str]:
        """Runs it on one question under six personas, a few tokens each."""
        command = ["--model", "hf"]
        command += ["--model_args", f"pretrained={self.checkpoint}"]
        command += ["--tasks", self.task, "--apply_chat_template"]
        command += ["--limit", "6", "--metadata", '{"persona_set": "demo"}']
        command += ["--gen_kwargs", "max_gen_toks=4"]
        return environment.run(environment.bin / "lm_eval", *command, variables=self.variables)

    def metrics(self, done: subprocess.CompletedProcess[str]) -> set[str]:
        """The names of the metrics in the table that it printed for the task."""
        heading, *rows = re.findall(r"^\|.*\|$", done.stdout, flags=re.MULTILINE)
        column = [cell.strip() for cell in heading.split("|")].index("Metric")
        assert self.task in rows[1], done.stdout  # rows[0] is the line below the heading
        return {row.split("|")[column].strip() for row in rows[1:]}


@dataclass(frozen=True)
class State:
    """An environment at one moment.

    Attributes:
        start: What a Python that does nothing writes to stdout and stderr.
        probe: What `probe.py` printed.
        files: `Environment.files`.
        traces: `Environment.traces`.
        lm_eval: The sha256 of each file of the `lm_eval` package.
    """

    start: str
    probe: Mapping[str, Any]
    files: set[str]
    traces: list[str]
    lm_eval: Mapping[str, str]


def observe(
    environment: Environment, package: Path, variables: Mapping[str, str] | None = None
) -> State:
    """The environment as it is now; `package` is where `lm_eval` lies."""
    done = environment.run(environment.python, "-c", "pass", variables=variables)
    probe = environment.probe(variables)
    return State(
        done.stdout + done.stderr,
        probe,
        environment.files(),
        environment.traces(),
        hashes(package),
    )


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of each file in a folder, compiled files left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    ok: bool = True,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command with no hub to reach; where `ok`, its failure fails the test."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OWN_VARIABLES)}
    environment |= {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
    environment["OMP_NUM_THREADS"] = "1"  # more only wait for each other where others compute
    environment |= variables or {}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    if ok and done.returncode != 0:
        line = " ".join(str(part) for part in command)
        said = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        pytest.fail(f"{line}\nended with {done.returncode}:\n{said}")
    return done


def copy_checkout(target: Path) -> Path:
    """A copy of this checkout with what git would commit: no environments, no results' debris."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:  # an unpacked source distribution has no git, and no debris yet
        ignored = shutil.ignore_patterns(".venv*", ".*_cache", "__pycache__")
        return Path(shutil.copytree(ROOT, target, ignore=ignored))
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # else it is deleted and not yet committed so
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def borrow_packages(target: Path) -> Path:
    """A folder of links to the packages of the running environment, but for the two under test.

    It spares each environment the installation of torch and a hundred others. Its `.pth`
    files do nothing there, as Python reads those of its own site-packages only.
    """
    target.mkdir()
    under_test = ("lm_eval", "persona_bench", "persona_stability_bench", "__editable__")
    under_test += ("_editable_impl_persona_bench", "_editable_impl_persona_stability_bench")
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            if entry.name != "__pycache__" and not entry.name.startswith(under_test):
                (target / entry.name).symlink_to(entry)
    return target
