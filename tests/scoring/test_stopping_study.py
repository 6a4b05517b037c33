"""A short form of the study of runs that stop: its tables have the PSS they say, and it prints."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.sequential import planned_looks
from scripts import stopping_study
from scripts.stopping_study import Setting, draw, report, scored, settings, study_gate, words


@pytest.mark.parametrize("shape", ["one harmful", "normal", "two groups"])
def test_tables_have_the_pss_that_they_say(shape: str) -> None:
    s = Setting("error", 0.6, 60_000, 6, 1, shape, 0.8, polar=0.3)
    accuracy = draw(s, np.random.default_rng(0)).accuracy
    assert accuracy.mean() == pytest.approx(0.6, abs=0.01)
    assert accuracy.min() / accuracy.max() == pytest.approx(0.8, abs=0.015)


def test_a_harmful_persona_is_found_early_and_a_stable_model_is_not_called_unstable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stopping_study, "BATCH", 4)
    chosen = [
        Setting("savings", 0.75, 200, 8, 1, "one harmful", 0.5),
        Setting("error", 0.75, 200, 8, 1, "none", 1.0),
    ]
    assert {type(each) for each in settings()} == {Setting}
    table = pd.concat([stopping_study.study(s, batch=0, seed=3) for s in chosen])
    out = scored(table)
    savings = out[out["part"] == "savings"]
    assert (savings["plan"] == "unstable").all()
    assert savings["asked"].max() < 1
    assert not out["plan_wrong"].any()
    report(table)
    text = capsys.readouterr().out
    assert "0.75, 200 x 8 x 1, none" in text
    assert "Savings by mean" in text


def test_words_are_those_of_the_intervals() -> None:
    shares = np.array([[0.5, 0.001, 0.0], [0.999, 0.9999, 0.5], [0.5, 0.5, 0.02]])
    found = words(shares, np.full(3, 0.025))  # tails of 0.0075
    assert found.tolist() == [["", "unstable", "unstable"], ["stable", "stable", ""], [""] * 3]


def test_the_gate_stays_within_its_error_over_all_looks() -> None:
    assert len(planned_looks(500)) == 5
    row = study_gate(500, 0.2, alike=True, loss=0.02, margin=0.02, replicates=600)
    assert row["pass"] <= 0.08  # 5%, with an error of 0.9 points
    assert row["asked"] > 0.95
    worse = study_gate(500, 0.2, alike=True, loss=0.1, margin=0.02, replicates=200)
    assert worse["fail"] > 0.9
    assert worse["asked"] < 0.8
