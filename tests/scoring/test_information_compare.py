"""Two models' persona information, paired."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.information import persona_information, response_information
from persona_bench.scoring.information_compare import compare_information

PERSONAS = ("baker", "diver", "monk")


def likelihoods(edge: float, rng: np.random.Generator, questions: int = 12) -> pd.DataFrame:
    """Responses of ten tokens that their own persona explains better by `edge` nats a token."""
    rows = []
    for question in range(questions):
        for persona in PERSONAS:
            base = rng.normal(-60, 5)
            for candidate in PERSONAS:
                own = 10 * edge if candidate == persona else 0.0
                told = base + own + rng.normal(0, 1)
                rows.append((persona, f"q{question}", 0, candidate, told, 10))
    names = ["persona", "question", "sample", "candidate", "loglikelihood", "tokens"]
    return pd.DataFrame(rows, columns=names)


def test_the_difference_is_that_of_the_two_models_own_information() -> None:
    rng = np.random.default_rng(0)
    a, b = likelihoods(0.1, rng), likelihoods(0.3, rng)
    found = compare_information(a, b, resamples=2000)
    assert found.a == pytest.approx(persona_information(a, resamples=10).value)
    assert found.b == pytest.approx(persona_information(b, resamples=10).value)
    assert found.difference == pytest.approx(found.b - found.a)
    assert found.low < 0.2 < found.high
    assert found.low > 0
    assert found.p_value < 0.01
    back = compare_information(b, a, resamples=2000)
    assert back.difference == pytest.approx(-found.difference)
    assert back.p_value == pytest.approx(found.p_value, abs=0.01)


def test_one_response_by_hand() -> None:
    table = likelihoods(0.2, np.random.default_rng(1), questions=1)
    told = table[table["persona"] == "diver"].set_index("candidate")["loglikelihood"]
    others = np.log((np.exp(told["baker"] + 50) + np.exp(told["monk"] + 50)) / 2) - 50
    found = response_information(table).set_index("persona")["information"]
    assert found["diver"] == pytest.approx((told["diver"] - others) / 10)


def test_alike_models_do_not_differ_more_often_than_they_should() -> None:
    rng = np.random.default_rng(2)
    p_values = [
        compare_information(likelihoods(0.2, rng), likelihoods(0.2, rng), resamples=400).p_value
        for _ in range(60)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15
    assert 0.3 < np.mean(p_values) < 0.7


def test_what_only_one_has_is_left_out_and_counted() -> None:
    rng = np.random.default_rng(3)
    a, b = likelihoods(0.1, rng), likelihoods(0.1, rng)
    found = compare_information(a, b[b["question"] != "q3"], resamples=100)
    assert (found.n_questions, found.n_responses, found.left_out) == (11, 33, 3)


def test_what_cannot_be_compared_is_refused() -> None:
    rng = np.random.default_rng(4)
    a = likelihoods(0.1, rng)
    with pytest.raises(ValueError, match="different personas"):
        compare_information(a, a[a["candidate"] != "monk"].query("persona != 'monk'"))
    with pytest.raises(ValueError, match="two questions"):
        compare_information(a[a["question"] == "q1"], a)
