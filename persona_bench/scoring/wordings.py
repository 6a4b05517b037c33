"""Is it the persona, its wording, or would any system prompt have done the same?

    from persona_bench import prompt_effects, read_outcomes

    found = prompt_effects(read_outcomes("results/my-run"))
    print(found.sentence)
    print(found.pss_beyond_placebo, found.pss_beyond_placebo.interval)

For runs that asked several wordings of each persona (`wording: all`), or placebos (`placebos`):
system prompts without a role and without an instruction. docs/metrics.md has the formulas, and what
was measured of the intervals and tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from persona_bench.scoring.cells import Cells, check, kinds_of
from persona_bench.scoring.corrected import (
    CHAINS,
    on_other_questions,
    question_draws,
    true_accuracies,
)
from persona_bench.scoring.crossed import fit_crossed
from persona_bench.scoring.estimate import UNKNOWN, Estimate, Result
from persona_bench.scoring.frames import check_settings
from persona_bench.scoring.intervals import accuracy_intervals
from persona_bench.scoring.resampling import Floats, null_accuracies
from persona_bench.scoring.sequential import early_of

Cause = Literal["persona", "wording", "any prompt", "undetermined"]

LEVEL = 0.05
"""P-value below which a test counts."""


@dataclass(frozen=True)
class PromptEffects(Result):
    """What in the system prompts of one run moves the accuracy of one model on one benchmark."""

    DEFINITIONS: ClassVar[dict[str, str]] = {
        "pss_beyond_placebo": "expected worst accuracy of `drawn` personas over that of as many "
        "placebos, noise taken out: below 1 the worst persona is worse than the worst placebo",
        "p_any": "of all system prompts being alike, `none` and placebos among them: verdicts "
        "exchanged within each question",
        "p_wording": "of the wordings of each persona being alike: verdicts exchanged among them "
        "within each question",
        "p_persona": "of personas being no more alike in their wordings than any prompts: personas "
        "exchanged within each wording",
        "p_placebo": "of the placebos being alike: verdicts exchanged among them within each "
        "question",
    }

    conclusion: Cause
    """What the accuracy follows: `persona`, `wording`, `any prompt` (placebos move it too), or
    `undetermined`."""
    sentence: str
    """The conclusion in words, with what it rests on."""
    pss_beyond_placebo: Estimate
    """NaN without placebos. Prompts are fixed; the interval is over questions like these."""
    p_any: float
    p_wording: float
    """NaN where one wording was asked."""
    p_persona: float
    """NaN where one wording was asked."""
    p_placebo: float
    """NaN with fewer than two placebos."""
    drawn: int
    """Of how many personas, and placebos, the worst is taken: the size of the smaller group."""
    worst_persona: str
    worst_placebo: str
    n_personas: int
    """Without controls, which play no role."""
    n_placebos: int
    n_wordings: int
    """Most wordings of a persona."""
    placebos: pd.DataFrame
    """placebo, accuracy, low, high, n: one row per placebo, best accuracy first."""
    wordings: pd.DataFrame
    """persona, kind, wording, accuracy, low, high, n: one row per wording of each persona; empty
    where one wording was asked."""
    confidence: float
    resamples: int
    seed: int


def has_prompts(outcomes: pd.DataFrame) -> bool:
    """Whether a run asked placebos, or several wordings of a persona."""
    if bool(placebos_in(outcomes).any()):
        return True
    if "wording" not in outcomes.columns:
        return False
    return bool((outcomes.groupby("persona")["wording"].nunique() > 1).any())


def prompt_effects(
    outcomes: pd.DataFrame, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> PromptEffects:
    """Tells the effects of personas, of their wordings and of any system prompt apart.

    Args:
        outcomes: As `stability` takes them, with the column kind, and wording where several were
            asked.
        confidence: Level of the interval.
        resamples: Number of exchanges behind each p-value.
        seed: Seed of all that is random.

    The p-values of a run that was looked at before its end are NaN, as in `stability`.

    Raises:
        ValueError: a table that `stability` would refuse, or one without placebos and with one
            wording per persona.
    """
    check_settings(confidence, resamples)
    table = check(outcomes, placebos=True)
    if not has_prompts(table):
        raise ValueError("outcomes have no placebos, and one wording per persona: nothing to tell")
    early = early_of(table)
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    cells = Cells.count(table).scored_only()
    kinds = np.array(kinds_of(table, cells.personas), dtype=object)
    placebo, role = kinds == "placebo", ~np.isin(kinds, ("placebo", "control"))
    level = early.confidence(confidence) if early else confidence
    compared = cells.only(personas=role | placebo)
    beyond = beyond_placebo(compared, placebo[role | placebo], level, rngs[0])
    questions = cells.questions
    units = wording_counts(table, questions)
    placebos = set(np.array(cells.personas, dtype=object)[placebo])
    several = [
        each
        for name, each in by_persona(units).items()
        if name not in placebos and len(each.personas) > 1
    ]
    p = dict.fromkeys(("p_any", "p_wording", "p_persona", "p_placebo"), math.nan)
    if questions and not early:
        p["p_any"] = _exchanged([units], resamples, rngs[1])
        p["p_persona"] = _persona_beyond_wording(several, resamples, rngs[3])
        if several:
            p["p_wording"] = _exchanged(several, resamples, rngs[2])
        if placebo.sum() > 1:
            p["p_placebo"] = _exchanged([cells.only(personas=placebo)], resamples, rngs[4])
    conclusion, sentence = _conclude(beyond, **p)
    accuracy = cells.accuracy
    return PromptEffects(
        conclusion=conclusion,
        sentence=sentence,
        pss_beyond_placebo=beyond,
        **p,
        drawn=int(min(role.sum(), placebo.sum())),
        worst_persona=_worst(cells, accuracy, role),
        worst_placebo=_worst(cells, accuracy, placebo),
        n_personas=int(role.sum()),
        n_placebos=int(placebo.sum()),
        n_wordings=max((len(each.personas) for each in several), default=1),
        placebos=_placebo_table(cells, placebo, level),
        wordings=_wording_table(several, dict(zip(cells.personas, kinds, strict=True)), level),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


# ------------------------------------------------------------------------------ rows as cells
def placebos_in(table: pd.DataFrame) -> pd.Series:
    """The mask of the rows of placebos."""
    if "kind" not in table.columns:
        return pd.Series(False, index=table.index)
    return table["kind"] == "placebo"


def wording_counts(table: pd.DataFrame, questions: Sequence[str]) -> Cells:
    """The counts of each wording of each persona and placebo, in place of personas.

    Args:
        table: As `cells.check` gives it; one without a column wording has one wording per persona.
        questions: The questions to keep.
    """
    wording = table["wording"] if "wording" in table.columns else pd.Series(0, index=table.index)
    named = table["persona"] + "\0" + wording.astype(int).astype(str)
    units = Cells.count(table.assign(persona=named))
    return units.only(
        questions=np.isin(np.array(units.questions, dtype=object), list(questions)),
        personas=units.scored.any(axis=0),
    )


def by_persona(units: Cells) -> dict[str, Cells]:
    """The wordings of each persona, from `wording_counts`."""
    owners = np.array([name.partition("\0")[0] for name in units.personas], dtype=object)
    return {str(owner): units.only(personas=owners == owner) for owner in dict.fromkeys(owners)}


def placebo_counts(table: pd.DataFrame, questions: Sequence[str]) -> Cells:
    """The counts of the placebos on these questions."""
    cells = Cells.count(table)
    names = set(table.loc[placebos_in(table), "persona"])
    return cells.only(
        questions=np.isin(np.array(cells.questions, dtype=object), list(questions)),
        personas=[
            i for i, each in enumerate(cells.personas) if each in names and cells.scored[:, i].any()
        ],
    )


# ----------------------------------------------------------------------- the estimate and tests
def rarefied_worst(accuracies: Floats, k: int) -> Floats:
    """The expected lowest of k values drawn from the last axis without replacement.

    Exact, as in the lottery curve: the i-th lowest of n is the lowest of k in C(n - i, k - 1) of
    the C(n, k) draws.
    """
    n = accuracies.shape[-1]
    weights = np.array([comb(n - 1 - i, k - 1) for i in range(n)], dtype=float) / comb(n, k)
    worst: Floats = np.sort(accuracies, axis=-1) @ weights
    return worst


def beyond_placebo(
    cells: Cells, placebo: Any, confidence: float, rng: np.random.Generator
) -> Estimate:
    """Expected worst accuracy of k personas over that of k placebos, with its interval.

    The estimate is the median of draws as for the corrected PSS. The lowest of several noisy
    accuracies lies too low, and a prior that takes this out draws a single bad prompt towards the
    others. So each end of the interval errs to the wide side: the upper one draws the placebos as
    they were measured and the personas shrunken, the lower one the other way round.

    Args:
        cells: Personas and placebos, each with a scored response.
        placebo: The mask of the placebos.
        confidence: Level of the interval.
        rng: Where the draws come from.

    Returns:
        NaN without personas, placebos, or anything correct, and for a single question.
    """
    k = int(min(placebo.sum(), (~placebo).sum()))
    cells = cells.only(questions=cells.scored.any(axis=1))
    if not k or len(cells.questions) < 2 or not cells.correct.any():
        return UNKNOWN
    fit, weights = fit_crossed(cells), question_draws(len(cells.questions), rng)
    accuracy, variance = (np.tile(each, (CHAINS, 1)) for each in (fit.accuracy, fit.variance))

    def drawn(columns: Any, shrink: bool) -> Floats:
        return true_accuracies(accuracy[:, columns], variance[:, columns], rng, shrink=shrink)

    def ratio(personas: Floats, placebos: Floats) -> Floats:
        both = np.empty((*personas.shape[:2], len(placebo)))
        both[..., ~placebo], both[..., placebo] = personas, placebos
        found = on_other_questions(cells.personas, fit, both, weights).accuracy
        worst = [rarefied_worst(found[..., columns], k) for columns in (~placebo, placebo)]
        return worst[0] / np.maximum(worst[1], 1e-9)

    together = drawn(np.ones(len(placebo), dtype=bool), True)
    middle = float(np.median(ratio(together[..., ~placebo], together[..., placebo])))
    tail = (1 - confidence) / 2
    low = np.quantile(ratio(drawn(~placebo, False), drawn(placebo, True)), tail)
    high = np.quantile(ratio(drawn(~placebo, True), drawn(placebo, False)), 1 - tail)
    return Estimate(middle, min(float(low), middle), max(float(high), middle))


def _exchanged(groups: Sequence[Cells], resamples: int, rng: np.random.Generator) -> float:
    """P-value of the columns of each group being alike, exchanged within questions.

    The statistic is the variance of the accuracies, added up over the groups.
    """
    seen, null = 0.0, np.zeros(resamples)
    for group in groups:
        seen += float(np.nanvar(group.accuracy))
        null += np.nanvar(null_accuracies(group.correct, group.scored, resamples, rng), axis=1)
    return float((1 + np.count_nonzero(null >= seen - 1e-12)) / (1 + resamples))


def _persona_beyond_wording(
    several: Sequence[Cells], resamples: int, rng: np.random.Generator
) -> float:
    """P-value of what a persona's wordings have in common being chance.

    Accuracies stand in a table of personas x wordings. Its columns are shuffled one by one, so that
    what a certain length of prompt does is kept; the statistic is the variance of the row means.
    Personas with fewer wordings than the others take no part.
    """
    most = max((len(each.personas) for each in several), default=0)
    rows = np.array([each.accuracy for each in several if len(each.personas) == most])
    if len(rows) < 2:
        return math.nan
    seen = rows.mean(axis=1).var()
    shuffled = rng.permuted(np.broadcast_to(rows, (resamples, *rows.shape)), axis=1)
    null = shuffled.mean(axis=2).var(axis=1)
    return float((1 + np.count_nonzero(null >= seen - 1e-12)) / (1 + resamples))


def _conclude(
    beyond: Estimate, p_any: float, p_wording: float, p_persona: float, p_placebo: float
) -> tuple[Cause, str]:
    """The conclusion and its sentence."""
    placebos, wordings = not math.isnan(beyond), not math.isnan(p_wording)
    worse, same = beyond.high < 1, p_persona < LEVEL
    if not p_any < LEVEL:
        return "undetermined", "Nothing can be told: the system prompts may all do the same"
    if (worse or not placebos) and (same or not wordings):
        if not placebos:
            more = "whether other system prompts do so too was not asked (knob placebos)"
            return "persona", f"The persona: its wordings agree; {more}"
        more = "its wordings agree" if wordings else "one wording of each was asked (knob wording)"
        return "persona", f"The persona: the worst is worse than the worst placebo; {more}"
    if wordings and p_wording < LEVEL and not same:
        return "wording", "The wording: wordings of a persona differ, and have nothing in common"
    if placebos and not worse and p_placebo < LEVEL:
        return "any prompt", "Any system prompt: placebos differ from each other as well"
    what = "the worst persona may be no worse than the worst placebo"
    if worse or not placebos:
        what = "what the wordings of a persona have in common may be chance"
    return "undetermined", f"System prompts differ, but {what}"


# --------------------------------------------------------------------------------- tables
def _worst(cells: Cells, accuracy: Floats, chosen: Any) -> str:
    if not chosen.any():
        return ""
    where = np.flatnonzero(chosen)
    return str(cells.personas[int(where[np.nanargmin(accuracy[where])])])


def _placebo_table(cells: Cells, placebo: Any, confidence: float) -> pd.DataFrame:
    columns = ["placebo", "accuracy", "low", "high", "n"]
    if not placebo.any():
        return pd.DataFrame(columns=columns)
    own = cells.only(personas=placebo)
    low, high = accuracy_intervals(own, confidence)
    values = (own.personas, own.accuracy, low, high, own.scored.sum(axis=0))
    table = pd.DataFrame(dict(zip(columns, values, strict=True)))
    return table.sort_values(["accuracy", "placebo"], ascending=[False, True], ignore_index=True)


def _wording_table(
    several: Sequence[Cells], kinds: dict[str, str], confidence: float
) -> pd.DataFrame:
    columns = ["persona", "kind", "wording", "accuracy", "low", "high", "n"]
    rows = []
    for own in several:
        low, high = accuracy_intervals(own, confidence)
        for i, name in enumerate(own.personas):
            persona, _, wording = name.partition("\0")
            n = int(own.scored[:, i].sum())
            rows.append(
                (persona, kinds[persona], int(wording), own.accuracy[i], low[i], high[i], n)
            )
    return pd.DataFrame(rows, columns=columns)
