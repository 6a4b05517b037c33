"""Question x persona: each cell is the share of correct responses in the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection, QuadMesh

from persona_bench.report.figures.heat_map import heat_map_data, heat_map_figure
from persona_bench.scoring.stability import stability
from tests.report.figures.readable import LONG, TITLE, assert_readable, words


def outcomes(
    personas: int, questions: int, samples: int = 2, unscored: float = 0.05, seed: int = 0
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    p, q, s = (index.ravel() for index in np.indices((personas, questions, samples)))
    chance = np.clip(0.9 - 0.5 * p / personas - 0.4 * q / questions, 0.05, 0.95)
    correct = (rng.random(p.size) < chance).astype(float)
    names = np.array(["none", LONG, *(f"persona-{i}" for i in range(personas))], dtype=object)
    return pd.DataFrame(
        {
            "persona": names[p],
            "kind": "character",
            "question": [f"q{i}" for i in q],
            "sample": s,
            "correct": np.where(rng.random(p.size) < unscored, np.nan, correct),
        }
    )


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize(
    ("personas", "questions", "samples"), [(1, 1, 1), (6, 12, 2), (16, 40, 1), (100, 500, 1)]
)
def test_labels_are_apart_and_inside(personas, questions, samples, width: float) -> None:
    table = outcomes(personas, questions, samples)
    assert_readable(heat_map_figure(table, title=TITLE, width=width), width)


def test_cells_are_the_shares_of_the_table_and_what_is_drawn() -> None:
    table = outcomes(6, 12).drop(index=[0, 1, 30])
    data = heat_map_data(table)
    shares = table.groupby(["persona", "question"])["correct"].agg(["mean", "count", "size"])
    cells = data.set_index(["persona", "question"])
    assert len(cells) == 6 * 12
    found = cells.loc[shares.index]
    np.testing.assert_allclose(found["accuracy"], shares["mean"])
    assert found["scored"].tolist() == shares["count"].tolist()
    assert found["responses"].tolist() == shares["size"].tolist()
    (mesh,) = heat_map_figure(table).axes[1].findobj(QuadMesh)
    drawn = np.ma.filled(mesh.get_array(), np.nan).ravel()
    np.testing.assert_allclose(drawn, data.loc[data["question_accuracy"] > 0, "accuracy"])


def test_questions_that_nobody_solved_are_counted_not_drawn() -> None:
    table = outcomes(3, 8, samples=1, unscored=0.0)
    table.loc[table["question"].isin(["q2", "q5"]), "correct"] = 0.0
    unsolved = int((table.groupby("question")["correct"].sum() == 0).sum())
    figure = heat_map_figure(table)
    (mesh,) = figure.axes[0].findobj(QuadMesh)
    assert mesh.get_array().shape == (3, 8 - unsolved)
    assert f"{unsolved} questions solved under no persona, not drawn" in figure.caption
    table["correct"] = 0.0
    assert "no question is solved" in words(heat_map_figure(table))


def test_verdicts_of_one_sample_have_two_swatches_and_shares_have_a_scale() -> None:
    (legend,) = heat_map_figure(outcomes(3, 8, samples=1, unscored=0.0)).legends
    assert [t.get_text() for t in legend.get_texts()] == ["correct", "wrong"]
    figure = heat_map_figure(outcomes(6, 12, samples=4, unscored=0.0))
    assert not figure.legends
    assert len(figure.axes) == 2


def test_personas_and_questions_are_sorted_and_agree_with_the_stability_table() -> None:
    table = outcomes(6, 12)
    data = heat_map_data(table)
    for name in ("persona", "question"):
        shares = data.drop_duplicates(name)[f"{name}_accuracy"]
        assert shares.is_monotonic_decreasing
    per_persona = stability(table, resamples=20).per_persona
    found = data.drop_duplicates("persona")
    assert found["persona"].tolist() == per_persona["persona"].tolist()
    np.testing.assert_allclose(found["persona_accuracy"], per_persona["accuracy"])


def test_unscored_and_missing_cells_are_told_apart() -> None:
    table = outcomes(3, 8, samples=1, unscored=0.0)
    table.loc[3, "correct"] = np.nan
    table.loc[4, "correct"] = np.nan
    figure = heat_map_figure(table.drop(index=10))
    hatched, plain = figure.axes[0].findobj(PolyCollection)[-2:]
    assert hatched.get_hatch()
    assert not plain.get_hatch()
    areas = {bool(c.get_hatch()): c.get_paths() for c in (hatched, plain)}
    assert len(areas[False]) == 1
    assert sum(round(np.ptp(path.vertices[:, 0])) for path in areas[True]) == 2
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "correct", "wrong", "nothing scored", "not asked",
    ]  # fmt: skip


def test_questions_are_named_where_they_have_room() -> None:
    few, many = (heat_map_figure(outcomes(3, n)).axes[-1].get_xticklabels() for n in (8, 200))
    assert len(few) == 8
    assert not many


def test_nothing_scored_is_said() -> None:
    figure = heat_map_figure(outcomes(3, 4, unscored=1.0))
    assert_readable(figure)
    assert "nothing scored" in words(figure)
    with pytest.raises(ValueError, match="outcomes are empty"):
        heat_map_figure(outcomes(3, 4).head(0))
