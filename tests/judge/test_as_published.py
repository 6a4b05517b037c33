"""PersonaGym's published protocol: what its judges are sent, and the number that it gives."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from persona_bench.judge.as_published import read_evaluations
from persona_bench.judge.run import find_judged
from persona_bench.results.judged import judge_files
from persona_bench.results.samples import newest_samples
from persona_bench.scoring.as_published import as_published
from tests.support.command import Command, sentence
from tests.support.judge_server import JudgeServer, Reply
from tests.support.judged_run import form_of, stored_run

TASKS = ("Expected Action", "Toxicity")
PER_TASK = 7  # a batch of five and one of two
FIRST, SECOND = "first-judge", "second-judge"


def says(*endings: str) -> str:
    """An answer in the form that the protocol asks for."""
    return "\n".join(f"({n}) Evaluation: It fits. {end}" for n, end in enumerate(endings, 1))


def final(*scores: int) -> str:
    return says(*(f"Therefore, the final score is {score}." for score in scores))


FAULTY = says(
    "Therefore, the final score is 4.",
    "Therefore, the final score is **5**.",
    "therefore, the final score is 2.",
    "Therefore, the final score is 3.5",
    "Therefore, the final score is\n10",
)
"""Read as 4, 0, 0, 3 and 10: a mean of 17/3 over the three that are not 0."""

ANSWERS = {
    # persona, task, responses of the batch: the first judge's answer and the second's
    (0, "Expected Action", 5): (FAULTY, "Score: 5. All five are in character."),  # 17/3 and 0
    (0, "Expected Action", 2): (final(4, 5), final(3, 3)),  # 4.5 and 3
    (0, "Toxicity", 5): (final(5, 5, 5, 5, 5), final(5, 5, 5, 5, 0)),  # 5 and 5
    (0, "Toxicity", 2): (final(5, 4, 3), final(5)),  # 4, as three are read, and 5
    (1, "Expected Action", 5): (final(1, 2, 3, 4, 5), final(1, 1, 1, 1, 1)),  # 3 and 1
    (1, "Expected Action", 2): (final(2, 2), None),  # 2; the second judge's call fails: 0
    (1, "Toxicity", 5): (final(5, 5, 5, 5, 5), final(4, 4, 4, 4, 4)),  # 5 and 4
    (1, "Toxicity", 2): (final(0, 0), final(3, 4)),  # 0 and 3.5
}
# Expected Action of persona 0: ((17/3 + 0)/2 + (4.5 + 3)/2)/2 = (17/6 + 15/4)/2 = 79/24
# Expected Action of persona 1: ((3 + 1)/2 + (2 + 0)/2)/2 = 1.5
# Toxicity of persona 0: ((5 + 5)/2 + (4 + 5)/2)/2 = 4.75; of persona 1: (4.5 + 1.75)/2 = 3.125
EXPECTED = {"Expected Action": (79 / 24 + 1.5) / 2, "Toxicity": (4.75 + 3.125) / 2}
PERSONA_SCORE = sum(EXPECTED.values()) / 2


@pytest.fixture(scope="module")
def gym(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two personas, seven questions each on two tasks; one request of the model's fails."""
    asked: list[str] = []

    def answer(system: str, user: str) -> Any:
        asked.append(user)
        if min(asked) == user and len(asked) == 1:
            return 400, {}
        return f"It's \"me\", isn't it?\nWell: {user[:20]}"

    return stored_run(
        tmp_path_factory.mktemp("gym"),
        answer,
        "persona_personagym",
        data_dir=str(data_dir),
        n_personas=2,
        eval_tasks=",".join(TASKS),
        questions_per_task=PER_TASK,
    )


@pytest.fixture
def out(gym: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(gym, tmp_path / "out"))


def by_protocol(body: dict[str, Any]) -> bool:
    return "Therefore" in body["messages"][-1]["content"] and "(5) Evaluation:" in str(body)


class Judges:
    """Both judges: they answer the protocol's calls as `ANSWERS` has it, and all others with 4."""

    def __init__(self, out: Path) -> None:
        (self.judged,) = find_judged(out)
        self.personas = sorted({each.item.persona for each in self.judged.responses})

    def place(self, body: dict[str, Any]) -> tuple[int, str, int]:
        text = body["messages"][-1]["content"]
        (who,) = [n for n, name in enumerate(self.personas) if repr(name)[1:-1] in text]
        (task,) = [name for name in TASKS if rf"Evaluation Task:\n\n{name}" in text]
        return who, task, text.count("Evaluation Form:")

    def __call__(self, body: dict[str, Any], _: int) -> Reply:
        if by_protocol(body):
            answer = ANSWERS[self.place(body)][body["model"] == SECOND]
            return Reply(status=500) if answer is None else Reply(answer)
        if len(body["messages"]) == 1:
            return Reply("no examples")
        assert form_of(body) == "json"
        return Reply('{"justification": "So it is.", "score": 4}')


def settings_file(folder: Path, url: str, **more: Any) -> Path:
    file = folder / "published.yaml"
    told = {"models": [FIRST, SECOND], "base_url": {FIRST: url, SECOND: url}, "as_published": True}
    file.write_text(json.dumps({**told, **more}))
    return file


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between the tries of a call that fails."""
    monkeypatch.setattr("persona_bench.judge.client.Trial.wait", lambda *_: None)


def test_the_published_number_is_the_one_computed_by_hand(
    out: Path, tmp_path: Path, persona_bench: Command, data_dir: Path
) -> None:
    judges = Judges(out)
    with JudgeServer(judges, models=(FIRST, SECOND)) as server:
        call = ("judge", out, "--judge", settings_file(tmp_path, server.url))
        dry = persona_bench(*call, "--dry-run")
        assert dry.out.count("as published") == 2
        ran = persona_bench(*call)
        assert ran.code == 0, ran.err
        asked = [body for body in server.requests if by_protocol(body)]
        before = len(server.requests)
        again = persona_bench(*call)
        assert len(server.requests) == before + 1  # what failed is asked for again
    scored = json.loads((out / "scores" / "persona_personagym_fidelity.json").read_text())
    found = scored["as_published"]
    assert {row["eval_task"]: row["score"] for row in found["task_scores"]} == pytest.approx(
        EXPECTED
    )
    assert found["persona_score"]["value"] == pytest.approx(PERSONA_SCORE)
    assert found["judges"] == [FIRST, SECOND]
    counts = ("unread", "out_of_range", "empty_batches", "failed_calls", "failed_responses")
    assert [found[name] for name in counts] == [5, 1, 3, 1, 1]
    # the corrected score stands beside it, and does without the failed response
    assert scored["persona_score"]["value"] == 4
    assert scored["unscored_responses"] == 1
    said = f"PersonaScore as published (PersonaGym's protocol with its faults; judges {FIRST}, and"
    for each in (ran, again):
        assert f"{said} {SECOND} without the system message): {PERSONA_SCORE:.2f} [" in each.out
        assert re.search("averaged as PersonaGym +as published", each.out)
    page = unescape((out / "scores" / "index.html").read_text())
    assert said in page
    assert "As published: by PersonaGym's protocol" in page

    prompts = data_dir / "personagym" / "prompts" / "rubric_grading"
    assert len(asked) == 2 * len(ANSWERS)
    for body in asked:
        roles = [message["role"] for message in body["messages"]]
        assert (body["temperature"], body["top_p"]) == (0, 0)
        if body["model"] == SECOND:
            assert roles == ["user"]
            assert "max_tokens" not in body
        else:
            assert roles == ["system", "user"]
            assert body["messages"][0]["content"] == (prompts / "sys_prompt.txt").read_text()
            assert body["max_tokens"] == 3000
        who, task, n = judges.place(body)
        rubric = (data_dir / "personagym" / "rubrics" / f"{task}.txt").read_text()
        group = [
            each
            for each in judges.judged.responses
            if (each.item.persona, each.item.eval_task) == (judges.personas[who], task)
        ]
        filled = [
            rubric.format(
                persona=each.item.persona,
                question=each.item.question,
                response="Error" if each.missing else each.item.response,
                score_example=letter,
            )
            for each, letter in zip(group[:5] if n == 5 else group[5:], "Score", strict=False)
        ]
        outline = (prompts / "prompt.txt").read_text()
        assert body["messages"][-1]["content"] == outline.format(rubrics=filled)
    assert sum("Error" in json.dumps(body) for body in asked) == 2


def test_it_stays_when_the_judges_are_asked_again_and_two_models_are_compared(
    out: Path, tmp_path: Path, persona_bench: Command
) -> None:
    with JudgeServer(Judges(out), models=(FIRST, SECOND)) as server:
        persona_bench("judge", out, "--judge", settings_file(tmp_path, server.url))
        other = shutil.copytree(out, tmp_path / "other")
        file = settings_file(tmp_path, server.url, as_published=False)
        ran = persona_bench("judge", out, "--judge", file)
    assert f"without the system message): {PERSONA_SCORE:.2f} [" in ran.out
    ran = persona_bench("compare", f"a={out}", f"b={other}")
    both = f"a {PERSONA_SCORE:.2f}, b {PERSONA_SCORE:.2f}, b - a +0.00 [0.00, 0.00]"
    assert f"PersonaScore as published: {both}" in ran.out


def test_what_the_protocol_cannot_be_asked_for_is_said(
    out: Path, tmp_path: Path, persona_bench: Command
) -> None:
    url = "http://127.0.0.1:9/v1"
    one = settings_file(tmp_path, url, models=[FIRST], base_url=url)
    assert "as_published takes two judges, as PersonaGym does, but models names 1" in sentence(
        persona_bench("judge", out, "--judge", one)
    )
    unknown = settings_file(tmp_path, url, base_url={FIRST: url, "third": url})
    assert "base_url names 'third', which is not among the models" in sentence(
        persona_bench("judge", out, "--judge", unknown)
    )
    (tmp_path / "roles").mkdir()
    roles = stored_run(tmp_path / "roles")
    both = settings_file(tmp_path, url)
    assert "as_published is for responses to persona_personagym, and there are none" in sentence(
        persona_bench("judge", roles, "--judge", both)
    )


def test_without_its_pair_a_judge_gives_no_published_score(
    out: Path, tmp_path: Path, persona_bench: Command
) -> None:
    with JudgeServer(Judges(out), models=(FIRST, SECOND)) as server:
        file = settings_file(tmp_path, server.url, gen_kwargs={"max_tokens": 50})
        persona_bench("judge", out, "--judge", file)
        assert {body.get("max_tokens") for body in server.requests} == {50}  # what a file says wins
    record = judge_files(newest_samples(out, judged=True)[0])[0].as_published
    assert record["judges"] == [FIRST, SECOND]
    assert as_published([record]) is None
    assert as_published([{}, record]) is None


def test_a_judge_that_always_declines_counts_0_and_has_no_shares(
    out: Path, tmp_path: Path, persona_bench: Command
) -> None:
    judges = Judges(out)

    def declines(body: dict[str, Any], number: int) -> Reply:
        declined = Reply("I can't assist with that.")
        return declined if body["model"] == SECOND else judges(body, number)

    with JudgeServer(declines, models=(FIRST, SECOND)) as server:
        ran = persona_bench("judge", out, "--judge", settings_file(tmp_path, server.url))
    assert ran.code == 0, ran.err
    assert "nan" not in ran.out
    assert re.search(r"second-judge +n/a +0 +28 +n/a", ran.out)
    assert '1 failed request judged as "Error"' in " ".join(ran.out.split())
    scored = json.loads((out / "scores" / "persona_personagym_fidelity.json").read_text())
    assert scored["as_published"]["empty_batches"] >= 8


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        ("", []),
        ("Error", []),
        ("Therefore, the final score is 4.", []),
        (
            "(1) Evaluation: Therefore, the final score is 4, or\nTherefore, the final score is 2.",
            [4],
        ),
        ("(1) evaluation: Therefore, the final score is 4.", []),
        ("**(3) Evaluation:** Therefore, the final score is: 4", [0]),
        (final(1, 2, 3, 4, 5, 6), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_an_answer_is_read_as_the_released_code_reads_it(answer: str, scores: list[int]) -> None:
    assert read_evaluations(answer) == scores
