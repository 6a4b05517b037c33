"""A study whose roles are judged, its scores, and two models' fidelity, by the command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench import compare_fidelity, fidelity, read_judged, read_outcomes
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.studies import written
from tests.test_cli import persona_bench

pytestmark = pytest.mark.slow

DESCRIPTION = re.compile(r"Persona: (.*)")


def answer(body: dict[str, Any], number: int) -> Reply:
    """Model `b` plays its persona, model `a` does not; the judge sees whether it does."""
    system, user = body["messages"][0]["content"], body["messages"][-1]["content"]
    if body["model"] == "judge":
        persona = DESCRIPTION.search(user)
        assert persona
        response = user.partition("Response: ")[2]
        return Reply(verdict(5 if persona[1] in response else 2))
    if "boxed" in user:
        return Reply("\\boxed{1}")
    return Reply(f"As they say: {system} So there." if body["model"] == "b" else "I am a model.")


def study(url: str, **more: Any) -> dict[str, Any]:
    endpoint = {"base_url": f"{url}/chat/completions", "num_concurrent": 4}
    return {
        "output_path": "out",
        "models": [
            {"name": name, "model": "local-chat-completions",
             "model_args": {**endpoint, "model": name}}
            for name in ("a", "b")
        ],
        "tasks": [
            {"task": "persona_arithmetic", "metadata": {"n_questions": 2}},
            {"task": "persona_roleplay", "metadata": {"questions_per_task": 2}},
        ],
        "metadata": {"persona_set": "demo"},
        "judge": {"models": ["judge"], "base_url": url, "concurrency": 4, "audit": True,
                  "audited": 20},
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int, int]:
    """The study's folder, what was printed, the judge's calls, and all calls of a second run."""
    folder = tmp_path_factory.mktemp("judged")
    with JudgeServer(answer, ("a", "b", "judge")) as server:
        file = written(folder, study(server.url))
        done = persona_bench("run", str(file), cwd=folder)
        asked = sum(body["model"] == "judge" for body in server.requests)
        count = len(server.requests)
        persona_bench("run", str(file), cwd=folder)
        again = len(server.requests) - count
    return folder, done.stdout, asked, again


def test_a_study_judges_when_its_models_are_done(judged: tuple[Path, str, int, int]) -> None:
    folder, printed, asked, again = judged
    table = read_judged(folder / "out")
    assert len(table) == 2 * 4 * 10
    assert set(table.groupby("model")["score"].mean()) == {2.0, 5.0}
    # the 40 of each model, and of each a retest of 20 and a swap of 20; a's responses are alike
    # under all personas, and what reads alike is asked once
    assert 80 < asked <= 2 * (40 + 20 + 20)
    assert again == 0
    assert "persona_roleplay · a" in printed
    assert "persona_roleplay · b" in printed
    assert "judge tells personas apart" in printed  # on b's responses
    assert "WARNING: judge can't be seen to tell personas apart" in printed  # on a's
    assert set(read_outcomes(folder / "out")["task"]) == {"persona_arithmetic"}
    record = json.loads((folder / "out/scores/b/persona_roleplay_fidelity.json").read_text())
    assert record["persona_score"]["value"] == 5.0
    assert record["audits"]["judge"]["tells_personas_apart"] == "clearly"
    (about,) = record["provenance"]["run"]["judges"]
    assert about["parameters"] == {"max_tokens": 1024, "temperature": 0.0}


def test_two_models_are_compared_in_pairs(judged: tuple[Path, str, int, int]) -> None:
    folder = judged[0]
    done = persona_bench("compare", "out/a", "out/b", "--out", "compared", cwd=folder)
    assert "persona_roleplay: b - a" in done.stdout
    assert "persona_arithmetic: b - a" in done.stdout
    assert re.search(r"PersonaScore +2\.00 +5\.00 +\+3\.00", done.stdout)
    record = json.loads(
        (folder / "compared" / "persona_roleplay_fidelity_comparison.json").read_text()
    )
    assert record["persona_score"]["difference"] == 3.0
    methods = pd.read_csv(folder / "compared/tables/methods.csv").set_index("method")
    assert methods["roleplay PersonaScore"].tolist() == pytest.approx([2.0, 5.0])
    frontier = "persona_arithmetic_frontier_persona_roleplay_persona_score.csv"
    drawn = pd.read_csv(folder / "compared/figures" / frontier).set_index("method")
    scored = pd.read_csv(folder / "compared/tables/persona_arithmetic_models.csv")
    known = scored.set_index("model")["pss_corrected"].dropna()  # none: no sum was right
    assert drawn["pss_corrected"].to_dict() == known.to_dict()
    assert (folder / "compared/index.html").stat().st_size > 50_000
    table = read_judged(folder / "out")
    a, b = (table[table["model"] == model] for model in ("a", "b"))
    assert compare_fidelity(a, b).difference == fidelity(b).persona_score - 2.0


def test_another_judge_of_the_same_name_is_not_compared(
    judged: tuple[Path, str, int, int], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(judged[0] / "out", tmp_path / "out")
    about = max((tmp_path / "out" / "b").glob("judged_*.json"))  # of the newer run
    told = json.loads(about.read_text())
    about.write_text(json.dumps({**told, "parameters": {"temperature": 1.0}}))
    done = persona_bench("compare", "out/a", "out/b", cwd=tmp_path, ok=False)
    assert "judge 'judge' differs in parameters" in done.stderr
    about.unlink()
    about.with_suffix(".jsonl").unlink()
    done = persona_bench("compare", "out/a", "out/b", cwd=tmp_path)  # what can be compared is
    assert "persona_roleplay is not judged yet: run persona-bench judge out/b" in done.stderr
    assert "persona_arithmetic: b - a" in done.stdout
    assert "persona_roleplay: b - a" not in done.stdout
    for sums in (tmp_path / "out").rglob("samples_persona_arithmetic_*.jsonl"):
        sums.unlink()
    done = persona_bench("compare", "out/a", "out/b", cwd=tmp_path, ok=False)
    assert "persona_roleplay is not judged yet: run persona-bench judge out/b" in done.stderr
    done = persona_bench("score", "out/b", "--no-page", cwd=tmp_path)
    assert "is not judged yet: persona-bench judge out/b" in done.stdout


def test_shards_are_judged_once_they_are_merged(tmp_path: Path) -> None:
    with JudgeServer(answer, ("a", "b", "judge")) as server:
        plan = study(server.url)
        plan["models"] = plan["models"][1:]
        plan["tasks"] = plan["tasks"][1:]
        file = written(tmp_path, plan)
        for n in (1, 2):
            done = persona_bench("run", str(file), "--shard", f"{n}/2", cwd=tmp_path)
            assert "judged once they are merged" in done.stderr
        persona_bench("merge", "out", "--out", "joined", cwd=tmp_path)
        persona_bench("judge", "joined", "--judge", "judge", "--base-url", server.url, cwd=tmp_path)
    table = read_judged(tmp_path / "joined")
    assert len(table) == 40
    assert set(table["score"]) == {5.0}
