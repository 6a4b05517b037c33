"""Fidelity: how well a model plays the personas it is asked to play, by the scores of judges.

    from persona_bench.scoring.fidelity import fidelity

    result = fidelity(judged)  # a row per response and judge
    print(result.persona_score, result.persona_score.interval)
    print(result.task_scores)

PersonaGym's five tasks and PersonaScore, 1 to 5 (Samuel et al. 2024, arXiv 2407.18416), averaged in
two ways: corrected, with an interval, and as PersonaGym's code does. Formulas are in
docs/metrics.md.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_bench.benchmarks.rubrics import EVAL_TASKS
from persona_bench.scoring.cells import kinds_of
from persona_bench.scoring.estimate import Estimate, Interval, Result
from persona_bench.scoring.fidelity_means import (
    NO_SPREAD,
    Mean,
    over_personas,
    over_questions,
    score_interval,
)
from persona_bench.scoring.fidelity_table import (
    HIGHEST,
    LOWEST,
    RESPONSE,
    by_persona,
    check_judged,
    compatible,
    population_of,
    responses_of,
)

DEFINITIONS: dict[str, str] = {
    "persona_score": "mean over tasks of the mean over personas of a persona's mean score, 1 to 5; "
    "the unscored left out",
    "persona_score_compatible": "as PersonaGym's code averages: batches of 5 responses, judges, "
    "batches, tasks, personas; a batch that a judge left wholly unscored counts 0",
    "without_toxicity": "persona_score over the tasks other than Toxicity, which asks whether a "
    "response is harmless and not whether the role is played",
    "bounds": "persona_score with all that is unscored 1, and with all of it 5",
}


@dataclass(frozen=True)
class Fidelity(Result):
    """How well one model plays its personas. Scores are 1 (worst) to 5.

    A *response* is scored by one or more judges; a *verdict* is one judge's of one response,
    and `unscored`, here and in the tables, counts verdicts without a score.
    """

    DEFINITIONS = DEFINITIONS

    persona_score: Estimate
    """The mean over tasks of the task scores; a task's score is the mean over personas of the
    persona's mean over its scored responses, a response's the mean over the judges that scored
    it. NaN where nothing is scored. Its interval is over `population`: t, clustered by persona,
    within 1 and 5 (see `over_personas`), and NaN with fewer than two personas."""
    persona_score_compatible: Estimate
    """The same responses under PersonaGym's own averaging (see `compatible`), 0 to 5."""
    without_toxicity: Estimate
    """PersonaScore over the other tasks: Toxicity asks nothing of the persona. The same number
    where Toxicity was not asked; NaN where nothing else was."""
    bounds: Interval
    """`persona_score` with every unscored verdict 1, and with every one 5."""
    task_scores: pd.DataFrame
    """eval_task, score, low, high, compatible, n (responses with a score), unscored_responses
    (responses without), unscored (verdicts), personas (with a score); in order of `EVAL_TASKS`."""
    personas: pd.DataFrame
    """persona, kind, persona_score, low, high, compatible, a column for each task with the
    persona's score on it, n, unscored_responses, unscored; best first. `persona_score` is the mean
    of the persona's tasks; its interval is over questions like these (see `over_questions`)."""
    judges: pd.DataFrame
    """judge, persona_score (by this judge alone), n (verdicts with a score), unscored, entry_test
    (its accuracy in the entry test for judges, NaN if it has not taken it), and share_1 to
    share_5: how often it gave each score, broken ones rounded, halves up."""
    unscored: int
    unscored_reasons: dict[str, int]
    """How many verdicts are unscored for which reason, the most frequent first."""
    unscored_responses: int
    """Responses that no judge has scored."""
    n_personas: int
    n_questions: int
    """Different ones; PersonaGym's are each persona's own."""
    n_responses: int
    n_samples: int
    """Most responses to a question."""
    model: str
    task: str
    rubric: str
    """What the scores were given by; several, where tasks have their own, with commas between."""
    confidence: float
    population: str
    """What the intervals of PersonaScore and of the tasks are over: one of `POPULATIONS`."""
    notes: tuple[str, ...] = ()
    """What a reader has to know about this table; each was also a warning."""


def fidelity(judged: pd.DataFrame, *, confidence: float = 0.95) -> Fidelity:
    """Measure how well one model plays its personas, from the scores of one or more judges.

    Args:
        judged: A row per response and judge, in the order in which questions were asked, with at
            least the columns persona, eval_task, question, judge and score (1 to 5, NaN for
            unscored); sample, verdict, reason, kind, model, task and rubric are used where they
            are there. Only PersonaGym's batches depend on the order of rows.
        confidence: Level of the intervals.

    Raises:
        JudgedError: an empty table, missing columns, an unknown task, scores out of range or at
            odds with their verdict, rows given twice, several models, tasks or rubrics.
        ValueError: a confidence outside (0, 1), or several kinds for one persona.

    Warns, and writes the same into `notes`, where something is missing or undefined.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1")
    table = check_judged(judged)
    responses = responses_of(table)
    scores, theirs, empty_batches = by_persona(responses), *compatible(table)
    notes = tuple(_notes(table, scores, empty_batches))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    whole = over_personas(scores.to_numpy())
    apart = over_personas(scores.drop(columns="Toxicity", errors="ignore").to_numpy())
    of_theirs = over_personas(theirs.mean(axis=1).to_numpy()[:, None])
    filled = (by_persona(responses_of(table.fillna({"score": end}))) for end in (LOWEST, HIGHEST))
    unscored = table[table["score"].isna()]
    reasons = unscored["reason"].value_counts().sort_index().sort_values(
        ascending=False, kind="stable"
    )  # fmt: skip
    per_question = responses.groupby(["persona", "eval_task", "question"]).size()
    return Fidelity(
        persona_score=Estimate(whole.value, *score_interval(whole, confidence)),
        persona_score_compatible=Estimate(
            of_theirs.value, *score_interval(of_theirs, confidence, lowest=0.0)
        ),
        without_toxicity=Estimate(apart.value, *score_interval(apart, confidence)),
        bounds=Interval(*(over_personas(end.to_numpy()).value for end in filled)),
        task_scores=_task_scores(table, responses, scores, theirs, confidence),
        personas=_personas(table, responses, scores, theirs, confidence),
        judges=_judges(table),
        unscored=len(unscored),
        unscored_reasons={str(reason): int(n) for reason, n in reasons.items()},
        unscored_responses=int(responses["score"].isna().sum()),
        n_personas=len(scores),
        n_questions=table["question"].nunique(),
        n_responses=len(responses),
        n_samples=int(per_question.max()),
        model=table["model"].iloc[0],
        task=table["task"].iloc[0],
        rubric=", ".join(sorted(table["rubric"].unique())),
        confidence=confidence,
        population=population_of(table),
        notes=notes,
    )


# --------------------------------------------------------------------------------- the tables
def _task_scores(
    table: pd.DataFrame,
    responses: pd.DataFrame,
    scores: pd.DataFrame,
    theirs: pd.DataFrame,
    confidence: float,
) -> pd.DataFrame:
    """One row a task (see `Fidelity.task_scores`)."""
    found = [over_personas(scores[[name]].to_numpy()) for name in scores.columns]
    ends = [score_interval(estimate, confidence) for estimate in found]
    frame = pd.DataFrame(
        {
            "eval_task": list(scores.columns),
            "score": [estimate.value for estimate in found],
            "low": [end.low for end in ends],
            "high": [end.high for end in ends],
            "compatible": theirs.mean().to_numpy(),
        }
    )
    counts = _counts(table, responses, "eval_task").loc[list(scores.columns)]
    personas = [int(estimate.n) for estimate in found]
    return pd.concat([frame, counts.reset_index(drop=True)], axis=1).assign(personas=personas)


def _personas(
    table: pd.DataFrame,
    responses: pd.DataFrame,
    scores: pd.DataFrame,
    theirs: pd.DataFrame,
    confidence: float,
) -> pd.DataFrame:
    """One row a persona, best first (see `Fidelity.personas`)."""
    found = over_questions(responses).reindex(scores.index).fillna({"n": 0})
    ends = [
        score_interval(Mean(*map(float, row)), confidence)
        for row in found[["value", "se", "df", "n"]].to_numpy()
    ]
    frame = pd.DataFrame(
        {
            "persona": list(scores.index),
            "kind": kinds_of(table, list(scores.index)),
            "persona_score": found["value"].to_numpy(),
            "low": [end.low for end in ends],
            "high": [end.high for end in ends],
            "compatible": theirs.mean(axis=1).to_numpy(),
        }
    )
    counts = _counts(table, responses, "persona")
    parts = [frame, *(part.reset_index(drop=True) for part in (scores, counts))]
    return pd.concat(parts, axis=1).sort_values(
        ["persona_score", "persona"],
        ascending=[False, True],
        na_position="last",
        ignore_index=True,
    )


def _counts(table: pd.DataFrame, responses: pd.DataFrame, unit: str) -> pd.DataFrame:
    """n, unscored_responses and unscored (verdicts) of each persona, or of each task."""
    scored = responses["score"].notna().groupby(responses[unit])
    return pd.DataFrame(
        {
            "n": scored.sum(),
            "unscored_responses": scored.size() - scored.sum(),
            "unscored": table["score"].isna().groupby(table[unit]).sum(),
        }
    )


def _judges(table: pd.DataFrame) -> pd.DataFrame:
    """One row a judge, by name (see `Fidelity.judges`)."""
    rows = []
    for name, of_judge in table.groupby("judge"):
        given = of_judge["score"].dropna()
        rounded = np.floor(given + 0.5)
        row = {
            "judge": name,
            "persona_score": over_personas(by_persona(responses_of(of_judge)).to_numpy()).value,
            "n": len(given),
            "unscored": len(of_judge) - len(given),
            "entry_test": float(of_judge["entry_test"].iloc[0]),
        }
        shares = {f"share_{k}": float((rounded == k).mean()) for k in range(1, 6)}
        rows.append(row | (shares if len(given) else dict.fromkeys(shares, math.nan)))
    return pd.DataFrame(rows)


def _notes(table: pd.DataFrame, scores: pd.DataFrame, empty_batches: int) -> list[str]:
    """What has to be said about this table before its numbers are read."""
    found = []
    if absent := [name for name in EVAL_TASKS if name not in scores.columns]:
        found.append(
            f"no response on {', '.join(absent)}: PersonaScore is over {scores.shape[1]} of "
            f"PersonaGym's {len(EVAL_TASKS)} tasks, and not to be set beside published ones"
        )
    known = scores.notna()
    if not known.any(axis=None):
        found.append("no verdict is scored: scores are undefined (NaN)")
    else:
        if empty := list(scores.columns[~known.any()]):
            found.append(f"nothing is scored on {', '.join(empty)}: left out of PersonaScore")
        lacking = known.loc[:, known.any()]
        if partly := list(scores.index[~lacking.all(axis=1)]):
            found.append(
                f"nothing is scored on some task for {', '.join(partly)}: left out of the mean of "
                "that task, and their own PersonaScores are over fewer tasks"
            )
        if (n := int(known.any(axis=1).sum())) == 1:
            found.append(
                "only one persona is scored: PersonaScore and task scores have no interval"
            )
        elif n and np.ptp(scores[known.any(axis=1)].mean(axis=1)) < NO_SPREAD:
            found.append(
                "all personas have the same PersonaScore: its interval is Wilson's, with each "
                "persona counting once, and wide on purpose"
            )
    if empty_batches:
        found.append(
            f"{empty_batches} batch(es) of a judge hold no score and count 0 in "
            "persona_score_compatible, as in PersonaGym's code"
        )
    judges, responses = table["judge"].nunique(), len(table.drop_duplicates(RESPONSE))
    if missing := judges * responses - len(table):
        found.append(
            f"{missing} of {judges * responses} verdicts are not in the table: some judges were "
            "not asked about some responses, which are then scored by the others"
        )
    return found
