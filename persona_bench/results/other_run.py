"""What the readers of other programs' results share: a run, its rows, and names of personas."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.personas import load_persona_set
from persona_bench.results.samples import OutcomesError, Samples
from persona_bench.results.schema import (
    ASKED,
    CORRECT,
    Outcome,
    TaskFacts,
    complete_questions,
    outcome_table,
    verdict_of_score,
)

LEVELS = ("level", "difficulty")
SUBJECTS = ("subject", "category")
"""Columns of a task's own documents that say a question's level and subject."""
SETS = ("wide", "demo", "core")
"""Persona sets whose prompts are known by their ids; of the same prompt the last one counts."""
LONGEST_NAME = 40


@dataclass(frozen=True)
class Choice:
    """What a person may choose about logs.

    Attributes:
        persona_from: `system`, `metadata:KEY` or `task_arg:KEY`; empty: as the source has it.
        metric: The metric that counts; empty: the first that can.
    """

    persona_from: str = ""
    metric: str = ""

    def __post_init__(self) -> None:
        kind, _, key = self.persona_from.partition(":")
        if kind in ("metadata", "task_arg") and key:
            return
        if self.persona_from not in ("", "system"):
            raise OutcomesError(
                f"--persona-from {self.persona_from}: use system, metadata:KEY or task_arg:KEY"
            )

    def refuse(self, what: str, instead: str) -> None:
        """Raises if anything is chosen that a source has no choice of."""
        for flag, value in (("--persona-from", self.persona_from), ("--metric", self.metric)):
            if value:
                raise OutcomesError(f"{flag} {value} can't be used with {what}: {instead}")


@dataclass(frozen=True)
class OtherRun(Samples):
    """One model's results on one task that another program wrote.

    It stands where the two files of a persona task do.

    Attributes:
        named: The model.
        table: One row per response, with all columns of `schema.Outcome`.
        made: How it was run, for the files of a score.
        settings: How responses were generated; empty where unknown.
        whole: Whether questions that lack a persona are to be dropped.
    """

    named: str = ""
    table: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    made: Mapping[str, Any] = field(default_factory=dict, compare=False)
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)
    whole: bool = True

    @property
    def model(self) -> str:
        """The model's name."""
        return self.named

    @property
    def results(self) -> dict[str, Any]:
        """Empty: there is no results file of a persona task."""
        return {}

    @property
    def facts(self) -> TaskFacts:
        """Method and seed of the checkpoint where the rows name one."""
        method, seed = self.table[["method", "seed"]].iloc[0]
        return {"training": {"method": method, "seed": seed}} if method and seed else {}

    @property
    def generation(self) -> dict[str, Any]:
        """How responses were generated; empty where unknown."""
        return dict(self.settings)

    @property
    def provenance(self) -> dict[str, Any]:
        """How it was run, as far as the source tells."""
        return {"source": str(self.file), **self.made}

    def responses(self, *, asked: bool) -> pd.DataFrame:
        """All responses, with what was asked (the columns `schema.ASKED`) if wanted."""
        return self.table if asked else self.table.drop(columns=list(ASKED))

    def outcomes(self, *, asked: bool) -> pd.DataFrame:
        """The responses to score."""
        rows = self.responses(asked=asked)
        return complete_questions(rows) if self.whole else rows


def value_of(value: float | None, reason: str = "wrong_answer") -> dict[str, Any]:
    """The columns of an outcome that say how good a response was.

    Args:
        value: From 0 to 1; None or NaN where it is unscored.
        reason: Why a value below 1 is, and why it is unscored.
    """
    score = math.nan if value is None else float(value)
    verdict = verdict_of_score(score)
    if verdict == "correct" or (verdict == "scored" and reason != "truncated"):
        reason = ""
    return {
        "verdict": verdict,
        "reason": reason,
        "correct": CORRECT.get(verdict, math.nan),
        "score": score,
    }


def number(value: Any) -> float | None:
    """A metric's value as a number; None for what is none (pairs and lists for corpus metrics)."""
    if isinstance(value, (bool, int, float)) or hasattr(value, "__float__"):
        return float(value)
    return None


def runs_of(
    rows: Mapping[tuple[str, str], Iterable[Outcome]],
    file: Path,
    made: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    settings: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
) -> list[OtherRun]:
    """The runs of some rows by (model, task), in that order."""
    runs = []
    for (model, task), outcomes in rows.items():
        used = (settings or {}).get((model, task), {})
        told = json.dumps(used, sort_keys=True, default=str) if used else ""
        table = outcome_table(
            (each._replace(model=model, task=task, generation=told) for each in outcomes),
            asked=True,
        )
        about = (made or {}).get((model, task), {})
        runs.append(OtherRun(file, task, "", named=model, table=table, made=about, settings=used))
    return runs


def say(sentence: str) -> None:
    """Says once what a source does not tell: Python shows a warning of the same words once."""
    warnings.warn(sentence, stacklevel=2)


# ---------------------------------------------------------------------- names of personas


@cache
def _known() -> dict[str, tuple[str, str]]:
    """Id and kind of each persona of the bundled sets, by its prompt."""
    sets = (load_persona_set(name) for name in SETS)
    return {persona.prompt.strip(): (persona.id, persona.kind) for each in sets for persona in each}


def persona_of(system: str) -> tuple[str, str]:
    """Id and kind of the persona that a system message makes.

    That of a bundled set where the text is one of its prompts; `none`, a control, where there is no
    system message; else an id made of the text's first words, which is the same in every run.
    """
    text = system.strip()
    if not text:
        return "none", "control"
    if text in _known():
        return _known()[text]
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    name = "-".join(words)
    if name and len(name) <= LONGEST_NAME and text.isascii():
        return name, ""
    cut = name[:LONGEST_NAME]
    short = name if cut == name else cut.rpartition("-")[0] or cut
    return f"{short or 'persona'}-{_digest(text)}", ""


def with_different_names(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Tells apart personas of one id whose texts differ by more than case and punctuation marks."""
    rows = list(outcomes)
    texts: dict[str, set[str]] = {}
    for row in rows:
        texts.setdefault(row.persona, set()).add(row.persona_prompt.strip())
    same = {name for name, several in texts.items() if len(several) > 1}
    if not same:
        return rows
    return [
        row._replace(persona=f"{row.persona}-{_digest(row.persona_prompt)}")
        if row.persona in same and row.persona_prompt
        else row
        for row in rows
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode(errors="replace")).hexdigest()[:6]


def first_text(record: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first of these fields that holds a text or a whole number; empty where none does."""
    for name in names:
        value = record.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""
