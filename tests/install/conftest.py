"""Distributions of this project and of lm-eval, and the environments they go into."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.install.environment import (
    Environment,
    LiteralCommand,
    borrow_packages,
    copy_checkout,
    run,
)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of this checkout, to build from."""
    return copy_checkout(tmp_path_factory.mktemp("clean") / "checkout")


@pytest.fixture(scope="session")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution; the wheel that is built from it lies beside it."""
    folder = tmp_path_factory.mktemp("distributions")
    build(checkout, folder)
    return the_only(folder, "*.tar.gz")


@pytest.fixture(scope="session")
def wheel(sdist: Path) -> Path:
    """The wheel as it would be published: built from the source distribution."""
    return the_only(sdist.parent, "*.whl")


@pytest.fixture(scope="session")
def wheel_from_tree(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip install .` builds it: from the checkout itself."""
    folder = tmp_path_factory.mktemp("from-tree")
    build(checkout, folder, "--wheel")
    return the_only(folder, "*.whl")


@pytest.fixture(scope="session")
def checkpoint(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model, whose config asks for float32: bfloat16 takes a CPU five times as long."""
    folder = tmp_path_factory.mktemp("float32")
    for file in smollm2.iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file)
    config = json.loads((smollm2 / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float32"}))
    return folder


@pytest.fixture(scope="session")
def literal_command(request: pytest.FixtureRequest, checkpoint: Path) -> LiteralCommand:
    """The README's command on a real model and, where they are at hand, real questions."""
    task, variables = "persona_math500", {}
    try:
        variables["PERSONA_BENCH_DATA"] = str(request.getfixturevalue("data_dir"))
    except pytest.skip.Exception as reason:
        task = "persona_arithmetic"  # it needs no download
        warnings.warn(f"{task} stands in for persona_math500: {reason}", stacklevel=1)
    return LiteralCommand(task, checkpoint, variables)


@pytest.fixture(scope="session")
def lm_eval_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lm-eval's wheel, of the version that runs here."""
    folder = tmp_path_factory.mktemp("lm-eval-wheel")
    download(folder, "--only-binary=lm_eval")
    return the_only(folder, "*.whl")


@pytest.fixture(scope="session")
def lm_eval_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of lm-eval, of the version that runs here."""
    folder = tmp_path_factory.mktemp("lm-eval-sources")
    download(folder, "--no-binary=lm_eval", "--no-build-isolation")
    shutil.unpack_archive(the_only(folder, "*.tar.gz"), folder / "unpacked")
    return the_only(folder / "unpacked", "*")


@pytest.fixture(scope="session")
def borrowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the running environment without lm-eval and this project."""
    # dill tells packages from a user's own modules by this name, and pickles the latter whole
    return borrow_packages(tmp_path_factory.mktemp("borrowed") / "site-packages")


@pytest.fixture(scope="module")
def new_environment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Environment]]:
    """Makes environments, which are removed after the tests of a file: each is large."""
    folder = tmp_path_factory.mktemp("environments")
    made = 0

    def make(borrowed: Path | None = None) -> Environment:
        nonlocal made
        made += 1
        return Environment(folder / f"environment-{made}", borrowed)

    yield make
    shutil.rmtree(folder, ignore_errors=True)


def build(source: Path, target: Path, *options: str) -> None:
    """Builds with the hatchling that is installed here, as there may be no network."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    run([*command, *options, source], cwd=target)


def download(folder: Path, *options: str) -> None:
    """Fetches lm-eval from the package index."""
    wanted = f"lm_eval=={version('lm_eval')}"
    run([sys.executable, "-m", "pip", "download", "--no-deps", *options, wanted], cwd=folder)


def the_only(folder: Path, pattern: str) -> Path:
    """The one thing in a folder with such a name."""
    [found] = folder.glob(pattern)
    return found
