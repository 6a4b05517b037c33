"""Grading: a response in, a verdict out.

- Maths: `maths` gives the verdict. It has the answer read (`extract` for boxes and tags, then
  `statements`, then `last_number`; `expressions` and `spoken` help them), spelt in one way
  (`normalise`, `numbers`) and compared (`compare`, `shape`; `algebra` in processes of its own).
- Programs: `code` gives the verdict. `sandbox` runs the program, in four kinds of processes:
  `sandbox` in the grader, and inside `sandbox_server`, `sandbox_runner` and `sandbox_program`.
- Both: `reasoning` (where it ends), `refusal`, `verdict`.
"""

import os

from persona_bench.grading.verdict import Verdict

__all__ = ["Verdict", "processors"]


def processors() -> int:
    """Processors that this process may use, shared with the ranks beside it."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, own // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
