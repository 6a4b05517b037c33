"""Results of several models, made once for all tests of the figures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.report.figures.readable import LONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from persona_bench.scoring.stability import Stability

MODELS = ("base", "organisation/some-model-1.5B-Instruct", "sft", "distill", "rlvr", "permix")


@pytest.fixture(scope="session")
def models(made_up) -> Callable[..., dict[str, Stability]]:
    @functools.cache
    def one(i: int, personas: int, unscored: float) -> Stability:
        names = ["none", *(f"persona-{p}" for p in range(1, personas))]
        if personas > 3:
            names[1:3] = [LONG, "an-expert-in-combinatorial-number-theory"]
        chances = np.linspace(0.9 - 0.05 * i, 0.2, personas).tolist()
        return made_up(chances, names=names, unscored=unscored, questions=20, seed=i)

    def several(n: int, personas: int = 6, unscored: float = 0.02) -> dict[str, Stability]:
        return {MODELS[i]: one(i, personas, unscored) for i in range(n)}

    return several
