"""What a grader says of one response."""

from __future__ import annotations

from typing import Literal, NamedTuple

VerdictName = Literal["correct", "wrong", "unscored"]


class Verdict(NamedTuple):
    """A grader's finding on one response.

    `wrong` is every failure of the model, `unscored` only a failure of the instrument: otherwise a
    persona that makes the model refuse would raise its own accuracy.
    """

    verdict: VerdictName
    reason: str
    """Empty for `correct`. For `wrong`: `wrong_answer`, `no_answer`, `refused` or `truncated`; of
    programs also `no_code`, `syntax`, `crash`, `timeout` or `memory`. For `unscored`: what failed
    in the instrument: `api_error`, `timeout` (of the grader), `grader_error`, `no_sandbox`, ..."""
    answer: str = ""
    """The answer that was read from the response; empty where none was found."""
    route: str = ""
    """How the answer was found, for maths: `boxed`, `stated`, `tag` (`<answer>...</answer>`) or
    `last` (the last number or expression); empty where none was found, and for other graders."""

    @property
    def correct(self) -> float | None:
        """1.0, 0.0, or None where the response is unscored."""
        return {"correct": 1.0, "wrong": 0.0, "unscored": None}[self.verdict]
