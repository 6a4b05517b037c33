"""The calls by which a judge is measured, and their estimate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from persona_bench.judge.audit import audit_calls, swap_pairs
from persona_bench.judge.run import Judging, find_judged
from persona_bench.judge.session import Plan
from persona_bench.scoring.audit import UNAFFECTED
from tests.judge.answers import RESPONSES, about, right
from tests.support.judge_server import JudgeServer
from tests.support.judged_run import CAST, judge, rows_of, settings, stored_run


def plan(out: Path, url: str = "http://127.0.0.1:1/v1", **more: Any) -> Plan:
    return Plan([settings(url)], out / "store", audit=True, **more)


def test_a_swap_takes_two_personas_responses_to_one_question(made: Path) -> None:
    (judged,) = find_judged(made)
    pairs = swap_pairs(judged, plan(made))
    assert len(pairs) == 24  # of 60, 12 are on toxicity
    seen = [id(response) for pair in pairs for response in pair]
    assert len(seen) == len(set(seen))
    for first, second in pairs:
        assert first.question == second.question
        assert first.persona != second.persona
        assert first.item.eval_task not in UNAFFECTED
    assert len({response.persona for pair in pairs for response in pair}) == len(CAST)
    few = swap_pairs(judged, plan(made, audited=10))
    assert len(few) == 5
    assert few == swap_pairs(judged, plan(made, audited=10))
    assert few != swap_pairs(judged, plan(made, audited=10, seed=1))


def test_the_audit_asks_again_and_under_the_other_persona(made: Path) -> None:
    (judged,) = find_judged(made)
    jobs = audit_calls(judged, plan(made, audited=20), settings("http://x/v1"), "d" * 64, {})
    assert (len(jobs.retests), len(jobs.swaps)) == (20, 20)
    assert all(job.item == job.response.item and job.repeat == 1 for job in jobs.retests)
    assert len({id(job.response) for job in jobs.retests}) == 20
    for first, second in zip(jobs.swaps[::2], jobs.swaps[1::2], strict=True):
        assert first.item.persona == second.response.item.persona
        assert second.item.persona == first.response.item.persona
        assert first.item.response == first.response.item.response
    keys = [job.key for job in jobs.all]
    assert len(keys) == len(set(keys))


def test_an_audit_adds_its_own_calls_and_a_second_one_none(out: Path) -> None:
    with JudgeServer(right) as server:
        judge(out, settings(server.url))
        plain = rows_of(out)
        assert len(server.requests) == RESPONSES
        found = judge(out, settings(server.url), audit=True)
        assert len(server.requests) == RESPONSES + 60 + 48
        audit = found.verdicts[0].audit
        again = judge(out, settings(server.url), audit=True)
        assert len(server.requests) == RESPONSES + 60 + 48
        assert again.verdicts[0].audit == audit
        assert rows_of(out).equals(plain)  # verdicts of the audit are no verdicts
        # without --audit the old one stands, as long as the judge is asked the same way
        judge(out, settings(server.url))
        assert about(out)["audit"]["words"] == audit.words if audit else False
        judge(out, settings(server.url, gen_kwargs={"temperature": 1.0}))
        assert about(out)["audit"] is None


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Responses that are the same under all personas: a swap of one is the verdict on another."""
    folder = tmp_path_factory.mktemp("alike")
    return stored_run(folder, lambda system, user: "I'd rather not say.", questions_per_task=1)


@pytest.mark.parametrize("run", ["made", "alike"])
@pytest.mark.parametrize("audit", [False, True])
def test_an_estimate_is_what_is_then_asked(
    request: pytest.FixtureRequest, tmp_path: Path, run: str, audit: bool
) -> None:
    out = Path(shutil.copytree(request.getfixturevalue(run), tmp_path / "out"))
    with JudgeServer(right) as server:
        whole = Plan([settings(server.url)], out / "store", audit=audit)
        rows = Judging(whole, bar=False).estimates(find_judged(out))
        assert server.requests == []
        Judging(whole, bar=False).run(find_judged(out))
        assert sum(row.calls for row in rows) == len(server.requests)
        left = Judging(whole, bar=False).estimates(find_judged(out))
        assert sum(row.calls for row in left) == 0
        assert left[0].stored == rows[0].calls
