r"""Grading of programs: by running them on their tests, in sandboxes.

    >>> suite = Suite((Case("21\n", "42\n"),))
    >>> grade("Arr!\n```python\nprint(int(input()) * 2)\n```", suite).verdict
    'correct'

The program is the last fenced block, as LiveCodeBench reads it. It never meets an expected value:
it gets inputs, one at a time, and what comes back is compared here (`matches`), by LiveCodeBench's
rules: its `testing_util.py` at commit 28fef95. What differs from it is listed in
docs/livecodebench.md.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, NamedTuple

from persona_bench.grading import processors
from persona_bench.grading.reasoning import final_part
from persona_bench.grading.refusal import is_refusal
from persona_bench.grading.sandbox import (
    Limits,
    NoSandbox,
    Run,
    RunningProgram,
    SandboxError,
    Slot,
    Status,
    close_all,
    isolation,
)
from persona_bench.grading.verdict import Verdict

log = logging.getLogger("persona_bench")

GRADER = "code 4"
"""Name and version; the number rises when a response may get another verdict than before."""

LIMITS = Limits()
FENCE = "```"
BATCH = 128
"""Calls of a function that are sent at a time, at most."""
REASONS = {
    Status.OK: "wrong_answer",
    Status.NOT_PLAIN: "wrong_answer",
    Status.OUTPUT: "wrong_answer",
    Status.CLOCK: "timeout",
    Status.LOST: "crash",  # only the program could have ended its test runner
}
"""The reasons of failed tests that have another name than the test's status."""


class Case(NamedTuple):
    """One test: what goes in, and what should come out.

    For a script, stdin and stdout. For a function, one JSON argument per line, and a JSON value.
    """

    input: str
    output: str


@dataclass(frozen=True)
class Suite:
    """The tests of one question.

    Attributes:
        cases: In the order in which they are run.
        function: What they call; empty where the program is a script.
    """

    cases: tuple[Case, ...]
    function: str = ""

    @property
    def size(self) -> int:
        """Characters of all inputs and outputs."""
        return sum(len(case.input) + len(case.output) for case in self.cases)


class Outcome(NamedTuple):
    """How one program was graded.

    Attributes:
        verdict: Its `answer` names the program and how far it came.
        runs: One per test that was run, in their order.
        passed: Whether each of these was right.
    """

    verdict: Verdict
    runs: tuple[Run, ...] = ()
    passed: tuple[bool, ...] = ()


class Job(NamedTuple):
    """The reference of the tests, and a program to be run on them."""

    reference: str
    program: str


def grade(
    response: str, suite: Suite, *, truncated: bool = False, limits: Limits = LIMITS
) -> Verdict:
    """The verdict on one response. Arguments as in `grade_all`."""
    return grade_all([response], [""], lambda _: suite, truncated=[truncated], limits=limits)[0]


def grade_all(
    responses: Sequence[str],
    references: Sequence[str],
    suite_of: Callable[[str], Suite],
    *,
    truncated: Sequence[bool],
    size_of: Callable[[str], int] | None = None,
    limits: Limits = LIMITS,
    workers: int | None = None,
    unsafe: bool = False,
    all_tests: bool = False,
) -> list[Verdict]:
    """The verdicts on many responses, in their order. Equal programs are run once.

    Args:
        responses: What the model wrote.
        references: What each is graded by: an argument for `suite_of`.
        suite_of: Called from several threads; not called for responses without a program.
        truncated: Whether each response was cut off: one that ends within its block is not run.
        size_of: See `run_programs`.
        limits: What a program may use.
        workers: Programs at a time; by default one per processor.
        unsafe: Run the programs without a sandbox, as this user.
        all_tests: Run the tests after a failed one too.

    Returns:
        One verdict per response. `wrong` with `wrong_answer`, `timeout`, `memory`, `crash`,
        `syntax`, `no_code`, `refused` or `truncated`; `unscored` with `no_sandbox` or
        `grader_error`.

    Raises:
        ValueError: the arguments differ in length.
    """
    try:
        isolation(unsafe)
    except NoSandbox:
        return [Verdict("unscored", "no_sandbox")] * len(responses)
    jobs = [_job_or_verdict(*item) for item in zip(responses, references, truncated, strict=True)]
    unique = sorted({job for job in jobs if isinstance(job, Job)})
    outcomes = run_programs(
        unique,
        suite_of,
        size_of=size_of,
        limits=limits,
        workers=workers,
        unsafe=unsafe,
        all_tests=all_tests,
    )
    verdicts = {job: outcome.verdict for job, outcome in zip(unique, outcomes, strict=True)}
    return [job if isinstance(job, Verdict) else verdicts[job] for job in jobs]


def extract_program(response: str) -> str:
    """The lines between the last two lines that hold a fence; empty where there are fewer.

    As LiveCodeBench's runner reads it, whatever language the fence names. `_job_or_verdict` leaves
    out what stands in reasoning.
    """
    lines = response.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    if len(fences) < 2:
        return ""
    return "\n".join(lines[fences[-2] + 1 : fences[-1]])


def _job_or_verdict(response: str, reference: str, truncated: bool) -> Job | Verdict:
    """The program to run, or the verdict where there is none."""
    final, _ = final_part(response)
    cut = truncated and sum(FENCE in line for line in final.split("\n")) % 2 == 1
    program = extract_program(final)
    if cut or (truncated and not program.strip()):
        return Verdict("wrong", "truncated")
    if program.strip():
        return Job(reference, program)
    return Verdict("wrong", "refused" if is_refusal(response) else "no_code")


# ---------------------------------------------------------------------- running


def run_programs(
    jobs: Sequence[Job],
    suite_of: Callable[[str], Suite],
    *,
    size_of: Callable[[str], int] | None = None,
    limits: Limits = LIMITS,
    workers: int | None = None,
    unsafe: bool = False,
    all_tests: bool = False,
) -> list[Outcome]:
    """Runs programs on their tests, several at a time: one outcome per job, in their order.

    A program that ran out of time by the clock, not by its own processor time, may have had a
    noisy neighbour: it is run again with nothing beside it, and that counts. One that has used up
    the time of all its tests together gets no further ones.

    Args:
        jobs: Best sorted by reference, so that tests are loaded once.
        size_of: How large the tests of a reference are. Programs on large tests, which take long as
            a rule, are begun first, so that no worker is left with one when the others have ended.
        all_tests: Run the tests after a failed one too.

    Raises:
        NoSandbox: and `unsafe` was not asked for.
    """
    if not jobs:
        return []
    how = isolation(unsafe)
    count = min(workers or processors(), len(jobs))
    slots = [Slot(number, limits=limits, how=how, preload=STARS) for number in range(count)]
    free: SimpleQueue[Slot] = SimpleQueue()
    for slot in slots:
        free.put(slot)

    def run_one(job: Job) -> Outcome:
        slot = free.get()
        try:
            return _outcome(job, suite_of, slot, all_tests)
        finally:
            free.put(slot)

    try:
        with ThreadPoolExecutor(count, "sandbox") as pool:
            try:
                order = list(range(len(jobs)))
                if size_of is not None:
                    sizes = {job.reference: size_of(job.reference) for job in jobs}
                    order.sort(key=lambda index: (-sizes[jobs[index].reference], index))
                ended = pool.map(run_one, [jobs[index] for index in order])
                outcomes = [outcome for _, outcome in sorted(zip(order, ended, strict=True))]
                for slot in slots:  # before the threads end, which takes their sandboxes with them
                    slot.drop()
            except BaseException:  # Ctrl-C: what has not begun is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                close_all()
                raise
        if count > 1:
            for index, outcome in enumerate(outcomes):
                if outcome.runs and any(run.status is Status.CLOCK for run in outcome.runs):
                    outcomes[index] = run_one(jobs[index])
        return outcomes
    finally:
        for slot in slots:
            slot.drop()


def _outcome(job: Job, suite_of: Callable[[str], Suite], slot: Slot, all_tests: bool) -> Outcome:
    """Runs one program; a sandbox that does not start is tried once more."""
    for _ in range(2):
        try:
            return _run(job, suite_of(job.reference), slot, all_tests)
        except (SandboxError, OSError, ValueError, LookupError, MemoryError) as error:
            log.warning("a program on %s could not be graded: %s", job.reference, error)
    return Outcome(Verdict("unscored", "grader_error", _name(job.program)))


def _run(job: Job, suite: Suite, slot: Slot, all_tests: bool) -> Outcome:
    runs: list[Run] = []
    passed: list[bool] = []
    more = bool(suite.cases)
    seconds = elapsed = 0.0  # of processes of the program that have ended
    while more:
        with slot.program(job.program, suite.function, prelude(job.program)) as program:
            for run, right in _test_from(program, suite, len(runs)):
                if seconds + program.seconds > slot.limits.total:
                    run, right, more = run._replace(status=Status.TIMEOUT), False, False
                elif elapsed + program.elapsed > 2 * slot.limits.total:
                    run, right, more = run._replace(status=Status.CLOCK), False, False
                runs.append(run._replace(output=run.output[:1000]))  # a bound for what is kept
                passed.append(right)
                if program.fault is not Status.OK or not (right or all_tests):
                    more = False
                if not more:
                    break
            seconds, elapsed = seconds + program.seconds, elapsed + program.elapsed
        more = more and len(runs) < len(suite.cases)
    summary = f"{_name(job.program)}: {sum(passed)} of {len(suite.cases)} tests"
    if len(passed) == len(suite.cases) and all(passed) and passed:
        return Outcome(Verdict("correct", "", summary), tuple(runs), tuple(passed))
    if not passed:
        return Outcome(Verdict("unscored", "grader_error", f"{summary}: there are none"))
    status = runs[passed.index(False)].status
    reason = REASONS.get(status, status.value)
    return Outcome(Verdict("wrong", reason, summary), tuple(runs), tuple(passed))


def _test_from(program: RunningProgram, suite: Suite, at: int) -> Iterator[tuple[Run, bool]]:
    """Runs the tests from number `at` on, until the process of a function has ended; yields each
    run and whether it was right.

    Calls of a function are sent several at a time, from the second on: most wrong programs fail at
    the first. A script would have the inputs after its own in reach: it is sent one at a time.
    """
    while at < len(suite.cases) and not program.over:
        for run in program.run_some(_next_inputs(suite, at)):
            yield run, _right(run, suite.cases[at], suite.function)
            at += 1


def _next_inputs(suite: Suite, at: int) -> list[str]:
    """The inputs that are sent together: one, or calls of up to 64 KiB."""
    inputs = [suite.cases[at].input]
    if suite.function and at > 0:
        size = len(inputs[0])
        for case in suite.cases[at + 1 : at + BATCH]:
            size += len(case.input)
            if size > 1 << 16:
                break
            inputs.append(case.input)
    return inputs


def _right(run: Run, test: Case, function: str) -> bool:
    return run.status is Status.OK and matches(run.output, test.output, function)


def _name(program: str) -> str:
    """How a program is called in results: the first digits of its sha256."""
    return hashlib.sha256(program.encode(errors="replace")).hexdigest()[:12]


STARS = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random"),
    *("statistics", "itertools", "functools", "operator", "io", "sys", "json", "builtins"),
    "typing",
)
"""What LiveCodeBench's runner imports with a star, and then by name, before each program."""


def prelude(program: str) -> list[tuple[str, list[str]]]:
    """The imports of the runner's prelude that a program can notice: the others cost time.

    All of them where it may look names up as text.

    Returns:
        (module, names) in the order of the imports; no names for the module itself.
    """
    words = set(re.findall(r"\w+", program))
    every = not words.isdisjoint(("eval", "exec", "globals", "locals", "vars", "__dict__"))
    stars: dict[str, list[str]] = {}
    for name, module in _star_names().items():
        if every or name in words:
            stars.setdefault(module, []).append(name)
    return [*stars.items(), *((name, []) for name in STARS if every or name in words)]


@lru_cache(maxsize=1)
def _star_names() -> dict[str, str]:
    """What the imports with a star name, and the module that names it last."""
    names: dict[str, str] = {}
    for name in STARS:
        module = importlib.import_module(name)
        public = [word for word in vars(module) if not word.startswith("_")]
        names.update(dict.fromkeys(getattr(module, "__all__", public), name))
    return {word: name for word, name in names.items() if name != "builtins"}


# ---------------------------------------------------------------------- comparing


def matches(output: bytes, expected: str, function: str = "") -> bool:
    """Whether what came back is what was expected.

    A function's value is compared as JSON: equal as Python compares plain data (1 is 1.0 is true),
    floats exactly. A tuple counts as a list (`sandbox_program.serve_calls` sees to that), but not
    within a list. A script's output is stripped, split into lines, and each line stripped: as many
    lines, each the same text or the same numbers, one by one, as decimals (`2.0` is `2`; there is
    no tolerance).
    """
    text = output.decode("utf-8", errors="replace")
    if function:
        if text == expected and "NaN" not in text:
            return True
        if len(text) > 4096 + 16 * len(expected):  # longer than any form of it
            return False
        try:
            return bool(_value(text) == _value(expected))
        except (ValueError, RecursionError):
            return False
    wanted = expected.strip().split("\n")
    lines = text.strip().split("\n", len(wanted))  # what is too much is not cut further
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _value(text: str) -> Any:
    """JSON with integers of any length: those that Python would refuse to parse stay text."""
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 4000 else digits)


def _same_line(line: str, wanted: str) -> bool:
    if line.strip() == wanted.strip():
        return True
    expected = wanted.split()
    words = line.split(None, len(expected))
    if len(words) != len(expected):
        return False
    try:
        return [Decimal(word) for word in words] == [Decimal(word) for word in expected]
    except DecimalException:  # a word that is no number, or a signalling NaN
        return False
