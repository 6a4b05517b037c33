"""The variance parts as functions of weighted sums over questions, all replicates at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.resampling import Floats


class Moments:
    """Unbiased estimates of the parts from weighted sums over questions.

    Personas that have the same questions form a class: over a pair of classes all sums of
    products are one product of sums, so that a full table needs no matrix of personas.
    """

    width: int
    """Columns that the weights are multiplied with."""

    def __init__(self, cells: Cells) -> None:
        is_scored = cells.scored > 0
        self.share = np.divide(
            cells.correct, cells.scored, out=np.zeros(is_scored.shape), where=is_scored
        )
        patterns, member = np.unique(is_scored, axis=1, return_inverse=True)
        self.member = np.eye(patterns.shape[1])[member.ravel()]  # (personas, classes)
        self.size = self.member.sum(axis=0)
        self.there = patterns.astype(float)
        squares = np.divide(
            cells.squares, cells.scored, out=np.zeros(is_scored.shape), where=is_scored
        )
        self.square = squares @ self.member  # of single responses; verdicts are their own squares
        self.squares = self.share**2 @ self.member
        sums = self.share @ self.member
        self.g, self.h = g, h = np.triu_indices(len(self.size))
        self.same = g == h
        # over ordered pairs of different personas, the first of class g and the second of h
        self.pairs = self.size[g] * (self.size[h] - self.same)
        self.products = (sums[:, g] * sums[:, h] - self.same * self.squares[:, g]) / self._pairs
        self.both = self.there[:, g] * self.there[:, h]
        # noise of one sample, from the cells that have at least two; of verdicts
        # c (n - c) / (n (n - 1))
        n = cells.scored
        self.repeated: Floats = np.where(n > 1, 1.0, 0.0)
        self.noise = np.where(n > 1, cells.sampling_variance * n, 0.0)
        self.separable = bool(n.size) and bool(self.repeated.any(axis=0).all())
        self.personas = n.shape[1] or np.nan  # so that means over nobody are NaN
        self.width = 2 * self.products.shape[1] + 3 * n.shape[1]

    @property
    def _pairs(self) -> Floats:
        return np.maximum(self.pairs, 1)

    def persona(self, weights: Floats) -> Floats:
        """The persona part alone, shape (replicates,); 0 for a single persona."""
        own, other = self._squared_means(weights)
        if self.personas == 1:
            return 0 * own
        return (own - self._mean(other)) * (1 - 1 / self.personas)

    def __call__(self, weights: Floats) -> Floats:
        """Shape (replicates, 6), in the order of the first six of `PARTS`.

        `weights` has shape (replicates, questions): how often each question counts. Products
        of a question with itself never enter, however often it is drawn.
        """
        mean = ratio(weights @ self.square, weights @ self.there).sum(axis=1)
        mean = mean / self.personas
        own, other = self._squared_means(weights)
        question = self._mean(ratio(weights @ self.products, weights @ self.both) - other)
        persona = self.persona(weights)
        rest = mean - own - question
        noise = np.full(len(mean), np.nan)
        if self.separable:
            noise = _mean(ratio(weights @ self.noise, weights @ self.repeated))
        return np.stack([question, persona, rest - noise, noise, rest, persona + mean - own], 1)

    def _squared_means(self, weights: Floats) -> tuple[Floats, Floats]:
        """Products of expected accuracies, from different questions.

        The mean of acc[p]^2 over personas, shape (replicates,), and that of acc[p] acc[p'] over
        different personas of each pair of classes.
        """
        squared, g, h = weights**2, self.g, self.h
        x, n = weights @ self.share, weights @ self.there
        sums, squares = x @ self.member, x**2 @ self.member
        own = ratio(squares - squared @ self.squares, n**2 - squared @ self.there)
        top = (sums[:, g] * sums[:, h] - self.same * squares[:, g]) / self._pairs
        other = ratio(top - squared @ self.products, n[:, g] * n[:, h] - squared @ self.both)
        return own.sum(axis=1) / self.personas, other

    def _mean(self, values: Floats) -> Floats:
        """The mean over pairs of different personas, from the means of each pair of classes."""
        return _mean(values, self.pairs * (2 - self.same))


def ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, NaN where nothing is below the line."""
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _mean(values: Floats, weights: Any = 1.0) -> Floats:
    """Along the last axis, of what is known; NaN where nothing is."""
    counts = ~np.isnan(values) * weights
    return ratio((np.nan_to_num(values) * counts).sum(axis=1), counts.sum(axis=1))
