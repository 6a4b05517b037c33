"""What a pilot run says about a benchmark and a model, as assumptions for a plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from persona_bench.extras.planning.plan import Assumptions, moments
from persona_bench.scoring.cells import Cells, check


def assumptions_from(outcomes: pd.DataFrame) -> tuple[Assumptions, list[str]]:
    """Assumptions by the method of moments, and what has to be said about them.

    From the tidy table of one model and task, all personas on all questions: the covariance
    of two personas over questions is the questions' variance; what samples of one cell differ
    by is the cells'; the rest of the variance of a persona's cells is the interaction, and
    what personas' accuracies vary by beyond all that is theirs. Each is then turned into the
    sd in log-odds that has this variance in `plan.moments`.

    Raises:
        ValueError: fewer than 2 personas or 5 questions, or all correct, or all wrong.
    """
    cells = Cells.count(check(outcomes)).scored_only()
    whole = (cells.scored > 0).all(axis=1)
    n, correct = cells.scored[whole].astype(float), cells.correct[whole]
    if n.shape[0] < 5 or n.shape[1] < 2:
        raise ValueError(
            f"the pilot has {n.shape[0]} question(s) that all of its {n.shape[1]} persona(s) "
            "answered: at least 5 and 2 are needed"
        )
    share = correct / n
    accuracy = float(share.mean())
    if not 0 < accuracy < 1:
        raise ValueError(
            f"every response of the pilot is {'correct' if accuracy else 'wrong'}: it says "
            "nothing about how questions and personas differ; take a harder or easier benchmark"
        )
    notes = []
    if not whole.all():
        notes.append(f"{int((~whole).sum())} questions lack a persona and are left out")
    questions, personas = n.shape
    covariance = np.cov(share.T)
    question = float((covariance.sum() - np.trace(covariance)) / (personas * (personas - 1)))
    many = n > 1
    if many.any():
        unbiased = share[many] * (1 - share[many]) * n[many] / (n[many] - 1)
        within = float(unbiased.mean())
    else:
        within = math.nan
        notes.append(
            "one sample a cell: persona x question interaction can't be told from sampling noise "
            "and is taken as none, so that what more samples bring may be promised too large"
        )
    own = float(np.trace(covariance) / personas) - question
    interaction = max(0.0, own - within * float((1 / n).mean())) if many.any() else 0.0
    persona = max(0.0, float(share.mean(axis=0).var(ddof=1)) - own / questions)
    assumed = Assumptions(accuracy, 0.0)
    for _ in range(4):  # each of the two bends the curve on which the other is read off
        assumed = _with_variance(assumed, "question_sd", max(question, 0.0))
        assumed = _with_variance(assumed, "interaction_sd", interaction)
    at = 1e-3
    slope = float(np.diff(moments(assumed, np.array([-at, at])).mean)[0] / (2 * at))
    return replace(assumed, persona_sd=min(math.sqrt(persona) / slope, 10.0)), notes


def _with_variance(assumed: Assumptions, name: str, variance: float) -> Assumptions:
    """`assumed` with the sd at which this part of the variance is as wanted (at most 6)."""
    part: Callable[[Assumptions], float] = lambda a: float(  # noqa: E731
        getattr(moments(a), name.removesuffix("_sd"))
    )
    if part(replace(assumed, **{name: 0.0})) >= variance - 1e-6:
        return replace(assumed, **{name: 0.0})
    most = 6.0
    if part(replace(assumed, **{name: most})) <= variance:
        return replace(assumed, **{name: most})
    sd = brentq(lambda x: part(replace(assumed, **{name: x})) - variance, 0.0, most, xtol=1e-3)
    return replace(assumed, **{name: float(sd)})
