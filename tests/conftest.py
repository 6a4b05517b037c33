"""What the tests share: the real model, the real data, and lm_eval as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

WORKER = "PYTEST_XDIST_WORKER" in os.environ
"""Whether this is one of several processes that run the tests."""

# both inherited by subprocesses: two torch processes that spin for the same cores run ten times
# slower, and where each core has a test of its own, more threads only wait for each other
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if WORKER:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
LONG = {"smollm2", "lm_eval", "new_environment"}
"""Fixtures whose tests run a real model or install packages."""
SLOW = {"new_environment", "data_dir"}
"""Fixtures whose tests are slow: they install packages, or grade whole benchmarks."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests as slow by their fixtures, and puts files with long tests first.

    So no worker is left alone with one of these at the end.
    """
    for item in items:
        if SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    if WORKER:
        long = {item.path for item in items if LONG & set(getattr(item, "fixturenames", ()))}
        items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A mirror folder with the real benchmark files, where there is one."""
    folder = Path(os.environ.get("PERSONA_BENCH_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "math500" / "test.jsonl").is_file():
        pytest.skip(
            f"no real benchmark data at {folder}; name a mirror folder with "
            "PERSONA_BENCH_TEST_DATA to run this test"
        )
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real SmolLM2-135M-Instruct, as the demo fetches it."""
    from persona_bench.demo import cache_folder, demo_model

    cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(cache_folder() / "models.lock"):  # one worker fetches it, the others wait
        return demo_model()


@pytest.fixture(scope="session")
def lm_eval() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the real `lm_eval` command, with no hub to reach."""

    def run(*arguments: str, cwd: Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
        environment.pop("PERSONA_BENCH_DATA", None)
        done = subprocess.run(
            [str(Path(sys.executable).parent / "lm_eval"), *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=540,
        )
        if ok and done.returncode != 0:
            pytest.fail(f"lm_eval ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done

    return run
