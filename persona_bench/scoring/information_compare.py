"""Persona information of two models, paired: on the same questions under the same personas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_bench.scoring.estimate import Result
from persona_bench.scoring.fidelity_compare import sign_flip_p
from persona_bench.scoring.frames import check_settings
from persona_bench.scoring.information import RESPONSE, response_information
from persona_bench.scoring.resampling import Floats, bootstrap, expanded_interval


@dataclass(frozen=True)
class InformationDifference(Result):
    """Persona information of model b less that of model a, in nats a token."""

    a: float
    b: float
    """Means over the prompts that both have responded to."""
    difference: float
    low: float
    high: float
    """Bootstrap: questions redrawn, with both models' responses to them."""
    p_value: float
    """Two-sided sign-flip test: the signs of whole questions' differences flipped."""
    n_questions: int
    n_personas: int
    n_responses: int
    left_out: int
    """Responses to prompts that only one of the two has a response to."""
    confidence: float
    resamples: int
    seed: int


def compare_information(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> InformationDifference:
    """What model b's responses tell of their personas beyond what model a's do.

    Each response is explained by its own model's likelihoods.

    Args:
        a: One model's likelihoods, as `persona_information` takes them.
        b: The other's.
        confidence: Level of the interval.
        resamples: Bootstrap replicates, and random flips where all would be more.
        seed: Seed of both.

    Raises:
        ValueError: a table that `persona_information` would refuse, other candidate personas,
            or fewer than two questions in common.
    """
    check_settings(confidence, resamples)
    candidates = [sorted(set(table["candidate"])) for table in (a, b)]
    if candidates[0] != candidates[1]:
        raise ValueError(
            "the two are held against different personas: make both with the same persona set and "
            "the same --others"
        )
    both = response_information(a).merge(
        response_information(b), on=RESPONSE, how="outer", suffixes=("_a", "_b")
    )
    there = both.dropna()
    if there["question"].nunique() < 2:
        raise ValueError("fewer than two questions have responses of both: nothing to compare")
    difference = (there["information_b"] - there["information_a"]).to_numpy(dtype=float)
    question = pd.factorize(there["question"])[0]
    of_each = (np.bincount(question, difference), np.bincount(question))
    sums: Floats = np.stack(of_each, axis=1).astype(np.float64)
    boot, flips = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    drawn = bootstrap(sums, lambda total: total[:, :1] / total[:, 1:], resamples, boot)
    interval = expanded_interval(drawn[:, 0], confidence, len(sums))
    return InformationDifference(
        a=float(there["information_a"].mean()),
        b=float(there["information_b"].mean()),
        difference=float(difference.mean()),
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_p(sums[:, 0], resamples, flips),
        n_questions=len(sums),
        n_personas=there["persona"].nunique(),
        n_responses=len(there),
        left_out=len(both) - len(there),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
