"""What the files of a run hold: one row per response, one row per verdict of a judge, and facts.

Every reader gives rows of this shape, whatever it reads, and every measure in `scoring` computes
on tables of them. A field with a default may be missing in what is read.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypedDict

import pandas as pd

CORRECT = {"correct": 1.0, "wrong": 0.0}


def verdict_of_score(score: float) -> Literal["correct", "wrong", "scored", "unscored"]:
    """The verdict of a response with this score: 1 is correct, 0 wrong, NaN unscored."""
    if math.isnan(score):
        return "unscored"
    return "correct" if score == 1 else "scored" if score else "wrong"


class Outcome(NamedTuple):
    """One response: a row of the tidy table, with its columns in their order, `ASKED` last."""

    model: str = ""
    """The model's name, as the results file has it."""
    task: str = ""
    """The task's name, e.g. `persona_math500`."""
    persona: str = ""
    """Id of the persona, unique in its set."""
    kind: str = ""
    """Kind of the persona, e.g. `control`, `expert`, `harmful`."""
    question: str = ""
    """Id of the question, unique in its benchmark."""
    level: str = ""
    """The question's level of difficulty."""
    sample: int = 0
    """0 to k - 1 for k responses to one question under one persona."""
    verdict: Literal["correct", "wrong", "scored", "unscored", ""] = ""
    """`scored` where the score lies between 0 and 1, which is no verdict; `unscored` where the
    instrument failed; empty where the response was not graded."""
    reason: str = ""
    """Why it is wrong or unscored, e.g. `no_answer`, `truncated`, `timeout`, `api_error`."""
    route: str = ""
    """How the maths grader found the answer: `boxed`, `tag`, `stated` or `last`; empty where no
    answer was found, and for other graders."""
    correct: float = math.nan
    """1.0, 0.0, or NaN where the response is unscored, or has a score between 0 and 1."""
    score: float = math.nan
    """From 0 to 1, higher is better, where the metric gives scores; NaN where it gives verdicts
    only, and where the response is unscored. A score of 1 is also the verdict `correct`, 0 `wrong`
    (`verdict_of_score`)."""
    response: str | None = None
    """The text; missing where an API error left none."""
    prompt_hash: str = ""
    """Stands for the system and the user message before any chat template."""
    grader: str = ""
    """Name and version of the grader."""
    subject: str = ""
    """The question's subject."""
    date: str = ""
    """When the question was published."""
    domain: str = ""
    """The benchmark's field, e.g. `mathematics`."""
    persona_domain: str = ""
    """What an expert is expert in."""
    persona_level: float = math.nan
    """Place of an `education` persona in the order of schooling; NaN for others."""
    method: str = ""
    """How a checkpoint of `persona-bench train` was trained."""
    seed: str = ""
    """Seed of that training."""
    generation: str = ""
    """How the response was generated (temperature, tokens, samples, ...), as JSON."""
    wording: int = 0
    """Number of the persona's wording that was asked, from 1; 0 where the run does not say."""
    persona_set: str = ""
    """Name and version of the persona set, e.g. `core 2`; empty where the run does not say."""
    early: str = ""
    """Empty for a whole run. For an unfinished one, or one that `--until` asked in blocks, when it
    was looked at, as JSON (see `scoring.sequential`)."""
    taken: str = ""
    """The answer that the grader read from the response; empty where there is none."""
    turns: int = 0
    """Rounds of conversation before the question."""
    script: str = ""
    """Which script the conversation followed; a persona and a script are one conversation. Empty
    where the run was not asked over conversations."""
    # what was asked; read_outcomes leaves these out
    persona_prompt: str = ""
    """The persona's text."""
    system: str = ""
    """The system message; empty where none was sent."""
    prompt: str = ""
    """The user message."""
    context: str = ""
    """The rendered prompt, or the messages that an API was sent as JSON; empty where unknown."""
    answer: str = ""
    """The reference answer."""
    finish: str = ""
    """How the response ended, e.g. `stop`, `length`, `error`; empty where unknown."""
    tokens: str = ""
    """How many tokens the response has; empty where unknown."""
    limit: str = ""
    """How many tokens were allowed; empty where unknown."""
    conversation: str = ""
    """The conversation before the question, as a JSON list of what user and model said in turn;
    empty where there was none."""


ASKED = (
    "persona_prompt", "system", "prompt", "context", "answer", "finish", "tokens", "limit",
    "conversation",
)  # fmt: skip
"""Columns that say what was asked."""
COLUMNS = tuple(name for name in Outcome._fields if name not in ASKED)
"""Columns of the tidy table."""


def outcome_table(rows: Iterable[Outcome], *, asked: bool = False) -> pd.DataFrame:
    """Rows as a table with the columns `COLUMNS`, and `ASKED` if wanted."""
    columns = list(Outcome._fields if asked else COLUMNS)
    return pd.DataFrame([row[: len(columns)] for row in rows], columns=columns)


def complete_questions(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Drops questions that have fewer rows than the fullest one, with a warning.

    Accuracies are compared over the same questions: a limit that cuts a question in half
    would give some personas a question that the others did not get.
    """
    counts = outcomes.groupby("question", sort=False).size()
    short = counts[counts < counts.max()]
    if short.empty:
        return outcomes
    warnings.warn(
        f"{len(short)} of {len(counts)} questions lack some of their personas and are left out "
        f"(first: {short.index[0]!r} has {short.iloc[0]} of {counts.max()} responses); a --limit "
        f"that is a multiple of {counts.max()} keeps every question whole",
        stacklevel=2,
    )
    return outcomes[~outcomes["question"].isin(short.index)].reset_index(drop=True)


class Judgement(NamedTuple):
    """What one judge found of one response: a row of the judged table, columns in their order."""

    model: str
    task: str
    eval_task: str
    """One of PersonaGym's five evaluation tasks."""
    persona: str
    kind: str
    question: str
    sample: int
    judge: str
    """The judge's model name."""
    score: float | None
    """1 to 5; None (NaN in the table) where the verdict is `unscored`."""
    verdict: Literal["scored", "unscored"]
    reason: str
    """Why it is unscored; or `no_answer`: a response without text, scored without a call."""
    justification: str
    """The judge's words."""
    response: str
    rubric: str
    """The rubric set's name, version and fingerprint, and whether examples were shown."""
    prompt_hash: str
    """Stands for the persona's description and the question."""


class Unfinished(TypedDict):
    """How far a run came that was stopped before its results were written."""

    stored: int
    """Responses in the store."""
    asked: int
    """Responses of the whole run."""


class Until(TypedDict, total=False):
    """How far a run came that `--until` asks in blocks."""

    plan: str
    """Fingerprint of the plan; looks of one plan share it."""
    planned: list[int]
    """Questions asked at each look of the plan."""
    looks: list[int]
    """Questions asked at the looks so far."""
    questions: int
    """Questions of the whole benchmark."""
    over: bool
    """Whether no further look follows."""
    decision: str | None
    """The conclusion at which the run stopped; None where it reached the cap without one."""
    responses: int
    """Responses asked for."""
    responses_of_all: int
    """Responses that the whole benchmark would take."""


class TaskFacts(TypedDict, total=False):
    """What a task records of its run in lm-eval's results file, beside its knobs.

    It stands under `configs.<task>.metadata.persona_bench`. Older runs lack some of it.
    """

    version: str
    """Of this package."""
    versions: dict[str, str]
    """Of the packages that make a difference."""
    grader: str
    judged: bool
    """Whether a model judges the responses (`persona-bench judge`)."""
    samples: int
    """Responses to each question under each persona."""
    personas: list[str]
    """Ids."""
    persona_set_name: str
    persona_set_version: str
    personas_fingerprint: str
    """Hash of ids, kinds and the prompts that were asked."""
    wording: int | str
    """Which wording of each persona was asked: `last`, `all`, or a number from 1."""
    placebos: str | None
    """The set of the placebos that were asked beside the personas."""
    system_role: Literal["native", "merge", "error"]
    system_instruction: str
    """A text before every persona."""
    chat_template: bool
    default_system: str
    """What the chat template puts into the system message where none is given."""
    default_system_undated: str
    """The same on a fixed day, for a template that prints the date."""
    chat_dates: list[str]
    """The days of such a template."""
    training: dict[str, Any]
    """Method and seed of a checkpoint of `persona-bench train`, and how it was trained."""
    turns: int
    """Rounds of conversation before each question; absent where the knob was not given."""
    scripts: int
    turn_tokens: int
    """Tokens that a reply in the conversations could have."""
    conversations: dict[str, int]
    """How many were `held` and `lost`, and how many replies were `cut_off`."""
    shard: str | None
    """`i/n`: the i-th of n parts of the questions."""
    merged_from: list[str]
    """The samples files of the shards that were joined."""
    regraded_from: str
    """The samples file whose responses were graded again."""
    unfinished: Unfinished
    until: Until
    wrapped: dict[str, Any]
    """The lm-eval task that was asked under personas, and its metric; absent for tasks of ours."""
    tests: dict[str, int]
    """How many programs were graded on whose tests."""
    sandbox: str
    """Which sandbox ran the programs; `none` without one."""
    sandbox_missing: str
    """Why there was no sandbox."""
