"""Programs graded by running them: real solutions, their mutants, and what scripts may do."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from persona_bench.benchmarks.livecodebench import LiveCodeBench, Options
from persona_bench.grading.code import (
    Case,
    Job,
    Suite,
    extract_program,
    grade,
    grade_all,
    matches,
    run_programs,
)
from persona_bench.grading.sandbox import Limits, RunningProgram
from tests.support.mutants import mutants
from tests.support.programs import DOUBLE, fenced
from tests.support.sandbox import needs_sandbox

# ---------------------------------------------------------------------- what is run


@pytest.mark.parametrize(
    ("response", "truncated", "reason"),
    [
        (f"<think>{fenced(DOUBLE)} or so", True, "truncated"),
        (f"<think>{fenced(DOUBLE)} or so", False, "no_code"),
        (f"<think>{fenced(DOUBLE)}</think>I can't say.", False, "no_code"),
        (f"<|channel|>analysis<|message|>{fenced(DOUBLE)}", True, "truncated"),
    ],
)
def test_a_draft_inside_reasoning_is_not_run(response: str, truncated: bool, reason: str) -> None:
    suite = Suite((Case("2\n", "4\n"),))
    assert grade(response, suite, truncated=truncated).reason == reason


# ---------------------------------------------------------------------- real programs


@pytest.fixture(scope="module")
def solved(data_dir: Path) -> tuple[LiveCodeBench, dict[str, str], list[dict[str, Any]]]:
    """The benchmark with all its questions, the reference of each, and the solutions at hand."""
    benchmark = LiveCodeBench(data_dir, Options(release="v1", include_errata=True))
    references = {question.id: question.answer for question in benchmark.load()}
    path = data_dir / "livecodebench" / "reference_solutions.jsonl"
    return benchmark, references, [json.loads(line) for line in path.read_text().splitlines()]


@needs_sandbox
def test_reference_solutions_pass_all_their_tests(solved: Any) -> None:
    benchmark, references, rows = solved
    responses = [fenced(row["solution"]) for row in rows]
    golds = [references[row["question_id"]] for row in rows]
    verdicts = benchmark.grade(responses, golds, truncated=[False] * len(rows))
    assert len(rows) == 61
    assert [v for v in verdicts if v.verdict != "correct"] == []
    for verdict, gold in zip(verdicts, golds, strict=True):
        count = len(benchmark.suite(gold).cases)
        assert count > 100  # the public tests and the extra ones
        assert verdict.answer.endswith(f"{count} of {count} tests")


SURVIVORS = {
    ("2856", "off by one"): "same: one more turn over an empty slice",
    ("2878", "off by one"): "same: zero was dealt with before",
    ("2892", "off by one"): "same: the last one was counted before",
    ("2893", "constant"): "same: a cell more, never the largest",
    ("2954", "operator"): "the tests: no window where the count of a newcomer matters",
    ("3034", "constant"): "same: a cell more, never used",
    ("3150", "constant"): "same: one more window, never shorter",
    ("3150", "off by one"): "same: one more turn over an empty window",
    ("3171", "off by one"): "the tests: the two sums are never equal",
    ("3174", "off by one"): "same: lengths are even and the step is two",
    ("3176", "constant"): "same: a cell more, never used",
    ("3176", "off by one"): "same: the first cell is never read",
    ("3192", "constant"): "the tests: no product reaches the modulus",
    ("3192", "operator"): "the tests: no product reaches the modulus",
    ("3203", "off by one"): "same: the other branch gives the same at the edge",
    ("3210", "off by one"): "same: one more turn over an empty window",
    ("3229", "off by one"): "same: one more palindrome beyond all inputs",
    ("3229", "operator"): "same: two palindromes less, beyond all inputs",
    ("3263", "off by one"): "same: the two smallest are equal there",
}
"""The mutants that pass all tests, by question and kind: 15 are the same function, 4 are not but no
test at hand tells them apart."""


@needs_sandbox
def test_mutants_of_the_solutions_are_wrong(solved: Any) -> None:
    benchmark, references, rows = solved
    made = [
        (row["question_id"], kind, mutant)
        for row in rows
        for kind, mutant in mutants(row["solution"])
    ]
    jobs = [Job(references[question], mutant) for question, _, mutant in made]
    outcomes = run_programs(jobs, benchmark.suite, limits=Limits(seconds=1))
    counts = Counter(outcome.verdict.verdict for outcome in outcomes)
    survived = {
        made[index][:2] for index, o in enumerate(outcomes) if o.verdict.verdict == "correct"
    }
    untouched = {row["question_id"] for row in rows} - {question for question, _, _ in made}
    assert untouched == {"2834", "2881"}  # without an operator, a range or an integer
    assert counts == {"wrong": 137, "correct": 19}
    assert survived == set(SURVIVORS)


# ---------------------------------------------------------------------- reading the response


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("```python\na\n```", "a"),
        ("```\nfirst\n```\nno, rather:\n```py\nsecond\n```\nArr!", "second"),
        ("    ```python\n    x\n    ```", "    x"),
        ("no code at all", ""),
        ("```python\nnever closed", ""),
        ("``` on one line ```", ""),
        ("```python\na\n```\nand ```then```", "and ```then```".replace("and ```then```", "")),
    ],
)
def test_the_program_is_the_last_fenced_block(response: str, program: str) -> None:
    assert extract_program(response) == program


@needs_sandbox
@pytest.mark.parametrize(
    ("response", "truncated", "verdict", "reason"),
    [
        (fenced("print(int(input()) * 2)"), False, "correct", ""),
        (fenced("print(int(input()) * 2)"), True, "correct", ""),  # cut off in its farewell
        (fenced("print(int(input()) * 3)"), True, "wrong", "wrong_answer"),
        ("```python\nprint(int(input()) * 2)", True, "wrong", "truncated"),
        (fenced("print(0)") + "\nRather:\n```python\nprint(", True, "wrong", "truncated"),
        ("Let me think about", True, "wrong", "truncated"),
        ("The answer is 42.", False, "wrong", "no_code"),
        ("```python\n\n```", False, "wrong", "no_code"),
        ("Arr, I'll not be doing yer sums!", False, "wrong", "refused"),
        (fenced("print(int(input()) * 2"), False, "wrong", "syntax"),
        (fenced("raise ValueError"), False, "wrong", "crash"),
        (fenced("while True: pass"), False, "wrong", "timeout"),
        (fenced("x = bytearray(10**10)"), False, "wrong", "memory"),
    ],
)
def test_verdicts_and_reasons(response: str, truncated: bool, verdict: str, reason: str) -> None:
    found = grade(response, DOUBLE, truncated=truncated, limits=Limits(seconds=0.5))
    assert found[:2] == (verdict, reason)


# ---------------------------------------------------------------------- comparing


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("\n 1 2 \n3  \n\n", "1 2\n3\n", True),
        ("1.0 2.50", "1 2.5", True),
        ("1e3", "1000", True),
        ("0.1", "0.10000000000000001", False),
        ("50000000000000001", "50000000000000000", False),
        ("1 2 3", "1\n2\n3", False),
        ("1\n\n2", "1\n2", False),
        ("yes", "Yes", False),
        ("a  b", "a b", False),
        ("NaN", "NaN", True),
        ("sNaN", "1", False),
        ("", "1", False),
        ("", "", True),
    ],
)
def test_output_of_scripts_is_compared_as_livecodebench_does(
    output: str, expected: str, same: bool
) -> None:
    assert matches(output.encode(), expected) == same


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        ("[1, 2]", "[1,2]", True),
        ("1.0", "1", True),
        ("true", "1", True),  # as Python compares
        ("[1, [2]]", "[1, [3]]", False),
        ("0.30000000000000004", "0.3", False),
        ("NaN", "NaN", False),
        ("null", "[]", False),
        ('"1"', "1", False),
        ("9" * 9000, "9" * 9000, True),
        ("9" * 9000, "9" * 8999 + "8", False),
        ("[" * 9000 + "]" * 9000, "1", False),
        ("not json", "1", False),
    ],
)
def test_values_of_functions_are_compared_as_plain_data(
    output: str, expected: str, same: bool
) -> None:
    assert matches(output.encode(), expected, "f") == same


@needs_sandbox
@pytest.mark.parametrize(
    ("value", "expected", "verdict"),
    [
        ("(1, 2)", "[1, 2]", "correct"),  # a tuple counts as a list
        ("[(1, 2)]", "[[1, 2]]", "wrong"),  # but not within one
        ("{1: 2}", '{"1": 2}', "wrong"),
        ("collections.Counter('aab')", '{"a": 2, "b": 1}', "correct"),
        ("{1, 2}", "[1, 2]", "wrong"),
        ("range(2)", "[0, 1]", "wrong"),
        ("None", "null", "correct"),
        ("10**5000", str(10**4000) + "0" * 1000, "correct"),
        ("__import__('numpy').int64(3)", "3", "correct"),
        ("[__import__('numpy').float64(0.5)]", "[0.5]", "correct"),
    ],
)
def test_values_that_functions_may_return(value: str, expected: str, verdict: str) -> None:
    if "**" in value:
        expected = "1" + "0" * 5000
    suite = Suite((Case("0", expected),), "f")
    assert grade(fenced(f"def f(_): return {value}"), suite).verdict == verdict


# ---------------------------------------------------------------------- running


DEEP = 20_000 if sys.version_info < (3, 12) or sys.version_info >= (3, 14) else 500
"""Calls through a function in C: Python 3.12 and 3.13 have a limit of their own for them."""
WAYS = {
    "input": "print(int(input()) * 2)",
    "sys.stdin": "import sys\nprint(int(sys.stdin.readline()) * 2)",
    "buffer": "import sys, os\nos.write(1, b'%d' % (2 * int(sys.stdin.buffer.read())))",
    "open(0)": "print(int(open(0).read()) * 2)",
    "/dev/stdin": "print(int(open('/dev/stdin').read()) * 2)",
    "stdin read twice": "import sys\nsys.stdin.read()\nsys.stdin.seek(0)\nprint(int(input()) * 2)",
    "its own stdout": "import sys\nold, sys.stdout = sys.stdout, open('/tmp/x', 'w')\n"
    "print('no')\nsys.stdout = old\nprint(int(input()) * 2)",
    "stdin of the prelude": "print(int(stdin.readline()) * 2)",
    "main guard": "def main(): print(int(input()) * 2)\nif __name__ == '__main__': main()",
    "exit": "print(int(input()) * 2)\nexit()",
    "exit with an error": "print(int(input()) * 2)\nimport sys\nsys.exit(1)",
    "os._exit": "import os\nprint(int(input()) * 2, flush=True)\nos._exit(0)",
    "global": "n = int(input())\ndef f():\n    global n\n    n *= 2\nf()\nprint(n)",
    "future": "from __future__ import annotations\nprint(int(input()) * 2)",
    "thread": "import threading\nthreading.stack_size(1 << 26)\n"
    "t = threading.Thread(target=lambda: print(int(input()) * 2))\nt.start()\nt.join()",
    "deep recursion": "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
    "print(int(input()) * 2 + f(9000) - 9000)",
    "deep recursion through a cache": "import sys\nfrom functools import lru_cache\n"
    "sys.setrecursionlimit(10**6)\n@lru_cache(None)\n"
    "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
    f"print(int(input()) * 2 + f({DEEP}) - {DEEP})",
    "sortedcontainers": "from sortedcontainers import SortedList\nn = int(input()) * 2\n"
    "print(SortedList([n + 9, n, n + 99])[0])",
    "numpy": "import numpy as np\nprint(np.array([int(input())]).sum() * 2)",
    "buffered until exit": "import atexit, io, sys\nout = sys.stdout\nsys.stdout = io.StringIO()\n"
    "atexit.register(lambda: out.write(sys.stdout.getvalue()))\nprint(int(input()) * 2)",
    "a star of the prelude": "print(reduce(mul, [int(input()), 2]))",
    "names as text": "print(eval('lcm(1, 2)') * int(input()))",
    "a stdout of its own": "import sys\nsys.stdout = open(1, 'w')\nprint(int(input()) * 2)",
    "a stdout around the other": "import io, sys\n"
    "sys.stdout = io.TextIOWrapper(sys.stdout.buffer)\n"
    "print(int(input()) * 2)",
    "stdout by its bytes": "import os, sys\nclass Out:\n    text = ''\n"
    "    def write(self, text): self.text += text\n"
    "    def flush(self): os.write(1, self.text.encode())\n"
    "sys.stdout = Out()\nprint(int(input()) * 2)",
    "stdout closed": "import sys\nprint(int(input()) * 2)\nsys.stdout.close()",
    "stdout detached": "import sys\nprint(int(input()) * 2)\nsys.stdout.detach()",
    "a thread that nobody waits for": "import threading, time\ndef main():\n    time.sleep(0.1)\n"
    "    print(int(input()) * 2)\nthreading.Thread(target=main).start()",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n    n: int\n"
    "print(A(int(input())).n * 2)",
    "file in /tmp": "open('/tmp/x', 'w').write(input())\nprint(int(open('/tmp/x').read()) * 2)",
}


@needs_sandbox
@pytest.mark.parametrize("way", WAYS)
def test_scripts_are_run_as_python_runs_them(way: str) -> None:
    assert grade(fenced(WAYS[way]), DOUBLE)[:2] == ("correct", "")


@needs_sandbox
def test_tests_stop_at_the_first_failure_unless_all_are_asked_for() -> None:
    job = Job("", "n = int(input())\nprint(n * 2 if n != 4 else 0)")
    (stopped,) = run_programs([job], lambda _: DOUBLE)
    (whole,) = run_programs([job], lambda _: DOUBLE, all_tests=True)
    assert stopped.passed == (True, False)
    assert whole.passed == (True, False, True)
    assert whole.verdict.answer.endswith("2 of 3 tests")


@needs_sandbox
def test_a_program_is_run_once_for_all_personas() -> None:
    asked = []

    def suite_of(reference: str) -> Suite:
        asked.append(reference)
        return DOUBLE

    right, other = fenced("print(int(input()) * 2)"), "Aye:\n```\nprint(int(input()) * 2)\n```"
    verdicts = grade_all(
        [right, other, right, fenced("print(1)"), "none"],
        ["a", "a", "b", "a", "a"],
        suite_of,
        truncated=[False] * 5,
    )
    assert [v.verdict for v in verdicts] == ["correct", "correct", "correct", "wrong", "wrong"]
    assert sorted(asked) == ["a", "a", "b"]


@needs_sandbox
def test_programs_on_large_tests_are_begun_first() -> None:
    asked: list[str] = []

    def suite_of(reference: str) -> Suite:
        asked.append(reference)
        return DOUBLE

    programs = {"small": "print(1)", "large": "print(int(input()) * 2)", "middle": "print(2)"}
    jobs = [Job(reference, program) for reference, program in programs.items()]
    sizes = {"small": 1, "large": 300, "middle": 20}
    outcomes = run_programs(jobs, suite_of, size_of=sizes.__getitem__, workers=1)
    assert asked == ["large", "middle", "small"]
    assert [outcome.verdict.verdict for outcome in outcomes] == ["wrong", "correct", "wrong"]


@needs_sandbox
def test_calls_stay_on_one_processor_until_one_takes_long() -> None:
    everywhere = len(os.sched_getaffinity(0))
    source = (
        "import os, time\ndef f(seconds):\n    end = time.time() + seconds\n"
        "    while time.time() < end: pass\n    return len(os.sched_getaffinity(0))"
    )
    suite = Suite((Case("0", "1"), Case("0.4", f"{everywhere}"), Case("0", f"{everywhere}")), "f")
    for _ in range(5):  # on a busy machine the first call may have taken long too
        (outcome,) = run_programs([Job("", source)], lambda _: suite, all_tests=True)
        assert outcome.passed[1:] == (True, True), [run.output for run in outcome.runs]
        if outcome.passed[0]:
            return
    pytest.fail("no call ran on one processor")


@needs_sandbox
def test_calls_share_a_process_as_in_the_runner() -> None:
    grows = "seen = []\ndef add(a, b):\n    seen.append(a)\n    return len(seen)"
    suite = Suite(tuple(Case("1\n2", f"{n}") for n in range(1, 5)), "add")
    (outcome,) = run_programs([Job("", grows)], lambda _: suite)
    assert outcome.verdict.verdict == "correct"


@needs_sandbox
def test_nobody_answers_a_question_twice() -> None:
    """A failed test is not tried again: who knew of it could give the other answer then."""
    suite = Suite(tuple(Case(str(n), json.dumps(n * n % 7 < 3)) for n in range(1, 13)), "f")
    for first, later in (("True", "False"), ("False", "True")):
        lines = ["n = 0", "def f(x):", "    global n", "    n += 1"]
        source = "\n".join([*lines, f"    return {first} if n == 1 else {later}"])
        (outcome,) = run_programs([Job("", source)], lambda _: suite)
        assert outcome.verdict[:2] == ("wrong", "wrong_answer")


@needs_sandbox
@pytest.mark.parametrize("kind", ["one line", "lines", "json"])
def test_much_wrong_output_is_soon_told(kind: str) -> None:
    text = {"one line": b"1 ", "lines": b"1\n", "json": b"{},"}[kind] * (8 << 20)
    before = time.process_time()
    assert not matches(text, "5", "f" if kind == "json" else "")
    assert time.process_time() - before < 1


BUSY = """
import time
def f(x):
    end = time.{clock}() + 0.1
    while time.{clock}() < end: {what}
"""
SPENDING = {
    "processor time of a script": (BUSY + "f(0)\nprint(input())", "process_time", "pass", ""),
    "processor time of calls": (BUSY + "    return x", "process_time", "pass", "f"),
    "sleeping": (BUSY + "    return x", "monotonic", "time.sleep(0.05)", "f"),
}


def stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only processor time counts against the total: on a busy machine the clock runs out first."""
    monkeypatch.setattr(
        RunningProgram, "elapsed", property(lambda _: 0.0, lambda *_: None), raising=False
    )


@needs_sandbox
@pytest.mark.parametrize("kind", SPENDING)
def test_a_program_has_a_time_for_all_its_tests(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, clock, what, function = SPENDING[kind]
    if clock == "process_time":
        stop_the_clock(monkeypatch)
    job = Job("", source.format(clock=clock, what=what))
    suite = Suite((Case("1", "1"),) * 20, function)
    total = 0.25 if clock == "process_time" else 0.125  # by the clock it has twice as long
    (outcome,) = run_programs(
        [job], lambda _: suite, limits=Limits(seconds=2, total=total), all_tests=True
    )
    assert outcome.verdict[:2] == ("wrong", "timeout")
    assert outcome.passed[0]
    assert len(outcome.runs) <= 3
    (outcome,) = run_programs([job], lambda _: Suite(suite.cases[:3], function))
    assert outcome.verdict.verdict == "correct"


@needs_sandbox
def test_a_process_that_ends_gives_no_new_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all tests asked for, a function that ends its process gets another one."""
    stop_the_clock(monkeypatch)
    source = BUSY.format(clock="process_time", what="pass") + "    __import__('os')._exit(0)"
    suite = Suite((Case("1", "1"),) * 20, "f")
    (outcome,) = run_programs(
        [Job("", source)], lambda _: suite, limits=Limits(seconds=2, total=0.25), all_tests=True
    )
    assert [run.status for run in outcome.runs] == ["crash", "crash", "timeout"]


@needs_sandbox
def test_scripts_share_nothing_but_their_folder() -> None:
    program = "import builtins\nprint(getattr(builtins, 'x', int(input()) * 2))\nbuiltins.x = 0"
    assert grade(fenced(program), DOUBLE).verdict == "correct"


@needs_sandbox
def test_large_inputs_and_outputs() -> None:
    text = "12345678 " * 1_000_000
    suite = Suite((Case(text, text),))
    assert grade(fenced("print(input())"), suite).verdict == "correct"


@needs_sandbox
def test_tests_that_cannot_be_read_are_the_instrument_s_failure() -> None:
    def broken(_: str) -> Suite:
        raise ValueError("can't be decoded")

    (verdict,) = grade_all([fenced("print(1)")], ["x"], broken, truncated=[False])
    assert verdict[:2] == ("unscored", "grader_error")
