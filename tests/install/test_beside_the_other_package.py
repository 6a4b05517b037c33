"""Beside `persona-bench` of the package index: another project whose package is `persona_bench`.

pip writes both into one folder, and the later one over the earlier. A small distribution of that
name stands in for it.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.install.environment import Environment, copy_checkout

INSTALL = ("install", "--quiet", "--no-deps", "--no-index")
MEND = "pip uninstall persona-bench persona-stability-bench"
TASKS = "from lm_eval.tasks import TaskManager; TaskManager(include_defaults=False); print('fine')"

THEIRS = {
    "persona_bench/__init__.py": "from persona_bench.evaluation import evaluate\n",
    "persona_bench/evaluation.py": "def evaluate(): return 1\n",
}


def other_wheel(folder: Path, files: Mapping[str, str]) -> Path:
    """A wheel of the other project with these files."""
    folder.mkdir(parents=True)
    info = "persona_bench-0.1.2.1.dist-info"
    files = {
        **files,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: persona-bench\nVersion: 0.1.2.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    path = folder / "persona_bench-0.1.2.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record.append(f"{name},sha256={digest.rstrip(b'=').decode()},{len(text)}")
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
    return path


@pytest.fixture
def environment(
    new_environment: Callable[..., Environment], borrowed: Path, lm_eval_wheel: Path
) -> Environment:
    made = new_environment(borrowed)
    made.pip(*INSTALL, "--no-compile", lm_eval_wheel)
    return made


def error(environment: Environment) -> str:
    """The sentence that the command fails with."""
    done = environment.run(environment.bin / "persona-bench", "personas", "list", ok=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert MEND in line
    assert "install Persona Bench again from its checkout or wheel" in line
    # lm-eval goes on without our tasks, and says the same
    told = environment.run(environment.python, "-c", TASKS)
    assert told.stdout == "fine\n"
    [said] = told.stderr.splitlines()
    head = "Persona Bench: its tasks could not be added to lm_eval: "
    assert said == line.replace("Error: ", head)
    return line


def works(environment: Environment) -> str:
    """What the command says on stderr; it works, and so does lm-eval."""
    done = environment.run(environment.bin / "persona-bench", "personas", "list")
    assert "demo" in done.stdout
    assert environment.run(environment.python, "-c", TASKS).stderr == ""
    return done.stderr


def test_each_over_the_other(environment: Environment, wheel: Path, tmp_path: Path) -> None:
    theirs = other_wheel(tmp_path / "other", THEIRS)
    environment.pip(*INSTALL, theirs)
    environment.pip(*INSTALL, wheel)
    warning = works(environment)
    assert warning.startswith("Warning: the files of the distribution persona-bench 0.1.2.1")
    assert warning.count("\n") == 1
    assert MEND in warning

    environment.pip("uninstall", "--quiet", "--yes", "persona-bench")  # takes our __init__.py along
    assert "has lost files of Persona Bench" in error(environment)

    environment.pip(*INSTALL, "--force-reinstall", wheel)
    assert works(environment) == ""

    environment.pip(*INSTALL, theirs)
    assert "persona_bench/__init__.py is not Persona Bench's" in error(environment)
    assert "of the distribution persona-bench 0.1.2.1" in error(environment)

    # what the sentence says to do
    environment.pip("uninstall", "--quiet", "--yes", "persona-bench", "persona-stability-bench")
    assert environment.traces() == []
    environment.pip(*INSTALL, wheel)
    assert works(environment) == ""


@pytest.mark.parametrize("name", ["personas.py", "personas/__init__.py"])
def test_a_module_of_ours_is_hidden(
    environment: Environment, wheel: Path, tmp_path: Path, name: str
) -> None:
    environment.pip(*INSTALL, wheel)
    ours = (environment.site_packages / "persona_bench" / "__init__.py").read_text()
    environment.pip(*INSTALL, other_wheel(tmp_path / "other", {f"persona_bench/{name}": "x = 1\n"}))
    assert "persona_bench/personas.py of Persona Bench is hidden by" in error(environment)
    # in Python, where something is missing
    assert (environment.site_packages / "persona_bench" / "__init__.py").read_text() == ours
    code = "from persona_bench import load_persona_set"
    done = environment.run(environment.python, "-c", code, ok=False)
    assert MEND in done.stderr.splitlines()[-1]


def test_an_editable_install_of_ours_is_hidden_whole(
    environment: Environment, tmp_path: Path
) -> None:
    copy = copy_checkout(tmp_path / "checkout")
    environment.pip(*INSTALL, "--no-build-isolation", "--editable", copy)
    assert works(environment) == ""
    environment.pip(*INSTALL, other_wheel(tmp_path / "other", THEIRS))
    assert "is not Persona Bench's, but of the distribution persona-bench" in error(environment)
