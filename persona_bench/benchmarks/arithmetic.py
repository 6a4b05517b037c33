"""Arithmetic: sums and word problems generated from a seed, at five levels.

Written for this project; needs no download and has no training-set overlap to fear, as
every seed makes new questions. Every answer is a whole number of at least 0.

    lm_eval --model hf --model_args pretrained=... --tasks persona_arithmetic --apply_chat_template
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from persona_bench.benchmarks.base import Benchmark, Question
from persona_bench.grading.maths import GRADER, grade_all

PER_LEVEL = 40
MOST = {"1": PER_LEVEL}  # one-digit sums run out
MOST_OF_OTHERS = 300  # products, too, from some number on

LEVELS: dict[str, str] = {
    "1": "a sum or difference of one-digit numbers",
    "2": "a sum or difference of two-digit numbers",
    "3": "a word problem of one step",
    "4": "a product, or a sum of three numbers of up to three digits",
    "5": "a word problem of two or three steps",
}

_NAMES = ("Amara", "Bo", "Clara", "Dmitri", "Esi", "Farid", "Greta", "Hana", "Ivo", "June")
_THINGS = ("apples", "marbles", "stamps", "pencils", "shells", "tickets", "buttons", "cards")

Maker = Callable[[random.Random], tuple[str, int]]


def load(
    data_dir: Path | None,
    seed: int = 0,
    per_level: int = PER_LEVEL,
    levels: Sequence[str] = tuple(LEVELS),
) -> list[Question]:
    """`per_level` questions of each of `levels`, in an order that mixes the levels.

    No two questions have the same text. The same seed gives the same questions, and a
    larger `per_level` only adds to them.

    Args:
        data_dir: Not used: there is nothing to download.
        seed: Seed of the numbers and the stories.
        per_level: Questions a level; at most 40 where level 1 is among them, as one-digit sums
            run out, and 300 otherwise.
        levels: Which of `LEVELS`.

    Raises:
        ValueError: more questions than there are.
    """
    most = min(MOST.get(level, MOST_OF_OTHERS) for level in levels)
    if not 1 <= per_level <= most:
        raise ValueError(f"per_level={per_level} must be between 1 and {most}")
    rows = []
    for level in levels:
        makers, rng = _MAKERS[level], random.Random(f"arithmetic/{seed}/{level}")
        seen: set[str] = set()
        while len(seen) < per_level:
            problem, answer = makers[len(seen) % len(makers)](rng)
            if problem in seen:
                continue
            seen.add(problem)
            rows.append(
                Question(f"{seed}/{level}/{len(seen):02d}", problem, str(answer), level, "")
            )
    return sorted(rows, key=lambda q: (int(q.id.split("/")[2]), q.level))


def prompt(problem: str) -> str:
    """The user message: the problem and where the answer goes."""
    return f"{problem}\n\nPut your final answer within \\boxed{{}}."


def _plus(rng: random.Random, low: int, high: int) -> tuple[str, int]:
    a, b = rng.randint(low, high), rng.randint(low, high)
    return f"What is {a} + {b}?", a + b


def _minus(rng: random.Random, low: int, high: int) -> tuple[str, int]:
    a, b = sorted((rng.randint(low, high), rng.randint(low, high)), reverse=True)
    return f"What is {a} - {b}?", a - b


def _buys(rng: random.Random) -> tuple[str, int]:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    a, b = rng.randint(4, 60), rng.randint(3, 30)
    return f"{name} has {a} {thing} and buys {b} more. How many {thing} does {name} have now?", (
        a + b
    )


def _gives(rng: random.Random) -> tuple[str, int]:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    a = rng.randint(12, 70)
    b = rng.randint(3, a - 3)
    return (
        f"{name} has {a} {thing} and gives {b} of them to a friend. How many {thing} are left?",
        a - b,
    )


def _boxes(rng: random.Random) -> tuple[str, int]:
    thing = rng.choice(_THINGS)
    a, b = rng.randint(3, 9), rng.randint(3, 12)
    return f"There are {a} boxes with {b} {thing} in each. How many {thing} are there?", a * b


def _times(rng: random.Random) -> tuple[str, int]:
    a, b = rng.randint(6, 30), rng.randint(4, 12)
    return f"What is {a} * {b}?", a * b


def _three(rng: random.Random) -> tuple[str, int]:
    a, b, c = (rng.randint(20, 400) for _ in range(3))
    return f"What is {a} + {b} + {c}?", a + b + c


def _shop(rng: random.Random) -> tuple[str, int]:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    n, price = rng.randint(3, 9), rng.randint(2, 8)
    paid = n * price + rng.randint(1, 30)
    return (
        f"{name} buys {n} {thing} at {price} coins each and pays with {paid} coins. "
        "How many coins come back?",
        paid - n * price,
    )


def _bus(rng: random.Random) -> tuple[str, int]:
    start = rng.randint(15, 50)
    off, on = rng.randint(2, 12), rng.randint(2, 15)
    off2 = rng.randint(1, start - off)
    return (
        f"A bus leaves with {start} people. At the first stop {off} get off and {on} get on; at "
        f"the second stop {off2} get off. How many people are on the bus then?",
        start - off + on - off2,
    )


def _shared(rng: random.Random) -> tuple[str, int]:
    names = rng.sample(_NAMES, 2)
    thing = rng.choice(_THINGS)
    each, friends, extra = rng.randint(3, 12), rng.randint(2, 6), rng.randint(2, 20)
    total = each * friends
    first = rng.randint(1, total - 1)
    return (
        f"{names[0]} has {first} {thing} and {names[1]} has {total - first}. They put them "
        f"together and share them equally among {friends} children. One of the children already "
        f"had {extra}. How many {thing} does that child have now?",
        each + extra,
    )


_MAKERS: dict[str, tuple[Maker, ...]] = {
    "1": (partial(_plus, low=1, high=9), partial(_minus, low=1, high=9)),
    "2": (partial(_plus, low=10, high=99), partial(_minus, low=10, high=99)),
    "3": (_buys, _gives, _boxes),
    "4": (_times, _three),
    "5": (_shop, _bus, _shared),
}


# ---------------------------------------------------------------------- knobs


def _levels(value: Any) -> tuple[str, ...]:
    """Levels from a list, a number, or a text with commas or plus signs."""
    parts = value if isinstance(value, (list, tuple)) else str(value).replace("+", ",").split(",")
    names = {str(part).strip() for part in parts}
    if not names or names - set(LEVELS):
        raise ValueError(f"{value!r} are not levels: use some of {', '.join(LEVELS)}")
    return tuple(sorted(names))


def _per_level(value: Any) -> int:
    if isinstance(value, bool) or not str(value).isdigit() or not int(value):
        raise ValueError(f"{value!r} is not a whole number of at least 1")
    return int(value)


KNOBS = {"levels": _levels, "per_level": _per_level}
"""`levels`: only these; `per_level`: so many questions of each."""


def configured(data_dir: Path | None, knobs: Mapping[str, Any]) -> Benchmark:
    """The benchmark under its own knobs."""
    return Benchmark(
        "arithmetic",
        partial(load, **knobs),
        prompt,
        partial(grade_all, integer=True),
        GRADER,
        domain="mathematics",
        knobs=KNOBS,
        configured=configured,
    )


BENCHMARK = configured(None, {})
