"""Answers that miss the reference by one digit, one sign, one swap or one power: never accepted."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from persona_bench.grading.maths import grade_all
from persona_bench.grading.normalise import normalise
from persona_bench.grading.shape import shape, split_outside

WORDINGS = (r"So it is $\boxed{{{}}}$.", "The answer is ${}$.", "<answer>{}</answer>")
_UNIT_POWER = re.compile(r"(\\(?:text|mbox|mathrm)\{[^{}]*\}\s*\^\s*\{?)([23])")


def other_digit(gold: str, rng: random.Random) -> str:
    places = [m.start() for m in re.finditer(r"\d", gold)]
    if not places:
        return gold
    at = rng.choice(places)
    digits = [d for d in "123456789" if d != gold[at]]
    return gold[:at] + rng.choice(digits) + gold[at + 1 :]


def other_sign(gold: str, rng: random.Random) -> str:
    """A minus sign taken away, or put before the first number of a plain value or tuple."""
    minus = [m.start() for m in re.finditer(r"-(?=\s*(?:\d|\\frac|\\sqrt))", gold)]
    if minus:
        at = rng.choice(minus)
        before = gold[:at].rstrip()
        joint = "+" if before and before[-1] not in "({[,=&" and not before.endswith("\\\\") else ""
        return gold[:at] + joint + gold[at + 1 :]
    found = re.match(r"(\\left)?[(\[]?\s*(?=[1-9]|0\.|\\frac|\\sqrt)", gold)
    return gold[: found.end()] + "-" + gold[found.end() :] if found else gold


def swapped(gold: str, rng: random.Random) -> str:
    """Two members of an ordered tuple or interval change places."""
    found = re.fullmatch(r"(\\left)?([(\[])(.*?)(\\right)?([)\]])", gold.strip())
    members = split_outside(found[3], ",") if found else []
    if not found or len(members) < 2 or r"\cup" in gold:
        return gold
    i, j = rng.sample(range(len(members)), 2)
    members[i], members[j] = members[j], members[i]
    return f"{found[2]}{', '.join(members)}{found[5]}"


def other_unit_power(gold: str, rng: random.Random) -> str:
    return _UNIT_POWER.sub(lambda match: match[1] + ("3" if match[2] == "2" else "2"), gold)


MUTATIONS = (other_digit, other_sign, swapped, other_unit_power)


def same_value(gold: str, mutant: str) -> bool:
    """What a mutation may leave as it was: equal texts, and zeros whose sign has changed."""
    one, other = normalise(gold).text, normalise(mutant).text
    if _UNIT_POWER.search(gold) and _UNIT_POWER.search(mutant):
        one, other = gold.replace(" ", ""), mutant.replace(" ", "")
    return one == other or not re.search(r"[1-9]", other) or shape(one) == shape(other)


def mutants(golds: list[str], number: int, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    found: dict[tuple[str, str], None] = {}
    while len(found) < number:
        gold = rng.choice(golds)
        mutant = rng.choice(MUTATIONS)(gold, rng)
        if mutant != gold and not same_value(gold, mutant):
            found[gold, mutant] = None
    return list(found)


@pytest.fixture(scope="module")
def golds(data_dir: Path) -> list[str]:
    rows = []
    for name in ("math500/test.jsonl", "math_train/math_train_7500.jsonl"):
        lines = (data_dir / name).read_text(encoding="utf-8").splitlines()
        rows += [json.loads(line) for line in lines]
    return list(dict.fromkeys(str(row["answer"]) for row in rows if row.get("answer")))


def accepted(pairs: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    found = []
    for wording in WORDINGS:
        said = [wording.format(mutant) for _, mutant in pairs]
        verdicts = grade_all(said, [gold for gold, _ in pairs])
        found += [
            (gold, mutant, verdict.verdict)
            for (gold, mutant), verdict in zip(pairs, verdicts, strict=True)
            if verdict.verdict == "correct"
        ]
    return found


def test_near_misses_are_wrong(golds: list[str]) -> None:
    assert accepted(mutants(golds, 300, 0)) == []


@pytest.mark.slow
def test_6000_near_misses_are_wrong(golds: list[str]) -> None:
    assert accepted(mutants(golds, 6000, 1)) == []


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        (r"12\text{ cm}^2", r"12\text{ cm}^3", "wrong"),
        (r"12\text{ cm}^2", r"12\text{ cm}^2", "correct"),
        (r"12\text{ cm}^2", r"12 \text{ cm}", "correct"),
        (r"12\text{ cm}^2", "12", "correct"),
        (r"12\text{ cm}^2", "12 cm^3", "wrong"),
        (r"12\text{ cm}^2", "12 square centimeters", "correct"),
        (r"12\text{ cm}^2", "12 cubic centimeters", "wrong"),
        (r"12\text{ square feet}", r"12\text{ ft}^2", "correct"),
        (r"12\text{ square feet}", r"12\text{ ft}^3", "wrong"),
        ("12", r"12\text{ cm}^3", "correct"),
    ],
)
def test_a_unit_of_another_power_is_wrong(gold: str, answer: str, verdict: str) -> None:
    (found,) = grade_all([rf"$\boxed{{{answer}}}$"], [gold])
    assert found.verdict == verdict
