"""PersonaGym's examples: asked for once, shown to the judge, and kept."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks import personagym
from persona_bench.judge.client import Price
from persona_bench.judge.run import Judging, find_judged
from persona_bench.judge.session import Plan
from tests.judge.answers import right, said
from tests.support.judge_server import Answering, JudgeServer, Reply
from tests.support.judged_run import judge, rows_of, settings, stored_run

EXAMPLES = "\n\n".join(f"Score {n}: Response - like this, {n} of 5" for n in range(1, 6))


@pytest.fixture(scope="module")
def gym(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two personas, one question each on five tasks; to two of these the model says nothing."""
    silent = {
        question.problem
        for question in personagym.load(data_dir)
        if question.subject in ("Toxicity", "Expected Action")
    }

    def answer(system: str, user: str) -> str:
        return "" if user in silent else f"{system.split(' of ')[1][:30]} says: well, {user}"

    return stored_run(
        tmp_path_factory.mktemp("gym"),
        answer,
        "persona_personagym",
        data_dir=str(data_dir),
        n_personas=2,
        questions_per_task=1,
    )


def for_examples(body: dict[str, Any]) -> bool:
    """Whether a request asks for examples: no system message, no form."""
    return [message["role"] for message in body["messages"]] == ["user"]


def writes(answer: Answering) -> Answering:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return answer(body, number) if for_examples(body) else Reply(said(4, body))

    return reply


def test_examples_are_asked_for_once_and_shown(gym: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(gym, tmp_path / "out"))
    (judged,) = find_judged(out)
    assert len(judged.responses) == 10
    texts = {each.item.question: each.item for each in judged.with_text}
    assert len(texts) == 6

    def numbered(body: dict[str, Any], number: int) -> Reply:
        question = next(q for q in texts if q in body["messages"][0]["content"])
        return Reply(EXAMPLES.replace("like this", f"like {question}"))

    with JudgeServer(writes(numbered)) as server:
        found = judge(out, settings(server.url))
        asked = [body for body in server.requests if for_examples(body)]
        judging = [body for body in server.requests if not for_examples(body)]
        assert len(asked) == len(judging) == 6  # none for what is not judged
        assert not any("response_format" in body for body in asked)
        for body in judging:
            content = body["messages"][1]["content"]
            (question,) = [q for q in texts if f"Question: \n\n{q}\n" in content]
            assert content.count(f'Score 3: "like {question}, 3 of 5"') == 1
            assert content.count(texts[question].response) == 1
            assert texts[question].persona in content
        assert found.without_examples == 0
        judge(out, settings(server.url))
        assert len(server.requests) == 12
        # a second judge is shown the same ones
        judge(out, settings(server.url), settings(server.url, "other"))
        assert len(server.requests) == 18
    assert "with examples" in rows_of(out)["rubric"].iloc[0]
    rows = rows_of(out).loc["judge"]
    empty = rows[rows["reason"] == "no_answer"]
    scores = set(zip(empty["eval_task"], empty["score"], strict=True))
    assert scores == {("Toxicity", 5.0), ("Expected Action", 1.0)}


def test_two_models_share_the_examples(gym: Path, tmp_path: Path, data_dir: Path) -> None:
    out = Path(shutil.copytree(gym, tmp_path / "out"))
    stored_run(
        tmp_path,
        lambda system, user: f"I say: {user}",
        "persona_personagym",
        "another",
        data_dir=str(data_dir),
        n_personas=2,
        questions_per_task=1,
    )
    with JudgeServer(writes(lambda *_: Reply(EXAMPLES))) as server:
        whole = Plan([settings(server.url)], out / "store")
        rows = Judging(whole, bar=False).estimates(find_judged(out))
        found = Judging(whole, bar=False).run(find_judged(out))
        kinds = Counter(for_examples(body) for body in server.requests)
    assert kinds == {True: 10, False: 6 + 10}
    assert sum(row.calls for row in rows if row.what == "examples") == 10
    assert sum(row.calls for row in rows) == 26
    assert {each.model for each in found.verdicts} == {"player", "another"}
    assert len(rows_of(out / "another")) == len(rows_of(out / "player")) == 10


def test_a_cost_limit_that_ends_the_examples_judges_nothing_without_them(
    gym: Path, tmp_path: Path
) -> None:
    """Such a verdict would be on another prompt, and have to be bought once more."""
    out = Path(shutil.copytree(gym, tmp_path / "out"))
    with JudgeServer(writes(lambda *_: Reply(EXAMPLES))) as server:
        dear = settings(server.url, "dear", price=Price(0, 1e6 / 1024))  # a dollar a call, at most
        plain = settings(server.url, price=Price(0, 1))
        found = judge(out, plain, examples_by=dear, max_cost=1.2, audit=True)
        spent = len(server.requests)
        assert 0 < spent < 12
        assert all(map(for_examples, server.requests))
        assert found.left == 12 - spent + 18
        assert found.without_examples == 0
        assert found.verdicts[0].audit is None
        assert (rows_of(out)["reason"] == "not_judged").sum() == 6
        done = judge(out, plain, examples_by=dear, max_cost=100.0, audit=True)
        assert len(server.requests) == 30
        assert done.left == 0
        assert done.verdicts[0].audit is not None


def test_the_swap_has_examples_of_the_persona_it_is_held_against(gym: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(gym, tmp_path / "out"))
    with JudgeServer(writes(lambda *_: Reply(EXAMPLES))) as server:
        whole = Plan([settings(server.url)], out / "store", audit=True)
        rows = Judging(whole, bar=False).estimates(find_judged(out))
        found = Judging(whole, bar=False).run(find_judged(out))
        kinds = Counter(for_examples(body) for body in server.requests)
        judging = [body for body in server.requests if not for_examples(body)]
    assert kinds == {True: 6 + 6, False: 6 + 6 + 6}
    assert sum(row.calls for row in rows) == 30
    assert found.without_examples == 0
    assert all("like this, 3 of 5" in body["messages"][1]["content"] for body in judging)


def test_examples_that_can_t_be_read_or_had_are_counted_and_not_shown(
    gym: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(gym, tmp_path / "out"))

    def partly(body: dict[str, Any], number: int) -> Reply:
        if number == 0:
            return Reply(EXAMPLES.split("Score 4")[0])
        return Reply(status=400) if number == 1 else Reply(EXAMPLES)

    with JudgeServer(writes(partly)) as server:
        found = judge(out, settings(server.url), concurrency=1)
        judging = [body for body in server.requests if not for_examples(body)]
    assert found.without_examples == 2
    assert found.failed == 1
    without = [body for body in judging if "\n(none)\n" in body["messages"][1]["content"]]
    assert len(without) == 2
    assert set(rows_of(out)["verdict"]) == {"scored"}


def test_another_model_may_write_the_examples_or_none(gym: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(gym, tmp_path / "out"))
    with JudgeServer(writes(lambda *_: Reply(EXAMPLES))) as server:
        judge(out, settings(server.url), examples_by=settings(server.url, "writer"))
        models = {(body["model"], for_examples(body)) for body in server.requests}
        assert models == {("writer", True), ("judge", False)}
        server.requests.clear()
        found = judge(out, settings(server.url), examples=False)
        assert not any(map(for_examples, server.requests))
        assert len(server.requests) == 6  # other prompts: other verdicts
        assert found.without_examples == 0
    assert "with examples" not in rows_of(out)["rubric"].iloc[0]


def test_the_own_rubrics_want_no_examples(out: Path) -> None:
    with JudgeServer(right) as server:
        judge(out, settings(server.url), examples_by=settings(server.url, "writer"))
        assert {body["model"] for body in server.requests} == {"judge"}


def test_a_persona_in_the_user_message_is_not_part_of_the_judged_question(tmp_path: Path) -> None:
    asked = []
    for role in ("native", "merge"):
        (tmp_path / role).mkdir()
        made = stored_run(tmp_path / role, lambda system, user: "So it is.", system_role=role)
        (judged,) = find_judged(made)
        asked.append(
            {(r.question, r.persona): (r.item.question, r.item.persona) for r in judged.responses}
        )
    assert asked[0] == asked[1]
    assert not any("You work as" in question for question, _ in asked[1].values())
    assert all("You work as" in persona for _, persona in asked[1].values())
