"""A short form of `make calibrate`: few settings, few replicates, wide bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scripts import calibrate
from scripts.calibrate import EFFECTS, Setting, draw, harmed, study, study_methods, study_pair
from scripts.simulation import base


@pytest.mark.parametrize("effect", list(EFFECTS))
@pytest.mark.parametrize(("polar", "interaction"), [(0.0, 0.0), (0.8, 0.0), (0.0, 2.0)])
def test_truth_is_what_many_questions_show(effect: str, polar: float, interaction: float) -> None:
    s = Setting(0.6, 100_000, 6, 1, effect, polar=polar, interaction=interaction)
    found = draw(s, np.random.default_rng(0))
    accuracy = found.chance.mean(axis=0)
    assert accuracy.min() / accuracy.max() == pytest.approx(found.truth, abs=0.01)
    assert accuracy.max() == pytest.approx(0.6, abs=0.25)
    if effect in ("none", "one harmful"):
        assert accuracy.max() == pytest.approx(0.6, abs=0.01)
    assert (found.truth > 1 - 1e-9) == (effect == "none")


def test_what_is_missing_and_lost() -> None:
    rng = np.random.default_rng(1)
    assert base(0.5) == pytest.approx(0, abs=1e-6)
    cells = draw(Setting(0.5, 2000, 8, 3, "none", missing=0.8), rng).cells
    assert (cells.responses == 0).mean() == pytest.approx(0.8, abs=0.01)
    assert not cells.unscored.any()
    cells = draw(Setting(0.5, 2000, 8, 3, "none", lost="random"), rng).cells
    assert cells.unscored.sum() / cells.responses.sum() == pytest.approx(0.1, abs=0.01)
    cells = draw(Setting(0.5, 2000, 8, 3, "none", lost="hard"), rng).cells
    share = cells.unscored.sum(axis=0) / cells.responses.sum(axis=0)
    assert share == pytest.approx([0.25] * 4 + [0] * 4, abs=0.03)
    assert cells.accuracy[:4].mean() > cells.accuracy[4:].mean() + 0.05


@pytest.mark.parametrize(
    "setting",
    [
        Setting(0.5, 200, 16, 1, "none"),
        Setting(0.5, 30, 6, 4, "none"),
        Setting(0.9, 300, 6, 4, "strong"),
        Setting(0.6, 300, 12, 1, "none", polar=0.85, missing=0.5),
        Setting(np.nan, 160, 16, 1, "none", missing=0.5, greedy="base"),
        Setting(0.5, 150, 12, 16, "none", interaction=2.0),
    ],
    ids=str,
)
def test_short_form(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "MORE_FOR_REJECTIONS", 2)
    row = study(setting, replicates=40, seed=3)
    assert abs(row["bias"]) <= 1.2 * max(row["sigma"], 0.02), row
    # 40 tables: 95% has an error of 3.4 points, 5% one of 3.4
    assert row["coverage"] >= 0.84
    assert row["wrong_word"] <= 0.15
    if setting.effect == "none":
        assert row["rejected"] <= 0.16


def test_responses_lost_on_hard_questions_forbid_a_conclusion() -> None:
    row = study(Setting(0.5, 200, 16, 3, "none", lost="hard"), replicates=15, seed=0)
    assert row["undetermined"] == 1
    assert row["rejected"] <= 0.2  # the plain scores differ, and the floor knows why
    assert row["plain_bias"] < -0.1


@pytest.mark.parametrize("by_effect", [True, False])
@pytest.mark.parametrize(("polar", "ratio"), [(0.0, 0.4), (0.0, 0.9), (0.8, 0.95)])
def test_a_harmed_persona_has_the_ratio_that_is_wanted(
    by_effect: bool, polar: float, ratio: float
) -> None:
    s = Setting(0.6, 100_000, 4, 1, "none", polar=polar)
    accuracy = harmed(s, ratio, by_effect, np.random.default_rng(2)).mean(axis=0)
    assert accuracy[0] / accuracy[1] == pytest.approx(ratio, abs=0.01)
    assert accuracy[1:] == pytest.approx(0.6, abs=0.01)


def test_what_else_the_draws_say_is_held_against_the_truth() -> None:
    row = study(Setting(0.5, 100, 8, 4, "strong", missing=0.1), replicates=20, seed=1)
    for name in ("bands_coverage", "below_control_coverage", "persona_sd_coverage"):
        assert row[name] >= 0.8  # of 20 tables; at 95%, fewer than 16 once in 3,000 runs
    assert row["probability_unstable"] > 0.9


def test_two_stable_models_of_different_accuracy_are_rarely_told_apart() -> None:
    row = study_pair("stable, .3 and .8", (100, 6, 1), replicates=30, seed=0)
    assert row["mean_rejected"] > 0.95
    assert row["corrected_rejected"] <= 0.15
    assert row["corrected_coverage"] >= 0.85


def test_methods_over_seeds_are_held_against_many_trainings() -> None:
    row = study_methods(4, "paired", 0.4, replicates=40, seed=0)
    assert row["mean rejects"] > 0.4
    assert row["mean covers"] >= 0.84
    null = study_methods(2, "two-sample", 0.0, replicates=60, seed=0)
    assert null["mean rejects"] <= 0.2


def test_an_independent_fit_agrees() -> None:
    table = calibrate.agreement(2, seed=0)
    assert (table["in standard errors"] < 0.4).all()


def test_tables_print(capsys: pytest.CaptureFixture[str]) -> None:
    row = study(Setting(0.5, 30, 6, 1, "none"), replicates=5, seed=0)
    bad = {**row, "bias": -0.9, "coverage": 0.5, "greedy": np.nan, "polar": 0.85}
    calibrate.report(pd.DataFrame([row, bad]))
    text = capsys.readouterr().out
    assert "- coverage: 1 of 2" in text
    assert "0.5, 30 x 6 x 1, none, 85% polar" in text
    assert "bias, coverage, too narrow" in text
