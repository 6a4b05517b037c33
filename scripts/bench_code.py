"""How fast are programs graded, beside LiveCodeBench's own runner, and with the same verdicts?

    git clone https://github.com/LiveCodeBench/LiveCodeBench /somewhere/lcb
    make bench BENCH="code --data-dir MIRROR --peer /somewhere/lcb"

Grades the reference solutions in the mirror folder on all their tests, several times in turn with
each, and prints a Markdown table. The runner is not part of this project: name its checkout with
--peer. It needs numpy and tqdm, and runs programs with no isolation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from persona_bench.benchmarks.livecodebench import LiveCodeBench, Options
from persona_bench.grading.code import Case, Job, Suite, run_programs
from persona_bench.grading.sandbox import isolation

SOLUTIONS = "livecodebench/reference_solutions.jsonl"


def ours(programs: list[str], suites: list[Suite], workers: int) -> list[bool]:
    """Whether each program is correct, by this project's grader."""
    jobs = [Job(str(number), program) for number, program in enumerate(programs)]
    sizes = [suite.size for suite in suites]
    outcomes = run_programs(
        jobs,
        lambda number: suites[int(number)],
        size_of=lambda number: sizes[int(number)],
        workers=workers,
    )
    return [outcome.verdict.verdict == "correct" for outcome in outcomes]


def theirs(programs: list[str], suites: list[Suite], workers: int, peer: Any) -> list[bool]:
    """The same by LiveCodeBench's runner, which tells True or an error code a test."""
    samples = [
        {
            "input_output": json.dumps(
                {
                    "inputs": [case.input for case in suite.cases],
                    "outputs": [case.output for case in suite.cases],
                    "fn_name": suite.function or None,
                }
            )
        }
        for suite in suites
    ]
    results, _ = peer.evaluate_generations(
        samples, [[program] for program in programs], num_process_evaluate=workers, timeout=6
    )
    return [all(code is True for code in results[number][0]) for number in range(len(programs))]


def broken(program: str) -> str:
    """The program with another value returned: wrong, so that verdicts can differ."""
    return program.replace("return ", "return 1 + ", 1)


def smallest(workers: int = 1, count: int = 200) -> dict[str, float]:
    """Seconds that isolation takes of what does nothing: the least of five times."""
    call, script = Suite((Case("1", "1"),), "f"), Suite((Case("1", "1"),))
    calls, tests = Suite((Case("1", "1"),) * 1000, "f"), Suite((Case("1", "1"),) * 100)
    returns = "def f(x):\n    return x"
    plan = {
        "a program with one call": (f"{returns}  # ", call, 1, count),
        "a program with one test of a script": ("print(input())  # ", script, 1, count),
        "a call more": (f"{returns}  # ", calls, 1000, 5),
        "a test of a script more": ("print(input())  # ", tests, 100, 5),
    }
    found = {}
    for name, (program, suite, each, number) in plan.items():
        programs = [f"{program}{index}" for index in range(number)]
        suites = [suite] * number
        times = [timed(lambda p=programs, s=suites: ours(p, s, workers))[0] for _ in range(5)]
        found[name] = min(times) / number / each
    return found


def timed(grade: Callable[[], list[bool]]) -> tuple[float, list[bool]]:
    started = time.perf_counter()
    verdicts = grade()
    return time.perf_counter() - started, verdicts


def bench_code(data: str, peer: Path | None) -> None:
    """Prints the table, from a process of its own: the runner forks, and large ones fork slowly.

    Args:
        data: The mirror folder with the solutions.
        peer: A checkout of LiveCodeBench's repository, if there is one.
    """
    command = [sys.executable, "-m", "scripts.bench_code", "--data", data]
    subprocess.run(command + (["--peer", str(peer)] if peer else []), check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="mirror folder")
    parser.add_argument("--peer", type=Path, help="a checkout of LiveCodeBench's repository")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    benchmark = LiveCodeBench(args.data, Options(release="v1", include_errata=True))
    references = {question.id: question.answer for question in benchmark.load()}
    lines = (args.data / SOLUTIONS).read_text(encoding="utf-8").splitlines()
    solutions = [json.loads(line) for line in lines]
    suites = [benchmark.suite(references[row["question_id"]]) for row in solutions]
    programs = [row["solution"] for row in solutions]
    tests = sum(len(suite.cases) for suite in suites)

    graders = {f"persona-bench ({isolation().kind})": ours}
    if args.peer:
        sys.path.insert(0, str(args.peer))
        os.environ["TQDM_DISABLE"] = "1"
        from lcb_runner.evaluation import compute_code_generation_metrics as runner

        graders["LiveCodeBench's runner (no isolation)"] = lambda p, s, w: theirs(p, s, w, runner)
    seconds: dict[str, list[float]] = {name: [] for name in graders}
    verdicts: dict[str, list[bool]] = {}
    for _ in range(args.rounds):
        for name, grade in graders.items():
            took, right = timed(lambda grade=grade: grade(programs, suites, args.workers))
            seconds[name].append(took)
            verdicts[name] = right + grade([broken(p) for p in programs], suites, args.workers)

    cores = len(os.sched_getaffinity(0))
    print(
        f"{len(programs)} programs, {tests} tests, {args.workers} workers on {cores} cores, ",
        end="",
    )
    print(
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}; {args.rounds} rounds\n"
    )
    print("| grader | correct | broken ones wrong | s, median (all) | tests/s |")
    print("|---|---|---|---|---|")
    for name, times in seconds.items():
        each = ", ".join(f"{value:.1f}" for value in times)
        good, bad = verdicts[name][: len(programs)], verdicts[name][len(programs) :]
        print(
            f"| {name} | {sum(good)} | {len(bad) - sum(bad)} | {median(times):.1f} ({each}) "
            f"| {tests / median(times):.0f} |"
        )
    first, *rest = verdicts.values()
    for other in rest:
        differ = sum(a != b for a, b in zip(first, other, strict=True))
        print(f"\nVerdicts that differ: {differ} of {len(first)}")
        mine, runner_s = [median(times) for times in seconds.values()]
        print(f"{runner_s / mine:.2f} times as fast as the runner")
    print("\n| what does nothing, isolated, one worker | ms |\n|---|---|")
    for name, took in smallest().items():
        print(f"| {name} | {took * 1000:.2f} |")


if __name__ == "__main__":
    main()
