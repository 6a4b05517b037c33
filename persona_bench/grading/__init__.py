"""Grading: a response in, a verdict out."""

import os

from persona_bench.grading.verdict import Verdict

__all__ = ["Verdict", "processors"]


def processors() -> int:
    """Processors that this process may use, shared with the ranks beside it."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, own // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
