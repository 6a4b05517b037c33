"""What a judge is sent: the rubric filled in, the response, and the form of the answer."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from persona_bench.benchmarks.rubrics import SCORES, RubricSet, fill
from persona_bench.judge.ratings import AGAIN, ASKED, Form

Messages = list[dict[str, str]]

NO_EXAMPLES = "(none)"
_LEVEL = re.compile(r"^[ \t*#>-]*Score\s*(?P<score>\d)\s*:", re.IGNORECASE | re.MULTILINE)
_RESPONSE = re.compile(r"\A[\s*]*Response[\s*]*[-:–—][\s*]*", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """One response to be judged.

    Attributes:
        eval_task: Which rubric applies.
        persona: The description of the persona that the response is held against.
        question, response: As asked and answered.
    """

    eval_task: str
    persona: str
    question: str
    response: str


def judge_messages(rubrics: RubricSet, item: Item, form: Form, examples: str = "") -> Messages:
    """The messages of one judge's call.

    Args:
        rubrics: The rubric set.
        item: What is judged.
        form: Form of the answer.
        examples: An example response of each score, where the rubric shows some.
    """
    content = "\0".join((item.persona, item.question, item.response))
    text = fill(
        rubrics.rubrics[item.eval_task].text,
        persona=item.persona,
        question=item.question,
        response=item.response,
        score_example=examples or NO_EXAMPLES,
        mark=hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:8],
    )
    return [
        {"role": "system", "content": rubrics.system},
        {"role": "user", "content": f"{text}\n\n{ASKED[form]}"},
    ]


def again(messages: Messages, answer: str, form: Form) -> Messages:
    """The messages that ask again after an answer in the wrong form."""
    earlier = [{"role": "assistant", "content": answer}] if answer.strip() else []
    return [*messages, *earlier, {"role": "user", "content": AGAIN.format(asked=ASKED[form])}]


def example_messages(rubrics: RubricSet, item: Item) -> Messages:
    """The prompt for one example response per score; the response of `item` is not shown."""
    text = fill(
        rubrics.examples,
        persona=item.persona,
        question=item.question,
        rubric=rubrics.rubrics[item.eval_task].criteria,
    )
    return [{"role": "user", "content": text}]


def read_examples(text: str) -> str:
    """The examples in an answer as `Score N: "..."`; empty where one of the scores is missing."""
    starts = [*_LEVEL.finditer(text)]
    examples: dict[int, str] = {}
    stops = [*(start.start() for start in starts[1:]), len(text)]
    for start, end in zip(starts, stops, strict=False):
        words = text[start.end() : end].strip()
        words = _RESPONSE.sub("", words).strip().strip('"').strip().rstrip("-").strip()
        if words:
            examples.setdefault(int(start["score"]), words)
    if any(score not in examples for score in SCORES):
        return ""
    return "\n\n".join(f'Score {score}: "{examples[score]}"' for score in SCORES)
