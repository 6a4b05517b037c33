"""Judges an output folder: writes examples, gets verdicts, audits the judges, writes the files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from persona_bench.judge.as_published import PublishedCalls, published_calls, published_record
from persona_bench.judge.audit import audit_calls, measure, swapped_items
from persona_bench.judge.calls import Done, verdict_work
from persona_bench.judge.client import JudgeError, JudgeSettings
from persona_bench.judge.entry_test import (
    EntryResult,
    entry_calls,
    stored_entry_test,
    take_entry_test,
)
from persona_bench.judge.prompts import Item
from persona_bench.judge.responses import (
    JudgeCall,
    JudgedTask,
    make_call,
    read_judged,
    sample_responses,
)
from persona_bench.judge.session import (
    Estimate,
    Examples,
    JudgeSession,
    Plan,
    examples_wanted,
    stored_examples,
    write_examples,
)
from persona_bench.provenance import versions
from persona_bench.results.judged import JudgeFile, judge_files, judged_table
from persona_bench.results.samples import OutcomesError, newest_samples
from persona_bench.results.schema import Judgement
from persona_bench.scoring.audit import Audit
from persona_bench.texts import short_name, text_hash


@dataclass
class JudgedBy:
    """One judge's verdicts on one model's responses to one task.

    Attributes:
        model, task, judge: Names.
        done: Counts of the calls.
        unscored: Number of missing verdicts by reason.
        file: The file with the verdicts.
        audit: The judge's audit on these responses; None unless the plan asks for one.
        published: Counts of the calls of PersonaGym's published protocol; None unless the plan
            asks for it.
    """

    model: str
    task: str
    judge: str
    done: Done
    unscored: dict[str, int]
    file: Path
    audit: Audit | None = None
    published: Done | None = None


@dataclass
class Finished:
    """The result of judging a folder.

    Attributes:
        verdicts: One entry per model, task and judge.
        cost: US dollars; None where no price is known.
        left: Number of calls that were not made because the cost limit was reached.
        failed: Number of requests that failed for good.
        without_examples: Number of persona and question pairs whose examples could not be read.
    """

    verdicts: list[JudgedBy] = field(default_factory=list)
    cost: float | None = None
    left: int = 0
    failed: int = 0
    without_examples: int = 0

    def count(self, done: Done) -> None:
        """Adds the calls that were left and those that failed."""
        self.left += done.left
        self.failed += len(done.failed)


def find_judged(path: Path, sample: int | None = None, seed: int = 0) -> list[JudgedTask]:
    """The newest responses that a judge is to score.

    Args:
        path: An output folder: its judged tasks, or with `sample` the voice of its graded ones. Or
            one samples file: whatever it holds, a graded task for its voice.
        sample: Number of responses of each graded task that are judged; all by default.
        seed: Seed of the sample.

    Raises:
        OutcomesError: none there.
        JudgeError: a sample of a judged task, or one that is too small (see `sample_responses`).
    """
    files = newest_samples(path)
    if path.is_dir():
        files = [each for each in files if each.judged == (sample is None)]
    if not files and sample is None:
        raise OutcomesError(
            f"{path}: no responses of a judged task: run persona_personagym or persona_roleplay "
            "first; the voice of a graded task is judged with --sample N, or where its samples "
            "file is given instead of the folder"
        )
    if not files:
        raise OutcomesError(
            f"{path}: no responses of a graded task, and --sample is for their voice: leave it out "
            "to have judged tasks judged"
        )
    judged = [read_judged(each) for each in files]
    return judged if sample is None else [sample_responses(each, sample, seed) for each in judged]


def find_rateable(path: Path, *, asked: bool = False) -> list[JudgedTask]:
    """The newest responses that people can rate.

    Args:
        path: An output folder: its judged tasks, and the voice of graded ones that a judge was
            asked about. Or one samples file: whatever it holds.
        asked: Of the voice only what the judges were asked about, if any were asked.

    Raises:
        OutcomesError: none there.
    """
    tasks = []
    for samples in newest_samples(path):
        judges = judge_files(samples)
        if not samples.judged and not judges and path.is_dir():
            continue
        task = read_judged(samples)
        if asked and judges and not samples.judged:
            rows = judged_table(judges)
            cells = {*zip(rows["persona"], rows["question"], rows["sample"], strict=True)}
            asked_about = [r for r in task.responses if (r.persona, r.question, r.sample) in cells]
            task = replace(task, responses=asked_about)
        tasks.append(task)
    if not tasks:
        raise OutcomesError(
            f"{path}: nothing to rate: run persona_personagym or persona_roleplay, or have the "
            "voice of a graded task judged (persona-bench judge --sample N), or give the samples "
            "file of a graded task"
        )
    return tasks


def find_store(path: Path) -> Path:
    """The store of an output folder, or of one that it lies in; else a new one in the folder."""
    folder = path if path.is_dir() else path.parent
    for place in (folder, *list(folder.resolve().parents)[:2]):
        if (place / "store").is_dir():
            return place / "store"
    return folder / "store"


class Judging:
    """Carries out a plan on the responses of one folder.

    Args:
        plan: Which judges are asked, and for what.
        say: Receives progress messages.
        bar: Whether progress bars are shown.
    """

    def __init__(
        self, plan: Plan, say: Callable[[str], None] = lambda _: None, *, bar: bool = True
    ) -> None:
        self.plan, self.say = plan, say
        self.session = JudgeSession(plan, bar=bar)
        self._entered: dict[str, EntryResult | None] = {}

    def let_in(self) -> None:
        """Has the judges take the entry test if the plan says so, and refuses those that failed.

        Raises:
            JudgeError: a judge is below the bar, or the test could not be finished.
            FingerprintError: an endpoint does not answer.
        """
        for judge in self.plan.judges:
            required = self.plan.entry_test is True
            take = take_entry_test if required else stored_entry_test
            result = self._entered[judge.model] = take(self.session, judge)
            if result and (required or not result.passed):
                self.say(result.words)
            if result and not result.passed and self.plan.entry_test is not False:
                raise JudgeError(
                    f"{judge.model} has not passed the entry test ({result.accuracy:.0%}, where "
                    f"{result.bar:.0%} are asked for), so it judges nothing: take another judge, "
                    "or have it judge all the same with --no-entry-test"
                )

    def run(self, judged: Sequence[JudgedTask]) -> Finished:
        """Judges the responses that are not judged yet and writes the files.

        Raises:
            JudgeError: a judge refuses or no longer answers; finished verdicts are kept.
            FingerprintError: an endpoint does not answer.
            StoreError: the store can't be written.
        """
        finished = Finished()
        self._check_published(judged)
        self.let_in()
        for each in judged:
            wanted = examples_wanted(each, self._items(each), self.plan.writer, self.session)
            written = write_examples(wanted, self.plan.writer, self.session) if wanted else Done()
            finished.count(written)
            examples = stored_examples(wanted, self.plan.writer, self.session)
            finished.without_examples += len(wanted) - len(examples) - written.left
            for judge in self.plan.judges:
                waits = written.left > 0  # for examples: without them it is another prompt
                finished.verdicts.append(self._judge(each, judge, examples, finished, waits))
        if any(judge.price for judge in self.plan.judges):
            finished.cost = self.session.budget.spent
        return finished

    def estimates(self, judged: Sequence[JudgedTask]) -> list[Estimate]:
        """What `run` would take, without making a call."""
        rows = []
        self._check_published(judged)
        for judge in self.plan.judges if self.plan.entry_test else ():
            task, calls = entry_calls(judge, self.session.digest_or_unknown(judge))
            work = [verdict_work(call, task, judge) for call in calls]
            rows.append(self.session.estimate("entry test", work, judge))
        for each in judged:
            wanted = examples_wanted(each, self._items(each), self.plan.writer, self.session)
            if wanted:
                work = list(wanted.values())
                rows.append(self.session.estimate("examples", work, self.plan.writer))
            examples = stored_examples(wanted, self.plan.writer, self.session)
            for judge in self.plan.judges:
                digest = self.session.digest_or_unknown(judge)
                kinds = {"verdicts": self._calls(each, judge, digest, examples)}
                if self.plan.audit:
                    kinds["audit"] = audit_calls(each, self.plan, judge, digest, examples).all
                for what, calls in kinds.items():
                    work = [verdict_work(call, each, judge) for call in calls]
                    rows.append(self.session.estimate(what, work, judge))
                if published := self._published_calls(each, judge, digest):
                    rows.append(
                        self.session.estimate("as published", published.work, published.judge)
                    )
        return rows

    def _check_published(self, judged: Sequence[JudgedTask]) -> None:
        if self.plan.as_published and not any(map(_of_personagym, judged)):
            raise JudgeError(
                "as_published is for responses to persona_personagym, and there are none: leave it "
                "out of the judges' file, or run that task first"
            )

    def _published_calls(
        self, judged: JudgedTask, judge: JudgeSettings, digest: str
    ) -> PublishedCalls | None:
        """The calls of PersonaGym's published protocol; None where it is not asked for."""
        if not self.plan.as_published or not _of_personagym(judged):
            return None
        return published_calls(judged, judge, list(self.plan.judges).index(judge), digest)

    def _items(self, judged: JudgedTask) -> list[Item]:
        items = [response.item for response in judged.with_text]
        return items + (swapped_items(judged, self.plan) if self.plan.audit else [])

    def _calls(
        self, judged: JudgedTask, judge: JudgeSettings, digest: str, examples: Examples
    ) -> list[JudgeCall]:
        return [
            make_call(each, judged, judge, digest, examples=examples) for each in judged.with_text
        ]

    def _judge(
        self,
        judged: JudgedTask,
        judge: JudgeSettings,
        examples: Examples,
        finished: Finished,
        waits: bool,
    ) -> JudgedBy:
        samples, digest = judged.samples, self.session.digest(judge)
        calls = self._calls(judged, judge, digest, examples)
        extra = audit_calls(judged, self.plan, judge, digest, examples) if self.plan.audit else None
        published = self._published_calls(judged, judge, digest)
        done, audited, trouble = Done(), Done(), None
        of_published = Done() if published else None
        try:
            work = [verdict_work(call, judged, judge) for call in calls if not waits]
            done = self.session.carry_out("verdicts", work, judge, f"{judge.model}: {samples.task}")
            if extra:
                work = [verdict_work(call, judged, judge) for call in extra.all if not waits]
                audited = self.session.carry_out("audit", work, judge, f"audit of {judge.model}")
            if published:
                show = f"{judge.model}: as published"
                of_published = self.session.carry_out(
                    "as published", published.work, published.judge, show
                )
        except JudgeError as error:
            trouble = error  # raised after the finished verdicts are written
        keys = [call.key for call in (*calls, *(extra.all if extra else ()))]
        records = self.session.record_log("verdicts", judge).get(keys)
        if waits:
            done.left = len(set(keys) - set(records))
        finished.count(done)
        finished.count(audited)
        finished.count(of_published or Done())
        measured = None
        if extra and trouble is None and not done.left + audited.left:
            measured = measure(judge.model, calls, extra, records, self.plan.seed)
        file = judged_file(judged, judge.model)
        rubric = judged.rubric + (", with examples" if examples else "")
        rows = list(judged_rows(judged, judge.model, calls, records, done, rubric))
        adapted = {
            name: how for r in records.values() for name, how in r.get("adapted", {}).items()
        }
        about: dict[str, Any] = {
            "judge": judge.model,
            "fingerprint": digest,
            "parameters": judge.parameters,
            "parameters_adapted": adapted,
            "form": judge.form,
            "forms_used": sorted({str(each["form"]) for each in records.values()}),
            "reported_models": sorted({str(each["model"]) for each in records.values()}),
            "rubric": rubric,
            "samples": samples.file.name,
            "calls": {"stored": done.stored, "made": done.made, "failed": len(done.failed)},
            "versions": versions(("lm-eval", "openai", "krippendorff")),
            "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        entered = self._entered.get(judge.model)
        about["entry_test"] = entered.to_dict() if entered else None
        about["audit"] = measured.to_dict() if measured else _earlier(file, about, "audit")
        about["as_published"] = _earlier(file, about, "as_published")
        if published and of_published and trouble is None and not of_published.left:
            records = self.session.record_log("as published", judge).get(
                work.key for work in published.work
            )
            place = list(self.plan.judges).index(judge)
            about["as_published"] = published_record(published, self.plan.judges, place, records)
        JudgeFile(file).write(rows, about)
        if trouble is not None:
            raise trouble
        missing = [row.reason for row in rows if row.verdict == "unscored"]
        counts = {reason: missing.count(reason) for reason in sorted(set(missing))}
        return JudgedBy(
            samples.model, samples.task, judge.model, done, counts, file, measured, of_published
        )


def _of_personagym(judged: JudgedTask) -> bool:
    return judged.rubrics.name == "personagym"


def _earlier(file: Path, now: dict[str, Any], what: str) -> dict[str, Any] | None:
    """A part of the earlier record, if the same judge was asked in the same way."""
    earlier = JudgeFile(file).about
    same = all(
        earlier.get(name) == now[name] for name in ("fingerprint", "parameters", "form", "rubric")
    )
    return dict(earlier[what]) if same and earlier.get(what) else None


# ---------------------------------------------------------------------- the files of a judging


def judged_file(judged: JudgedTask, judge: str) -> Path:
    """The file of a judge's verdicts, beside the samples file."""
    safe = short_name("".join(c if c.isalnum() or c in "-." else "_" for c in judge), 120)
    short = hashlib.sha256(judge.encode()).hexdigest()[
        :6
    ]  # tells apart names that look alike as file names
    samples = judged.samples
    return samples.file.parent / f"judged_{samples.task}_{samples.date}_{safe}-{short}.jsonl"


def judged_rows(
    judged: JudgedTask,
    judge: str,
    calls: Sequence[JudgeCall],
    records: Mapping[str, Mapping[str, Any]],
    done: Done,
    rubric: str,
) -> Iterator[Judgement]:
    """One row per response."""
    waiting = iter(calls)
    for response in judged.responses:
        verdict: Mapping[str, Any]
        if response.missing == "api_error":
            verdict = {"score": None, "reason": "api_error"}
        elif response.missing:
            empty = judged.rubrics.rubrics[response.item.eval_task].empty
            verdict = {"score": empty, "reason": response.missing}
        else:
            key = next(waiting).key
            why = "judge_error" if key in done.failed else "not_judged"
            verdict = records.get(key) or {"score": None, "reason": why}
        yield Judgement(
            model=judged.samples.model,
            task=judged.samples.task,
            eval_task=response.item.eval_task,
            persona=response.persona,
            kind=response.kind,
            question=response.question,
            sample=response.sample,
            judge=judge,
            score=verdict["score"],
            verdict="unscored" if verdict["score"] is None else "scored",
            reason=verdict["reason"],
            justification=verdict.get("justification", ""),
            response=response.item.response,
            rubric=rubric,
            prompt_hash=text_hash(response.item.persona, response.item.question),
        )
