"""The judged table: a row for each response and judge, from the files of `persona-bench judge`.

Columns, in this order: `model, task, eval_task, persona, kind, question, sample, judge, score,
verdict, reason, justification, response, rubric, prompt_hash`.

- `eval_task` is one of PersonaGym's five evaluation tasks.
- `score` is 1.0 to 5.0, or NaN where `verdict` is `unscored`; `reason` says why, or what else is
  to be known (`no_answer`: a response without text, scored without a call).
- `rubric` is the rubric set's name, version and fingerprint, and whether examples were shown.
- `prompt_hash` stands for the persona's description and the question.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.scoring.samples import OutcomesError, Samples, newest_samples

COLUMNS = (
    "model",
    "task",
    "eval_task",
    "persona",
    "kind",
    "question",
    "sample",
    "judge",
    "score",
    "verdict",
    "reason",
    "justification",
    "response",
    "rubric",
    "prompt_hash",
)


READ = (*COLUMNS, "entry_test")
"""Columns of the judged table as it is read; `entry_test` is the judge's accuracy in the entry test
for judges, NaN if it has not taken it."""


@dataclass(frozen=True)
class JudgeFile:
    """What one judge said of one model's responses to one task.

    Attributes:
        file: `judged_<task>_<date>_<judge>.jsonl`; beside it lies a .json with how it was made.
    """

    file: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """How it was made: judge, parameters, rubric, calls, versions, ...; empty if gone."""
        try:
            return dict(json.loads(self.file.with_suffix(".json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    @property
    def audit(self) -> dict[str, Any]:
        """The judge's audit on these responses; empty where there is none."""
        return dict(self.about.get("audit") or {})

    @property
    def entry_test(self) -> dict[str, Any]:
        """How the judge did in the entry test; empty where it has not taken it."""
        return dict(self.about.get("entry_test") or {})

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, as dictionaries.

        Raises:
            OutcomesError: a line that is no row.
        """
        with self.file.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                    yield {column: row[column] for column in COLUMNS}
                except (ValueError, KeyError, TypeError) as error:
                    raise OutcomesError(
                        f"{self.file}:{number}: not a judged response ({error!r}): run "
                        "persona-bench judge again; what was judged is in the store"
                    ) from None


def judge_files(samples: Samples) -> list[JudgeFile]:
    """What judges said of a samples file, sorted by their names."""
    found = samples.file.parent.glob(f"judged_{samples.task}_{samples.date}_*.jsonl")
    return [JudgeFile(file) for file in sorted(found)]


def read_judged(path: str | Path) -> pd.DataFrame:
    """Reads the verdicts of all judges from an output folder.

    Of several runs of one model and task the newest counts.

    Args:
        path: An output folder, or one samples file.

    Returns:
        The judged table with the columns of `READ`, responses in the order in which they were
        asked, judge by judge.

    Raises:
        OutcomesError: nothing is judged there, or a file can't be read.
    """
    frames = []
    for samples in newest_samples(Path(path), judged=True):
        frames += _frames(samples)
        if not judge_files(samples):
            warnings.warn(
                f"{samples.task} of {samples.model} is not judged yet: run persona-bench judge",
                stacklevel=2,
            )
    if not frames:
        raise OutcomesError(
            f"{path}: no judged responses there: run persona_personagym or persona_roleplay, then "
            "persona-bench judge"
        )
    table = pd.concat(frames, ignore_index=True)
    return table.astype({"score": float})


def read_voice(samples: Samples) -> pd.DataFrame:
    """What judges said of the voice of a graded task's responses.

    Args:
        samples: One samples file of a graded task.

    Returns:
        The judged table with the columns of `READ`; empty where no judge was asked.

    Raises:
        OutcomesError: a file can't be read.
    """
    frames = _frames(samples)
    if not frames:
        return pd.DataFrame(columns=list(READ)).astype({"score": float, "entry_test": float})
    return pd.concat(frames, ignore_index=True).astype({"score": float})


def _frames(samples: Samples) -> list[pd.DataFrame]:
    """One table per judge."""
    return [
        pd.DataFrame(file.rows(), columns=list(COLUMNS)).assign(
            entry_test=file.entry_test.get("accuracy", math.nan)
        )
        for file in judge_files(samples)
    ]
