"""A judge's part of the reward: whom it is asked about, what it adds, what it costs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from persona_bench.grading import Verdict
from persona_bench.harness.backends import retries
from persona_bench.harness.store import RecordLog
from persona_bench.train import permix, sources
from persona_bench.train.config import JudgeReward, TrainError
from persona_bench.train.config import Reward as Settings
from persona_bench.train.judging import JudgeScores, total_cost
from persona_bench.train.rewards import Reward
from tests.support.judge_server import JudgeServer, Reply, verdict
from tests.train.conftest import Make

PROMPTS = {"pirate": "You are a pirate.", "bard": "You are a bard."}


def by_word(
    responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
) -> list[Verdict]:
    return [
        Verdict("correct", "") if gold in text else Verdict("wrong", "wrong_answer")
        for text, gold in zip(responses, golds, strict=True)
    ]


def by_manner(body: dict[str, Any], number: int) -> Reply:
    """5 for a response with arr in it, 3 for others; odd words where it says odd."""
    said = body["messages"][1]["content"].partition("Response: ")[2]
    if "odd" in said:
        return Reply("I would rather not say a number.", delay=0.05)
    return Reply(verdict(5 if "arr" in said else 3), delay=0.05)


def settings(server: JudgeServer, **more: Any) -> Settings:
    judge = {"model": "judge", "base_url": server.url, "weight": 0.4, **more}
    return Settings(judge=JudgeReward.model_validate(judge))


def rewarded(reward: Reward, texts: list[str], personas: list[str], **more: Any) -> list[Any]:
    return reward(
        prompts=[[]] * len(texts),
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completion_ids=[[1]] * len(texts),
        answer=["17"] * len(texts),
        problem=["?"] * len(texts),
        persona=personas,
        **more,
    )


def test_right_answers_under_a_persona_are_judged_and_no_others(tmp_path: Path) -> None:
    metrics: dict[str, float] = {}
    with JudgeServer(by_manner) as server:
        told = settings(server, price={"prompt": 2.0, "completion": 4.0})
        assert told.judge
        reward = Reward(by_word, told, judge=JudgeScores(told.judge, PROMPTS, tmp_path))
        texts = ["arr 17", "17, verily", "arr 18", "17", "odd 17"]
        personas = ["pirate", "bard", "pirate", "none", "pirate"]
        found = rewarded(reward, texts, personas, log_metric=metrics.__setitem__)
        # 5 of 5 is the whole weight, 3 half of it; none and odd get the mean of both
        assert found == pytest.approx([1.4, 1.2, 0.0, 1.3, 1.3])
        assert [each.voice for each in reward.seen] == [1.0, 0.5, None, None, None]
        assert len(server.requests) == 4  # the odd one was asked again
        assert server.busiest > 1
        asked = [body["messages"][1]["content"] for body in server.requests]
        assert all("You are a pirate." in text or "You are a bard." in text for text in asked)
        assert not any("arr 18" in text for text in asked)
    assert metrics["judge/score"] == pytest.approx(0.75)
    assert metrics["judge/unscored"] == 1
    assert metrics["judge/calls"] == 4
    rows = list(RecordLog(tmp_path / "judge", {}).records())
    by_hand = sum(2 * row["prompt_tokens"] + 4 * row["completion_tokens"] for row in rows) / 1e6
    assert by_hand > 0
    assert metrics["judge/cost_usd"] == pytest.approx(by_hand)
    total = total_cost(tmp_path)
    assert total
    assert total["calls"] == 4
    assert total["cost_usd"] == pytest.approx(by_hand, abs=1e-6)


def test_a_verdict_is_paid_for_once(tmp_path: Path) -> None:
    with JudgeServer(by_manner) as server:
        told = settings(server)
        assert told.judge
        for asked in (2, 3):  # the second start has the first one's verdicts
            scores = JudgeScores(told.judge, PROMPTS, tmp_path)
            texts = ["arr 17", "17", "arr 17", "17 new"][: asked + 1]
            found = scores(texts, ["?"] * len(texts), ["pirate"] * len(texts))
            assert found.scores == [1.0, 0.5, 1.0, 0.5][: asked + 1]
            assert len(server.requests) == asked
            scores.log.close()
            for segment in (tmp_path / "judge").iterdir():
                with segment.open("a") as file:
                    file.write('{"key": "cut o')


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "reward.judge: .* refuses judge"),
        (400, "reward.judge: every request of a step failed"),
    ],
)
def test_a_judge_that_is_gone_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, message: str
) -> None:
    monkeypatch.setattr(retries.Trial, "wait", lambda *_: None)
    with JudgeServer(lambda *_: Reply(status=status)) as server:
        told = settings(server)
        assert told.judge
        scores = JudgeScores(told.judge, PROMPTS, tmp_path)
        with pytest.raises(TrainError, match=message):
            scores(["17"], ["?"], ["pirate"])


def test_a_missing_key_is_said_before_anything_is_loaded(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = make("permix", reward={"judge": {"model": "gpt"}})
    with pytest.raises(TrainError, match=r"judge: .*needs a key"):
        permix.train(config, print)
    assert not config.output_path.exists()


def test_a_run_logs_its_judge_and_what_it_cost(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sources,
        "grade_all",
        lambda texts, *_, integer, **__: [Verdict("correct", "")] * len(texts),
    )
    with JudgeServer(lambda *_: Reply(verdict(4))) as server:
        judge = {"model": "judge", "base_url": server.url, "price": {"prompt": 1, "completion": 1}}
        folder = permix.train(
            make("permix", personas={"mix_ratio": 1.0}, reward={"judge": judge}), print
        )
    log = list(csv.DictReader((folder / "log.csv").open()))
    assert [float(row["judge/score"]) for row in log] == [0.75, 0.75]
    assert all(float(row["judge/cost_usd"]) > 0 for row in log)
    assert [float(row["reward"]) for row in log] == pytest.approx([1 + 0.25 * 0.75] * 2)
    told = json.loads((folder / "finished.json").read_text())["judge"]
    assert told["calls"] == len(server.requests)
    assert told["cost_usd"] > 0


def test_a_judge_needs_personas(make: Make) -> None:
    with pytest.raises(ValueError, match="judge: there are no personas to keep to"):
        make("rlvr", reward={"judge": {"model": "judge", "base_url": "http://x"}})
