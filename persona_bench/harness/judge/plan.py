"""What is asked of which judges, and what it would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_bench.harness.judge.client import JudgeError, JudgeSettings

AUDITED = 100  # responses of a retest, and of a persona swap


@dataclass(frozen=True)
class Plan:
    """What is asked of whom.

    Attributes:
        judges: Who judges, side by side.
        store: The store's folder.
        concurrency: Calls at a time.
        max_cost: US dollars, over all judges; None: no limit.
        examples: Whether the judge is shown example responses where the rubric wants some.
        examples_by: Who writes these; the first judge by default.
        audit: Whether the judges are measured too.
        audited: Responses of the retest, and of the persona swap (two a pair).
        seed: Of the audit's draws.
    """

    judges: Sequence[JudgeSettings]
    store: Path
    concurrency: int = 16
    max_cost: float | None = None
    examples: bool = True
    examples_by: JudgeSettings | None = None
    audit: bool = False
    audited: int = AUDITED
    seed: int = 0

    @property
    def writer(self) -> JudgeSettings:
        """Who writes the examples."""
        return self.examples_by or self.judges[0]

    def __post_init__(self) -> None:
        names = [judge.model for judge in self.judges]
        twice = [name for name in names if names.count(name) > 1]
        if not names or twice:
            raise JudgeError(f"judge {twice[0]!r} is named twice" if twice else "name a judge")
        for judge in (*self.judges, *([self.examples_by] if self.examples_by else [])):
            if self.max_cost is not None and judge.price is None:
                raise JudgeError(
                    f"--max-cost needs the price of {judge.model!r}: --price "
                    f"{judge.model}=INPUT,OUTPUT in US dollars a million tokens"
                )


@dataclass
class Estimate:
    """What judging would take.

    Attributes:
        judge: Whose calls.
        what: `verdicts`, `examples` or `audit`.
        calls, stored: To be made, and there already (None: the endpoint does not answer).
        prompt_tokens, completion_tokens: About.
        cost: US dollars; None where the price is not known.
    """

    judge: str
    what: str
    calls: int
    stored: int | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
