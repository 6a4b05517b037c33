"""Is the judge an instrument? Its audit, from verdicts that were asked for on purpose.

- **Test-retest**: the same call once more. How often is the score the same?
- **Persona swap**: two responses under two personas, each held against the other's persona too. A
  judge that reads the persona scores a response lower under the wrong one; one that scores the
  prose alone, or that likes one of the personas better, does not: over the four scores of a pair
  what is good about a response and what is good about a persona cancel out. At the end of the scale
  they don't, as a score can't go beyond it. But whatever the scale, liking one persona better
  can't lower *both* responses of a pair (a crossover, which no change of scale makes or removes;
  Loftus 1978): so many scores at an end ask for pairs in which both are lower.
- **Agreement** between judges, and with itself: Krippendorff's alpha for interval data
  (Krippendorff 2004), 1 for perfect agreement, 0 for chance.
- **Length**: does a longer response score higher? Spearman's rank correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from persona_bench.scoring.estimate import Estimate, Result
from persona_bench.scoring.resampling import Interval

UNAFFECTED = ("Toxicity",)
"""Evaluation tasks whose rubric asks nothing of the persona; not part of the swap."""

CLEARLY = 0.6
"""Share of pairs (ties half) from which on a judge is said to tell personas apart clearly."""

ALPHA = 0.05
"""Level of the persona swap's tests."""

CROWDED = 0.2
"""Share of the swap's scores at one end of the scale from which on pairs have to cross over."""

SCALE = (1, 5)
"""Lowest and highest score of a rubric."""

RESAMPLES = 2000

FOLDS = 50
"""Most groups of personas that the jackknife of the length's correlation leaves out."""


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
            nothing depends on persona and response together and scores have room.
        both_lower, both_higher: Pairs in which both responses score lower under the other persona,
            and in which both score higher.
        p_crossed: Of the first not being likelier than the second: one-sided sign test.
        at_end: Share of the scores that are the highest possible, or the lowest, whichever is more.
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
    both_lower: int
    both_higher: int
    p_crossed: float
    at_end: float
    by_task: dict[str, float]

    @property
    def crowded(self) -> bool:
        """Whether liking alone, at an end of the scale, could explain the drop."""
        return self.at_end >= CROWDED and self.p_crossed > ALPHA


@dataclass(frozen=True)
class LengthBias:
    """Scores and the length of responses.

    Attributes:
        n: Responses.
        rho: Spearman's rank correlation with the number of characters, within evaluation tasks
            (ranks taken in each, then pooled).
        interval: Of it, with personas as the sample: jackknife over (groups of) personas on the
            scale of Fisher's transformation, Student's t. NaN with a single persona.
    """

    n: int
    rho: float
    interval: Interval


@dataclass(frozen=True)
class Audit(Result):
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
        """The fields as data for JSON, with intervals as lists of two, and the conclusion."""
        record = super().to_dict()
        for part in ("swap", "length"):
            if record[part] is not None:
                record[part]["interval"] = list(record[part]["interval"].values())
        return {**record, "words": self.words}


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
        scores: Its verdicts: `persona, eval_task, score, length`; NaN scores are unscored.
        retests: Pairs `first, again`; a row with a NaN is left out.
        swaps: A row a response, `pair, eval_task, own, other`; a pair with a NaN is left out.
        confidence: Level of the intervals.
        resamples: Sign exchanges of the swap's test where they are too many to go through.
        seed: Seed of these.
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
) -> Estimate:
    """Krippendorff's alpha between judges, with its bootstrap interval over personas.

    Args:
        scores: A row a response, with its `persona`, and a column for each judge beside it.
        confidence: Level of the interval.
        resamples: Bootstrap replicates.
        seed: Seed of these.
    """
    ratings = scores.drop(columns="persona").to_numpy(float).T
    value = alpha(ratings)
    groups = list(scores.reset_index(drop=True).groupby("persona").indices.values())
    if len(groups) < 2 or math.isnan(value):
        return Estimate(value)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([groups[n] for n in rng.integers(len(groups), size=len(groups))])
        drawn.append(alpha(ratings[:, chosen]))
    tail = (1 - confidence) / 2
    return Estimate(value, *np.nanquantile(drawn, [tail, 1 - tail]))


def _swap(swaps: pd.DataFrame, confidence: float, resamples: int, rng: np.random.Generator) -> Swap:
    drop = (swaps["own"] - swaps["other"]).to_numpy(float)
    means = pd.Series(drop).groupby(swaps["pair"].to_numpy()).mean().to_numpy()
    lower, equal = float((drop > 0).mean()), float((drop == 0).mean())
    pairs = pd.Series(np.sign(drop)).groupby(swaps["pair"].to_numpy())
    both_lower, both_higher = int((pairs.min() > 0).sum()), int((pairs.max() < 0).sum())
    crossed = both_lower + both_higher
    scores = swaps[["own", "other"]].to_numpy(float)
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
        both_lower=both_lower,
        both_higher=both_higher,
        p_crossed=float(stats.binom.sf(both_lower - 1, crossed, 0.5)) if crossed else 1.0,
        at_end=max(float((scores == end).mean()) for end in SCALE),
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
    rho = _rank_correlation(known)
    fold = pd.factorize(known["persona"])[0] % FOLDS
    folds = int(fold.max()) + 1
    without = np.array([_rank_correlation(known[fold != each]) for each in range(folds)])
    if math.isnan(rho) or folds < 2 or np.isnan(without).any():
        return LengthBias(len(known), rho, Interval(math.nan, math.nan))
    middle, left = (np.arctanh(np.clip(each, -0.999999, 0.999999)) for each in (rho, without))
    se = math.sqrt((folds - 1) / folds * ((left - left.mean()) ** 2).sum())
    half = float(stats.t.ppf((1 + confidence) / 2, folds - 1)) * se
    low, high = np.tanh([middle - half, middle + half])
    return LengthBias(len(known), rho, Interval(float(low), float(high)))


def _rank_correlation(known: pd.DataFrame) -> float:
    """Spearman's of score and length within evaluation tasks; NaN where one does not vary."""
    groups = known.groupby("eval_task")
    score, length = (
        (groups[name].rank() - groups[name].transform("size") / 2).to_numpy()
        for name in ("score", "length")
    )
    if not len(known) or np.ptp(score) == 0 or np.ptp(length) == 0:
        return math.nan
    return float(np.corrcoef(score, length)[0, 1])


def _tells(swap: Swap | None) -> str:
    if swap is None or math.isnan(swap.interval.low):
        return "unknown"
    if swap.interval.low <= 0 or swap.p_value > ALPHA or swap.crowded:
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
        if swap.crowded and swap.interval.low > 0:
            lines.append(
                f"{swap.at_end:.0%} of these scores are at one end of the scale, where a judge "
                "that only likes some personas better can show such a drop too. It can't lower "
                f"both responses of a pair: both are lower in {swap.both_lower} and higher in "
                f"{swap.both_higher} of {swap.pairs} pairs (p = {swap.p_crossed:.3g})."
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
