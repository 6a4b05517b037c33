"""Persona information: hand-computed values, and what is and is not a trace."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.information import (
    COLUMNS,
    ONE_PERSONA_NOTE,
    persona_information,
    shuffled_within,
)

Row = tuple[str, str, int, str, float, int]


def table(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def simulated(
    questions: int,
    personas: int,
    own: float,
    seed: int = 0,
    *,
    samples: int = 1,
    of_one: bool = False,
    candidates: int | None = None,
) -> pd.DataFrame:
    """Log-likelihoods in which the own persona explains `own` nats a token more.

    Every persona's prompt has a height of its own, as real ones do. `of_one`: each question is
    of one persona. `candidates`: so many a response, its own among them.
    """
    rng = np.random.default_rng(seed)
    height = rng.normal(0, 20, personas)
    rows: list[Row] = []
    for q in range(questions):
        asked = [q % personas] if of_one else range(personas)
        for p in asked:
            for sample in range(samples):
                tokens = int(rng.integers(20, 60))
                ll = -50 + height + rng.normal(0, 8, personas)
                ll[p] += own * tokens
                others = [c for c in range(personas) if c != p]
                if candidates is not None:
                    others = list(rng.choice(others, candidates - 1, replace=False))
                rows += [
                    (f"p{p}", f"q{q}", sample, f"p{c}", float(ll[c]), tokens)
                    for c in sorted([p, *others])
                ]
    return table(rows)


def shuffled(likelihoods: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same responses with the personas' names exchanged within each question."""
    rng = np.random.default_rng(seed)
    parts = []
    for _, part in likelihoods.groupby("question"):
        names = part["persona"].unique()
        given = dict(zip(names, rng.permutation(names), strict=True))
        parts.append(part.assign(persona=part["persona"].map(given)))
    return pd.concat(parts)


def test_by_hand() -> None:
    ll = {"a": -10.0, "b": -12.0, "c": -14.0}
    rows: list[Row] = [("a", "q", 0, c, value, 4) for c, value in ll.items()]
    rows += [("b", "q", 0, c, value, 8) for c, value in ll.items()]
    found = persona_information(table(rows), resamples=200)
    under_a = (-10 - math.log((math.exp(-12) + math.exp(-14)) / 2)) / 4
    under_b = (-12 - math.log((math.exp(-10) + math.exp(-14)) / 2)) / 8
    assert found.value == pytest.approx((under_a + under_b) / 2)
    personas = found.per_persona.set_index("persona")
    assert personas.loc["a", "information"] == pytest.approx(under_a)
    assert personas.loc["b", "information"] == pytest.approx(under_b)
    # a's label on both responses: four tokens in the one, eight in the other
    assert personas.loc["a", "no_trace"] == pytest.approx((under_a + under_a / 2) / 2)
    assert personas["n"].tolist() == [1, 1]
    assert np.isnan(found.interval.low), "one question has no spread"
    # there are two ways to put the labels: as they are, and exchanged
    exchanged = (under_b * 2 + under_a / 2) / 2
    assert found.no_trace.low == pytest.approx(min(exchanged, found.value))
    assert found.no_trace.high == pytest.approx(max(exchanged, found.value))
    assert 0.35 < found.p_value < 0.65
    assert found.conclusion == "no trace seen"
    assert found.scheme == "within questions"


def test_hundreds_of_nats_lose_no_digits() -> None:
    ll = {"a": -100.0, "b": -900.0, "c": -901.0}
    rows: list[Row] = [(own, "q", 0, c, value, 1) for own in "ab" for c, value in ll.items()]
    found = persona_information(table(rows), resamples=10).per_persona.set_index("persona")
    of_others = -900 + math.log((1 + math.exp(-1)) / 2)
    assert found.loc["a", "information"] == pytest.approx(-100 - of_others)
    assert found.loc["b", "information"] == pytest.approx(-900 - (-100 - math.log(2)))


@pytest.mark.parametrize("samples", [1, 3])
def test_a_planted_trace_is_found(samples: int) -> None:
    likelihoods = simulated(30, 5, own=0.5, samples=samples)
    found = persona_information(likelihoods, resamples=500)
    assert found.conclusion == "trace"
    assert found.p_value == pytest.approx(1 / 501)
    assert found.interval.low < found.value < found.interval.high
    assert found.no_trace.high < 0 < found.value
    assert (found.per_persona["information"] > found.per_persona["no_trace"]).all()
    assert (found.n_responses, found.n_questions, found.n_candidates) == (150 * samples, 30, 5)


def test_shuffled_labels_are_below_zero_and_within_the_band() -> None:
    likelihoods = simulated(30, 5, own=0.5)
    inside = 0
    for seed in range(20):
        found = persona_information(shuffled(likelihoods, seed), resamples=300)
        assert found.value <= 0
        inside += found.no_trace.low <= found.value <= found.no_trace.high
    assert inside >= 17


@pytest.mark.parametrize(
    "design", [{}, {"of_one": True}, {"candidates": 3}], ids=["shared", "own questions", "drawn"]
)
def test_the_band_holds_where_there_is_no_trace(design: dict[str, object]) -> None:
    p = []
    for seed in range(150):
        found = persona_information(simulated(24, 6, 0.0, seed, **design), resamples=99)
        p.append(found.p_value)
    assert np.mean(np.asarray(p) <= 0.1) <= 0.16  # of 150, by chance 0.1 and 0.025 sd
    assert np.mean(np.asarray(p) <= 0.5) <= 0.62


def test_each_question_of_one_persona() -> None:
    found = persona_information(simulated(30, 6, own=0.6, of_one=True), resamples=1000)
    assert found.scheme == "between personas"
    assert found.redrawn == "persona"
    assert found.notes == (ONE_PERSONA_NOTE,)
    assert found.conclusion == "trace"
    # 6! = 720 ways to give six personas' responses a name
    assert found.p_value < 0.01


def test_two_personas_of_their_own_questions_can_show_nothing() -> None:
    found = persona_information(simulated(30, 2, own=2.0, of_one=True), resamples=500)
    assert found.conclusion == "no trace seen"
    assert 0.4 < found.p_value < 0.6  # there are only two ways to name them


def test_drawn_candidates() -> None:
    likelihoods = simulated(30, 6, own=0.5, candidates=3)
    found = persona_information(likelihoods, resamples=500)
    assert found.scheme == "drawn"
    assert found.n_candidates == 3
    assert found.conclusion == "trace"
    rest = persona_information(simulated(30, 6, own=0.0, candidates=3), resamples=500)
    assert rest.conclusion == "no trace seen"


def test_sparse_questions_keep_their_labels_among_themselves() -> None:
    likelihoods = simulated(20, 4, own=0.5)
    number = likelihoods["question"].str[1:].astype(int)
    seen = likelihoods[(number % 4).astype(str) != likelihoods["persona"].str[1:]]
    found = persona_information(seen, resamples=300)
    assert found.scheme == "within questions"
    assert found.n_responses == 60
    assert found.conclusion == "trace"


def test_a_large_table_is_scored_whole() -> None:
    likelihoods = simulated(125, 16, own=0.1)
    found = persona_information(likelihoods, resamples=2000)
    assert found.n_responses == 2000


def test_the_order_of_rows_means_nothing_and_the_seed_fixes_all() -> None:
    likelihoods = simulated(10, 4, own=0.2)
    found = persona_information(likelihoods, resamples=100, seed=3)
    again = persona_information(likelihoods, resamples=100, seed=3)
    assert found.to_dict() == again.to_dict()
    mixed = persona_information(likelihoods.sample(frac=1, random_state=0), resamples=100, seed=3)
    assert mixed.value == pytest.approx(found.value)
    assert mixed.p_value == pytest.approx(found.p_value, abs=0.1)


def test_places_stay_in_their_group() -> None:
    groups = np.array([2, 0, 2, 1, 2, 0])
    rng = np.random.default_rng(0)
    drawn = np.concatenate(list(shuffled_within(groups, 3000, rng)))
    assert (groups[drawn] == groups).all()
    assert (np.sort(drawn, axis=1) == np.arange(6)).all()
    firsts = np.bincount(drawn[:, 0], minlength=6) / 3000
    assert firsts[[0, 2, 4]] == pytest.approx([1 / 3] * 3, abs=0.04)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="tokens"), "lack the column 'tokens'"),
        (lambda t: t.iloc[:0], "there are no likelihoods"),
        (lambda t: t.assign(loglikelihood=-np.inf), "not finite"),
        (lambda t: t.assign(tokens=0), "no tokens"),
        (lambda t: t[t["candidate"] != t["persona"]], "lacks its own persona"),
        (lambda t: t[t["candidate"] == t["persona"]], "or any other"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "one candidate twice"),
        (lambda t: t.assign(tokens=range(1, len(t) + 1)), "different numbers of tokens"),
    ],
)
def test_what_is_wrong_is_said(change: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        persona_information(change(simulated(2, 3, 0.0)))
