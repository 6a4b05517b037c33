"""Many stored runs in order: a table for each task, and each way in which it was asked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.extras.paper.models import models_table
from persona_bench.extras.paper.table import Cell, Column, Number, PaperTable
from persona_bench.report.fidelity import judges_in_words
from persona_bench.report.names import file_stem
from persona_bench.report.rankings import ranking_line
from persona_bench.report.runs import Settings, scored_verdicts
from persona_bench.scoring.cells import SCORES
from persona_bench.scoring.rankings import ranking_agreement
from persona_bench.scoring.stability import stability

if TYPE_CHECKING:
    from persona_bench.results.runs import Run

SORT_BY: dict[str, str] = {
    "worst": "worst accuracy: it favours accurate models, however much personas change them",
    "mean": "mean accuracy: it says nothing about stability",
    "best": "best accuracy: it says nothing about stability",
    "pss": "plain PSS: noise lowers it more for less accurate models and for fewer responses",
    "pss_corrected": "corrected PSS: models whose intervals overlap may be equally stable",
}
"""What models can be ordered by, the highest first, and what a reader has to know about it."""


def leaderboards(
    runs: Sequence[Run], settings: Settings, sort_by: str = "worst"
) -> list[PaperTable]:
    """A table for each task and way of asking it: other questions, personas, prompts, generation
    settings or graders, or other judges or rubrics, are another table.

    Args:
        runs: The models.
        settings: Settings of the intervals.
        sort_by: One of `SORT_BY`; judged tasks are ordered by PersonaScore.

    Raises:
        ValueError: an unknown `sort_by`.
    """
    if sort_by not in SORT_BY:
        raise ValueError(f"--sort-by {sort_by} is unknown: use one of {', '.join(SORT_BY)}")
    graded: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    judged: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for run in runs:
        for task, outcomes in run.outcomes.items():
            graded.setdefault((task, asked(outcomes)), {})[run.name] = outcomes
        for task, verdicts in run.verdicts.items():
            judged.setdefault((task, judged_by(verdicts)), {})[run.name] = verdicts
    tables = [
        _with_generation(
            _with_ranking(_stability(task, each, settings, sort_by), each),
            next(iter(each.values())),
        )
        for (task, _), each in graded.items()
    ]
    tables += [_fidelity(task, each, settings) for (task, _), each in judged.items()]
    return _numbered(tables)


def asked(outcomes: pd.DataFrame) -> str:
    """A fingerprint of what was asked, how it was generated, and how it was graded."""
    columns = ["persona", "question", "prompt_hash", "grader"]
    columns += ["generation"] if "generation" in outcomes else []
    personas = outcomes
    if "kind" in outcomes:
        personas = outcomes[outcomes["kind"] != "placebo"]  # placebos change no score of personas
    rows = personas[columns].drop_duplicates().astype(str).sort_values(columns)
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def _with_ranking(table: PaperTable, outcomes: Mapping[str, pd.DataFrame]) -> PaperTable:
    """The table with whether the personas rank its models alike, where there are several."""
    if len(outcomes) < 2 or not (line := ranking_line(ranking_agreement(outcomes))):
        return table
    return replace(table, notes=[*table.notes, line])


def _with_generation(table: PaperTable, outcomes: pd.DataFrame) -> PaperTable:
    """The table with the generation settings of its models, where they are known."""
    given = set(outcomes["generation"]) - {""} if "generation" in outcomes else set()
    if len(given) != 1:
        return table
    arguments = ", ".join(f"{name} {value}" for name, value in json.loads(given.pop()).items())
    return replace(table, notes=[*table.notes, f"Generated with {arguments}."])


def judged_by(verdicts: pd.DataFrame) -> str:
    """A fingerprint of what was asked, of the judges and of the rubrics."""
    columns = ["persona", "question", "prompt_hash", "judge", "rubric"]
    rows = verdicts[columns].drop_duplicates().astype(str).sort_values(columns)
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def _stability(
    task: str, tables: Mapping[str, pd.DataFrame], settings: Settings, sort_by: str
) -> PaperTable:
    results = {model: stability(table, **asdict(settings)) for model, table in tables.items()}
    values = {model: float(getattr(result, sort_by)) for model, result in results.items()}
    ordered = {model: results[model] for model in _highest_first(values)}
    table = models_table(task, ordered, {})
    told = (
        [f"{SCORES[0].upper()}{SCORES[1:]}."]
        if any(x.measure == "score" for x in results.values())
        else []
    )
    table = replace(table, notes=[f"Ordered by {SORT_BY[sort_by]}.", *told, *table.notes])
    return _ranked(replace(table, name=f"{file_stem(task)}_leaderboard"), values)


def _highest_first(values: Mapping[str, float]) -> list[str]:
    """The models in order; undefined values come last."""
    height = {model: -math.inf if math.isnan(v) else v for model, v in values.items()}
    return sorted(height, key=height.__getitem__, reverse=True)


def _fidelity(task: str, tables: Mapping[str, pd.DataFrame], settings: Settings) -> PaperTable:
    results = {model: scored_verdicts(table, settings) for model, table in tables.items()}
    values = {model: each.persona_score for model, each in results.items()}
    ordered = [(model, results[model]) for model in _highest_first(values)]
    rows: list[list[Cell]] = [
        [
            model,
            Number(each.persona_score, *each.persona_score.interval, digits=2),
            Number(each.n_responses - each.unscored_responses, digits=0),
            Number(each.unscored, digits=0),
        ]
        for model, each in ordered
    ]
    first = ordered[0][1]
    columns = [Column("model", align="l"), *map(Column, ("PersonaScore", "n", "unscored"))]
    table = PaperTable(
        f"{file_stem(task)}_leaderboard",
        f"{task}: fidelity, 1 to 5",
        columns,
        rows,
        notes=[
            f"Judged by {judges_in_words(first.judges)}; rubrics {first.rubric}; in brackets "
            f"{first.confidence:.0%} intervals by persona."
        ],
        stacked=True,
    )
    return _ranked(table, values)


TIED = "Models with the same value share a rank (tie)."


def _ranked(table: PaperTable, values: Mapping[str, float]) -> PaperTable:
    """The table with ranks in front; models with the same value share one, and are called a tie.

    Args:
        table: One row per model, the highest value first, undefined ones last.
        values: By model, what the models are ordered by.
    """
    ordered = [values[str(row[0])] for row in table.rows]
    ranks: list[int | None] = [None if math.isnan(v) else 1 + ordered.index(v) for v in ordered]
    shown: list[Cell] = []
    for rank in ranks:
        tied = rank is not None and ranks.count(rank) > 1
        shown.append(f"{rank} (tie)" if tied else Number(rank or math.nan, digits=0))
    frame = table.frame()
    frame.insert(0, "rank", pd.Series(ranks, index=frame.index, dtype="Int64"))
    notes = [*table.notes, TIED] if any(isinstance(cell, str) for cell in shown) else table.notes
    return replace(
        table,
        columns=[Column("rank"), *table.columns],
        rows=[[rank, *row] for rank, row in zip(shown, table.rows, strict=True)],
        notes=notes,
        data=frame,
    )


def _numbered(tables: Sequence[PaperTable]) -> list[PaperTable]:
    """Tables of one task that was asked in several ways get numbers."""
    numbered = []
    for i, table in enumerate(tables):
        alike = [other for other in tables if other.name == table.name]
        if len(alike) > 1:
            n = sum(other.name == table.name for other in tables[: i + 1])
            caption = f"{table.caption} ({n} of {len(alike)}: asked or graded otherwise)"
            table = replace(table, name=f"{table.name}_{n}", caption=caption)
        numbered.append(table)
    return numbered
