"""Plans of looks: the error they spend, and what tables of runs that are not whole may say."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from persona_bench import compare, contrasts, gate, stability
from persona_bench.results.samples import early_facts, progress
from persona_bench.scoring.compare import CompareError
from persona_bench.scoring.sequential import (
    Early,
    Spending,
    early_of,
    planned_looks,
    spent,
    tail_levels,
)
from tests.scoring.simulated import outcomes_of

PLAN = {"looks": [50, 100], "questions": 200}


def table(seed: int, harmed: float = 0.0, n: int = 100, **early: object) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    chance = np.full((n, 6), 0.8)
    chance[:, 0] -= harmed
    correct = rng.binomial(1, chance)
    found = outcomes_of(correct, np.ones_like(correct), ["none", *"abcde"])
    found["kind"] = np.where(found["persona"] == "none", "control", "irrelevant")
    return found.assign(early=json.dumps(early) if early else "")


# ------------------------------------------------------------------------------- the plan
def test_the_levels_are_the_published_ones() -> None:
    # Lan and DeMets' bounds for five equal looks, 2.5% on each side (Reboussin et al. 2000)
    shares = (0.2, 0.4, 0.6, 0.8, 1.0)
    early, late = (norm.isf(tail_levels(shares, 0.025, kind)) for kind in ("early", "late"))
    assert early == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=0.002)
    assert late == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=0.002)


@pytest.mark.parametrize(
    ("questions", "error", "spending"),
    [(500, 0.025, "early"), (200, 0.05, "early"), (5000, 0.05, "late")],
)
def test_all_looks_together_spend_the_error(
    questions: int, error: float, spending: Spending
) -> None:
    shares = np.array(planned_looks(questions)) / questions
    steps = np.random.default_rng(0).standard_normal((400_000, shares.size))
    paths = (steps * np.sqrt(np.diff(shares, prepend=0))).cumsum(axis=1) / np.sqrt(shares)
    crossed = paths > norm.isf(tail_levels(tuple(shares), error, spending))
    assert crossed.any(axis=1).mean() == pytest.approx(error, abs=0.001)
    for look, share in enumerate(shares):  # each look has spent what it may, and no more
        so_far = crossed[:, : look + 1].any(axis=1).mean()
        assert so_far == pytest.approx(spent(float(share), error, spending), abs=0.001)
    if shares.size > 3:  # and without a plan they would spend far more
        assert (paths > norm.isf(error)).any(axis=1).mean() > 2 * error


def test_later_looks_do_not_change_the_levels_of_earlier_ones() -> None:
    shares = tuple(n / 500 for n in planned_looks(500))
    assert tail_levels(shares[:2], 0.025) == pytest.approx(tail_levels(shares, 0.025)[:2])
    assert tail_levels((1.0,), 0.025) == pytest.approx((0.025,))


def test_few_questions_have_few_looks() -> None:
    assert planned_looks(5000) == (500, 1000, 1750, 2500, 3500, 5000)
    assert planned_looks(500) == (100, 175, 250, 350, 500)
    assert planned_looks(150) == (105, 150)
    assert planned_looks(100) == (100,)
    assert planned_looks(1) == (1,)


# ------------------------------------------------------- what a table says that is not whole
def test_a_planned_look_has_wider_intervals_and_no_p_value() -> None:
    rows = table(0, harmed=0.4)
    whole, look = stability(rows), stability(rows.assign(early=json.dumps(PLAN)))
    assert whole.p_value < 0.01
    assert math.isnan(look.p_value)
    assert look.conclusion == whole.conclusion == "unstable"
    assert look.pss_corrected == whole.pss_corrected
    for name in ("mean", "pss_corrected", "worst"):
        wide, narrow = (getattr(x, name).interval for x in (look, whole))
        assert wide.low < narrow.low
        assert wide.high > narrow.high
    assert look.confidence == 0.95
    assert any("after 50, 100 of at most 200 questions" in note for note in look.notes)
    expected = 1 - 2 * tail_levels((0.25, 0.5), 0.025)[1]
    assert Early((50, 100), 200).confidence(0.95) == pytest.approx(expected)


def test_an_unplanned_look_has_neither_p_value_nor_conclusion() -> None:
    found = stability(table(0, harmed=0.4, stored=600, asked=1200))
    assert math.isnan(found.p_value)
    assert found.conclusion == "undetermined"
    assert found.why_undetermined.startswith("undetermined because the run is unfinished")
    assert any("600 of 1,200 responses" in note for note in found.notes)
    assert found.pss_corrected.interval == stability(table(0, harmed=0.4)).pss_corrected.interval


@pytest.mark.parametrize("early", [PLAN, {"stored": 600, "asked": 1200}])
def test_comparisons_with_an_early_look_have_no_p_values(early: dict[str, object]) -> None:
    a, b = table(0), table(1, harmed=0.3)
    whole, look = compare(a, b), compare(a, b.assign(early=json.dumps(early)))
    assert whole.metrics["p_value"].notna().any()
    assert look.metrics["p_value"].isna().all()
    assert look.per_persona[["p_value", "p_holm"]].isna().all(axis=None)
    wider = look.per_persona["high"] - look.per_persona["low"]
    width = whole.per_persona["high"] - whole.per_persona["low"]
    assert (wider > width).all() if "looks" in early else (wider == width).all()
    assert any("look" in note for note in look.notes)
    groups = contrasts(b.assign(early=json.dumps(early)))
    assert groups.table["p_value"].isna().all()
    assert groups.per_persona["p_value"].isna().all()
    assert contrasts(b).per_persona["p_value"].notna().all()


def test_the_gate_takes_the_level_of_the_look_and_the_common_questions() -> None:
    base, new = table(0, n=200), table(0, n=200)
    first = sorted(new["question"].unique())[:100]
    new = new[new["question"].isin(first)]
    whole = gate(base[base["question"].isin(first)], new)
    look = gate(base, new.assign(early=json.dumps(PLAN)))
    assert look.n_questions == whole.n_questions == 100
    for mine, theirs in zip(look.criteria, whole.criteria, strict=True):
        assert mine.low < theirs.low
        assert mine.difference == theirs.difference == pytest.approx(0, abs=0.01)
    assert look.criteria[0].detail.startswith("about ")
    with pytest.raises(CompareError, match="unfinished"):
        gate(base, table(0, n=200, stored=1, asked=2))


def test_runs_of_different_looks_are_not_mixed() -> None:
    mixed = pd.concat([table(0, n=10, **PLAN), table(1, n=10)])
    with pytest.raises(ValueError, match="different looks"):
        early_of(mixed)


def test_the_column_comes_from_the_record_of_the_run() -> None:
    plan = {"looks": [50, 100], "planned": [50, 100, 200], "questions": 200}
    rows = pd.DataFrame({"early": [early_facts({"until": plan})]})
    assert early_of(rows) == Early((50, 100), 200)
    assert early_facts({}) == early_facts({"until": {**plan, "looks": [200]}}) == ""
    assert "look 2 of at most 3" in progress(plan)
    assert progress(plan).startswith("Not decided yet")
    end = {**plan, "over": True, "responses": 600, "responses_of_all": 1200}
    assert progress({**end, "decision": None}).startswith("Not decided at the cap")
    assert progress({**end, "decision": "stable"}).endswith("50% saved")
