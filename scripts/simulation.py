"""What the studies share: chances of a correct response in log-odds, tables of counts, printing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from persona_bench.scoring.cells import Cells

EASE_SD = 1.5
"""Standard deviation of the eases of questions, in log-odds."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(101)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def expected(level: np.ndarray | float, sd: float = EASE_SD) -> np.ndarray:
    """Accuracy over all questions, their log-odds being normal about `level`; of its shape."""
    accuracy: np.ndarray = expit(np.asarray(level)[..., None] + sd * NODES) @ WEIGHTS
    return accuracy


@cache
def base(mean: float, sd: float = EASE_SD) -> float:
    """The log-odds at which a question is correct with probability `mean` on average."""
    return float(brentq(lambda level: float(expected(level, sd)) - mean, -30, 30))


def cells_of(correct: np.ndarray, scored: np.ndarray, responses: np.ndarray | None = None) -> Cells:
    """Counts of shape (questions, personas); all responses are scored where none are given."""
    questions, personas = ([str(i) for i in range(k)] for k in correct.shape)
    return Cells(questions, personas, scored if responses is None else responses, scored, correct)


def markdown(table: pd.DataFrame) -> str:
    """A table with three digits after the point."""
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        shown = (f"{v:.3f}" if isinstance(v, float) else str(v) for v in row)
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)
