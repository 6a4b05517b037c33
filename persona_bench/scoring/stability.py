"""Stability: how far accuracy depends on the persona in the system prompt.

    from persona_bench import read_outcomes, stability

    result = stability(read_outcomes("results/my-run"))
    print(result.pss_corrected, result.pss_corrected.interval, result.conclusion)

Formulas, and what was measured of the intervals, are in docs/metrics.md.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from persona_bench.scoring.answers import answer_agreement
from persona_bench.scoring.cells import Cells, check, kinds_of, values_of
from persona_bench.scoring.corrected import (
    STABLE_FROM,
    Conclusion,
    Posterior,
    conclude,
    corrected_pss_asked,
    detectable_pss,
    posterior,
    simultaneous_bands,
    summarise,
)
from persona_bench.scoring.estimate import UNKNOWN, Estimate, Result
from persona_bench.scoring.family import DEFINITIONS
from persona_bench.scoring.frames import check_settings
from persona_bench.scoring.intervals import accuracy_intervals, with_intervals
from persona_bench.scoring.resampling import (
    Floats,
    Interval,
    influence_se,
    null_pss,
    p_value,
    percentile_interval,
)
from persona_bench.scoring.sequential import early_of
from persona_bench.scoring.strata import of_population, strata_of
from persona_bench.scoring.unscored import IfUnscored, if_unscored, why_undetermined

ODDS = (1e-4, 1 - 1e-4)
"""Accuracies beyond these have no odds that a run could tell."""
NEAR_ZERO = 0.05
"""Accuracy under which a persona's interval reaches where it is near 0."""
WIDE = 0.5
"""Width of an interval of the corrected PSS from which on the ratio tells little."""


@dataclass(frozen=True)
class Stability(Result):
    """How one model fares on one benchmark across personas. Accuracies are shares, 0 to 1.

    Intervals are over questions like these, with the personas fixed; `DEFINITIONS` says in one line
    what each number is.
    """

    DEFINITIONS = DEFINITIONS

    # the order in which files show them
    pss_corrected: Estimate
    """The ratio of the accuracies expected on questions like these, without the noise; NaN with a
    single persona or question, or with nothing correct."""
    pss_corrected_asked: Estimate
    """The same on the questions asked, where what a persona does to single questions is no noise;
    NaN too unless 9 in 10 cells have two scored samples."""
    probability_unstable: float
    """That the ratio of expected accuracies is below `stable_from`."""
    pss: Estimate
    pss_mean: Estimate
    pss_cv: Estimate
    agreement: Estimate
    answer_agreement: Estimate
    """NaN where answers are not recorded (the column `taken`), and of programs."""
    answer_agreement_self: Estimate
    """NaN as `answer_agreement`, and with one sample per cell."""
    solid: Estimate
    mean: Estimate
    worst: Estimate
    best: Estimate
    spread: Estimate
    sd: Estimate
    mean_se: float
    """Standard error of the mean accuracy, clustered by question."""
    noise_floor: Estimate
    """The mean of the PSS values that occur when personas have no effect, and the middle
    `confidence` of them."""
    p_value: float
    """Of the PSS against its noise floor; NaN with a single persona, and in an early look."""
    persona_sd: Estimate
    """Standard deviation over these personas of their expected accuracies, without the noise."""
    persona_sd_logit: Estimate
    """The same of their effects in log-odds; NaN for scores."""
    worst_minus_control: Estimate
    """Lowest expected accuracy less that of the control (the persona `none`, else the only one of
    the kind control; NaN without one). Which persona is the worst is uncertain here, so that having
    picked it from the data is accounted for."""
    worst_minus_best: Estimate
    worst_odds_ratio: Estimate
    """Beside the corrected PSS where the worst accuracy is near 0, and a ratio tells little."""
    minimum_detectable: float
    """The highest PSS below 1 that this design tells from no effect with 80% power, at a level of
    5%, one persona being worse than the others; NaN where `pss_corrected` is."""
    mean_if_unscored: IfUnscored
    """Mean accuracy with all of the unscored wrong, and all of it right."""
    pss_if_unscored: IfUnscored
    """PSS with all of the unscored wrong, then all of it right: the first may be the larger."""
    pss_bounds: Interval
    """Lowest and highest PSS over every way in which the unscored could have come out."""
    conclusion: Conclusion
    """`stable`, `unstable` or `undetermined`: where the interval of `pss_corrected` lies, wholly
    from `stable_from` on, wholly below it, or neither. `undetermined` too where `why_undetermined`
    says so."""
    why_undetermined: str
    """One sentence where the unscored responses, or an early look at a run without a plan, forbid a
    conclusion; empty otherwise."""
    unscored_p_value: float
    """Of the share of unscored responses being the same for all personas; NaN with none unscored,
    or with a single persona."""
    stable_from: float
    worst_persona: str
    best_persona: str
    """The first name of a tie (`worst_personas` and `best_personas` have all of them); empty where
    nothing is scored."""
    unscored: int
    missing: int
    """Persona x question cells without a single row."""
    n_questions: int
    n_personas: int
    n_samples: int
    """Most samples in a cell."""
    n_responses: int
    confidence: float
    resamples: int
    seed: int
    per_persona: pd.DataFrame
    """persona, kind, accuracy, low, high, n (scored responses), correct, wrong, unscored (and
    `scored`: how many have a score between 0 and 1, where some have), `shrunken` (expected accuracy
    without the noise), `shrunken_low` and `shrunken_high` (bands that hold for all personas at
    once), `same_answer` (how often its answer is another persona's, where answers are recorded),
    and a column `verdict:reason` with a count for each reason found; best accuracy first."""
    notes: tuple[str, ...] = ()
    """What a reader has to know about this table; each was also a warning."""
    stratify: str | None = None
    """The column within whose values questions were redrawn."""
    population: str = "questions"
    """What the intervals are over: `questions`, or `personas` and questions both."""

    @property
    def measure(self) -> str:
        """What accuracies are made of: `accuracy` (verdicts), or `score`, where some responses have
        a score between 0 and 1."""
        return "score" if "scored" in self.per_persona.columns else "accuracy"

    @property
    def is_near_zero(self) -> bool:
        """Whether the worst accuracy is near 0 and the interval of its ratio to the best is wide:
        `worst_minus_best` and `worst_odds_ratio` then say more than the PSS."""
        low, high = self.pss_corrected.interval
        return bool(self.worst.low < NEAR_ZERO and high - low > WIDE)

    @property
    def worst_personas(self) -> list[str]:
        """All personas with the lowest accuracy, by name; more than one is a tie."""
        return self._with_accuracy(self.per_persona["accuracy"].min())

    @property
    def best_personas(self) -> list[str]:
        """All personas with the highest accuracy, by name; more than one is a tie."""
        return self._with_accuracy(self.per_persona["accuracy"].max())

    def _with_accuracy(self, accuracy: float) -> list[str]:
        table = self.per_persona
        return sorted(table.loc[table["accuracy"] == accuracy, "persona"])

    def to_dict(self) -> dict[str, Any]:
        """The fields, `measure` and the personas of a tie as data for JSON (see `Result`)."""
        ties = {"worst_personas": self.worst_personas, "best_personas": self.best_personas}
        return super().to_dict() | ties | {"measure": self.measure}


def stability(
    outcomes: pd.DataFrame,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    stable_from: float = STABLE_FROM,
    stratify: str | None = None,
    population: str = "questions",
) -> Stability:
    """Measure how stable one model's accuracy on one benchmark is across personas.

    `outcomes` has one row per response and at least the columns persona, question and
    correct (1.0, 0.0, or NaN for unscored), or score (0 to 1, or NaN for unscored). Of scores all
    is computed but what needs verdicts, which is NaN, and a note says so. The columns kind, sample,
    verdict, reason, model and task are used where they are there. `resamples` is both the number of
    bootstrap replicates and the number of exchanges behind the noise floor. A model is `stable`
    from a PSS of `stable_from` on. The result depends on `seed` and on what the rows say, not on
    their order.

    A table whose column `early` says that its run was looked at before its end gets no p-value.
    Where a plan said when to look, the intervals of all looks together have `confidence`; without a
    plan there is no conclusion either (`scoring.sequential`).

    `stratify` names a column, such as "level" or "subject": questions are then redrawn within
    each of its values, as if these shares of the questions were fixed. `population` is
    "questions" (personas fixed), or "personas": the interval of the mean is then for personas
    and questions like these, and the other metrics have none (docs/metrics.md says why).

    Raises ValueError for an empty table, missing columns, values of `correct` other than
    1, 0 and NaN, rows given twice, several (model, task) pairs, or several kinds for one
    persona. Warns, and writes the same into `notes`, where cells are missing, nothing is
    scored, or a metric has nothing to compare.
    """
    check_settings(confidence, resamples)
    if not 0 < stable_from <= 1:
        raise ValueError(f"stable_from is {stable_from}, but must lie above 0 and at most at 1")
    if population not in ("questions", "personas"):
        raise ValueError(f'population is {population!r}, but must be "questions" or "personas"')
    table = check(outcomes)
    cells = Cells.count(table)
    early = early_of(table)
    level = early.confidence(confidence) if early else confidence
    strata, told = strata_of(table, cells, stratify)
    notes = (*([early.note] if early else []), *cells.notes(), *told)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    bootstrap_rng, null_rng, draws_rng, asked_rng, unscored_rng = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)
    )
    metrics: dict[str, Any] = with_intervals(cells, level, resamples, bootstrap_rng, strata)
    if population == "personas":
        metrics = of_population(metrics, cells, level, resamples, bootstrap_rng, strata)
    floor = _noise_floor(cells, metrics["pss"], confidence, resamples, null_rng)
    drawn = posterior(cells, draws_rng)
    corrected = UNKNOWN if drawn is None else summarise(drawn.pss, level)
    conclusion = conclude(corrected.interval, stable_from)
    unscored_p, why = why_undetermined(cells, conclusion, stable_from, resamples, unscored_rng)
    if early:
        floor["p_value"] = math.nan
        why = why if early.looks else "undetermined because the run is unfinished (see the note)"
    asked = corrected_pss_asked(cells, level, asked_rng)
    answers, same_persona, of_each = answer_agreement(table, cells.personas, level)
    per_persona = _per_persona(table, cells, level, drawn, of_each)
    control = _control(per_persona)
    accuracy = cells.accuracy
    known = bool(cells.scored.any())
    return Stability(
        **metrics,
        **floor,
        **if_unscored(cells),
        pss_corrected=corrected,
        pss_corrected_asked=asked,
        answer_agreement=answers,
        answer_agreement_self=same_persona,
        **_of_the_draws(drawn, control, level, stable_from, cells.has_verdicts),
        conclusion="undetermined" if why else conclusion,
        why_undetermined=why,
        unscored_p_value=unscored_p,
        stable_from=stable_from,
        mean_se=influence_se(cells.scored_only().influence.sum(axis=1), strata)
        if known
        else math.nan,
        worst_persona=cells.personas[int(np.nanargmin(accuracy))] if known else "",
        best_persona=cells.personas[int(np.nanargmax(accuracy))] if known else "",
        unscored=int(cells.unscored.sum()),
        missing=int((cells.responses == 0).sum()),
        n_questions=len(cells.questions),
        n_personas=len(cells.personas),
        n_samples=int(cells.responses.max()),
        n_responses=len(table),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        per_persona=per_persona,
        notes=notes,
        stratify=stratify,
        population=population,
    )


def _noise_floor(
    cells: Cells, pss: float, confidence: float, resamples: int, rng: np.random.Generator
) -> dict[str, Any]:
    """What PSS this table would show if personas had no effect."""
    if math.isnan(pss):
        return {"noise_floor": UNKNOWN, "p_value": math.nan}
    null = null_pss(cells.correct, cells.scored, resamples, rng)
    single = len(cells.personas) == 1
    return {
        "noise_floor": Estimate(null.mean(), *percentile_interval(null, confidence)),
        "p_value": math.nan if single else p_value(null, pss),
    }


def _of_the_draws(
    drawn: Posterior | None,
    control: str,
    confidence: float,
    stable_from: float,
    has_verdicts: bool,
) -> dict[str, Any]:
    """What else the draws behind the corrected PSS say."""
    names = ("persona_sd", "persona_sd_logit", "worst_minus_control", "worst_minus_best",
             "worst_odds_ratio")  # fmt: skip
    found = dict.fromkeys(names, UNKNOWN)
    below = detectable = math.nan
    if drawn is not None:
        below = float((drawn.pss < stable_from).mean())
        detectable = detectable_pss(drawn.fit)
        worst, best = drawn.accuracy.min(axis=2), drawn.accuracy.max(axis=2)
        of = {
            "persona_sd": drawn.accuracy.std(axis=2),
            "worst_minus_best": worst - best,
            "worst_odds_ratio": logit(np.clip(worst, *ODDS)) - logit(np.clip(best, *ODDS)),
        }
        if has_verdicts:
            of["persona_sd_logit"] = drawn.effect.std(axis=2)
        if control in drawn.personas:
            base = drawn.accuracy[..., drawn.personas.index(control)]
            of["worst_minus_control"] = worst - base
        found |= {name: summarise(draws, confidence) for name, draws in of.items()}
    return {**found, "probability_unstable": below, "minimum_detectable": detectable}


def _control(per_persona: pd.DataFrame) -> str:
    """The persona to compare with: `none`, else the only one of the kind control, else empty."""
    names = set(per_persona["persona"])
    controls = list(per_persona.loc[per_persona["kind"] == "control", "persona"])
    if "none" in names:
        return "none"
    return str(controls[0]) if len(controls) == 1 else ""


def _per_persona(
    table: pd.DataFrame,
    cells: Cells,
    confidence: float,
    drawn: Posterior | None,
    same_answer: Floats,
) -> pd.DataFrame:
    """One row per persona, best accuracy first (see `Stability.per_persona`)."""
    scored, correct = cells.scored.sum(axis=0), cells.correct.sum(axis=0)
    wrong = scored - correct
    if not cells.has_verdicts:
        values, by = values_of(table), table["persona"]
        correct, wrong = (
            (values == value).groupby(by).sum().reindex(cells.personas).to_numpy()
            for value in (1.0, 0.0)
        )
    low, high = accuracy_intervals(cells, confidence)
    frame = pd.DataFrame(
        {
            "persona": cells.personas,
            "kind": kinds_of(table, cells.personas),
            "accuracy": cells.accuracy,
            "low": low,
            "high": high,
            "n": scored,
            "correct": correct,
            "wrong": wrong,
            "unscored": cells.unscored.sum(axis=0),
        }
    )
    if not cells.has_verdicts:
        frame.insert(list(frame).index("unscored"), "scored", scored - correct - wrong)
    names = ["shrunken", "shrunken_low", "shrunken_high"]
    frame[names] = math.nan
    if drawn is not None:
        draws = drawn.accuracy.reshape(-1, len(drawn.personas))
        bands = draws.mean(axis=0), *simultaneous_bands(draws, confidence)
        shrunken = pd.DataFrame(dict(zip(names, bands, strict=True)), index=drawn.personas)
        frame[names] = shrunken.reindex(cells.personas).to_numpy()
    if not np.isnan(same_answer).all():
        frame["same_answer"] = same_answer
    reasons = _reasons(table).reindex(cells.personas, fill_value=0)
    frame = pd.concat([frame, reasons.reset_index(drop=True)], axis=1)
    return frame.sort_values(
        ["accuracy", "persona"], ascending=[False, True], na_position="last", ignore_index=True
    )


def _reasons(table: pd.DataFrame) -> pd.DataFrame:
    """How often each reason was given, as columns `verdict:reason`, indexed by persona."""
    if "reason" not in table.columns:
        return pd.DataFrame(index=pd.Index([], name="persona"))
    values = values_of(table)
    known = [values == 1, values == 0, values.notna()]
    verdict = pd.Series(np.select(known, ["correct", "wrong", "scored"], "unscored"), table.index)
    reason = table["reason"].fillna("").astype(str)
    given = (reason != "").to_numpy()
    label = (verdict + ":" + reason)[given]
    return pd.crosstab(table["persona"][given], label).rename_axis(columns=None)
