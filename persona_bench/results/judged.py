"""The judged table, one row per response and judge, from the files of `persona-bench judge`."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.results.samples import OutcomesError, Samples, newest_samples
from persona_bench.results.schema import Judgement


@dataclass(frozen=True)
class JudgeFile:
    """What one judge found of one model's responses to one task.

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

    @property
    def as_published(self) -> dict[str, Any]:
        """Its scores by PersonaGym's published protocol; empty where it was not asked by that."""
        return dict(self.about.get("as_published") or {})

    def rows(self) -> Iterator[Judgement]:
        """The verdicts, one per response.

        Raises:
            OutcomesError: a line that is no verdict.
        """
        with self.file.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                    yield Judgement(*(row[name] for name in Judgement._fields))
                except (ValueError, KeyError, TypeError) as error:
                    raise OutcomesError(
                        f"{self.file}:{number}: not a judged response ({error!r}): run "
                        "persona-bench judge again; what was judged is in the store"
                    ) from None

    def write(self, rows: Sequence[Judgement], about: Mapping[str, Any]) -> None:
        """Writes both files; each is written completely or not at all."""
        text = "".join(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)
        facts = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        for place, content in ((self.file, text), (self.file.with_suffix(".json"), facts)):
            partial = place.with_name(place.name + ".part")
            with partial.open("w", encoding="utf-8", newline="\n") as out:
                out.write(content)
            partial.replace(place)


def judge_files(samples: Samples) -> list[JudgeFile]:
    """What judges found of a samples file, sorted by their names."""
    found = samples.file.parent.glob(f"judged_{samples.task}_{samples.date}_*.jsonl")
    return [JudgeFile(file) for file in sorted(found)]


def judged_table(files: Sequence[JudgeFile]) -> pd.DataFrame:
    """The verdicts of some judges, judge by judge, with the columns of `schema.Judgement`.

    A further column `entry_test` has the judge's accuracy in the entry test, NaN if it has not
    taken it.
    """
    accuracies = [file.entry_test.get("accuracy", math.nan) for file in files]
    rows = [
        (*row, accuracy)
        for file, accuracy in zip(files, accuracies, strict=True)
        for row in file.rows()
    ]
    table = pd.DataFrame(rows, columns=[*Judgement._fields, "entry_test"])
    return table.astype({"score": float, "entry_test": float})


def read_judged(path: str | Path) -> pd.DataFrame:
    """Reads the verdicts of all judges from an output folder.

    Of several runs of one model and task the newest counts.

    Args:
        path: An output folder, or one samples file.

    Returns:
        The judged table, responses in the order in which they were asked, judge by judge; and a
        column `entry_test`: the judge's accuracy in the entry test, NaN if it has not taken it.

    Raises:
        OutcomesError: nothing is judged there, or a file can't be read.
    """
    files: list[JudgeFile] = []
    for samples in newest_samples(Path(path), judged=True):
        of_task = judge_files(samples)
        if not of_task:
            warnings.warn(
                f"{samples.task} of {samples.model} is not judged yet: run persona-bench judge",
                stacklevel=2,
            )
        files += of_task
    if not files:
        raise OutcomesError(
            f"{path}: no judged responses there: run persona_personagym or persona_roleplay, then "
            "persona-bench judge"
        )
    return judged_table(files)
