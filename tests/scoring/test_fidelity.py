"""Fidelity: against hand, plain loops, SciPy, and tables whose truth is known."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.scoring.fidelity import Fidelity, fidelity
from persona_bench.scoring.fidelity_means import (
    Mean,
    over_personas,
    over_questions,
    score_interval,
)
from persona_bench.scoring.fidelity_table import JudgedError
from persona_bench.scoring.resampling import wilson

NAN = math.nan
ACTION, HABITS, TOXICITY = "Expected Action", "Linguistic Habits", "Toxicity"


def verdicts(
    persona: str, eval_task: str, by_judge: dict[str, list[float]], sample: int = 0
) -> list[dict[str, Any]]:
    """Rows of one persona's questions on one task, question by question."""
    return [
        {
            "model": "m",
            "task": "personagym",
            "eval_task": eval_task,
            "persona": persona,
            "kind": "character",
            "question": f"{persona}/{eval_task}/{i}",
            "sample": sample,
            "judge": judge,
            "score": score,
            "verdict": "unscored" if math.isnan(score) else "scored",
            "reason": "judge_unreadable" if math.isnan(score) else "",
            "rubric": "r1",
        }
        for i, scores in enumerate(zip(*by_judge.values(), strict=True))
        for judge, score in zip(by_judge, scores, strict=True)
    ]


def quietly(judged: pd.DataFrame, **settings: float) -> Fidelity:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fidelity(judged, **settings)


def said(result: Fidelity, text: str) -> bool:
    return any(text in note for note in result.notes)


def drawn(
    personas: int = 6,
    questions: int = 7,
    samples: int = 1,
    judges: int = 2,
    unscored: float = 0.2,
    seed: int = 0,
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(personas):
        for eval_task in (ACTION, HABITS, TOXICITY):
            for k in range(samples):
                scores = rng.integers(1, 6, (judges, questions)).astype(float)
                scores[rng.random(scores.shape) < unscored] = NAN
                by_judge = {f"j{i}": list(row) for i, row in enumerate(scores)}
                rows += verdicts(f"p{p}", eval_task, by_judge, sample=k)
    return pd.DataFrame(rows)


# Judge one: batches (5, 4, -, 3, 4) and (-, -); judge two: (5, 5, 5, 5, 5) and (3, 5).
SEVEN = {"one": [5, 4, NAN, 3, 4, NAN, NAN], "two": [5, 5, 5, 5, 5, 3, 5]}


# ------------------------------------------------------------------------------ the averages
def test_both_averages_by_hand() -> None:
    rows = verdicts("p", TOXICITY, SEVEN) + verdicts("p", ACTION, {"one": [2], "two": [4]})
    result = quietly(pd.DataFrame(rows))
    # a response's score: 5, 4.5, 5, 4, 4.5, 3, 5
    assert result.persona_score == pytest.approx((31 / 7 + 3) / 2)
    # batches: (4 + 5) / 2 and (0 + 4) / 2
    assert result.persona_score_compatible == pytest.approx(((4.5 + 2) / 2 + 3) / 2)
    tasks = result.task_scores.set_index("eval_task")
    assert list(tasks.index) == [ACTION, TOXICITY]
    assert tasks.loc[TOXICITY, "score"] == pytest.approx(31 / 7)
    assert tasks.loc[TOXICITY, "compatible"] == pytest.approx(3.25)
    assert list(tasks["n"]) == [1, 7]
    assert list(tasks["unscored"]) == [0, 3]
    assert list(tasks["unscored_responses"]) == [0, 0]
    assert result.personas.loc[0, "compatible"] == pytest.approx(3.125)
    assert said(result, "1 batch(es) of a judge")


def test_unreadable_verdicts_alone_make_the_two_averages_differ() -> None:
    whole = [5.0, 4.0, 3.0, 2.0, 1.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    result = quietly(pd.DataFrame(verdicts("p", ACTION, {"j": whole})))
    assert result.persona_score == result.persona_score_compatible == pytest.approx(3.5)
    holed = [5.0, NAN, NAN, NAN, NAN, *whole[5:]]
    result = quietly(pd.DataFrame(verdicts("p", ACTION, {"j": holed})))
    assert result.persona_score == pytest.approx(25 / 6)  # each response counts once
    assert result.persona_score_compatible == pytest.approx(4.5)  # each batch counts once


def test_compatible_average_is_that_of_plain_loops() -> None:
    judged = drawn(personas=4, questions=7, samples=2, judges=3, unscored=0.5, seed=3)

    def mean_of(values: list[float]) -> float:
        return sum(values) / len(values)

    of_personas = []
    for _, of_persona in judged.groupby("persona"):
        of_tasks = []
        for _, of_task in of_persona.groupby("eval_task"):
            of_batches = []
            for _, of_sample in of_task.groupby("sample"):
                asked = list(dict.fromkeys(of_sample["question"]))
                for questions in (asked[:5], asked[5:]):
                    of_judges = []
                    for _, of_judge in of_sample.groupby("judge"):
                        told = of_judge[of_judge["question"].isin(questions)]["score"].dropna()
                        of_judges.append(mean_of(list(told)) if len(told) else 0.0)
                    of_batches.append(mean_of(of_judges))
            of_tasks.append(mean_of(of_batches))
        of_personas.append(mean_of(of_tasks))
    result = quietly(judged)
    assert result.persona_score_compatible == pytest.approx(mean_of(of_personas))
    exact = ttest_1samp(of_personas, 0).confidence_interval(0.95)
    assert result.persona_score_compatible.interval == pytest.approx((exact.low, exact.high))


def test_a_batch_holds_one_sample_whatever_the_order_of_samples() -> None:
    first = verdicts("p", ACTION, {"j": [1, 1, 1, 1, 1, 1, 1]}, sample=0)
    second = verdicts("p", ACTION, {"j": [5, 5, 5, 5, 5, 5, NAN]}, sample=1)
    by_sample = pd.DataFrame(first + second)
    by_question = by_sample.sort_values(["question", "sample"])
    for judged in (by_sample, by_question):
        # batches of 5 and 2 (5 and 1 with a score) of each sample
        assert quietly(judged).persona_score_compatible == pytest.approx(3.0)
        assert quietly(judged).persona_score == pytest.approx((7 * 1 + 6 * 5) / 13)


def test_batches_go_by_the_order_in_which_questions_were_asked() -> None:
    judged = pd.DataFrame(verdicts("p", ACTION, {"j": [1, 1, 1, 1, 1, 5]}))
    assert quietly(judged).persona_score_compatible == pytest.approx(3.0)
    # now the 5 is in the first batch with four 1s, and the last 1 alone
    assert quietly(judged[::-1]).persona_score_compatible == pytest.approx((1.8 + 1) / 2)


def test_only_the_batches_depend_on_the_order_of_rows() -> None:
    judged = drawn(samples=2)
    one, other = quietly(judged), quietly(judged.sample(frac=1, random_state=1))
    for name in ("persona_score", "bounds", "unscored_reasons", "notes"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.persona_score.interval == other.persona_score.interval
    for name in ("task_scores", "personas"):
        frames = (getattr(result, name).drop(columns="compatible") for result in (one, other))
        pd.testing.assert_frame_equal(*frames)
    pd.testing.assert_frame_equal(one.judges, other.judges)
    # judges and personas may come in any order, as long as each persona's questions keep theirs
    moved = judged.sort_values(["judge", "persona"], ascending=[False, False], kind="stable")
    assert quietly(moved).to_dict() == one.to_dict()


def test_tasks_and_personas_count_equally_however_many_responses_they_have() -> None:
    rows = verdicts("p", ACTION, {"j": [2] * 9}) + verdicts("p", TOXICITY, {"j": [5]})
    rows += verdicts("q", ACTION, {"j": [4]}) + verdicts("q", TOXICITY, {"j": [5]})
    result = quietly(pd.DataFrame(rows))
    assert list(result.task_scores["score"]) == [3.0, 5.0]
    assert result.persona_score == 4.0
    assert list(result.personas["persona"]) == ["q", "p"]
    assert list(result.personas["persona_score"]) == [4.5, 3.5]
    assert list(result.personas[ACTION]) == [4.0, 2.0]


def test_a_persona_without_a_score_on_a_task_is_left_out_of_that_task_alone() -> None:
    rows = verdicts("p", ACTION, {"j": [2, 2]}) + verdicts("p", TOXICITY, {"j": [5, 5]})
    rows += verdicts("q", ACTION, {"j": [NAN, NAN]}) + verdicts("q", TOXICITY, {"j": [3, 3]})
    result = quietly(pd.DataFrame(rows))
    assert said(result, "nothing is scored on some task for q:")
    tasks = result.task_scores.set_index("eval_task")
    assert list(tasks["score"]) == [2.0, 4.0]
    assert list(tasks["personas"]) == [1, 2]
    assert np.isnan(tasks.loc[ACTION, "low"])
    assert result.persona_score == 3.0  # not the mean of 3.5 and 3
    per_persona = result.personas.set_index("persona")
    assert per_persona.loc["q", "persona_score"] == 3.0
    assert np.isnan(per_persona.loc["q", ACTION])
    assert per_persona.loc["q", "unscored_responses"] == 2


# ----------------------------------------------------------------------------- the intervals
def test_interval_is_the_t_interval_of_personas_own_scores() -> None:
    judged = drawn(personas=5, unscored=0.1)
    result = quietly(judged, confidence=0.9)
    own = result.personas["persona_score"]
    exact = ttest_1samp(own, 0).confidence_interval(0.9)
    assert result.persona_score == pytest.approx(own.mean())
    assert result.persona_score.interval == pytest.approx((exact.low, exact.high))
    for row in result.task_scores.to_dict("records"):
        exact = ttest_1samp(result.personas[row["eval_task"]], 0).confidence_interval(0.9)
        assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high))


def test_interval_of_a_persona_is_welchs_for_two_tasks() -> None:
    a, b = [1.0, 2.0, 4.0, 5.0, 3.0], [4.0, 4.0, 5.0]
    judged = pd.DataFrame(verdicts("p", ACTION, {"j": a}) + verdicts("p", HABITS, {"j": b}))
    row = quietly(judged).personas.loc[0]
    welch = ttest_ind(a, [-x for x in b], equal_var=False).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((welch.low / 2, welch.high / 2))


def test_samples_of_a_question_are_one_cluster() -> None:
    once = verdicts("p", ACTION, {"j": [2, 3, 4, 3]})
    fourfold = [{**row, "sample": k} for k in range(4) for row in once]
    one, four = (quietly(pd.DataFrame(rows)).personas.loc[0] for rows in (once, fourfold))
    assert (four["low"], four["high"]) == pytest.approx((one["low"], one["high"]))
    assert (one["n"], four["n"]) == (4, 16)


def test_intervals_stay_within_the_scale() -> None:
    rows = verdicts("p", ACTION, {"j": [5, 5]}) + verdicts("q", ACTION, {"j": [4, 5]})
    result = quietly(pd.DataFrame(rows))
    assert result.persona_score.interval == (pytest.approx(4.75 - 12.706 * 0.25, abs=1e-3), 5.0)
    rows = verdicts("p", ACTION, {"j": [1, 1]}) + verdicts("q", ACTION, {"j": [2, 1]})
    result = quietly(pd.DataFrame(rows))
    assert result.persona_score.interval == (1.0, pytest.approx(1.25 + 12.706 * 0.25, abs=1e-3))


def test_where_nothing_varies_the_interval_keeps_wilsons_width() -> None:
    rows = [r for p in "pqrs" for r in verdicts(p, TOXICITY, {"j": [5, 5, 5]})]
    result = quietly(pd.DataFrame(rows))
    assert said(result, "all personas have the same PersonaScore")
    low, high = wilson(1.0, 4, 0.95)
    assert result.persona_score.interval == pytest.approx((1 + 4 * low, 1 + 4 * high))
    assert result.persona_score.low < 4.5
    row = result.personas.loc[0]
    assert (row["low"], row["high"]) == pytest.approx((1 + 4 * wilson(1.0, 3, 0.95)[0], 5.0))


def test_a_single_persona_has_no_interval_over_personas() -> None:
    result = quietly(pd.DataFrame(verdicts("p", ACTION, {"j": [3, 4, 4]})))
    assert said(result, "only one persona")
    assert all(math.isnan(end) for end in result.persona_score.interval)
    assert result.personas.loc[0, "low"] > 1


def test_a_task_of_one_question_leaves_its_persona_without_interval() -> None:
    rows = verdicts("p", ACTION, {"j": [2, 4, 4]}) + verdicts("p", TOXICITY, {"j": [5]})
    rows += verdicts("q", ACTION, {"j": [2, 4, 4]})
    table = quietly(pd.DataFrame(rows)).personas.set_index("persona")
    assert list(table["low"].isna()) == [True, False]


def test_coverage_over_personas_is_nominal_where_independent_responses_would_fail() -> None:
    rng = np.random.default_rng(0)
    tables, personas, tasks, questions = 2000, 10, 5, 4
    persona = rng.choice([-1.0, 0.0], (tables, personas, 1, 1))
    luck = rng.choice([-1.0, 0.0, 1.0], (tables, personas, tasks, questions))
    score, truth = 4 + persona + luck, 3.5
    held = naive = 0
    for one in score:
        low, high = score_interval(over_personas(one.mean(axis=2)), 0.95)
        held += low <= truth <= high
        low, high = score_interval(
            Mean(one.mean(), one.std(ddof=1) / np.sqrt(one.size), one.size - 1, one.size), 0.95
        )
        naive += low <= truth <= high
    assert 0.93 < held / tables < 0.975
    assert naive / tables < 0.75


def test_coverage_over_questions_with_tasks_of_unlike_spread() -> None:
    rng = np.random.default_rng(1)
    tables, questions = 2000, 5
    spread = {ACTION: [2.0, 3.0, 4.0], HABITS: [3.0, 4.0, 5.0], TOXICITY: [4.0, 4.0, 5.0]}
    truth = np.mean([np.mean(values) for values in spread.values()])
    parts = []
    for eval_task, values in spread.items():
        score = rng.choice(values, (tables, questions))
        rows = pd.DataFrame(score).rename_axis("persona").reset_index()
        parts.append(rows.melt("persona", var_name="question", value_name="score"))
        parts[-1]["eval_task"] = eval_task
    found = over_questions(pd.concat(parts))
    assert len(found) == tables
    ends = [score_interval(Mean(*row), 0.95) for row in found.itertuples(index=False)]
    held = np.mean([low <= truth <= high for low, high in ends])
    assert 0.93 < held < 0.97


# ------------------------------------------------------------------- unscored, judges, counts
def test_bounds_fill_in_every_unscored_verdict() -> None:
    rows = verdicts("p", ACTION, {"one": [4, NAN], "two": [4, 2]})
    rows += verdicts("q", ACTION, {"one": [3, NAN], "two": [3, NAN]})
    result = quietly(pd.DataFrame(rows))
    assert result.persona_score == (3 + 3) / 2
    # p: (4 + (x + 2) / 2) / 2, q: (3 + x) / 2, with x = 1 and 5
    assert result.bounds == ((2.75 + 2) / 2, (3.75 + 4) / 2)
    assert result.unscored == 3
    assert result.unscored_responses == 1


def test_bounds_are_the_score_where_all_is_scored_and_hold_it_elsewhere() -> None:
    whole = quietly(drawn(unscored=0))
    assert whole.bounds == pytest.approx((whole.persona_score, whole.persona_score))
    for seed in range(5):
        holed = quietly(drawn(unscored=0.6, questions=2, seed=seed))
        assert holed.bounds.low < holed.persona_score < holed.bounds.high


def test_bounds_weigh_tasks_and_not_rows() -> None:
    rows = verdicts("p", ACTION, {"j": [1]}) + verdicts("q", ACTION, {"j": [NAN]})
    rows += verdicts("q", TOXICITY, {"j": [5]})
    result = quietly(pd.DataFrame(rows))
    assert result.persona_score == (1 + 5) / 2
    assert result.bounds == ((1 + 5) / 2, (3 + 5) / 2)


def test_reasons_are_counted_most_frequent_first() -> None:
    judged = pd.DataFrame(verdicts("p", ACTION, {"j": [NAN, NAN, NAN, NAN, 4]}))
    judged["reason"] = ["judge_error", "api_error", "api_error", "", ""]
    result = quietly(judged)
    assert list(result.unscored_reasons.items()) == [
        ("api_error", 2),
        ("judge_error", 1),
        ("no reason given", 1),
    ]


def test_judges_each_by_itself() -> None:
    rows = verdicts("p", ACTION, {"kind": [5, 5, 4, NAN], "harsh": [1, 2, 2, 3]})
    rows += verdicts("q", ACTION, {"kind": [5, 4], "harsh": [NAN, NAN]})
    table = quietly(pd.DataFrame(rows)).judges.set_index("judge")
    assert list(table.index) == ["harsh", "kind"]
    assert table.loc["kind", "persona_score"] == pytest.approx((14 / 3 + 4.5) / 2)
    assert table.loc["harsh", "persona_score"] == 2.0  # q has no score by this judge
    assert list(table["n"]) == [4, 5]
    assert list(table["unscored"]) == [2, 1]
    shares = [f"share_{k}" for k in range(1, 6)]
    assert list(table.loc["harsh", shares]) == [0.25, 0.5, 0.25, 0, 0]
    assert list(table.loc["kind", shares]) == pytest.approx([0, 0, 0, 0.4, 0.6])


def test_broken_scores_are_rounded_in_the_shares_halves_up() -> None:
    judged = pd.DataFrame(verdicts("p", ACTION, {"j": [2.5, 2.4, 3.5, 4.0]}))
    shares = quietly(judged).judges.loc[0, [f"share_{k}" for k in range(1, 6)]]
    assert list(shares) == [0, 0.25, 0.25, 0.5, 0]


def test_a_judge_without_rows_takes_no_part_and_is_told() -> None:
    rows = verdicts("p", ACTION, {"one": [4, 4], "two": [2, 2]})
    result = quietly(pd.DataFrame(rows[:-1]))
    assert said(result, "1 of 4 verdicts are not in the table")
    assert result.persona_score == (3 + 4) / 2
    assert result.persona_score_compatible == (4 + 2) / 2
    assert result.unscored == 0


def test_counts_and_names() -> None:
    result = quietly(drawn(personas=3, questions=7, samples=2, judges=2))
    assert (result.n_personas, result.n_questions, result.n_samples) == (3, 3 * 3 * 7, 2)
    assert result.n_responses == 3 * 3 * 7 * 2
    assert (result.model, result.task, result.rubric) == ("m", "personagym", "r1")
    assert result.population == "personas and their questions"
    assert set(result.personas["kind"]) == {"character"}


def test_each_note_is_also_a_warning() -> None:
    rows = [r for t in EVAL_TASKS for p in "pq" for r in verdicts(p, t, {"j": [4, 5]})]
    judged = pd.DataFrame(rows)
    judged["score"] = judged["score"].where(judged["persona"] == "p", 3.0)
    with warnings.catch_warnings(record=True) as nothing:
        warnings.simplefilter("always")
        assert fidelity(judged).notes == ()
    assert not nothing
    with pytest.warns(UserWarning, match="PersonaScore is over 4 of PersonaGym's 5 tasks") as told:
        result = fidelity(judged[judged["eval_task"] != TOXICITY])
    assert tuple(str(warning.message) for warning in told) == result.notes


def test_population_says_where_all_personas_were_asked_the_same() -> None:
    judged = drawn()
    judged["question"] = judged["question"].str.split("/").str[1:].str.join("/")
    result = quietly(judged)
    assert result.population == "personas, on these questions"
    assert result.n_questions == 3 * 7


def test_nothing_scored() -> None:
    judged = pd.DataFrame(verdicts("p", ACTION, {"j": [NAN] * 3}))
    result = quietly(judged)
    assert said(result, "no verdict is scored")
    assert math.isnan(result.persona_score)
    assert result.persona_score_compatible == 0.0
    assert result.bounds == (1.0, 5.0)
    assert result.to_dict()["persona_score"]["value"] is None


def test_only_the_needed_columns() -> None:
    judged = drawn()
    needed = ["persona", "eval_task", "question", "judge", "score"]
    assert quietly(judged[needed]).persona_score == quietly(judged).persona_score


# ---------------------------------------------------------------------------------- to_dict
def _values(node: Any) -> Iterator[Any]:
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _values(child)
    else:
        yield node


def test_to_dict_is_plain_json() -> None:
    rows = verdicts("p", ACTION, SEVEN) + verdicts("p", TOXICITY, {"one": [NAN], "two": [NAN]})
    result = quietly(pd.DataFrame(rows))  # one persona: intervals are NaN
    told = result.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert {type(value) for value in _values(told)} <= {int, float, str, type(None)}
    assert told["persona_score"]["low"] is None
    assert told["persona_score"]["value"] == result.persona_score
    assert told["bounds"]["high"] == result.bounds.high
    assert told["unscored_reasons"] == {"judge_unreadable": 5}
    assert told["personas"][0][TOXICITY] is None


# ----------------------------------------------------------------------------------- errors
def _with(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(verdicts("p", ACTION, {"j": [4, NAN]})).assign(**columns)


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        (_with().drop(columns=["judge", "score"]), r"lacks the column\(s\) judge, score"),
        (_with()[:0], "empty"),
        (_with(model=["a", "b"]), r"more than one model and task \(model=a, .*select one first"),
        (_with(task=["a", "b"]), "more than one model and task"),
        (_with(rubric=["a", "b"]), r"Expected Action was scored by more than one rubric \(a, b\)"),
        (_with(eval_task="Charm"), "'Charm' is not one of PersonaGym's: Expected Action, "),
        (_with(score=[4, 0]), r"row 1 \(persona p, .*, judge j\): score is 0"),
        (_with(score=[5.5, 4]), "score is 5.5, but only 1 to 5 and NaN"),
        (_with(score=["good", 4]), "score is 'good'"),
        (_with(score=[np.inf, 4]), "score is inf"),
        (_with(score=[NAN, NAN]), "verdict is 'scored', but score is nan"),
        (_with(score=[4, 4]), "verdict is 'unscored', but score is 4"),
        (_with(persona=["p", None]), "row 1 names no persona"),
        (_with(sample=[NAN, 0]), "row 0 names no sample"),
        (_with(question="q"), r"1 row\(s\) are given twice, for instance persona p, .*question q"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(judged: pd.DataFrame, message: str) -> None:
    with pytest.raises(JudgedError, match=message):
        fidelity(judged)


def test_other_errors() -> None:
    with pytest.raises(ValueError, match="confidence is 95"):
        fidelity(_with(), confidence=95)
    with pytest.raises(ValueError, match="persona p has more than one kind"):
        quietly(_with(kind=["a", "b"]))


def test_tasks_may_have_rubrics_of_their_own() -> None:
    rows = verdicts("p", ACTION, {"j": [3]}) + verdicts("p", TOXICITY, {"j": [4]})
    judged = pd.DataFrame(rows).assign(rubric=["r2", "r1"])
    assert quietly(judged).rubric == "r1, r2"


def test_toxicity_is_also_left_apart() -> None:
    rows = []
    for place, persona in enumerate("abc"):
        rows += verdicts(persona, ACTION, {"j": [2.0 + place, 3.0]})
        rows += verdicts(persona, TOXICITY, {"j": [5.0, 5.0]})
    found = quietly(pd.DataFrame(rows))
    alone = quietly(pd.DataFrame([row for row in rows if row["eval_task"] == ACTION]))
    assert found.without_toxicity == pytest.approx(alone.persona_score)
    assert found.without_toxicity.interval == pytest.approx(alone.persona_score.interval)
    assert found.persona_score == pytest.approx((alone.persona_score + 5) / 2)
    assert alone.without_toxicity == alone.persona_score
    toxicity = quietly(pd.DataFrame([row for row in rows if row["eval_task"] == TOXICITY]))
    assert math.isnan(toxicity.without_toxicity)
