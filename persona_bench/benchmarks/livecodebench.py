"""LiveCodeBench: code generation problems of three contest sites, by difficulty and date.

Jain et al. 2024 (arXiv 2403.07974); the data are its `code_generation_lite`. Programs that a model
wrote are run, in sandboxes (docs/livecodebench.md), so lm-eval asks for a confirmation:

    lm_eval --model hf --model_args pretrained=... --tasks persona_livecodebench \
        --apply_chat_template --confirm_run_unsafe_code --metadata '{"start_date": "2024-08-01"}'

What counts as LiveCodeBench's own pass@1 is graded on its private tests. A mirror without them has
questions labelled `tests: public` (the examples of the problem's text) or `tests: extra` (more, of
another source): a score on these is no LiveCodeBench score, and the results file says so.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from persona_bench.benchmarks.base import Benchmark, Question
from persona_bench.benchmarks.livecodebench_files import (
    ERRATA,
    RELEASES,
    Place,
    read_suite,
    reference_of,
    release_rows,
)
from persona_bench.benchmarks.sources import SourceError
from persona_bench.grading import Verdict
from persona_bench.grading.code import GRADER, LIMITS, Suite, grade_all
from persona_bench.grading.sandbox import NoSandbox, isolation

log = logging.getLogger("persona_bench")

DIFFICULTIES = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Options:
    """This benchmark's own knobs.

    Attributes:
        release: `v1` (400 questions) to `v6` (1,055).
        start_date: Only contests of this day and later, as 2024-08-01; empty for all.
        end_date: Only contests of this day and earlier.
        difficulty: Only these of easy, medium, hard; empty for all.
        include_errata: Keep the questions that the benchmark itself calls faulty.
        all_tests: Run a program's other tests too once one has failed.
        unsafe_no_sandbox: Run programs as this user, with all that this user can reach.
    """

    release: str = "v6"
    start_date: str = ""
    end_date: str = ""
    difficulty: tuple[str, ...] = ()
    include_errata: bool = False
    all_tests: bool = False
    unsafe_no_sandbox: bool = False


class LiveCodeBench:
    """The questions under one set of options, and the grader that knows their tests."""

    KEPT = 1 << 28
    """Characters of tests kept decoded, and the last question's in any case: programs are graded
    question by question, and those on the largest tests first."""

    def __init__(self, data_dir: Path | None, options: Options) -> None:
        self.data_dir, self.options = data_dir, options
        self._places: dict[str, Place] = {}
        self._questions: list[Question] = []
        self._left_out: list[str] = []
        self._suites: OrderedDict[str, Suite] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, data_dir: Path | None = None, seed: int = 0) -> list[Question]:
        """The questions in the order of the files; the arguments are not used.

        Raises:
            SourceError: a file can't be had, or is not the benchmark's.
            ValueError: no question is left.
        """
        with self._lock:
            if not self._questions:
                self._read()
        return self._questions

    def _read(self) -> None:
        for place, row in release_rows(self.options.release, self.data_dir):
            if not self._wanted(row):
                continue
            reference = reference_of(row, place.extra)
            if reference in self._places:
                raise SourceError(f"{place.path}: {reference} stands twice; get the file anew")
            self._places[reference] = place
            private = bool(row.get("private_test_cases"))
            tests = "private" if private else "extra" if place.extra else "public"
            self._questions.append(
                Question(
                    id=str(row["question_id"]),
                    problem=_problem(row["question_content"], row["starter_code"]),
                    answer=reference,
                    level=row["difficulty"],
                    subject=row["platform"],
                    extra={"date": _date(row), "tests": tests},
                )
            )
        if not self._questions:
            raise ValueError(
                f"no question of LiveCodeBench {self.options.release} has these dates and "
                "difficulties: widen start_date, end_date or difficulty"
            )

    def _wanted(self, row: dict[str, Any]) -> bool:
        options, day = self.options, _date(row)
        if (options.start_date and day < options.start_date) or (
            options.end_date and day > options.end_date
        ):
            return False
        if options.difficulty and row["difficulty"] not in options.difficulty:
            return False
        faulty = str(row["question_id"]) in ERRATA or row["question_title"] in ERRATA
        if faulty and not options.include_errata:
            self._left_out.append(str(row["question_id"]))
            return False
        return True

    def suite(self, reference: str) -> Suite:
        """The tests of a question, by its `answer`; read when asked for.

        Raises:
            SourceError: they can't be decoded.
            KeyError: no question of these options has this reference.
        """
        self.load()
        with self._lock:
            if reference not in self._suites:
                self._suites[reference] = read_suite(self._places[reference])
                kept = sum(suite.size for suite in self._suites.values())
                while len(self._suites) > 1 and kept > self.KEPT:
                    kept -= self._suites.popitem(last=False)[1].size
            self._suites.move_to_end(reference)
            return self._suites[reference]

    def size(self, reference: str) -> int:
        """Bytes of a question's tests in the files; 0 where they have not been read."""
        place = self._places.get(reference)
        return place.size if place else 0

    def grade(
        self, responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
    ) -> list[Verdict]:
        """The verdicts; `golds` are the questions' references. See `grading.code.grade_all`."""
        verdicts = grade_all(
            responses,
            golds,
            self.suite,
            size_of=self.size,
            truncated=truncated,
            unsafe=self.options.unsafe_no_sandbox,
            all_tests=self.options.all_tests,
        )
        without = sum(verdict.reason == "no_sandbox" for verdict in verdicts)
        if without:
            log.warning("%d responses are unscored: %s", without, self._no_sandbox())
        return verdicts

    def record(self, questions: Sequence[str]) -> dict[str, Any]:
        """For the results file: options, tests, errata, sandbox; warns of what must be known.

        Args:
            questions: The ids of those asked.
        """
        asked = set(questions)
        labels = Counter(q.extra["tests"] for q in self.load() if q.id in asked)
        if set(labels) != {"private"}:
            log.warning(
                "persona_livecodebench: %s: not LiveCodeBench's private tests, so not its pass@1",
                ", ".join(f"{count} questions with {name} tests" for name, count in labels.items()),
            )
        if self._left_out:
            log.warning(
                "persona_livecodebench: %d questions of the benchmark's errata are left out (%s); "
                "include_errata keeps them",
                len(self._left_out),
                ", ".join(self._left_out),
            )
        told = {
            **asdict(self.options),
            "tests": dict(labels),
            "errata_left_out": self._left_out,
            "limits": asdict(LIMITS),
        }
        if reason := self._no_sandbox():
            log.warning("persona_livecodebench: everything will be unscored: %s", reason)
            return {**told, "sandbox": "missing", "sandbox_missing": reason}
        if self.options.unsafe_no_sandbox:
            log.warning(
                "persona_livecodebench: unsafe_no_sandbox: programs that a model wrote run as this "
                "user, reach its files and the network, and may outlive this run"
            )
        return {**told, **isolation(self.options.unsafe_no_sandbox).record()}

    def _no_sandbox(self) -> str:
        try:
            isolation(self.options.unsafe_no_sandbox)
        except NoSandbox as error:
            return f"no_sandbox: {error}"
        return ""


# ---------------------------------------------------------------------- prompts and knobs


def _date(row: dict[str, Any]) -> str:
    return str(row["contest_date"])[:10]


def _problem(content: str, starter: str) -> str:
    """The question in the benchmark's own form, for a function or for stdin."""
    if starter:
        return (
            f"{content}\n\n### Format: You will use the following starter code to write the "
            "solution to the problem and enclose your code within delimiters.\n"
            f"```python\n{starter}\n```"
        )
    return (
        f"{content}\n\n### Format: Read the inputs from stdin solve the problem and write the "
        "answer to stdout (do not directly test on the sample inputs). Enclose your code within "
        "delimiters as follows. Ensure that when the python program runs, it reads the inputs, "
        "runs the algorithm and writes output to STDOUT.\n```python\n# YOUR CODE HERE\n```"
    )


def prompt(problem: str) -> str:
    """The user message: the benchmark's, with its task sentence before the question.

    Its "You are an expert Python programmer" is left out: that is a persona, and here the system
    message is the persona's.
    """
    return (
        "You will be given a question (problem specification) and will generate a correct Python "
        "program that matches the specification and passes all tests.\n\n"
        f"### Question:\n{problem}\n\n### Answer: (use the provided format with backticks)\n\n"
    )


def _release(value: Any) -> str:
    name = str(value).removeprefix("release_")
    if name not in RELEASES:
        raise ValueError(f"{value!r} is not a release: use {', '.join(RELEASES)}")
    return name


def _day(value: Any) -> str:
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError(f"{value!r} is not a day such as 2024-08-01") from None


def _difficulties(value: Any) -> tuple[str, ...]:
    names = value.replace("+", ",").split(",") if isinstance(value, str) else list(value)
    if not names or not set(names) <= set(DIFFICULTIES):
        raise ValueError(f"{value!r} is unknown: use some of {', '.join(DIFFICULTIES)}")
    return tuple(name for name in DIFFICULTIES if name in names)


def _flag(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError(f"{value!r} must be true or false")
    return str(value).lower() == "true"


KNOBS = {
    "release": _release,
    "start_date": _day,
    "end_date": _day,
    "difficulty": _difficulties,
    "include_errata": _flag,
    "all_tests": _flag,
    "unsafe_no_sandbox": _flag,
}


def configured(data_dir: Path | None, knobs: Mapping[str, Any]) -> Benchmark:
    """The benchmark under these knobs; the same object for the same ones."""
    return _configured(data_dir, Options(**knobs))


@lru_cache(maxsize=8)
def _configured(data_dir: Path | None, options: Options) -> Benchmark:
    its = LiveCodeBench(data_dir, options)
    return Benchmark(
        "livecodebench",
        its.load,
        prompt,
        its.grade,
        GRADER,
        domain="programming",
        knobs=KNOBS,
        configured=configured,
        record=its.record,
    )


BENCHMARK = configured(None, {})
