"""Training questions: apart from the evaluation's, with solutions that their own grader accepts."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from persona_bench.benchmarks import arithmetic, math500
from persona_bench.benchmarks.base import Benchmark, Question
from persona_bench.benchmarks.sources import HubFile, SourceError
from persona_bench.train.config import Data, TrainError
from persona_bench.train.data import overlaps
from persona_bench.train.sources import MATH_SUBJECTS, training_source

pytestmark = pytest.mark.timeout(120)


def source(name: str | Path, seed: int = 0, **settings: Any) -> tuple[Benchmark, list[Question]]:
    data = Data(source=str(name), **settings)
    benchmark, questions, _ = training_source(str(name), data, seed, data.data_dir)
    return benchmark, questions


def learnt(name: str | Path, seed: int = 0, **settings: Any) -> list[Question]:
    return source(name, seed, **settings)[1]


def texts(questions: Iterable[Question]) -> set[str]:
    return {question.problem for question in questions}


def not_correct(benchmark: Benchmark, questions: Sequence[Question]) -> list[tuple[str, Any]]:
    """The questions whose solution their own grader does not accept."""
    verdicts = benchmark.grade(
        [question.extra["solution"] for question in questions],
        [question.answer for question in questions],
        truncated=[False] * len(questions),
    )
    return [
        (question.id, verdict)
        for question, verdict in zip(questions, verdicts, strict=True)
        if verdict.verdict != "correct"
    ]


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# ---------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("seed", [0, 1])
def test_no_sum_of_the_evaluation_is_trained_on(seed: int) -> None:
    trained = learnt("arithmetic", seed, n_questions=800)
    assert not texts(trained) & texts(arithmetic.load(None, 0))
    for level in arithmetic.LEVELS:
        most = arithmetic.MOST.get(level, arithmetic.MOST_OF_OTHERS)
        assert not texts(trained) & texts(arithmetic.load(None, 0, most, (level,)))
    assert len(texts(trained)) == len({question.id for question in trained}) == 800
    assert {question.level for question in trained} == set(arithmetic.LEVELS)


def test_levels_and_number_of_sums_are_as_asked() -> None:
    chosen = learnt("arithmetic", levels=["2", "3"], n_questions=100)
    counts = Counter(question.level for question in chosen)
    assert set(counts) == {"2", "3"}
    assert len(chosen) == 100
    assert abs(counts["2"] - 50) <= 5  # not quite even: the evaluation's are left out before
    assert not texts(chosen) & texts(arithmetic.load(None, 0, 300, ("2", "3")))
    assert len(learnt("arithmetic", n_questions=7)) == 7


@pytest.mark.parametrize("level", list(arithmetic.LEVELS))
def test_each_level_can_be_trained_on_alone(level: str) -> None:
    chosen = learnt("arithmetic", levels=[level], n_questions=30)
    assert Counter(question.level for question in chosen) == {level: 30}


@pytest.mark.parametrize("levels", [None, ["2"]])
def test_arithmetic_has_a_thousand_questions_by_default(levels: list[str] | None) -> None:
    assert len(learnt("arithmetic", levels=levels)) == 1000


def test_a_seed_gives_the_same_sums_and_another_seed_others() -> None:
    settings = {"levels": ["3", "5"], "n_questions": 200}
    assert learnt("arithmetic", 5, **settings) == learnt("arithmetic", 5, **settings)
    one, other = (texts(learnt("arithmetic", seed, **settings)) for seed in (5, 6))
    assert len(one & other) < 20


def test_more_one_digit_sums_than_there_are_are_refused() -> None:
    with pytest.raises(
        TrainError, match=r"^data.n_questions: 200 are wanted, but arithmetic has"
    ) as caught:
        learnt("arithmetic", levels=["1"], n_questions=200)
    told = str(caught.value)
    assert "\n" not in told
    there_are = re.search(r"has only (\d+) questions of level 1 that no evaluation asks", told)
    assert there_are
    # 81 sums and 45 differences, less the 40 of the evaluation
    assert 40 < int(there_are[1]) <= 86
    assert len(learnt("arithmetic", levels=["1"], n_questions=int(there_are[1]))) == int(
        there_are[1]
    )


def test_a_solution_of_a_sum_ends_in_the_answer_and_is_correct() -> None:
    benchmark, questions = source("arithmetic", n_questions=300)
    assert benchmark is arithmetic.BENCHMARK
    for question in questions:
        assert question.extra["solution"].endswith(f"$\\boxed{{{question.answer}}}$.")
    assert not_correct(benchmark, questions) == []


# ---------------------------------------------------------------------- gsm8k and math


def test_gsm8k_is_whole_and_its_solutions_are_correct(data_dir: Path) -> None:
    benchmark, questions = source("gsm8k", data_dir=data_dir)
    assert len(questions) == len(texts(questions)) == 7473
    assert len({question.id for question in questions}) == 7473
    for question in questions:
        assert re.fullmatch(r"-?\d+(\.\d+)?", question.answer), question.id
        solution = question.extra["solution"]
        assert "<<" not in solution
        assert "####" not in solution
        assert solution.endswith(f"$\\boxed{{{question.answer}}}$.")
    assert not_correct(benchmark, random.Random(0).sample(questions, 200)) == []
    assert benchmark.prompt("What is love?") == math500.prompt("What is love?")
    wrong = benchmark.grade(["\\boxed{2}"], ["1"], truncated=[False])
    assert [verdict.verdict for verdict in wrong] == ["wrong"]


def test_math_is_whole_and_its_solutions_are_correct(data_dir: Path) -> None:
    benchmark, questions = source("math", data_dir=data_dir)
    assert len(questions) == 7498  # two of the 7,500 have no answer
    assert len({question.id for question in questions}) == 7498
    assert {question.level for question in questions} == {"1", "2", "3", "4", "5", "?"}
    assert len({question.subject for question in questions}) == 7
    assert all(question.answer for question in questions)
    assert not_correct(benchmark, random.Random(0).sample(questions, 200)) == []


def test_questions_are_drawn_evenly_over_the_levels_asked_for(data_dir: Path) -> None:
    chosen = learnt("math", data_dir=data_dir, levels=[1, 5], n_questions=287)
    # a tenth of the 564 and the 2,304 there are
    counts = Counter(question.level for question in chosen)
    assert set(counts) == {"1", "5"}
    assert abs(counts["1"] - 56) <= 1
    again = learnt("math", data_dir=data_dir, levels=[1, 5], n_questions=287)
    other = learnt("math", 1, data_dir=data_dir, levels=[1, 5], n_questions=287)
    assert chosen == again
    assert texts(chosen) != texts(other)


def test_gsm8ks_answers_lose_their_commas_and_its_solutions_their_sums(tmp_path: Path) -> None:
    worked = "She has 2*600=<<2*600=1200>>1,200 and 34.\n#### 1,234"
    jsonl(tmp_path / "gsm8k" / "train.jsonl", [{"question": "How many?", "answer": worked}])
    benchmark, (question,) = source("gsm8k", data_dir=tmp_path)
    assert (question.id, question.answer) == ("gsm8k/0", "1234")
    assert question.extra["solution"] == (
        "She has 2*600=1,200 and 34.\nThe answer is $\\boxed{1234}$."
    )
    assert not_correct(benchmark, [question]) == []


HUB = {"problem": "Which?", "level": "Level 3", "type": "Algebra"}
"""A row as the hub's copy of the MATH split has it: its answer stands in the solution alone."""


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("So it is $\\boxed{7}$.", "7"),
        (
            "First $\\boxed{3}$, then $x = \\boxed{\\frac{1}{\\sqrt{2}}}$, as {this} shows.",
            "\\frac{1}{\\sqrt{2}}",
        ),
        ("$\\boxed{\\{1, 2\\}}$", "\\{1, 2\\}"),
        ("$\\boxed{ \\text{(A)} }$", "\\text{(A)}"),
    ],
)
def test_a_math_row_without_an_answer_gets_it_from_the_last_box(
    tmp_path: Path, solution: str, answer: str
) -> None:
    rows = [
        {**HUB, "solution": "There is $\\boxed{}$."},
        {**HUB, "solution": "There is none."},
        {**HUB, "solution": "It ends in $\\boxed{\\frac{1}{2}"},
        {**HUB, "solution": solution},
    ]
    jsonl(tmp_path / "math_train" / "math_train_7500.jsonl", rows)
    benchmark, (question,) = source("math", data_dir=tmp_path)
    assert question.answer == answer
    assert (question.level, question.subject) == ("3", "Algebra")
    assert question.extra["solution"] == solution
    assert not_correct(benchmark, [question]) == []


def test_the_seven_files_of_the_hub_are_one_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locate(file: HubFile, data_dir: Path | None = None) -> Path:
        return tmp_path / file.filename

    monkeypatch.setattr(HubFile, "locate", locate)
    for subject in MATH_SUBJECTS:
        rows = [{**HUB, "problem": f"{subject} {i}?", "solution": "$\\boxed{1}$"} for i in (0, 1)]
        jsonl(tmp_path / subject / "train-00000-of-00001.parquet", rows)  # read by its content
    questions = learnt("math")
    assert len(questions) == len({question.id for question in questions}) == 14
    assert texts(questions) == {f"{subject} {i}?" for subject in MATH_SUBJECTS for i in (0, 1)}


@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_a_file_that_cannot_be_had_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import huggingface_hub

    def unreachable(*arguments: Any, **more: Any) -> str:
        raise OSError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(SourceError, match="can't be had from the hub") as caught:
        source(name, data_dir=tmp_path)
    assert str(tmp_path / name) in str(caught.value)


# ---------------------------------------------------------------------- a file of one's own


def test_a_file_of_ones_own_is_read_with_what_it_has(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "own.jsonl",
        [
            {"question": "1 + 1?", "answer": 2},
            {"question": "Half?", "answer": "\\frac{1}{2}", "id": "half", "level": 3},
            {"question": "2 + 2?", "answer": "4", "solution": "Count: $\\boxed{4}$", "level": "1"},
        ],
    )
    benchmark, questions = source(path)
    assert [(q.id, q.problem, q.answer, q.level) for q in questions] == [
        ("0", "1 + 1?", "2", ""),
        ("half", "Half?", "\\frac{1}{2}", "3"),
        ("2", "2 + 2?", "4", "1"),
    ]
    assert [question.extra["solution"] for question in questions] == [
        "The answer is $\\boxed{2}$.",
        "The answer is $\\boxed{\\frac{1}{2}}$.",
        "Count: $\\boxed{4}$",
    ]
    assert not_correct(benchmark, questions) == []
    assert (benchmark.name, benchmark.load(None, 0)) == ("own", questions)
    assert texts(learnt(path, levels=[3])) == {"Half?"}


@pytest.mark.parametrize(
    ("rows", "settings", "words"),
    [
        ([{"id": "a"}, {"id": "a"}], {}, "an id stands twice"),
        ([{"id": "1"}, {}], {}, "an id stands twice"),  # the second one's place is 1
        ([{}, {}], {"n_questions": 3}, "data: n_questions=3, but there are 2 questions"),
        ([{}], {"levels": ["3"]}, "has no level '3': its questions have none"),
        (
            [{"level": 2}, {"level": 1}],
            {"levels": ["1", "3"]},
            "has no level '3': it has 1, 2",
        ),
    ],
)
def test_a_wrong_row_of_a_users_file_is_named(
    tmp_path: Path, rows: list[dict[str, Any]], settings: dict[str, Any], words: str
) -> None:
    path = jsonl(tmp_path / "own.jsonl", [{"question": "?", "answer": "1", **row} for row in rows])
    with pytest.raises(TrainError) as caught:
        source(path, **settings)
    assert words in str(caught.value)


def test_a_file_that_is_none_or_lacks_a_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"data\.source: there is no file"):
        source(tmp_path / "absent.jsonl")
    path = jsonl(tmp_path / "own.jsonl", [{"question": "?", "answer": "1"}, {"question": "?"}])
    with pytest.raises(TrainError, match=r"own\.jsonl:2: a row has question and answer"):
        source(path)


@pytest.mark.parametrize("name", ["question", "answer", "solution"])
def test_half_of_a_surrogate_pair_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    rows = [{"question": f"{n} 😀?", "answer": "1", "solution": "1"} for n in range(2)]
    path = jsonl(tmp_path / "own.jsonl", rows)
    assert [question.problem for question in learnt(path)] == ["0 😀?", "1 😀?"]
    rows[1][name] = "half \ud83d"
    path = jsonl(tmp_path / "own.jsonl", rows)
    with pytest.raises(TrainError, match=r"own\.jsonl:2: half of a surrogate pair"):
        source(path)


def test_a_null_is_as_good_as_nothing(tmp_path: Path) -> None:
    row = {"question": "?", "answer": "1", "id": None, "level": None, "solution": None}
    questions = learnt(jsonl(tmp_path / "own.jsonl", [row, row]))
    assert [(question.id, question.level) for question in questions] == [("0", ""), ("1", "")]


# ---------------------------------------------------------------------- what there is not


def test_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TrainError, match=r"there is no 'gsm9k': use arithmetic, gsm8k, math, hub"):
        source("gsm9k")


def test_a_level_that_does_not_exist_is_refused(data_dir: Path) -> None:
    with pytest.raises(TrainError, match=r"arithmetic has no level '6': it has 1, 2, 3, 4, 5$"):
        source("arithmetic", levels=["2", "6"])
    with pytest.raises(TrainError, match=r"math has no level '6': it has 1, 2, 3, 4, 5, \?$"):
        source("math", data_dir=data_dir, levels=["6"])
    with pytest.raises(TrainError, match="gsm8k has no level '1': its questions have none"):
        source("gsm8k", data_dir=data_dir, levels=["1"])


def test_no_level_at_all_is_not_trained_on_in_silence() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Data(source="arithmetic", levels=[])


@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_no_training_split_shares_a_text_with_an_evaluation(name: str, data_dir: Path) -> None:
    settings = Data(source=name, data_dir=data_dir)
    found, notes = overlaps(learnt(name, data_dir=data_dir), settings, name)
    assert found == {}
    assert notes == []  # all three evaluations were there to be checked
    evaluated = math500.load(data_dir)[:2]
    assert len(overlaps(evaluated, settings, name)[0]) == 2  # the check would find one
