"""The stored responses of a judged task, and the judge calls that score them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from persona_bench.benchmarks.base import Benchmark
from persona_bench.benchmarks.rubrics import RubricSet
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
    """A stored response of a judged task.

    Attributes:
        persona, kind, question, sample: Identify the response.
        item: The part of it that a judge is shown.
        missing: Why there is nothing to judge: `api_error` (the request failed), `refused` (the
            provider withheld it) or `no_answer` (no text); empty if there is text.
    """

    persona: str
    kind: str
    question: str
    sample: int
    item: Item
    missing: str


@dataclass(frozen=True)
class JudgedTask:
    """The responses of one model to one judged task, with the task's rubrics."""

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
    """The responses of a samples file of a judged task.

    Raises:
        RunError: lm-eval's results file of the run is gone.
        JudgeError: the file is not of a judged task.
        SourceError: the rubrics can't be had.
    """
    knobs, benchmark = benchmark_of(samples)
    if benchmark.rubrics is None:
        raise JudgeError(f"{samples.task} is not judged: it is graded against reference answers")
    rubrics = benchmark.rubrics(knobs.folder)
    rows = read_responses(samples, asked=True).fillna({"response": ""}).itertuples()
    return JudgedTask(samples, rubrics, [_response(row, benchmark) for row in rows])


def _response(row: Any, benchmark: Benchmark) -> JudgedResponse:
    missing = WITHOUT_TEXT.get(row.finish, "" if row.response.strip() else "no_answer")
    question = question_text(row.prompt, row.system, row.persona_prompt)
    return JudgedResponse(
        persona=row.persona,
        kind=row.kind,
        question=row.question,
        sample=row.sample,
        item=Item(row.subject, benchmark.describe(row.persona_prompt), question, row.response),
        missing=missing,
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
    told = [settings.form, settings.parameters, repeat]
    messages = judge_messages(judged.rubrics, item, form, shown)
    return JudgeCall(_key("verdict", digest, told, messages), response, item, shown, repeat)


def example_key(rubrics: RubricSet, item: Item) -> str:
    """Which examples belong to an item: those of its persona, question and rubric."""
    return _key("examples", rubrics.fingerprint, item.eval_task, item.persona, item.question)


def stored_example_key(rubrics: RubricSet, item: Item, parameters: Any, digest: str) -> str:
    """The same for what one model wrote under these parameters."""
    return _key("examples", digest, parameters, example_messages(rubrics, item))


def _key(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def unique_items(items: Sequence[Item], rubrics: RubricSet) -> dict[str, Item]:
    """One item for each set of examples that is wanted."""
    return {example_key(rubrics, item): item for item in items}
