"""Screening: the PSS of a large persona set from a fraction of its grid.

    result = screen(ask, questions, personas, budget=0.2)

`ask` gets a design (pairs of question and persona) and gives outcomes. Every persona is
asked a few questions from a screening part; those that look lowest and highest are asked
more, in rounds; the finalists are then measured in full on questions held out until then,
so that having been chosen for their luck does not flatter them. docs/planning.md has what
this was measured to reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from persona_bench.extras.screening.rasch import RaschFit, fit_rasch
from persona_bench.extras.screening.screened import Screening, summarise
from persona_bench.harness.design import design_pairs, sparse_design

Decoding = Literal["greedy", "sampled"]

Ask = Callable[[str, pd.DataFrame, int], pd.DataFrame]
"""(name of the round, design, samples a pair) -> the tidy table of their outcomes."""

POOL = 0.32
"""Share of the questions that screening may use. Small, so that many personas share each
question: on all 500 questions of a study, three personas a question, effects came out 15%
too small; at fifteen a question, 5%."""

LEAST = 5
"""Fewest questions a persona must get in the first round."""


class Rounds(NamedTuple):
    """How a budget is spent. Numbers of questions are for each persona asked."""

    pool: int
    """Screening questions; the others are held out."""
    first: int
    """Screening questions for every persona."""
    halvings: tuple[tuple[int, int], ...]
    """Then, in turn: (personas kept at each end, more screening questions for them)."""
    finalists: int
    """Personas at each end that are measured in full."""
    samples: int
    """Responses to each held-out question."""


def plan_rounds(questions: int, personas: int, budget: float, decoding: Decoding) -> Rounds:
    """Splits `budget`, a share of the grid at one sample per cell.

    Greedy decoding gives the same response each time, so what is left goes into more
    finalists, measured on every question; sampled, into fewer of them and more samples.

    Raises:
        ValueError: a share that is no share, or one too small to tell anything.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget={budget} must be a share of the full grid, above 0 and up to 1")
    if personas < 4 or questions < 15:
        raise ValueError(
            f"{questions} questions and {personas} personas are too few to screen (15 and 4 at "
            "least): run the full grid"
        )
    total, pool = budget * questions * personas, max(LEAST, round(POOL * questions))
    held_out = questions - pool
    share = 0.36 if decoding == "greedy" else 0.2
    finalists = min(max(1, int(share * total / (2 * held_out) + 0.5)), personas // 2)
    kept = [max(finalists, round(personas * part)) for part in (0.16, 0.08)]
    spend = [0.36 * total, 0.125 * total, 0.09 * total]
    first = min(int(spend[0] / personas), pool)
    rest = 1 - 0.36 - 0.125 - 0.09  # of the budget, for one finalist at each end at least
    two = 2 * (questions if decoding == "greedy" else held_out)
    if first < LEAST or rest * total < two:
        least = max(LEAST * personas / 0.36, two / rest) / (questions * personas)
        raise ValueError(
            f"budget={budget:g} of {questions} questions x {personas} personas leaves too few "
            f"responses: it takes at least {np.ceil(100 * least) / 100:.2f}"
            + ("" if least <= 1 else ", which is more than the full grid: run that")
        )
    halvings, asked = [], first
    for keep, money in zip(kept, spend[1:], strict=True):
        extra = min(int(money / (2 * keep)), pool - asked)
        halvings.append((keep, extra))
        asked += extra
    screened = personas * first + sum(2 * keep * extra for keep, extra in halvings)
    whole = questions - asked if decoding == "greedy" else held_out
    while finalists > 1 and screened + 2 * finalists * whole > total:
        finalists -= 1
    samples = 1 if decoding == "greedy" else int((total - screened) / (2 * finalists * held_out))
    return Rounds(pool, first, tuple(halvings), finalists, max(1, samples))


def _more(
    table: pd.DataFrame, pool: list[str], personas: list[str], extra: int, rng: np.random.Generator
) -> pd.DataFrame:
    """`extra` new questions of the pool for each; those first that the others were asked."""
    row = pd.Index(pool).get_indexer(pd.Index(table["question"]))
    column = pd.Index(personas).get_indexer(pd.Index(table["persona"]))
    is_in_grid = (row >= 0) & (column >= 0)
    asked = np.zeros((len(pool), len(personas)), dtype=bool)
    asked[row[is_in_grid], column[is_in_grid]] = True
    new = np.zeros_like(asked)
    for j in range(len(personas)):
        together = (asked | new).sum(axis=1)
        order = np.lexsort((rng.random(len(pool)), -together, asked[:, j]))
        free = len(pool) - int(asked[:, j].sum())
        new[order[: min(extra, free)], j] = True
    return design_pairs(new, pool, personas)


def choose_extremes(fit: RaschFit, n: int) -> tuple[list[str], list[str]]:
    """The `n` personas of lowest effect, lowest first, and the `n` of highest, highest first."""
    order = np.argsort(fit.effect, kind="stable")
    names = [fit.personas[i] for i in order]
    return names[:n], names[::-1][:n]


def screen(
    ask: Ask,
    questions: Sequence[str],
    personas: Sequence[str],
    *,
    budget: float = 0.2,
    decoding: Decoding = "greedy",
    confidence: float = 0.95,
    seed: int = 0,
) -> Screening:
    """Asks in rounds (see `plan_rounds`) and estimates the set's PSS.

    Args:
        ask: Gives the outcomes of a design. The same seed and outcomes make the same designs.
        budget: Share of the full grid, at one sample a cell, that may be asked.
        decoding: What a cell asked twice would give: the same ("greedy") or a new response.
            It decides what is estimated: the PSS that the full grid would show, or that of
            the expected accuracies.
        confidence: Level of the intervals.
        seed: Seed of the designs and the posterior's draws.

    Raises:
        ValueError: see `plan_rounds`; too few responses scored.
    """
    plan = plan_rounds(len(questions), len(personas), budget, decoding)
    rng = np.random.default_rng(seed)
    shuffled = [questions[i] for i in rng.permutation(len(questions))]
    pool, held_out = shuffled[: plan.pool], shuffled[plan.pool :]
    table = ask("round-1", sparse_design(pool, list(personas), plan.first, rng), 1)
    for number, (keep, extra) in enumerate(plan.halvings, start=2):
        low, high = choose_extremes(fit_rasch(table), keep)
        design = _more(table, pool, [*low, *high], extra, rng)
        if len(design):
            table = pd.concat([table, ask(f"round-{number}", design, 1)], ignore_index=True)
    low, high = choose_extremes(fit_rasch(table), plan.finalists)
    finalists = [*low, *high]
    final = design_pairs(np.ones((len(held_out), len(finalists)), bool), held_out, finalists)
    if decoding == "greedy":  # the rest of the screening part too: then they are known exactly
        final = pd.concat([final, _more(table, pool, finalists, plan.pool, rng)], ignore_index=True)
    table = pd.concat([table, ask("final", final, plan.samples)], ignore_index=True)
    return summarise(
        table,
        questions=questions,
        personas=personas,
        held_out=held_out,
        lowest=low,
        highest=high,
        decoding=decoding,
        confidence=confidence,
        seed=seed,
    )
