"""Responses that wait for a judge."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import pytest

from persona_bench.cli import main
from tests.support.command import Command, Ran
from tests.support.judged_run import stored_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """Responses that nobody has judged."""
    return Path(shutil.copytree(made, tmp_path / "out"))


@pytest.fixture
def persona_bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def run(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["persona-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Ran(int(ended.value.code or 0), *capfd.readouterr())

    return run
