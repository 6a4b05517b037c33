"""`make bench`: without its data, and after a run that failed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from scripts import bench

ROOT = Path(__file__).resolve().parent.parent


def run_bench(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != "PERSONA_BENCH_DATA"}
    environment = {**kept, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-m", "scripts.bench", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_without_its_data_it_says_what_to_pass(tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = run_bench("--results", str(results), HF_HOME=str(tmp_path / "hub"))
    assert done.returncode == 1
    [said] = done.stderr.splitlines()
    assert "needs the questions of MATH-500" in said
    assert 'make bench BENCH="--data-dir FOLDER"' in said
    assert 'make bench BENCH="runs scoring store judge train"' in said
    assert not results.exists()
    assert done.stdout == ""


def test_a_folder_left_by_a_failed_run_is_filled(
    smollm2: Path, data_dir: Path, tmp_path: Path
) -> None:
    assert smollm2
    (tmp_path / "results" / "store").mkdir(parents=True)
    arguments = {"results": tmp_path / "results", "data_dir": str(data_dir)}
    outcomes = bench.grid_outcomes(argparse.Namespace(**arguments, questions=1, tokens=1))
    assert len(outcomes) == 16
    again = bench.grid_outcomes(argparse.Namespace(**arguments, questions=9, tokens=9))
    assert len(again) == 16  # a run that is there is used as it is
