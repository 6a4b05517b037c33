"""`persona-bench screen` and `plan`, as a person meets them, against a server of known rates."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.cli import app
from persona_bench.extras.screening.rounds import plan_rounds
from persona_bench.extras.screening.run import decoding_of, screen_model
from persona_bench.harness.knobs import knobs_of
from persona_bench.harness.run import RunError, run
from tests.support.chat_server import ChatServer
from tests.test_cli import persona_bench

N_QUESTIONS, WORST, BEST = 60, "spoils-answers", "maths-professor"
KNOBS = {"persona_set": "core", "n_questions": N_QUESTIONS}


def rates() -> dict[str, float]:
    core = load_persona_set("core")
    found = {p.id: 0.7 for p in core} | {WORST: 0.1, BEST: 1.0}
    assert set(found) == {p.id for p in core}, "the set lost the two this test is about"
    return {p.prompt: found[p.id] for p in core}


def server() -> ChatServer:
    questions = choose_questions(BENCHMARK.load(None, 0), N_QUESTIONS, 0)
    return ChatServer(rates(), {BENCHMARK.prompt(q.problem): q.answer for q in questions})


def model(chat: ChatServer) -> dict[str, Any]:
    arguments = {"model": "small", "base_url": chat.url, "num_concurrent": 16}
    return {"model": "local-chat-completions", "model_args": arguments}


def screened(chat: ChatServer, folder: Path, **settings: Any) -> Any:
    return screen_model(
        **model(chat), task="persona_arithmetic", output_path=folder, budget=0.4,
        **{"metadata": KNOBS, **settings},
    )  # fmt: skip


@pytest.mark.slow
def test_the_command_finds_the_extremes_with_its_share_of_requests(tmp_path: Path) -> None:
    core = load_persona_set("core")
    with server() as chat:
        arguments = f"model=small,base_url={chat.url},num_concurrent=16"
        command = ["screen", "--model", "local-chat-completions", "--model-args", arguments]
        command += ["--tasks", "persona_arithmetic", "--metadata", json.dumps(KNOBS)]
        command += ["--budget", "0.4", "--output-path", "out"]
        printed = persona_bench(*command, cwd=tmp_path, columns=120).stdout
        asked = len(chat.requests)
        tally = {p.id: list(chat.tally[p.prompt]) for p in core}

        # a killed run goes on: of the round that is cut off nothing is asked again
        (samples,) = (tmp_path / "out/final").glob("*/samples_*.jsonl")
        lines = samples.read_text().splitlines(keepends=True)
        samples.write_text("".join(lines[:-3]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two runs in one folder: the newest counts
            again = screened(chat, tmp_path / "out")
        assert len(chat.requests) == asked
    stored = json.loads((tmp_path / "out/screening.json").read_text())
    assert asked == stored["n_responses"] <= 0.4 * N_QUESTIONS * len(core)
    assert (stored["worst_persona"], stored["best_persona"]) == (WORST, BEST)
    # both were asked every question once: the server's own count is the answer
    assert tally[WORST][1] == tally[BEST][1] == N_QUESTIONS
    exact = tally[WORST][0] / tally[BEST][0]
    assert stored["pss_finalists"] == pytest.approx(exact)
    assert stored["pss"] == pytest.approx(exact, abs=0.02)
    assert stored["pss_interval"]["low"] <= exact <= stored["pss_interval"]["high"]
    assert again.pss == stored["pss"]
    assert f"PSS {stored['pss']:.3f}" in printed
    assert WORST in printed
    assert stored["settings"]["metadata"] == KNOBS
    table = pd.read_csv(tmp_path / "out/personas.csv")
    assert set(table["persona"]) == {p.id for p in core}
    assert table.set_index("persona")["n"].to_dict() == {k: n for k, (_, n) in tally.items()}

    # a sparse round is read whole, and lm-eval's own table compares no personas on it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *a, **k: pytest.fail(str(a)))
        first = read_outcomes(tmp_path / "out/round-1")
    plan = plan_rounds(N_QUESTIONS, len(core), 0.4, "greedy")
    assert len(first) == plan.first * len(core)
    (file,) = (tmp_path / "out/round-1").glob("*/results_*.json")
    results = json.loads(file.read_text())
    record = results["configs"]["persona_arithmetic"]["metadata"]["persona_bench"]
    assert record["design_asked"]["sparse"] is True
    assert record["design_asked"]["pairs"] == len(first)
    row = results["results"]["persona_arithmetic"]
    assert math.isnan(row["pss,none"])
    by_persona = first.groupby("persona")["correct"].mean()
    assert row["acc,none"] == pytest.approx(by_persona.mean())


def test_sampled_finalists_get_several_samples(tmp_path: Path) -> None:
    sampling = {"do_sample": True, "temperature": 0.8}
    with server() as chat:
        result = screened(chat, tmp_path, gen_kwargs=sampling)
    assert result.decoding == "sampled"
    plan = plan_rounds(N_QUESTIONS, 16, 0.4, "sampled")
    assert plan.samples > 1
    final = read_outcomes(tmp_path / "final")
    assert set(final["sample"]) == set(range(plan.samples))
    assert len(final) == 2 * plan.finalists * plan.samples * (N_QUESTIONS - plan.pool)
    assert result.worst_persona == WORST
    assert result.pss == pytest.approx(0.1, abs=0.12)


def test_impossible_settings_are_refused_before_any_request(tmp_path: Path) -> None:
    with server() as chat:
        for settings, words in (
            ({"metadata": {**KNOBS, "samples": 2}}, "samples in --metadata is set by the screen"),
            ({"metadata": {**KNOBS, "design": "x.csv"}}, "design in --metadata is set by"),
            ({"metadata": {**KNOBS, "n_personas": 3}}, "run the full grid"),
            ({"metadata": {**KNOBS, "n_question": 3}}, "did you mean 'n_questions'"),
        ):
            with pytest.raises(ValueError, match=words):
                screened(chat, tmp_path, **settings)
        with pytest.raises(RunError, match="no single task 'persona_bench'"):
            screen_model(**model(chat), task="persona_bench", output_path=tmp_path)
        (tmp_path / "settings.json").write_text('{"seed": 5}')
        with pytest.raises(RunError, match=r"holds a screening run with another .*seed"):
            screened(chat, tmp_path)
        with pytest.raises(ValueError, match="would cut a design of 96 prompts"):
            run(
                **model(chat), tasks=["persona_arithmetic"], output_path=tmp_path / "cut", limit=20,
                metadata={**KNOBS, "design": {"share": 0.1}},
            )  # fmt: skip
    assert chat.requests == []


def test_greedy_and_sampled_are_told_apart() -> None:
    assert decoding_of({"do_sample": True, "temperature": 0.7}) == "sampled"
    for greedy in ({}, {"do_sample": False, "temperature": 0.7}, {"do_sample": True}):
        assert decoding_of(greedy) == "greedy"


# ------------------------------------------------------------------ plan


def write_pilot(folder: Path, questions: int) -> float:
    """Samples as lm-eval writes them, of six personas with rates of their own; their mean."""
    rng, rows, right = np.random.default_rng(0), [], []
    rates_of = list(zip("abcdef", np.linspace(0.1, 0.9, 6), strict=True))
    for q, (persona, rate) in itertools.product(range(questions), rates_of):
        right.append(bool(rng.random() < rate))
        verdict = {"verdict": "correct" if right[-1] else "wrong", "reason": ""}
        doc = {"question": f"q{q}", "persona": persona, "kind": "x", "level": "", "sample": 0}
        rows.append(json.dumps({"doc": doc, "acc": verdict, "resps": [["?"]]}))
    folder.mkdir()
    file = folder / "samples_persona_arithmetic_2026-01-01T00-00-00.000000.jsonl"
    file.write_text("\n".join(rows) + "\n")
    return float(np.mean(right))


def plan(*arguments: str) -> str:
    """What `persona-bench plan` prints, in this process; its errors are raised."""
    done = CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_plan_from_assumptions_shows_what_samples_bring() -> None:
    design = ("--accuracy", "0.4", "--questions", "60", "--personas", "6")
    shown = plan(*design, "--detect", "0.5", "--tokens", "100")
    for words in ("on the questions asked", "on questions like these", "noise floor", "tokens"):
        assert words in shown
    assert "no design of up to 60 questions" in " ".join(plan(*design, "--detect", "0.999").split())


def test_plan_from_a_pilot(tmp_path: Path) -> None:
    mean = write_pilot(tmp_path / "pilot", 40)
    options = ("--pilot", str(tmp_path / "pilot"), "--questions", "100", "--json")
    told = json.loads(plan(*options, "--detect", "0.5"))
    assert told["assumptions"]["accuracy"] == pytest.approx(mean)
    assert told["assumptions"]["persona_sd"] > 0.5  # rates from 0.1 to 0.9
    assert told["forecasts"][0]["design"] == {"questions": 100, "personas": 6, "samples": 1}
    assert "one sample a cell" in told["notes"][0]
    costs = [design["responses"] for design in told["designs"]]
    assert costs == sorted(costs) != []
    given = json.loads(plan(*options, "--accuracy", "0.3", "--personas", "9"))
    assert given["assumptions"]["accuracy"] == 0.3
    assert given["assumptions"]["persona_sd"] == told["assumptions"]["persona_sd"]
    assert given["forecasts"][0]["design"]["personas"] == 9
    assert given["designs"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs a --pilot folder, or an assumed --accuracy"),
        (["--accuracy", "40"], r"accuracy=40\.0 must lie between 0 and 1"),
        (["--accuracy", "0.4", "--questions", "1"], "questions=1, but at least 2"),
        (["--accuracy", "0.4", "--tokens", "0"], r"tokens=0\.0 must be above 0"),
        (["--accuracy", "0.4", "--detect", "1.5"], r"detect=1\.5 must lie between"),
        (["--accuracy", "0.4", "--detect", "0.5", "--pss-within", "0.1"], "one wanted precision"),
        (["--pilot", "absent"], "no such folder or file"),
    ],
)
def test_an_impossible_plan_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan(*arguments)


def test_an_error_is_one_sentence(tmp_path: Path) -> None:
    command = ["screen", "--tasks", "persona_arithmetic", "--budget", "2"]
    done = persona_bench(*command, cwd=tmp_path, ok=False, columns=400)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: budget=2.0 must be a share of the full grid")


def test_screening_respects_the_benchmark_s_own_knobs(tmp_path: Path, data_dir: Path) -> None:
    """The rounds are planned on the questions that the run will ask, not on all there are."""
    knobs = {"release": "v1", "difficulty": "easy", "data_dir": str(data_dir)}
    with pytest.raises(RunError, match="--confirm_run_unsafe_code"):
        screen_model(
            model="hf",
            model_args={"pretrained": "none/such"},
            task="persona_livecodebench",
            output_path=tmp_path / "out",
            metadata=knobs,
            budget=0.5,
        )
    planned = json.loads((tmp_path / "out" / "settings.json").read_text())["questions"]
    counts = []
    for given in (knobs, {**knobs, "difficulty": "easy,medium,hard"}):
        chosen, benchmark = knobs_of(given, "livecodebench")
        personas = chosen.choose_personas(benchmark)
        counts.append(len(chosen.choose_questions(benchmark, personas)))
    assert planned == counts[0] < counts[1]
