"""A model of single cells: how easy each question is, and how much each persona helps.

    P(correct) = logistic(ease of the question + effect of the persona)

Eases follow a free distribution on a grid, estimated by nonparametric maximum likelihood (Laird
1978) with its ends standing for questions that are always right or always wrong. The effects'
likelihood has the eases integrated out, so that missing cells and unequal numbers of samples need
no special case; on a complete table the fitted accuracies are the observed ones.

Scores between 0 and 1 are fitted as fractions of verdicts (the fractional logit of Papke and
Wooldridge 1996), which their means allow. They vary less than verdicts do: how much less, the
questions show in a first fit, and in the second a score counts as that many verdicts.

The model has no persona x question interaction. Where there is one, or where the samples of a cell
are alike, single responses are less independent than the model says. The errors are therefore
widened by what the questions show: a sandwich over questions (Huber 1967, White 1982), pooled over
personas (for scores, each persona's own where it is larger). So interaction counts as noise,
whatever the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, log_expit

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.resampling import Counts, Floats

EASES = np.arange(-9.0, 9.01, 0.5)
"""Grid of question eases in log-odds; at its ends responses are always wrong or always right."""

EFFECT_SD = 5.0
"""Prior of a persona's effect in log-odds: too wide to shrink, it keeps 0 of n finite."""

START_SD = 2.5
"""Of the normal distribution of eases that the fit starts from, in log-odds. With few cells per
question the free distribution would become too polar if it started flat, and its errors too small;
the limited number of rounds keeps it from getting there (early stopping)."""

ROUNDS = 40
NEWTON_ROUNDS = 4

MOST_WORTH = 50.0
"""Verdicts that a score counts as at most."""

UNSEEN = 0.5
"""Disagreements that count as seen where fewer were: that personas agree on all of a few questions
doesn't prove that nothing is noise."""


@dataclass(frozen=True)
class Crossed:
    """The fit. Personas and questions are in the order of the cells that were given."""

    effect: Floats
    """Of each persona in log-odds, adding up to 0."""
    accuracy: Floats
    """Of each persona, expected over the distribution of eases."""
    variance: Floats
    """Of the error of each accuracy that it does not share with the other personas."""
    eases: Floats
    """Posterior of each question's ease, shape (questions, len(EASES)), rows adding up to 1."""
    overdispersion: float
    """Mean square of the questions' scores, over what independent responses would give."""
    missing_variance: float
    """Of a persona's plain accuracy, because it lacks some of the questions; 0 where none does."""

    def accuracies(self, effect: Floats, weights: Floats) -> Floats:
        """Expected accuracies of some effects, shape (samples of questions, effects).

        `weights`, shape (samples of questions, questions), says how much each question counts.
        """
        curves: Floats = weights @ self.eases @ expit(EASES[:, None] + effect)
        return curves


def fit_crossed(cells: Cells) -> Crossed:
    """Fits the model to cells of which every question and every persona has a scored response.

    Raises ValueError for fewer than two personas.
    """
    if len(cells.personas) < 2:
        raise ValueError("a crossed model needs at least two personas")
    correct, scored = cells.correct.astype(float), cells.scored.astype(float)
    if cells.has_verdicts:
        return _fit(correct, scored, least=1.0, size=1.0)
    size = float(cells.correct.sum() / cells.scored.sum()) ** 2  # of a score of 0
    worth = 1 / np.clip(
        _fit(correct, scored, least=0.0, size=size).overdispersion, 1 / MOST_WORTH, 1
    )
    return _fit(correct * worth, scored * worth, least=0.0, size=size)


def _fit(correct: Floats, scored: Floats, *, least: float, size: float) -> Crossed:
    """See `fit_crossed`.

    Args:
        correct: How much of each cell is correct.
        scored: How many verdicts each cell has; scores count as fewer or more of them.
        least: Lowest overdispersion.
        size: Square of a disagreement that was not seen.
    """
    personas = correct.shape[1]
    start = (correct.sum(axis=0) + 0.5) / (scored.sum(axis=0) + 1)
    effect = np.log(start / (1 - start))
    effect -= effect.mean()
    group = _alike(scored)
    smooth = np.exp(-0.5 * ((EASES - np.log(start / (1 - start)).mean()) / START_SD) ** 2)
    share = np.tile(smooth / smooth.sum(), (len(correct), 1))
    for step in range(ROUNDS):
        eases = _posterior(correct, scored, effect, share)
        for members in group:
            share[members] = eases[members].mean(axis=0)
        right, asked = correct.T @ eases, scored.T @ eases
        p = expit(EASES + effect[:, None])
        slope = (right - asked * p).sum(axis=1) - effect / EFFECT_SD**2
        curve = (asked * p * (1 - p)).sum(axis=1) + EFFECT_SD**-2
        move = slope / curve
        if step >= ROUNDS - NEWTON_ROUNDS:
            move = np.linalg.solve(_information(scored, eases, p, curve) + curve.mean(), slope)
        effect = effect + np.clip(move, -1, 1)
        effect -= effect.mean()
    eases = _posterior(correct, scored, effect, share)
    p = expit(EASES + effect[:, None])
    curve = (scored.T @ eases * p * (1 - p)).sum(axis=1) + EFFECT_SD**-2
    # only contrasts are determined: a common shift of the effects is one of the eases
    centred = np.eye(personas) - 1 / personas
    information = centred @ _information(scored, eases, p, curve) @ centred
    covariance = centred @ np.linalg.inv(information + curve.mean() / personas) @ centred
    score, own = correct - scored * (eases @ p.T), np.diag(covariance)
    pooled = float(_squares(((score @ covariance) * score).sum(axis=1))) / (personas - 1)
    overdispersion = pooled if score.any() else least
    spread: Any = max(least, overdispersion)
    if not least:  # nothing ties how far a persona's scores vary to their mean
        spread = np.maximum(spread, _squares((score @ covariance) ** 2) / own)
    mean_ease = eases.mean(axis=0)
    error = _own_variance(own * spread)
    error = error * (p * (1 - p) @ mean_ease) ** 2  # from log-odds to accuracy
    accuracy = p @ mean_ease
    questions = (scored > 0).sum(axis=0)
    lowest = UNSEEN * size / 2 / questions / (questions + 1)
    most = np.maximum(accuracy * (1 - accuracy), 1e-9) / questions  # one response per question
    return Crossed(
        effect=effect,
        accuracy=accuracy,
        variance=np.minimum(np.maximum(error, lowest), most),
        eases=eases,
        overdispersion=overdispersion,
        missing_variance=float(
            (eases @ p.T).mean(axis=1).var() * (1 / questions - 1 / len(eases)).mean()
        ),
    )


def _posterior(correct: Floats, scored: Floats, effect: Floats, share: Floats) -> Floats:
    """Of each question's ease, shape (questions, len(EASES)); `share` is the prior, same shape."""
    up, down = log_expit(EASES + effect[:, None]), log_expit(-EASES - effect[:, None])
    log = correct @ up + (scored - correct) @ down + np.log(share + 1e-12)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    posterior: Floats = weight / weight.sum(axis=1, keepdims=True)
    return posterior


def _alike(scored: Floats) -> list[Counts]:
    """Questions in up to three groups by how many cells are scored.

    Each group has its own distribution of eases: where responses to hard questions are lost more
    often, that a cell is missing says how hard its question is.
    """
    cells = (scored > 0).sum(axis=1)
    group = np.searchsorted(np.quantile(cells, [1 / 3, 2 / 3]), cells, side="right")
    return [np.flatnonzero(group == value) for value in np.unique(group)]


def _information(scored: Floats, eases: Floats, p: Floats, curve: Floats) -> Floats:
    """Observed information of the effects: the complete one less the missing one (Louis 1982)."""
    expected = scored * (eases @ p.T)
    information: Floats = np.diag(curve) + expected.T @ expected
    for k in range(EASES.size):
        reached = scored * p[:, k]
        information -= (reached * eases[:, k, None]).T @ reached
    return information


def _squares(of_question: Floats) -> Floats:
    """Sum of the questions' squares (axis 0), with a correction for how few they are.

    Few questions carry most of the information where most are always right or always wrong; so the
    usual correction n / (n - 1) takes the effective number of questions.
    """
    total = of_question.sum(axis=0)
    effective = total**2 / np.maximum((of_question**2).sum(axis=0), 1e-300)
    corrected: Floats = total * effective / np.maximum(effective - 1, 1)
    return corrected


def _own_variance(contrast: Floats) -> Floats:
    """Variances of independent errors from those of their differences to their mean."""
    n = contrast.size
    total = float(contrast.sum()) / (1 - 1 / n)
    own = (contrast - total / n**2) / (1 - 2 / n) if n > 2 else np.full(n, total / n)
    least: Floats = np.maximum(own, 1e-3 * total / n)
    return least
