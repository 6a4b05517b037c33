"""Agreement of answers between personas, right or wrong."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from persona_bench.scoring.stability import Stability, stability

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def score(rows: list[tuple[str, str, int, float, str]], **columns: object) -> Stability:
    names = ["persona", "question", "sample", "correct", "taken"]
    return stability(pd.DataFrame(rows, columns=names).assign(**columns), resamples=50)


def drawn(questions: int, personas: int, samples: int) -> list[tuple[str, str, int, float, str]]:
    rng = np.random.default_rng(0)
    cells = itertools.product(range(questions), range(personas), range(samples))
    rows = []
    for q, p, s in cells:
        answer = str(rng.choice(["7", "2 x", "2  X", ""]))
        rows.append((f"p{p}", f"q{q:02d}", s, float(answer == "7"), answer))
    return rows


def test_agreement_counts_pairs_of_personas_and_of_samples() -> None:
    rows = drawn(12, 3, 2)
    result = score(rows)
    said: dict[tuple[str, str], list[str]] = {}
    for persona, question, _, _, answer in rows:
        said.setdefault((question, persona), []).append(" ".join(answer.split()).casefold())
    between: dict[tuple[str, str], list[float]] = {}
    within = []
    for question in sorted({question for question, _ in said}):
        for a, b in itertools.combinations(("p0", "p1", "p2"), 2):
            pairs = itertools.product(said[question, a], said[question, b])
            between.setdefault((a, b), []).append(float(np.mean([x == y != "" for x, y in pairs])))
    for first, second in said.values():
        within.append(first == second != "")
    means = {pair: float(np.mean(values)) for pair, values in between.items()}
    assert result.answer_agreement == pytest.approx(np.mean(list(means.values())))
    assert result.answer_agreement_self == pytest.approx(np.mean(within))
    assert result.answer_agreement.low < result.answer_agreement < result.answer_agreement.high
    each = result.per_persona.set_index("persona")["same_answer"]
    assert each["p1"] == pytest.approx((means["p0", "p1"] + means["p1", "p2"]) / 2)


def test_personas_may_agree_on_verdicts_and_not_on_answers() -> None:
    """Both are wrong everywhere, each in its own way."""
    rows = [(p, f"q{q}", 0, 0.0, f"{p} {q}") for q in range(20) for p in ("a", "b")]
    result = score(rows)
    assert result.agreement == 1
    assert result.answer_agreement == 0


def test_right_answers_are_the_same_however_they_are_written() -> None:
    rows = [
        (p, f"q{q}", 0, 1.0, text) for q in range(9) for p, text in (("a", "1/2"), ("b", "0.5"))
    ]
    assert score(rows).answer_agreement == 1


def test_where_there_are_no_answers_nothing_is_said() -> None:
    rows = drawn(5, 2, 1)
    bare = [(*row[:4], "") for row in rows]
    for result in (score(bare), score(rows, grader="own questions 1: code 4")):
        assert math.isnan(result.answer_agreement)
        assert "same_answer" not in result.per_persona
    one_sample = score(rows, grader="maths 3")
    assert not math.isnan(one_sample.answer_agreement)
    assert math.isnan(one_sample.answer_agreement_self)


def test_missing_cells_are_left_out() -> None:
    rows = [row for row in drawn(12, 3, 1) if row[:2] != ("p0", "q03")]
    without = [row for row in rows if row[0] != "p0"]
    pairs = score(without).answer_agreement
    whole = score(rows)
    assert whole.missing == 1
    same = whole.per_persona.set_index("persona")["same_answer"]
    total = 12 * pairs + 11 * 2 * same["p0"]
    assert whole.answer_agreement == pytest.approx(total / (12 + 22))
