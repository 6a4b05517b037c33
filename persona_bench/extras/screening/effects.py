"""What the true effects of many personas may be, given noisy estimates of them.

The largest of 64 noisy effects is mostly noise. Here the distribution of the true effects is
learnt from the estimates themselves, and each effect is then drawn from its posterior, so that
the extremes come out as large as the data can bear. Two families of distributions; a single
normal would shrink one harmful persona among many alike, and stretch two groups of alike ones:

- *spread*: normal with sd tau, where some personas may be outliers, N(0, tau^2 + 2^2). It is
  averaged over tau and the share of outliers (Bayes, on a grid, half of the prior at tau = 0),
  as a handful of estimates rarely tells no effect from a weak one;
- *free*: point masses anywhere, by nonparametric maximum likelihood (Kiefer & Wolfowitz 1956;
  on a grid by EM, as Jiang & Zhang 2009).

Draws come from each in proportion to its likelihood, the free one at the price that BIC puts
on two more point masses, 2 log(number of personas).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logsumexp

from persona_bench.scoring.resampling import Floats

TAUS = np.r_[0.0, np.geomspace(0.04, 2.5, 24)]
OUTLIER_SD = 2.0
"""In log-odds, as a harmful persona's effect may be."""


class Mixture(NamedTuple):
    """Normal components: `mean`, `sd` (components,), and `share` (personas, components)."""

    mean: Floats
    sd: Floats
    share: Floats
    log_likelihood: float


def draw_effects(effect: Floats, se: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """True effects, shape (draws, personas), given their estimates and standard errors."""
    spread, weight = spread_mixtures(effect, se)
    free = free_mixture(effect, se)
    evidence = logsumexp([m.log_likelihood for m in spread], b=weight)
    to_free = expit(free.log_likelihood - 2 * np.log(len(effect)) - evidence)
    posterior = weight * np.exp([m.log_likelihood - evidence for m in spread])
    each = rng.multinomial(draws, np.r_[(1 - to_free) * posterior / posterior.sum(), to_free])
    families = [*spread, free]
    return np.concatenate(
        [_draw(effect, se, m, n, rng) for m, n in zip(families, each, strict=True) if n]
    )


def _draw(
    effect: Floats, se: Floats, mixture: Mixture, draws: int, rng: np.random.Generator
) -> Floats:
    chance = rng.random((draws, len(effect), 1))
    which = (chance > mixture.share.cumsum(axis=1)).sum(axis=2)
    which = np.minimum(which, len(mixture.mean) - 1)
    mean, variance = mixture.mean[which], mixture.sd[which] ** 2
    pull = variance / (variance + se**2)
    middle = mean + pull * (effect - mean)
    return middle + np.sqrt(pull) * se * rng.normal(size=middle.shape)


def spread_mixtures(effect: Floats, se: Floats) -> tuple[list[Mixture], Floats]:
    """The spread family: a mixture for each tau and share of outliers, and their prior weights.

    Without outliers, and with one or two expected among all. The centre is the most likely
    one for each (a few steps of EM).
    """
    prior = np.r_[0.5, np.full(len(TAUS) - 1, 0.5 / (len(TAUS) - 1))]
    mixtures, weights = [], []
    for outliers, outlier_weight in ((0.0, 0.6), (1.0, 0.3), (2.0, 0.1)):
        share = np.array([1 - outliers / len(effect), outliers / len(effect)])
        for tau, tau_weight in zip(TAUS, prior, strict=True):
            sds = np.array([tau, np.hypot(tau, OUTLIER_SD)])
            mixtures.append(_around_a_centre(effect, se, sds, share))
            weights.append(outlier_weight * tau_weight)
    return mixtures, np.array(weights)


def _around_a_centre(effect: Floats, se: Floats, sds: Floats, weight: Floats) -> Mixture:
    variance = se[:, None] ** 2 + sds**2
    centre = float(np.median(effect))
    for _ in range(8):
        joint = weight * _density(effect[:, None] - centre, variance)
        share = joint / joint.sum(axis=1, keepdims=True)
        precision = share / variance
        centre = float((precision * effect[:, None]).sum() / precision.sum())
    return Mixture(np.full(2, centre), sds, share, float(np.log(joint.sum(axis=1)).sum()))


def free_mixture(effect: Floats, se: Floats) -> Mixture:
    """The free family: weights of point masses on a grid over the estimates."""
    points = 40
    places = np.linspace(effect.min() - 0.1, effect.max() + 0.1, points)
    density = _density(effect[:, None] - places, se[:, None] ** 2)
    weight = np.full(points, 1 / points)
    for _ in range(400):
        joint = density * weight
        share = joint / joint.sum(axis=1, keepdims=True)
        weight = share.mean(axis=0)
    return Mixture(places, np.zeros(points), share, float(np.log(joint.sum(axis=1)).sum()))


def _density(x: Floats, variance: Floats) -> Floats:
    """The density of N(0, variance); never quite 0, so that an outlying estimate has a share."""
    return np.exp(-0.5 * x**2 / variance) / np.sqrt(2 * np.pi * variance) + 1e-300
