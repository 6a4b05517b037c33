"""A release gate: is a new checkpoint no worse than the old one, by more than a margin?

    from persona_bench import gate, read_outcomes

    result = gate(read_outcomes("results/base"), read_outcomes("results/new"), margin=0.02)
    print(result.verdict)  # "pass", "fail" or "can't tell"

Tests of non-inferiority, paired by question. A criterion *passes* where the confidence bound
excludes a loss as large as the margin, *fails* where it excludes a loss smaller than the margin,
and is undecided otherwise. The gate passes where all criteria pass; as each of them does so wrongly
in at most 5%, so does the gate (an intersection-union test, Berger 1982). That a difference is "not
significant" is never a reason to pass.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from persona_bench.scoring.cells import Cells, check
from persona_bench.scoring.comparable import CompareError, pair_up
from persona_bench.scoring.compare import corrected_draws
from persona_bench.scoring.corrected import TAIL
from persona_bench.scoring.estimate import Result
from persona_bench.scoring.fidelity_compare import compare_fidelity
from persona_bench.scoring.resampling import Floats
from persona_bench.scoring.sequential import Early, early_of
from persona_bench.scoring.voice import Voice, compare_voice

GateVerdict = Literal["pass", "fail", "can't tell"]

EXIT_CODES: dict[str, int] = {"pass": 0, "fail": 1, "can't tell": 3}
"""Exit code of `persona-bench gate` for each verdict; 2 is for wrong input."""

UNSEEN_LOSS = 0.5
"""Questions lost under all personas that are added to those that were seen."""

STEEPEST, BISECTIONS, TINY = 60.0, 45, 1e-300
"""Numerics of `lower_bounds`: largest tilt, steps of the search, and what keeps roots above 0."""

PASS_TAIL = 0.02
"""Share of the draws below the lower bound of the corrected PSS, over the level. The prior draws
personas together, so that a single worse one is often taken for chance; with so few draws beyond
the margin that happens in at most 5% (docs/methods_and_gates.md)."""

POWER = 0.8
"""Power for which the number of questions that would decide a criterion is given."""


@dataclass(frozen=True)
class Criterion:
    """One thing that must not get worse by more than its margin.

    Attributes:
        name: `mean accuracy`, `every persona`, `pss_corrected`, `in-character accuracy` or
            `fidelity`.
        difference: New less base; for `every persona` the difference under the persona with the
            lowest bound, which is in `detail`.
        low: One-sided lower confidence bound of the difference: above -margin the criterion passes.
        high: One-sided upper bound: below -margin the criterion fails. For `every persona` this is
            the upper bound of the persona with the strongest evidence of a loss, corrected for the
            number of personas.
        margin: Largest acceptable loss, above 0.
        verdict: `pass`, `fail` or `can't tell`.
        detail: The persona that decides, what would decide an open criterion, and whether unscored
            responses keep it open.
        questions_needed: How many questions would decide it with 80% power if the true difference
            is the one seen; None where it is decided, or where no number of questions would.
        samples_needed: How many samples per cell on the same questions would; None where that is
            not known (it takes two samples per cell), or where none would.
    """

    name: str
    difference: float
    low: float
    high: float
    margin: float
    verdict: GateVerdict
    detail: str = ""
    questions_needed: int | None = None
    samples_needed: int | None = None


@dataclass(frozen=True)
class Gate(Result):
    """The verdict on one task, with a criterion for each thing that was tested."""

    criteria: tuple[Criterion, ...]
    n_questions: int
    n_personas: int
    n_samples: int
    level: float
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> GateVerdict:
        """`fail` where a criterion fails, `pass` where all pass, else `can't tell`."""
        return combined([each.verdict for each in self.criteria])

    def to_dict(self) -> dict[str, Any]:
        """The verdict and the fields as data for JSON (see `Result.to_dict`)."""
        return {"verdict": self.verdict, **super().to_dict()}


def combined(verdicts: Sequence[str]) -> GateVerdict:
    """One verdict of several."""
    if "fail" in verdicts:
        return "fail"
    return "pass" if verdicts and set(verdicts) == {"pass"} else "can't tell"


def gate(
    base: pd.DataFrame,
    new: pd.DataFrame,
    *,
    margin: float = 0.02,
    margin_persona: float | None = None,
    margin_pss: float = 0.05,
    level: float = 0.05,
    seed: int = 0,
) -> Gate:
    """Test whether a new checkpoint is no worse than the base on one task.

    The criteria are the mean accuracy over personas, the accuracy under every persona, and the
    corrected PSS. `lower_bounds` says how accuracies are bounded. No accuracy passes that would
    be beyond its margin with the unscored responses of the new checkpoint wrong and those of the
    old one right.

    Where one of the two was stopped early by a plan (column `early`), only questions that both have
    count, and the bounds are those of its last look, so that `level` holds over all looks.

    Args:
        base: Outcomes of the old checkpoint, as `stability` takes them.
        new: Outcomes of the new checkpoint on the same questions and personas.
        margin: Largest acceptable loss of mean accuracy, as a share, between 0 and 1.
        margin_persona: Largest acceptable loss of accuracy under any single persona; by default
            `margin`. One persona's accuracy is far noisier than the mean over all of them, so that
            with a few hundred questions a wider margin is needed for a gate that can pass.
        margin_pss: Largest acceptable loss of the corrected PSS.
        level: Probability of a wrong pass (and of a wrong fail) of each criterion.
        seed: Seed of the draws behind the corrected PSS.

    Raises:
        CompareError: the two runs differ in task, questions, personas, prompts or grader, or one of
            them is unfinished.
        ValueError: a margin or level outside (0, 1), or a table that `stability` would refuse.
    """
    margin_persona = margin if margin_persona is None else margin_persona
    checked = {"margin": margin, "margin_persona": margin_persona, "margin_pss": margin_pss}
    for name, value in {**checked, "level": level}.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}, but must lie between 0 and 1")
    looked = [early for each in (base, new) if (early := early_of(each))]
    if not all(early.looks for early in looked):
        raise CompareError(
            "the gate needs finished runs, and one of these is unfinished: finish it with the same "
            "command, or start it with --until decided --against BASE"
        )
    base, new = check(base), check(new)
    if looked:
        both = set(base["question"]) & set(new["question"])
        base, new = (each[each["question"].isin(both)] for each in (base, new))
        base, new = (each.drop(columns="early", errors="ignore") for each in (base, new))
    one_sided = bound_level(looked, level)
    a, b, _, notes = pair_up(base, new)
    criteria = criteria_of(
        a, b, (margin, margin_persona, margin_pss), one_sided, np.random.default_rng(seed)
    )
    return Gate(
        criteria=_if_unscored(criteria, Cells.count(base), Cells.count(new)),
        n_questions=len(a.questions),
        n_personas=len(a.personas),
        n_samples=int(max(a.responses.max(), b.responses.max())),
        level=level,
        notes=(*dict.fromkeys(early.note for early in looked), *notes),
    )


def bound_level(looked: Sequence[Early], level: float) -> float:
    """One-sided level of each bound, so that those of all looks together err with `level`."""
    ordinary = 1 - 2 * level
    at_look = max([ordinary, *(early.confidence(ordinary, "late") for early in looked)])
    return (1 - at_look) / 2


def criteria_of(
    a: Cells,
    b: Cells,
    margins: tuple[float, float, float],
    level: float,
    rng: np.random.Generator,
) -> tuple[Criterion, Criterion, Criterion]:
    """Mean accuracy, every persona and the corrected PSS, with their margins in this order.

    Args:
        a: The old checkpoint's counts.
        b: The new one's, with the same cells scored.
        margins: Largest acceptable losses.
        level: One-sided level of each bound.
        rng: Where the draws behind the corrected PSS come from.
    """
    columns, present = _differences(a, b)
    over_personas = columns.sum(axis=1, where=present) / present.sum(axis=1)
    return (
        _mean(over_personas, a, b, margins[0], level),
        _every_persona(columns, present, a.personas, margins[1], level),
        _pss(a, b, margins[2], level, rng),
    )


def fidelity_criterion(
    base: pd.DataFrame, new: pd.DataFrame, *, margin: float, level: float = 0.05
) -> Criterion:
    """The criterion of fidelity: PersonaScore (1 to 5) of two judged tables.

    The bounds are those of the paired t-interval over personas, each with half of `level`: where
    scores crowd at 5, a few personas lose much, and t with the whole of it would pass too often.

    Args:
        base: Judged table of the old checkpoint, as `fidelity` takes it.
        new: That of the new checkpoint.
        margin: Largest acceptable loss in points of the score, above 0.
        level: As in `gate`.

    Raises:
        CompareError: the two differ in task, rubrics, judges, personas or questions.
        ValueError: margin not above 0.
    """
    if margin <= 0:
        raise ValueError(f"margin_fidelity is {margin}, but must be above 0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare_fidelity(base, new, confidence=1 - level, resamples=1)
    low, high = found.difference.interval
    difference = found.difference.value
    return Criterion("fidelity", difference, low, high, margin, _verdict(low, high, margin))


def voice_criterion(base: Voice, new: Voice, *, margin: float, level: float = 0.05) -> Criterion:
    """The criterion of in-character accuracy: the share of responses right and in voice.

    Bounded as accuracies are (`lower_bounds`), by what each question adds to the difference. Where
    only a sample was judged, a judged response counts several times, and so does the unseen loss.

    Args:
        base: Voice of the old checkpoint.
        new: That of the new checkpoint.
        margin: Largest acceptable loss, as a share.
        level: One-sided level of each bound (`bound_level`).

    Raises:
        VoiceError: the two differ in questions, personas or judges.
    """
    compare_voice(base, new)  # whether they may be compared
    difference = new.in_character.value - base.in_character.value
    pulls = (new.pulls["in_character"] - base.pulls["in_character"]).to_numpy()
    added = difference + len(pulls) * pulls
    size = max(1.0, float(np.abs(added).max()), *(each.n / each.judged for each in (base, new)))
    low, high = (
        s * size * float(lower_bounds(s * added[:, None] / size, level)[0]) for s in (1, -1)
    )
    verdict = _verdict(low, high, margin)
    return Criterion("in-character accuracy", difference, low, high, margin, verdict)


def _verdict(low: float, high: float, margin: float) -> GateVerdict:
    if low > -margin:
        return "pass"
    return "fail" if high < -margin else "can't tell"


# --------------------------------------------------------------------- paired differences
def _differences(a: Cells, b: Cells) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Share correct of b less that of a in each cell, shape (questions, personas); and which
    cells both have scored."""
    present = a.scored > 0
    shares = [
        np.divide(c.correct, c.scored, out=np.zeros(present.shape), where=present) for c in (a, b)
    ]
    return shares[1] - shares[0], present


def lower_bounds(values: Floats, level: float, times: Any = 1) -> Floats:
    """One-sided lower confidence bounds of the means of columns of differences between -1 and 1.

    The bound is the highest mean under which what was seen is improbable. The distributions
    considered weigh each question's difference d by exp(-tilt x d), the least favourable family
    (Efron 1981, section 11; DiCiccio and Romano 1990): their variance and skewness are those at the
    bound, and not those of a sample that came out well. The tail is found by the saddlepoint
    formula (Barndorff-Nielsen 1986), with Student's quantile for the normal one (Hesterberg 2015).
    Half a question with a difference of -1 is added: a run without any changed verdict has a width
    too, and for single verdicts this is the usual correction for continuity. For upper bounds give
    -values and take minus the result.

    Args:
        values: Differences, shape (questions, columns).
        level: Probability that a bound is above the true mean, below 0.5.
        times: How often each value was seen: 0 or 1 for questions, or counts where `values` has one
            row per distinct value. Broadcast to the shape of `values`.
    """
    times = np.broadcast_to(times, np.broadcast_shapes(np.shape(times), values.shape))
    n = times.sum(axis=0).astype(float)
    total = n + UNSEEN_LOSS
    mean = ((times * values).sum(axis=0) - UNSEEN_LOSS) / total
    variance = ((times * values**2).sum(axis=0) + UNSEEN_LOSS) / total - mean**2
    freedom = np.maximum(n - 1, 1)
    quantile = student.isf(level, freedom) * np.sqrt(n / freedom)
    low, high = np.zeros(n.shape), np.full(n.shape, STEEPEST)
    for _ in range(BISECTIONS):
        tilt = (low + high) / 2
        grown = (times * np.expm1(-tilt * values)).sum(axis=0) + UNSEEN_LOSS * np.expm1(tilt)
        root = np.sqrt(np.maximum(2 * total * (tilt * mean + np.log1p(grown / total)), TINY))
        wald = tilt * np.sqrt(total * np.maximum(variance, TINY))
        improbable = root + np.log(wald / root) / root > quantile
        low, high = np.where(improbable, low, tilt), np.where(improbable, tilt, high)
    weight, unseen = times * np.exp(-high * values), UNSEEN_LOSS * np.exp(high)
    bounds: Floats = ((weight * values).sum(axis=0) - unseen) / (weight.sum(axis=0) + unseen)
    return bounds


def _mean(column: Floats, a: Cells, b: Cells, margin: float, level: float) -> Criterion:
    low, high = (s * float(lower_bounds(s * column[:, None], level)[0]) for s in (1, -1))
    difference, se = float(column.mean()), _standard_error(column)
    verdict = _verdict(low, high, margin)
    questions = samples = None
    detail = ""
    if verdict == "can't tell":
        factor = _more(difference, se, margin, level)
        questions = _count(len(column) * factor)
        samples = _samples_needed(a, b, se, factor)
        detail = _needed(questions, samples)
    return Criterion("mean accuracy", difference, low, high, margin, verdict, detail, questions,
                     samples)  # fmt: skip


def _every_persona(
    columns: Floats, present: Any, personas: Sequence[str], margin: float, level: float
) -> Criterion:
    """Passes where each persona passes by itself; fails by Holm's correction over personas, whose
    first step is Bonferroni's."""
    lows = lower_bounds(columns, level, present)
    highs = -lower_bounds(-columns, level / len(personas), present)
    weakest, worst = int(np.argmin(lows)), int(np.argmin(highs))
    low, high = float(lows[weakest]), float(highs[worst])
    verdict = _verdict(low, high, margin)
    shown = worst if verdict == "fail" else weakest
    detail, questions = f"lowest under {personas[shown]}", None
    seen = [column[mask] for column, mask in zip(columns.T, present.T, strict=True)]
    if verdict == "fail":
        detail = f"worse under {personas[worst]}"
    elif verdict == "can't tell":
        open_ones = [each for each, bound in zip(seen, lows, strict=True) if bound <= -margin]
        factors = [
            len(each) * _more(float(each.mean()), _standard_error(each), margin, level)
            for each in open_ones
        ]
        questions = _count(max(factors))
        detail += f"; {len(open_ones)} of {len(personas)} personas are open"
        detail += f"; {_needed(questions, None)}"
    return Criterion("every persona", float(seen[shown].mean()), low, high, margin, verdict,
                     detail, questions)  # fmt: skip


def _if_unscored(criteria: Sequence[Criterion], a: Cells, b: Cells) -> tuple[Criterion, ...]:
    """No accuracy passes that would be beyond its margin with the unscored responses of the new
    checkpoint wrong, and those of the old one right."""
    old, new = int(a.unscored.sum()), int(b.unscored.sum())
    if not old + new:
        return tuple(criteria)
    asked = (a.responses > 0) & (b.responses > 0)
    least, most = b.correct, a.correct + a.unscored
    lost = least / np.maximum(b.responses, 1) - most / np.maximum(a.responses, 1)
    rows, personas = asked.any(axis=1), asked.any(axis=0)
    mean = (lost.sum(axis=1, where=asked)[rows] / asked.sum(axis=1)[rows]).mean()
    each = lost.sum(axis=0, where=asked)[personas] / asked.sum(axis=0)[personas]
    worst = {"mean accuracy": float(mean), "every persona": float(each.min())}
    told = (
        f"{old:,} responses of the old and {new:,} of the new checkpoint are unscored; if those of "
        "the old were right and those of the new wrong, the difference{} would be {:+.3f}: grade "
        "them, or generate them again"
    )
    weakest = np.asarray(a.personas)[personas][int(each.argmin())]
    where = {"every persona": f" under {weakest}"}
    return tuple(
        replace(
            one, verdict="can't tell", detail=told.format(where.get(one.name, ""), worst[one.name])
        )
        if one.verdict == "pass" and worst.get(one.name, 0.0) <= -one.margin
        else one
        for one in criteria
    )


def _standard_error(column: Floats) -> float:
    """Of the mean, with the unseen loss that the bounds have."""
    n = len(column)
    return math.sqrt(((column**2).sum() + UNSEEN_LOSS) / n - column.mean() ** 2) / math.sqrt(n)


def _pss(a: Cells, b: Cells, margin: float, level: float, rng: np.random.Generator) -> Criterion:
    before, after = corrected_draws(a, b, rng)
    lost = after - before
    low, high = np.quantile(lost, [level * PASS_TAIL, 1 - level * TAIL])
    if level * PASS_TAIL * lost.size < 1:  # so far out there are no draws
        low = -1.0
    difference = float(np.median(after) - np.median(before))
    verdict = _verdict(low, high, margin)
    questions, detail = None, ""
    if lost.size == 1:
        detail = (
            "undefined: it takes two personas, two questions and a correct response of each run"
        )
    elif verdict == "can't tell":
        # bounds come nearer with the square root of the number of questions
        width = difference - low if difference > -margin else high - difference
        wanted = float(width + norm.ppf(POWER) * lost.std())
        distance = max(abs(difference + margin), 1e-9)
        questions = _count(len(a.questions) * max(1.0, (wanted / distance) ** 2))
        detail = _needed(questions, None)
    return Criterion("pss_corrected", difference, float(low), float(high), margin, verdict, detail,
                     questions)  # fmt: skip


# ------------------------------------------------------------ what would decide the open ones
def _more(difference: float, se: float, margin: float, level: float) -> float:
    """How many times as many questions decide it, if the true difference is the one seen."""
    distance = abs(difference + margin)
    if distance < 1e-9:
        return math.inf
    wanted = float(student.ppf(1 - level, 1e6) + student.ppf(POWER, 1e6))
    return max(1.0, (wanted * se / distance) ** 2)


def _count(number: float) -> int | None:
    return math.ceil(number) if number < 1e7 else None


def _samples_needed(a: Cells, b: Cells, se: float, factor: float) -> int | None:
    """Samples per cell that shrink the squared error of the mean by `factor`.

    Only the part of the error that is sampling within cells shrinks; it is known where all cells
    have two samples or more.
    """
    k = int(min(a.scored.min(), b.scored.min()))
    if k < 2 or not math.isfinite(factor):
        return None
    within = 0.0
    for cells in (a, b):
        within += float(cells.sampling_variance.sum())
    within /= a.scored.size**2
    between = max(0.0, se**2 - within)
    left = se**2 / factor - between
    return math.ceil(k * within / left) if left > 0 and k * within / left < 1e5 else None


def _needed(questions: int | None, samples: int | None) -> str:
    if questions is None:
        return "the difference is too close to the margin: no number of questions would decide it"
    text = f"about {questions:,} questions would decide it, if the true difference is this one"
    return text if samples is None else f"{text}; or {samples:,} samples per prompt"


__all__ = [
    "EXIT_CODES", "Criterion", "Gate", "GateVerdict", "combined", "fidelity_criterion", "gate",
]  # fmt: skip
