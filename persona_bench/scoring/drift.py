"""Drift: what changes with the number of turns of conversation before the question.

    from persona_bench.scoring.drift import drift

    result = drift(table)  # responses at two or more numbers of turns; see `drift`
    print(result.slopes, result.lost)

A conversation belongs to a persona and a script, and the questions share it: responses after one
conversation are no independent draws. Intervals are therefore clustered by conversation and by
question both (Cameron, Gelbach & Miller 2011), with the personas and the scripts fixed. With four
scripts, the interval of one persona rests on four conversations, and Student's t has three degrees
of freedom. docs/conversations.md says what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from persona_bench.scoring.estimate import UNKNOWN, Estimate, Result

if TYPE_CHECKING:
    from persona_bench.scoring.stability import Stability

UNIT = ["persona", "question", "sample"]
MEASURES = {
    "accuracy": "correct / (correct + wrong)",
    "fidelity": "mean score of the judges, 1 to 5",
    "information": "persona information, nats a token",
    "pss": "plain PSS",
}
"""What may drift. PSS has no value for a single response."""
TINY = 1e-12
"""A standard error below this is one of rounding: nothing varies."""
LEVEL = 0.05
"""Of the test whether a persona can be told from the control, for each persona by itself."""


class DriftError(ValueError):
    """A table in which nothing can drift; the message says why."""


@dataclass(frozen=True, eq=False)
class Drift(Result):
    """How one model's results on one task change over a conversation.

    Attributes:
        levels: measure, turns, value, low, high, n (responses).
        slopes: measure, persona (empty: the mean over personas), slope (change per round of
            conversation: least squares over the numbers of turns), low, high, p_value,
            conversations (behind it).
        told: persona, kind, turns, accuracy (how often a classifier that learned on other
            conversations tells the persona's response from the control's to the same question; 0.5
            by chance), low, high, p_value (one-sided), told (p_value at most `LEVEL`). Empty
            without a control, and with a single script.
        lost: persona, kind, status (`told` at the last number of turns; `lost` before it; `never
            told`), last_told (the last number of turns at which it was told), lost_from (the first
            number of turns from which on it is not told; both NaN where there is none).
        control: The control's id; empty without one.
        turns: The numbers of turns.
        scripts: How many scripts there are.
        confidence: Level of the intervals.
        notes: What a reader has to know.
    """

    levels: pd.DataFrame
    slopes: pd.DataFrame
    told: pd.DataFrame
    lost: pd.DataFrame
    control: str
    turns: list[int]
    scripts: int
    confidence: float
    notes: tuple[str, ...] = ()

    def slope(self, measure: str) -> Estimate:
        """The slope of the mean over personas; NaN where the measure is not there."""
        rows = self.slopes[(self.slopes["measure"] == measure) & (self.slopes["persona"] == "")]
        for row in rows.to_dict("records"):
            return Estimate(row["slope"], row["low"], row["high"])
        return UNKNOWN


def drift(
    table: pd.DataFrame,
    *,
    stabilities: Mapping[int, Stability] | None = None,
    confidence: float = 0.95,
) -> Drift:
    """What changes with the number of turns.

    Args:
        table: One row per response, with persona, kind, question, sample, script, turns, and a
            column for each of `MEASURES` that is known; NaN where it is not. With `response`,
            the text, personas are held against the control.
        stabilities: The stability at each number of turns, for the corrected PSS.
        confidence: Level of the intervals.

    Raises:
        DriftError: one number of turns, no script, or nothing that was measured.
    """
    turns = sorted(int(each) for each in table["turns"].unique())
    if len(turns) < 2:
        raise DriftError(f"all responses are after {turns[0]} turns: a drift needs two numbers")
    if (table["script"].astype(str) == "").any():
        raise DriftError("some responses belong to no script: run them with turns=[0, ...]")
    measures = [name for name in MEASURES if name in table and table[name].notna().any()]
    if not measures:
        raise DriftError("nothing is graded, judged or traced: there is nothing that could drift")
    levels, slopes, notes = [], [], []
    for measure in measures:
        for number in turns:
            rows = table[(table["turns"] == number) & table[measure].notna()]
            found = clustered_mean(rows.assign(value=rows[measure]))
            levels.append(_row(measure, found, confidence) | {"turns": number, "n": len(rows)})
        units = _unit_slopes(table, measure, turns)
        if dropped := int(table[table[measure].notna()].groupby(UNIT).ngroups - len(units)):
            notes.append(
                f"{measure}: {dropped} of {dropped + len(units)} cells lack a number of turns, and "
                "count in no slope"
            )
        slopes += _slopes(units, measure, confidence)
    if "accuracy" in measures:
        for number in turns:
            rows = table[(table["turns"] == number) & table["accuracy"].notna()]
            levels.append({"measure": "pss", "turns": number, "value": _pss(rows),
                           "low": math.nan, "high": math.nan, "n": len(rows)})  # fmt: skip
        slopes.append(_pss_slope([table], turns, confidence))
    for number, each in sorted((stabilities or {}).items()):
        corrected = each.pss_corrected
        levels.append({"measure": "pss_corrected", "turns": number, "value": corrected.value,
                       "low": corrected.low, "high": corrected.high,
                       "n": each.n_responses - each.unscored})  # fmt: skip
    control = _control(table)
    several = table["script"].nunique() > 1
    if control and "response" in table and not several:
        notes.append("whether a persona is told from the control takes two scripts or more")
    told = _told(table, control, turns, confidence) if "response" in table and several else []
    columns = ["persona", "kind", "turns", "accuracy", "low", "high", "p_value", "told"]
    told_table = pd.DataFrame(told, columns=columns)
    return Drift(
        levels=pd.DataFrame(levels)[["measure", "turns", "value", "low", "high", "n"]],
        slopes=pd.DataFrame(slopes).drop(columns=["a", "b"], errors="ignore"),
        told=told_table,
        lost=_lost(told_table),
        control=control,
        turns=turns,
        scripts=table["script"].nunique(),
        confidence=confidence,
        notes=tuple(notes),
    )


# ------------------------------------------------------------------------------- means and slopes
class Clustered(NamedTuple):
    """A mean over personas with its standard error; degrees of freedom; conversations behind it."""

    value: float
    se: float
    df: float
    conversations: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """Student's."""
        half = float(student.ppf((1 + confidence) / 2, self.df)) * self.se
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Of a true value of 0, two-sided."""
        if not self.se > 0:
            return math.nan
        return 2 * float(student.sf(abs(self.value) / self.se, self.df))


def clustered_mean(rows: pd.DataFrame) -> Clustered:
    """The mean over personas of their means, with errors clustered by conversation and question.

    With u a response, i_u its influence (its residual over its persona's and its script's means,
    divided by personas x responses of the persona), C conversations, Q questions and K scripts:

        V = sum_C (sum_u i_u)^2 + sum_Q (sum_u i_u)^2 - sum_CQ (sum_u i_u)^2

    each with the usual correction for few clusters, and V never below half of the second sum. The
    degrees of freedom are Satterthwaite's (1946) for the first two sums, and not fewer than those
    of the first, (personas - 1) x (K - 1). One persona alone has no script's mean to take off: its
    K conversations carry all of it, with K - 1. Where nothing varies there is no error to go by,
    and it is NaN.

    Args:
        rows: persona, question, script and value; one row per response.
    """
    if rows.empty:
        return Clustered(math.nan, math.nan, math.nan, 0)
    persona, question, script = (pd.factorize(rows[name])[0] for name in
                                 ("persona", "question", "script"))  # fmt: skip
    value = rows["value"].to_numpy(float)
    size = np.bincount(persona)
    means = np.bincount(persona, value) / size
    residual = value - means[persona]
    personas, scripts, questions = len(size), script.max() + 1, question.max() + 1
    several = personas > 1
    if several:
        residual -= (np.bincount(script, residual) / np.bincount(script))[script]
    influence = residual / size[persona] / personas
    talk = np.unique(persona * scripts + script, return_inverse=True)[1]
    cell = np.unique(talk * questions + question, return_inverse=True)[1]
    free_talks = (personas - 1) * (scripts - 1) if several else scripts - 1
    free_questions = questions - (scripts if several else 1)
    talks, cells = talk.max() + 1, cell.max() + 1
    if free_talks < 1 or free_questions < 1:
        return Clustered(float(means.mean()), math.nan, math.nan, int(talks))
    free_cells = max(cells - personas - several * (scripts - 1), 1)
    by_talk = _square(talk, influence) * talks / free_talks
    by_question = _square(question, influence) * questions / free_questions
    both = _square(cell, influence) * cells / free_cells
    least = by_question / 2 if several else by_talk
    se = math.sqrt(max(by_talk + by_question - both, least))
    parts = by_talk**2 / free_talks + by_question**2 / free_questions
    df = max(se**4 / parts, free_talks) if several and parts > 0 else free_talks
    return Clustered(float(means.mean()), se if se > TINY else math.nan, float(df), int(talks))


def _square(cluster: Any, influence: Any) -> float:
    return float((np.bincount(cluster, influence) ** 2).sum())


def _row(measure: str, found: Clustered, confidence: float) -> dict[str, Any]:
    low, high = found.interval(confidence)
    return {"measure": measure, "value": found.value, "low": low, "high": high}


def _unit_slopes(table: pd.DataFrame, measure: str, turns: Sequence[int]) -> pd.DataFrame:
    """The least-squares slope of each persona, question and sample that has every number of turns.

    Columns: persona, question, sample, script, value.
    """
    wide = table.pivot_table(measure, [*UNIT, "script"], "turns").reindex(columns=list(turns))
    wide = wide.dropna()
    away = np.array(turns, dtype=float) - np.mean(turns)
    return (wide @ (away / (away**2).sum())).rename("value").reset_index()


def _slopes(units: pd.DataFrame, measure: str, confidence: float) -> list[dict[str, Any]]:
    """The mean slope, and that of each persona."""
    found = []
    for persona, own in [("", units), *units.groupby("persona", sort=True)]:
        slope = clustered_mean(own)
        row = _row(measure, slope, confidence)
        row["slope"] = row.pop("value")
        found.append({"measure": measure, "persona": persona, "slope": row["slope"],
                      "low": row["low"], "high": row["high"], "p_value": slope.p_value,
                      "conversations": slope.conversations})  # fmt: skip
    return found


def _pss(rows: pd.DataFrame) -> float:
    means = rows.groupby("persona")["accuracy"].mean()
    return float(means.min() / means.max()) if len(means) and means.max() > 0 else math.nan


def _pss_slope(
    tables: Sequence[pd.DataFrame], turns: Sequence[int], confidence: float
) -> dict[str, Any]:
    """The slope of the plain PSS, of two models that of the second less the first's.

    Its error is found by leaving out one script at a time (jackknife).
    """
    away = np.array(turns, dtype=float) - np.mean(turns)
    known = [table[table["accuracy"].notna()] for table in tables]

    def slopes(without: Any = None) -> list[float]:
        found = []
        for rows in known:
            kept = rows[rows["script"] != without]
            values = [_pss(kept[kept["turns"] == number]) for number in turns]
            found.append(float(np.dot(values, away) / (away**2).sum()))
        return found

    def whole(found: list[float]) -> float:
        return found[-1] - (found[0] if len(found) > 1 else 0.0)

    left = np.array([whole(slopes(each)) for each in sorted(known[0]["script"].unique())])
    n, own = len(left), slopes()
    se = math.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    talks = known[0].groupby(["persona", "script"]).ngroups
    found = Clustered(whole(own), se if se > TINY else math.nan, n - 1, talks)
    low, high = found.interval(confidence)
    row = {"measure": "pss", "persona": "", "slope": found.value, "low": low, "high": high}
    return row | {"p_value": found.p_value, "conversations": talks, "a": own[0], "b": own[-1]}


# ------------------------------------------------------------------------------- told apart
def _control(table: pd.DataFrame) -> str:
    """The persona to compare with: `none`, else the first of the kind control."""
    controls = sorted(table.loc[table["kind"] == "control", "persona"].unique())
    return "none" if "none" in controls else str(next(iter(controls), ""))


def _told(
    table: pd.DataFrame, control: str, turns: Sequence[int], confidence: float
) -> list[dict[str, Any]]:
    """Whether each persona's responses can be told from the control's at each number of turns."""
    found = []
    for number in turns if control else ():
        rows = table[(table["turns"] == number) & table["response"].notna()]
        base = rows[rows["persona"] == control]
        for persona, own in rows[rows["persona"] != control].groupby("persona", sort=True):
            pairs = own.merge(base, on=["question", "sample", "script"], suffixes=("", "_control"))
            accuracy = told_apart(pairs)
            low, high = accuracy.interval(confidence)
            tail = (accuracy.value - 0.5) / accuracy.se if accuracy.se > 0 else math.nan
            p = float(student.sf(tail, accuracy.df)) if tail == tail else math.nan
            found.append({"persona": persona, "kind": own["kind"].iloc[0], "turns": number,
                          "accuracy": accuracy.value, "low": max(low, 0.0), "high": min(high, 1.0),
                          "p_value": p, "told": p <= LEVEL})  # fmt: skip
    return found


def told_apart(pairs: pd.DataFrame) -> Clustered:
    """How often the persona's response is told from the control's to the same question.

    A classifier (TF-IDF of words and of characters, logistic regression) learns from the responses
    after other scripts and says which of the two is the persona's, so that it can't go by what one
    conversation was about. The error is over scripts, and not below that of as many coin tosses.

    Args:
        pairs: script, response and response_control; one row per question and sample.
    """
    hits = pd.Series(_hits(pairs), index=pairs.index)
    by_script = hits.groupby(pairs["script"]).mean()
    n = len(by_script)
    if n < 2:
        return Clustered(math.nan, math.nan, math.nan, n)
    value = float(by_script.mean())
    se = max(float(by_script.std() / math.sqrt(n)), 0.5 / math.sqrt(len(pairs)))
    return Clustered(value, se, n - 1, 2 * n)


def _hits(pairs: pd.DataFrame) -> Any:
    """1 where the persona's response scores higher, 0 where the control's does, 0.5 in a tie."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union
    from threadpoolctl import threadpool_limits

    hits = np.full(len(pairs), 0.5)
    texts = [*map(str, pairs["response"]), *map(str, pairs["response_control"])]
    if not any(text.strip() for text in texts):
        return hits
    vectors = make_union(  # of all texts: no label is in them
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    )
    with threadpool_limits(1):
        features = vectors.fit_transform(texts).tocsr()
        own, control = features[: len(pairs)], features[len(pairs) :]
        for script in pairs["script"].unique():
            named = (pairs["script"] == script).to_numpy()
            if (learn := np.flatnonzero(~named)).size:
                known = np.concatenate([learn, learn + len(pairs)])
                model = LogisticRegression(C=10.0, max_iter=1000)
                model.fit(features[known], np.repeat([1, 0], learn.size))
                scores = [model.decision_function(each[named]) for each in (own, control)]
                hits[named] = (np.sign(scores[0] - scores[1]) + 1) / 2
    return hits


def _lost(told: pd.DataFrame) -> pd.DataFrame:
    """For each persona from which number of turns on it can no longer be told from the control."""
    found = []
    for persona, own in told.groupby("persona", sort=True):
        own = own.sort_values("turns")
        seen = own.loc[own["told"], "turns"]
        last = float(seen.max()) if len(seen) else math.nan
        after = own.loc[own["turns"] > last, "turns"]
        status = "never told" if seen.empty else "lost" if len(after) else "told"
        found.append({"persona": persona, "kind": own["kind"].iloc[0], "status": status,
                      "last_told": last,
                      "lost_from": float(after.min()) if len(after) else math.nan})  # fmt: skip
    return pd.DataFrame(found, columns=["persona", "kind", "status", "last_told", "lost_from"])


# ------------------------------------------------------------------------------- two models
@dataclass(frozen=True, eq=False)
class DriftComparison(Result):
    """Two models' drift on the same questions, personas and scripts; b less a.

    Attributes:
        slopes: measure, persona (empty: the mean), a, b, difference, low, high, p_value.
        confidence: Level of the intervals.
    """

    slopes: pd.DataFrame
    confidence: float


def compare_drift(a: pd.DataFrame, b: pd.DataFrame, *, confidence: float = 0.95) -> DriftComparison:
    """Differences of the slopes, paired by persona, question and sample.

    Args:
        a, b: As for `drift`.
        confidence: Level of the intervals.

    Raises:
        DriftError: other numbers of turns, other scripts before a question, or nothing in common.
    """
    turns = sorted(int(each) for each in a["turns"].unique())
    if turns != sorted(int(each) for each in b["turns"].unique()) or len(turns) < 2:
        raise DriftError("the runs have other numbers of turns: run both with the same `turns`")
    found = []
    for measure in MEASURES:
        if not all(measure in table and table[measure].notna().any() for table in (a, b)):
            continue
        units = [_unit_slopes(table, measure, turns) for table in (a, b)]
        both = units[0].merge(units[1], on=UNIT, suffixes=("_a", "_b"))
        if both.empty:
            raise DriftError(f"{measure}: the runs share no question under a persona")
        if (both["script_a"] != both["script_b"]).any():
            raise DriftError("the questions follow other scripts: run both with the same `scripts`")
        both = both.rename(columns={"script_a": "script"})
        both["value"] = both["value_b"] - both["value_a"]
        rows = _slopes(both, measure, confidence)
        for row in rows:
            own = both if row["persona"] == "" else both[both["persona"] == row["persona"]]
            means = own.groupby("persona")[["value_a", "value_b"]].mean().mean()
            row |= {"a": means["value_a"], "b": means["value_b"]}
        found += rows
        if measure == "accuracy":
            keys = both[[*UNIT, "script"]]
            found.append(
                _pss_slope([each.merge(keys, on=list(keys)) for each in (a, b)], turns, confidence)
            )
    table = pd.DataFrame(found).rename(columns={"slope": "difference"})
    columns = ["measure", "persona", "a", "b", "difference", "low", "high", "p_value"]
    return DriftComparison(table[columns] if len(table) else pd.DataFrame(columns=columns),
                           confidence)  # fmt: skip


def task_of(task: str, turns: int) -> str:
    """The task that a task after some turns is a part of."""
    return task.removesuffix(f"_turns{turns}") if turns else task


def by_task(names: Mapping[str, int]) -> dict[str, list[str]]:
    """The tasks that differ in nothing but the number of turns; those with two numbers or more.

    Args:
        names: The number of turns of each task.
    """
    found: dict[str, list[str]] = {}
    for name, turns in names.items():
        found.setdefault(task_of(name, turns), []).append(name)
    return {
        task: sorted(parts, key=lambda each: names[each])
        for task, parts in found.items()
        if len(parts) > 1
    }
