"""One judging: its plan, each judge's log in the store, and the one budget that all share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_bench.harness.fingerprint import FingerprintError
from persona_bench.harness.store import RecordLog
from persona_bench.judge.calls import Budget, Done, Work, carry_out, estimate, examples_work
from persona_bench.judge.client import JudgeError, JudgeSettings
from persona_bench.judge.prompts import Item
from persona_bench.judge.responses import JudgedTask, stored_example_key, unique_items
from persona_bench.scoring.as_published import JUDGES

AUDITED = 100  # responses that a retest, and that a persona swap, takes


@dataclass(frozen=True)
class Plan:
    """Which judges are asked, and for what.

    Attributes:
        judges: The judges; each scores every response.
        store: The store's folder.
        concurrency: Number of calls at a time.
        max_cost: Limit in US dollars over all judges; None for no limit.
        examples: Whether judges are shown example responses where the rubric has a place for them.
        examples_by: The model that writes the examples; the first judge by default.
        audit: Whether the judges are measured too.
        audited: Number of responses in the retest, and in the persona swap (two per pair).
        seed: Seed of the audit's random draws.
        entry_test: True: judges take the entry test first. False: a result below its bar does not
            stop the judging. None: a stored result does, and none is needed.
        as_published: Whether responses to persona_personagym are also judged by PersonaGym's
            published protocol (see `as_published`), which takes two judges.
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
    entry_test: bool | None = None
    as_published: bool = False

    @property
    def writer(self) -> JudgeSettings:
        """The model that writes the examples."""
        return self.examples_by or self.judges[0]

    def __post_init__(self) -> None:
        names = [judge.model for judge in self.judges]
        twice = [name for name in names if names.count(name) > 1]
        if not names or twice:
            raise JudgeError(f"judge {twice[0]!r} is named twice" if twice else "name a judge")
        if self.as_published and len(names) != JUDGES:
            raise JudgeError(
                "as_published takes two judges, as PersonaGym does, but models names "
                f"{len(names)}: the first is sent the system message, the second is not"
            )
        for judge in (*self.judges, *([self.examples_by] if self.examples_by else [])):
            if self.max_cost is not None and judge.price is None:
                raise JudgeError(
                    f"--max-cost needs the price of {judge.model!r}: --price "
                    f"{judge.model}=INPUT,OUTPUT in US dollars a million tokens"
                )


@dataclass
class Estimate:
    """What the calls to one judge would take.

    Attributes:
        judge: The judge's name.
        what: `verdicts`, `examples`, `audit`, `as published` or `entry test`.
        calls: Calls still to be made.
        stored: Calls whose records are stored already; None if the endpoint does not answer.
        prompt_tokens, completion_tokens: Estimated from characters.
        cost: US dollars; None where the price is not known.
    """

    judge: str
    what: str
    calls: int
    stored: int | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


# ---------------------------------------------------------------------- the session

UNKNOWN = "unknown"
LOGS = {
    "verdicts": "verdicts",
    "audit": "verdicts",
    "entry test": "verdicts",
    "as published": "verdicts",
    "examples": "examples",
}


class JudgeSession:
    """Makes the calls that are not stored yet, and finds the stored records.

    Args:
        plan: Names the store, the concurrency and the cost limit.
        bar: Whether progress bars are shown.
    """

    def __init__(self, plan: Plan, *, bar: bool = True) -> None:
        self.plan, self.bar = plan, bar
        self.budget = Budget(plan.max_cost)
        self._digests: dict[tuple[str, str], str] = {}
        self._gone: set[tuple[str, str]] = set()
        self._estimated: dict[str, set[str]] = {}

    def digest(self, judge: JudgeSettings) -> str:
        """The fingerprint of the model behind a judge's endpoint.

        Raises:
            FingerprintError: the endpoint does not answer.
        """
        name = judge.model, judge.url
        if name not in self._digests:
            self._digests[name] = judge.digest()
        return self._digests[name]

    def digest_or_unknown(self, judge: JudgeSettings) -> str:
        """The same; `UNKNOWN` if the endpoint does not answer."""
        name = judge.model, judge.url
        try:
            return UNKNOWN if name in self._gone else self.digest(judge)
        except FingerprintError:
            self._gone.add(name)  # finding that out takes seconds
            return UNKNOWN

    def record_log(self, what: str, judge: JudgeSettings) -> RecordLog:
        """The log with a judge's verdicts, or with its examples."""
        kind, digest = LOGS[what], self.digest_or_unknown(judge)
        about = {"kind": kind, "fingerprint": digest, "judge": judge.model}
        return RecordLog(self.plan.store / kind / digest[:16], about)

    def stored(self) -> int:
        """Number of stored verdicts of the judges that were asked so far."""
        digests = {self._digests[name] for name in self._digests}
        record_logs = [self.plan.store / "verdicts" / digest[:16] for digest in digests]
        return sum(len(RecordLog(folder, {})) for folder in record_logs)

    def carry_out(self, what: str, work: Sequence[Work], judge: JudgeSettings, show: str) -> Done:
        """Makes the calls whose records are not stored yet; see `calls.carry_out`."""
        self.digest(judge)  # raises if the endpoint is down: its records would get another folder
        record_log = self.record_log(what, judge)
        try:
            return carry_out(
                work,
                judge,
                record_log,
                concurrency=self.plan.concurrency,
                budget=self.budget,
                show=show if self.bar else "",
            )
        finally:
            record_log.close()

    def estimate(self, what: str, work: Sequence[Work], judge: JudgeSettings) -> Estimate:
        """What the same would take, without the calls that were estimated before."""
        before = self._estimated.setdefault(judge.model, set())
        unique = {each.key: each for each in work if each.key not in before}
        before.update(unique)
        answers = self.digest_or_unknown(judge) != UNKNOWN
        record_log = self.record_log(what, judge) if answers else ()
        todo = [each for each in unique.values() if each.key not in record_log]
        prompt, completion = estimate(todo)
        return Estimate(
            judge=judge.model,
            what=what,
            calls=len(todo),
            stored=len(unique) - len(todo) if answers else None,
            prompt_tokens=prompt,
            completion_tokens=completion,
            cost=judge.price.of(prompt, completion) if judge.price else None,
        )


# ---------------------------------------------------------------------- example responses

Examples = dict[str, str]
"""Example texts by `responses.example_key`, without those that could not be read."""


def examples_wanted(
    judged: JudgedTask, items: Iterable[Item], writer: JudgeSettings, session: JudgeSession
) -> dict[str, Work]:
    """The examples to be written, by `responses.example_key`; none if the rubrics show none."""
    if not session.plan.examples or not judged.rubrics.examples:
        return {}
    digest = session.digest_or_unknown(writer)
    return {
        key: examples_work(
            stored_example_key(judged.rubrics, item, writer.parameters, digest),
            item,
            judged.rubrics,
            writer,
        )
        for key, item in unique_items(list(items), judged.rubrics).items()
    }


def write_examples(wanted: dict[str, Work], writer: JudgeSettings, session: JudgeSession) -> Done:
    """Writes the examples that are not stored yet."""
    show = f"examples by {writer.model}"
    return session.carry_out("examples", list(wanted.values()), writer, show)


def stored_examples(
    wanted: dict[str, Work], writer: JudgeSettings, session: JudgeSession
) -> Examples:
    """The examples that are in the store and could be read."""
    if not wanted:
        return {}
    records = session.record_log("examples", writer).get(work.key for work in wanted.values())
    texts = {
        key: str((records.get(work.key) or {}).get("examples") or "")
        for key, work in wanted.items()
    }
    return {key: text for key, text in texts.items() if text}
