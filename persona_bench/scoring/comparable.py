"""May two runs be compared? Same task, questions, personas, prompts, grader and generation."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from persona_bench.scoring.cells import SCORES, Cells

SHOWN = 5
"""Names that an error lists at most."""


class CompareError(ValueError):
    """Two runs that can't be compared; the message says in what they differ."""


def pair_up(
    a: pd.DataFrame, b: pd.DataFrame, *, allow_different_generation: bool = False
) -> tuple[Cells, Cells, int, tuple[str, ...]]:
    """Counts of the cells that both runs have scored, the number of responses left out, and notes.

    Args:
        a: One model's outcomes, checked.
        b: The other's.
        allow_different_generation: As in `compare`.

    Raises:
        CompareError: as `compare`.
    """
    check_comparable(a, b)
    differing = generation_differences(a, b)
    if differing and not allow_different_generation:
        raise CompareError(different_generation(differing))
    left, right, left_out = paired_cells(Cells.count(a), Cells.count(b))
    notes = _notes(left, right, left_out)
    if differing:
        notes = (f"generated under different settings: {differing}", *notes)
    return left, right, left_out, notes


def check_comparable(a: pd.DataFrame, b: pd.DataFrame) -> None:
    for name in ("task", "grader"):
        if name in a.columns and name in b.columns:
            mine, theirs = (", ".join(sorted(map(str, x[name].unique()))) for x in (a, b))
            if mine and theirs and mine != theirs:  # empty where a table does not tell
                raise CompareError(
                    f"{name}s differ: {mine} and {theirs}; grade both runs with the same version, "
                    "on the same task"
                )
    for name in ("persona", "question"):
        one, other = set(a[name]), set(b[name])
        if one != other:
            raise CompareError(
                f"{name}s differ{_sets(a, b)}: {_some(one - other, 'only in the first')}"
                f"{' and ' if one - other and other - one else ''}"
                f"{_some(other - one, 'only in the second')}; run both with the same persona set, "
                "number of questions and persona_seed, or compare what they have in common"
            )
    if "prompt_hash" in a.columns and "prompt_hash" in b.columns:
        keys = ["persona", "question"]
        before, after = (_prompts(x, keys) for x in (a, b))
        before, after = before.align(after, fill_value="")
        if (changed := (before != after) & (before != "") & (after != "")).any():
            persona, question = changed.index[int(changed.to_numpy().argmax())]
            raise CompareError(
                f"prompts differ in {int(changed.sum())} of {len(changed)} cells, first under "
                f"persona {persona}, question {question}: the wording of the persona, of the "
                "question or of the benchmark has changed between the two runs"
            )


def _prompts(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """The hashes of the prompts of each cell, as one text; empty where one is not known."""
    told = table.drop_duplicates([*keys, "prompt_hash"]).sort_values("prompt_hash", kind="stable")
    joined = told.groupby(keys, sort=False)["prompt_hash"].agg(" ".join)
    return joined.where(~joined.str.startswith(" "), "")


def generation_differences(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Generation settings in which two runs differ, with both values; empty where there are none.

    Args:
        a: One run's outcomes; `generation` is compared where both have it.
        b: The other's.
    """
    if "generation" not in a.columns or "generation" not in b.columns:
        return ""
    told = [sorted({str(each) for each in x["generation"].dropna()} - {""}) for x in (a, b)]
    if not all(told):
        return ""
    if len(told[0]) > 1 or len(told[1]) > 1:
        mixed = told[0] if len(told[0]) > 1 else told[1]
        raise CompareError(f"one run mixes generation settings: {' and '.join(mixed)}")
    one, other = (json.loads(each[0]) for each in told)
    return ", ".join(
        f"{name} {one.get(name, 'default')} and {other.get(name, 'default')}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    )


def different_generation(differing: str) -> str:
    """The error for runs that were generated under different settings."""
    return (
        f"the runs were generated under different settings ({differing}), so that a difference "
        "may be theirs rather than the model's: run both alike, or have two runs compared all the "
        "same by persona-bench compare --allow-different-generation "
        "(in Python allow_different_generation=True)"
    )


def restrict_to_common(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with only the questions and personas that both have.

    Raises:
        CompareError: they share none.
    """
    for name in ("question", "persona"):
        both = set(a[name]) & set(b[name])
        if not both:
            raise CompareError(f"the two runs have no {name} in common")
        a, b = a[a[name].isin(both)], b[b[name].isin(both)]
    return a, b


def _sets(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """The two runs' persona sets with their versions, if these are known and differ."""
    if "persona_set" not in a.columns or "persona_set" not in b.columns:
        return ""
    one, other = (", ".join(sorted({*map(str, x["persona_set"])} - {""})) for x in (a, b))
    return f" (persona sets {one} and {other})" if one and other and one != other else ""


def _some(names: set[str], where: str) -> str:
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names)} {where} ({shown})"


def paired_cells(a: Cells, b: Cells) -> tuple[Cells, Cells, int]:
    """Only cells that both have scored, and personas and questions that have such cells."""
    both = (a.scored > 0) & (b.scored > 0)
    if not both.any():
        raise CompareError("no question is scored under the same persona in both runs")
    left_out = int(a.scored[~both].sum() + b.scored[~both].sum())
    q, p = both.any(axis=1), both.any(axis=0)
    kept = [
        Cells(
            questions=list(np.asarray(c.questions, dtype=object)[q]),
            personas=list(np.asarray(c.personas, dtype=object)[p]),
            responses=np.where(both, c.responses, 0)[q][:, p],
            scored=np.where(both, c.scored, 0)[q][:, p],
            correct=np.where(both, c.correct, 0)[q][:, p],
            squares=np.where(both, c.squares, 0)[q][:, p],
        )
        for c in (a, b)
    ]
    return kept[0], kept[1], left_out


def _notes(a: Cells, b: Cells, left_out: int) -> tuple[str, ...]:
    found = [] if a.has_verdicts and b.has_verdicts else [SCORES]
    if left_out:
        found.append(
            f"{left_out} responses are not compared: the other run has nothing scored in their cell"
        )
    one, other = int(a.responses.max()), int(b.responses.max())
    if one != other:
        found.append(
            f"{one} and {other} samples a cell: noise drives the plain PSS, worst and best of the "
            "run with fewer samples further apart, so that these have no interval and no p-value; "
            "compare the corrected PSS"
        )
    if len(a.questions) < 2:
        found.append("a single question: differences have no interval and no p-value")
    return tuple(found)
