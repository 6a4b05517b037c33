"""What there is to judge: the stored responses of a run, each with the key of its verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from persona_bench.benchmarks.base import Benchmark
from persona_bench.grading.judge.prompt import Item, example_messages, judge_messages
from persona_bench.grading.judge.reading import Form
from persona_bench.grading.judge.rubrics import RubricSet
from persona_bench.harness.judge.client import JudgeError, JudgeSettings
from persona_bench.harness.results_files import benchmark_of, read_rows, response_of
from persona_bench.rendering import merged
from persona_bench.scoring.samples import Samples

WITHOUT_TEXT = {"error": "api_error", "content_filter": "refused"}


@dataclass(frozen=True)
class Response:
    """A stored response.

    Attributes:
        persona, kind, question, sample: Which.
        item: What a judge is shown of it.
        missing: Why there is nothing to be judged: `api_error` (the request failed), `refused` (the
            provider withheld it) or `no_answer` (no text); empty where there is something.
    """

    persona: str
    kind: str
    question: str
    sample: int
    item: Item
    missing: str


@dataclass(frozen=True)
class Judged:
    """The responses of one model to one judged task, and what they are judged by."""

    samples: Samples
    rubrics: RubricSet
    responses: list[Response]

    @property
    def with_text(self) -> list[Response]:
        """The responses that a judge can read."""
        return [response for response in self.responses if not response.missing]

    @property
    def rubric(self) -> str:
        """The rubric set's name, version and fingerprint."""
        return f"{self.rubrics.name} {self.rubrics.version} ({self.rubrics.fingerprint})"


def read_judged(samples: Samples) -> Judged:
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
    return Judged(samples, rubrics, [_response(row, benchmark) for row in read_rows(samples.file)])


def _response(row: Mapping[str, Any], benchmark: Benchmark) -> Response:
    doc = row["doc"]
    text = response_of(row)
    finish = str(row[row["metrics"][0]].get("finish", ""))
    missing = WITHOUT_TEXT.get(finish, "" if text.strip() else "no_answer")
    question = doc["prompt"]
    if not doc["system"] and doc["persona_prompt"]:  # merged into the user message
        question = question.removeprefix(merged(doc["persona_prompt"], ""))
    return Response(
        persona=doc["persona"],
        kind=doc["kind"],
        question=doc["question"],
        sample=int(doc["sample"]),
        item=Item(doc["subject"], benchmark.describe(doc["persona_prompt"]), question, text),
        missing=missing,
    )


# ---------------------------------------------------------------------- keys


@dataclass(frozen=True)
class Job:
    """One verdict to be had.

    Attributes:
        key: Of its content: whatever may change the verdict changes it.
        response: Whose.
        item: What is judged: the response's own, or it under another persona.
        examples: Shown to the judge, where its rubric shows some.
        repeat: 0, or the number of a retest.
    """

    key: str
    response: Response
    item: Item
    examples: str
    repeat: int


def make_job(
    response: Response,
    judged: Judged,
    settings: JudgeSettings,
    digest: str,
    *,
    examples: Mapping[str, str] | None = None,
    persona: str | None = None,
    repeat: int = 0,
) -> Job:
    """A job with its key.

    Args:
        response: Whose.
        judged: With the rubrics.
        settings, digest: Of the judge.
        examples: By `example_key`.
        persona: Another persona's description, for the swap.
        repeat: Number of the retest.
    """
    item = response.item if persona is None else replace(response.item, persona=persona)
    shown = (examples or {}).get(example_key(judged.rubrics, item), "")
    form: Form = "text" if settings.form == "text" else "json"
    told = [settings.form, settings.parameters, repeat]
    messages = judge_messages(judged.rubrics, item, form, shown)
    return Job(_key("verdict", digest, told, messages), response, item, shown, repeat)


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
