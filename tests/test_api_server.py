"""lm_eval against a server that knows how often it answered right: the scores are its count."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_bench import load_persona_set, read_outcomes, stability
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.harness.run import run
from tests.support.chat_server import ChatServer

LmEval = Callable[..., subprocess.CompletedProcess[str]]

N_QUESTIONS = 40
RATES = {
    "none": 0.8,
    "assistant": 0.85,
    "mathematician": 0.95,
    "pirate": 0.6,
    "favourite-colour-teal": 0.75,
    "hates-numbers": 0.35,
}


def server() -> ChatServer:
    rates = {p.prompt: RATES[p.id] for p in load_persona_set("demo")}
    questions = choose_questions(BENCHMARK.load(None, 0), N_QUESTIONS, 0)
    return ChatServer(rates, {BENCHMARK.prompt(q.problem): q.answer for q in questions})


def ask(chat: ChatServer, tmp_path: Path, knobs: dict[str, object], **settings: Any) -> None:
    """As `persona-bench run`, in this process, without reading lm_eval's own tasks."""
    run(
        model="local-chat-completions",
        model_args={"model": "small", "base_url": chat.url, "num_concurrent": 16},
        tasks=["persona_arithmetic"],
        output_path=tmp_path / "out",
        metadata={"persona_set": "demo", "n_questions": N_QUESTIONS, **knobs},
        **settings,
    )


def results_of(tmp_path: Path) -> dict[str, float]:
    (file,) = tmp_path.glob("out/*/results_*.json")
    results: dict[str, float] = json.loads(file.read_text())["results"]["persona_arithmetic"]
    return results


def test_the_table_equals_the_server_s_own_count(lm_eval: LmEval, tmp_path: Path) -> None:
    with server() as chat:
        metadata = {"persona_set": "demo", "n_questions": N_QUESTIONS}
        arguments = ["--model", "local-chat-completions", "--tasks", "persona_arithmetic"]
        arguments += ["--model_args", f"model=small,base_url={chat.url},num_concurrent=16"]
        arguments += ["--apply_chat_template", "--metadata", json.dumps(metadata)]
        arguments += ["--log_samples", "--output_path", "out"]
        table = lm_eval(*arguments, cwd=tmp_path).stdout
        accuracy = {system: right / asked for system, (right, asked) in chat.tally.items()}
    assert all(asked == N_QUESTIONS for _, asked in chat.tally.values())
    assert len(accuracy) == len(RATES)
    worst, best = min(accuracy.values()), max(accuracy.values())
    assert worst < best
    results = results_of(tmp_path)
    assert results["acc,none"] == pytest.approx(sum(accuracy.values()) / len(accuracy), abs=1e-12)
    assert results["worst,none"] == pytest.approx(worst, abs=1e-12)
    assert results["best,none"] == pytest.approx(best, abs=1e-12)
    assert results["pss,none"] == pytest.approx(worst / best, abs=1e-12)
    assert results["unscored,none"] == 0
    for metric in (
        "acc",
        "acc_se",
        "worst",
        "best",
        "pss",
        "pss_corrected",
        "noise_floor",
        "unscored",
    ):
        assert f"|{metric:13s}|" in table
    assert f"{worst / best:.4f}" in table

    outcomes = read_outcomes(tmp_path / "out")
    assert len(outcomes) == len(RATES) * N_QUESTIONS
    assert set(outcomes["model"]) == {"small"}
    scored = stability(outcomes, resamples=200)
    assert scored.pss == pytest.approx(worst / best, abs=1e-12)
    assert scored.worst_persona == "hates-numbers"
    assert scored.noise_floor == pytest.approx(results["noise_floor,none"], abs=0.03)
    assert scored.p_value < 0.05


@pytest.mark.parametrize("keep", [True, False], ids=["with the store", "as plain lm_eval"])
def test_several_samples_get_seeds_of_their_own(tmp_path: Path, keep: bool) -> None:
    sampling = {"do_sample": True, "temperature": 0.8, "max_gen_toks": 99}
    with server() as chat:
        ask(chat, tmp_path, {"n_questions": 5, "samples": 3}, gen_kwargs=sampling, keep=keep)
    assert len(chat.requests) == 5 * 6 * 3
    seeds = {r["seed"] for r in chat.requests}
    # lm-eval sends requests of different arguments one after another: there, a seed a sample
    assert len(seeds) == 5 * 6 * 3 if keep else seeds == {1234, 1235, 1236}
    assert {r["temperature"] for r in chat.requests} == {0.8}
    assert {r["max_tokens"] for r in chat.requests} == {99}
    outcomes = read_outcomes(tmp_path / "out")
    assert set(outcomes["sample"]) == {0, 1, 2}
    assert len(outcomes) == 5 * 6 * 3


def test_of_two_runs_the_newest_counts_and_the_other_is_named(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path, {"n_questions": 4})
        ask(chat, tmp_path, {"n_questions": 5})
    with pytest.warns(UserWarning, match=r"2 runs of persona_arithmetic on small: the newest"):
        outcomes = read_outcomes(tmp_path / "out")
    assert outcomes["question"].nunique() == 5
    (tmp_path / "one").mkdir()
    (tmp_path / "out" / "small").rename(tmp_path / "one" / "small")
    with server() as chat:
        ask(chat, tmp_path, {"n_questions": 6})
    with pytest.warns(UserWarning, match="3 runs"):  # below different folders too
        assert read_outcomes(tmp_path)["question"].nunique() == 6


def test_a_limit_that_cuts_a_question_leaves_it_out(tmp_path: Path) -> None:
    with server() as chat, pytest.warns(UserWarning, match="lack some of their personas"):
        ask(chat, tmp_path, {}, limit=20)
    assert len(chat.requests) == 20
    with pytest.warns(UserWarning, match="1 of 4 questions lack some of their personas"):
        outcomes = read_outcomes(tmp_path / "out")
    assert len(outcomes) == 18
    right = outcomes.groupby("persona")["correct"].mean()
    assert results_of(tmp_path)["acc,none"] == pytest.approx(right.mean(), abs=1e-12)


def test_merge_sends_no_system_message(tmp_path: Path) -> None:
    demo = load_persona_set("demo")
    questions = choose_questions(BENCHMARK.load(None, 0), N_QUESTIONS, 0)
    answers = {
        (f"{p.prompt}\n\n" if p.prompt else "") + BENCHMARK.prompt(q.problem): q.answer
        for p in demo
        for q in questions
    }
    with ChatServer({"": 0.5}, answers) as chat:
        ask(chat, tmp_path, {"system_role": "merge"})
    assert {len(r["messages"]) for r in chat.requests} == {1}
    assert len({r["messages"][0]["content"] for r in chat.requests}) == 6 * N_QUESTIONS


@pytest.mark.parametrize(
    ("knobs", "settings", "words"),
    [
        ({}, {"limit": 5}, "--limit 5 is fewer than the 6 prompts of one question"),
        ({"samples": 2}, {}, "decoding is greedy"),
        ({"samples": 2}, {"gen_kwargs": {"do_sample": True, "temperature": 0.0}}, "is greedy"),
        ({"persona_sets": "core"}, {}, "did you mean 'persona_set'"),
        ({"persona_set": "cora"}, {}, "did you mean 'core'"),
        ({}, {"output_path": "/proc/nowhere"}, "can't be written"),
    ],
)
def test_impossible_settings_are_refused_before_any_request(
    tmp_path: Path, knobs: dict[str, object], settings: dict[str, Any], words: str
) -> None:
    output_path = Path(settings.pop("output_path", tmp_path))
    with server() as chat, pytest.raises(ValueError, match=words):
        run(
            model="local-chat-completions",
            model_args={"model": "small", "base_url": chat.url},
            tasks=["persona_arithmetic"],
            output_path=output_path,
            metadata={"persona_set": "demo", "n_questions": 5, **knobs},
            **settings,
        )
    assert chat.requests == []
