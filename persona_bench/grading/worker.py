"""The process in which computer algebra runs: `python -m persona_bench.grading.worker`.

Reads one JSON object a line from stdin (`{"gold": "1", "answer": "2", "integer": false, "seconds":
10.0}`) and writes one a line to stdout (`{"same": true}` or `{"error": "..."}`). It may hang or die
on any input: the pool that started it kills and replaces it. It outlives no parent: it ends when
stdin does, and an alarm ends it where one long calculation keeps it from seeing that.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

MEMORY_LIMIT = 2 * 1024**3
"""Bytes of address space: sympy can ask for all there is."""


def main() -> None:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    _limit_memory()
    logging.disable(logging.CRITICAL)
    print(json.dumps({"ready": _warm_up()}), file=channel, flush=True)
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    while True:
        print(json.dumps(_reply(lines.get())), file=channel, flush=True)


def _listen(lines: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)  # the parent is gone: whatever is being computed, nobody waits for it


ALARM_GRACE = 5.0
"""Seconds after which a job that nobody stopped at its limit ends the process."""


def _set_alarm(seconds: float) -> None:
    """SIGALRM in its default action kills even a calculation that never returns to Python."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _warm_up() -> bool:
    """The first call compiles patterns and parser tables: it must not count as a slow answer."""
    return equal_in_algebra("x+1", "1+x")


def _reply(line: str) -> dict[str, Any]:
    from persona_bench.grading.compare import same

    try:
        job = json.loads(line)
        _set_alarm(job["seconds"] + ALARM_GRACE)
        verdict = same(job["gold"], job["answer"], integer=job["integer"], leaf=equal_in_algebra)
    except (Exception, MemoryError, RecursionError) as error:
        return {"error": type(error).__name__}
    except BaseException as error:  # math-verify's time-out is not an Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return {"error": type(error).__name__}
    finally:
        _set_alarm(0)
    return {"same": bool(verdict)}


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

    found = parse(f"${text}$", [LatexExtractionConfig()], parsing_timeout=None)
    return [item for item in found if not isinstance(item, str)]


if __name__ == "__main__":
    main()
