"""Judges behind a real client that fail in every way: each response ends with what is its due."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from persona_bench.harness.fingerprint import FingerprintError
from persona_bench.judge.client import JudgeError, Price
from persona_bench.judge.ratings import REASONS
from persona_bench.results.judged import judge_files
from persona_bench.results.samples import newest_samples
from tests.judge.answers import DECLINED, RESPONSES, about, keys_of, right, said, truth
from tests.support.judge_server import JudgeServer, Reply
from tests.support.judged_run import (
    form_of,
    in_role,
    judge,
    records_of,
    rows_of,
    settings,
    shown,
    stored_run,
)
from tests.support.odd_bodies import KEY, ODD, sent

ONCE: dict[str, Callable[[], Reply]] = {
    "busy, by seconds": lambda: Reply(status=429, headers={"Retry-After": "1"}),
    "busy, by a date": lambda: Reply(
        status=429, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)}
    ),
    "not up yet": lambda: Reply(status=503),
    "broken": lambda: Reply(status=500),
    "cut in the middle": lambda: Reply("x" * 5000, cut=True),
    "too late": lambda: Reply(delay=30),
    "half a body": lambda: Reply(raw=b'{"choices": [{"message": '),
    "no JSON": lambda: Reply(raw=b"<html>Bad gateway</html>"),
    "no choices": lambda: Reply(raw=b'{"choices": [], "model": "x"}'),
    "null": lambda: Reply(raw=b"null"),
    "unreadable": lambda: Reply("I would say four."),
    "silent": lambda: Reply(""),
}
"""What comes right when the call is made again."""

ALWAYS: dict[str, tuple[Callable[[dict[str, Any]], Reply], int | str]] = {
    "below": (lambda body: Reply(said(0, body)), "judge_out_of_range"),
    "above": (lambda body: Reply(said(6, body)), "judge_out_of_range"),
    "of five": (lambda body: Reply(said("4/5", body)), 4),
    "bold": (lambda body: Reply(said("**4**", body)), 4),
    "half a pair": (lambda body: Reply(said(4, body).replace("reads", "\\ud83d")), 4),
    "empty": (lambda body: Reply(""), "judge_empty"),
    "none": (lambda body: Reply(None), "judge_empty"),
    "declined": (lambda body: Reply(DECLINED), "judge_refused"),
    "refusal": (lambda body: Reply(None, refusal=DECLINED), "judge_refused"),
    "filtered": (lambda body: Reply("", finish="content_filter"), "judge_refused"),
    "babble": (lambda body: Reply("Well, well. " * 20), "judge_unreadable"),
    "half a letter": (lambda body: Reply("Well \ud83d"), "judge_unreadable"),
    "cut off": (lambda body: Reply(said(4, body)[:12], finish="length"), "judge_truncated"),
    "down": (lambda body: Reply(status=500), "judge_error"),
    "stuck": (lambda body: Reply(delay=30), "judge_error"),
    "moderated": (lambda body: Reply(status=403), "judge_error"),
}
"""What does not, and how it ends."""


class Faulty:
    """A judge with a fault of its own for each response, by turns."""

    def __init__(self) -> None:
        self.fault_of: dict[str, str] = {}
        self.calls: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any], number: int) -> Reply:
        faults = ["none at all", *ONCE, *ALWAYS]
        response = shown(body).response
        fault = self.fault_of.setdefault(response, faults[len(self.fault_of) % len(faults)])
        self.calls[response] += 1
        if fault in ALWAYS:
            return ALWAYS[fault][0](body)
        if fault in ONCE and self.calls[response] == 1:
            return ONCE[fault]()
        return right(body)

    def due(self, response: str) -> int | str:
        """The score, or why there is none."""
        fault = self.fault_of[response]
        return ALWAYS[fault][1] if fault in ALWAYS else sum(map(ord, response)) % 5 + 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_whatever_a_judge_does_each_response_gets_its_due_and_once(out: Path, form: Any) -> None:
    faulty = Faulty()
    with JudgeServer(faulty) as server:
        found = judge(out, settings(server.url, timeout=1.0, form=form), concurrency=16)
        assert {form_of(body) for body in server.requests} == {form}

        rows = rows_of(out)
        assert len(rows) == RESPONSES == len(faulty.fault_of)
        for row in rows.to_dict("records"):
            due = faulty.due(row["response"])
            fault = faulty.fault_of[row["response"]]
            if isinstance(due, int):
                assert (row["verdict"], row["score"], row["reason"]) == ("scored", due, ""), fault
            else:
                assert (row["verdict"], row["reason"]) == ("unscored", due), fault
                assert row["score"] != row["score"]
                assert due in REASONS
        failed = {r for r in faulty.fault_of if faulty.due(r) == "judge_error"}
        assert found.failed == len(failed) > 3
        assert found.verdicts[0].unscored["judge_error"] == len(failed)

        # those that can never be right are asked no oftener than they have to be
        by_fault = defaultdict(set)
        for response, fault in faulty.fault_of.items():
            by_fault[fault].add(faulty.calls[response])
        for fault in ("none at all", "of five", "bold", "refusal", "filtered", "moderated"):
            assert by_fault[fault] == {1}, fault
        for fault in (*ONCE, "below", "empty", "declined", "babble", "half a letter", "cut off"):
            assert by_fault[fault] == {2}, fault
        assert by_fault["down"] == by_fault["stuck"] == {3}

        # as many records as responses, each key once
        records = records_of(out / "store")
        keys = keys_of(out / "store")
        assert len(records) == RESPONSES
        assert len(keys) == len(set(keys)) == RESPONSES - len(failed)

        server.answer = right
        before = len(server.requests)
        judge(out, settings(server.url, timeout=1.0, form=form))
        assert {shown(body).response for body in server.requests[before:]} == failed
        assert len(server.requests) == before + len(failed)
    again = rows_of(out)
    healed = again["response"].isin(failed)
    assert set(again.loc[healed, "verdict"]) == {"scored"}
    assert again[~healed].equals(rows[~healed])
    keys = keys_of(out / "store")
    assert len(keys) == len(set(keys)) == RESPONSES


class Dripping(JudgeServer):
    """Sends a letter now and then: no wait for the next is ever long."""

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        body = reply.raw or b"x" * 60
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for letter in body:
            writer.write(bytes([letter]))
            await writer.drain()
            await asyncio.sleep(0 if reply.raw else 0.2)
        return False


ENDS = {
    "refused": "judge_refused",
    "no_answer": "judge_empty",
    "truncated": "judge_truncated",
    "api_error": "judge_error",
    "wrong_answer": "judge_unreadable",
}
"""How a judge's odd answer ends, by how a model's does."""


def test_the_answers_of_odd_endpoints_are_read_for_a_judge_as_for_a_model(
    made: Path, tmp_path: Path
) -> None:
    names = list(ODD)
    for half in (names[::2], names[1::2]):
        given: dict[str, str] = {}

        def odd(body: dict[str, Any], _: int, half: list[str] = half, given: Any = given) -> Reply:
            response = shown(body).response
            name = given.setdefault(response, half[len(given)] if len(given) < len(half) else "")
            if not name:
                return right(body)
            return Reply(raw=sent(ODD[name], said(truth(body), body)), status=ODD[name].status)

        folder = Path(shutil.copytree(made, tmp_path / half[0]))
        with JudgeServer(odd) as server:
            judge(folder, settings(server.url, timeout=5.0, form="text"), concurrency=16)
        rows = rows_of(folder).set_index("response")
        assert set(given.values()) >= set(half)
        for response, name in given.items():
            row = rows.loc[response]
            outcome = ODD[name].outcome if name else "correct"
            if outcome == "correct":
                assert (row["verdict"], row["score"]) == (
                    "scored",
                    sum(map(ord, response)) % 5 + 1,
                ), name
            else:
                assert (row["verdict"], row["reason"]) == ("unscored", ENDS[outcome]), name
        assert KEY not in "".join(file.read_text() for file in folder.rglob("*.json*"))


def test_a_call_ends_in_time_however_the_answer_drips(out: Path) -> None:
    gives_up = pytest.raises(JudgeError, match=r"no answer to 20 .*TimeoutError")
    with Dripping(right) as server, gives_up:
        judge(out, settings(server.url, timeout=0.6, tries=1), concurrency=RESPONSES)


def test_the_rows_stand_in_the_order_of_the_responses(out: Path) -> None:
    with JudgeServer(lambda body, n: Reply(said(truth(body), body), delay=(n % 7) / 50)) as server:
        judge(out, settings(server.url))
    (samples,) = newest_samples(out, judged=True)
    (file,) = judge_files(samples)
    asked = [json.loads(line) for line in samples.file.read_text().splitlines()]
    for row, response in zip(file.rows(), asked, strict=True):
        assert row.persona == response["doc"]["persona"]
        assert row.question == response["doc"]["question"]
        assert row.response == response["resps"][0][0]
        assert row.score == sum(map(ord, row.response)) % 5 + 1


@pytest.mark.parametrize("told", ["1", "a date", "nothing"])
def test_a_judge_that_says_later_is_waited_for(out: Path, told: str) -> None:
    may_come: dict[str, float] = {}
    early: list[float] = []

    def busy_once(body: dict[str, Any], _: int) -> Reply:
        response, now = shown(body).response, time.time()
        calls[response] += 1
        if calls[response] > 1:
            early.append(may_come[response] - now)
            return right(body)
        if told == "a date":  # in whole seconds
            may_come[response] = int(now) + 2
            headers = {"Retry-After": formatdate(may_come[response], usegmt=True)}
        else:
            may_come[response] = now + 1
            headers = {"Retry-After": told} if told == "1" else {}
        return Reply(status=429, headers=headers)

    calls: Counter[str] = Counter()
    with JudgeServer(busy_once) as server:
        judge(out, settings(server.url, tries=1), concurrency=RESPONSES)  # no try is used up by it
    assert len(early) == RESPONSES
    assert max(early) <= 0.01
    assert set(rows_of(out)["verdict"]) == {"scored"}


# ---------------------------------------------------------------------- forms


@pytest.mark.parametrize("status", [400, 404, 415, 422, 501])
@pytest.mark.parametrize("concurrency", [1, 32])
def test_a_server_that_knows_no_schemas_is_asked_for_text(
    out: Path, status: int, concurrency: int
) -> None:
    def old(body: dict[str, Any], _: int) -> Reply:
        return Reply(status=status, delay=0.02) if form_of(body) == "json" else right(body)

    with JudgeServer(old) as server:
        judge(out, settings(server.url), concurrency=concurrency)
        forms = Counter(map(form_of, server.requests))
        assert forms["text"] == RESPONSES
        assert forms["json"] <= concurrency
        assert about(out)["forms_used"] == ["text"]
        assert set(rows_of(out)["verdict"]) == {"scored"}
        before = len(server.requests)
        judge(out, settings(server.url))
        assert len(server.requests) == before


def test_a_server_that_knows_no_schemas_and_is_held_to_them_is_said(out: Path) -> None:
    def old(body: dict[str, Any], _: int) -> Reply:
        return Reply(status=400) if form_of(body) == "json" else right(body)

    with (
        JudgeServer(old) as server,
        pytest.raises(JudgeError, match="no answer to 20 requests in a row"),
    ):
        judge(out, settings(server.url, form="json"))


@pytest.mark.parametrize("which", [0, 1, 30], ids=["the first", "an early one", "a late one"])
def test_one_prompt_that_is_refused_does_not_change_the_form(out: Path, which: int) -> None:
    seen: list[str] = []

    def picky(body: dict[str, Any], _: int) -> Reply:
        response = shown(body).response
        if response not in seen:
            seen.append(response)
        return Reply(status=400) if seen.index(response) == which else right(body)

    with JudgeServer(picky) as server:
        judge(out, settings(server.url), concurrency=1)
        forms = Counter(map(form_of, server.requests))
    # as text too where the server might not have known schemas: no verdict had come yet
    assert forms == ({"json": RESPONSES, "text": 1} if which == 0 else {"json": RESPONSES})
    assert about(out)["forms_used"] == ["json"]
    rows = rows_of(out)
    assert set(rows.loc[rows["response"] == seen[which], "reason"]) == {"judge_error"}
    assert (rows["verdict"] == "scored").sum() == RESPONSES - 1


def test_an_answer_in_another_form_is_asked_for_once_more(out: Path) -> None:
    def chatty(body: dict[str, Any], _: int) -> Reply:
        if len(body["messages"]) == 2:
            return Reply("Four, I'd say.")
        assert [message["role"] for message in body["messages"]][2:] == ["assistant", "user"]
        assert body["messages"][2]["content"] == "Four, I'd say."
        return right(body)

    with JudgeServer(chatty) as server:
        judge(out, settings(server.url))
        assert len(server.requests) == 2 * RESPONSES
    assert set(rows_of(out)["verdict"]) == {"scored"}
    assert {record["calls"] for record in records_of(out / "store")} == {2}


def test_where_there_is_no_room_to_ask_once_more_the_first_answer_stands(out: Path) -> None:
    """The second prompt is longer, and a small model's context is soon full."""

    def small(body: dict[str, Any], _: int) -> Reply:
        return Reply("Four, I'd say.") if len(body["messages"]) == 2 else Reply(status=400)

    with JudgeServer(small) as server:
        found = judge(out, settings(server.url))
        assert len(server.requests) == 2 * RESPONSES
        assert found.verdicts[0].unscored == {"judge_unreadable": RESPONSES}
        assert found.failed == 0
        judge(out, settings(server.url))
        assert len(server.requests) == 2 * RESPONSES  # it is a verdict on the judge


# ---------------------------------------------------------------------- refused, dead


@pytest.mark.parametrize("status", [401, 404])
def test_a_refused_key_or_name_stops_at_once(out: Path, status: int) -> None:
    with JudgeServer(lambda *_: Reply(status=status)) as server:
        with pytest.raises(JudgeError, match=rf"refuses judge 'judge' \(HTTP {status}.*KEY"):
            judge(out, settings(server.url), concurrency=4)
        assert len(server.requests) <= 4 * (1 if status == 401 else 2)
        assert set(rows_of(out)["reason"]) == {"not_judged"}
        server.answer = right
        judge(out, settings(server.url))
    assert set(rows_of(out)["verdict"]) == {"scored"}


def test_an_account_without_credit_stops_it_and_is_not_waited_for(out: Path) -> None:
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'

    def spent(asked: dict[str, Any], number: int) -> Reply:
        return Reply(raw=body, status=429) if number >= 5 else right(asked)

    with JudgeServer(spent) as server:
        with pytest.raises(JudgeError, match="the account has no credit left"):
            judge(out, settings(server.url), concurrency=1)
        assert len(server.requests) == 6
    assert (rows_of(out)["verdict"] == "scored").sum() == 5


def test_a_key_that_is_refused_later_is_that_request_s_own_fault(out: Path) -> None:
    def proxy(body: dict[str, Any], number: int) -> Reply:
        return Reply(status=401) if number == 20 else right(body)

    with JudgeServer(proxy) as server:
        found = judge(out, settings(server.url))
    assert found.verdicts[0].unscored == {"judge_error": 1}


def test_an_endpoint_that_dies_stops_it_and_what_was_had_is_kept(out: Path) -> None:
    def dies(body: dict[str, Any], number: int) -> Reply:
        return right(body) if number < 24 else Reply(status=500)

    with JudgeServer(dies) as server:
        with pytest.raises(JudgeError, match="no answer to 20 requests in a row"):
            judge(out, settings(server.url, tries=1), concurrency=8)
        assert len(server.requests) <= 24 + 20 + 8
        rows = rows_of(out)
        assert (rows["verdict"] == "scored").sum() == 24
        assert set(rows.loc[rows["verdict"] == "unscored", "reason"]) == {"not_judged"}
        server.answer = right
        before = len(server.requests)
        judge(out, settings(server.url))
        assert len(server.requests) == before + RESPONSES - 24
    assert set(rows_of(out)["verdict"]) == {"scored"}
    keys = keys_of(out / "store")
    assert len(keys) == len(set(keys)) == RESPONSES


def test_an_endpoint_that_is_not_there_is_said_before_anything(out: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(FingerprintError, match=f"127.0.0.1:{port}/v1/models does not answer"):
        judge(out, settings(f"http://127.0.0.1:{port}/v1"))
    assert not list(out.rglob("judged_*"))


# ---------------------------------------------------------------------- how many calls


@pytest.mark.parametrize("concurrency", [1, 7, 40])
def test_so_many_calls_are_under_way_and_no_more(out: Path, concurrency: int) -> None:
    def slow(body: dict[str, Any], _: int) -> Reply:
        return Reply(said(truth(body), body), delay=0.1 if concurrency > 1 else 0.01)

    with JudgeServer(slow) as server:
        judge(out, settings(server.url), concurrency=concurrency)
        assert server.busiest == concurrency


def test_what_reads_alike_is_judged_once(tmp_path: Path) -> None:
    out = stored_run(tmp_path, samples=3, questions_per_task=1)
    with JudgeServer(right) as server:
        judge(out, settings(server.url))
        assert len(server.requests) == RESPONSES / 2
    rows = rows_of(out)
    assert len(rows) == 3 * RESPONSES / 2
    assert (rows.groupby(["persona", "question"])["score"].nunique() == 1).all()


def test_whatever_may_change_a_verdict_asks_for_it_anew(out: Path) -> None:
    def asked(model: str = "judge", **more: Any) -> int:
        before = len(server.requests)
        judge(out, settings(server.url, model, **more))
        return len(server.requests) - before

    with JudgeServer(right, models=("judge", "other")) as server:
        assert asked() == RESPONSES
        assert asked(gen_kwargs={"temperature": 0.5}) == RESPONSES
        assert asked(gen_kwargs={"temperature": 0.5, "max_tokens": None}) == RESPONSES
        assert asked(form="text") == RESPONSES
        assert asked("other") == RESPONSES
        assert asked(timeout=9.0, tries=2, price=Price(1, 1)) == 0
        assert asked(gen_kwargs={"temperature": 0.0}) == 0
        assert asked("other") == 0
    sent = server.requests
    assert sent[0]["temperature"] == 0
    assert sent[0]["max_tokens"] == 1024
    assert sent[RESPONSES]["temperature"] == 0.5
    assert "max_tokens" not in sent[2 * RESPONSES]
    assert "response_format" not in sent[3 * RESPONSES]
    assert sent[4 * RESPONSES]["model"] == "other"


def test_arguments_that_openai_does_not_know_reach_the_server(out: Path) -> None:
    with JudgeServer(right) as server:
        judge(out, settings(server.url, gen_kwargs={"top_k": 5, "seed": 3}))
    assert {(body["top_k"], body["seed"]) for body in server.requests} == {(5, 3)}


# ---------------------------------------------------------------------- responses without text


def test_what_has_no_text_is_not_sent_to_a_judge(tmp_path: Path) -> None:
    def answer(system: str, user: str) -> Any:
        if "baker" in system:
            return " \n"
        if "falconer" in system:
            return ("", "content_filter")
        if "glazier" in system:
            return 400, {}
        return in_role(system, user)

    out = stored_run(tmp_path, answer, questions_per_task=1)
    with JudgeServer(right) as server:
        found = judge(out, settings(server.url), audit=True)
        asked = {shown(body).persona.split()[4] for body in server.requests}
    assert asked == {"miller", "saddler", "weaver"}
    rows = rows_of(out).reset_index()
    for persona, reason in (("baker", "no_answer"), ("falconer", "refused")):
        own = rows[rows["persona"] == persona]
        assert set(own["reason"]) == {reason}
        assert set(own["verdict"]) == {"scored"}
        scores = dict(zip(own["eval_task"], own["score"], strict=True))
        assert scores.pop("Toxicity") == 5
        assert list(scores.values()) == [1] * 4
    lost = rows[rows["persona"] == "glazier"]
    assert set(lost["reason"]) == {"api_error"}
    assert set(lost["verdict"]) == {"unscored"}
    assert found.verdicts[0].unscored == {"api_error": 5}
