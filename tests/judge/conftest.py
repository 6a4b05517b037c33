"""Responses that wait for a judge."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.judged_run import stored_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """Responses that nobody has judged."""
    return Path(shutil.copytree(made, tmp_path / "out"))
