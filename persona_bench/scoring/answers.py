"""Answers, not only verdicts: how often two personas give the same answer, right or wrong.

A persona may keep the accuracy and change which mistakes are made. Two answers are the same where
both are correct, or where they read alike but for case and white space; a response in which no
answer was found agrees with none. Programs have no answer to compare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from persona_bench.scoring.cells import values_of
from persona_bench.scoring.estimate import UNKNOWN, Estimate
from persona_bench.scoring.resampling import Counts, Floats, influence_se, mean_interval

PROGRAMS = r"\bcode \d"
"""In the names of graders that run programs."""


def answer_agreement(
    table: pd.DataFrame, personas: list[str], confidence: float
) -> tuple[Estimate, Estimate, Floats]:
    """How often two responses to a question give the same answer.

    Args:
        table: One model's outcomes, checked; the column `taken` holds the answers.
        personas: Their names, in the order of what is returned.
        confidence: Level of the intervals, which are clustered by question.

    Returns:
        For two personas, one sample each; for two samples of one persona; and for each persona with
        the others. NaN where no answers are recorded, or where there is nothing to compare.
    """
    nothing = UNKNOWN, UNKNOWN, np.full(len(personas), np.nan)
    if not _has_answers(table):
        return nothing
    known = table[values_of(table).notna()]
    answer = known["taken"].fillna("").astype(str).str.split().str.join(" ").str.casefold()
    answer = answer.where(known["correct"] != 1, "\0right")
    question, names = pd.factorize(known["question"], sort=True)
    code, answers = pd.factorize(pd.Series(zip(question, answer, strict=True)))
    column = pd.Index(personas).get_indexer(pd.Index(known["persona"]))
    given = _tally(code, column, (len(answers), len(personas)))
    n = _tally(question, column, (len(names), len(personas)))
    of_answer = np.array([place for place, _ in answers], dtype=np.int64)
    given[np.array([text == "" for _, text in answers], dtype=bool)] = (
        0  # no answer: agrees with none
    )
    there = n > 0
    share = np.divide(given, n[of_answer], out=np.zeros(given.shape), where=there[of_answer])

    def by_question(values: Floats) -> Floats:
        sums = np.zeros((len(names), *values.shape[1:]))
        np.add.at(sums, of_answer, values)
        return sums

    total = share.sum(axis=1)
    of_each = by_question(share * (total[:, None] - share))
    others = np.where(there, there.sum(axis=1, keepdims=True) - 1, 0)
    same = by_question(given * (given - 1.0))
    pairs = n * (n - 1.0)
    with np.errstate(invalid="ignore"):
        each = of_each.sum(axis=0) / others.sum(axis=0)
    within = np.divide(same, pairs, out=np.zeros(pairs.shape), where=pairs > 0)
    return (
        _share_of(of_each.sum(axis=1), others.sum(axis=1), confidence),
        _share_of(within.sum(axis=1), (pairs > 0).sum(axis=1), confidence),
        each,
    )


def _has_answers(table: pd.DataFrame) -> bool:
    if "taken" not in table.columns or not table["taken"].fillna("").astype(str).any():
        return False
    graders = table["grader"].astype(str) if "grader" in table.columns else pd.Series(dtype=str)
    return not graders.str.contains(PROGRAMS).any()


def _tally(row: Counts, column: Counts, shape: tuple[int, int]) -> Floats:
    counts: Any = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1])
    return np.asarray(counts.reshape(shape), dtype=float)


def _share_of(top: Floats, bottom: Floats, confidence: float) -> Estimate:
    """A share of pairs, from what each question adds to them."""
    if not bottom.sum():
        return UNKNOWN
    value = float(top.sum() / bottom.sum())
    se = influence_se((top - value * bottom) / bottom.sum())
    return Estimate(value, *mean_interval(value, se, int((bottom > 0).sum()), confidence))
