"""Logs of inspect_ai (`.eval`, `.json`): the system message is the persona, epochs are samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_bench.results.other_run import (
    LEVELS,
    SUBJECTS,
    Choice,
    OtherRun,
    first_text,
    persona_of,
    runs_of,
    say,
    value_of,
    with_different_names,
)
from persona_bench.results.samples import OutcomesError
from persona_bench.results.schema import Outcome
from persona_bench.texts import sound, text_hash

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ChatMessage
    from inspect_ai.scorer import Score

OURS = "persona_bench"
"""Where a sample's metadata hold what this project's own inspect tasks know of it."""
SETTINGS = (
    "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "stop_seqs",
    "reasoning_effort", "reasoning_tokens",
)  # fmt: skip
"""Settings of a log that change what a model says."""
WORDS = ("c", "i", "p", "n", "yes", "no", "true", "false")
"""Texts that inspect_ai takes for numbers; single letters in capitals."""
FINISHES = {"max_tokens": "length", "model_length": "length"}
FAILURES = {"length": "truncated", "content_filter": "refused"}
UNKNOWN = (
    "inspect_ai's logs hold messages, not the prompt that a chat template makes of them: that the "
    "persona reached the model can't be proven"
)


def find(path: Path) -> list[Path]:
    """The logs at a path."""
    if path.is_file():
        return [path] if _is_log(path) else []
    return sorted(file for file in path.rglob("*") if file.is_file() and _is_log(file))


def _is_log(file: Path) -> bool:
    if file.suffix == ".eval":
        return True
    if file.suffix != ".json":
        return False
    with file.open("rb") as opened:
        head = opened.read(400)
    return all(key in head for key in (b'"version"', b'"status"', b'"eval"'))


def read(files: Sequence[Path], root: Path | None, choice: Choice) -> list[OtherRun]:
    """The runs in some logs, by model and task; where logs repeat a cell the newest counts.

    Raises:
        OutcomesError: inspect_ai is not installed, a log can't be read, it lacks the persona's key
            or the scorer, or a value that is no number from 0 to 1.
    """
    logs = [(file, _log(file)) for file in files]
    logs.sort(key=lambda each: each[1].eval.created)
    cells: dict[tuple[str, str], dict[tuple[str, str, int], Outcome]] = {}
    made: dict[tuple[str, str], dict[str, Any]] = {}
    settings: dict[tuple[str, str], dict[str, Any]] = {}
    repeated = False
    for file, log in logs:
        key = (log.eval.model, log.eval.task.rpartition("/")[2])
        of_task = cells.setdefault(key, {})
        for row in _rows(file, log, choice):
            cell = (row.persona, row.question, row.sample)
            repeated |= cell in of_task
            of_task[cell] = row
        made.setdefault(key, {"logs": [], "packages": log.eval.packages})["logs"].append(file.name)
        settings.setdefault(key, _settings(log))
        if settings[key] != _settings(log):
            say(f"{key[1]}: its logs differ in their generation settings, not in personas alone")
    say(UNKNOWN)
    if repeated:
        say("several logs hold the same persona, question and epoch: the newest counts")
    rows = {}
    for key, of_task in cells.items():
        if not of_task:
            raise OutcomesError(f"{files[0]}: no samples of {key[1]} in it: was it run to its end?")
        graders = [row.grader for row in of_task.values() if row.grader]
        found = [
            row if row.grader else row._replace(grader=graders[0] if graders else "")
            for row in of_task.values()
        ]
        if choice.persona_from in ("", "system"):
            _check_asked_alike(key[1], found)
            found = with_different_names(found)
        rows[key] = _same_questions(found)
    return runs_of(rows, root or files[0], made, settings)


def _check_asked_alike(task: str, rows: Sequence[Outcome]) -> None:
    """Refuses logs in which one sample id asks different things."""
    asked: dict[str, Outcome] = {}
    for row in rows:
        first = asked.setdefault(row.question, row)
        if first.prompt != row.prompt:
            raise OutcomesError(
                f"{task}: sample {row.question} asks something else under {row.persona} than under "
                f"{first.persona}: give logs of one data set (if the persona stands in the user "
                "message, name it by --persona-from metadata:KEY)"
            )


def _log(file: Path) -> EvalLog:
    try:
        from inspect_ai.log import read_eval_log
    except ImportError:
        raise OutcomesError(
            f"{file}: logs of inspect_ai are read by its library: pip install inspect_ai"
        ) from None
    try:
        log = read_eval_log(str(file))
    except Exception as error:  # of zip files, of JSON, of its schema
        raise OutcomesError(f"{file}: not a log that inspect_ai can read ({error})") from None
    if log.status != "success":
        say(f"{file.name}: this evaluation did not end well ({log.status}): samples may be missing")
    return log


def _settings(log: EvalLog) -> dict[str, Any]:
    config = log.plan.config.model_dump(exclude_none=True)
    used = {name: config[name] for name in SETTINGS if name in config}
    if "max_tokens" in config:
        used["max_gen_toks"] = config["max_tokens"]
    return {**used, "samples": log.eval.config.epochs or 1}


def _rows(file: Path, log: EvalLog, choice: Choice) -> Iterator[Outcome]:
    scorer, _, part = choice.metric.partition("/")
    grader = (log.eval.metadata or {}).get(OURS, {}).get("grader", "")
    for sample in log.samples or ():
        where = f"{file}: sample {sample.id}, epoch {sample.epoch}"
        known = (sample.metadata or {}).get(OURS, {}) if not choice.persona_from else {}
        system = str(known.get("persona_prompt", _system(log, sample)))
        if known:
            persona, kind = str(known["persona"]), str(known["kind"])
        else:
            persona, kind = _persona(where, log, sample, system, choice.persona_from)
        name, score = _score(where, sample, scorer)
        stop = sample.output.choices[0].stop_reason if sample.output.choices else ""
        finish = FINISHES.get(stop, stop)
        value, part_name = _value(where, name, score, part)
        said = (score.metadata or {}) if score else {}
        if value is None or math.isnan(value):
            failed = (
                "sample_error" if sample.error else "not_scored" if score is None else "no_value"
            )
            reason = str((score.reason if score else None) or said.get("reason") or failed)
        else:
            reason = str(said.get("reason") or FAILURES.get(finish, "wrong_answer"))
        prompt = _user(sample)
        target = sample.target if isinstance(sample.target, str) else " | ".join(sample.target)
        data = {**(sample.metadata or {}), **known}
        yield Outcome(
            **value_of(value, reason),
            persona=persona,
            kind=kind,
            question=str(known.get("question", sample.id)),
            level=first_text(data, LEVELS),
            subject=first_text(data, SUBJECTS),
            sample=sample.epoch - 1,
            route=str(said.get("route") or ""),
            response=sound(sample.output.completion),
            grader=grader or (f"inspect_ai: {part_name}" if score else ""),
            prompt_hash=text_hash(system, prompt),
            persona_prompt=system,
            system=system,
            prompt=prompt,
            answer=target,
            finish=finish,
            taken=str((score.answer if score else None) or ""),
            tokens=str(sample.output.usage.output_tokens) if sample.output.usage else "",
            limit=str(log.plan.config.max_tokens or ""),
        )


def _system(log: EvalLog, sample: EvalSample) -> str:
    """The system message of a sample; that of the others for one that failed before it had one."""
    if log.plan.config.system_message:
        return log.plan.config.system_message
    if not sample.messages:
        others = {_joined(each.messages) for each in log.samples or () if each.messages}
        if len(others) == 1:
            return others.pop()
    return _joined(sample.messages)


def _joined(messages: Sequence[ChatMessage]) -> str:
    return "\n\n".join(each.text for each in messages if each.role == "system")


def _user(sample: EvalSample) -> str:
    """What the sample asks, without system messages."""
    if isinstance(sample.input, str):
        return sample.input
    return "\n\n".join(each.text for each in sample.input if each.role != "system")


def _persona(
    where: str, log: EvalLog, sample: EvalSample, system: str, source: str
) -> tuple[str, str]:
    place, _, key = source.partition(":")
    if not key:
        return persona_of(system)
    of_task = dict(log.eval.task_args)
    held = of_task if place == "task_arg" else {**(log.eval.metadata or {}), **sample.metadata}
    if held.get(key) is None:
        have = ", ".join(map(str, held)) or "none"
        raise OutcomesError(f"{where}: --persona-from {source}: no {key!r} there (it has {have})")
    return str(held[key]), "control" if str(held[key]) == "none" else ""


def _score(where: str, sample: EvalSample, wanted: str) -> tuple[str, Score | None]:
    """The scorer that is wanted, or the first one, and its score; None where there is none."""
    scores = sample.scores or {}
    if wanted and scores and wanted not in scores:
        raise OutcomesError(f"{where}: no scorer {wanted!r}: use --metric {' or '.join(scores)}")
    name = wanted or next(iter(scores), "")
    if len(scores) > 1 and not wanted:
        others = " · ".join(each for each in scores if each != name)
        say(f"scored by {name} (others, by --metric: {others})")
    return name, scores.get(name)


def _value(where: str, name: str, score: Score | None, part: str) -> tuple[float | None, str]:
    """A score's value as a number, and the scorer's name with that of the value's part."""
    if score is None:
        return None, name
    value: Any = score.value
    if isinstance(value, Mapping):
        if part and part not in value:
            raise OutcomesError(f"{where}: {name} has no {part!r}: use {', '.join(value)}")
        part = part or next(iter(value), "")
        if len(value) > 1:
            others = " · ".join(f"{name}/{each}" for each in value if each != part)
            say(f"scored by {name}/{part} (others, by --metric: {others})")
        value, name = value.get(part), f"{name}/{part}"
    found = _number(value)
    if found is None or not (math.isnan(found) or 0 <= found <= 1):
        raise OutcomesError(
            f"{where}: {name} is {value!r}, where a number from 0 to 1 belongs: choose another "
            "scorer by --metric SCORER (or SCORER/KEY)"
        )
    return found, name


def _number(value: Any) -> float | None:
    """As inspect_ai's own `value_to_float`, but None for what it would silently take for 0."""
    from inspect_ai.scorer import value_to_float

    if value is None:
        return math.nan
    if isinstance(value, str) and value.lower() not in WORDS:
        try:
            return float(value)
        except ValueError:
            return None
    return None if isinstance(value, (list, Mapping)) else float(value_to_float()(value))


def _same_questions(rows: list[Outcome]) -> list[Outcome]:
    """Gives a question one id under all personas, where samples have ids of their own.

    A data set that crosses questions and personas has a sample for each pair: those that ask the
    same text are the same question, called after the first of them.
    """
    personas: dict[str, set[str]] = {}
    for row in rows:
        personas.setdefault(row.question, set()).add(row.persona)
    crossed = len({row.persona for row in rows}) > 1
    if not crossed or any(len(each) > 1 for each in personas.values()):
        return rows
    first: dict[str, str] = {}
    return [row._replace(question=first.setdefault(row.prompt, row.question)) for row in rows]
