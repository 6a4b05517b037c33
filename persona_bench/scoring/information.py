"""Persona information: how much better a response is explained by its persona than by others.

    from persona_bench.scoring.information import persona_information

    found = persona_information(likelihoods)  # a row for each response and candidate persona
    print(found.value, found.interval, found.no_trace, found.conclusion)

For a response r to question q under persona p, with candidate personas C (p among them):

    (LL_p - log mean over p' in C without p of exp LL_p') / tokens of r        [nats a token]

LL_c is the log-likelihood of r (whole response, in nats) where the model is asked q under c.
This is a pointwise mutual information between response and persona, with the own persona left
out of the mean. With a label that has nothing to do with the response it comes out at or below
0 on average (Jensen), how far below depends on the model: what no trace looks like is found by
permuting the labels, not assumed to be 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from persona_bench.scoring.estimate import Result
from persona_bench.scoring.frames import check_settings
from persona_bench.scoring.resampling import (
    CHUNK_CELLS,
    Counts,
    Floats,
    Interval,
    bootstrap,
    expanded_interval,
    p_value,
    percentile_interval,
)

COLUMNS = ("persona", "question", "sample", "candidate", "loglikelihood", "tokens")
RESPONSE = ["persona", "question", "sample"]

Conclusion = Literal["trace", "no trace seen"]

SCHEMES: dict[str, str] = {
    "within questions": "persona labels permuted within each question",
    "between personas": "personas' labels permuted, each for all of its responses at once, as "
    "every question belongs to one persona",
    "drawn": "a label drawn from each response's own candidates, as these differ within a question",
}
"""How labels are permuted: the finest way under which they are exchangeable without a trace."""

ONE_PERSONA_NOTE = (
    "each question belongs to one persona only, so that its topic may point to the persona: part "
    "of what is measured may be the questions, not the role"
)


@dataclass(frozen=True)
class Information(Result):
    """Persona information of one model on one task, in nats a token."""

    value: float
    """Mean over responses; each response counts the same, however long it is."""
    interval: Interval
    """Bootstrap: questions redrawn; personas, where each question belongs to one persona."""
    no_trace: Interval
    """The middle `confidence` of the mean under permuted labels."""
    no_trace_mean: float
    """The average of the mean under permuted labels."""
    p_value: float
    """(1 + permutations at or above `value`) / (1 + resamples), one-sided."""
    conclusion: Conclusion
    """`trace` where `value` lies above the band: p_value <= (1 - confidence) / 2."""
    per_persona: pd.DataFrame
    """persona, information, low, high (questions redrawn), no_trace (the mean with this persona's
    label on every response that has it as a candidate), n (responses), n_questions."""
    scheme: str
    """One of `SCHEMES`."""
    redrawn: str
    """What the interval redraws: `question` or `persona`."""
    n_responses: int
    n_questions: int
    n_personas: int
    n_candidates: int
    """Candidates of a response, its own persona included: the most that one has."""
    confidence: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as data for JSON (see `Result.to_dict`)."""
        record = super().to_dict()
        no_trace = {"mean": record.pop("no_trace_mean"), **record.pop("no_trace")}
        return {
            "information": record.pop("value"),
            **record.pop("interval"),
            "unit": "nats a token",
            "no_trace": {**no_trace, "definition": SCHEMES[record.pop("scheme")]},
            **record,
        }


def persona_information(
    likelihoods: pd.DataFrame, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Information:
    """How much better responses are explained by their own persona than by others.

    Args:
        likelihoods: A row for each response and candidate persona, with the columns `COLUMNS`:
            the own persona, question and sample (together they name a response), the candidate,
            the response's log-likelihood under it in nats, and its tokens.
        confidence: Level of the intervals and of the no-trace band.
        resamples: Bootstrap replicates, and permutations.
        seed: Seed of both.

    Raises:
        ValueError: a column is missing, a number is impossible, or a response lacks its own
            persona or any other among its candidates.
    """
    check_settings(confidence, resamples)
    table = _Table.of(likelihoods)
    rng, null_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    own = table.scores[np.arange(len(table.own)), table.own]
    value = float(own.mean())
    null = np.concatenate(list(_null_means(table, resamples, null_rng)))
    p = p_value(-null, -value)
    redrawn = "persona" if table.one_persona_a_question else "question"
    clusters = table.own if table.one_persona_a_question else table.question
    (interval,) = _intervals(own, clusters, np.zeros_like(clusters), confidence, resamples, rng)
    return Information(
        value=value,
        interval=interval,
        no_trace=percentile_interval(null, confidence),
        no_trace_mean=float(null.mean()),
        p_value=p,
        conclusion="trace" if p <= (1 - confidence) / 2 else "no trace seen",
        per_persona=_per_persona(table, own, confidence, resamples, rng),
        scheme=table.scheme,
        redrawn=redrawn,
        n_responses=len(own),
        n_questions=int(table.question.max()) + 1,
        n_personas=len(np.unique(table.own)),
        n_candidates=int(table.known.sum(axis=1).max()),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        notes=(ONE_PERSONA_NOTE,) if table.one_persona_a_question else (),
    )


def response_information(likelihoods: pd.DataFrame) -> pd.DataFrame:
    """Each response's own information: persona, question, sample, information (nats a token).

    Args, Raises: as `persona_information`.
    """
    table = _Table.of(likelihoods)
    found = likelihoods.drop_duplicates(RESPONSE)[RESPONSE].reset_index(drop=True)
    return found.assign(information=table.scores[np.arange(len(table.own)), table.own])


# ---------------------------------------------------------------------- the scores
@dataclass(frozen=True)
class _Table:
    """Scores of n responses under every label, and whose they are.

    `scores` is (n, candidates), nats a token, NaN where `known` is false: no candidate of this
    response. `own` (n,) has the own persona's column, `question` (n,) a code, 0 up.
    """

    scores: Floats
    known: Any
    own: Counts
    question: Counts
    names: list[str]

    @classmethod
    def of(cls, likelihoods: pd.DataFrame) -> _Table:
        rows = _checked(likelihoods)
        names = sorted(set(rows["candidate"]))
        column = {name: i for i, name in enumerate(names)}
        response = rows.groupby(RESPONSE, sort=False).ngroup().to_numpy()
        first = rows.drop_duplicates(RESPONSE)
        own = first["persona"].map(column)
        scores = np.full((len(first), len(names)), -np.inf)
        code = rows["candidate"].map(column).to_numpy(dtype=int)
        scores[response, code] = rows["loglikelihood"].to_numpy(dtype=float)
        known = scores > -np.inf
        lacking = own.isna().to_numpy() | (known.sum(axis=1) < 2)
        places = own.fillna(0).to_numpy(dtype=int)
        lacking |= ~known[np.arange(len(first)), places]
        if lacking.any():
            raise ValueError(
                f"{_named(first[lacking].iloc[0])} lacks its own persona, or any other, among its "
                "candidates: give its log-likelihood under both"
            )
        tokens = first["tokens"].to_numpy(dtype=float)[:, None]
        with np.errstate(invalid="ignore"):
            scores = np.where(known, scores - _logmeanexp_of_others(scores, known), np.nan) / tokens
        return cls(scores, known, places, pd.factorize(first["question"])[0], names)

    @property
    def one_persona_a_question(self) -> bool:
        """Whether no question was put to two personas."""
        pairs = np.unique(np.stack([self.question, self.own]), axis=1)
        return bool(np.bincount(pairs[0]).max() == 1) and len(np.unique(self.own)) > 1

    @property
    def scheme(self) -> str:
        """Which of `SCHEMES` fits."""
        first = np.unique(self.question, return_index=True)[1]
        alike = (self.known == self.known[first[self.question]]).all()
        if not self.one_persona_a_question:
            return "within questions" if alike else "drawn"
        return "between personas" if (self.known == self.known[0]).all() else "drawn"


def _checked(likelihoods: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in COLUMNS if name not in likelihoods.columns]
    if missing:
        raise ValueError(f"the likelihoods lack the column {missing[0]!r}: give {list(COLUMNS)}")
    if not len(likelihoods):
        raise ValueError("there are no likelihoods: at least one response is needed")
    rows = likelihoods[list(COLUMNS)]
    finite = np.isfinite(rows["loglikelihood"].to_numpy(dtype=float))
    if not finite.all():
        raise ValueError(f"{_named(rows[~finite].iloc[0])} has a log-likelihood that is not finite")
    some = rows["tokens"].to_numpy(dtype=float) >= 1
    if not some.all():
        raise ValueError(f"{_named(rows[~some].iloc[0])} has no tokens: leave empty responses out")
    if (twice := rows.duplicated([*RESPONSE, "candidate"])).any():
        raise ValueError(f"{_named(rows[twice].iloc[0])} has one candidate twice: give each once")
    if (rows.groupby(RESPONSE, sort=False)["tokens"].nunique() > 1).any():
        raise ValueError(
            "a response has different numbers of tokens under different candidates: their "
            "log-likelihoods can't be compared"
        )
    return rows


def _named(row: pd.Series[Any]) -> str:
    return f"the response of {row['persona']!r} to {row['question']!r} (sample {row['sample']})"


def _logmeanexp_of_others(ll: Floats, known: Any) -> Floats:
    """For each candidate the log of the mean of exp over the other ones; both (n, candidates).

    `ll` is -inf where not `known`. Taking a term off a sum would lose all digits for the
    likeliest candidate, which outweighs the rest by hundreds of nats: its others are added up
    anew.
    """
    rows, top = np.arange(len(ll)), ll.argmax(axis=1)
    whole = logsumexp(ll, axis=1)
    below = ll.copy()
    below[rows, top] = -np.inf
    share = np.minimum(ll - whole[:, None], np.log(0.5))  # only the likeliest can have more
    others = whole[:, None] + np.log1p(-np.exp(share))
    others[rows, top] = logsumexp(below, axis=1)
    return np.asarray(others - np.log(known.sum(axis=1) - 1)[:, None], dtype=np.float64)


# ---------------------------------------------------------------------- intervals
def _intervals(
    scores: Floats,
    cluster: Counts,
    group: Counts,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> list[Interval]:
    """Interval of each group's mean score, with whole clusters redrawn; arrays are (n,)."""
    shape = int(cluster.max()) + 1, int(group.max()) + 1
    place = cluster * shape[1] + group
    n = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(place, scores, minlength=shape[0] * shape[1]).reshape(shape)
    there = (n > 0).any(axis=1)
    totals = np.hstack([sums, n])[there].astype(np.float64)

    def means(total: Floats) -> Floats:
        top, bottom = np.split(total, 2, axis=1)
        return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)

    drawn = bootstrap(totals, means, resamples, rng)
    counts = (n > 0).sum(axis=0)
    return [expanded_interval(each, confidence, int(counts[g])) for g, each in enumerate(drawn.T)]


def _per_persona(
    table: _Table, own: Floats, confidence: float, resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    personas, group = np.unique(table.own, return_inverse=True)
    ends = _intervals(own, table.question, group, confidence, resamples, rng)
    rows = []
    for g, persona in enumerate(personas):
        its = group == g
        rows.append(
            {
                "persona": table.names[persona],
                "information": float(own[its].mean()),
                "low": ends[g].low,
                "high": ends[g].high,
                "no_trace": float(np.nanmean(table.scores[:, persona])),
                "n": int(its.sum()),
                "n_questions": len(np.unique(table.question[its])),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.sort_values(["information", "persona"], ascending=[False, True], ignore_index=True)


# ---------------------------------------------------------------------- labels permuted
def shuffled_within(groups: Counts, rows: int, rng: np.random.Generator) -> Iterator[Counts]:
    """Places 0..n-1 in random order within each group, `rows` times over.

    Yields chunks of shape (replicates, n): where each member takes its label from.
    """
    n = len(groups)
    in_order = np.argsort(groups, kind="stable")
    chunk = max(1, CHUNK_CELLS // max(n, 1))
    for start in range(0, rows, chunk):
        keys = rng.random((min(chunk, rows - start), n)) + groups
        places = np.empty(keys.shape, dtype=np.int64)
        places[:, in_order] = np.argsort(keys, axis=1)
        yield places


def _null_means(table: _Table, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Mean scores under permuted labels, in chunks (replicates,); see `SCHEMES`."""
    scores, own = table.scores, table.own
    n = len(own)
    if table.scheme == "within questions":
        for places in shuffled_within(table.question, resamples, rng):
            yield scores[np.arange(n), own[places]].mean(axis=1)
    elif table.scheme == "between personas":
        columns = np.flatnonzero(table.known[0])
        sums = np.stack([np.bincount(own, scores[:, c], minlength=len(scores[0])) for c in columns])
        sums = sums[:, columns]  # (label, persona)
        labels = rng.permuted(np.tile(np.arange(len(columns)), (resamples, 1)), axis=1)
        yield sums[labels, np.arange(len(columns))].sum(axis=1) / n
    else:
        first = np.argsort(~table.known, axis=1, kind="stable")
        scores = np.take_along_axis(scores, first, axis=1)
        count = table.known.sum(axis=1)
        chunk = max(1, CHUNK_CELLS // n)
        for start in range(0, resamples, chunk):
            drawn = rng.integers(count, size=(min(chunk, resamples - start), n))
            yield scores[np.arange(n), drawn].mean(axis=1)
