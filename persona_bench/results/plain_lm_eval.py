"""Outputs of plain lm-eval with different `--system_instruction`, which is the persona."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from persona_bench.results.other_run import (
    LEVELS,
    SUBJECTS,
    Choice,
    OtherRun,
    first_text,
    number,
    persona_of,
    runs_of,
    say,
    value_of,
    with_different_names,
)
from persona_bench.results.samples import OutcomesError, Samples, every_samples_file
from persona_bench.results.schema import Outcome
from persona_bench.texts import sound, text_hash

QUESTIONS = ("question", "problem", "query", "input", "prompt", "goal", "ctx", "sentence", "text")
"""Columns of a task's own documents that may hold the question's text."""
SHOWN = 3
"""Tasks that are named in one sentence."""
PER_DOCUMENT = ("mean", "nanmean", "", None)
"""Aggregations of metrics whose documents have values of their own."""
UNKNOWN = (
    "lm-eval's samples do not say how responses ended: one that was cut off is graded as it is, "
    "and never called truncated"
)


def find(path: Path) -> list[Path]:
    """The samples files at a path whose documents name no persona."""
    return [
        samples.file
        for samples in every_samples_file(path)
        if samples.first and "persona" not in samples.first
    ]


def read(files: Sequence[Path], root: Path | None, choice: Choice) -> list[OtherRun]:
    """The runs, each (model, task) with all its system instructions as personas.

    Of several runs with the same instruction the newest counts.

    Raises:
        OutcomesError: a results file that is gone, a line that is no sample, or a metric that can't
            be the one.
    """
    if choice.persona_from not in ("", "system"):
        raise OutcomesError(
            f"--persona-from {choice.persona_from} can't be used with outputs of lm-eval: the "
            "persona is their --system_instruction"
        )
    runs: dict[tuple[str, str], dict[str, Samples]] = {}
    for samples in (each for file in files for each in every_samples_file(file)):
        if not samples.results:
            raise OutcomesError(
                f"{samples.file}: the results_{samples.date}.json beside it is gone or can't be "
                "read, and with it the system instruction: put it back, or run the task again"
            )
        instruction = str(samples.results.get("system_instruction") or "").strip()
        of_task = runs.setdefault((samples.model, samples.task), {})
        before = of_task.setdefault(instruction, samples)
        if before is not samples:
            of_task[instruction] = max(before, samples, key=lambda each: each.date)
            say(
                f"several runs of {samples.task} on {samples.model} have the same system "
                "instruction: the newest counts"
            )
    say(UNKNOWN)
    headlines = _headlines(runs, choice.metric)
    rows: dict[tuple[str, str], list[Outcome]] = {}
    made, settings = {}, {}
    chosen: dict[Headline, list[str]] = {}
    for key, headline in headlines.items():
        of_task = runs[key]
        first = next(iter(of_task.values()))
        chosen.setdefault(headline, []).append(key[1])
        _check_alike(key[1], of_task)
        docs: dict[str, str] = {}
        found = [row for text, each in of_task.items() for row in _rows(each, text, headline, docs)]
        rows[key] = with_different_names(found)
        made[key] = {"files": [each.file.name for each in of_task.values()], **first.provenance}
        settings[key] = first.generation
    for headline, tasks in chosen.items():
        say(headline.notice(tasks))
    return runs_of(rows, root or files[0], made, settings)


def _headlines(
    runs: Mapping[tuple[str, str], Mapping[str, Samples]], wanted: str
) -> dict[tuple[str, str], Headline]:
    """The headline of each run: the metric that is wanted where the task has it, else the first.

    Tasks without a metric that can be one are left out with a warning, if others have some.
    """
    found: dict[tuple[str, str], Headline] = {}
    errors: dict[tuple[str, str], OutcomesError] = {}
    for key, of_task in runs.items():
        first = next(iter(of_task.values()))
        try:
            found[key] = Headline.of(first, wanted)
        except OutcomesError as error:
            errors[key] = error
    if not found:
        raise next(iter(errors.values()))
    for key, problem in errors.items():
        if not wanted:
            say(f"left out: {problem}")
        else:
            found[key] = Headline.of(next(iter(runs[key].values())), "")
    return {key: found[key] for key in runs if key in found}


def _check_alike(task: str, of_task: Mapping[str, Samples]) -> None:
    """Warns where runs differ in more than their system instructions."""
    told = [
        {
            "few-shot examples": (each.results.get("n-shot") or {}).get(each.task),
            "version": (each.results.get("versions") or {}).get(each.task),
            "generation": each.generation,
            "chat template": each.results.get("chat_template_sha"),
            "model arguments": (each.results.get("config") or {}).get("model_args"),
        }
        for each in of_task.values()
    ]
    differing = [name for name in told[0] if any(each[name] != told[0][name] for each in told)]
    if differing:
        say(
            f"{task}: the runs differ in their {', '.join(differing)} as well as in their system "
            "instructions: what the personas do can't be told from what these do"
        )


class Headline(NamedTuple):
    """The (metric, filter) that decides each document, by what lm-eval wrote of the task."""

    metric: str
    filter: str
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, samples: Samples, wanted: str) -> Headline:
        """The first metric that can be one, with the first filter; or the one that is wanted.

        Raises:
            OutcomesError: there is none, or not this one.
        """
        record = next(_records(samples), {})
        declared_filters = samples.config.get("filter_list") or []
        filters = [str(each["name"]) for each in declared_filters] or [_filter(record)]
        declared = samples.config.get("metric_list") or []
        aggregations = {each["metric"]: each.get("aggregation") for each in declared}
        higher = (samples.results.get("higher_is_better") or {}).get(samples.task) or {}
        names = list(dict.fromkeys([*map(str, aggregations), *record.get("metrics", ())]))
        fitting = [
            name
            for name in names
            if higher.get(name) is not False
            and _of_documents(aggregations.get(name))
            and _in_range(record.get(name))
        ]
        every = [f"{name},{each}" for name in fitting for each in filters]
        metric, _, filter_ = (part.strip() for part in wanted.partition(","))
        # a metric may give its values under other names than its own (pass_at_k: pass@1)
        absent = (metric and metric not in record) or (filter_ and filter_ not in filters)
        if absent or not (metric or fitting):
            what = (
                f"there is no metric {wanted}"
                if absent
                else "no metric gives each document a number from 0 to 1, higher being better"
            )
            usable = f": use --metric with one of {' · '.join(every)}" if every else ""
            raise OutcomesError(f"{samples.file}: {what}{usable}")
        metric, filter_ = metric or fitting[0], filter_ or filters[0]
        return cls(metric, filter_, tuple(each for each in every if each != f"{metric},{filter_}"))

    def __str__(self) -> str:
        return f"{self.metric},{self.filter}"

    def notice(self, tasks: Sequence[str]) -> str:
        """What the user should know of the choice."""
        names = list(dict.fromkeys(tasks))
        who = ", ".join(names) if len(names) <= SHOWN else f"{names[0]} and {len(names) - 1} more"
        text = f"{who}: scored by {self}"
        return f"{text} (others, by --metric: {' · '.join(self.others)})" if self.others else text


def _filter(record: Mapping[str, Any]) -> str:
    return str(record.get("filter") or "none")


def _of_documents(aggregation: Any) -> bool:
    """Whether an aggregation leaves each document a value; a function of the task's own may."""
    return (
        aggregation in PER_DOCUMENT or "\n" in str(aggregation) or "<function" in str(aggregation)
    )


def _in_range(value: Any) -> bool:
    found = number(value)
    return found is not None and (math.isnan(found) or 0 <= found <= 1)


def _records(samples: Samples) -> Iterator[dict[str, Any]]:
    with samples.file.open(encoding="utf-8", newline="\n") as lines:
        for place, line in enumerate(lines, start=1):
            try:
                yield {**json.loads(line), "_line": place}
            except (ValueError, TypeError) as error:
                raise OutcomesError(
                    f"{samples.file}:{place}: not a sample of lm-eval ({error}); was the file cut "
                    "off? Run the task again"
                ) from None


def _rows(
    samples: Samples, instruction: str, headline: Headline, docs: dict[str, str]
) -> Iterator[Outcome]:
    """The rows of one system instruction; `docs` has the hash of each document seen so far."""
    persona, kind = persona_of(instruction)
    count = lost = differ = 0
    for record in _records(samples):
        if _filter(record) != headline.filter:
            continue
        count += 1
        try:
            row, context = _row(samples, record, headline)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise OutcomesError(
                f"{samples.file}:{record['_line']}: not a sample of lm-eval ({error!r}): run the "
                "task again with --log_samples"
            ) from None
        lost += not _holds(context, instruction)
        doc_hash = str(record.get("doc_hash") or record["doc"])
        differ += docs.setdefault(row.question, doc_hash) != doc_hash
        yield row._replace(
            persona=persona,
            kind=kind,
            persona_prompt=instruction,
            system=instruction,
            prompt_hash=text_hash(instruction, doc_hash),
        )
    if not count:
        raise OutcomesError(f"{samples.file}: no line has the filter {headline.filter}")
    if differ:
        say(
            f"{samples.task} on {samples.model}: {differ:,} of {count:,} documents under the "
            f"system instruction {instruction[:60]!r} are not those of another one (other data, or "
            "another seed): personas are compared on different questions"
        )
    if lost:
        say(
            f"{samples.task} on {samples.model}: {lost:,} of {count:,} prompts lack the system "
            f"instruction {instruction[:60]!r}: does the chat template drop system messages?"
        )


def _row(samples: Samples, record: Mapping[str, Any], headline: Headline) -> tuple[Outcome, str]:
    doc = record["doc"] if isinstance(record["doc"], dict) else {}
    found = record.get(headline.metric)
    value = number(found)
    missing = found is None or (value is not None and math.isnan(value))
    if not missing and (value is None or not 0 <= value <= 1):
        raise OutcomesError(
            f"{samples.file}:{record['_line']}: {headline} is {str(found)[:60]}, where a number "
            "from 0 to 1 belongs: choose another by --metric"
        )
    requests = _requests(record["arguments"])
    context, settings = requests[0]
    answered, response = record["resps"], ""
    if isinstance(settings, Mapping):
        while isinstance(answered, list) and answered:
            answered = answered[0]
        response = str(answered)
    else:  # likelihoods: the likeliest continuation stands for a response
        likelihoods = [float(each[0][0]) for each in answered]
        response = str(requests[likelihoods.index(max(likelihoods))][1])
    row = Outcome(
        **value_of(value, "no_value" if missing else "wrong_answer"),
        question=str(record["doc_id"]),
        level=first_text(doc, LEVELS),
        subject=first_text(doc, SUBJECTS),
        response=sound(response),
        grader=f"lm-eval: {headline}",
        prompt=first_text(doc, QUESTIONS) or context,
        context=context,
        answer=str(record.get("target", "")),
        limit=str(settings.get("max_gen_toks") or "") if isinstance(settings, Mapping) else "",
    )
    return row, context


def _requests(arguments: Any) -> list[tuple[str, Any]]:
    """Prompt, and continuation or settings, of each request of a document."""
    if isinstance(arguments, Mapping):
        pairs = [(each["arg_0"], each["arg_1"]) for each in arguments.values()]
    else:  # lm-eval before 0.4.4
        pairs = [(each[0], each[1]) for each in arguments]
    return [(_text(context), more) for context, more in pairs]


def _text(context: Any) -> str:
    """A prompt as text: chat endpoints are sent messages as JSON, in batches of one."""
    if isinstance(context, list) and len(context) == 1:
        return _text(context[0])
    return context if isinstance(context, str) else json.dumps(context, ensure_ascii=False)


def _holds(context: str, instruction: str) -> bool:
    """Whether a prompt holds the instruction, as text or as JSON of messages."""
    as_json = (json.dumps(instruction, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False))
    return instruction in context or any(text in context for text in as_json)
