"""Two models playing the same personas: which plays them better, and is it noise?

    from persona_bench.scoring.fidelity_compare import compare_fidelity

    result = compare_fidelity(judged_a, judged_b)
    print(result.difference, result.difference.interval, result.p_value)

Everything is paired, verdict by verdict: the same judge's score of the two models' responses to the
same question under the same persona. docs/metrics.md has the formulas.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from persona_bench.scoring.cells import kinds_of
from persona_bench.scoring.comparable import CompareError
from persona_bench.scoring.estimate import Estimate, Result
from persona_bench.scoring.fidelity_means import (
    NO_SPREAD,
    Mean,
    over_personas,
    over_questions,
    t_interval,
    weights,
)
from persona_bench.scoring.fidelity_table import (
    HIGHEST,
    LOWEST,
    RESPONSE,
    by_persona,
    check_judged,
    population_of,
    responses_of,
)
from persona_bench.scoring.frames import check_settings
from persona_bench.scoring.resampling import CHUNK_CELLS, Floats

VERDICT = [*RESPONSE, "judge"]
WIDEST = HIGHEST - LOWEST
SHOWN = 3

TEST = (
    "signs of the differences flipped: of the personas' for PersonaScore and the tasks, of the "
    "questions' for a persona"
)


@dataclass(frozen=True)
class FidelityComparison(Result):
    """What model b has and model a has not. Differences are b - a, in points of a score of 1 to 5.

    All of it is over the verdicts that both have scored. Intervals are paired t-intervals of
    `confidence`, p-values two-sided sign-flip tests: exact where all flips are no more than
    `resamples`, else of that many random ones.
    """

    score_a: float
    score_b: float
    """PersonaScore, as `Fidelity.persona_score`, on these verdicts."""
    difference: Estimate
    """Clustered by persona; NaN with a single persona, as is `p_value`."""
    p_value: float
    task_scores: pd.DataFrame
    """eval_task, a, b, difference, low, high, p_value, p_holm, n (responses compared), personas.
    `p_holm` is the p-value corrected for the number of tasks (Holm 1979)."""
    per_persona: pd.DataFrame
    """persona, kind, a, b, difference, low, high, p_value, p_holm, n (responses compared),
    questions; in order of the difference. Clustered by question; NaN where a task has one question
    (low, high) or all have (p_value). `p_holm` is corrected for the number of personas."""
    left_out: int
    """Verdicts that are unscored in either run, out of `n_verdicts`: in neither average."""
    n_verdicts: int
    n_personas: int
    n_questions: int
    n_responses: int
    model_a: str
    model_b: str
    task: str
    rubric: str
    judges: tuple[str, ...]
    confidence: float
    resamples: int
    seed: int
    population: str
    """What the intervals over personas are over (see `fidelity.POPULATIONS`)."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON (see `Result.to_dict`)."""
        record = super().to_dict()
        score = {"a": record.pop("score_a"), "b": record.pop("score_b")}
        score |= record.pop("difference")
        score = {"difference" if name == "value" else name: end for name, end in score.items()}
        score["p_value"] = record.pop("p_value")
        return {"persona_score": score, **record, "test": TEST}


def compare_fidelity(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> FidelityComparison:
    """Compare how well two models play the same personas, b against a.

    Args:
        a: One model's judged table, as `fidelity` takes it.
        b: The other's.
        confidence: Level of the intervals.
        resamples: Random sign flips where all of them would be more.
        seed: Seed of the random flips.

    Raises:
        CompareError: the two differ in task, rubrics, judges, personas, questions or samples, or
            no verdict is scored in both.
        ValueError: a table that `fidelity` would refuse, or settings out of range.
    """
    check_settings(confidence, resamples)
    first, second = check_judged(a), check_judged(b)
    _check_comparable(first, second)
    both = first["score"].notna() & second["score"].notna()  # the same rows in the same order
    if not both.any():
        raise CompareError("no response is scored by the same judge in both runs")
    left, right = (responses_of(table[both]) for table in (first, second))
    paired = left.assign(a=left["score"], b=right["score"], score=right["score"] - left["score"])
    scores = by_persona(paired).to_numpy()
    whole = over_personas(scores)
    notes = tuple(_notes(first, both, whole, 1 - confidence))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    streams = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    flips, of_tasks, of_personas = streams
    per_persona = _per_persona(paired, confidence, resamples, of_personas)
    per_persona.insert(1, "kind", kinds_of(first, list(per_persona["persona"])))
    score_a, score_b = (over_personas(by_persona(x).to_numpy()).value for x in (left, right))
    return FidelityComparison(
        score_a=score_a,
        score_b=score_b,
        difference=Estimate(whole.value, *t_interval(whole, confidence, -WIDEST, WIDEST)),
        p_value=sign_flip_p(_added(scores), resamples, flips),
        task_scores=_task_scores(paired, confidence, resamples, of_tasks),
        per_persona=per_persona,
        left_out=int((~both).sum()),
        n_verdicts=len(both),
        n_personas=int(whole.n),
        n_questions=paired["question"].nunique(),
        n_responses=len(paired),
        model_a=first["model"].iloc[0],
        model_b=second["model"].iloc[0],
        task=first["task"].iloc[0],
        rubric=", ".join(sorted(first["rubric"].unique())),
        judges=tuple(sorted(first["judge"].unique())),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        population=population_of(first),
        notes=notes,
    )


# ------------------------------------------------------------------ may they be compared?
def _check_comparable(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Both tables are from `check_judged`; raises CompareError where they differ."""
    if (mine := a["task"].iloc[0]) != (theirs := b["task"].iloc[0]):
        raise CompareError(f"tasks differ: {mine or 'none'} and {theirs or 'none'}")
    run = "run both with the same settings, or compare what they have in common"
    for name in ("eval_task", "persona", "judge"):
        _check_same(name, set(a[name]), set(b[name]), run)
    pairs = [x.drop_duplicates("eval_task")[["eval_task", "rubric"]] for x in (a, b)]
    for eval_task, mine, theirs in pairs[0].merge(pairs[1], on="eval_task").to_numpy():
        if mine != theirs:
            raise CompareError(
                f"rubrics differ: {eval_task} was judged by {mine or 'none'} and by "
                f"{theirs or 'none'}; judge both runs by the same rubrics"
            )
    keys = ["persona", "eval_task", "question"]
    for name, columns in (("question", keys), ("sample", RESPONSE), ("verdict", VERDICT)):
        _check_same(name, _named(a, columns), _named(b, columns), run)
    one, other = (x.drop_duplicates(RESPONSE)[[*RESPONSE, "prompt_hash"]] for x in (a, b))
    both = one.merge(other, on=RESPONSE, suffixes=("", "_b"))
    told = (both["prompt_hash"] != "") & (both["prompt_hash_b"] != "")  # not by older versions
    changed = both[told & (both["prompt_hash"] != both["prompt_hash_b"])]
    if len(changed):
        first = changed.iloc[0]
        raise CompareError(
            f"prompts differ in {len(changed)} of {len(both)} responses, though the names are the "
            f"same (first: persona {first['persona']}, question {first['question']}): run both "
            "with the same persona set and questions"
        )


def _named(table: pd.DataFrame, columns: list[str]) -> set[str]:
    """The rows' place in words, as errors name it."""
    rows = table[columns].drop_duplicates().to_numpy()
    return {
        ", ".join(f"{c} {v}" for c, v in zip(columns, row, strict=True) if v != "") for row in rows
    }


def _check_same(name: str, one: set[str], other: set[str], advice: str) -> None:
    only = ((one - other, "only in the first"), (other - one, "only in the second"))
    if found := [(names, where) for names, where in only if names]:
        told = " and ".join(
            f"{len(names)} {where} ({'; '.join(sorted(names)[:SHOWN])}"
            f"{'; ...' if len(names) > SHOWN else ''})"
            for names, where in found
        )
        raise CompareError(f"{name}s differ: {told}; {advice}")


def restrict_to_common_verdicts(
    a: pd.DataFrame, b: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both judged tables with only the verdicts that both have, scored or not.

    A verdict is found again by persona, eval_task, question, sample and judge.

    Raises:
        CompareError: they share none.
    """
    keys = [name for name in VERDICT if name in a.columns and name in b.columns]
    one, other = (pd.MultiIndex.from_frame(x[keys].astype(str)) for x in (a, b))
    left, right = a[one.isin(other)], b[other.isin(one)]
    if left.empty:
        raise CompareError(
            "the two runs have no verdict in common: no response to the same question under the "
            "same persona by the same judge"
        )
    return left, right


def _notes(table: pd.DataFrame, both: pd.Series, whole: Mean, level: float) -> Iterator[str]:
    """What has to be said of this comparison before its numbers are read."""
    if left_out := int((~both).sum()):
        yield f"{left_out} of {len(both)} verdicts are unscored in a run: left out of both"
    kept = table[both]
    for name in ("persona", "eval_task", "judge"):
        if gone := sorted(set(table[name]) - set(kept[name])):
            yield f"no verdict of {name} {', '.join(gone)} is scored in both runs: not compared"
    if whole.n < 2:
        yield "a single persona: the difference has no interval and no p-value"
        return
    if (least := 2 ** (1 - whole.n)) > level:
        yield f"{whole.n:g} personas: no p-value over personas can be below {least:.3g}"
    if whole.se < NO_SPREAD:
        yield "the difference is the same for every persona: its interval has no width"


# ----------------------------------------------------------------------- the differences
def sign_flip_p(added: Floats, resamples: int, rng: np.random.Generator) -> float:
    """Two-sided p of a sum of independent parts, if each were as likely to have the other sign.

    How often signs at random make the sum as large as it is. Over all 2^n signs where these are no
    more than `resamples` (exact, Fisher 1935), else over that many random ones, with the sum that
    was seen among them, (1 + hits) / (1 + resamples) (Phipson & Smyth 2010). NaN below two parts.
    """
    n, total = added.size, float(added.sum())
    if n < 2:
        return math.nan
    exact = n < 63 and 2**n <= resamples
    chunks = [_all_signs(n)] if exact else _random_signs(n, resamples, rng)
    # kept or flipped: the sum of what is kept less the sum of what is flipped
    hits = sum(
        int((np.abs(2 * (kept @ added) - total) >= abs(total) - 1e-12).sum()) for kept in chunks
    )
    return hits / 2**n if exact else (1 + hits) / (1 + resamples)


def _all_signs(n: int) -> Floats:
    """Shape (2^n, n): 1 where a part keeps its sign, else 0."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def _random_signs(n: int, resamples: int, rng: np.random.Generator) -> Iterable[Floats]:
    chunk = max(1, CHUNK_CELLS // n)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        yield rng.integers(0, 2, size=(rows, n), dtype=np.int8).astype(np.float64)


def _added(scores: Floats) -> Floats:
    """What each persona adds to the difference; shape (personas,), without those that add none."""
    weight = weights(scores)
    return (weight * np.nan_to_num(scores)).sum(axis=1)[weight.any(axis=1)]


def _task_scores(
    paired: pd.DataFrame, confidence: float, resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """One row a task (see `FidelityComparison.task_scores`)."""
    a, b, scores = (by_persona(paired.assign(score=paired[x])) for x in ("a", "b", "score"))
    rows = []
    for name in scores.columns:
        of_task = scores[[name]].to_numpy()
        estimate = over_personas(of_task)
        rows.append(
            {
                "eval_task": name,
                "a": float(a[name].mean()),
                "b": float(b[name].mean()),
                "difference": estimate.value,
                **t_interval(estimate, confidence, -WIDEST, WIDEST)._asdict(),
                "p_value": sign_flip_p(_added(of_task), resamples, rng),
                "n": int((paired["eval_task"] == name).sum()),
                "personas": int(estimate.n),
            }
        )
    return _with_holm(pd.DataFrame(rows))


def _per_persona(
    paired: pd.DataFrame, confidence: float, resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """One row a persona, in order of the difference (see `FidelityComparison.per_persona`)."""
    a, b = (by_persona(paired.assign(score=paired[x])).mean(axis=1) for x in ("a", "b"))
    estimates = over_questions(paired)
    rows = []
    for name, of_persona in paired.groupby("persona"):
        estimate = Mean(*map(float, estimates.loc[name, ["value", "se", "df", "n"]]))
        rows.append(
            {
                "persona": name,
                "a": float(a[name]),
                "b": float(b[name]),
                "difference": estimate.value,
                **t_interval(estimate, confidence, -WIDEST, WIDEST)._asdict(),
                "p_value": sign_flip_p(_added_by_question(of_persona), resamples, rng),
                "n": len(of_persona),
                "questions": int(estimate.n),
            }
        )
    table = _with_holm(pd.DataFrame(rows))
    return table.sort_values(["difference", "persona"], ignore_index=True)


def _added_by_question(paired: pd.DataFrame) -> Floats:
    """What each question adds to one persona's difference, the mean over tasks of task means."""
    size = paired.groupby("eval_task")["score"].transform("size")
    share = paired["score"] / size / paired["eval_task"].nunique()
    added = share.groupby([paired["eval_task"], paired["question"]]).sum()
    return np.asarray(added, dtype=np.float64)


def _with_holm(table: pd.DataFrame) -> pd.DataFrame:
    """With a column p_holm after p_value; NaN where p_value is."""
    known = table["p_value"].notna()
    corrected = pd.Series(np.nan, index=table.index)
    if known.any():
        corrected[known] = multipletests(table.loc[known, "p_value"], method="holm")[1]
    table.insert(list(table.columns).index("p_value") + 1, "p_holm", corrected)
    return table
