"""The judged table, checked, and its plain averages: ours, and those of PersonaGym's code."""

from __future__ import annotations

import numpy as np
import pandas as pd

from persona_bench.benchmarks.rubrics import EVAL_TASKS, SCORES

LOWEST, HIGHEST = float(SCORES[0]), float(SCORES[-1])
BATCH = 5
"""Responses that PersonaGym puts before a judge at once, and averages first."""

RESPONSE = ["persona", "eval_task", "question", "sample"]
"""What tells one response from another."""

POPULATIONS = ("personas and their questions", "personas, on these questions")
"""Personas with questions of their own, as in PersonaGym, or all asked the same ones: then what is
hard or easy in these questions is common to all personas, and no interval over personas sees it."""


class JudgedError(ValueError):
    """A table of judges' scores that can't be used; the message says where and why."""


def check_judged(judged: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns that are needed, names as text, sorted by response and judge.

    A column `asked` has the place of each persona's question on a task among all rows; columns
    that are not there come with "" (sample: 0).

    Raises:
        JudgedError: the table can't be used (see `fidelity`).
    """
    needed = ("persona", "eval_task", "question", "judge", "score")
    if lacking := [name for name in needed if name not in judged.columns]:
        raise JudgedError(
            f"the judged table lacks the column(s) {', '.join(lacking)}; it has "
            f"{', '.join(map(str, judged.columns)) or 'none'}"
        )
    if judged.empty:
        raise JudgedError("the judged table is empty: there is no response to score")
    table = judged.reset_index(drop=True)
    if "sample" not in table.columns:
        table["sample"] = 0
    for name in [*RESPONSE, "judge"]:
        if table[name].isna().any():
            row = int(table[name].isna().to_numpy().argmax())
            raise JudgedError(f"row {row} names no {name}")
    for name in ("persona", "eval_task", "question", "judge"):
        table[name] = table[name].astype(str)
    table["sample"] = pd.to_numeric(table["sample"])
    for name in ("model", "task", "rubric", "kind", "verdict", "reason", "prompt_hash"):
        told = table[name].fillna("") if name in table.columns else ""
        table[name] = pd.Series(told, index=table.index).astype(str)
    _check_one_run(table)
    if unknown := sorted(set(table["eval_task"]) - set(EVAL_TASKS)):
        raise JudgedError(
            f"eval_task {', '.join(map(repr, unknown))} is not one of PersonaGym's: "
            f"{', '.join(EVAL_TASKS)}"
        )
    table["score"] = _check_scores(table)
    if "entry_test" not in table.columns:
        table["entry_test"] = np.nan
    twice = table.duplicated([*RESPONSE, "judge"])
    if twice.any():
        raise JudgedError(
            f"{int(twice.sum())} row(s) are given twice, for instance "
            f"{_place(table, int(twice.to_numpy().argmax()))}; give each response its own sample"
        )
    keys = ["persona", "eval_task", "question"]
    table["asked"] = np.arange(len(table))
    table["asked"] = table.groupby(keys)["asked"].transform("min")
    table["reason"] = table["reason"].replace("", "no reason given")
    columns = [
        *RESPONSE,
        "judge",
        "score",
        "reason",
        "kind",
        "model",
        "task",
        "rubric",
        "prompt_hash",
        "entry_test",
        "asked",
    ]
    return table[columns].sort_values([*RESPONSE, "judge"], ignore_index=True)


def _check_one_run(table: pd.DataFrame) -> None:
    pairs = table[["model", "task"]].drop_duplicates()
    if len(pairs) > 1:
        found = "; ".join(sorted(f"model={m}, task={t}" for m, t in pairs.to_numpy()))
        raise JudgedError(
            f"the judged table holds more than one model and task ({found}): select one first, "
            'for instance judged.query("model == ... and task == ...")'
        )
    for name, of_task in table.groupby("eval_task")["rubric"]:
        if of_task.nunique() > 1:
            raise JudgedError(
                f"{name} was scored by more than one rubric ({', '.join(sorted(of_task.unique()))})"
                ": select one, or judge all responses by the same"
            )


def _check_scores(table: pd.DataFrame) -> pd.Series:
    score = pd.to_numeric(table["score"], errors="coerce").astype(float)
    bad = ~(score.between(LOWEST, HIGHEST) | table["score"].isna())
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise JudgedError(
            f"row {row} ({_place(table, row)}): score is {table['score'].tolist()[row]!r}, but "
            f"only {LOWEST:g} to {HIGHEST:g} and NaN (unscored) are meant"
        )
    said = table["verdict"].where(table["verdict"] != "", score.notna().map(_VERDICT))
    odd = said != score.notna().map(_VERDICT)
    if odd.any():
        row = int(odd.to_numpy().argmax())
        raise JudgedError(
            f"row {row} ({_place(table, row)}): verdict is {said[row]!r}, but score is {score[row]}"
            "; a scored verdict has a score, an unscored one has NaN"
        )
    return score


_VERDICT = {True: "scored", False: "unscored"}


def _place(table: pd.DataFrame, row: int) -> str:
    return ", ".join(f"{name} {table[name].iloc[row]}" for name in [*RESPONSE, "judge"])


# ------------------------------------------------------------------------------- the averages
def responses_of(table: pd.DataFrame) -> pd.DataFrame:
    """A row per response: `RESPONSE`, and score: the mean over its judges, NaN if none did."""
    return table.groupby(RESPONSE)["score"].mean().reset_index()


def by_persona(responses: pd.DataFrame) -> pd.DataFrame:
    """Mean score over responses, of each persona (rows) on each task (columns).

    NaN where nothing is scored; personas by name, tasks in the order of `EVAL_TASKS`.
    """
    return _in_order(responses.groupby(["persona", "eval_task"])["score"].mean())


def _in_order(cells: pd.Series) -> pd.DataFrame:
    scores = pd.DataFrame(cells.unstack("eval_task"))
    return scores[[name for name in EVAL_TASKS if name in scores.columns]]


def compatible(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Scores of each persona (rows) on each task (columns) as PersonaGym's code has them.

    The responses of a persona on a task go in batches of `BATCH`, in the order in which they were
    asked, each sample by itself. For each judge the mean of its readable scores in a batch; a
    batch without a readable one counts 0, as in `calculate_modified_average` of its code/run.py.
    Then the mean over judges, and over batches. A judge that has no row at all in a batch takes no
    part in it.

    Returns:
        The scores, 0 to 5, and how many batches of one judge counted 0.
    """
    asked = table.drop_duplicates(RESPONSE).sort_values("asked")
    place = asked.groupby(["persona", "eval_task", "sample"]).cumcount()
    batches = asked[RESPONSE].assign(batch=place // BATCH)
    batch = ["persona", "eval_task", "sample", "batch"]
    means = table.merge(batches, on=RESPONSE).groupby([*batch, "judge"])["score"].mean()
    by_batch = means.fillna(0.0).groupby(level=batch).mean()
    scores = by_batch.groupby(level=["persona", "eval_task"]).mean()
    return _in_order(scores), int(means.isna().sum())


def population_of(table: pd.DataFrame) -> str:
    """Which of `POPULATIONS` an interval clustered by persona is over."""
    asked = table[["persona", "eval_task", "question"]].drop_duplicates()
    return POPULATIONS[int(asked.duplicated(["eval_task", "question"]).any())]
