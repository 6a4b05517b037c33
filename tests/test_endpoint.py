"""`persona-bench run` against an endpoint that fails, stalls, filters, thinks, or is not there."""

from __future__ import annotations

import json
import random
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.harness.backends.endpoint import EndpointError
from persona_bench.harness.fingerprint import FingerprintError
from persona_bench.harness.run import run
from persona_bench.harness.store import StoreError
from persona_bench.results.outcomes import read_responses
from persona_bench.results.samples import find_samples
from tests.support.chat_server import ChatServer, Fault
from tests.support.odd_bodies import FAILED, KEY, ODD, sent

N_QUESTIONS = 10
PERSONAS = load_persona_set("demo")
QUESTIONS = choose_questions(BENCHMARK.load(None, 0), 2 * N_QUESTIONS, 0)
PIRATE = next(p.prompt for p in PERSONAS if p.id == "pirate")
INSTRUCTED = [f"Be brief.\n\n{p.prompt}".strip() for p in PERSONAS]
PROMPTS = N_QUESTIONS * len(list(PERSONAS))


def server(fault: Fault | None = None, delay: float = 0.0) -> ChatServer:
    rates = dict.fromkeys([*(p.prompt for p in PERSONAS), *INSTRUCTED], 1.0)
    answers = {}
    for question in QUESTIONS:
        user = BENCHMARK.prompt(question.problem)
        merged = [f"{p.prompt}\n\n{user}" for p in PERSONAS if p.prompt]
        answers |= dict.fromkeys([user, *merged], question.answer)
    return ChatServer(rates, answers, fault, delay)


def ask(url: str, folder: Path, **settings: Any) -> None:
    arguments = {"model": "small", "base_url": url, "num_concurrent": 8, "max_retries": 2}
    run(
        model=settings.pop("model", "local-chat-completions"),
        model_args={**arguments, **settings.pop("model_args", {})},
        tasks=["persona_arithmetic"],
        output_path=folder,
        metadata={"persona_set": "demo", "n_questions": N_QUESTIONS, **settings.pop("knobs", {})},
        **settings,
    )


def reasons(folder: Path) -> Counter[tuple[str, str]]:
    outcomes = read_outcomes(folder)
    return Counter(zip(outcomes["verdict"], outcomes["reason"], strict=True))


def prompt_of(body: dict[str, Any]) -> str:
    return json.dumps(body["messages"])


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_request_that_fails_for_good_is_unscored_and_asked_again_by_the_next_run(
    tmp_path: Path, concurrency: int
) -> None:
    bad: set[str] = set()

    def every_tenth(body: dict[str, Any], _: int) -> tuple[int, dict[str, str]] | None:
        prompt = prompt_of(body)
        if prompt not in seen:
            seen[prompt] = len(seen)
        if seen[prompt] % 10 == 3:
            bad.add(prompt)
            return 500, {}
        return None

    seen: dict[str, int] = {}
    said: list[str] = []
    settings = {"model_args": {"num_concurrent": concurrency}, "say": said.append}
    with server(every_tenth) as chat:
        ask(chat.url, tmp_path, **settings)
        assert len(bad) == PROMPTS // 10
        asked = "persona_arithmetic: 10 questions × 6 personas, 60 responses"
        assert said == [
            asked,
            "6 responses are unscored, as their requests failed for good (6 x HTTP 500 Internal "
            "Server Error: status 500): the same command asks for them again",
        ]
        assert len(chat.requests) == PROMPTS + len(bad)  # two tries each
        chat.fault = None
        assert reasons(tmp_path) == {
            ("correct", ""): PROMPTS - len(bad),
            ("unscored", "api_error"): len(bad),
        }
        before = len(chat.requests)
        ask(chat.url, tmp_path, **settings)
        assert said[2:] == [asked, "54 of 60 responses are in the store, 6 to generate"]
        assert {prompt_of(body) for body in chat.requests[before:]} == bad
        assert len(chat.requests) == before + len(bad)
    with pytest.warns(UserWarning, match="2 runs of persona_arithmetic on small"):
        assert reasons(tmp_path) == {("correct", ""): PROMPTS}
    stored = "".join(file.read_text() for file in tmp_path.glob("store/**/*.jsonl"))
    assert stored.count('"error":"HTTP 500') == len(bad)


def test_a_server_that_says_later_is_waited_for(tmp_path: Path) -> None:
    refused: dict[str, float] = {}
    waited: list[float] = []

    def busy_once(body: dict[str, Any], _: int) -> tuple[int, dict[str, str]] | None:
        prompt = prompt_of(body)
        if prompt in refused:
            waited.append(time.monotonic() - refused[prompt])
            return None
        refused[prompt] = time.monotonic()
        return 429, {"Retry-After": "1"}

    with server(busy_once) as chat:
        ask(chat.url, tmp_path, model_args={"num_concurrent": 64, "max_retries": 1})
    assert reasons(tmp_path) == {("correct", ""): PROMPTS}
    assert len(waited) == PROMPTS
    assert min(waited) >= 1.0


@pytest.mark.parametrize("status", [400, 403])
def test_a_hopeless_request_is_sent_once(tmp_path: Path, status: int) -> None:
    """A prompt that is too long; or one that a moderator does not like."""

    def refused(body: dict[str, Any], _: int) -> tuple[int, dict[str, str]] | None:
        pirate = body["messages"][0]["content"] == PIRATE
        return (status, {}) if pirate else None

    with server(refused) as chat:
        ask(chat.url, tmp_path, model_args={"max_retries": 5})
        assert len(chat.requests) == PROMPTS
    outcomes = read_outcomes(tmp_path)
    assert set(outcomes[outcomes["verdict"] == "unscored"]["persona"]) == {"pirate"}


@pytest.mark.parametrize("status", [401, 404])
def test_a_refused_key_or_address_stops_the_run_at_once(tmp_path: Path, status: int) -> None:
    with server(lambda *_: (status, {})) as chat:
        with pytest.raises(EndpointError, match=rf"refuses the request \(HTTP {status}"):
            ask(chat.url, tmp_path)
        assert len(chat.requests) <= 8  # those in flight


def test_an_endpoint_that_dies_stops_the_run_and_what_is_done_is_kept(tmp_path: Path) -> None:
    with server(lambda _, n: (500, {}) if n >= 24 else None) as chat:
        with pytest.raises(EndpointError, match=r"no answer to 20 requests in a row.*24 responses"):
            ask(chat.url, tmp_path, model_args={"max_retries": 1})
        chat.fault = None
        before = len(chat.requests)
        ask(chat.url, tmp_path)
        answered = {prompt_of(body) for body in chat.requests[:24]}
        # requests that were on their way when the run stopped may still come: none of these
        asked = {prompt_of(body) for body in chat.requests[before:]}
        assert len(asked) == PROMPTS - 24
        assert not asked & answered
    assert reasons(tmp_path) == {("correct", ""): PROMPTS}


def test_an_endpoint_that_is_not_there_is_said_before_anything_runs(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(FingerprintError, match=f"127.0.0.1:{port}/v1/models does not answer"):
        ask(f"http://127.0.0.1:{port}/v1/chat/completions", tmp_path)


def answer(content: str | None, finish: str, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    return {"choices": [choice], "model": "small-2026", "usage": {"completion_tokens": 7}}


def test_half_a_character_from_an_endpoint_does_not_cost_the_run(tmp_path: Path) -> None:
    said = answer("Half a \ud83d smile, and \\boxed{-1}", "stop")  # as JSON can hold it
    with server(lambda *_: said) as chat:
        ask(chat.url, tmp_path, knobs={"n_questions": 1})
    assert reasons(tmp_path) == {("wrong", "wrong_answer"): len(list(PERSONAS))}
    (response,) = set(read_outcomes(tmp_path)["response"])
    assert response == "Half a \ufffd smile, and \\boxed{-1}"
    (samples,) = find_samples(tmp_path)
    found = read_responses(samples, asked=True)
    assert set(found["taken"]) == {"-1"}
    assert set(found["tokens"]) == {"7"}  # as the endpoint counts them


@pytest.mark.parametrize(
    ("said", "verdict", "reason"),
    [
        (answer(None, "stop"), "wrong", "no_answer"),
        (answer("", "content_filter"), "wrong", "refused"),
        (answer(None, "content_filter"), "wrong", "refused"),
        (answer("Let me count: 1, 2, 3, 4", "length"), "wrong", "truncated"),
        (answer(None, "length", reasoning_content="Hmm, 12"), "wrong", "truncated"),
    ],
)
def test_how_a_response_ended_reaches_its_verdict(
    tmp_path: Path, said: dict[str, Any], verdict: str, reason: str
) -> None:
    with server(lambda *_: said) as chat:
        ask(chat.url, tmp_path, knobs={"n_questions": 1})
    assert reasons(tmp_path) == {(verdict, reason): len(list(PERSONAS))}
    (results,) = tmp_path.glob("small/results_*.json")
    told = json.loads(results.read_text())["configs"]["persona_arithmetic"]["metadata"]
    assert told["persona_bench"]["truncation"] == "by finish reason"


def stored(folder: Path) -> list[dict[str, Any]]:
    (segment,) = folder.glob("store/generations/*/*.jsonl")
    return [json.loads(line) for line in segment.read_text().splitlines()[1:]]


@pytest.mark.parametrize("apart", [True, False], ids=["by the server", "by the end token"])
def test_the_reasoning_is_kept_apart_from_the_answer(tmp_path: Path, apart: bool) -> None:
    """The reasoning ends in a wrong number; the answer has none of its words."""

    def thinks(body: dict[str, Any], _: int) -> dict[str, Any]:
        right = chat.answers[body["messages"][-1]["content"]]
        if apart:
            return answer(f"\\boxed{{{right}}}", "stop", reasoning_content="is it 99999?")
        return answer(f"is it \\boxed{{99999}}?</think>\n\n\\boxed{{{right}}}", "stop")

    with server(thinks) as chat:
        ask(chat.url, tmp_path, model_args={} if apart else {"think_end_token": "</think>"})
    assert reasons(tmp_path) == {("correct", ""): PROMPTS}
    for record in stored(tmp_path):
        assert "99999" in record["reasoning"]
        assert "99999" not in record["response"]
        assert record["tokens"] == 7
        assert record["model"] == "small-2026"


def test_reasoning_that_was_cut_off_is_no_answer(tmp_path: Path) -> None:
    def thinks_too_long(body: dict[str, Any], _: int) -> dict[str, Any]:
        right = chat.answers[body["messages"][-1]["content"]]
        return answer(f"so it is \\boxed{{{right}}}, or is it", "length")

    with server(thinks_too_long) as chat:
        ask(chat.url, tmp_path, model_args={"think_end_token": "</think>"})
    assert reasons(tmp_path) == {("wrong", "truncated"): PROMPTS}
    assert all(record["response"] == "" and record["reasoning"] for record in stored(tmp_path))


def test_an_endpoint_of_another_form_is_read_as_lm_eval_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")

    def messages(body: dict[str, Any], _: int) -> dict[str, Any]:
        right = chat.answers[body["messages"][0]["content"][0]["text"]]
        cut = body.get("system") == PIRATE
        text = "Arr, one, two" if cut else f"\\boxed{{{right}}}"
        part = {"type": "text", "text": text}
        return {"content": [part], "stop_reason": "max_tokens" if cut else "end_turn"}

    with server(messages) as chat:
        sampled = {"do_sample": True, "temperature": 0.7}
        ask(chat.url, tmp_path, model="anthropic-chat-completions", gen_kwargs=sampled)
    assert not any("seed" in body for body in chat.requests)
    assert reasons(tmp_path) == {
        ("correct", ""): PROMPTS - N_QUESTIONS,
        ("wrong", "truncated"): N_QUESTIONS,
    }


def test_prompts_of_several_tasks_and_arguments_reach_the_server_together(tmp_path: Path) -> None:
    """lm-eval alone sends those of one set of arguments after those of another."""
    with server(delay=0.3) as chat:
        sampled = {"do_sample": True, "temperature": 0.7}
        ask(
            chat.url,
            tmp_path,
            knobs={"samples": 4, "n_questions": 4},
            gen_kwargs=sampled,
            model_args={"num_concurrent": 32},
        )
        times = chat.busiest
    assert len(chat.requests) == 4 * 4 * 6
    assert times > 16


def test_other_settings_generate_again_and_keep_the_old_responses(tmp_path: Path) -> None:
    def sent(**settings: Any) -> int:
        before = len(chat.requests)
        ask(chat.url, tmp_path, **settings)
        return len(chat.requests) - before

    with server() as chat:
        assert sent() == PROMPTS
        assert sent(gen_kwargs={"max_gen_toks": 64}) == PROMPTS
        assert sent(system_instruction="Be brief.") == PROMPTS
        assert sent(knobs={"system_role": "merge"}) == PROMPTS - N_QUESTIONS  # none has no message
        assert sent(model_args={"model": "other"}) == PROMPTS
        sampled = {"gen_kwargs": {"do_sample": True, "temperature": 0.7}}
        assert sent(**sampled) == PROMPTS
        assert sent(**sampled, seed=1) == PROMPTS
        # the seed of a greedy run changes nothing, nor does how it is asked
        assert sent(seed=1) == 0
        assert sent(model_args={"num_concurrent": 3, "timeout": 9}) == 0
        assert sent(gen_kwargs={"max_tokens": 64}) == 0
        assert sent(**sampled) == 0


def test_a_full_disk_stops_the_run_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    real, left = os.write, [30]

    def write(file: int, data: bytes) -> int:
        if data.startswith(b'{"key"'):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    with server() as chat:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(StoreError, match=r"No space left on device\): the 30 finished records"):
            ask(chat.url, tmp_path)
        monkeypatch.undo()
        before = 0
        while before < len(chat.requests):  # some were still on their way
            before = len(chat.requests)
            time.sleep(0.5)
        ask(chat.url, tmp_path)
        assert len(chat.requests) == before + PROMPTS - 30
    assert reasons(tmp_path) == {("correct", ""): PROMPTS}


# ---------------------------------------------------------------------- odd answers


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_malformed_answer_costs_no_other_response(
    tmp_path: Path, concurrency: int, caplog: Any, capfd: Any
) -> None:
    """Each odd body goes to one prompt of a run; all others are answered as usual."""
    names = [*ODD, *[""] * (2 * PROMPTS - len(ODD))]
    random.Random(0).shuffle(names)
    given: dict[str, str] = {}

    def odd(body: dict[str, Any], _: int) -> Any:
        name = given.setdefault(prompt_of(body), names[len(given)])
        if not name:
            return None
        right = chat.answers[body["messages"][-1]["content"]]
        return ODD[name].status, {}, sent(ODD[name], f"\\boxed{{{right}}}")

    settings: dict[str, Any] = {
        "model_args": {
            "num_concurrent": concurrency,
            "max_retries": 1,
            "header": {"Authorization": f"Bearer {KEY}"},
        },
        "knobs": {"n_questions": 2 * N_QUESTIONS},
    }
    with server(odd) as chat:
        ask(chat.url, tmp_path, **settings)
        assert len(chat.requests) == 2 * PROMPTS
        assert not any("stop" in body or "seed" in body for body in chat.requests)  # greedy
        records = {prompt_of({"messages": json.loads(r["prompt"])}): r for r in stored(tmp_path)}
        rows = {json.dumps(row[0]): row[1] for row in graded(tmp_path)}
        for prompt, name in given.items():
            outcome = ODD[name].outcome if name else "correct"
            verdict, reason = rows[prompt]
            assert (reason or verdict) == outcome, name
            assert verdict == {"correct": "correct", "api_error": "unscored"}.get(outcome, "wrong")
            record = records[prompt]
            assert ("error" in record) == (outcome == "api_error"), name
            if outcome == "api_error":
                assert ODD[name].words in record["error"], name
            elif "99999" in str(ODD[name].body if name else ""):
                assert "99999" in record["reasoning"], name
                assert "99999" not in record["response"], name
        text = "".join(file.read_text() for file in tmp_path.rglob("*.json*"))
        assert KEY not in text
        assert "NaN" not in "".join(json.dumps(record) for record in records.values())

        chat.fault = None
        before = len(chat.requests)
        ask(chat.url, tmp_path, **settings)
        again = sorted(given[prompt_of(body)] for body in chat.requests[before:])
        assert again == sorted(FAILED)
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err + caplog.text
    assert not [record for record in caplog.records if record.name.startswith("lm")]


def graded(folder: Path) -> list[tuple[Any, tuple[str, str]]]:
    """The messages of each prompt of the newest run, with its verdict and reason."""
    file = max(folder.rglob("samples_*.jsonl"))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        (json.loads(row["arguments"]["gen_args_0"]["arg_0"][0]), (r["verdict"], r["reason"]))
        for row in rows
        for r in [row["acc"]]
    ]


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_429_inside_an_answer_is_waited_for(tmp_path: Path, concurrency: int) -> None:
    refused: set[str] = set()
    busy = [
        {"choices": None, "error": {"code": 429, "message": "slow down"}},
        {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
    ]

    def busy_once(body: dict[str, Any], _: int) -> Any:
        if prompt_of(body) in refused or len(refused) > 3:
            return None
        refused.add(prompt_of(body))
        return busy[len(refused) % 2]

    with server(busy_once) as chat:
        ask(chat.url, tmp_path, model_args={"num_concurrent": concurrency, "max_retries": 1})
    assert len(refused) == 4
    assert reasons(tmp_path) == {("correct", ""): PROMPTS}


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_parameter_that_is_refused_in_the_middle_of_a_run_is_left_out_and_recorded(
    tmp_path: Path, concurrency: int, caplog: Any
) -> None:
    refused = [
        {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                    "'max_completion_tokens' instead.", "param": "max_tokens"},
        {"message": "Unsupported parameter: 'stop' is not supported with this model."},
        {"message": "property 'seed' is unsupported"},
    ]  # fmt: skip
    named = ["max_tokens", "stop", "seed"]

    def picky(body: dict[str, Any], number: int) -> Any:
        if number < 3:  # another server behind the same address takes over
            return None
        error = next((e for e, name in zip(refused, named, strict=True) if name in body), None)
        return error and (400, {}, {"error": error})

    with server(picky) as chat:
        arguments = {"num_concurrent": concurrency, "max_retries": 1}
        sampled = {"temperature": 0.7, "do_sample": True, "until": ["###"]}
        ask(chat.url, tmp_path, model_args=arguments, gen_kwargs=sampled)
        taken = [body for body in chat.requests if not set(named) & body.keys()]
        assert all("max_completion_tokens" in body for body in taken)
        assert len(taken) == PROMPTS - 3
    assert reasons(tmp_path) == {("correct", ""): PROMPTS}
    adapted = {"max_tokens": "max_completion_tokens", "stop": "dropped", "seed": "dropped"}
    (results,) = tmp_path.rglob("results_*.json")
    configs = json.loads(results.read_text())["configs"]
    assert (
        configs["persona_arithmetic"]["metadata"]["persona_bench"]["parameters_adapted"] == adapted
    )
    assert sum(record.get("adapted") == adapted for record in stored(tmp_path)) == PROMPTS - 3
    for name in named:
        said = [
            r for r in caplog.records if f"does not take the parameter {name}:" in r.getMessage()
        ]
        assert len(said) == 1, name
