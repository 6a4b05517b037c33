"""Any dataset of the Hugging Face hub: `--tasks hub:ORG/NAME`.

    persona-bench run --tasks hub:HuggingFaceH4/aime_2024 --model-args pretrained=... \
        --metadata '{"split": "train", "question": "problem", "revision": "COMMIT"}'

A row is a question, as a line of a file of questions is one (`questions_file`), but for the grader,
which the knob `grader` names for all rows. The knobs `question`, `answer`, `choices`, `level`,
`subject` and `id` name the dataset's columns where they are called otherwise; `split` (`test` by
default), `config` and `revision` are those of `datasets`. The commit is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from persona_bench.benchmarks.base import Benchmark, Question
from persona_bench.benchmarks.questions_file import (
    GRADERS,
    QuestionsError,
    grade,
    grader_version,
    question_of,
)
from persona_bench.hub import PREFIX, HubError, hub_rows

COLUMNS = ("question", "answer", "choices", "level", "subject", "id")
SPLIT = "test"


def benchmark_of_hub(name: str) -> Benchmark:
    """The benchmark of a dataset, of which nothing is loaded before its questions are wanted.

    Args:
        name: `hub:ORG/NAME`.
    """
    return _benchmark(name, ())


def _benchmark(name: str, given: tuple[tuple[str, str], ...]) -> Benchmark:
    knobs = dict(given)
    grader = knobs.get("grader", "")
    return Benchmark(
        name=re.sub(r"\W+", "_", name.removeprefix(PREFIX)),
        load=lambda data_dir, seed: list(_questions(name, given)[0]),
        prompt=str,
        grade=grade,
        grader=grader_version([grader] if grader else ["choice", "maths"]),
        knobs={**dict.fromkeys((*COLUMNS, "split", "config", "revision"), str), "grader": _grader},
        configured=partial(_configured, name),
        record=lambda ids: {"hub_dataset": name, "hub_commit": _questions(name, given)[1]},
        unsafe_code=grader == "python",
    )


def _configured(name: str, data_dir: Path | None, knobs: Mapping[str, Any]) -> Benchmark:
    return _benchmark(name, tuple(sorted(knobs.items())))


def _grader(given: Any) -> str:
    if given not in GRADERS:
        raise ValueError(f"there is no grader {given!r}: use {', '.join(GRADERS)}")
    return str(given)


@lru_cache(maxsize=8)
def _questions(name: str, given: tuple[tuple[str, str], ...]) -> tuple[tuple[Question, ...], str]:
    """The questions of a dataset, and the commit that they are from.

    Raises:
        QuestionsError: the dataset can't be had, or a row is no question.
    """
    knobs = dict(given)
    split = knobs.get("split", SPLIT)
    columns = {column: knobs[column] for column in COLUMNS if column in knobs}
    try:
        rows, commit = hub_rows(
            name,
            split=split,
            config=knobs.get("config"),
            revision=knobs.get("revision"),
            columns=columns,
        )
    except HubError as error:
        way_out = "; the knobs split, config, revision and the columns' names go into --metadata"
        raise QuestionsError(f"{error}{way_out}") from None
    if not rows:
        raise QuestionsError(f"{name}: the split {split} is empty")
    for column in ("question", "answer"):
        if column not in rows[0]:
            raise QuestionsError(
                f'{name} has no column {column!r}: name it in --metadata, as {{"{column}": '
                f'"COLUMN"}}; it has {", ".join(rows[0])}'
            )
    ids = [row.get("id") for row in rows]
    named = None not in ids and len(set(map(str, ids))) == len(ids)
    questions = []
    for number, row in enumerate(rows):
        try:
            questions.append(question_of(_fields(row, knobs, named), str(number)))
        except QuestionsError as error:
            raise QuestionsError(f"{name}, row {number} of {split}: {error}") from None
    return tuple(questions), commit


def _fields(row: Mapping[str, Any], knobs: Mapping[str, str], named: bool) -> dict[str, Any]:
    """What is a question's in a row; a column that holds something else under its name is not."""
    fields = {"question": row["question"], "answer": row["answer"]}
    if "grader" in knobs:
        fields["grader"] = knobs["grader"]
    wants_choices = knobs.get("grader", "choice") == "choice"
    if wants_choices and row.get("choices"):
        choices = fields["choices"] = row["choices"]
        answer = row["answer"]
        is_place = isinstance(answer, int) and str(answer) not in map(str, choices)
        if is_place and 0 <= answer < len(choices):
            fields["answer"] = str(choices[answer])
    for name in ("level", "subject"):
        if name in knobs or isinstance(row.get(name), (str, int)):
            fields[name] = row[name]
    if named:
        fields["id"] = row["id"]
    return fields
