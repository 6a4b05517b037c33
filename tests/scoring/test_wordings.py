"""Persona, wording, any system prompt: against hand, brute force, and models that are known."""

from __future__ import annotations

import itertools
import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest

from persona_bench import compare, prompt_effects, stability, variance_parts
from persona_bench.scoring.comparable import CompareError
from persona_bench.scoring.pass_at_k import pass_at_k
from persona_bench.scoring.wordings import has_prompts, rarefied_worst
from tests.scoring.simulated import logistic


def run_of(
    effects: dict[str, list[float]],
    questions: int = 80,
    seed: int = 0,
    kinds: dict[str, str] | None = None,
) -> pd.DataFrame:
    """A response per question and wording; effects in log-odds, by persona and wording."""
    rng = np.random.default_rng(seed)
    rows = []
    for question, ease in enumerate(1.5 * rng.normal(size=questions)):
        for persona, worded in effects.items():
            kind = "placebo" if persona.startswith("placebo") else "expert"
            kind = (kinds or {}).get(persona, kind)
            for sample, effect in enumerate(worded):
                right = float(rng.random() < logistic(np.array(0.3 + effect + ease)))
                rows.append((persona, kind, f"q{question}", sample, sample + 1, right))
    names = ["persona", "kind", "question", "sample", "wording", "correct"]
    return pd.DataFrame(rows, columns=names)


def prompts(personas: list[float], placebos: list[float]) -> dict[str, list[float]]:
    """Three wordings, each with the effect of its prompt."""
    made = {f"persona-{i}": [each] * 3 for i, each in enumerate(personas)}
    return made | {f"placebo-{i}": [each] * 3 for i, each in enumerate(placebos)}


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_the_rarefied_worst_is_the_mean_over_all_draws(k: int) -> None:
    values = np.random.default_rng(1).random(6)
    by_hand = np.mean([min(each) for each in itertools.combinations(values, k)])
    assert rarefied_worst(values, k) == pytest.approx(by_hand)


def test_placebos_are_no_personas_of_any_measure() -> None:
    rows = run_of(prompts([0, -1, 0.5], [0, -3]), questions=30)
    alone = rows[rows["kind"] != "placebo"]
    for measure in (stability, lambda t: stability(t, resamples=50)):
        assert measure(rows).to_dict() == measure(alone).to_dict()
    assert compare(rows, rows, resamples=50).n_personas == 3
    assert pass_at_k(rows, 2).equals(pass_at_k(alone, 2))
    with pytest.raises(ValueError, match="only placebos"):
        stability(rows[rows["kind"] == "placebo"])


def test_bad_personas_among_placebos_that_do_nothing_are_the_persona() -> None:
    found = prompt_effects(run_of(prompts([-2, -2, 0, 0, 0, 0], [0] * 4), seed=2), resamples=300)
    assert found.conclusion == "persona"
    assert "worse than the worst placebo; its wordings agree" in found.sentence
    assert found.pss_beyond_placebo.high < 1
    assert found.p_wording > 0.05 > found.p_persona
    assert (found.drawn, found.n_personas, found.n_placebos, found.n_wordings) == (4, 6, 4, 3)
    assert found.worst_persona in ("persona-0", "persona-1")
    assert len(found.placebos) == 4
    assert len(found.wordings) == 18
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["conclusion"] == "persona"


@pytest.mark.parametrize("bad", [[-2, -2, 0, 0], [0, 0, 0, 0]])
def test_scores_are_tested_as_verdicts_are(bad: list[float]) -> None:
    verdicts = run_of(prompts(bad, [0] * 3), seed=2)
    scores = verdicts.assign(score=0.1 + 0.8 * verdicts["correct"], correct=np.nan)
    a, b = (prompt_effects(table, resamples=200) for table in (verdicts, scores))
    for name in ("p_any", "p_wording", "p_persona", "p_placebo"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=0.02), name
    assert a.conclusion == b.conclusion
    assert b.placebos["accuracy"].to_numpy() == pytest.approx(0.1 + 0.8 * a.placebos["accuracy"])


def test_placebos_that_are_as_bad_make_it_any_prompt() -> None:
    found = prompt_effects(run_of(prompts([-2, 0, 0, 0], [-2, 0, 0, 0])), resamples=300)
    assert found.conclusion == "any prompt"
    assert found.pss_beyond_placebo.low < 1 < found.pss_beyond_placebo.high


def test_wordings_with_nothing_in_common_are_the_wording() -> None:
    worded = np.random.default_rng(3).normal(size=(6, 3))
    worded -= worded.mean(axis=1, keepdims=True)
    effects = {f"persona-{i}": [2 * x for x in row] for i, row in enumerate(worded)}
    found = prompt_effects(run_of(effects), resamples=300)
    assert found.conclusion == "wording"
    assert math.isnan(found.pss_beyond_placebo)
    assert found.p_wording < 0.05 < found.p_persona


def test_prompts_that_do_nothing_tell_nothing() -> None:
    found = prompt_effects(run_of(prompts([0] * 5, [0] * 3)), resamples=300)
    assert found.conclusion == "undetermined"
    assert found.sentence.startswith("Nothing can be told")
    assert found.pss_beyond_placebo == pytest.approx(1, abs=0.05)


def test_without_placebos_the_persona_is_only_held_against_its_wordings() -> None:
    found = prompt_effects(run_of(prompts([-2, -2, 0, 0, 0, 0], [])), resamples=300)
    assert found.conclusion == "persona"
    assert "was not asked (knob placebos)" in found.sentence


def test_controls_play_no_role_and_a_run_of_one_wording_has_nothing_to_tell() -> None:
    rows = run_of(prompts([-3, 0, 0], [0, 0]), questions=40, kinds={"persona-0": "control"})
    assert prompt_effects(rows, resamples=100).n_personas == 2
    one = rows[(rows["wording"] == 3) & (rows["kind"] != "placebo")]
    assert has_prompts(rows)
    assert not has_prompts(one)
    assert not has_prompts(one.drop(columns=["wording", "kind"]))
    with pytest.raises(ValueError, match="one wording per persona"):
        prompt_effects(one)


@pytest.mark.parametrize("verdict", [0.0, math.nan])
def test_a_run_with_nothing_right_or_nothing_scored_tells_nothing(verdict: float) -> None:
    found = prompt_effects(run_of(prompts([0, 1], [0, 0]), 8).assign(correct=verdict), resamples=20)
    assert found.conclusion == "undetermined"
    assert math.isnan(found.pss_beyond_placebo)
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_early_look_has_no_p_values_and_tells_nothing() -> None:
    rows = run_of(prompts([-2, -2, 0, 0], [0] * 3)).assign(
        early=json.dumps({"stored": 10, "asked": 20})
    )
    found = prompt_effects(rows, resamples=50)
    assert math.isnan(found.p_any)
    assert found.conclusion == "undetermined"


def test_the_wording_part_is_what_wordings_do_by_definition() -> None:
    effects = {"a": [0.0, -1.0, 1.0], "b": [0.0, 0.0, 0.0], "placebo": [-1.0] * 3}
    effects["placebo-2"] = [1.0] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [
            variance_parts(run_of(effects, 150, seed), resamples=20).table for seed in range(40)
        ]
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()

    def expected(effect: float) -> float:
        return float(weights @ logistic(0.3 + effect + 1.5 * nodes))

    for part, truth in {
        "wording": np.var([expected(x) for x in effects["a"]]) / 2,
        "placebo": np.var([expected(-1), expected(1)]),
    }.items():
        values = np.array([table.variance[part] for table in parts])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))
    alone = run_of({"a": [0.0], "b": [0.0]}, 20)
    assert not {"wording", "placebo"} & set(variance_parts(alone, resamples=20).table.index)


def test_runs_in_other_wordings_or_of_other_sets_are_not_compared() -> None:
    rows = run_of(prompts([-1, 0, 1], []), questions=20)
    rows = rows.assign(prompt_hash=rows["persona"] + rows["wording"].astype(str))
    last = rows[rows["wording"] == 3]
    with pytest.raises(CompareError, match="the wording of the persona"):
        compare(rows, last)
    one = last.assign(persona_set="core 1")
    other = last[last["persona"] != "persona-2"].assign(persona_set="core 2")
    with pytest.raises(CompareError, match=r"differ \(persona sets core 1 and core 2\): 1 only in"):
        compare(one, other)
