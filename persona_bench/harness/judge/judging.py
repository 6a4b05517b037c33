"""Judging an output folder: examples, verdicts, the judges' audits, and the files of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from persona_bench.grading.judge.prompt import Item
from persona_bench.harness.judge.asking import Done, verdict_work
from persona_bench.harness.judge.client import JudgeError, JudgeSettings
from persona_bench.harness.judge.desk import Desk
from persona_bench.harness.judge.examples import (
    Examples,
    examples_wanted,
    stored_examples,
    write_examples,
)
from persona_bench.harness.judge.files import judged_file, judged_rows, write_judged
from persona_bench.harness.judge.jobs import Job, Judged, make_job, read_judged
from persona_bench.harness.judge.measuring import audit_jobs, measure, swapped_items
from persona_bench.harness.judge.plan import Estimate, Plan
from persona_bench.provenance import versions
from persona_bench.scoring.audit import Audit
from persona_bench.scoring.judged import JudgeFile
from persona_bench.scoring.samples import OutcomesError, newest_samples


@dataclass
class JudgedBy:
    """What one judge said of one model's responses to one task.

    Attributes:
        model, task, judge: Which.
        done: What was asked.
        unscored: Reasons of the verdicts that are missing, with counts.
        file: The verdicts.
        audit: Of the judge on these responses; None where none was asked for.
    """

    model: str
    task: str
    judge: str
    done: Done
    unscored: dict[str, int]
    file: Path
    audit: Audit | None = None


@dataclass
class Finished:
    """What came of judging a folder.

    Attributes:
        verdicts: By model, task and judge.
        cost: US dollars; None where no price is known.
        left: Calls that were not made, as the cost limit was reached.
        failed: Requests that failed for good.
        without_examples: Persona and question pairs whose examples could not be read.
    """

    verdicts: list[JudgedBy] = field(default_factory=list)
    cost: float | None = None
    left: int = 0
    failed: int = 0
    without_examples: int = 0

    def count(self, done: Done) -> None:
        """Adds what was left and what failed."""
        self.left += done.left
        self.failed += len(done.failed)


def find_judged(path: Path, tasks: Sequence[str] | None = None) -> list[Judged]:
    """The judged tasks' newest responses in an output folder.

    Raises:
        OutcomesError: none there.
    """
    found = newest_samples(path, judged=True)
    chosen = [each for each in found if not tasks or each.task in tasks]
    if not chosen:
        asked = f" named {', '.join(tasks)}" if tasks and found else ""
        raise OutcomesError(
            f"{path}: no responses of a judged task{asked}: run persona_personagym or "
            "persona_roleplay first"
        )
    return [read_judged(each) for each in chosen]


def find_store(path: Path) -> Path:
    """The store of an output folder, or of one that it lies in; else a new one in the folder."""
    folder = path if path.is_dir() else path.parent
    for place in (folder, *list(folder.resolve().parents)[:2]):
        if (place / "store").is_dir():
            return place / "store"
    return folder / "store"


class Judging:
    """A plan, carried out on the responses of one folder.

    Args:
        plan: What is asked of whom.
        say: Is told what is being done.
        bar: Whether progress bars are shown.
    """

    def __init__(
        self, plan: Plan, say: Callable[[str], None] = lambda _: None, *, bar: bool = True
    ) -> None:
        self.plan, self.say = plan, say
        self.desk = Desk(plan, bar=bar)

    def run(self, judged: Sequence[Judged]) -> Finished:
        """Judges what is not judged yet and writes the files.

        Raises:
            JudgeError: a judge refuses or no longer answers; what was had is stored, and written.
            FingerprintError: an endpoint does not answer.
            StoreError: the store can't be written.
        """
        found = Finished()
        for each in judged:
            wanted = examples_wanted(each, self._items(each), self.plan.writer, self.desk)
            written = write_examples(wanted, self.plan.writer, self.desk) if wanted else Done()
            found.count(written)
            examples = stored_examples(wanted, self.plan.writer, self.desk)
            found.without_examples += len(wanted) - len(examples) - written.left
            for judge in self.plan.judges:
                waits = written.left > 0  # for examples: without them it is another prompt
                found.verdicts.append(self._judge(each, judge, examples, found, waits))
        if any(judge.price for judge in self.plan.judges):
            found.cost = self.desk.budget.spent
        return found

    def estimates(self, judged: Sequence[Judged]) -> list[Estimate]:
        """What `run` would ask, without asking it."""
        rows = []
        for each in judged:
            wanted = examples_wanted(each, self._items(each), self.plan.writer, self.desk)
            if wanted:
                work = list(wanted.values())
                rows.append(self.desk.estimate("examples", work, self.plan.writer))
            examples = stored_examples(wanted, self.plan.writer, self.desk)
            for judge in self.plan.judges:
                digest = self.desk.digest_or_unknown(judge)
                kinds = {"verdicts": self._jobs(each, judge, digest, examples)}
                if self.plan.audit:
                    kinds["audit"] = audit_jobs(each, self.plan, judge, digest, examples).all
                for what, jobs in kinds.items():
                    work = [verdict_work(job, each, judge) for job in jobs]
                    rows.append(self.desk.estimate(what, work, judge))
        return rows

    def _items(self, judged: Judged) -> list[Item]:
        items = [response.item for response in judged.with_text]
        return items + (swapped_items(judged, self.plan) if self.plan.audit else [])

    def _jobs(
        self, judged: Judged, judge: JudgeSettings, digest: str, examples: Examples
    ) -> list[Job]:
        return [
            make_job(each, judged, judge, digest, examples=examples) for each in judged.with_text
        ]

    def _judge(
        self,
        judged: Judged,
        judge: JudgeSettings,
        examples: Examples,
        found: Finished,
        waits: bool,
    ) -> JudgedBy:
        samples, digest = judged.samples, self.desk.digest(judge)
        jobs = self._jobs(judged, judge, digest, examples)
        extra = audit_jobs(judged, self.plan, judge, digest, examples) if self.plan.audit else None
        done, audited, trouble = Done(), Done(), None
        try:
            work = [verdict_work(job, judged, judge) for job in jobs if not waits]
            done = self.desk.carry_out("verdicts", work, judge, f"{judge.model}: {samples.task}")
            if extra:
                work = [verdict_work(job, judged, judge) for job in extra.all if not waits]
                audited = self.desk.carry_out("audit", work, judge, f"audit of {judge.model}")
        except JudgeError as error:
            trouble = error  # said once what is there is written
        keys = [job.key for job in (*jobs, *(extra.all if extra else ()))]
        records = self.desk.shelf("verdicts", judge).get(keys)
        if waits:
            done.left = len(set(keys) - set(records))
        found.count(done)
        found.count(audited)
        measured = None
        if extra and trouble is None and not done.left + audited.left:
            measured = measure(judge.model, jobs, extra, records, self.plan.seed)
        file = judged_file(judged, judge.model)
        rubric = judged.rubric + (", with examples" if examples else "")
        rows = list(judged_rows(judged, judge.model, jobs, records, done, rubric))
        adapted = {
            name: how for r in records.values() for name, how in r.get("adapted", {}).items()
        }
        told: dict[str, Any] = {
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
        told["audit"] = measured.to_dict() if measured else _earlier_audit(file, told)
        write_judged(file, rows, told)
        if trouble is not None:
            raise trouble
        missing = [row["reason"] for row in rows if row["verdict"] == "unscored"]
        counts = {reason: missing.count(reason) for reason in sorted(set(missing))}
        return JudgedBy(samples.model, samples.task, judge.model, done, counts, file, measured)


def _earlier_audit(file: Path, now: dict[str, Any]) -> dict[str, Any] | None:
    """An audit of the same judge, asked the same way on the same responses, still holds."""
    told = JudgeFile(file).about
    same = all(
        told.get(what) == now[what] for what in ("fingerprint", "parameters", "form", "rubric")
    )
    return dict(told["audit"]) if same and told.get("audit") else None
