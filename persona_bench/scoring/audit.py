"""Is the judge an instrument? Its audit, from verdicts that were asked for on purpose.

- **Test-retest**: the same call once more. How often is the score the same?
- **Persona swap**: two responses under two personas, each held against the other's persona too. A
  judge that reads the persona scores a response lower under the wrong one; one that scores the
  prose alone, or that likes one of the personas better, does not: over the four scores of a pair
  what is good about a response and what is good about a persona cancel out.
- **Agreement** between judges, and with itself: Krippendorff's alpha for interval data
  (Krippendorff 2004), 1 for perfect agreement, 0 for chance.
- **Length**: does a longer response score higher? Spearman's rank correlation.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from persona_bench.scoring.resampling import Interval

UNAFFECTED = ("Toxicity",)
"""Evaluation tasks whose rubric asks nothing of the persona; not part of the swap."""

CLEARLY = 0.6
"""Share of pairs (ties half) from which on a judge is said to tell personas apart clearly."""

ALPHA = 0.05
"""Level of the persona swap's test."""

RESAMPLES = 2000


@dataclass(frozen=True)
class Retest:
    """The same calls again.

    Attributes:
        n: Pairs of scores.
        same: Share of equal scores.
        difference: Mean absolute difference, in points.
        alpha: Krippendorff's, interval data; NaN where all scores are equal.
    """

    n: int
    same: float
    difference: float
    alpha: float


@dataclass(frozen=True)
class Swap:
    """Responses held against their own persona and against the other one of their pair.

    Attributes:
        n: Responses with both scores.
        pairs: Pairs in which both have.
        drop: Mean over pairs of the mean drop: the score under the own persona less that under
            the other, in points.
        interval: Of it: Student's t over pairs.
        lower, equal, higher: Shares of responses whose score under the other persona is so.
        discrimination: P(own > other) + P(equal) / 2: 0.5 for a judge that does not look.
        p_value: Of no drop, one-sided: signs of the pairs' drops exchanged, which is exact where
            nothing depends on persona and response together.
        by_task: Mean drop by evaluation task.
    """

    n: int
    pairs: int
    drop: float
    interval: Interval
    lower: float
    equal: float
    higher: float
    discrimination: float
    p_value: float
    by_task: dict[str, float]


@dataclass(frozen=True)
class LengthBias:
    """Scores and the length of responses.

    Attributes:
        n: Responses.
        rho: Spearman's rank correlation with the number of characters, within evaluation tasks
            (ranks taken in each, then pooled).
        interval: Of it, by Fisher's transformation (standard error 1.03 / sqrt(n - 3); Fieller,
            Hartley and Pearson 1957).
    """

    n: int
    rho: float
    interval: Interval


@dataclass(frozen=True)
class Audit:
    """What is known of a judge.

    Attributes:
        judge: Its name.
        retest, swap, length: See there; None where too little was scored.
        tells_personas_apart: `clearly`, `weakly` or `not`; `unknown` without a swap.
        spread: Standard deviation of its scores, in points.
        unscored: Share of its verdicts that could not be read.
    """

    judge: str
    retest: Retest | None
    swap: Swap | None
    length: LengthBias | None
    tells_personas_apart: str
    spread: float
    unscored: float

    @property
    def words(self) -> list[str]:
        """The conclusion, a sentence each."""
        return in_words(self)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a file; what is not defined is None."""
        return {**_plain(asdict(self)), "words": self.words}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def audit(
    judge: str,
    scores: pd.DataFrame,
    retests: pd.DataFrame,
    swaps: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Audit:
    """The audit of one judge.

    Args:
        judge: Its name.
        scores: Its verdicts: `eval_task, score, length`; NaN scores are unscored.
        retests: Pairs `first, again`; a row with a NaN is left out.
        swaps: A row a response, `pair, eval_task, own, other`; a pair with a NaN is left out.
        confidence: Level of the intervals.
        resamples: Sign exchanges of the swap's test where they are too many to go through.
        seed: Of these.
    """
    rng = np.random.default_rng(seed)
    broken = swaps.loc[swaps[["own", "other"]].isna().any(axis=1), "pair"]
    whole = swaps[~swaps["pair"].isin(broken) & ~swaps["eval_task"].isin(UNAFFECTED)]
    swap = _swap(whole, confidence, resamples, rng) if whole["pair"].nunique() >= 2 else None
    again = retests.dropna(subset=["first", "again"])
    known = scores.dropna(subset=["score"])
    return Audit(
        judge=judge,
        retest=_retest(again) if len(again) else None,
        swap=swap,
        length=_length(known, confidence) if len(known) > 4 else None,
        tells_personas_apart=_tells(swap),
        spread=float(known["score"].std(ddof=0)) if len(known) else math.nan,
        unscored=float(scores["score"].isna().mean()) if len(scores) else math.nan,
    )


def _retest(pairs: pd.DataFrame) -> Retest:
    first, again = pairs["first"].to_numpy(float), pairs["again"].to_numpy(float)
    return Retest(
        n=len(pairs),
        same=float((first == again).mean()),
        difference=float(np.abs(first - again).mean()),
        alpha=alpha(np.stack([first, again])),
    )


def alpha(ratings: np.ndarray) -> float:
    """Krippendorff's alpha of ratings of shape (raters, responses); NaN is no rating.

    Interval data. NaN where fewer than two responses have two ratings, or all ratings are equal.
    """
    import krippendorff

    shared = ratings[:, (~np.isnan(ratings)).sum(axis=0) >= 2]
    if shared.shape[1] < 2 or np.nanmin(shared) == np.nanmax(shared):
        return math.nan
    return float(krippendorff.alpha(reliability_data=shared, level_of_measurement="interval"))


def agreement(
    scores: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, Interval]:
    """Krippendorff's alpha between judges, and its bootstrap interval over personas.

    Args:
        scores: A row a response, with its `persona`, and a column for each judge beside it.
        confidence: Level of the interval.
        resamples: Bootstrap replicates.
        seed: Of these.
    """
    ratings = scores.drop(columns="persona").to_numpy(float).T
    value = alpha(ratings)
    groups = list(scores.reset_index(drop=True).groupby("persona").indices.values())
    if len(groups) < 2 or math.isnan(value):
        return value, Interval(math.nan, math.nan)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([groups[n] for n in rng.integers(len(groups), size=len(groups))])
        drawn.append(alpha(ratings[:, chosen]))
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return value, Interval(float(low), float(high))


def _swap(swaps: pd.DataFrame, confidence: float, resamples: int, rng: np.random.Generator) -> Swap:
    drop = (swaps["own"] - swaps["other"]).to_numpy(float)
    means = pd.Series(drop).groupby(swaps["pair"].to_numpy()).mean().to_numpy()
    lower, equal = float((drop > 0).mean()), float((drop == 0).mean())
    return Swap(
        n=len(swaps),
        pairs=len(means),
        drop=float(means.mean()),
        interval=_t_interval(means, confidence),
        lower=lower,
        equal=equal,
        higher=float((drop < 0).mean()),
        discrimination=lower + equal / 2,
        p_value=_sign_exchange(means, resamples, rng),
        by_task={
            str(task): float(each.mean())
            for task, each in pd.Series(drop).groupby(swaps["eval_task"].to_numpy())
        },
    )


def _t_interval(means: np.ndarray, confidence: float) -> Interval:
    if len(means) < 2:
        return Interval(math.nan, math.nan)
    half = stats.t.ppf((1 + confidence) / 2, len(means) - 1) * stats.sem(means)
    return Interval(float(means.mean() - half), float(means.mean() + half))


def _sign_exchange(means: np.ndarray, resamples: int, rng: np.random.Generator) -> float:
    """One-sided p-value of a mean of 0 or below."""
    if len(means) <= 10:
        signs = np.array(np.meshgrid(*[[1, -1]] * len(means))).reshape(len(means), -1).T
        return float(((signs @ means) >= means.sum() - 1e-12).mean())
    signs = rng.choice([1.0, -1.0], size=(resamples, len(means)))
    return float((1 + ((signs @ means) >= means.sum() - 1e-12).sum()) / (1 + resamples))


def _length(known: pd.DataFrame, confidence: float) -> LengthBias:
    nothing = Interval(math.nan, math.nan)
    groups = known.groupby("eval_task")
    rank = pd.DataFrame(
        {
            name: groups[name].rank() - groups[name].transform("size") / 2
            for name in ("score", "length")
        }
    )
    if rank["score"].nunique() < 2 or rank["length"].nunique() < 2:
        return LengthBias(len(known), math.nan, nothing)
    rho = float(np.corrcoef(rank["score"], rank["length"])[0, 1])
    z = stats.norm.ppf((1 + confidence) / 2) * 1.03 / math.sqrt(len(known) - 3)
    low, high = np.tanh(np.arctanh(np.clip(rho, -0.999999, 0.999999)) + np.array([-z, z]))
    return LengthBias(len(known), rho, Interval(float(low), float(high)))


def _tells(swap: Swap | None) -> str:
    if swap is None or math.isnan(swap.interval.low):
        return "unknown"
    if swap.interval.low <= 0 or swap.p_value > ALPHA:
        return "not"
    return "clearly" if swap.discrimination >= CLEARLY else "weakly"


def in_words(found: Audit) -> list[str]:
    """What an audit says, a sentence each."""
    said = {
        "clearly": "tells personas apart",
        "weakly": "tells personas apart only weakly",
        "not": "can't be seen to tell personas apart",
        "unknown": "was not tested on swapped personas",
    }[found.tells_personas_apart]
    lines = [f"{found.judge} {said}."]
    if swap := found.swap:
        lines[0] = lines[0][:-1] + (
            f": held against another persona, the same response loses {swap.drop:.2f} points "
            f"[{swap.interval.low:.2f}, {swap.interval.high:.2f}] (lower in {swap.lower:.0%}, "
            f"equal in {swap.equal:.0%}, higher in {swap.higher:.0%} of {swap.n} responses; "
            f"p = {swap.p_value:.3g})."
        )
    if found.tells_personas_apart in ("not", "unknown"):
        lines.append("Its scores can't be read as fidelity to a persona.")
    if found.spread == 0:
        lines.append("It gives every response the same score.")
    if retest := found.retest:
        lines.append(
            f"Asked again it gives the same score in {retest.same:.0%} of {retest.n} calls "
            f"(mean difference {retest.difference:.2f} points)."
        )
    if (length := found.length) and not math.isnan(length.rho):
        lines.append(
            f"Rank correlation of score and length: {length.rho:.2f} "
            f"[{length.interval.low:.2f}, {length.interval.high:.2f}]."
        )
    if found.unscored > 0:
        lines.append(f"{found.unscored:.1%} of its verdicts could not be read.")
    return lines
