"""The four shares of right and in voice: bars that add up, and are the numbers of the result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer

from persona_bench.report.figures.voice import voice_data, voice_figure
from persona_bench.scoring.voice import SHARES, Voice, voice
from tests.report.figures.readable import TITLE, assert_readable


@pytest.fixture
def voices() -> Callable[[int, int], dict[str, Voice]]:
    def made(n: int, personas: int) -> dict[str, Voice]:
        rng = np.random.default_rng(n)
        names = [f"persona-{i}" for i in range(personas)]
        index = pd.MultiIndex.from_product(
            [names, range(12), [0]], names=["persona", "question", "sample"]
        )
        found = {}
        for model in [f"model {i}" for i in range(n)]:
            rows = pd.DataFrame(index=index).reset_index()
            rows = rows.assign(model=model, task="sums", kind="character")
            rows["correct"] = rng.integers(0, 2, len(rows)).astype(float)
            score = rng.integers(1, 6, len(rows)).astype(float)
            judged = rows.assign(score=score, judge="j", entry_test=0.9, response="x")
            found[model] = voice(rows, judged)
        return found

    return made


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize(("n", "personas"), [(1, 1), (2, 110), (3, 16)])
def test_labels_are_apart_and_inside(voices, n: int, personas: int, width: float) -> None:
    figure = voice_figure(voices(n, personas), title=TITLE, width=width)
    assert_readable(figure, width)


def test_what_is_drawn_is_the_result_end_to_end(voices) -> None:
    (result,) = voices(1, 6).values()
    data = voice_data(result)
    table = result.personas.set_index("persona")
    for row in data.to_dict("records"):
        assert row["share"] == table.loc[row["persona"], row["outcome"]]
    (axes,) = voice_figure(result).axes
    stacked = [c for c in axes.containers if isinstance(c, BarContainer)]
    for container, name in zip(stacked, SHARES, strict=True):
        own = data[data["outcome"] == name]
        assert [bar.get_width() for bar in container] == pytest.approx(own["share"].tolist())
        assert [bar.get_x() for bar in container] == pytest.approx(own["start"].tolist())
    for bar in stacked[-1]:
        assert bar.get_x() + bar.get_width() == pytest.approx(1.0)
