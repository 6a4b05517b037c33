"""Stored runs, scored: what a report of one or several models is made of."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import pandas as pd

from persona_bench.scoring.fidelity import Fidelity, fidelity
from persona_bench.scoring.groups import scores_by_group
from persona_bench.scoring.ratings import hold_against_raters
from persona_bench.scoring.sensitivity import GraderSensitivity
from persona_bench.scoring.stability import Stability, stability
from persona_bench.scoring.voice import Voice, VoiceComparison, VoiceError, compare_voice, voice
from persona_bench.scoring.voice_corrected import corrected_voice
from persona_bench.scoring.wordings import PromptEffects, has_prompts, prompt_effects


@dataclass(frozen=True)
class Settings:
    """Settings of the intervals and tests.

    Attributes:
        confidence: Level of the intervals.
        resamples: Bootstrap replicates, exchanges, flips and swaps.
        seed: Seed of all that is random.
    """

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Scored:
    """The numbers of one model on one graded task."""

    stability: Stability
    groups: pd.DataFrame
    """A row for each kind of persona, level and subject (`scoring.groups`)."""
    by_level: Mapping[str, Stability]
    """Stability on the questions of each level; empty with fewer than two levels."""
    sensitivity: GraderSensitivity | None = None
    """What a strict grader would give; None where routes are not recorded, or not asked for."""
    prompts: PromptEffects | None = None
    """Persona, wording or any prompt; None where one wording and no placebo was asked."""
    voice: Voice | None = None
    """How often responses are right and in character; None where no judge was asked."""


def scored_outcomes(outcomes: pd.DataFrame, settings: Settings) -> Scored:
    """Stability, the table of groups, and stability level by level."""
    told = asdict(settings)
    with warnings.catch_warnings():  # they are in the notes
        warnings.simplefilter("ignore")
        return Scored(
            stability(outcomes, **told),
            scores_by_group(outcomes, **told),
            stability_by_level(outcomes, settings),
        )


def stability_by_level(outcomes: pd.DataFrame, settings: Settings) -> dict[str, Stability]:
    """Stability on the questions of each level; empty with fewer than two levels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = {
            str(level): stability(rows, **asdict(settings))
            for level, rows in outcomes.groupby("level", sort=True)
            if str(level)
        }
    return levels if len(levels) > 1 else {}


def scored_prompts(outcomes: pd.DataFrame, settings: Settings) -> PromptEffects | None:
    """Persona, wording or any prompt; None where one wording and no placebo was asked."""
    return prompt_effects(outcomes, **asdict(settings)) if has_prompts(outcomes) else None


def scored_verdicts(verdicts: pd.DataFrame, settings: Settings) -> Fidelity:
    """Fidelity of one model on one task."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fidelity(verdicts, confidence=settings.confidence)


def scored_voice(
    outcomes: pd.DataFrame,
    judged: pd.DataFrame | None,
    confidence: float = 0.95,
    ratings: pd.DataFrame | None = None,
) -> Voice | None:
    """How often one model is right and in character; None, with a warning if there are judgements,
    where that can't be told.

    With people's ratings of these responses (`judge.raters.ratings_of`) also what they say of the
    judges, and the rates corrected by them.
    """
    if judged is None:
        return None
    try:
        found = voice(outcomes, judged, confidence=confidence)
    except VoiceError as error:
        warnings.warn(f"no in-character accuracy: {error}", stacklevel=2)
        return None
    if ratings is None or ratings.empty:
        return found
    return replace(
        found,
        raters=hold_against_raters(judged, ratings, confidence=confidence),
        corrected=corrected_voice(outcomes, judged, ratings, confidence=confidence),
    )


def compared_voice(a: Voice | None, b: Voice | None) -> VoiceComparison | None:
    """Two models' voices on one task.

    None where one of them is not judged; and with a warning where they can't be compared.
    """
    if a is None or b is None:
        return None
    try:
        return compare_voice(a, b)
    except VoiceError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
