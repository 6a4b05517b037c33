"""LiveCodeBench as it really is, from a mirror, and in the official form of its files."""

from __future__ import annotations

import base64
import json
import pickle
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks.livecodebench import BENCHMARK, LiveCodeBench, Options, configured
from persona_bench.benchmarks.livecodebench_files import ERRATA, FILES, PUBLIC, RELEASES
from persona_bench.benchmarks.private_tests import TestsError, decode, unpickled_text
from persona_bench.benchmarks.sources import SourceError
from tests.support.sandbox import needs_sandbox

V1 = {"release": "v1"}


def fenced(program: str) -> str:
    return f"```python\n{program}\n```"


# ---------------------------------------------------------------------- the real questions


def test_the_400_questions_load_with_their_platforms_difficulties_and_dates(data_dir: Path) -> None:
    questions = configured(data_dir, {**V1, "include_errata": True}).load(None, 0)
    assert len({q.id for q in questions}) == len(questions) == 400
    assert Counter(q.subject for q in questions) == {
        "atcoder": 210,
        "leetcode": 181,
        "codeforces": 9,
    }
    assert Counter(q.level for q in questions) == {"easy": 142, "medium": 168, "hard": 90}
    assert Counter(q.extra["tests"] for q in questions) == {"public": 300, "extra": 100}
    assert min(q.extra["date"] for q in questions) == "2023-05-07"
    assert max(q.extra["date"] for q in questions) == "2024-03-02"


def test_tests_are_decoded_as_long_as_there_is_room_for_them(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = LiveCodeBench(data_dir, Options(release="v1", include_errata=True))
    first, second, third, fourth = [question.answer for question in benchmark.load()][:4]
    sizes = [benchmark.suite(reference).size for reference in (first, second, third)]
    benchmark = LiveCodeBench(data_dir, Options(release="v1", include_errata=True))
    monkeypatch.setattr(LiveCodeBench, "KEPT", sum(sizes) - 1)
    suite, dropped = benchmark.suite(first), benchmark.suite(second)
    assert benchmark.suite(first) is suite
    benchmark.suite(third)  # for which the one that was asked for longest ago goes
    assert benchmark.suite(first) is suite
    assert benchmark.suite(second) is not dropped
    monkeypatch.setattr(LiveCodeBench, "KEPT", 0)
    other = benchmark.suite(fourth)
    assert benchmark.suite(fourth) is other  # the last one stays however large it is
    again = benchmark.suite(first)
    assert again is not suite
    assert again == suite


@needs_sandbox
def test_the_programs_on_the_largest_tests_are_begun_first(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = LiveCodeBench(data_dir, Options(release="v1", include_errata=True))
    questions = benchmark.load()
    extra = [q.answer for q in questions if q.extra["tests"] == "extra"]
    public = [q.answer for q in questions if q.extra["tests"] == "public"]
    assert min(map(benchmark.size, extra)) > 2 * max(map(benchmark.size, public[:20]))
    assert benchmark.size("nobody's") == 0
    asked: list[str] = []
    read = benchmark.suite
    monkeypatch.setattr(
        benchmark, "suite", lambda reference: asked.append(reference) or read(reference)
    )
    monkeypatch.setattr("persona_bench.grading.code.processors", lambda: 1)
    references = [public[0], extra[0], public[1], extra[1]]
    program = fenced("print(0)")
    benchmark.grade([program] * 4, references, truncated=[False] * 4)
    assert asked == sorted(asked, key=benchmark.size, reverse=True)
    assert set(asked) == set(references)


def test_every_question_has_tests_and_a_prompt_of_its_form(data_dir: Path) -> None:
    benchmark = LiveCodeBench(data_dir, Options(release="v1", include_errata=True))
    forms: Counter[str] = Counter()
    for question in benchmark.load():
        suite = benchmark.suite(question.answer)
        assert suite.cases
        text = BENCHMARK.prompt(question.problem)
        assert question.problem in text
        assert len(question.answer) < 40  # in every document and sample: a name, not the tests
        form = "function" if suite.function else "stdin"
        forms[form] += 1
        assert (suite.function in text) if suite.function else ("from stdin" in text)
        assert ("starter code" in text) == (form == "function")
    assert forms == {"stdin": 219, "function": 181}


def test_errata_are_left_out_by_default_and_named(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    benchmark = configured(data_dir, V1)
    questions = benchmark.load(None, 0)
    assert len(questions) == 390
    assert benchmark.record
    record = benchmark.record([q.id for q in questions])
    assert record["limits"]["seconds"] == 6
    assert record["limits"]["total"] == 60
    assert len(record["errata_left_out"]) == 10
    assert "abc337_e" in record["errata_left_out"]
    assert "3194" in record["errata_left_out"]  # by its title
    assert "errata" in caplog.text
    listed = (data_dir / "livecodebench" / "ERRATA.md").read_text()
    assert all(name in listed for name in ERRATA)
    assert len(ERRATA) == len(re.findall(r"^\d+\. ", listed, re.MULTILINE))


def test_dates_and_difficulties_choose(data_dir: Path) -> None:
    hard = configured(data_dir, {**V1, "difficulty": ("hard",)}).load(None, 0)
    assert {q.level for q in hard} == {"hard"}
    late = configured(data_dir, {**V1, "start_date": "2024-01-01", "end_date": "2024-01-31"})
    dates = {q.extra["date"] for q in late.load(None, 0)}
    assert dates
    assert all("2024-01-01" <= day <= "2024-01-31" for day in dates)
    with pytest.raises(ValueError, match="widen start_date"):
        configured(data_dir, {**V1, "start_date": "2030-01-01"}).load(None, 0)


@pytest.mark.parametrize(
    ("knob", "value", "words"),
    [
        ("release", "v7", "use v1, v2"),
        ("start_date", "August", "not a day"),
        ("difficulty", "hardest", "use some of easy"),
        ("include_errata", "perhaps", "true or false"),
    ],
)
def test_impossible_knobs_are_refused(knob: str, value: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BENCHMARK.knobs[knob](value)


def test_results_on_other_tests_are_never_called_livecodebenchs_score(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    benchmark = configured(data_dir, V1)
    assert benchmark.record
    first = benchmark.load(None, 0)[0]
    assert benchmark.record([first.id])["tests"] == {"public": 1}
    assert "not its pass@1" in caplog.text


# One question of each site, solved by hand, and a program that is wrong in one respect.
SOLVED = {
    "1873_A": (
        "for _ in range(int(input())):\n"
        "    print('YES' if sum(a != b for a, b in zip(input().strip(), 'abc')) < 3 else 'NO')",
        "< 3",
        "< 2",
    ),
    "abc301_a": (
        "n, s = int(input()), input()\nt, a = s.count('T'), s.count('A')\n"
        "print('T' if t > a or t == a and s[-1] == 'A' else 'A')",
        "t > a",
        "t < a",
    ),
    "2727": (
        "class Solution:\n    def countSeniors(self, details):\n"
        "        return sum(int(d[11:13]) > 60 for d in details)",
        "> 60",
        "> 20",
    ),
}


@needs_sandbox
@pytest.mark.parametrize("question", SOLVED)
def test_a_right_and_a_wrong_program_on_each_platform(data_dir: Path, question: str) -> None:
    benchmark = configured(data_dir, V1)
    (gold,) = [q.answer for q in benchmark.load(None, 0) if q.id == question]
    program, right, wrong = SOLVED[question]
    assert right in program
    verdicts = benchmark.grade(
        [fenced(program), fenced(program.replace(right, wrong))],
        [gold, gold],
        truncated=[False, False],
    )
    assert [v[:2] for v in verdicts] == [("correct", ""), ("wrong", "wrong_answer")]


# ---------------------------------------------------------------------- the official files

CASES = [{"input": "2\n", "output": "4\n", "testtype": "stdin"}]
HIDDEN = [{"input": "3\n", "output": "9\n", "testtype": "stdin"}]


def packed(value: Any, protocol: int = 4) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "question_title": f"Square {number}",
        "question_content": "Print the square.",
        "platform": "atcoder",
        "question_id": f"abc{number}_a",
        "contest_id": f"abc{number}",
        "contest_date": "2024-08-03T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(CASES),
        "private_test_cases": packed(json.dumps(HIDDEN)),
        "metadata": "{}",
        **more,
    }


def mirror(folder: Path, *files: list[dict[str, Any]]) -> Path:
    (folder / "livecodebench").mkdir(exist_ok=True)
    for file, rows in zip(FILES, files, strict=False):
        (folder / file.mirror).write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


@needs_sandbox
def test_private_tests_count_and_releases_are_cumulative(tmp_path: Path) -> None:
    folder = mirror(tmp_path, [row(1)], [row(2, private_test_cases=json.dumps(HIDDEN))])
    assert [len(RELEASES[f"v{n}"]) for n in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert [q.id for q in configured(folder, V1).load(None, 0)] == ["abc1_a"]
    benchmark = configured(folder, {"release": "v2"})
    questions = benchmark.load(None, 0)
    assert [(q.id, q.extra["tests"]) for q in questions] == [
        ("abc1_a", "private"),
        ("abc2_a", "private"),
    ]
    passes_public = fenced("n = int(input())\nprint(n + 2)")
    right = fenced("n = int(input())\nprint(n * n)")
    golds = [q.answer for q in questions for _ in range(2)]
    verdicts = benchmark.grade([passes_public, right] * 2, golds, truncated=[False] * 4)
    assert [v.verdict for v in verdicts] == ["wrong", "correct"] * 2
    assert verdicts[0].answer.endswith("1 of 2 tests")


def test_other_tests_of_a_question_give_another_reference(tmp_path: Path) -> None:
    references = []
    for hidden in (HIDDEN, CASES):
        mirror(tmp_path, [row(1, private_test_cases=packed(json.dumps(hidden)))])
        references.append(LiveCodeBench(tmp_path, Options(release="v1")).load()[0].answer)
    assert references[0] != references[1]


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_strings_are_read_without_running_the_pickle(protocol: int) -> None:
    for text in ("[]", json.dumps(HIDDEN), json.dumps(["é\n" * 100_000])):
        assert unpickled_text(pickle.dumps(text, protocol)) == text


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("open('/tmp/persona-bench-evil', 'w')",)


@pytest.mark.parametrize("value", [Evil(), [1], ("a", "b"), {"a": "b"}, b"x", 7, None])
def test_a_pickle_of_anything_else_is_refused_and_not_run(value: Any) -> None:
    with pytest.raises(TestsError, match=r"opcode|strings"):
        decode(packed(value))
    assert not Path("/tmp/persona-bench-evil").exists()


def test_bombs_and_broken_tests_are_refused() -> None:
    with pytest.raises(TestsError, match="unpack to more than 1,000 bytes"):
        decode(packed("[" + "0," * 10_000 + "0]"), most=1000)
    for broken in ("", "not base64!", base64.b64encode(b"not zlib").decode(), packed("not json")):
        with pytest.raises(TestsError):
            decode(broken)
    with pytest.raises(TestsError, match="not a list"):
        decode('{"a": 1}')


def test_broken_files_are_refused_with_their_line(tmp_path: Path) -> None:
    for text, words in [
        ("not json\n", "test.jsonl:1: not JSON"),
        ('{"question_id": "x"}\n', "test.jsonl:1: the field 'question_title' is missing"),
        (f"{json.dumps(row(1))}\n" * 2, "stands twice"),
    ]:
        mirror(tmp_path, [])
        (tmp_path / FILES[0].mirror).write_text(text)
        with pytest.raises(SourceError, match=words):
            LiveCodeBench(tmp_path, Options(release="v1")).load()
    mirror(tmp_path, [row(1, private_test_cases="broken")])
    benchmark = LiveCodeBench(tmp_path, Options(release="v1"))
    with pytest.raises(SourceError, match="abc1_a can't be read"):
        benchmark.suite(benchmark.load()[0].answer)


def test_a_later_release_needs_its_files(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert (data_dir / PUBLIC).is_file()
    with pytest.raises(SourceError, match=r"livecodebench/test2\.jsonl"):
        LiveCodeBench(data_dir, Options(release="v2")).load()
