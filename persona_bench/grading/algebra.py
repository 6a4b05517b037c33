"""Computer algebra (math-verify) in worker processes, as some answers make it hang, or take all
memory.

A worker, `python -m persona_bench.grading.algebra`, reads a JSON list per line from stdin (gold,
answer, integer, seconds) and writes its finding. An alarm kills it where a job takes too long, even
in a calculation that never returns to Python. It ends when its stdin does, so it outlives its
parent by one job at most.

These are plain subprocesses rather than `multiprocessing` or a pool built on it: those either fork
the parent, which may hold torch and threads, or import the parent's script again, which may have no
`__main__` guard.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from persona_bench.grading.compare import same

START_LIMIT = 120
"""Seconds a worker may take to start: importing sympy on a busy machine is slow."""
START_TRIES = 5
"""Deaths at the start after which a pool gives up: something is wrong with the installation."""
MEMORY_LIMIT = 2 * 1024**3
"""Bytes of address space of a worker: sympy can ask for all there is."""

Finding = Literal["same", "different", "timeout", "grader_error"]


class Job(NamedTuple):
    """What to compare; arguments of `compare.same`."""

    gold: str
    answer: str
    integer: bool = False


# ---------------------------------------------------------------------- in the grader


class Pool:
    """Worker processes, kept between calls and closed at exit."""

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[bytes]] = []
        self._all: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(self, jobs: Sequence[Job], *, workers: int, timeout: float) -> list[Finding]:
        """One finding per job, in order.

        Args:
            jobs: What to compare.
            workers: How many processes at most.
            timeout: Seconds for one job; a worker that takes longer is killed and replaced.
        """
        self._closed = False
        findings: list[Finding] = ["grader_error"] * len(jobs)
        waiting = deque(enumerate(jobs))

        def work() -> None:
            # no process to be had (OSError), or the interpreter shuts down (RuntimeError): what is
            # left stays the grader's error
            with contextlib.suppress(OSError, RuntimeError, IndexError):
                while True:
                    index, job = waiting.popleft()
                    findings[index] = self._finding(job, timeout)

        count = min(max(1, workers), len(jobs))
        threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:  # Ctrl-C: what has not begun is not begun
            waiting.clear()
            raise
        return findings

    def _finding(self, job: Job, timeout: float) -> Finding:
        """A job lost to a dead worker is tried once more, by a new one."""
        message = json.dumps([*job, timeout]).encode() + b"\n"
        for _ in range(2):
            worker = self._take()
            assert worker.stdin
            assert worker.stdout
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(message)
                worker.stdin.flush()
            finding: Any = worker.stdout.readline().decode().strip()
            if finding:
                self._idle.append(worker)
                return finding
            if self._end(worker) == -signal.SIGALRM:
                return "timeout"
        return "grader_error"

    def _take(self) -> subprocess.Popen[bytes]:
        """An idle worker, or a new one; a death at its start is no fault of the job.

        Raises:
            OSError: none can be had.
        """
        with contextlib.suppress(IndexError):
            while True:
                worker = self._idle.pop()
                if worker.poll() is None:
                    return worker
                self._end(worker)
        for _ in range(START_TRIES if not self._closed else 0):
            worker = subprocess.Popen(
                [sys.executable, "-m", "persona_bench.grading.algebra"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # Ctrl-C goes to the parent alone, which closes the pool
            )
            self._all.add(worker)
            if worker.stdout and worker.stdout.readline():
                return worker
            self._end(worker)
        raise ChildProcessError("no worker for math-verify would start")

    def _end(self, worker: subprocess.Popen[bytes]) -> int:
        """Ends a worker; returns how it ended."""
        self._all.discard(worker)
        worker.kill()
        code = worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            with contextlib.suppress(OSError):
                pipe.close() if pipe else None
        return code

    def pids(self) -> list[int]:
        """Process ids of the workers that live, for tests and for diagnosis."""
        return [worker.pid for worker in self._all.copy() if worker.poll() is None]

    def close(self) -> None:
        """Ends all workers; the pool starts new ones when it is used again."""
        self._closed = True
        self._idle.clear()
        for worker in self._all.copy():
            self._all.discard(worker)
            worker.kill()
            worker.wait()


def _environment() -> dict[str, str]:
    """The worker finds this package where its parent did; the working folder shadows nothing."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", "PYTHONSAFEPATH": "1"}


POOL = Pool()
atexit.register(POOL.close)
os.register_at_fork(after_in_child=POOL.__init__)  # type: ignore[misc]  # they are the parent's


# ---------------------------------------------------------------------- in a worker


def main() -> None:
    """Answers jobs until stdin ends."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(START_LIMIT)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not get between the findings
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    equal_in_algebra("x+1", "1+x")  # compiles patterns and tables: no job should wait for that
    signal.alarm(0)
    print("ready", file=channel, flush=True)
    for line in sys.stdin:
        gold, answer, integer, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        finding = "grader_error"
        # BaseException, as math-verify's time-out is one
        with contextlib.suppress(BaseException):
            right = same(gold, answer, integer=integer, leaf=equal_in_algebra)
            finding = "same" if right else "different"
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(finding, file=channel, flush=True)


def equal_in_algebra(gold: str, answer: str) -> bool:
    """Whether math-verify finds two LaTeX expressions equal.

    Raises:
        ValueError: the reference can't be read, so that no answer could be right.
    """
    from math_verify import verify

    reference, given = _parsed(gold), _parsed(answer)
    if not reference:
        raise ValueError(f"the reference {gold!r} can't be read")
    if not given or not verify(reference, given, timeout_seconds=None, raise_on_error=False):
        return False
    exact = "." not in gold and "." not in answer
    return not (exact and _apart(reference[0], given[0]))


def _apart(reference: Any, given: Any) -> bool:
    """Whether two exact numbers differ, though not in the 15 decimals that math-verify compares."""
    try:
        size = max(abs(complex(value.evalf(20))) for value in (reference, given))
        return bool(abs(complex((reference - given).evalf(20))) > 1e-50 * size)
    except (AttributeError, OverflowError, TypeError, ValueError):
        return False


@lru_cache(maxsize=4096)
def _parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    parsed = parse(f"${text}$", [LatexExtractionConfig()], parsing_timeout=None)
    return [item for item in parsed if not isinstance(item, str)]


if __name__ == "__main__":
    main()
