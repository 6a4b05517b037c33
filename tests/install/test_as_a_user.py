"""The installation as a user gets it: an empty environment, the package index, one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.install.environment import METRICS, ROOT, Environment, LiteralCommand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.timeout(1800)  # it installs torch and a hundred other packages
def test_install_run_and_uninstall(
    new_environment: Callable[..., Environment], wheel: Path, literal_command: LiteralCommand
) -> None:
    environment = new_environment()
    constraints = ROOT / "constraints.txt"
    # compiling all of torch and the others takes a minute, and Python does it where it is needed
    options = ("--quiet", "--no-compile", "--constraint", constraints)
    environment.pip("install", *options, f"{wheel}[hf]")
    environment.pip("check")
    # lm-eval's own maths tasks stop beside any other: who has this project has those too
    code = "from importlib.metadata import version; print(version('antlr4-python3-runtime'))"
    assert environment.run(environment.python, "-c", code).stdout.startswith("4.11")

    done = literal_command.run(environment)
    assert literal_command.metrics(done) == METRICS, done.stdout

    environment.pip("uninstall", "--quiet", "--yes", "persona-stability-bench")
    assert environment.traces() == []
    start = environment.run(environment.python, "-c", "import lm_eval, lm_eval.tasks")
    assert start.stdout + start.stderr == ""
