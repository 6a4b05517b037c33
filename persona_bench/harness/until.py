"""Runs that stop when they know: blocks of questions are asked until a planned look decides.

Before each look an ordinary run asks the questions up to a planned number, in random order. The
knob `n_questions` draws them: its smaller subsets are part of the larger ones, and `persona_seed`
fixes the order. What is stored isn't asked again, so that a run that was killed takes the same
looks again at no cost and comes to the same decision. `scoring.sequential` has the plan.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.harness.fingerprint import without_secrets
from persona_bench.harness.run import Asked, RunError, Session, check_tasks, load_tasks, parts_named
from persona_bench.results.outcomes import read_outcomes
from persona_bench.results.samples import Samples, find_samples
from persona_bench.scoring.gate import Gate, gate
from persona_bench.scoring.sequential import planned_looks
from persona_bench.scoring.stability import Stability, stability

OPEN = ("undetermined", "can't tell")
"""Words after which the run goes on."""


@dataclass(frozen=True)
class Base:
    """The old checkpoint that a new one is tested against.

    Attributes:
        name: As the user gave it.
        outcomes: By task.
        margins: Arguments of `gate`.
    """

    name: str
    outcomes: Mapping[str, pd.DataFrame]
    margins: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is asked at most of one task, and when it is looked at.

    Attributes:
        asked: The task with its knobs.
        looks: Questions asked at each look; the last one is the cap.
        responses: To each question, over all personas and samples.
        base: What it is tested against; None where the word of the corrected PSS decides.
    """

    asked: Asked
    looks: tuple[int, ...]
    responses: int
    base: Base | None

    @property
    def questions(self) -> int:
        """The cap."""
        return self.looks[-1]


@dataclass(frozen=True)
class Stopped:
    """How a run ended.

    Attributes:
        plan: What was planned.
        look: The number of the last look, from 1.
        result: What was known then.
    """

    plan: Plan
    look: int
    result: Stability | Gate

    @property
    def word(self) -> str:
        """`stable`, `unstable` or `undetermined`; of a gate `pass`, `fail` or `can't tell`."""
        result = self.result
        return result.conclusion if isinstance(result, Stability) else result.verdict

    @property
    def decided(self) -> bool:
        """Whether the word is one to stop at."""
        return self.word not in OPEN

    @property
    def over(self) -> bool:
        """Whether no further look follows."""
        return self.decided or self.look == len(self.plan.looks)

    def to_dict(self) -> dict[str, Any]:
        """Facts for the results file."""
        n = self.plan.looks[self.look - 1]
        return {
            "decision": self.word if self.decided else None,
            "over": self.over,
            "responses": n * self.plan.responses,
            "responses_of_all": self.plan.questions * self.plan.responses,
        }


def plan_tasks(
    asked: Sequence[Asked],
    model_args: Mapping[str, Any],
    base: Base | None = None,
    *,
    confirm_run_unsafe_code: bool = False,
) -> list[Plan]:
    """The plan of each task; the tasks of a group are decided one by one.

    Raises:
        RunError: a task without a word to be decided, knobs that choose other than whole questions,
            or a base that lacks the task, its personas or its questions.
        KnobError, PersonaSetError, SourceError: as `load_tasks`.
    """
    for each in asked:
        check_tasks([each.task], each.include_path)
    singles = [replace(each, task=task) for each in asked for task in parts_named(each)]
    plans = []
    for each in singles:
        for knob in ("design", "shard", "turns"):
            if each.metadata.get(knob):
                raise RunError(
                    f"--until decides on whole questions in random order: leave out {knob}"
                )
        ids, rows, personas = _documents(each, model_args, confirm_run_unsafe_code)
        if base is not None:
            count = _in_common(each, ids, personas, base)
            if count < len(ids):
                each = _first(each, count)
                ids, rows, _ = _documents(each, model_args, confirm_run_unsafe_code)
                _in_common(each, ids, personas, base, whole=True)
        plans.append(Plan(each, planned_looks(len(ids)), rows // len(ids), base))
    return plans


def run_until_decided(
    session: Session,
    plans: Sequence[Plan],
    *,
    output_path: Path | None = None,
    confirm_run_unsafe_code: bool = False,
    apply_chat_template: bool = True,
    system_instruction: str | None = None,
    fewshot_as_multiturn: bool | None = None,
) -> list[Stopped]:
    """Asks each task in blocks until it is decided, or until its cap.

    Args:
        session: The model.
        plans: From `plan_tasks`.
        output_path, confirm_run_unsafe_code, apply_chat_template, system_instruction,
            fewshot_as_multiturn: As `Session.run`.

    Returns:
        One for each plan; none on ranks that hold no results.

    Raises:
        RunError: results are pushed to a hub, which has no place for looks.
        CompareError: the base can't be compared.
        As `Session.run`; what was done is kept.
    """
    if session.hub:
        raise RunError("--until takes several looks: leave out hf_hub_log_args, push the end")
    of_run: dict[str, Any] = {
        "confirm_run_unsafe_code": confirm_run_unsafe_code,
        "apply_chat_template": apply_chat_template,
        "system_instruction": system_instruction,
    }
    if fewshot_as_multiturn is not None:
        of_run["fewshot_as_multiturn"] = fewshot_as_multiturn
    return [
        stopped
        for plan in plans
        if (stopped := _run_plan(session, plan, output_path or session.output_path, of_run))
    ]


def _run_plan(
    session: Session, plan: Plan, folder: Path, of_run: Mapping[str, Any]
) -> Stopped | None:
    about = {
        "asked": asdict(plan.asked),
        "model": session.model,
        "model_args": without_secrets(session.model_args),
        "seed": session.seed,
        "against": plan.base.name if plan.base else None,
        **of_run,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    stopped = None
    for look, n in enumerate(plan.looks, start=1):
        record = {
            "plan": digest[:16],
            "planned": list(plan.looks),
            "looks": list(plan.looks[:look]),
            "questions": plan.questions,
            "order_seed": int(plan.asked.metadata.get("persona_seed") or 0),
            "against": about["against"],
        }
        session.run([_first(plan.asked, n)], output_path=folder, record={"until": record}, **of_run)
        session.lm.barrier()  # the first process has written what all of them read
        samples = _results_of(folder, plan.asked.name, digest[:16])
        stopped = Stopped(plan, look, _result(plan, read_outcomes(samples.file)))
        if int(session.lm.rank) == 0:
            _write(samples, {**record, **stopped.to_dict()})
            session.say(describe(stopped))
        if stopped.over:
            break
    return stopped if int(session.lm.rank) == 0 else None


def _result(plan: Plan, outcomes: pd.DataFrame) -> Stability | Gate:
    with warnings.catch_warnings():  # scoring at the end says them
        warnings.simplefilter("ignore")
        if plan.base is None:
            return stability(outcomes)
        base = plan.base.outcomes[plan.asked.name]
        base = base[base["question"].astype(str).isin(outcomes["question"])]
        return gate(base, outcomes, **plan.base.margins)


def describe(stopped: Stopped) -> str:
    """One line about a look."""
    plan, result = stopped.plan, stopped.result
    n = plan.looks[stopped.look - 1]
    text = (
        f"{plan.asked.name}, look {stopped.look} of at most {len(plan.looks)}: {n:,} of "
        f"{plan.questions:,} questions, "
    )
    if isinstance(result, Stability):
        low, high = result.pss_corrected.interval
        text += f"corrected PSS {result.pss_corrected:.3f} [{low:.3f}, {high:.3f}], "
    text += stopped.word
    if stopped.decided:
        text += f"; stopped, {1 - n / plan.questions:.0%} of the responses saved"
    elif stopped.over:
        text += "; stopped at the cap without a decision"
    return text


# ------------------------------------------------------------------------- tasks and files
def _first(asked: Asked, questions: int) -> Asked:
    return replace(asked, metadata={**asked.metadata, "n_questions": questions})


def _documents(
    asked: Asked, model_args: Mapping[str, Any], confirmed: bool
) -> tuple[set[str], int, set[str]]:
    """Ids of the questions, number of responses, and ids of the personas."""
    (task,) = load_tasks([asked], model_args, confirm_run_unsafe_code=confirmed)
    if task.benchmark.judged:
        raise RunError(
            f"--until: {asked.name} is judged, and has no word stable or unstable to be decided: "
            "run it without --until"
        )
    documents = task.dataset["test"]
    return set(documents["question"]), len(documents), set(task.personas)


def _in_common(
    asked: Asked, questions: set[str], personas: set[str], base: Base, *, whole: bool = False
) -> int:
    """How many of the questions the base has; `whole`: it must have all of them."""
    if (outcomes := base.outcomes.get(asked.name)) is None:
        has = ", ".join(base.outcomes) or "none"
        raise RunError(f"--against {base.name}: it has no results of {asked.name} (it has {has})")
    if personas != (theirs := set(outcomes["persona"].astype(str))):
        differ = ", ".join(sorted(personas ^ theirs)[:5])
        raise RunError(
            f"--against {base.name}: its personas differ ({differ}): run with its persona_set, "
            "n_personas and persona_seed"
        )
    common = len(questions & set(outcomes["question"].astype(str)))
    if not common or (whole and common < len(questions)):
        raise RunError(
            f"--against {base.name}: it has other questions than this run asks: run with its "
            "n_questions and persona_seed"
        )
    return common


def _results_of(folder: Path, task: str, plan: str) -> Samples:
    """The newest results of a plan."""
    looks = [
        each
        for each in find_samples(folder)
        if each.task == task and (each.facts.get("until") or {}).get("plan") == plan
    ]
    if not looks:
        raise RunError(f"{folder}: the results of the last look are gone; start the run again")
    return max(looks, key=lambda each: each.date)


def _write(samples: Samples, record: Mapping[str, Any]) -> None:
    """Adds what was decided to the results file of the look."""
    file, results = samples.results_file, samples.results
    if file is None:
        raise RunError(f"{samples.file}: the results file of the last look is gone: start it again")
    results["configs"][samples.task]["metadata"]["persona_bench"]["until"] = dict(record)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(results, indent=2, ensure_ascii=False), encoding="utf-8")
    part.replace(file)
