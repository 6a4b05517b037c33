"""Is the ranking of models the same under each persona?

    from persona_bench.scoring.rankings import ranking_agreement

    found = ranking_agreement({"base": outcomes, "tuned": others})
    print(found.w, found.by_chance)

Kendall's coefficient of concordance W (Kendall and Babington Smith 1939), corrected for ties: 1
where the personas rank the models alike, 0 where their ranks cancel. Noise alone lowers it where
models are about as accurate; so it stands beside the W of the same table with the personas
exchanged within each question, which is what it would be if personas had no effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.estimate import UNKNOWN, Estimate, Result
from persona_bench.scoring.resampling import (
    CHUNK_CELLS,
    Floats,
    percentile_interval,
    question_weights,
)
from persona_bench.scoring.sequential import early_of


@dataclass(frozen=True)
class Ranking(Result):
    """How far the personas agree on the order of some models.

    Attributes:
        w: Kendall's W with its interval over questions like these. Where `p_value` is above 1 -
            confidence all personas may rank the models alike, and the interval reaches up to 1.
        by_chance: Mean of W if personas had no effect, and the middle `confidence` of it.
        p_value: Chance that the models' differences vary as much from persona to persona if
            personas had no effect: sum of squares of accuracies, less each model's and each
            persona's mean, against the same exchanges. NaN in an early look.
        ranks: One row per persona: `persona`, and the rank of each model (1: most accurate).
        n_models, n_personas, n_questions: What all models have scored.
        confidence: Level of the interval.
    """

    w: Estimate
    by_chance: Estimate
    p_value: float
    ranks: pd.DataFrame
    n_models: int
    n_personas: int
    n_questions: int
    confidence: float


def ranking_agreement(
    tables: Mapping[str, pd.DataFrame],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Ranking:
    """Kendall's W of the models over the personas.

    Args:
        tables: The outcomes of at least two models on one task, by name. Cells count that all
            models have scored.
        confidence: Level of the interval.
        resamples: Bootstrap replicates, and exchanges.
        seed: Seed of both.

    Returns:
        NaN with fewer than two personas or two questions, or where each persona ranks all models
        alike.

    Raises:
        ValueError: fewer than two models, or a table that `stability` would refuse.
    """
    if len(tables) < 2:
        raise ValueError(f"a ranking needs at least two models, and here is {len(tables)}")
    cells = [Cells.count(check(table)) for table in tables.values()]
    questions = sorted(set.intersection(*(set(each.questions) for each in cells)))
    personas = sorted(set.intersection(*(set(each.personas) for each in cells)))
    scores, there = zip(*(_shares(each, questions, personas) for each in cells), strict=True)
    common = np.logical_and.reduce(there)
    rows, columns = common.any(axis=1), common.any(axis=0)
    common = common[rows][:, columns]
    shares = np.stack(scores)[:, rows][:, :, columns] * common  # models, questions, personas
    names = [name for name, kept in zip(personas, columns, strict=True) if kept]
    sums, counts = shares.sum(axis=1), common.sum(axis=0)
    ranks = pd.DataFrame({"persona": names})
    if names:
        order = rankdata(-(sums / counts).round(12), axis=0)
        for model, own in zip(tables, order, strict=True):
            ranks[model] = own
    boot, exchange = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    w, floor, p = UNKNOWN, UNKNOWN, math.nan
    if min(common.shape, default=0) >= 2:
        seen, drawn = (sums / counts)[None], _exchanged(shares, common, resamples, exchange)
        value, null = float(concordance(seen)[0]), concordance(drawn)
        beyond = _interaction(drawn) >= _interaction(seen) - 1e-12
        p = float((1 + beyond.sum()) / (1 + resamples))
        if any(early_of(table) for table in tables.values()):
            p = math.nan
        if not math.isnan(value):
            low, high = percentile_interval(_redrawn(shares, common, resamples, boot), confidence)
            high = max(high, value) if p <= 1 - confidence else 1.0
            w = Estimate(value, min(low, value), high)
            floor = Estimate(float(np.nanmean(null)), *percentile_interval(null, confidence))
    return Ranking(w, floor, p, ranks, len(cells), len(names), int(rows.sum()), confidence)


def concordance(accuracies: Floats) -> Floats:
    """Kendall's W of accuracies, shape (replicates, models, personas), over the personas.

    W = 12 S / (n^2 (m^3 - m) - n T) for m models and n personas, S the sum of squares of the
    models' sums of ranks about their mean, T the sum over personas of t^3 - t for each tie of t
    models. NaN where each persona ties all models.
    """
    _, models, personas = accuracies.shape
    ranks = rankdata(accuracies.round(12), axis=1)
    sums = ranks.sum(axis=2)
    squares = ((sums - sums.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    # of each persona the ranks' sum of squares is (m^3 - m - T) / 12
    about = ((ranks - (models + 1) / 2) ** 2).sum(axis=(1, 2))
    out = np.full(len(sums), np.nan)
    found: Floats = np.divide(squares, personas * about, out=out, where=about > 1e-9)
    return found


def _interaction(accuracies: Floats) -> Floats:
    centred = accuracies - accuracies.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=2, keepdims=True)
    squares: Floats = (centred**2).sum(axis=(1, 2))
    return squares


def _shares(cells: Cells, questions: list[str], personas: list[str]) -> tuple[Floats, Any]:
    row = pd.Index(cells.questions).get_indexer(pd.Index(questions))
    column = pd.Index(cells.personas).get_indexer(pd.Index(personas))
    chosen = cells.only(questions=row, personas=column)
    there = chosen.scored > 0
    share = np.divide(chosen.correct, chosen.scored, out=np.zeros(there.shape), where=there)
    return share, there


def _redrawn(shares: Floats, common: Any, resamples: int, rng: np.random.Generator) -> Floats:
    models, questions, personas = shares.shape
    flat = shares.transpose(1, 0, 2).reshape(questions, models * personas)
    found = []
    for weights in question_weights(questions, resamples, rng, width=models * personas):
        with np.errstate(invalid="ignore"):
            means = (weights @ flat).reshape(-1, models, personas) / (weights @ common)[:, None]
        found.append(concordance(np.nan_to_num(means)))
    return np.concatenate(found)


def _exchanged(shares: Floats, common: Any, resamples: int, rng: np.random.Generator) -> Floats:
    """Accuracies with the personas of each question in random order, the same for all models."""
    models, questions, personas = shares.shape
    found = np.empty((resamples, models, personas))
    chunk = max(1, CHUNK_CELLS // shares.size)
    # cells that are missing keep their places
    for start in range(0, resamples, chunk):
        rows = slice(start, min(start + chunk, resamples))
        keys = rng.random((rows.stop - start, questions, personas))
        keys = np.where(common, keys, 2.0 + np.arange(personas))
        order = np.argsort(keys, axis=2, kind="stable")
        places = np.argsort(~common, axis=1, kind="stable")  # of the cells that are there, first
        back = np.empty_like(order)
        np.put_along_axis(back, np.broadcast_to(places, order.shape), order, axis=2)
        for model in range(models):
            drawn = np.take_along_axis(shares[model][None], back, axis=2)
            found[rows, model] = drawn.sum(axis=1) / common.sum(axis=0)
    return found
