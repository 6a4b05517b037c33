"""`persona-bench judge` on a graded task: right and in character, in one response."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.judge.run import find_judged
from persona_bench.results.outcomes import read_outcomes
from persona_bench.results.runs import read_folder
from persona_bench.results.samples import newest_samples
from tests.judge.test_raters import on_page, write
from tests.support.command import Command, sentence
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.judged_run import CAST, shown, stored_run, write_cast

TASK = "persona_arithmetic"
QUESTIONS = 20
ALL = ("--sample", "1000")
"""More than there are: every response is judged."""
ANSWERS = {BENCHMARK.prompt(q.problem): q.answer for q in BENCHMARK.load(None, 0)}


def chance(*of: str) -> float:
    return zlib.crc32("/".join(of).encode()) % 1000 / 1000


def answers(skill: float) -> Any:
    """A model that is in voice in 60%, and then right less often; without a persona never."""

    def answer(system: str, user: str) -> str:
        who = next((name for name in CAST if name in system), "")
        inside = bool(who) and chance("voice", who, user) < 0.6
        right = chance("right", who, user) < skill - 0.4 * inside
        said = f"Down at the {who}'s we say: " if inside else ""
        return f"{said}\\boxed{{{ANSWERS[user] if right else 7777}}}"

    return answer


def with_control(folder: Path) -> str:
    file = write_cast(folder / "cast.yaml")
    text = file.read_text(encoding="utf-8") + "  - {id: none, kind: control, prompt: ''}\n"
    file.write_text(text, encoding="utf-8")
    return str(file)


def listens(body: dict[str, Any], _: int = 0) -> Reply:
    """A judge that hears the voice."""
    return Reply(verdict(5 if "we say" in shown(body).response else 2))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models on sums: nothing is judged."""
    made = {}
    for name, skill in (("base", 0.7), ("tuned", 0.95)):
        folder = tmp_path_factory.mktemp(name)
        knobs = {"persona_set": with_control(folder), "n_questions": QUESTIONS}
        made[name] = stored_run(folder, answers(skill), task=TASK, model=name, **knobs)
    return made


@pytest.fixture
def both(runs: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    return {name: Path(shutil.copytree(out, tmp_path / name)) for name, out in runs.items()}


def truth(out: Path) -> pd.DataFrame:
    """The graded responses under personas, and whether they are in voice."""
    rows = read_outcomes(out)
    rows = rows[rows["kind"] != "control"]
    return rows.assign(inside=rows["response"].str.contains("we say"))


def test_each_response_has_a_verdict_and_a_voice(
    both: dict[str, Path], persona_bench: Command
) -> None:
    out = both["base"]
    with JudgeServer(listens) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url, *ALL)
        ran = persona_bench(*call)
        assert ran.code == 0, ran.err
        assert len(server.requests) <= QUESTIONS * len(CAST)  # the control is not judged
        before = len(server.requests)
        persona_bench(*call)
        assert len(server.requests) == before
        for body in server.requests:
            assert shown(body).eval_task == "Voice"
            assert any(name in shown(body).persona for name in CAST)
    (run,) = read_folder(out)
    assert len(run.voices[TASK]) == QUESTIONS * len(CAST)
    rows = truth(out)
    found = json.loads((out / "scores" / f"{TASK}_voice.json").read_text())
    right = rows["correct"] == 1
    assert found["in_character"]["value"] == pytest.approx((right & rows["inside"]).mean())
    assert found["right_out"]["value"] == pytest.approx((right & ~rows["inside"]).mean())
    assert found["cost"]["difference"]["high"] < 0
    assert "In-character accuracy 0." in ran.out
    ran = persona_bench("score", out, "--full", "--no-page")
    assert "accuracy in voice is lower" in ran.out
    assert "Right and in character: in-character accuracy" in ran.out
    stability = json.loads((out / "scores" / f"{TASK}_stability.json").read_text())
    assert stability["voice"]["in_character"] == found["in_character"]
    for suffix in ("png", "pdf", "svg", "csv"):
        assert (out / "scores" / f"{TASK}_voice.{suffix}").is_file()
    table = pd.read_csv(out / "scores" / f"{TASK}_voice_personas.csv")
    assert set(table["persona"]) == set(CAST)
    # accuracy is what it was: verdicts are the grader's
    assert (read_outcomes(out)["verdict"] != "unscored").all()


def test_a_sample_bounds_the_calls_and_gives_the_same_numbers(
    both: dict[str, Path], persona_bench: Command
) -> None:
    out = both["base"]
    call: tuple[Any, ...] = ("judge", out, "--judge", "judge")
    assert "--sample must be at least 24" in sentence(
        persona_bench(*call, "--sample", "10", "--base-url", "http://127.0.0.1:9/v1")
    )
    with JudgeServer(listens) as server:
        call += ("--base-url", server.url)
        dry = persona_bench(*call, "--sample", "48", "--dry-run")
        (calls,) = re.findall(r"(\d+) calls", dry.out)
        ran = persona_bench(*call, "--sample", "48")
        assert len(server.requests) == int(calls) <= 48
        some = json.loads((out / "scores" / f"{TASK}_voice.json").read_text())
        assert some["n"] == 120
        assert some["judged"] <= 48
        assert f"{some['judged']} of 120 responses judged" in ran.out
        ran = persona_bench("score", out, "--full", "--no-page")
        assert "each group of persona and verdict counts as often as it occurs" in ran.out
        before = len(server.requests)
        persona_bench(*call, "--sample", "80")
        assert len(server.requests) <= 80
        first = [body["messages"] for body in server.requests[:before]]
        assert all(body["messages"] not in first for body in server.requests[before:])
        persona_bench(*call, *ALL)
    whole = json.loads((out / "scores" / f"{TASK}_voice.json").read_text())
    assert some["accuracy"]["value"] == pytest.approx(whole["accuracy"]["value"])
    row = some["in_character"]
    assert row["low"] <= whole["in_character"]["value"] <= row["high"]
    width = row["high"] - row["low"]
    assert width > whole["in_character"]["high"] - whole["in_character"]["low"]


def test_a_larger_sample_has_the_smaller_one(runs: dict[str, Path]) -> None:
    some, more = (
        {
            (each.persona, each.question)
            for task in find_judged(runs["base"], n)
            for each in task.with_text
        }
        for n in (40, 80)
    )
    assert len(some) <= 40 < len(more) <= 80
    assert some <= more


def test_compare_and_gate_take_it(both: dict[str, Path], persona_bench: Command) -> None:
    base, tuned = both["base"], both["tuned"]
    assert "in-character" not in persona_bench("gate", base, tuned).out
    with JudgeServer(listens) as server:
        for out in (base, tuned):
            persona_bench("judge", out, "--judge", "judge", "--base-url", server.url, *ALL)
    ran = persona_bench("compare", base, tuned, "--json")
    (record,) = json.loads(ran.out)
    rates = {row["rate"]: row for row in record["voice"]["rates"]}
    tables = [truth(out) for out in (base, tuned)]
    expected = [(rows["correct"].eq(1) & rows["inside"]).mean() for rows in tables]
    assert [rates["in_character"][side] for side in "ab"] == pytest.approx(expected)
    assert rates["in_character"]["low"] > 0
    assert "in-character accuracy: base" in persona_bench("compare", base, tuned).out
    ran = persona_bench("gate", base, tuned)
    assert re.search(r"pass +in-character accuracy: \+0\.\d+", ran.out)
    assert "Note: voice judged by judge (no entry test)." in ran.out
    ran = persona_bench("gate", tuned, base)
    assert re.search(r"can't tell +in-character accuracy: -0\.\d+", ran.out)  # of 20 questions
    assert ran.code == 1


def test_without_a_judge_the_trace_stands_for_the_voice(
    both: dict[str, Path], persona_bench: Command
) -> None:
    out = both["base"]
    ran = persona_bench("trace", out)
    assert ran.code == 0, ran.err
    told = json.loads((out / "scores" / f"{TASK}_trace.json").read_text())
    found = told["right_and_traced"]["identifiability"]
    rows = truth(out)
    # only what is said in voice names its persona, and then the answer is less often right
    assert found["n"] == found["judged"] == len(rows)
    assert found["accuracy"]["value"] == pytest.approx(rows["correct"].mean())
    assert 0.4 < found["in_voice"]["value"] < 0.9
    assert found["cost"]["difference"]["value"] < 0
    assert "By identifiability, of 120 graded responses: right and with a trace" in ran.out


def test_ratings_correct_the_share_in_voice(both: dict[str, Path], persona_bench: Command) -> None:
    """Raters hear the voice; the judge calls every second response in voice that is out of it."""
    out = both["base"]

    def mishears(body: dict[str, Any], _: int = 0) -> Reply:
        inside = "we say" in (heard := shown(body).response)
        return Reply(verdict(5 if inside or zlib.crc32(heard.encode()) % 2 else 2))

    assert "nothing to rate" in sentence(persona_bench("ratings", "export", out))
    with JudgeServer(mishears) as server:
        judged = ("--judge", "judge", "--base-url", server.url)
        persona_bench("judge", out, *judged, "--sample", "60")
    exported = persona_bench("ratings", "export", out, "--n", "50")
    (told,) = re.findall(r"50 of (\d+) responses \(1 model, 6 personas\)", exported.out)
    assert int(told) <= 60 < QUESTIONS * len(CAST)  # what the judge was asked about
    items = on_page(out)
    assert {each["rubric"].rpartition("/")[2] for each in items} == {"Voice"}
    scores: dict[str, int | str] = {
        each["id"]: 5 if "we say" in each["response"] else 1 for each in items
    }
    ran = persona_bench("ratings", "import", out, write(out / "ann.csv", "ann", scores))
    assert ran.code == 0, ran.err
    assert "50 responses rated by 1 rater" in ran.out
    found = json.loads((out / "scores" / f"{TASK}_voice.json").read_text())
    rows = truth(out)
    right = rows["correct"] == 1
    expected = {
        "in_voice": rows["inside"].mean(),
        "in_character": (right & rows["inside"]).mean(),
    }
    for row in found["corrected"]["rates"]:
        value = expected[row["rate"]]
        assert row["low"] < value < row["high"]
        assert row["judged_low"] > value  # the judge alone is sure, and wrong
        assert abs(row["value"] - value) < abs(row["judged"] - value)
        name = {"in_voice": "In voice", "in_character": "In-character accuracy"}[row["rate"]]
        line = f"{name} corrected for the judges' error: {row['value']:.3f} ["
        assert line in ran.out
        assert line in unescape((out / "scores" / "index.html").read_text())
    assert found["raters"]["judges"][0]["bias"] > 0.5
    (samples,) = newest_samples(out)  # one task alone: its page and ratings are the run's
    again = persona_bench("ratings", "export", samples.file, "--n", "55")
    assert f"55 of {told} responses" in again.out
    assert len(on_page(out)) == 55


def test_a_role_task_takes_no_sample(out: Path, persona_bench: Command) -> None:
    judged = ("--judge", "j", "--base-url", "http://127.0.0.1:9/v1", "--sample", "30")
    (samples,) = newest_samples(out)
    assert "--sample is for the voice of graded tasks; persona_roleplay" in sentence(
        persona_bench("judge", samples.file, *judged)
    )
    assert "no responses of a graded task, and --sample is for their voice" in sentence(
        persona_bench("judge", out, *judged)
    )


def test_a_folder_alone_has_only_its_role_tasks_judged(
    both: dict[str, Path], persona_bench: Command
) -> None:
    call = ("judge", both["base"], "--judge", "j", "--base-url", "http://127.0.0.1:9/v1")
    assert "the voice of a graded task is judged with --sample N" in sentence(persona_bench(*call))


def test_a_samples_file_of_a_graded_task_is_judged_for_its_voice(
    both: dict[str, Path], persona_bench: Command
) -> None:
    (samples,) = newest_samples(both["base"])
    with JudgeServer(listens) as server:
        call = ("judge", samples.file, "--judge", "judge", "--base-url", server.url)
        assert persona_bench(*call).code == 0
        assert {shown(body).eval_task for body in server.requests} == {"Voice"}
    (run,) = read_folder(both["base"])
    assert len(run.voices[TASK]) == QUESTIONS * len(CAST)
