"""Contrasts against hand, SciPy, statsmodels, brute force and known models."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy.stats import binomtest, kendalltau, ttest_1samp
from scipy.stats import bootstrap as scipy_bootstrap
from statsmodels.stats.multitest import multipletests

from persona_bench import contrasts, load_persona_set
from persona_bench.extras.parts.tau import tau_b, tau_interval
from persona_bench.scoring.paired import CLUSTERED, MCNEMAR, clustered_p, mcnemar_p
from tests.scoring.simulated import Model, outcomes_of

SET = {
    "none": "control", "tutor": "expert", "coder": "expert", "smith": "layperson",
    "teal": "irrelevant", "anna": "irrelevant", "pupil": "education", "doctor": "education",
}  # fmt: skip
DOMAINS = ["", "Number theory", "programming", "", "", "", "", ""]
LEVELS = [None, None, None, None, None, None, 2, 8]
RIGHT = np.array(
    [  # none tutor coder smith teal anna pupil doctor
        [1, 1, 0, 0, 1, 0, 0, 1],
        [0, 1, 1, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 1, 1, 1],
    ]
)


def made_up(right: np.ndarray = RIGHT, samples: int = 1, **columns: list[object]) -> object:
    """`columns` are by question; without them no question says what it is about."""
    by_persona = {"kind": [*SET.values()], "persona_domain": DOMAINS, "persona_level": LEVELS}
    scored = np.full(right.shape, samples)
    return outcomes_of(right, scored, [*SET], by_persona, columns)


# ---------------------------------------------------------------------------- by hand
def test_differences_by_hand() -> None:
    found = contrasts(made_up(), resamples=100)
    value = found.table["value"]
    # none 2/4; tutor 1, coder 1/2; smith 1/4; teal 2/4, anna 2/4; pupil 1/4 < doctor 3/4
    assert value["expertise_advantage"] == pytest.approx(3 / 4 - 1 / 2)
    assert value["layperson"] == pytest.approx(-1 / 4)
    assert value["robustness"] == 0
    assert value["education_tau"] == 1
    assert found.absent == {"adjacent_expert": "there is no persona of kind adjacent_expert"}
    assert found.notes[0].startswith("expertise_advantage is over all experts")
    assert (found.table["low"] <= value).all()
    assert (value <= found.table["high"]).all()
    assert found.table.loc["robustness", ["n_personas", "n_questions"]].tolist() == [2, 4]
    json.dumps(found.to_dict(), allow_nan=False)


def test_in_domain_goes_by_the_subject_of_each_question() -> None:
    subjects = ["Number  Theory", "Algebra", "Number Theory", "Algebra"]
    found = contrasts(made_up(subject=subjects), resamples=50).table.loc["expertise_advantage"]
    # only tutor, and only on q0 and q2: 1 - 1 and 1 - 0
    assert found["value"] == pytest.approx(1 / 2)
    assert found[["n_personas", "n_questions"]].tolist() == [1, 2]
    # a benchmark's own field holds for all of its questions
    found = contrasts(made_up(subject=subjects, domain=["programming"] * 4), resamples=50)
    # q0 (1 + 0)/2 - 1, q1 1 - 0, q2 (1 + 0)/2 - 0, q3 1 - 1: sum 1
    assert found.table.loc["expertise_advantage", "value"] == pytest.approx(1 / 4)
    assert found.notes == ()
    nobody = contrasts(made_up(subject=["Law"] * 4), resamples=50)
    assert "expertise_advantage" not in nobody.table.index
    assert nobody.absent["expertise_advantage"].startswith("no expert's domain")


def test_the_set_tells_what_older_outcomes_lack() -> None:
    core = load_persona_set("core")
    names = [p.id for p in core]
    right = np.random.default_rng(0).integers(0, 2, size=(20, len(names)))
    columns = {
        "kind": [p.kind for p in core],
        "persona_domain": [p.domain for p in core],
        "persona_level": [p.level for p in core],
    }
    subject = {"domain": ["mathematics"] * 20}
    new = outcomes_of(right, np.ones_like(right), names, columns, subject)
    old = new.drop(columns=["persona_domain", "persona_level"])
    assert contrasts(old, personas=core, resamples=50).table.equals(
        contrasts(new, resamples=50).table
    )
    assert contrasts(old, resamples=50).absent == {
        "education_tau": "no education persona says its place in the order"
    }


# ---------------------------------------------------------- against other implementations
def test_tau_is_scipys_in_every_row() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, size=(300, 7)) / 4.0
    values[::3, 2] = np.nan
    order = np.array([1, 1, 2, 4, 4, 6, 8])
    for row, found in zip(values, tau_b(values, order), strict=True):
        known = ~np.isnan(row)
        expected = kendalltau(row[known], order[known], variant="b").statistic
        assert found == pytest.approx(expected, nan_ok=True)
    assert np.isnan(tau_b(np.ones((1, 7)), order)).all()


@pytest.mark.parametrize("falling", [False, True])
def test_the_p_value_of_tau_is_two_sided(falling: bool) -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((80, 5)) < [0.1, 0.3, 0.5, 0.7, 0.9]).astype(int)
    levels = [5, 4, 3, 2, 1] if falling else [1, 2, 3, 4, 5]
    by_persona = {"kind": ["education"] * 5, "persona_domain": [""] * 5, "persona_level": levels}
    table = outcomes_of(right, np.ones_like(right), [*"abcde"], by_persona, {})
    found = contrasts(table, resamples=500).table.loc["education_tau"]
    assert found["value"] == (-1 if falling else 1)
    assert found["p_value"] < 0.1  # of 120 orders, 2 are as far from 0


def test_the_far_end_of_tau_takes_unclear_pairs_as_in_order() -> None:
    seen, order = np.array([0.2, 0.5, 0.45, 0.9]), np.array([1, 2, 3, 4])
    rng = np.random.default_rng(0)
    # one pair of six is out of order: tau 2/3; noise of 0.03 leaves it, and only it, unclear
    low, high = tau_interval(seen, seen + rng.normal(0, 0.03, (4000, 4)), order, 0.95)
    assert (low, high) == pytest.approx((2 / 3, 1))
    # told apart by so little noise, it stands as it is
    assert tau_interval(seen, seen + rng.normal(0, 0.001, (4000, 4)), order, 0.95) == pytest.approx(
        (2 / 3, 2 / 3)
    )
    # where nothing is told apart anything may be, and the mirror image has the mirror's interval
    drawn = seen + rng.normal(0, 5, (4000, 4))
    low, high = tau_interval(seen, drawn, order, 0.95)
    assert high == 1
    assert low < 0
    assert tau_interval(-seen, -drawn, order, 0.95) == pytest.approx((-high, -low))


def test_single_verdicts_are_tested_by_mcnemar_with_holm() -> None:
    right = np.random.default_rng(1).integers(0, 2, size=(40, 8))
    right[:, 3] = 0
    found = contrasts(made_up(right), resamples=50)
    assert found.test == MCNEMAR
    rows = found.per_persona.set_index("persona")
    assert "none" not in rows.index
    for i, name in enumerate(SET):
        if name == "none":
            continue
        better = int(((right[:, i] == 1) & (right[:, 0] == 0)).sum())
        worse = int(((right[:, i] == 0) & (right[:, 0] == 1)).sum())
        assert rows.loc[name, ["better", "worse"]].tolist() == [better, worse]
        assert rows.loc[name, "p_value"] == pytest.approx(
            binomtest(better, better + worse, 0.5).pvalue
        )
        assert rows.loc[name, "difference"] == pytest.approx((better - worse) / 40)
    holm = multipletests(rows["p_value"], method="holm")[1]
    assert rows["p_holm"].to_numpy() == pytest.approx(holm)
    assert found.per_persona["difference"].is_monotonic_increasing
    assert mcnemar_p(np.zeros(5)) == 1


def test_several_samples_are_tested_by_question() -> None:
    right = np.random.default_rng(2).binomial(4, 0.5, size=(30, 8))
    found = contrasts(made_up(right, samples=4), resamples=50)
    assert found.test == CLUSTERED
    rows = found.per_persona.set_index("persona")
    differences = (right - right[:, :1]) / 4
    for i, name in enumerate(SET):
        if name != "none":
            assert rows.loc[name, "p_value"] == pytest.approx(
                ttest_1samp(differences[:, i], 0).pvalue
            )
    experts = differences[:, 1:3].mean(axis=1)
    assert found.table.loc["expertise_advantage", "p_value"] == pytest.approx(
        ttest_1samp(experts, 0).pvalue
    )


def test_clustered_p_where_nothing_varies() -> None:
    assert clustered_p(np.zeros(6)) == 1
    assert clustered_p(np.full(6, 0.5)) == 2 / 2**6  # every sign the same: the sign-flip test
    assert np.isnan(clustered_p(np.ones(1)))


def test_the_interval_is_scipys_but_for_the_tails() -> None:
    right = np.random.default_rng(3).binomial(4, 0.5, size=(400, 8))
    found = contrasts(made_up(right, samples=4), resamples=4000).table.loc["layperson"]
    difference = (right[:, 3] - right[:, 0]) / 4
    expected = scipy_bootstrap(
        (difference,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected), abs=0.005)


def test_no_effect_of_irrelevant_personas_by_every_exchange() -> None:
    right = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0, 0]])
    table = outcomes_of(
        right, np.ones_like(right), ["none", "teal", "anna"],
        {"kind": ["control", "irrelevant", "irrelevant"]},
    )  # fmt: skip
    found = contrasts(table, resamples=20_000).table.loc["robustness"]
    every = []
    for rows in itertools.product(*(list(itertools.permutations(row)) for row in right)):
        accuracy = np.mean(rows, axis=0)
        every.append(accuracy[1:].min() - accuracy[0])
    assert found["value"] == pytest.approx(-3 / 5)
    assert found["if_no_effect"] == pytest.approx(np.mean(every), abs=0.005)
    assert found["if_no_effect"] < -0.1  # the minimum of noise is below 0
    assert found["p_value"] == pytest.approx(np.mean(np.array(every) <= -0.6 + 1e-9), abs=0.01)


# ------------------------------------------------------------------ against known models
def test_intervals_hold_the_truth() -> None:
    """By chance 1 in 10,000 is below 0.83."""
    effects = [0, 0.5, 0.4, -0.3, -0.2, 0.1, -1.0, 1.0]
    model, rng = Model(effects, mixed=0.5), np.random.default_rng(4)
    model.truth()
    accuracy = model.accuracy - model.accuracy[0]
    truth = {
        "expertise_advantage": accuracy[1:3].mean(),
        "layperson": accuracy[3],
        "robustness": accuracy[4:6].min(),
        "education_tau": 1.0,
    }
    held = []
    for _ in range(40):
        found = contrasts(made_up(model.draw(80, 2, rng), samples=2), resamples=200).table
        held.append([found.loc[k, "low"] <= v <= found.loc[k, "high"] for k, v in truth.items()])
    coverage = dict(zip(truth, np.mean(held, axis=0), strict=True))
    assert min(coverage.values()) > 0.83, coverage


def test_p_values_are_uniform_where_personas_do_nothing() -> None:
    model, rng = Model([0.0] * 8), np.random.default_rng(5)
    p_values = [
        contrasts(made_up(model.draw(40, 1, rng)), resamples=99).table["p_value"].tolist()
        for _ in range(50)
    ]
    rejected = np.mean(np.array(p_values) <= 0.05, axis=0)
    # by chance 2 in 10,000 reach 0.2
    assert (rejected < 0.2).all(), rejected


# ---------------------------------------------------------------------- awkward tables
def test_without_a_control_only_tau_is_left() -> None:
    table = made_up()
    found = contrasts(table[table["persona"] != "none"], resamples=20)
    assert list(found.table.index) == ["education_tau"]
    assert found.per_persona.empty
    assert found.absent["robustness"] == "there is no persona none to compare with"
    other = contrasts(table, control="smith", resamples=20)
    assert other.table.loc["layperson", "value"] == 0


def test_missing_and_unscored_are_left_out_in_pairs() -> None:
    table = made_up()
    lost = (table["persona"] == "none") & (table["question"] == "q000")
    found = contrasts(table.assign(correct=table["correct"].mask(lost)), resamples=20)
    # smith and none on q1 to q3: 0, 0, 1 against 0, 0, 1
    assert found.table.loc["layperson", ["value", "n_questions"]].tolist() == [0, 3]
    rows = found.per_persona.set_index("persona")
    assert rows.loc["smith", ["accuracy", "control_accuracy"]].tolist() == [1 / 3, 1 / 3]
    dropped = contrasts(table[~lost], resamples=20)
    assert dropped.table.loc["layperson"].equals(found.table.loc["layperson"])


@pytest.mark.parametrize("right", [0, 1])
def test_all_alike(right: int) -> None:
    found = contrasts(made_up(np.full((5, 8), right)), resamples=20)
    assert (found.table["value"].drop("education_tau") == 0).all()
    assert (found.table["p_value"].drop("education_tau") == 1).all()
    assert np.isnan(found.table.loc["education_tau", "value"])
    assert "tau is undefined" in found.notes[-1]
    assert (found.per_persona["p_holm"] == 1).all()


def test_one_question_one_persona_and_nothing_scored() -> None:
    one = contrasts(made_up(RIGHT[:1]), resamples=20)
    assert one.table.loc["layperson", "value"] == -1
    assert one.table.loc["layperson", ["low", "high", "p_value"]].isna().all()
    table = made_up()
    alone = contrasts(table[table["persona"] == "none"], resamples=20)
    assert alone.table.empty
    assert alone.per_persona.empty
    assert len(alone.absent) == 5
    nothing = contrasts(table.assign(correct=np.nan), resamples=20)
    assert nothing.table.empty
    json.dumps([one.to_dict(), alone.to_dict(), nothing.to_dict()], allow_nan=False)


def test_a_place_in_the_order_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="persona doctor: persona_level is 'PhD'"):
        contrasts(made_up().replace({"persona_level": {8: "PhD"}}), resamples=5)
