"""The release gate: when it passes, fails, or can't tell, and how often it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multinomial, ttest_1samp
from typer.testing import CliRunner

from persona_bench import gate
from persona_bench.cli import app
from persona_bench.scoring.comparable import CompareError
from persona_bench.scoring.gate import combined, criteria_of, fidelity_criterion, lower_bounds
from scripts.stopping_study import Setting, answers, persona_effects, questions_of
from tests.scoring.simulated import outcomes_of
from tests.scoring.test_fidelity_compare import judged


def table(correct: np.ndarray, samples: int = 1) -> pd.DataFrame:
    """Outcomes of counts of correct samples, shape (questions, personas)."""
    return outcomes_of(correct, np.full(correct.shape, samples))


def half_right(questions: int, personas: int = 4) -> np.ndarray:
    """Every second question is right under every persona."""
    return np.tile((np.arange(questions) % 2)[:, None], (1, personas))


def flipped(correct: np.ndarray, rows: slice, personas: slice = slice(None)) -> np.ndarray:
    changed = correct.copy()
    changed[rows, personas] = 1 - changed[rows, personas]
    return changed


def criteria(base: np.ndarray, new: np.ndarray, **settings: float) -> dict[str, object]:
    found = gate(table(base), table(new), **settings)
    return {each.name: each for each in found.criteria}


def test_an_unchanged_model_passes_on_enough_questions_and_is_undecided_on_few() -> None:
    many, few = half_right(600), half_right(60)
    assert gate(table(many), table(many)).verdict == "pass"
    undecided = gate(table(few), table(few))
    assert undecided.verdict == "can't tell"
    assert undecided.criteria[0].difference == 0
    assert undecided.criteria[0].low < -0.02 < 0.02 < undecided.criteria[0].high


def test_a_loss_beyond_the_margin_fails() -> None:
    base = half_right(600)
    new = base.copy()
    new[base.any(axis=1).nonzero()[0][:60]] = 0  # 10% of the questions
    found = criteria(base, new)
    assert found["mean accuracy"].verdict == "fail"
    assert found["mean accuracy"].difference == pytest.approx(-0.1)
    assert found["every persona"].verdict == "fail"


def test_a_loss_under_one_persona_is_found_and_named() -> None:
    base = half_right(600)
    new = base.copy()
    new[base[:, 2].nonzero()[0][:60], 2] = 0
    found = criteria(base, new)
    assert found["every persona"].verdict == "fail"
    assert "p002" in found["every persona"].detail
    assert found["mean accuracy"].verdict == "can't tell"  # a loss of 0.025 on average


def test_margin_of_a_single_persona_may_be_wider() -> None:
    rng = np.random.default_rng(0)
    base = half_right(500, 6)
    new = np.where(rng.random(base.shape) < 0.05, 1 - base, base)
    assert criteria(base, new)["every persona"].verdict == "can't tell"
    assert criteria(base, new, margin_persona=0.1)["every persona"].verdict == "pass"


def test_unscored_responses_that_could_decide_it_keep_the_gate_from_passing() -> None:
    base = table(half_right(600))

    def without(every: int, verdict: int) -> pd.DataFrame:
        lost = (base["correct"] == verdict) & (base.index % every == 0)
        return base.assign(correct=base["correct"].where(~lost))

    found = gate(base, without(10, 1))  # 5% of the responses
    assert found.verdict == "can't tell"
    for criterion in found.criteria[:2]:
        assert criterion.low > -criterion.margin  # it would pass on what is scored
        assert criterion.verdict == "can't tell"
        assert "0 responses of the old and 120 of the new checkpoint" in criterion.detail
    assert gate(without(10, 0), base).verdict == "can't tell"
    assert gate(base, without(101, 1)).verdict == "pass"  # 0.5% can't cost a margin of 2%
    assert gate(base, without(10, 0)).verdict == "pass"  # the base was wrong there: nothing to lose


@pytest.mark.parametrize("both", [False, True])
def test_a_persona_of_whom_nothing_is_scored_does_not_pass(both: bool) -> None:
    whole = table(half_right(600, 20))
    lost = whole.assign(correct=whole["correct"].where(whole["persona"] != "p003"))
    found = gate(lost if both else whole, lost, margin=0.2)
    assert [each.verdict for each in found.criteria] == ["pass", "can't tell", "pass"]
    assert "under p003 would be" in found.criteria[1].detail


def test_questions_needed_decide_it_when_they_are_asked() -> None:
    rng = np.random.default_rng(1)
    base = half_right(200)
    new = np.where(rng.random(base.shape) < 0.1, 1 - base, base)
    first = gate(table(base), table(new)).criteria[0]
    assert first.verdict == "can't tell"
    assert first.questions_needed is not None
    factor = -(-first.questions_needed * 2 // 200)  # ample: the true difference is not the one seen
    more = np.random.default_rng(2)
    base = half_right(200 * factor)
    new = np.where(more.random(base.shape) < 0.1, 1 - base, base)
    assert gate(table(base), table(new)).criteria[0].verdict != "can't tell"


def test_an_open_corrected_pss_says_how_many_questions_would_decide_it() -> None:
    rng = np.random.default_rng(0)
    base = half_right(100)
    new = np.where(rng.random(base.shape) < 0.1, 1 - base, base)
    found = criteria(base, new)["pss_corrected"]
    assert found.verdict == "can't tell"
    assert 400 < found.questions_needed < 40_000
    assert "questions would decide it" in found.detail
    nothing = criteria(0 * base, 0 * base)["pss_corrected"]
    assert (nothing.verdict, nothing.questions_needed) == ("can't tell", None)
    assert nothing.detail.startswith("undefined: it takes two personas")


def test_samples_needed_are_known_only_with_several_samples() -> None:
    rng = np.random.default_rng(3)
    chance = rng.uniform(0.2, 0.8, (100, 1))
    base, new = (rng.binomial(4, np.tile(chance, (1, 4))) for _ in range(2))
    several = gate(table(base, 4), table(new, 4)).criteria[0]
    assert several.verdict == "can't tell"
    assert several.samples_needed is None or several.samples_needed > 4
    single = gate(table(base > 2), table(new > 2)).criteria[0]
    assert single.samples_needed is None


@pytest.mark.parametrize("margin", [0.01, 0.02, 0.1])
@pytest.mark.parametrize("n", [30, 50, 100, 149, 150, 200, 500])
def test_wrong_verdicts_at_a_loss_of_the_margin_are_at_most_5_percent(
    n: int, margin: float
) -> None:
    """Exact probabilities: all outcomes of n questions with one verdict each are enumerated."""
    for changed in (1.01 * margin, 1.5 * margin, 2 * margin, 3 * margin, 0.4):
        passes, fails = wrong_verdicts(n, margin, changed)
        assert max(passes, fails) <= 0.05, changed


def wrong_verdicts(n: int, margin: float, changed: float) -> tuple[float, float]:
    counts = np.arange(min(n, int(n * changed + 8 * (n * changed) ** 0.5 + 12)) + 1)
    worse, better = (x.ravel() for x in np.meshgrid(counts, counts))
    times = np.stack([worse, n - worse - better, better])[:, worse + better <= n]
    share = [(changed + margin) / 2, 1 - changed, (changed - margin) / 2]
    chance = multinomial.pmf(times.T, n, share)
    assert chance.sum() == pytest.approx(1, abs=1e-6)
    values = np.array([[-1.0], [0.0], [1.0]])
    low, high = lower_bounds(values, 0.05, times), -lower_bounds(-values, 0.05, times)
    return chance[low > -margin].sum(), chance[high < -margin].sum()


@pytest.mark.parametrize("kind", ["independent", "some alike", "few questions lost whole"])
def test_wrong_passes_where_personas_change_apart(kind: str) -> None:
    """At a true loss of the margin under six personas, on 200 questions."""
    rng = np.random.default_rng(4)
    margin, changed, shape = 0.02, 0.05, (200, 2000, 6)
    drawn = rng.random(shape)
    if kind == "some alike":
        drawn = np.where(rng.random(shape) < 0.5, drawn, rng.random((200, 2000, 1)))
    worse = changed / 2 + (margin / 2 if kind != "few questions lost whole" else 0)
    step = np.where(drawn < worse, -1.0, np.where(drawn < changed, 1.0, 0.0)).mean(axis=2)
    if kind == "few questions lost whole":
        step[rng.random((200, 2000)) < margin] = -1
    assert (lower_bounds(step, 0.05) > -margin).mean() <= 0.05


@pytest.mark.slow
def test_a_persona_that_is_worse_by_the_margin_rarely_passes_the_corrected_pss() -> None:
    """50 questions, accuracy 0.9, one of six personas worse, so that the true PSS falls by 0.2.

    With the interval that `compare` has, 15% of such checkpoints would pass.
    """
    rng = np.random.default_rng(0)
    base = Setting("gate", 0.9, 50, 6, 1, "none", 1.0)
    new = base._replace(shape="one harmful", pss=0.8)
    effects = [persona_effects(each, rng) for each in (base, new)]
    passes = 0
    for _ in range(120):
        questions = questions_of(base, rng)
        pair = [answers(base, each, questions, rng) for each in effects]
        criterion = criteria_of(pair[0], pair[1], (0.2, 0.2, 0.2), 0.05, rng)[2]
        assert criterion.low <= criterion.difference <= criterion.high
        passes += criterion.verdict == "pass"
    assert passes <= 10  # 6 at 5%; 18 at 15%


def test_bounds_of_fidelity_are_those_of_a_paired_t_test_at_half_the_level() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.integers(3, 6, (2, 8, 2, 3, 1)).astype(float)
    found = fidelity_criterion(judged(old, "old"), judged(new, "new"), margin=0.2)
    exact = ttest_1samp((new - old).mean(axis=(1, 2, 3)), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_bounds_of_counts_are_those_of_the_questions_they_count() -> None:
    rng = np.random.default_rng(0)
    column = rng.choice([-1.0, -0.5, 0.0, 1.0], p=[0.1, 0.1, 0.6, 0.2], size=(80, 1))
    present = rng.random((80, 1)) < 0.7
    seen = column[present]
    values, times = np.unique(seen, return_counts=True)
    bound = lower_bounds(seen[:, None], 0.05)
    assert lower_bounds(column, 0.05, present) == pytest.approx(bound)
    assert lower_bounds(values[:, None], 0.05, times[:, None]) == pytest.approx(bound)
    assert -1 < bound[0] < seen.mean()
    one = lower_bounds(np.array([[0.0], [0.0]]), 0.05, np.array([[1], [0]]))
    assert one[0] == pytest.approx(-1)  # a single question tells nothing


def test_runs_on_other_questions_are_refused() -> None:
    base = table(half_right(50))
    other = base.assign(question="x" + base["question"])
    with pytest.raises(CompareError, match="questions differ"):
        gate(base, other)


@pytest.mark.parametrize("name", ["margin", "margin_persona", "margin_pss", "level"])
def test_impossible_margins_are_refused(name: str) -> None:
    base = table(half_right(50))
    with pytest.raises(ValueError, match=f"{name} is 0, but must lie between 0 and 1"):
        gate(base, base, **{name: 0})


def test_one_verdict_of_several() -> None:
    assert combined(["pass", "pass"]) == "pass"
    assert combined(["pass", "can't tell"]) == "can't tell"
    assert combined(["pass", "can't tell", "fail"]) == "fail"


# ------------------------------------------------------------------------------- the command


def gate_command(folder: Path, base: np.ndarray, new: np.ndarray, *options: str) -> object:
    for name, correct in (("base", base), ("new", new)):
        rows = table(correct)[["persona", "question", "correct"]]
        rows.to_csv(folder / f"{name}.csv", index=False)
    files = [str(folder / "base.csv"), str(folder / "new.csv")]
    return CliRunner().invoke(app, ["gate", *files, *options])


def test_exit_codes_of_the_command(tmp_path: Path) -> None:
    many, few = half_right(600), half_right(60)
    worse = np.where(np.arange(600)[:, None] < 200, 0, many)
    for base, new, code, word in (
        (many, many, 0, "PASS"),
        (many, worse, 1, "FAIL"),
        (few, few, 3, "CAN'T TELL"),
    ):
        done = gate_command(tmp_path, base, new)
        assert done.exit_code == code
        assert done.output.startswith(word)
    assert "about" in done.output
    assert "questions would decide it" in done.output
    missing = CliRunner().invoke(app, ["gate", str(tmp_path / "base.csv"), "nowhere.csv"])
    assert missing.exit_code == 2
    assert "nowhere.csv" in missing.output


def test_junit_and_json_of_the_command(tmp_path: Path) -> None:
    many = half_right(600)
    worse = np.where(np.arange(600)[:, None] < 200, 0, many)
    xml = tmp_path / "gate.xml"
    done = gate_command(tmp_path, many, worse, "--json", "--junit", str(xml))
    record = json.loads(done.output)
    assert record["verdict"] == "fail"
    (task,) = record["tasks"].values()
    assert [each["name"] for each in task["criteria"]] == [
        "mean accuracy", "every persona", "pss_corrected",
    ]  # fmt: skip
    suite = ElementTree.parse(xml).getroot()[0]
    failed = [each["name"] for each in task["criteria"] if each["verdict"] == "fail"]
    assert int(suite.get("failures", "-1")) == len(failed) > 0
    assert [case.get("name") for case in suite if case.find("failure") is not None] == failed
