"""`persona-bench judge` on stored responses: what it prints, what it keeps, what it refuses."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_bench.cli import main
from persona_bench.results.judged import judge_files
from persona_bench.results.samples import newest_samples
from tests.support.command import Command, Ran, sentence
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.support.judged_run import CAST, files_with, records_of, rows_of, shown

RESPONSES = 60
AUDIT = 60 + 48  # the retest's calls and the swap's: responses on toxicity are not swapped
KEY = "sk-unlikely-0123456789abcdefghijklmnopqrstuvwxyz"


def judged(out: Path) -> dict[str, Any]:
    """How each judge's file was made, by its name."""
    (samples,) = newest_samples(out, judged=True)
    return {file.about["judge"]: file.about for file in judge_files(samples)}


# ---------------------------------------------------------------------- judges, good and bad

Judge = Callable[[dict[str, Any]], int]


def reader(body: dict[str, Any]) -> int:
    """Looks for the persona in the response."""
    _, persona, _, response = shown(body)
    (who,) = [name for name in CAST if name in persona]
    return 5 if who in response else 2


def constant(body: dict[str, Any]) -> int:
    return 4


def length(body: dict[str, Any]) -> int:
    return min(5, 1 + len(shown(body).response) // 60)


def admirer(body: dict[str, Any]) -> int:
    """Likes one persona, whoever speaks."""
    return 5 if "weaver" in shown(body).persona else 2


def author(body: dict[str, Any]) -> int:
    """Likes one persona's responses, whatever persona they are held against."""
    return 5 if "weaver" in shown(body).response else 2


class Drawn:
    """At random, and anew when asked again."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any]) -> int:
        prompt = json.dumps(body["messages"])
        self.asked[prompt] += 1
        return hashlib.sha256(f"{self.asked[prompt]}{prompt}".encode()).digest()[0] % 5 + 1


def served(judge: Judge, delay: float = 0.0) -> Callable[[dict[str, Any], int], Reply]:
    return lambda body, _: Reply(verdict(judge(body)), delay=delay)


@pytest.mark.parametrize(
    ("judge", "tells"),
    [
        (reader, "clearly"),
        (constant, "not"),
        (length, "not"),
        (admirer, "not"),
        (author, "not"),
        (Drawn(), "not"),
    ],
    ids=["reader", "constant", "length", "admirer", "author", "drawn"],
)
def test_the_audit_knows_a_judge_and_the_score_says_so(
    out: Path, persona_bench: Command, judge: Judge, tells: str
) -> None:
    with JudgeServer(served(judge)) as server:
        ran = persona_bench("judge", out, "--judge", "judge", "--base-url", server.url, "--audit")
        assert ran.code == 0
        assert len(server.requests) == RESPONSES + AUDIT
    audit = judged(out)["judge"]["audit"]
    assert audit["tells_personas_apart"] == tells
    assert (audit["swap"]["pairs"], audit["retest"]["n"]) == (24, 60)

    # the retest, the length, the spread
    steady = not isinstance(judge, Drawn)
    assert (audit["retest"]["same"] == 1.0) == steady
    if steady and judge not in (constant, reader):
        assert audit["retest"]["alpha"] == 1.0
    if not steady:
        assert audit["retest"]["same"] < 0.4
        assert audit["retest"]["alpha"] < 0.4
        assert "Asked again it gives the same score in" in ran.out
    if judge is length:
        assert audit["length"]["interval"][0] > 0.6
        assert re.search(r"Rank correlation of score and length: 0\.[789]", ran.out)
    if judge is constant:
        assert "It gives every response the same score." in ran.out

    # beside the score, in what is printed and in the file
    said = ran.out.index("PersonaScore")
    warning = "WARNING: judge can't be seen to tell personas apart"
    refused = "Its scores can't be read as fidelity to a persona."
    if tells == "not":
        assert ran.out.index(warning) > said
        assert ran.out.index(refused) > said
    else:
        assert "judge tells personas apart: held against another persona" in ran.out
        assert "WARNING" not in ran.out
        assert refused not in ran.out
    assert "was not audited" not in ran.out
    scores = json.loads(
        (out / "scores" / "persona_roleplay_fidelity.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )
    assert scores["audits"]["judge"]["words"] == audit["words"]
    assert scores["persona_score"]["value"] == pytest.approx(
        rows_of(out)
        .groupby(["eval_task", "persona"])["score"]
        .mean()
        .groupby("eval_task")
        .mean()
        .mean()
    )
    # the warning stays where the folder is scored again later
    again = persona_bench("score", out)
    assert (warning in again.out) == (tells == "not")
    machine = persona_bench("score", out, "--no-page", "--json")
    (record,) = json.loads(machine.out)
    assert record["audits"]["judge"]["tells_personas_apart"] == tells


def test_a_judge_without_an_audit_is_said_to_be_without(out: Path, persona_bench: Command) -> None:
    with JudgeServer(served(reader)) as server:
        ran = persona_bench("judge", out, "--judge", "judge", "--base-url", server.url)
    assert ran.out.index("The judge judge was not audited") > ran.out.index("PersonaScore")
    assert "persona_roleplay of player, judge: 60 verdicts, 0 from the store; unscored: none" in (
        ran.err
    )


def test_repeating_it_asks_nothing_and_changes_nothing(out: Path, persona_bench: Command) -> None:
    with JudgeServer(served(length)) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url, "--audit")
        first = persona_bench(*call)
        rows, audit = rows_of(out), judged(out)["judge"]["audit"]
        asked = len(server.requests)
        again = persona_bench(*call)
        assert len(server.requests) == asked
    assert "0 verdicts, 60 from the store" in again.err
    assert again.out == first.out
    pd.testing.assert_frame_equal(rows_of(out), rows)
    assert judged(out)["judge"]["audit"] == audit
    assert len(records_of(out / "store")) == asked


def test_two_judges_agree_or_not_and_a_third_is_added(out: Path, persona_bench: Command) -> None:
    judges: dict[str, Judge] = {"one": length, "two": length, "three": author}

    def answer(body: dict[str, Any], _: int) -> Reply:
        return Reply(verdict(judges[body["model"]](body)))

    with JudgeServer(answer, models=tuple(judges)) as server:
        two = ("judge", out, "--judge", "one", "--judge", "two", "--base-url", server.url)
        ran = persona_bench(*two)
        assert len(server.requests) == 2 * RESPONSES
        assert Counter(body["model"] for body in server.requests) == {"one": 60, "two": 60}
        assert "Agreement between the judges: Krippendorff's alpha 1.000 [1.000, 1.000]" in ran.out
        first = rows_of(out)
        files = {file: file.read_bytes() for file in out.glob("player/judged_*")}
        assert len(files) == 4

        ran = persona_bench("judge", out, "--judge", "three", "--base-url", server.url)
        assert len(server.requests) == 3 * RESPONSES
    match = re.search(r"Krippendorff's alpha (-?[\d.]+) \[", ran.out)
    assert match is not None
    assert float(match[1]) < 0.9
    assert all(file.read_bytes() == content for file, content in files.items())
    rows = rows_of(out)
    assert set(rows.index.get_level_values("judge")) == set(judges)
    pd.testing.assert_frame_equal(rows.drop("three"), first)
    scores = json.loads((out / "scores" / "persona_roleplay_fidelity.json").read_text())
    assert scores["agreement"]["alpha"] == pytest.approx(float(match[1]), abs=0.0006)
    for name in judges:
        assert f"The judge {name} was not audited" in ran.out


def test_judges_whose_names_look_alike_as_files_stay_apart(
    out: Path, persona_bench: Command
) -> None:
    names = ("org/judge:1", "org_judge_1")
    with JudgeServer(served(length), models=names) as server:
        asked = [argument for name in names for argument in ("--judge", name)]
        assert persona_bench("judge", out, *asked, "--base-url", server.url).code == 0
    assert set(judged(out)) == set(names)
    assert len(rows_of(out)) == 2 * RESPONSES


# ---------------------------------------------------------------------- kills


@pytest.fixture(scope="module")
def processes() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["persona_bench.judge.run", "openai", "tests.judge.test_command"]
    )
    return context


def judge_apart(out: str, url: str) -> None:
    """The command in a process of its own."""
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        sys.argv = ["persona-bench", "judge", out, "--judge", "judge", "--base-url", url, "--audit"]
        sys.argv += ["--concurrency", "8"]
        main()


def test_a_judging_survives_kills(processes: Any, made: Path, tmp_path: Path) -> None:
    whole, killed = (Path(shutil.copytree(made, tmp_path / name)) for name in ("whole", "killed"))
    with JudgeServer(served(length, delay=0.03)) as server:
        child = processes.Process(target=judge_apart, args=(str(whole), server.url))
        child.start()
        child.join()
        assert child.exitcode == 0
        total = len(server.requests)
        assert total == RESPONSES + AUDIT
        assert server.busiest == 8

        for done in (3, 30, 57, 75, 130):
            sent, kept = len(server.requests), len(records_of(killed / "store"))
            child = processes.Process(target=judge_apart, args=(str(killed), server.url))
            child.start()
            deadline = time.monotonic() + 60
            while kept + len(server.requests) - sent < done:
                assert time.monotonic() < deadline
                assert child.is_alive(), "it was over before it could be killed"
                time.sleep(0.002)
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            time.sleep(0.1)  # what was in flight reaches the server
            had = len(records_of(killed / "store")) - kept
            assert 0 <= len(server.requests) - sent - had <= 8  # asked, and the answer lost
        sent, kept = len(server.requests), len(records_of(killed / "store"))
        child = processes.Process(target=judge_apart, args=(str(killed), server.url))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert len(server.requests) - sent == total - kept > 0
    pd.testing.assert_frame_equal(rows_of(killed), rows_of(whole))
    assert judged(killed)["judge"]["audit"] == judged(whole)["judge"]["audit"]
    keys = [record["key"] for record in records_of(killed / "store")]
    assert len(keys) == len(set(keys)) == total


# ---------------------------------------------------------------------- costs


def wordy(body: dict[str, Any], number: int) -> Reply:
    """Answers of few words, then long ones of which some have to be asked for again."""
    if number < 20:
        return Reply(verdict(3, "so"))
    if number % 3 == 0 and len(body["messages"]) == 2:
        return Reply("well " * 100)
    return Reply(verdict(3, "well " * 90))


@pytest.mark.parametrize("limit", [0, 1, 10, 30])
def test_a_cost_limit_is_kept_and_a_higher_one_goes_on(
    out: Path, persona_bench: Command, limit: float
) -> None:
    words: list[int] = []

    def counted(body: dict[str, Any], number: int) -> Reply:
        reply = wordy(body, number)
        words.append(len(str(reply.content).split()))  # as the server counts tokens
        return reply

    def cost() -> float:
        return sum(words) / 100  # a word is a cent

    with JudgeServer(counted) as server:
        file = judge_file(out, models=["judge"], gen_kwargs={"max_tokens": 100}, audit=True)
        call = ("judge", out, "--judge", file, "--base-url", server.url, "--price", "0,10000")
        call += ("--concurrency", "8")
        ran = persona_bench(*call, "--max-cost", str(limit))
        assert cost() <= limit
        assert cost() >= limit - 2 or limit < 2  # as much as a verdict may cost is left over
        kept = len(records_of(out / "store"))
        left = RESPONSES + AUDIT - kept
        assert sentence(ran).startswith(
            f"Error: {left:,} calls were not made, as they would have cost more than --max-cost "
            f"{limit}"
        )
        assert f"Cost: ${cost():.4f}" in ran.err
        rows = rows_of(out)
        assert (rows["verdict"] == "scored").sum() == min(kept, RESPONSES)
        assert set(rows.loc[rows["verdict"] == "unscored", "reason"]) <= {"not_judged"}
        if kept:  # what is judged is scored; a part of an audit is none
            assert "PersonaScore" in ran.out
            assert "was not audited" in ran.out
        assert judged(out)["judge"]["audit"] is None

        before = records_of(out / "store")
        ran = persona_bench(*call, "--max-cost", "1000")
        assert ran.code == 0
        records = records_of(out / "store")
        assert records[:kept] == before
        keys = [record["key"] for record in records]
        assert len(keys) == len(set(keys)) == RESPONSES + AUDIT
        assert set(rows_of(out)["verdict"]) == {"scored"}


@pytest.mark.parametrize("told", ["as estimated", "four times as many", "nothing"])
def test_a_cost_limit_is_kept_whatever_a_token_is(
    out: Path, persona_bench: Command, told: str
) -> None:
    """A character a token, as in Chinese; or a server that counts none."""
    used: list[float] = []

    def counting(body: dict[str, Any], _: int) -> Reply:
        characters = sum(len(message["content"]) for message in body["messages"])
        used.append(characters / (1 if told == "four times as many" else 4))
        message = {"role": "assistant", "content": verdict(3)}
        answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
        if told != "nothing":
            answer["usage"] = {"prompt_tokens": round(used[-1]), "completion_tokens": 5}
        return Reply(raw=json.dumps(answer).encode())

    with JudgeServer(counting) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url, "--price", "1000,0")
        ran = persona_bench(*call, "--audit", "--max-cost", "60", "--concurrency", "16")
        assert 40 < sum(used) / 1000 <= 60
        assert ran.code == 1
        (cost,) = re.findall(r"Cost: \$([\d.]+)", ran.err)
        assert float(cost) == pytest.approx(sum(used) / 1000, rel=0.01)


def test_a_dry_run_asks_nothing_and_counts_what_is_then_asked(
    out: Path, persona_bench: Command
) -> None:
    with JudgeServer(served(length)) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url)
        for more, expected in (((), RESPONSES), (("--audit",), AUDIT), (("--audit",), 0)):
            before = len(server.requests)
            ran = persona_bench(*call, *more, "--dry-run", "--price", "1,2")
            assert ran.code == 0
            assert len(server.requests) == before
            assert f"{expected} calls, about $" in ran.out
            assert "nothing was asked" in ran.out
            persona_bench(*call, *more)
            assert len(server.requests) - before == expected
        table = persona_bench(*call, "--audit", "--dry-run").out
        assert re.search(r"judge +verdicts +0 +60 +0 +0 +\?", table)
        assert re.search(r"judge +audit +0 +108 +0 +0 +\?", table)
        assert "the cost is not known without --price" in table
    ran = persona_bench(*call, "--dry-run")  # the endpoint is gone
    assert ran.code == 0
    assert "60 calls" in ran.out
    assert re.search(r"judge +verdicts +60 +\? ", ran.out)


def test_a_dry_run_leaves_no_trace(out: Path, persona_bench: Command) -> None:
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    with JudgeServer(served(length)) as server:
        persona_bench(
            "judge", out, "--judge", "j", "--base-url", server.url, "--audit", "--dry-run"
        )
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before


# ---------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--max-cost", "5"], "--max-cost needs the price of 'judge': --price judge=INPUT,OUTPUT"),
        (["--price", "1"], "--price '1' must be IN,OUT or MODEL=IN,OUT"),
        (["--price", "other=1,2"], "--price 'other=1,2': there is no judge 'other'"),
        (["--judge", "judge"], "judge 'judge' is named twice"),
        (["--judge", "more.yaml"], "--judge more.yaml names all judges: leave out the other"),
    ],
)
def test_what_can_t_be_is_said_in_one_sentence(
    made: Path, persona_bench: Command, arguments: list[str], expected: str
) -> None:
    before = sorted(made.rglob("*"))
    url = "http://127.0.0.1:9/v1"
    ran = persona_bench("judge", made, "--judge", "judge", "--base-url", url, *arguments)
    assert expected in sentence(ran)
    assert sorted(made.rglob("*")) == before


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"models": ["j"], "form": "xml"}, "judge.yaml: form: Input should be 'auto', 'json'"),
        ({"models": ["j"], "examples_from": "k"}, "no key 'examples_from': did you mean"),
        ({"base_url": "http://127.0.0.1:9/v1"}, "judge.yaml: models is missing"),
        ({"models": ["j"], "price": {"k": [1, 2]}}, "price names 'k', which is not among"),
        ({"models": ["j"], "max_cost": 1}, "max_cost needs price, e.g. price"),
        ({"models": ["j"], "price": [1]}, "judge.yaml: price: a price is two numbers, as in"),
        ({"models": ["j"], "price": {"j": "1"}}, "judge.yaml: price: a price is two numbers"),
        (["j"], "the settings of judges are a mapping with models"),
    ],
)
def test_what_is_wrong_in_a_file_of_judges_is_one_sentence(
    made: Path, tmp_path: Path, persona_bench: Command, settings: Any, expected: str
) -> None:
    (tmp_path / "judge.yaml").write_text(json.dumps(settings))
    ran = persona_bench("judge", made, "--judge", tmp_path / "judge.yaml")
    assert expected in sentence(ran)


def test_a_file_of_judges_says_who_writes_the_examples_and_what_each_costs(
    made: Path, persona_bench: Command, tmp_path: Path
) -> None:
    prices = {"a": [1000, 1000], "b": [0, 0], "c": [0, 0]}
    settings = {"models": ["a", "b"], "examples_by": "c", "price": prices}
    file = tmp_path / "judge.yaml"
    file.write_text(json.dumps(settings))
    ran = persona_bench(
        "judge", made, "--judge", file, "--base-url", "http://127.0.0.1:9/v1", "--dry-run"
    )
    costs = {
        line.split()[0]: line.split()[-1] for line in ran.out.splitlines() if " verdicts " in line
    }
    assert float(costs["a"]) > 0
    assert float(costs["b"]) == 0


def judge_file(beside: Path, **settings: Any) -> Path:
    """A file with the settings of judges, for `--judge`."""
    file = beside.parent / f"{beside.name}-judge.yaml"
    file.write_text(json.dumps(settings))
    return file


def test_openai_wants_a_key(made: Path, persona_bench: Command) -> None:
    file = judge_file(made, models=["gpt-9"], api_key_variable="MY_KEY")
    ran = persona_bench("judge", made, "--judge", file)
    assert "judge 'gpt-9' at https://api.openai.com/v1 needs a key in the environment: MY_KEY" in (
        sentence(ran)
    )


def test_an_endpoint_that_is_gone_is_said_and_what_was_had_is_kept(
    out: Path, persona_bench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.01)  # five tries take 15 seconds

    def moody(body: dict[str, Any], number: int) -> Reply:
        return Reply(verdict(3)) if number < 30 else Reply(cut=True)

    with JudgeServer(served(constant)) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url)
    assert "/v1/models does not answer" in sentence(persona_bench(*call))
    assert not list(out.rglob("judged_*"))
    with JudgeServer(moody) as server:
        call = ("judge", out, "--judge", "judge", "--base-url", server.url, "--concurrency", "30")
        said = sentence(persona_bench(*call))
        assert "gave no answer to 20 requests in a row" in said
        assert "start the same command again" in said
        assert (rows_of(out)["verdict"] == "scored").sum() == 30
        server.answer = served(constant)
        before = len(server.requests)
        assert persona_bench(*call).code == 0
        assert len(server.requests) == before + 30
    assert set(rows_of(out)["verdict"]) == {"scored"}


@pytest.mark.parametrize("when", ["at once", "now and then"])
def test_the_key_is_sent_and_nowhere_else(made: Path, tmp_path: Path, when: str) -> None:
    """Servers echo it in their errors, at any place of a text that is cut off somewhere."""
    out = Path(shutil.copytree(made, tmp_path / "out"))

    def echo(body: dict[str, Any], number: int) -> Reply:
        if when == "now and then" and number % 2 == 0:
            return Reply(verdict(3))
        text = f"{'x' * (20 + 2 * number)} Incorrect API key provided: {KEY}. Find yours\nat home."
        told = json.dumps({"error": {"message": text, "code": "invalid_api_key"}}).encode()
        return Reply(raw=told, status=401 if when == "at once" else 400)

    command = [str(Path(sys.executable).parent / "persona-bench"), "judge", str(out)]
    with JudgeServer(echo) as server:
        file = judge_file(out, models=["judge"], api_key_variable="MY_KEY")
        command += ["--judge", str(file), "--base-url", server.url, "--concurrency", "1"]
        ran = subprocess.run(
            command,
            env={**os.environ, "MY_KEY": KEY, "OPENAI_API_KEY": "sk-other", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        assert len(server.requests) == (1 if when == "at once" else RESPONSES)
    if when == "at once":
        said = sentence(Ran(ran.returncode, ran.stdout, ran.stderr))
        assert "refuses judge 'judge' (HTTP 401" in said
        assert said.endswith("check --base-url, the judge's name, and MY_KEY")
    else:
        assert ran.returncode == 0
        errors = [record["error"] for record in records_of(out / "store") if "error" in record]
        assert len(errors) == RESPONSES / 2
        assert any("***" in error for error in errors)
        assert all("\n" not in error for error in errors)
    start = KEY[:8]
    assert start not in ran.stdout + ran.stderr
    assert files_with(out, [start, "sk-other"]) == []
    assert files_with(out, ["Incorrect API key"] if when != "at once" else ["judged"])
