"""PerMix as an environment of the verifiers library, which `make verifiers` installs by itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from typing import Any

import pytest

from persona_bench.personas import load_persona_set
from persona_bench.train.config import Rows
from persona_bench.train.sources import training_source
from tests.conftest import ROOT
from tests.support.chat_server import ChatServer

FOLDER = ROOT / ".venv-verifiers"
PYTHON = FOLDER / "bin" / "python"

SCRIPT = """
import json, sys
import verifiers as vf
from verifiers.types import ClientConfig
from persona_bench.grading import Verdict
from persona_bench.train import environment

grader = environment.grader

def odd_grader(kind):
    "The real grader, but that it can't grade pirates."
    def grade(texts, answers, *, truncated):
        found = grader(kind)(texts, answers, truncated=truncated)
        return [
            Verdict("unscored", "timeout") if "Arr" in text else verdict
            for text, verdict in zip(texts, found)
        ]
    return grade

environment.grader = odd_grader
env = vf.load_environment(
    "persona_bench.train.environment", persona_set="train", mix_ratio=0.5, seed=2,
    source="arithmetic", n_questions=8, levels=["1"],
)
client = ClientConfig(api_base_url=sys.argv[1], api_key_var="NO_KEY")
found = env.evaluate_sync(client, "model", rollouts_per_example=6)
keys = ("example_id", "prompt", "completion", "answer", "reward", "metrics", "info")
rows = [{key: row[key] for key in keys} for row in found["outputs"]]
print(json.dumps(rows, default=lambda value: value.model_dump()))
"""


@pytest.mark.skipif(not (FOLDER / ".installed").is_file(), reason="make verifiers was not run")
def test_the_library_rolls_it_out_and_scores_it() -> None:
    prompts = {persona.id: persona.prompt for persona in load_persona_set("train")}
    rates: dict[str, float] = defaultdict(lambda: 0.5)
    rows = Rows(n_questions=8, levels=("1",))
    benchmark, questions, _ = training_source("arithmetic", rows, 2)
    answers = {benchmark.prompt(question.problem): question.answer for question in questions}
    numbers: dict[str, int] = defaultdict(int)

    def whole(body: dict[str, Any], number: int) -> dict[str, Any]:
        if number == 5:
            return {"odd": "no response at all"}
        said = server.reply({**body, "seed": number})  # the answers differ by the seed
        fields = {"id": "1", "created": 1, "model": "model", "object": "chat.completion"}
        return {**fields, **said}

    with ChatServer(rates, answers, whole) as server:
        done = subprocess.run(
            [
                str(FOLDER / "bin" / "python"),
                "-c",
                SCRIPT,
                server.url.removesuffix("/chat/completions"),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), "NO_KEY": "none"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 48
    groups: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in found:
        groups[row["example_id"]].append(row)
        system = [each["content"] for each in row["prompt"] if each["role"] == "system"]
        persona = row["info"]["persona"]
        assert system == ([] if persona == "none" else [prompts[persona]])
        numbers[persona] += 1
    assert len(numbers) > 2
    assert numbers["none"]
    lost = 0
    for group in groups.values():
        assert len({str(row["prompt"]) for row in group}) == 1
        unscored, rewards = [], []
        for row in group:
            text = row["completion"][-1]["content"] if row["completion"] else "Arr, nothing"
            if "Arr" in text:
                unscored.append(row)
                continue
            verdict = benchmark.grade([text], [row["answer"]], truncated=[False])[0]
            assert row["reward"] == verdict.correct
            assert row["metrics"]["unscored"] == 0
            rewards.append(row["reward"])
        lost += sum(not row["completion"] for row in unscored)
        for row in unscored:
            assert row["metrics"]["unscored"] == 1
            assert row["reward"] == pytest.approx(sum(rewards) / len(rewards) if rewards else 0)
    assert lost == 1
    assert {0.0, 1.0} <= {row["reward"] for row in found}


def test_its_text_is_what_was_said_last() -> None:
    from persona_bench.train.environment import _text

    class Message:
        content = "17"

    assert _text([{"role": "assistant", "content": "4"}, {"content": "17"}]) == "17"
    assert _text([Message()]) == "17"
    assert _text("17") == "17"
    assert _text([]) == _text([{"content": None}]) == ""
