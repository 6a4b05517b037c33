"""Results are pushed by lm-eval's own hub options, and a push that fails is told, not lost."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from lm_eval.loggers import EvaluationTracker

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.harness.hub import HubError, check_hub
from persona_bench.harness.run import run
from tests.support.chat_server import ChatServer

PUSH = {"hub_results_org": "org", "push_results_to_hub": True, "push_samples_to_hub": True}


class Hub:
    """Stands where the hub's API would, and takes down what it is asked."""

    calls: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012
    refuses = ""

    def __init__(self, token: str) -> None:
        self.calls.clear()
        self.token = token

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> list[str]:
            self.calls.append((name, given))
            if name == self.refuses:
                raise OSError("403 Forbidden: you may not write to org")
            return []

        return call


def ask(tmp_path: Path, **settings: Any) -> None:
    personas = load_persona_set("demo")
    questions = choose_questions(BENCHMARK.load(None, 0), 2, 0)
    answers = {BENCHMARK.prompt(q.problem): q.answer for q in questions}
    with ChatServer(dict.fromkeys((p.prompt for p in personas), 1.0), answers) as chat:
        run(
            model="local-chat-completions",
            model_args={"model": "small", "base_url": chat.url, "num_concurrent": 4},
            tasks=["persona_arithmetic"],
            output_path=tmp_path,
            metadata={"persona_set": "demo", "n_questions": 2},
            **settings,
        )


def test_results_and_samples_are_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    renewed: list[object] = []
    monkeypatch.setattr(
        EvaluationTracker, "recreate_metadata_card", lambda tracker: renewed.append(tracker)
    )
    monkeypatch.setattr(Hub, "refuses", "")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="not all was pushed")
        ask(tmp_path, hub={**PUSH, "details_repo_name": "details"})
    assert len(renewed) == 1
    pushed = dict(Hub.calls)
    assert pushed["upload_file"]["repo_id"] == "org/details-private"
    (results,) = tmp_path.glob("small/results_*.json")
    assert pushed["upload_file"]["path_or_fileobj"] == str(results)
    assert pushed["upload_folder"]["folder_path"] == str(results.parent)
    assert "hf_secret" not in results.read_text()


def test_a_push_that_fails_is_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "refuses", "create_repo")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask(tmp_path, hub=PUSH)
    told = [str(each.message) for each in caught if "pushed" in str(each.message)]
    (line,) = told
    assert "403 Forbidden" in line
    assert str(tmp_path) in line
    assert (read_outcomes(tmp_path)["verdict"] == "correct").all()


@pytest.mark.parametrize(
    ("hub", "words"),
    [
        ({"hub_results_orgs": "org"}, "'hub_results_orgs' is unknown: use hub_results_org"),
        (PUSH, "set HF_TOKEN"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: dict[str, Any], words: str
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(HubError, match=words):
        check_hub(json.loads(json.dumps(hub)))
    with pytest.raises(HubError, match=words):
        ask(tmp_path, hub=hub)
