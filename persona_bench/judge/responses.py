"""The stored responses that are judged, and the judge calls that score them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from persona_bench.benchmarks.rubrics import VOICE, RubricSet
from persona_bench.benchmarks.voice import WITHOUT_VOICE, voice_rubrics
from persona_bench.harness.regrade import benchmark_of
from persona_bench.judge.client import JudgeError, JudgeSettings
from persona_bench.judge.prompts import Item, example_messages, judge_messages
from persona_bench.judge.ratings import Form
from persona_bench.rendering import question_text
from persona_bench.results.outcomes import read_responses
from persona_bench.results.samples import Samples

WITHOUT_TEXT = {"error": "api_error", "content_filter": "refused"}


@dataclass(frozen=True)
class JudgedResponse:
    """A stored response that is judged.

    Attributes:
        persona, kind, question, sample: Identify the response.
        item: The part of it that a judge is shown.
        missing: Why there is nothing to judge: `api_error` (the request failed), `refused` (the
            provider withheld it) or `no_answer` (no text); empty if there is text.
        verdict: The grader's, `correct` or `wrong`, where the task is graded.
    """

    persona: str
    kind: str
    question: str
    sample: int
    item: Item
    missing: str
    verdict: str = ""


@dataclass(frozen=True)
class JudgedTask:
    """The responses of one model to one task, with the rubrics that they are judged by.

    Of a graded task these are the responses under personas that have a voice, without those that
    could not be graded, and the rubric is that of the voice.
    """

    samples: Samples
    rubrics: RubricSet
    responses: list[JudgedResponse]

    @property
    def with_text(self) -> list[JudgedResponse]:
        """The responses that a judge can read."""
        return [response for response in self.responses if not response.missing]

    @property
    def rubric(self) -> str:
        """The rubric set's name, version and fingerprint."""
        return f"{self.rubrics.name} {self.rubrics.version} ({self.rubrics.fingerprint})"


def read_judged(samples: Samples) -> JudgedTask:
    """The responses of a samples file, of a judged task or (for their voice) of a graded one.

    Raises:
        RunError: lm-eval's results file of the run is gone.
        OutcomesError: a line that is no sample of a persona task.
        SourceError: the rubrics can't be had.
    """
    if not samples.judged:
        return _graded(samples)
    knobs, benchmark = benchmark_of(samples)
    if benchmark.rubrics is None:
        raise JudgeError(f"{samples.task} has no rubrics by which it could be judged")
    rubrics = benchmark.rubrics(knobs.folder)
    rows = read_responses(samples, asked=True).fillna({"response": ""}).itertuples()
    responses = [
        _response(row, row.subject, benchmark.describe(str(row.persona_prompt))) for row in rows
    ]
    return JudgedTask(samples, rubrics, responses)


def _graded(samples: Samples) -> JudgedTask:
    """The responses of a graded task that have a verdict and a persona with a voice."""
    table = read_responses(samples, asked=True).fillna({"response": ""})
    has_voice = ~table["kind"].isin(WITHOUT_VOICE)
    rows = table[has_voice & table["verdict"].isin(("correct", "wrong"))].itertuples()
    responses = [_response(row, VOICE, row.persona_prompt) for row in rows]
    return JudgedTask(samples, voice_rubrics(), responses)


def sample_responses(judged: JudgedTask, n: int, seed: int = 0) -> JudgedTask:
    """A graded task with `n` of its responses, drawn within each persona and verdict.

    Each group of persona and verdict gets two (where it has them), and the rest in proportion to
    its size. Responses without text take no call and all stay.

    Raises:
        JudgeError: a judged task, or fewer than two for each group.
    """
    if judged.samples.judged:
        raise JudgeError(
            f"--sample is for the voice of graded tasks; {judged.samples.task} is judged as a whole"
        )
    groups: dict[tuple[str, str], list[JudgedResponse]] = {}
    for each in judged.with_text:
        groups.setdefault((each.persona, each.verdict), []).append(each)
    least = sum(min(2, len(group)) for group in groups.values())
    if n < least:
        raise JudgeError(
            f"{judged.samples.task} has {len(groups)} groups of persona and verdict, of which each "
            f"needs two responses: --sample must be at least {least}"
        )
    total = sum(len(group) for group in groups.values())
    rng = random.Random(f"{seed}/voice")
    chosen: set[int] = set()
    for key in sorted(groups):
        group = sorted(groups[key], key=lambda each: (each.question, each.sample))
        rng.shuffle(group)
        spare = len(group) - min(2, len(group))
        share = (n - least) * spare // max(1, total - least)
        chosen |= {id(each) for each in group[: min(2, len(group)) + share]}
    drawn = [each for each in judged.responses if each.missing or id(each) in chosen]
    return replace(judged, responses=drawn)


def _response(row: Any, eval_task: Any, persona: Any) -> JudgedResponse:
    """One row of the responses, with the description of its persona that a judge sees."""
    missing = WITHOUT_TEXT.get(row.finish, "" if row.response.strip() else "no_answer")
    question = question_text(row.prompt, row.system, row.persona_prompt)
    return JudgedResponse(
        persona=row.persona,
        kind=row.kind,
        question=row.question,
        sample=row.sample,
        item=Item(eval_task, persona, question, row.response),
        missing=missing,
        verdict=row.verdict,
    )


# ---------------------------------------------------------------------- keys


@dataclass(frozen=True)
class JudgeCall:
    """One call that gets a verdict.

    Attributes:
        key: Hash of everything that may change the verdict.
        response: The response that is judged.
        item: What the judge is shown: the response's own item, or the same under another persona.
        examples: Example responses that the judge is shown; empty if its rubric shows none.
        repeat: 0, or the number of the retest.
    """

    key: str
    response: JudgedResponse
    item: Item
    examples: str
    repeat: int


def make_call(
    response: JudgedResponse,
    judged: JudgedTask,
    settings: JudgeSettings,
    digest: str,
    *,
    examples: Mapping[str, str] | None = None,
    persona: str | None = None,
    repeat: int = 0,
) -> JudgeCall:
    """Builds a judge call and its key.

    Args:
        response: The response to judge.
        judged: The task that it belongs to, with the rubrics.
        settings, digest: The judge's settings and fingerprint.
        examples: Example texts by `example_key`.
        persona: Description of another persona, for the persona swap.
        repeat: Number of the retest.
    """
    item = response.item if persona is None else replace(response.item, persona=persona)
    shown = (examples or {}).get(example_key(judged.rubrics, item), "")
    form: Form = "text" if settings.form == "text" else "json"
    asked_for = [settings.form, settings.parameters, repeat]
    messages = judge_messages(judged.rubrics, item, form, shown)
    return JudgeCall(
        hash_key("verdict", digest, asked_for, messages), response, item, shown, repeat
    )


def example_key(rubrics: RubricSet, item: Item) -> str:
    """Which examples belong to an item: those of its persona, question and rubric."""
    return hash_key("examples", rubrics.fingerprint, item.eval_task, item.persona, item.question)


def stored_example_key(rubrics: RubricSet, item: Item, parameters: Any, digest: str) -> str:
    """The same for what one model wrote under these parameters."""
    return hash_key("examples", digest, parameters, example_messages(rubrics, item))


def hash_key(*parts: Any) -> str:
    """A hash of JSON data, by which a record is found again."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def unique_items(items: Sequence[Item], rubrics: RubricSet) -> dict[str, Item]:
    """One item for each set of examples that is wanted."""
    return {example_key(rubrics, item): item for item in items}
