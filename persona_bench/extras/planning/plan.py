"""What a design can tell, before a single response is paid for.

    assumed = Assumptions(accuracy=0.4, persona_sd=0.2)
    print(forecast(assumed, Design(questions=500, personas=16, samples=1)))
    print(designs_for(assumed, personas=16, most_questions=500, detect=0.9))

The model: logit P(correct) = level + question + persona + persona x question, the last three
normal and independent. Standard errors are closed forms in its moments (integrals by
Gauss-Hermite quadrature); the extremes over personas are simulated, seeded, with personas'
accuracies as normal around their means. docs/planning.md says how to read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.corrected import corrected_pss
from persona_bench.scoring.resampling import Floats, worst_over_best

ALPHA, POWER, CONFIDENCE = 0.05, 0.8, 0.95
DRAWS = 4000
SAMPLES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Assumptions:
    """A model and a benchmark; the sds are in log-odds.

    `question_sd` 1.5 spreads questions as widely as benchmarks of mixed difficulty do;
    `interaction_sd` is how much a persona's effect varies from question to question.
    """

    accuracy: float
    question_sd: float = 1.5
    persona_sd: float = 0.0
    interaction_sd: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy={self.accuracy} must lie between 0 and 1")
        for name in ("question_sd", "persona_sd", "interaction_sd"):
            if not 0 <= getattr(self, name) <= 10:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 10 log-odds")


@dataclass(frozen=True)
class Design:
    """How much is asked: each of `personas`, each of `questions`, `samples` times."""

    questions: int
    personas: int
    samples: int = 1

    def __post_init__(self) -> None:
        for name, least in (("questions", 2), ("personas", 2), ("samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}, but at least {least} is needed")

    @property
    def responses(self) -> int:
        return self.questions * self.personas * self.samples


class Moments(NamedTuple):
    """A persona's mean accuracy and where the variance of one response comes from.

    Arrays where the effect is one; variances add up to mean * (1 - mean).
    """

    mean: Floats
    question: Floats
    """Between questions, common to all personas."""
    interaction: Floats
    """Between questions, a persona's own."""
    cell: Floats
    """Between samples of one persona on one question."""


def _nodes(n: int) -> tuple[Floats, Floats]:
    x, w = np.polynomial.hermite_e.hermegauss(n)
    return x, w / w.sum()


def level_of(assumed: Assumptions) -> float:
    """The level, in log-odds, at which a persona without effect has the assumed accuracy."""
    x, w = _nodes(61)
    sd = math.hypot(assumed.question_sd, assumed.interaction_sd)
    return float(brentq(lambda level: w @ expit(level + sd * x) - assumed.accuracy, -60, 60))


def moments(assumed: Assumptions, effect: Floats | float = 0.0) -> Moments:
    """Moments of personas with these effects, in log-odds."""
    effect = np.asarray(effect, dtype=float)
    (z, wz), (i, wi) = _nodes(41), _nodes(21)
    logit = level_of(assumed) + assumed.question_sd * z[:, None] + assumed.interaction_sd * i
    p = expit(logit + effect[..., None, None])
    by_question = p @ wi
    mean = by_question @ wz
    square = (by_question**2) @ wz
    # rounding may leave -1e-17 where there is no interaction
    interaction = np.maximum((p**2) @ wi @ wz - square, 0.0)
    return Moments(mean, square - mean**2, interaction, (p * (1 - p)) @ wi @ wz)


class Errors(NamedTuple):
    """Standard errors of one persona's accuracy, as a share."""

    asked: float
    """As an estimate of its expected accuracy on the questions asked: sqrt(cell / (Q k))."""
    population: float
    """On questions like these: sqrt((question + interaction + cell / k) / Q). More samples
    help it only down to the first two."""


def accuracy_errors(assumed: Assumptions, design: Design) -> Errors:
    m = moments(assumed)
    cell = m.cell / design.samples
    return Errors(
        float(np.sqrt(cell / design.questions)),
        float(np.sqrt((m.question + m.interaction + cell) / design.questions)),
    )


# ------------------------------------------------------------ extremes over personas


def _noise(m: Moments, design: Design) -> Floats:
    """Sd of a persona's accuracy around the others: what they share cancels in a ratio."""
    return np.sqrt((m.interaction + m.cell / design.samples) / design.questions)


def _seen_accuracies(assumed: Assumptions, design: Design, effects: Floats, z: Floats) -> Floats:
    """Accuracies that tables show; `effects` and `z`, their noise, broadcast together."""
    mean, m, grid = _means(assumed, effects)
    return np.clip(mean + np.interp(effects, grid, _noise(m, design)) * z, 0, 1)


def _normals(design: Design, seed: int) -> tuple[Floats, Floats]:
    one, other = np.random.default_rng(seed).normal(size=(2, DRAWS, design.personas))
    return one, other


def noise_floor(assumed: Assumptions, design: Design, seed: int = 0) -> float:
    """Mean PSS if personas had no effect."""
    z, _ = _normals(design, seed)
    return float(worst_over_best(_seen_accuracies(assumed, design, np.zeros(1), z)).mean())


def smallest_detected(
    assumed: Assumptions, design: Design, *, kind: str = "one", seed: int = 0
) -> float:
    """The true PSS that is found below its noise floor (5%) with 80% power.

    `kind` "one": one bad persona among equal ones; "normal": normally spread effects, the
    mean true PSS. 0.0 where even an accuracy of 0 is not detected.
    """
    if kind not in ("one", "normal"):
        raise ValueError(f"kind={kind!r} must be 'one' or 'normal'")
    z, drawn = _normals(design, seed)
    equal = _seen_accuracies(assumed, design, np.zeros(1), z)
    threshold = np.quantile(worst_over_best(equal), ALPHA)
    low, high = equal[:, 1:].min(axis=1), equal[:, 1:].max(axis=1)

    def seen(size: float) -> Floats:
        if kind == "normal":
            return worst_over_best(_seen_accuracies(assumed, design, size * drawn, z))
        bad = _seen_accuracies(assumed, design, np.array([-size]), z[:, 0])
        return np.minimum(low, bad) / np.maximum(np.maximum(high, bad), 1e-12)

    def lacking(size: float) -> float:
        return float(np.mean(seen(size) < threshold)) - POWER

    largest = 12.0
    if lacking(largest) < 0:
        return 0.0
    size = brentq(lacking, 0.0, largest, xtol=1e-3)
    effects = size * drawn if kind == "normal" else np.array([-size, 0.0])
    return float(worst_over_best(_means(assumed, effects)[0]).mean())


def _means(assumed: Assumptions, effects: Floats) -> tuple[Floats, Moments, Floats]:
    """Expected accuracies of many effects, by interpolation, and what they were read off."""
    grid = np.linspace(effects.min() - 0.01, effects.max() + 0.01, min(80, 2 + 2 * effects.size))
    m = moments(assumed, grid)
    return np.interp(effects, grid, m.mean), m, grid


# ------------------------------------------------------------ widths


def mean_half_width(assumed: Assumptions, design: Design) -> float:
    """Expected half-width of the 95% interval of the mean accuracy, questions redrawn."""
    m = moments(assumed)
    own = (m.interaction + m.cell / design.samples) / design.personas
    return float(norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt((m.question + own) / design.questions))


def draw_cells(assumed: Assumptions, design: Design, rng: np.random.Generator) -> Cells:
    """A table as the model would give it."""
    shape = (design.questions, design.personas)
    logit = level_of(assumed) + assumed.question_sd * rng.normal(size=(shape[0], 1))
    logit = logit + assumed.persona_sd * rng.normal(size=shape[1])
    logit = logit + assumed.interaction_sd * rng.normal(size=shape)
    n = np.full(shape, design.samples)
    names = [str(i) for i in range(max(shape))]
    correct = rng.binomial(n, expit(logit))
    return Cells(names[: shape[0]], names[: shape[1]], n, n, correct)


def pss_half_width(
    assumed: Assumptions, design: Design, *, tables: int = 8, chains: int = 16, seed: int = 0
) -> float:
    """Expected half-width of the 95% interval that `stability` prints for the corrected PSS.

    NaN where not a single one of the simulated tables has a correct response.
    """
    rng = np.random.default_rng(seed)
    widths = []
    for _ in range(tables):
        cells = draw_cells(assumed, design, rng)
        low, high = corrected_pss(cells, CONFIDENCE, rng, chains=chains).interval
        widths.append((high - low) / 2)
    return float(np.nanmean(widths)) if not np.isnan(widths).all() else math.nan


@dataclass(frozen=True)
class Forecast:
    """What one design is expected to show; accuracies and PSS are shares."""

    design: Design
    se_asked: float
    """Standard error of a persona's accuracy on the questions asked."""
    se_population: float
    """The same for questions like these."""
    noise_floor: float
    """PSS expected of a model on which personas have no effect."""
    detected_one: float
    """Largest true PSS found with 80% power at 5%: one bad persona among equal ones."""
    detected_normal: float
    """The same, normally spread persona effects."""
    mean_half_width: float
    pss_half_width: float


def forecast(assumed: Assumptions, design: Design, seed: int = 0) -> Forecast:
    """All that `persona-bench plan` says of a design."""
    return Forecast(
        design,
        *accuracy_errors(assumed, design),
        noise_floor=noise_floor(assumed, design, seed),
        detected_one=smallest_detected(assumed, design, kind="one", seed=seed),
        detected_normal=smallest_detected(assumed, design, kind="normal", seed=seed),
        mean_half_width=mean_half_width(assumed, design),
        pss_half_width=pss_half_width(assumed, design, seed=seed),
    )


# ------------------------------------------------------------ from a wanted precision


def designs_for(
    assumed: Assumptions,
    *,
    personas: int,
    most_questions: int,
    pss_within: float | None = None,
    detect: float | None = None,
    seed: int = 0,
) -> list[Design]:
    """For each number of samples the fewest questions that reach the precision; cheapest first.

    Exactly one of `pss_within` (half-width of the PSS's interval) and `detect` (a true PSS,
    one bad persona among equal ones, 80% power). Empty where no design within
    `most_questions` and 32 samples does.
    """
    check_wish(pss_within, detect)

    def enough(questions: int, samples: int) -> bool:
        design = Design(questions, personas, samples)
        if detect is not None:
            return smallest_detected(assumed, design, seed=seed) >= detect
        assert pss_within is not None
        return pss_half_width(assumed, design, tables=4, chains=8, seed=seed) <= pss_within

    designs = []
    for samples in SAMPLES:
        questions = _fewest(lambda n, k=samples: enough(n, k), most_questions)  # type: ignore[misc]
        if questions is not None:
            designs.append(Design(questions, personas, samples))
            if questions <= 10:
                break
    return sorted(designs, key=lambda design: design.responses)


def check_wish(pss_within: float | None, detect: float | None) -> None:
    """Raises a ValueError unless exactly one precision is wanted, and a possible one."""
    if (pss_within is None) == (detect is None):
        raise ValueError("give either pss_within or detect: one wanted precision at a time")
    for name, value in (("pss_within", pss_within), ("detect", detect)):
        if value is not None and not 0 < value < 1:
            raise ValueError(f"{name}={value} must lie between 0 and 1")


def _fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """Bisection, to within about 4% of the number."""
    if most < 5 or not enough(most):
        return None
    low, high = 5, most
    while high - low > max(1, 0.04 * high):
        middle = round(math.sqrt(low * high))
        middle = min(max(middle, low + 1), high - 1)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
