"""Screening: designs, rounds, the held-out ratio by hand, and drawn grids of known PSS."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_bench.extras.screening.rasch import fit_rasch
from persona_bench.extras.screening.rounds import (
    choose_extremes,
    plan_rounds,
    screen,
)
from persona_bench.extras.screening.screened import Screening, summarise
from persona_bench.harness.design import screening_design
from persona_bench.scoring.resampling import worst_over_best
from tests.extras.screening_grids import Grid, Setting


# ------------------------------------------------------------------ designs
@given(st.integers(1, 40), st.integers(1, 25), st.floats(0.01, 1.0), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_designs_are_balanced(questions: int, personas: int, share: float, seed: int) -> None:
    names = [f"q{i}" for i in range(questions)], [f"p{j}" for j in range(personas)]
    design = screening_design(*names, share, seed)
    assert not design.duplicated().any()
    by_persona = design["persona"].value_counts()
    assert set(by_persona) == {max(1, round(share * questions))}
    assert len(by_persona) == personas
    by_question = design["question"].value_counts().reindex(names[0], fill_value=0)
    assert by_question.max() - by_question.min() <= 1
    pd.testing.assert_frame_equal(design, screening_design(*names, share, seed))


def test_seeds_draw_other_designs() -> None:
    names = [f"q{i}" for i in range(30)], ["a", "b", "c"]
    assert not screening_design(*names, 0.3, 0).equals(screening_design(*names, 0.3, 1))


@pytest.mark.parametrize(
    ("questions", "personas", "share", "words"),
    [
        (["a"], ["p"], 0.0, "share=0.0 must be above 0"),
        (["a"], ["p"], 1.1, "share=1.1"),
        (["a", "a"], ["p"], 0.5, "at least one question, and each of them once"),
        (["a"], [], 0.5, "at least one persona"),
    ],
)
def test_impossible_designs_are_refused(
    questions: list[str], personas: list[str], share: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        screening_design(questions, personas, share)


# ------------------------------------------------------------------ rounds
@given(
    st.integers(15, 800), st.integers(4, 200), st.floats(0.05, 1.0),
    st.sampled_from(["greedy", "sampled"]),
)  # fmt: skip
@settings(deadline=None, max_examples=100)
def test_rounds_keep_to_the_budget(
    questions: int, personas: int, budget: float, decoding: str
) -> None:
    try:
        plan = plan_rounds(questions, personas, budget, decoding)  # type: ignore[arg-type]
    except ValueError as error:
        assert "it takes at least" in str(error)  # noqa: PT017
        return
    asked = plan.first + sum(extra for _, extra in plan.halvings)
    assert plan.first <= asked <= plan.pool < questions
    assert plan.finalists <= min(keep for keep, _ in plan.halvings) <= personas // 2
    responses = personas * plan.first + sum(2 * keep * extra for keep, extra in plan.halvings)
    if decoding == "greedy":
        responses += 2 * plan.finalists * (questions - asked)
    else:
        responses += 2 * plan.finalists * plan.samples * (questions - plan.pool)
    assert responses <= budget * questions * personas


def test_a_budget_too_small_says_how_much_is_needed() -> None:
    with pytest.raises(ValueError, match=r"it takes at least 0\.\d\d"):
        plan_rounds(500, 64, 0.01, "greedy")
    with pytest.raises(ValueError, match="more than the full grid"):
        plan_rounds(15, 4, 0.2, "greedy")
    with pytest.raises(ValueError, match=r"budget=1\.5 must be a share"):
        plan_rounds(500, 64, 1.5, "greedy")
    with pytest.raises(ValueError, match="run the full grid"):
        plan_rounds(500, 3, 0.2, "greedy")


# ------------------------------------------------------------------ estimates
def grid_of(verdicts: np.ndarray) -> pd.DataFrame:
    row, column = np.indices(verdicts.shape)
    return pd.DataFrame(
        {
            "question": [f"q{i:03d}" for i in row.ravel()],
            "persona": [f"p{j:02d}" for j in column.ravel()],
            "correct": verdicts.ravel().astype(float),
        }
    )


def whole(verdicts: np.ndarray, held_out: list[str], decoding: str = "greedy") -> Screening:
    table = grid_of(verdicts)
    return summarise(
        table, questions=sorted(set(table["question"])), personas=sorted(set(table["persona"])),
        held_out=held_out, lowest=["p00"], highest=["p01"], decoding=decoding,
        confidence=0.95, seed=0,
    )  # fmt: skip


def test_the_full_grid_asked_greedily_is_its_own_answer() -> None:
    verdicts = np.random.default_rng(0).integers(0, 2, size=(60, 6))
    result = whole(verdicts, ["q000", "q001"])
    accuracy = verdicts.mean(axis=0)
    assert result.pss == pytest.approx(worst_over_best(accuracy))
    assert result.pss_interval == pytest.approx((result.pss, result.pss))
    by_name = result.per_persona.set_index("persona")["accuracy"].sort_index()
    np.testing.assert_allclose(by_name, accuracy)


def test_the_held_out_ratio_by_hand() -> None:
    verdicts = np.ones((20, 3), dtype=int)
    verdicts[:, 2] = np.arange(20) % 2
    # held out: p00 right on q000 and q001 of four, p01 on q000, q001, q002
    verdicts[:4, 0], verdicts[:4, 1] = [1, 1, 0, 0], [1, 1, 1, 0]
    result = whole(verdicts, [f"q{i:03d}" for i in range(4)])
    assert result.pss_held_out == pytest.approx((2 / 4) / (3 / 4))
    # x/a - y/b with a = 1/2, b = 3/4: 2/3, 2/3, -4/3, 0; sd = sqrt(8/9), se = sd / 2
    half = 1.959964 * math.sqrt(8 / 9) / 2
    low, high = result.pss_held_out_interval
    assert low == pytest.approx(2 / 3 * math.exp(-half))
    assert high == pytest.approx(2 / 3 * math.exp(half))


def test_a_persona_without_a_scored_response_is_named() -> None:
    table = grid_of(np.ones((20, 3)))
    table.loc[table["persona"] == "p02", "correct"] = np.nan
    with pytest.raises(ValueError, match="no response of persona p02 is scored"):
        summarise(
            table, questions=sorted(set(table["question"])), personas=["p00", "p01", "p02"],
            held_out=[], lowest=["p00"], highest=["p01"], decoding="greedy", confidence=0.95,
            seed=0,
        )  # fmt: skip


def test_extremes_come_most_extreme_first() -> None:
    verdicts = (np.arange(40)[:, None] % 10 < np.array([2, 5, 8, 6])).astype(int)
    low, high = choose_extremes(fit_rasch(grid_of(verdicts)), 2)
    assert low == ["p00", "p01"]
    assert high == ["p02", "p03"]


# ------------------------------------------------------------------ whole screenings
def test_a_harmful_persona_is_found_and_measured() -> None:
    errors, shares, found = [], [], 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        grid = Grid(Setting(0.5, "one harmful", True), 500, 64, rng)
        asked: list[tuple[str, int]] = []

        def ask(name: str, design: pd.DataFrame, k: int, g=grid, log=asked) -> pd.DataFrame:
            log.append((name, len(design) * k))
            return g.ask(design, k, fresh=False)

        result = screen(ask, grid.questions, grid.personas, seed=seed)
        assert [name for name, _ in asked] == ["round-1", "round-2", "round-3", "final"]
        assert sum(n for _, n in asked) == result.n_responses
        shown = worst_over_best(grid.verdicts.mean(axis=0))
        errors.append(result.pss - shown)
        assert result.pss_finalists >= shown - 1e-9  # of fewer personas, all known in full
        shares.append(result.share)
        found += result.worst_persona == "p00"
    assert found == 6
    assert np.max(np.abs(errors)) < 0.03
    assert max(shares) <= 0.2


def test_held_out_questions_are_free_of_the_luck_of_the_choice() -> None:
    """No effect: what screening chose on looks unequal, held-out questions do not."""
    held_out, chosen_on = [], []
    for seed in range(25):
        rng = np.random.default_rng(100 + seed)
        grid = Grid(Setting(0.5, "none", False), 200, 24, rng)
        tables = []

        def ask(_: str, design: pd.DataFrame, k: int, g=grid, kept=tables) -> pd.DataFrame:
            kept.append(g.ask(design, k, fresh=True))
            return kept[-1]

        result = screen(
            ask, grid.questions, grid.personas, budget=0.4, decoding="sampled", seed=seed
        )
        held_out.append(math.log(result.pss_held_out))
        seen = pd.concat(tables[:-1]).groupby("persona")["correct"].mean()
        chosen_on.append(math.log(seen[result.chosen_worst] / seen[result.chosen_best]))
        assert result.n_held_out == 200 - 64
    se = np.std(held_out) / math.sqrt(len(held_out))
    assert abs(np.mean(held_out)) < 3.5 * se
    assert np.mean(chosen_on) < -0.2


def test_the_same_seed_gives_the_same_screening() -> None:
    rng = np.random.default_rng(0)
    grid = Grid(Setting(0.5, "strong", False), 100, 16, rng)

    def ask(_: str, design: pd.DataFrame, k: int) -> pd.DataFrame:
        return grid.ask(design, k, fresh=False)

    one, same = (screen(ask, grid.questions, grid.personas, budget=0.5, seed=4) for _ in range(2))
    assert one.to_dict() == same.to_dict()
    assert one.pss_interval.low <= one.pss <= one.pss_interval.high
