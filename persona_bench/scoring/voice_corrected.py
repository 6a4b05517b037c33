"""How often responses are in voice, corrected for the judges' error by people's ratings.

    result = corrected_voice(outcomes, judged, ratings)
    print(result.rates)

Prediction-powered inference, as for fidelity (`ratings`): the judges' share, shrunk by `slope`,
plus what raters find more or less than that over the responses that they rated. Clustered by
question, as all rates of `voice` are. Formulas are in docs/metrics.md.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from persona_bench.benchmarks.voice import IN_VOICE
from persona_bench.scoring.fidelity_means import NO_SPREAD, Mean, t_interval
from persona_bench.scoring.ratings import FEWEST, CorrectedVoice
from persona_bench.scoring.resampling import Floats, Interval, influence_se, mean_interval
from persona_bench.scoring.voice import KEYS, joined, two_phase

CORRECTED = ("in_voice", "in_character")
"""The rates that ratings correct; a grader's verdict needs no rater."""


def corrected_voice(
    outcomes: pd.DataFrame,
    judged: pd.DataFrame,
    ratings: pd.DataFrame,
    *,
    confidence: float = 0.95,
) -> CorrectedVoice | None:
    """Corrects the share in voice, and in-character accuracy, for the judges' error.

    Args:
        outcomes: The tidy table of one model and task.
        judged: The judges' verdicts on the voice of these responses (`TaskResults.voice`).
        ratings: One row per rater and response: persona, question, sample, rating. The rated
            responses are a random part of all of them, or of those that were judged: then they
            count as the judged ones do.
        confidence: Level of the intervals.

    Returns:
        None where fewer than `FEWEST` responses are rated.
    """
    means = ratings.groupby(KEYS, as_index=False)["rating"].mean()
    rows = joined(outcomes, judged).merge(means, on=KEYS, how="left")
    rated = rows["rating"].notna().to_numpy()
    if rated.sum() < FEWEST:
        return None
    of_persona = pd.factorize(rows["persona"], sort=True)[0]
    size = np.bincount(of_persona)
    share = 1.0 / size[of_persona] / len(size)
    has_text = (rows["response"].fillna("x").astype(str).str.strip() != "").to_numpy()
    known, asked = rows["in_voice"].notna().to_numpy(), rows["asked"].notna()
    stands_for = np.ones(len(rows))
    if asked[rated].all():  # drawn from what the judges were asked about
        groups = asked.groupby(rows["group"])
        stands_for = (groups.transform("size") / groups.transform("sum")).to_numpy()
    counts = np.where(rated, share * stands_for, 0.0)
    counts *= share[has_text].sum() / counts.sum()
    people = (rows["rating"] >= IN_VOICE).astype(float)
    found = []
    for name in CORRECTED:
        right = 1.0 if name == "in_voice" else rows["correct"]
        said, seen = rows["in_voice"] * right, (people * right).to_numpy(float)
        by_persona, pulls = two_phase(rows, said, of_persona)
        of_group = said.groupby(rows["group"]).transform("mean")
        guess = said.fillna(of_group).fillna(said.mean()).to_numpy(float)
        slope = _slope(np.asarray(seen[rated], float), guess[rated])
        rest = np.where(rated, seen - slope * guess, 0.0)
        judges, correction = float(np.mean(by_persona)), float((counts * rest).sum())
        mean = correction / counts.sum()
        off = np.where(rated, rest - mean, 0.0) / (1 - _leverage(guess, rated))
        added = _by_question(rows, counts * off)
        alone = float((counts * seen).sum() / counts.sum())
        own = _by_question(rows, counts * np.where(rated, seen - alone, 0.0)) / counts.sum()
        parts = {
            "": (slope * judges + correction, slope * pulls + added),
            "judged": (judges, pulls),
            "rated": (alone, own),
        }
        row: dict[str, float | str] = {"rate": name}
        for part, (value, pull) in parts.items():
            questions = rows["question"] if part == "judged" else rows["question"][rated]
            low, high = _interval(value, pull.to_numpy(), questions.nunique(), confidence)
            names = (part or "value", *(f"{part}_{end}".strip("_") for end in ("low", "high")))
            row |= dict(zip(names, (min(1.0, max(0.0, value)), low, high), strict=True))
        found.append({**row, "slope": slope})
    return CorrectedVoice(
        pd.DataFrame(found), int(rated.sum()), int(known.sum()), int(has_text.sum()), confidence
    )


def _slope(seen: Floats, guess: Floats) -> float:
    """Least-squares slope of the raters' on the judges': the one with the least variance."""
    about = guess - guess.mean()
    square = float((about**2).sum())
    return float((about * seen).sum() / square) if square > 0 else 0.0


def _leverage(guess: Floats, rated: np.ndarray) -> Floats:
    """How much each rated response pulls mean and slope towards itself; 0 for the others.

    Residuals are divided by 1 less this, as in MacKinnon & White's HC3 (1985): with few ratings
    plain ones are too small.
    """
    about = np.where(rated, guess - guess[rated].mean(), 0.0)
    square = float((about**2).sum())
    pull = about**2 / square if square > 0 else np.zeros(len(about))
    return np.where(rated, np.minimum(1 / rated.sum() + pull, 0.5), 0.0)


def _by_question(rows: pd.DataFrame, added: Floats) -> pd.Series:
    return pd.Series(added).groupby(rows["question"].to_numpy()).sum()


def _interval(value: float, pulls: Floats, n: int, confidence: float) -> Interval:
    """Student's t within 0 and 1; Wilson's on `n` questions where nothing varies."""
    se = influence_se(pulls)
    if not se > NO_SPREAD:
        return mean_interval(min(1.0, max(0.0, value)), 0.0, n, confidence)
    return t_interval(Mean(value, se, n - 1, n), confidence, 0.0, 1.0)
