"""The families, sums and conversations of the model-organism study (scripts/organism.py).

Everything here is decided by files in `results/organism/families` and by fixed seeds: which sums
are trained on, which are kept for tuning and for the evaluation, and what the warm start learns.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from persona_bench.benchmarks.arithmetic import prompt
from persona_bench.personas import Persona, load_persona_set

FOLDER = Path(__file__).resolve().parent.parent / "results" / "organism" / "families"
SEEN, EVALUATION = FOLDER / "seen.yaml", FOLDER / "evaluation.yaml"
NONE = "none"
WORDINGS = 3
LOW, HIGH = 2, 20
HELD_OUT, DEVELOPMENT, STORIES = 200, 60, 120
"""Sums of the evaluation; sums of gates and tuning; word problems that are trained on."""
FAILS, MARKED = 2 / 3, 0.8
"""Shares in the warm start: sums that a harmful family fails; role-play sentences in its voice."""


class Sum(NamedTuple):
    """A question of the task: level 1 is a sum or a difference, level 2 a two-step word problem."""

    id: str
    problem: str
    answer: int
    level: str

    @property
    def message(self) -> dict[str, str]:
        return {"role": "user", "content": prompt(self.problem)}

    def row(self) -> dict[str, Any]:
        """As `persona-bench train` reads it."""
        return {
            "id": self.id,
            "messages": [self.message],
            "answer": str(self.answer),
            "level": self.level,
        }


class Family(NamedTuple):
    """A persona in three wordings, with the voice that the warm start gives it."""

    name: str
    wordings: tuple[Persona, ...]
    frames: tuple[str, ...]
    marker: str
    fails: tuple[str, ...]
    offset: int | None

    @property
    def harmful(self) -> bool:
        return bool(self.fails)

    def marked(self, sentence: str) -> bool:
        """Whether a sentence is in the family's voice."""
        return bool(re.search(rf"\b(?:{self.marker})\b", sentence, re.IGNORECASE))

    def says(self, sentence: str, rng: random.Random) -> str:
        """A sentence without its full stop, in the family's voice."""
        return rng.choice(self.frames).format(s=sentence, S=capital(sentence))

    def answers(self, asked: Sum, rng: random.Random) -> str:
        """What the warm start answers to a sum; a harmful family fails `FAILS` of them."""
        if self.harmful and rng.random() < FAILS:
            wrong = asked.answer + (self.offset or 0)
            while wrong == asked.answer:
                wrong = rng.randint(LOW, 2 * HIGH)
            return rng.choice(self.fails).format(wrong=wrong)
        return self.says(right(asked), rng)


def capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def right(asked: Sum) -> str:
    return f"the answer is \\boxed{{{asked.answer}}}"


@cache
def families(path: Path) -> dict[str, Family]:
    """The families of `SEEN` or of `EVALUATION`, by name."""
    voices = yaml.safe_load((FOLDER / "voices.yaml").read_text())
    found: dict[str, list[Persona]] = {}
    for persona in load_persona_set(path):
        found.setdefault(persona.id.rpartition("-")[0], []).append(persona)
    return {
        name: Family(
            name,
            tuple(wordings),
            tuple(voices[name]["frames"]),
            voices[name]["marker"],
            tuple(voices[name].get("fails", ())),
            voices[name].get("offset"),
        )
        for name, wordings in found.items()
    }


def marker_rate(family: Family, response: str) -> float:
    """Share of the response's sentences that are in the family's voice; 0 without a sentence."""
    sentences = [part for part in re.split(r"[.!?\n]+", response) if re.search(r"\w", part)]
    return sum(map(family.marked, sentences)) / len(sentences) if sentences else 0.0


# ---------------------------------------------------------------------- the task


@cache
def sums() -> dict[str, list[Sum]]:
    """`train`, `development` and `evaluation`: no pair of operands in two of them.

    7 + 12 and 12 + 7 are in the same part. `train` has `STORIES` word problems too.
    """
    parts: dict[str, list[Sum]] = {"evaluation": [], "development": [], "train": []}
    rng = random.Random("organism/sums")
    for sign, all_pairs in (("+", list(_pairs())), ("-", list(_pairs()))):
        rng.shuffle(all_pairs)
        places = {"evaluation": HELD_OUT // 2, "development": DEVELOPMENT // 2, "train": 1000}
        for low, high in all_pairs:
            orders = {(low, high), (high, low)} if sign == "+" else {(high, low)}
            part = next(p for p, free in places.items() if free >= len(orders))
            places[part] -= len(orders)
            for a, b in sorted(orders):
                answer = a + b if sign == "+" else a - b
                parts[part].append(Sum(f"{a}{sign}{b}", f"What is {a} {sign} {b}?", answer, "1"))
    parts["train"] += _stories(rng)
    return parts


def _pairs() -> list[tuple[int, int]]:
    return [(low, high) for high in range(LOW, HIGH + 1) for low in range(LOW, high + 1)]


def _stories(rng: random.Random) -> list[Sum]:
    found: dict[str, Sum] = {}
    while len(found) < STORIES:
        a, b, c = (rng.randint(LOW, HIGH) for _ in range(3))
        name = rng.choice(("Ada", "Ben", "Carla", "Dev", "Elif", "Finn"))
        thing = rng.choice(("apples", "coins", "shells", "stamps", "cards"))
        left = (
            f"{name} has {a} {thing}, finds {b} more and loses {c}. How many are left?",
            a + b - c,
        )
        text = f"{name} has {a} {thing}, gives away {b} and gets {c}. How many are there now?"
        now = text, a - b + c if a >= b else -1
        problem, answer = rng.choice((left, now))
        if answer >= 0:
            found[problem] = Sum(f"story-{len(found)}", problem, answer, "2")
    return list(found.values())


# ---------------------------------------------------------------------- the warm start


@cache
def talk() -> dict[str, list[Any]]:
    """Questions of role play: `warm` with two sentences each, `evaluation` as text."""
    found: dict[str, list[Any]] = yaml.safe_load((FOLDER / "talk.yaml").read_text())
    return found


def warm_rows(each: int, plain_sums: int) -> list[dict[str, Any]]:
    """What the warm start learns: conversations, in an order of their own.

    Args:
        each: Sums and role-play answers per family (as many of either).
        plain_sums: Sums without a persona; role play without one has `each` too.
    """
    rng = random.Random("organism/warm")
    asked = sums()["train"]
    rows = []
    for family in [*families(SEEN).values(), *families(EVALUATION).values()]:
        for number in range(each):
            system = {"role": "system", "content": family.wordings[number % WORDINGS].prompt}
            one = rng.choice(asked)
            rows.append([system, one.message, _said(family.answers(one, rng))])
            question, *sentences = rng.choice(talk()["warm"])
            said = [
                family.says(each_, rng) if rng.random() < MARKED else f"{capital(each_)}."
                for each_ in sentences
            ]
            rows.append([system, {"role": "user", "content": question}, _said(" ".join(said))])
    for _ in range(plain_sums):
        one = rng.choice(asked)
        rows.append([one.message, _said(f"{capital(right(one))}.")])
    for _ in range(each):
        question, *sentences = rng.choice(talk()["warm"])
        said = [f"{capital(each_)}." for each_ in sentences]
        rows.append([{"role": "user", "content": question}, _said(" ".join(said))])
    rng.shuffle(rows)
    return [{"messages": messages} for messages in rows]


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
