"""Personas against the control, on the same questions: differences and their tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student_t
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.resampling import Floats, influence_se

MCNEMAR = "McNemar's exact test on questions"
CLUSTERED = "paired t-test on questions' mean verdicts or scores"

COLUMNS = (
    "persona", "kind", "accuracy", "control_accuracy", "difference", "low", "high", "p_value",
    "p_holm", "better", "worse", "n_questions",
)  # fmt: skip


def group_differences(cells: Cells, control: int, members: Any) -> tuple[Floats, Floats]:
    """By question: mean verdict of a group of personas, less the control's.

    `members` is a mask, of personas or of cells (questions, personas). Returns the
    differences, shape (questions,), 0 where either side has nothing scored, and 1.0 or 0.0
    for whether both sides have.
    """
    there = cells.scored > 0
    share = np.divide(cells.correct, cells.scored, out=np.zeros(there.shape), where=there)
    chosen = there & np.broadcast_to(members, there.shape)
    n = chosen.sum(axis=1)
    both = (n > 0) & there[:, control]
    mean = np.where(chosen, share, 0.0).sum(axis=1) / np.maximum(n, 1)
    return np.where(both, mean - share[:, control], 0.0), both.astype(float)


def clustered_p(differences: Floats) -> float:
    """Two-sided p of a paired t-test, one difference a question; NaN below two questions.

    Where all differences are one and the same value other than 0, and t has no spread to go
    by, the exact sign-flip test of those questions, 2 / 2^n.
    """
    n = differences.size
    if n < 2:
        return float("nan")
    mean = float(differences.mean())
    if np.ptp(differences) < 1e-12:
        return 1.0 if abs(mean) < 1e-12 else float(2.0 ** (1 - n))
    se = influence_se((differences - mean) / n)
    return float(2 * student_t.sf(abs(mean) / se, n - 1))


def mcnemar_p(differences: Floats) -> float:
    """Exact two-sided p of McNemar's test, from differences of single verdicts (-1, 0, 1)."""
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    same = differences.size - better - worse
    return float(mcnemar([[same, better], [worse, 0]], exact=True).pvalue)


def persona_table(
    cells: Cells, kinds: list[str], control: int | None, low: Floats, high: Floats
) -> tuple[pd.DataFrame, str]:
    """A row a persona but the control, with the columns `COLUMNS`, and the test that was used;
    no row where there is no control.

    Everything in a row is over the questions that both the persona and the control have
    scored responses to, each question counting once. `better` and `worse` count questions.
    With one verdict a cell McNemar's exact test (Gupta et al. 2024), else a t-test clustered
    by question; `p_holm` is Holm's (1979) correction over the personas.
    """
    single = bool(cells.responses.size) and cells.responses.max() <= 1 and cells.has_verdicts
    rows = []
    for p, name in enumerate(cells.personas):
        if control is None or p == control:
            continue
        difference, both = group_differences(cells, control, np.arange(len(cells.personas)) == p)
        d = difference[both > 0]
        base = cells.correct[both > 0, control] / cells.scored[both > 0, control]
        mean, of_control = (float(a.mean()) if d.size else np.nan for a in (d, base))
        rows.append(
            {
                "persona": name,
                "kind": kinds[p],
                "accuracy": of_control + mean,
                "control_accuracy": of_control,
                "difference": mean,
                "low": low[p],
                "high": high[p],
                "p_value": (mcnemar_p(d) if single else clustered_p(d)) if d.size else np.nan,
                "better": int((d > 0).sum()),
                "worse": int((d < 0).sum()),
                "n_questions": d.size,
            }
        )
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    known = frame["p_value"].notna()
    if known.any():
        frame.loc[known, "p_holm"] = multipletests(frame.loc[known, "p_value"], method="holm")[1]
    frame = frame.sort_values(["difference", "persona"], na_position="last", ignore_index=True)
    return frame.astype({"p_holm": float}), MCNEMAR if single else CLUSTERED
