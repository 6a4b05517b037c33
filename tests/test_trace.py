"""A real model's roleplay under lm-eval's own command, and the traces in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_bench.extras.traces.identifiability import identifiability
from persona_bench.results.outcomes import read_responses
from persona_bench.results.samples import newest_samples
from persona_bench.scoring.information import persona_information
from tests.test_cli import persona_bench

pytestmark = pytest.mark.slow

KNOBS = {"persona_set": "demo", "questions_per_task": 4, "eval_tasks": "Linguistic Habits"}


@pytest.fixture(scope="module")
def run(
    smollm2: Path,
    lm_eval: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """16 sampled responses from lm-eval's own command, and what `trace` says of them."""
    folder = tmp_path_factory.mktemp("trace")
    arguments = f"pretrained={smollm2},dtype=float32"
    asked = lm_eval(
        "--model", "hf", "--model_args", arguments, "--tasks", "persona_roleplay",
        "--apply_chat_template", "--metadata", json.dumps(KNOBS),
        "--gen_kwargs", "max_gen_toks=24", "--batch_size", "16",
        "--log_samples", "--output_path", "out",
        cwd=folder,
    )  # fmt: skip
    (folder / "table.txt").write_text(asked.stdout)
    faster = f"{arguments},batch_size=16"
    done = persona_bench("trace", "out", "--model-args", faster, cwd=folder)
    (folder / "printed.txt").write_text(done.stdout)
    shutil.copytree(folder / "out" / "scores", folder / "before")
    persona_bench("trace", "out", "--model-args", arguments, cwd=folder)
    return folder


def test_lm_eval_s_table_counts_what_is_to_be_judged(run: Path) -> None:
    table = (run / "table.txt").read_text()
    assert re.search(r"persona_roleplay.*responses.*\| +16\|", table)
    assert re.search(r"unanswered.*\| +0\|", table)


def likelihoods(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "out" / "scores" / "persona_roleplay_trace_likelihoods.csv")


def test_the_model_s_own_responses_lie_above_the_band(run: Path) -> None:
    found = persona_information(likelihoods(run))
    assert found.conclusion == "trace"
    assert found.value > found.no_trace.high + 0.05
    assert found.interval.low > found.no_trace.high
    assert "Persona information: trace" in (run / "printed.txt").read_text()


def test_shuffled_responses_lie_inside_the_band(run: Path) -> None:
    """Whoever gave a response, another persona is said to have."""
    table = likelihoods(run)
    rng = np.random.default_rng(0)
    inside, traces = 0, 0
    for _ in range(40):
        shuffled = table.copy()
        for _, rows in table.groupby("question"):
            names = rows["persona"].unique()
            renamed = dict(zip(names, rng.permutation(names), strict=True))
            shuffled.loc[rows.index, "persona"] = rows["persona"].map(renamed)
        found = persona_information(shuffled, resamples=500)
        inside += found.no_trace.low <= found.value <= found.no_trace.high
        traces += found.conclusion == "trace"
    assert inside >= 35
    assert traces <= 4


def test_a_second_call_computes_nothing_and_says_the_same(run: Path) -> None:
    segments = (run / "out" / "store" / "likelihoods").rglob("*.jsonl")
    assert sum(len(file.read_text().splitlines()) - 1 for file in segments) == 16 * 4
    told = json.loads((run / "before" / "persona_roleplay_trace.json").read_text())
    written = json.loads((run / "out" / "scores" / "persona_roleplay_trace.json").read_text())
    assert told["persona_information"] == written["persona_information"]
    assert written["provenance"]["likelihoods"]["empty"] == 0


def test_identifiability_of_shuffled_labels_is_at_chance(run: Path) -> None:
    (samples,) = newest_samples(run / "out")
    table = read_responses(samples)
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        shuffled = table.assign(
            persona=table.groupby("question")["persona"].transform(rng.permutation)
        )
        found.append(identifiability(shuffled, permutations=20))
    assert np.mean([each.accuracy for each in found]) == pytest.approx(0.25, abs=0.08)
    assert sum(each.conclusion == "trace" for each in found) <= 3


def test_untraceable_results_raise_one_sentence(run: Path) -> None:
    chat = ["--model", "local-chat-completions", "--model-args", "model=x,base_url=http://x/v1"]
    done = persona_bench("trace", "out", *chat, cwd=run, ok=False)
    assert done.returncode == 1
    assert "is a chat endpoint" in done.stderr
    assert "Traceback" not in done.stderr
