"""Kendall's W of models over personas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import friedmanchisquare

from persona_bench.report.rankings import ranking_line
from persona_bench.scoring.rankings import concordance, ranking_agreement


def outcomes(
    base: float, effects: list[float], questions: int = 150, seed: int = 0
) -> pd.DataFrame:
    rng = np.random.default_rng([seed, int(100 + 10 * base)])
    ease = np.random.default_rng(seed).standard_normal((questions, 1))
    right = rng.random((questions, len(effects))) < expit(ease + base + np.asarray(effects))
    question, persona = (each.ravel() for each in np.indices(right.shape))
    return pd.DataFrame(
        {
            "persona": [f"p{i}" for i in persona],
            "question": [f"q{i}" for i in question],
            "correct": right.ravel().astype(float),
        }
    )


def test_w_is_friedman_s_statistic_with_and_without_ties() -> None:
    accuracies = np.random.default_rng(0).random((6, 4, 7))
    accuracies[3:] = accuracies[3:].round(1)
    for found, table in zip(concordance(accuracies), accuracies, strict=True):
        models, personas = table.shape
        assert found == pytest.approx(friedmanchisquare(*table)[0] / personas / (models - 1))
    assert concordance(np.tile([[[0.1], [0.5]]], 5)) == pytest.approx(1)
    assert math.isnan(concordance(np.full((1, 3, 4), 0.5))[0])


def test_clear_differences_are_ranked_alike_under_each_persona() -> None:
    models = {name: outcomes(base, [0] * 6) for name, base in (("a", -2), ("b", 0), ("c", 2))}
    found = ranking_agreement(models, resamples=200)
    assert found.w == 1
    assert found.p_value > 0.05
    assert found.w.high == 1
    assert (found.ranks[["a", "b", "c"]] == [3, 2, 1]).all(axis=None)
    line = ranking_line(found)
    assert "Ranking of 3 models under 6 personas: Kendall's W 1.00 [" in line
    assert line.endswith("Most accurate: c under 6.")


def test_personas_that_turn_the_ranking_round_are_found() -> None:
    effects = [1.5, 1.5, 1.5, -1.5, -1.5, -1.5]
    models = {"a": outcomes(0, effects), "b": outcomes(0.1, [-each for each in effects])}
    found = ranking_agreement(models, resamples=200)
    assert found.w < 0.2
    assert found.w.high < 0.6
    assert found.p_value < 0.01
    assert "Most accurate: a under 3, b under 3." in ranking_line(found)


def test_equal_models_are_compatible_with_one_ranking() -> None:
    models = {str(i): outcomes(0.01 * i, [0] * 8, questions=60, seed=i) for i in range(3)}
    found = ranking_agreement(models, resamples=200)
    assert found.p_value > 0.05
    assert found.w.low < 0.5
    assert found.w.high == 1


def test_scores_and_cells_that_only_some_have() -> None:
    a, b = outcomes(0, [0] * 3, questions=20), outcomes(1, [0] * 3, questions=20)
    b = b[(b["question"] != "q3") & (b["persona"] != "p2")]
    found = ranking_agreement({"a": a, "b": b}, resamples=50)
    assert (found.n_questions, found.n_personas) == (19, 2)
    scores = a.assign(score=a["correct"] * 0.5 + 0.25).drop(columns="correct")
    assert ranking_agreement({"a": scores, "b": a}, resamples=50).n_personas == 3


def test_one_model_has_no_ranking() -> None:
    with pytest.raises(ValueError, match="at least two models"):
        ranking_agreement({"a": outcomes(0, [0, 0])})
