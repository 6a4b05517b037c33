"""Right and in character, in one response: verdicts of a grader beside a judge's scores of voice.

    from persona_bench.results.runs import read_folder
    from persona_bench.scoring.voice import voice

    task = read_folder("results/my-run")[0].tasks["persona_math500"]
    result = voice(task.outcomes, task.voice)
    print(result.in_character, result.in_character.interval)

A response is *in voice* where its mean score over judges is 4 or more. *In-character accuracy* is
the share of responses that are right and in voice. Controls and placebos have no voice and are left
out. Where only a sample was judged (`persona-bench judge --sample`), each group of persona and
verdict counts as often as it occurs. Formulas are in docs/metrics.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from persona_bench.benchmarks.voice import IN_VOICE, WITHOUT_VOICE
from persona_bench.scoring.cells import values_of
from persona_bench.scoring.estimate import UNKNOWN, Estimate, Result
from persona_bench.scoring.resampling import Floats, influence_se, mean_interval

if TYPE_CHECKING:
    from persona_bench.scoring.ratings import CorrectedVoice, HeldAgainstRaters

SHARES = ("right_in", "right_out", "wrong_in", "wrong_out")
"""The four shares: right or wrong, in or out of voice."""

RATES: dict[str, str] = {
    "in_character": "mean over personas of the share that is right and in voice",
    "accuracy": "mean over personas of the share that is right",
    "in_voice": "mean over personas of the share that is in voice",
    "right_in": "right and in voice",
    "right_out": "right and out of voice",
    "wrong_in": "wrong and in voice",
    "wrong_out": "wrong and out of voice",
}

KEYS = ["persona", "question", "sample"]


class VoiceError(ValueError):
    """Tables that don't belong together; the message says why."""


class Cost(NamedTuple):
    """What being in voice costs in accuracy, within the same question.

    Attributes:
        difference: Accuracy of responses in voice less that of those out of it; below 0 where
            voice goes with wrong answers. Its interval is clustered by question.
        p_value: Of no difference, two-sided.
        n_questions: Questions with responses of both kinds.
    """

    difference: Estimate
    p_value: float
    n_questions: int


@dataclass(frozen=True, eq=False)
class Voice(Result):
    """How often one model is right and in character on one task.

    Attributes:
        in_character, accuracy, in_voice, right_in, right_out, wrong_in, wrong_out: The rates (see
            `RATES`), with intervals clustered by question.
        personas: persona, kind, n (graded responses), judged, the four shares, in_character with
            low and high, accuracy, in_voice; the highest in_character first.
        cost: Within questions: accuracy in voice less out of voice.
        cost_within_personas: The same with the personas' own differences in accuracy taken out.
        pulls: What each question adds to each rate, less its mean: the base of a paired
            comparison. One row per question.
        n: Graded responses under personas with a voice.
        judged: Those with a score of their voice.
        unread: Responses that were to be judged and have no score, for any reason.
        judges: judge, entry_test.
        confidence: Level of the intervals.
        model, task: Names.
        raters: What people's ratings say of the judges; None where there are none.
        corrected: The rates corrected by these ratings; None where too few are rated.
    """

    DEFINITIONS = RATES

    in_character: Estimate
    accuracy: Estimate
    in_voice: Estimate
    right_in: Estimate
    right_out: Estimate
    wrong_in: Estimate
    wrong_out: Estimate
    personas: pd.DataFrame
    cost: Cost
    cost_within_personas: Cost
    pulls: pd.DataFrame
    n: int
    judged: int
    unread: int
    judges: pd.DataFrame
    confidence: float
    model: str
    task: str
    raters: HeldAgainstRaters | None = None
    corrected: CorrectedVoice | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON (see `Result.to_dict`), without `pulls`."""
        record = super().to_dict()
        del record["pulls"]
        return record


def voice(outcomes: pd.DataFrame, judged: pd.DataFrame, *, confidence: float = 0.95) -> Voice:
    """Puts verdicts and voice together.

    Args:
        outcomes: The tidy table of one model and task.
        judged: The judges' verdicts on the voice of these responses (`TaskResults.voice`).
        confidence: Level of the intervals.

    Raises:
        VoiceError: nothing is judged that is also graded.
    """
    if not values_of(outcomes).dropna().isin([0.0, 1.0]).all():
        raise VoiceError(
            "right and in character needs verdicts, and some responses have scores between 0 and 1"
        )
    rows = joined(outcomes, judged)
    if not rows["in_voice"].notna().any():
        raise VoiceError("no response has both a verdict and a score of its voice")
    values, pulls = {}, {}
    of_persona = pd.factorize(rows["persona"], sort=True)[0]
    for name, indicator in _indicators(rows).items():
        means, by_question = two_phase(rows, indicator, of_persona)
        values[name], pulls[name] = means, by_question
    table = pd.DataFrame(pulls)
    rates: dict[str, Any] = {}
    for name in RATES:
        value, se = float(np.mean(values[name])), influence_se(table[name].to_numpy())
        rates[name] = Estimate(value, *mean_interval(value, se, len(table), confidence))
    known = rows[rows["in_voice"].notna()]
    return Voice(
        **rates,
        personas=_personas(rows, values, of_persona, confidence),
        cost=_cost(known, ["question"], confidence),
        cost_within_personas=_cost(known, ["question", "persona"], confidence),
        pulls=table,
        n=len(rows),
        judged=len(known),
        unread=int((rows["asked"].notna() & rows["in_voice"].isna()).sum()),
        judges=judged[["judge", "entry_test"]].drop_duplicates(ignore_index=True),
        confidence=confidence,
        model=str(rows["model"].iloc[0]),
        task=str(rows["task"].iloc[0]),
    )


def voice_by_trace(
    outcomes: pd.DataFrame, responses: pd.DataFrame, traced: pd.Series, measure: str
) -> Voice:
    """The same without a judge: a response is in voice where its persona left a trace in it.

    Args:
        outcomes: The tidy table of one model and task.
        responses: persona, question, sample and response; one row per response.
        traced: Whether each of them has a trace, by their index; without those that were not
            measured.
        measure: What says so; it stands where a judge's name does.

    Raises:
        VoiceError: no response was both graded and measured.
    """
    rows = responses.loc[traced.index, [*KEYS, "response"]]
    score = np.where(traced.to_numpy(bool), 5.0, 1.0)
    return voice(outcomes, rows.assign(score=score, judge=measure, entry_test=math.nan))


def joined(outcomes: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Graded responses under personas with a voice; in_voice is NaN where not judged.

    `weight` is how many responses of its group (persona, verdict, with text or without) a judged
    response stands for.
    """
    rows = outcomes[~outcomes["kind"].isin(WITHOUT_VOICE) & outcomes["correct"].notna()]
    said = judged.groupby(KEYS, as_index=False).agg(
        score=("score", "mean"), response=("response", "first"), asked=("judge", "size")
    )
    rows = rows[[*KEYS, "model", "task", "kind", "correct"]].merge(said, on=KEYS, how="left")
    rows["in_voice"] = (rows["score"] >= IN_VOICE).astype(float).where(rows["score"].notna())
    empty = rows["response"].fillna("x").astype(str).str.strip() == ""
    rows["group"] = rows.groupby(["persona", "correct", empty], sort=True).ngroup()
    groups = rows.groupby("group")["in_voice"]
    rows["weight"] = (groups.transform("size") / groups.transform("count")).where(
        rows["in_voice"].notna(), 0.0
    )
    return rows.sort_values(KEYS, ignore_index=True)


def _indicators(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """For each rate 1 or 0 for each response; NaN where it takes a voice that is not judged."""
    right, inside = rows["correct"], rows["in_voice"]
    shares = {
        "right_in": right * inside,
        "right_out": right * (1 - inside),
        "wrong_in": (1 - right) * inside,
        "wrong_out": (1 - right) * (1 - inside),
    }
    return {"in_character": shares["right_in"], "accuracy": right, "in_voice": inside, **shares}


def two_phase(
    rows: pd.DataFrame, indicator: pd.Series, of_persona: Any
) -> tuple[Floats, pd.Series]:
    """Each persona's share, and what each question adds to the mean over personas."""
    value = _weighted_back(rows, indicator).fillna(0.0)
    size = np.bincount(of_persona)
    means = np.bincount(of_persona, value.to_numpy()) / size
    pull = (value - means[of_persona]) / size[of_persona] / len(size)
    return means, pull.groupby(rows["question"]).sum()


def _weighted_back(rows: pd.DataFrame, known: pd.Series) -> pd.Series:
    """What each response counts, where only some are judged.

    Every response counts with the mean of its group, and the judged ones with what they are off
    it, times their weight: with everything judged, just the response itself. A group of which
    nothing is judged takes the mean of its persona's judged; NaN without any.
    """
    if known.notna().all():  # known of all, judged or not
        return known
    group = known.groupby(rows["group"]).transform("mean")
    predicted = group.fillna(known.groupby(rows["persona"]).transform("mean"))
    return predicted + (rows["weight"] * (known - predicted)).fillna(0.0)


def voice_scores(outcomes: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """What each graded response counts in a mean of the scores of its voice.

    Where all are judged, its mean score over judges; where only some are, their means are those of
    all responses, though a single value may lie outside of 1 to 5.

    Args:
        outcomes, judged: As for `voice`.

    Returns:
        persona, question, sample and value.
    """
    rows = joined(outcomes, judged)
    return rows[KEYS].assign(value=_weighted_back(rows, rows["score"]))


def _personas(
    rows: pd.DataFrame, values: dict[str, Floats], of_persona: Any, confidence: float
) -> pd.DataFrame:
    names = sorted(rows["persona"].unique())
    table = pd.DataFrame({"persona": names})
    table["kind"] = rows.groupby("persona")["kind"].first().reindex(names).to_numpy()
    table["n"] = np.bincount(of_persona)
    table["judged"] = np.bincount(of_persona, rows["in_voice"].notna()).astype(int)
    for name in (*SHARES, "in_character", "accuracy", "in_voice"):
        table[name] = values[name]
    ends = []
    indicator = _indicators(rows)["in_character"]
    for place, name in enumerate(names):
        own = rows["persona"] == name
        _, pull = two_phase(rows[own], indicator[own], np.zeros(int(own.sum()), dtype=int))
        se = influence_se(pull.to_numpy())
        value = float(values["in_character"][place])
        ends.append(mean_interval(value, 0.0 if math.isnan(se) else se, len(pull), confidence))
    table["low"], table["high"] = [end.low for end in ends], [end.high for end in ends]
    return table.sort_values(["in_character", "persona"], ascending=[False, True]).reset_index(
        drop=True
    )


# ------------------------------------------------------------------------------- the cost
def _cost(known: pd.DataFrame, within: list[str], confidence: float) -> Cost:
    """Weighted least squares of right on in voice, with means of `within` taken out.

    Within questions alone this is the Mantel-Haenszel difference of shares (Greenland & Robins
    1985), each question weighing n_in n_out / (n_in + n_out).
    """
    both = known.groupby("question")["in_voice"].transform("nunique") > 1
    weight = known["weight"].to_numpy(float)
    x = _centred(known["in_voice"], known, within, weight)
    y = _centred(known["correct"], known, within, weight)
    square = float((weight * x**2).sum())
    questions = int(known.loc[both, "question"].nunique())
    if square < 1e-9 or questions < 2:
        return Cost(UNKNOWN, math.nan, questions)
    slope = float((weight * x * y).sum()) / square
    adds = pd.Series(weight * x * (y - slope * x) / square)[both.to_numpy()]
    by_question = adds.groupby(known.loc[both, "question"].to_numpy()).sum()
    se = influence_se(np.asarray(by_question, dtype=np.float64))
    half = float(student.ppf((1 + confidence) / 2, questions - 1)) * se
    p = 2 * float(student.sf(abs(slope) / se, questions - 1)) if se > 0 else math.nan
    return Cost(Estimate(slope, slope - half, slope + half), p, questions)


def _centred(values: pd.Series, rows: pd.DataFrame, within: list[str], weight: Floats) -> Floats:
    """Values less the weighted means of each grouping, until none is left."""
    left = values.to_numpy(float).copy()
    codes = [pd.factorize(rows[name])[0] for name in within]
    for _ in range(200 if len(codes) > 1 else 1):
        before = left.copy()
        for code in codes:
            left -= (np.bincount(code, weight * left) / np.bincount(code, weight))[code]
        if np.abs(left - before).max() < 1e-9:
            break
    return left


# ------------------------------------------------------------------------------- two models
@dataclass(frozen=True)
class VoiceComparison(Result):
    """Two models on the same questions and personas; b less a.

    Attributes:
        rates: rate, a, b, difference, low, high, p_value; paired by question.
        judges: judge, entry_test.
        confidence: Level of the intervals.
    """

    rates: pd.DataFrame
    judges: pd.DataFrame
    confidence: float


def compare_voice(a: Voice, b: Voice) -> VoiceComparison:
    """Differences in in-character accuracy, its two margins and the four shares.

    Raises:
        VoiceError: other questions, personas or judges.
    """
    for what, first, second in (
        ("questions", set(a.pulls.index), set(b.pulls.index)),
        ("personas", set(a.personas["persona"]), set(b.personas["persona"])),
        ("judges of the voice", set(a.judges["judge"]), set(b.judges["judge"])),
    ):
        if first != second:
            raise VoiceError(
                f"{a.task}: the two models differ in {what} (for instance "
                f"{sorted(first ^ second)[0]!r}): their voices are not compared"
            )
    found = []
    for name in RATES:
        pulls = b.pulls[name] - a.pulls[name].reindex(b.pulls.index)
        in_a, in_b = (getattr(each, name).value for each in (a, b))
        value = in_b - in_a
        se, df = influence_se(pulls.to_numpy()), len(pulls) - 1
        half = float(student.ppf((1 + a.confidence) / 2, df)) * se if df > 0 else math.nan
        p = 2 * float(student.sf(abs(value) / se, df)) if se > 0 else math.nan
        ends = {"difference": value, "low": value - half, "high": value + half, "p_value": p}
        found.append({"rate": name, "a": in_a, "b": in_b, **ends})
    judges = pd.concat([a.judges, b.judges]).drop_duplicates(ignore_index=True)
    return VoiceComparison(pd.DataFrame(found), judges, a.confidence)
