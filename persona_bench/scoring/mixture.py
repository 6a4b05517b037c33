"""The prior over personas: what noisy measurements of many personas say about the true values.

Each measurement is its true value plus normal noise of known variance. The true values come from a
mixture of `COMPONENTS` normal distributions whose shares, means and widths are unknown. A width of
exactly 0 has prior probability `ALIKE_PRIOR`, so that personas may be *identical*, all of them or
all but a few. That is what makes it survive the cases in which one normal distribution fails: one
harmful persona among many alike, two groups, no effect at all.

Gibbs sampling with the true values integrated out of all steps but the last, for many tables or
chains at once: a finite mixture as in Fruehwirth-Schnatter (2006, chapter 3), with shares that go
to 0 where nothing asks for a component (Rousseau and Mengersen 2011).
"""

from __future__ import annotations

import numpy as np

from persona_bench.scoring.resampling import Floats

COMPONENTS = 3
SHARES_PRIOR = 0.25
"""Dirichlet parameter of the shares; below 1 it empties components that nothing asks for."""
ALIKE_PRIOR = 0.6
"""Prior probability that a component's personas are all the same."""
BURN_IN = 50
WIDTHS = 10
"""Widths that a component may have, 0 among them."""


def draw_true(
    measured: Floats,
    variance: Floats,
    rng: np.random.Generator,
    *,
    draws: int,
    components: int = COMPONENTS,
) -> Floats:
    """Draws from the posterior of the true values, shape (draws, chains, personas).

    Args:
        measured: Shape (chains, personas): one table per chain, or the same table many times.
        variance: Of the noise, above 0, same shape.
        rng: Where the draws come from.
        draws: How many to keep of each chain, after `BURN_IN` that are thrown away.
        components: Normal distributions in the mixture.
    """
    chain = _Chains(measured, variance, components, rng)
    kept = np.empty((draws, *measured.shape))
    for step in range(BURN_IN + draws):
        chain.step()
        if step >= BURN_IN:
            kept[step - BURN_IN] = chain.true_values()
    return kept


class _Chains:
    """The state of the sampler. Axes: chains, personas, components, widths, in this order.

    All is in units of the chain's typical noise, around the median measurement.
    """

    def __init__(
        self,
        measured: Floats,
        variance: Floats,
        components: int,
        rng: np.random.Generator,
    ) -> None:
        self.rng = rng
        self.unit = np.sqrt(variance.mean(axis=1, keepdims=True))
        self.centre = np.median(measured, axis=1, keepdims=True)
        self.x = (measured - self.centre) / self.unit
        self.noise = variance / self.unit**2
        low, high = self.x.min(axis=1, keepdims=True), self.x.max(axis=1, keepdims=True)
        span = high - low
        # prior of a component's mean: anywhere among the measurements, and a little beyond
        self.middle, self.reach = (low + high) / 2, ((span + 2) / 2) ** 2
        steps = np.linspace(0, 1, WIDTHS - 1)
        self.widths = np.concatenate(
            [np.zeros_like(span), 0.2 * (np.maximum(span, 4) / 0.2) ** steps], axis=1
        )
        rest = (1 - ALIKE_PRIOR) / (WIDTHS - 1)
        self.log_prior = np.log(np.r_[ALIKE_PRIOR, np.full(WIDTHS - 1, rest)])
        # what every step needs of each persona and width, computed once
        self.total = self.noise[:, :, None] + self.widths[:, None, :] ** 2
        self.log_total = np.log(self.total)
        chains = len(measured)
        self.mean = low + span * rng.random((chains, components))
        self.mean[:, 0] = 0.0
        self.width = np.ones((chains, components))
        self.share = np.full((chains, components), 0.2)
        self.share[:, 0] = 1.0
        self.member = np.zeros(measured.shape, dtype=np.int64)

    def step(self) -> None:
        """One round: who belongs where, shares, widths, means."""
        self._draw_members()
        belongs = self.member[:, :, None] == np.arange(self.mean.shape[1])
        weight = self.rng.standard_gamma(SHARES_PRIOR + belongs.sum(axis=1)) + 1e-300
        self.share = weight / weight.sum(axis=1, keepdims=True)
        self._draw_widths(belongs.astype(float))
        self._draw_means(belongs)

    def true_values(self) -> Floats:
        """A draw of every persona's true value, shape (chains, personas), in the data's units."""
        mean = np.take_along_axis(self.mean, self.member, axis=1)
        spread = np.take_along_axis(self.width, self.member, axis=1) ** 2
        trust = spread / (spread + self.noise)
        noise = self.rng.standard_normal(self.x.shape) * np.sqrt(trust * self.noise)
        return self.centre + self.unit * (mean + trust * (self.x - mean) + noise)

    def _draw_members(self) -> None:
        variance = self.noise[:, :, None] + self.width[:, None, :] ** 2
        distance = (self.x[:, :, None] - self.mean[:, None, :]) ** 2
        log = np.log(self.share + 1e-300)[:, None, :]
        self.member = self._pick(log - 0.5 * (np.log(variance) + distance / variance))

    def _draw_widths(self, belongs: Floats) -> None:
        off = (self.x - np.take_along_axis(self.mean, self.member, axis=1)) ** 2
        log = -0.5 * (self.log_total + off[:, :, None] / self.total)
        log = belongs.transpose(0, 2, 1) @ log + self.log_prior
        self.width = np.take_along_axis(self.widths, self._pick(log), axis=1)

    def _draw_means(self, belongs: Floats) -> None:
        variance = self.noise[:, :, None] + self.width[:, None, :] ** 2
        precision = (belongs / variance).sum(axis=1) + 1 / self.reach
        pull = (belongs * self.x[:, :, None] / variance).sum(axis=1) + self.middle / self.reach
        noise = self.rng.standard_normal(pull.shape) / np.sqrt(precision)
        self.mean = pull / precision + noise

    def _pick(self, log: Floats) -> np.ndarray:
        """An index along the last axis, drawn with the given log weights."""
        weights = np.exp(log - log.max(axis=-1, keepdims=True)).cumsum(axis=-1)
        draw = self.rng.random((*log.shape[:-1], 1)) * weights[..., -1:]
        return (draw > weights).sum(axis=-1)
