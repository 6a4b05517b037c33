"""Made-up results in every shape that a report has to show."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from persona_bench.personas import KINDS
from persona_bench.scoring.stability import Stability, stability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _made_up(
    chances: Sequence[float],
    *,
    names: Sequence[str] | None = None,
    questions: int = 40,
    samples: int = 1,
    unscored: float = 0.0,
    seed: int = 0,
) -> Stability:
    """A result in which persona i, the first being `none`, is right with probability chances[i]."""
    rng = np.random.default_rng(seed)
    n = len(chances)
    names = names or ["none", *(f"persona-{i}" for i in range(1, n))]
    own = [kind for kind in KINDS if kind != "placebo"]  # placebos are no personas, and not scored
    kinds = [own[i % len(own)] for i in range(n)]
    shape = (n, questions, samples)
    i, question, sample = (index.ravel() for index in np.indices(shape))
    right = (rng.random(shape) < np.asarray(chances)[:, None, None]).ravel()
    lost = rng.random(right.size) < unscored
    reason = np.where(rng.random(right.size) < 0.8, "wrong_answer", "no_answer")
    outcomes = pd.DataFrame(
        {
            "persona": np.asarray(names, dtype=object)[i],
            "kind": np.asarray(kinds, dtype=object)[i],
            "question": question,
            "sample": sample,
            "reason": np.where(lost, "api_error", np.where(right, "", reason)),
            "correct": np.where(lost, np.nan, right.astype(float)),
        }
    )
    with warnings.catch_warnings():  # the notes are asserted on, the warnings are theirs
        warnings.simplefilter("ignore")
        return stability(outcomes, resamples=200)


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Stability]:
    return _made_up
