"""pass@k: how likely one of k samples solves a question."""

from __future__ import annotations

from math import comb

import pandas as pd

from persona_bench.scoring.cells import values_of


def pass_at_k(outcomes: pd.DataFrame, k: int) -> pd.Series:
    """The estimate for each persona, in the order of their first rows.

    Chen et al. 2021 (arXiv 2107.03374): 1 - C(n - c, k) / C(n, k) for a question with n scored
    samples of which c are correct, and the mean of that over the questions. Unscored samples are
    left out, and so is a question that has fewer than k scored ones.

    Args:
        outcomes: As `read_outcomes` gives them: the rows of one model and task.
        k: Samples that may be tried; at least 1.

    Returns:
        Shares, 0 to 1, by persona; NaN where no question has k scored samples.
    """
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    if not values_of(outcomes).dropna().isin([0.0, 1.0]).all():
        raise ValueError("pass@k needs verdicts, and some responses have scores between 0 and 1")
    if "kind" in outcomes.columns:
        outcomes = outcomes[outcomes["kind"] != "placebo"]
    cells = outcomes.groupby(["persona", "question"], sort=False)["correct"].agg(["count", "sum"])
    cells["pass"] = [
        1 - comb(int(n - c), k) / comb(int(n), k) if n >= k else float("nan")
        for n, c in zip(cells["count"], cells["sum"], strict=True)
    ]
    return cells["pass"].groupby("persona", sort=False).mean()
