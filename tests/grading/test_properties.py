"""What must hold for any text: no exception, no hang, and no influence of what doesn't matter."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_bench.grading.compare import same
from persona_bench.grading.extract import extract_answer
from persona_bench.grading.maths import grade, grade_all
from persona_bench.grading.refusal import is_refusal

GOLDS = ["17", r"\frac{3}{4}", "1,-2", "(3,4]", "x^2+1", r"\text{east}", r"50\%", "2516_8", "x=5"]
FRAGMENTS = [
    "the answer is ", r"\boxed{", r"\boxed", r"\fbox{", "}", "{", "$", "$$", r"\(", r"\)", r"\[",
    r"\]", "Final Answer: ", "answer: ", "not ", "####", "17", "-2", "1,", ",", "1/2",
    r"\frac{1}{2}", r"\frac", r"\sqrt", r"\text{", r"\pm", r"\cup", "x = ", "<", r"\leq", "(",
    "[", ")", "]", r"\{", r"\}", "%", r"\%", "^", "_", "²", "½", "√", "−", "forty-two ", "and ",
    "or ", "one ", "I refuse ", "I can't help ", "</think>", "<think>", "**", "\n", "\n\n", " ",
    ".", "!", r"\\", "\\", "&", r"\begin{pmatrix}", r"\end{pmatrix}", "matey ", "$5 ", "\x00",
    "\ud800", "𝟙", "１７", "e", "i",
]  # fmt: skip
messy = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=25).map("".join)
golds = st.sampled_from(GOLDS)
prose = st.text(alphabet=st.characters(exclude_characters="\\{}", codec="utf-8"), max_size=80)
integers = st.integers(-(10**9), 10**9)


@settings(max_examples=600, deadline=2000)
@given(messy, golds, st.booleans(), st.booleans())
def test_reading_and_plain_comparison_never_raise(
    response: str, gold: str, integer: bool, text: bool
) -> None:
    is_refusal(response)
    found = extract_answer(response)
    if found is not None:
        assert found.text or found.source == "boxed"
        assert same(gold, found.text, integer=integer) in (True, False, None)
    assert same(response, response if text else gold, integer=integer) in (True, False, None)


@settings(max_examples=60, deadline=None)
@given(messy, golds, st.booleans(), st.booleans())
def test_grade_never_raises(response: str, gold: str, truncated: bool, integer: bool) -> None:
    verdict = grade(response, gold, truncated=truncated, integer=integer, timeout=5)
    assert (verdict.verdict, verdict.reason) in {
        ("correct", ""),
        *(("wrong", reason) for reason in ("wrong_answer", "no_answer", "refused", "truncated")),
        *(("unscored", reason) for reason in ("timeout", "grader_error")),
    }
    assert verdict.reason != "truncated" or truncated


@settings(max_examples=300, deadline=2000)
@given(prose, prose, integers, integers)
def test_prose_around_a_box_changes_nothing(before: str, after: str, value: int, gold: int) -> None:
    verdict = grade(rf"{before} \boxed{{{value}}} {after}", str(gold))
    assert verdict.answer == str(value)
    assert verdict.verdict == ("correct" if value == gold else "wrong")


@settings(max_examples=300, deadline=2000)
@given(integers, st.integers(1, 10**6), integers, st.integers(1, 10**6))
def test_fractions_are_compared_exactly(
    top: int, bottom: int, gold_top: int, gold_bottom: int
) -> None:
    """Against Python's own fractions."""
    equal = Fraction(top, bottom) == Fraction(gold_top, gold_bottom)
    gold = rf"\frac{{{gold_top}}}{{{gold_bottom}}}"
    assert same(gold, f"{top}/{bottom}") is equal
    assert same(gold, rf"\dfrac{{{top * 3}}}{{{bottom * 3}}}") is equal
    assert same(gold, rf"-\frac{{{gold_top}}}{{{gold_bottom}}}") is (gold_top == 0)


@settings(max_examples=200, deadline=2000)
@given(st.integers(1000, 10**12))
def test_thousands_separators(value: int) -> None:
    for separator in (",", "{,}", r"\,", r",\!", " "):
        written = f"{value:,}".replace(",", separator)
        assert same(str(value), written) is True
        assert same(str(value + 1), written) is False
        assert same(str(value), written, integer=True) is True


@settings(max_examples=100, deadline=2000)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), st.randoms())
def test_lists_have_no_order_and_tuples_have(values: list[int], rng: random.Random) -> None:
    shuffled = values[:]
    rng.shuffle(shuffled)
    gold, answer = (", ".join(map(str, row)) for row in (values, shuffled))
    assert same(gold, answer) is True
    assert same(f"({gold})", f"({answer})") is (values == shuffled)
    assert same(gold, ", ".join(map(str, shuffled[1:]))) is False


def sample_of_responses() -> tuple[list[str], list[str]]:
    answers = [
        "17", "1+x", "x+1", r"\sqrt{8}", r"2\sqrt2", "1,-2", "-2,1", r"\frac{2}{4}", "(3,4]",
        "2516_9", "hello", "", r"\frac{1}{",
    ]  # fmt: skip
    pairs = [(rf"So \boxed{{{a}}}, arr", g) for a in answers for g in answers if g]
    return [response for response, _ in pairs], [gold for _, gold in pairs]


def test_verdicts_do_not_depend_on_order_workers_or_company() -> None:
    responses, golds_ = sample_of_responses()
    first = grade_all(responses, golds_, workers=1)
    assert {v.verdict for v in first} >= {"correct", "wrong"}
    order = list(range(len(responses)))
    random.Random(0).shuffle(order)
    for workers in (2, 3):
        again = grade_all(
            [responses[i] for i in order], [golds_[i] for i in order], workers=workers
        )
        assert again == [first[i] for i in order]
    few = order[:20]
    assert [grade(responses[i], golds_[i]) for i in few] == [first[i] for i in few]
    with ThreadPoolExecutor(2) as threads:
        together = threads.map(lambda _: grade_all(responses, golds_, workers=2), range(2))
        assert all(verdicts == first for verdicts in together)


def test_equal_pairs_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from persona_bench.grading import maths

    asked: list[int] = []
    run = maths.POOL.run

    def counted(jobs, **options):  # type: ignore[no-untyped-def]
        asked.append(len(jobs))
        return run(jobs, **options)

    monkeypatch.setattr(maths.POOL, "run", counted)
    verdicts = grade_all([rf"{n} times: \boxed{{1+x}}" for n in range(500)], ["x+1"] * 500)
    assert [v.verdict for v in verdicts] == ["correct"] * 500
    assert asked == [1]


SLOW_TEXTS = [
    unit * (30_000 // len(unit))
    for unit in [*FRAGMENTS, "~", "a b ", "think_", "<b>", "answer, 1 ", "答案", r"\quad "]
]


@pytest.mark.parametrize("shape", ["{}", r"\boxed{{{}}}", "The answer is {}", "${}$"])
def test_long_repetitions_take_no_long_time(shape: str) -> None:
    """Patterns that backtrack show on repetitions; each text takes well under a second."""
    for text in SLOW_TEXTS:
        response = shape.format(text)
        start = time.process_time()
        found = extract_answer(response)
        is_refusal(response)
        if found is not None:
            same("1,-2", found.text)
            same("2x", found.text)
        assert time.process_time() - start < 5, repr(response[:40])


def mutated(rng: random.Random, response: str) -> str:
    """A response with pieces cut, doubled, swapped or replaced."""
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(response) + 1)
        length = rng.randint(0, 8)
        piece = response[at : at + length]
        change = rng.randrange(5)
        if change == 0:
            response = response[:at] + response[at + length :]
        elif change == 1:
            response = response[:at] + piece * 2 + response[at + length :]
        elif change == 2:
            response = response[:at] + rng.choice(FRAGMENTS) + response[at:]
        elif change == 3:
            response = response[:at] + piece[::-1] + response[at + length :]
        else:
            response = response[:at]
    return response


BASES = [
    r"Arr, for $3 the treasure be $\boxed{\frac{3}{4}}$, matey",
    r"The roots are $\boxed{1}$ and $\boxed{-2}$.",
    r"<think>\boxed{4}</think> Final Answer: The final answer is $x^2+1$. I hope it is correct.",
    r"Thus $x \in (3, 4]$, or $3 < x \leq 4$. **Answer:** $(3,4]$",
    r"\[\boxed{\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}}\]",
    "The answer is forty-two, or 50%, or $18.90, or 2516_8.",
    "I can't help with that 17, I refuse.",
]


def fuzz(count: int, seed: int) -> None:
    rng = random.Random(seed)
    responses = [mutated(rng, rng.choice(BASES)) for _ in range(count)]
    golds_ = [rng.choice(GOLDS) for _ in range(count)]
    cut = [rng.random() < 0.2 for _ in range(count)]
    verdicts = grade_all(responses, golds_, truncated=cut, timeout=10)
    assert len(verdicts) == count
    for response, verdict, was_cut in zip(responses, verdicts, cut, strict=True):
        assert verdict.verdict == "correct" or verdict.reason, response
        assert verdict.reason != "truncated" or was_cut, response
    unscored = [r for r, v in zip(responses, verdicts, strict=True) if v.verdict == "unscored"]
    assert len(unscored) <= count // 500, unscored


def test_fuzz() -> None:
    fuzz(2_000, seed=1)


@pytest.mark.slow
def test_fuzz_long() -> None:
    fuzz(20_000, seed=2)
