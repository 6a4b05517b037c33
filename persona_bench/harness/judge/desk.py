"""The judges' desk: their identities, their shelves in the store, and the one purse for all."""

from __future__ import annotations

from collections.abc import Sequence

from persona_bench.harness.fingerprint import FingerprintError
from persona_bench.harness.judge.asking import Budget, Done, Work, carry_out, estimate
from persona_bench.harness.judge.client import JudgeSettings
from persona_bench.harness.judge.plan import Estimate, Plan
from persona_bench.harness.store import Shelf

UNKNOWN = "unknown"
SHELVES = {"verdicts": "verdicts", "audit": "verdicts", "examples": "examples"}


class Desk:
    """Where work is handed in and records are found.

    Args:
        plan: Whose store, concurrency and cost limit.
        bar: Whether progress bars are shown.
    """

    def __init__(self, plan: Plan, *, bar: bool = True) -> None:
        self.plan, self.bar = plan, bar
        self.budget = Budget(plan.max_cost)
        self._digests: dict[tuple[str, str], str] = {}
        self._gone: set[tuple[str, str]] = set()
        self._estimated: dict[str, set[str]] = {}

    def digest(self, judge: JudgeSettings) -> str:
        """Which model a judge is.

        Raises:
            FingerprintError: the endpoint does not answer.
        """
        name = judge.model, judge.url
        if name not in self._digests:
            self._digests[name] = judge.digest()
        return self._digests[name]

    def digest_or_unknown(self, judge: JudgeSettings) -> str:
        """The same, without an error."""
        name = judge.model, judge.url
        try:
            return UNKNOWN if name in self._gone else self.digest(judge)
        except FingerprintError:
            self._gone.add(name)  # to find that out takes seconds
            return UNKNOWN

    def shelf(self, what: str, judge: JudgeSettings) -> Shelf:
        """The verdicts of a judge, or its examples."""
        kind, digest = SHELVES[what], self.digest_or_unknown(judge)
        about = {"kind": kind, "fingerprint": digest, "judge": judge.model}
        return Shelf(self.plan.store / kind / digest[:16], about)

    def stored(self) -> int:
        """How many verdicts are in the store, of the judges that were asked so far."""
        kept = {self._digests[name] for name in self._digests}
        shelves = [self.plan.store / "verdicts" / digest[:16] for digest in kept]
        return sum(len(Shelf(folder, {})) for folder in shelves)

    def carry_out(self, what: str, work: Sequence[Work], judge: JudgeSettings, show: str) -> Done:
        """Asks for what is not there yet; see `asking.carry_out`."""
        self.digest(judge)  # else the records of an endpoint that is down would lie apart
        shelf = self.shelf(what, judge)
        try:
            return carry_out(
                work,
                judge,
                shelf,
                concurrency=self.plan.concurrency,
                budget=self.budget,
                show=show if self.bar else "",
            )
        finally:
            shelf.close()

    def estimate(self, what: str, work: Sequence[Work], judge: JudgeSettings) -> Estimate:
        """What the same would take, beside what this desk was asked before."""
        before = self._estimated.setdefault(judge.model, set())
        unique = {each.key: each for each in work if each.key not in before}
        before.update(unique)
        known = self.digest_or_unknown(judge) != UNKNOWN
        shelf = self.shelf(what, judge) if known else ()
        todo = [each for each in unique.values() if each.key not in shelf]
        prompt, completion = estimate(todo)
        return Estimate(
            judge=judge.model,
            what=what,
            calls=len(todo),
            stored=len(unique) - len(todo) if known else None,
            prompt_tokens=prompt,
            completion_tokens=completion,
            cost=judge.price.of(prompt, completion) if judge.price else None,
        )
