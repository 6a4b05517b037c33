r"""Grading of answers to mathematical questions.

    >>> grade(r"Arr, for $3 the treasure be $\boxed{17}$, matey", "17")
    Verdict(verdict='correct', reason='', answer='17', route='boxed')

The answer is read from the response (`extract`), spelt in one way (`normalise`), and compared
(`compare`). What that leaves open goes to math-verify, in worker processes that can be killed
(`algebra`). What counts as equal is listed in `compare`.

What it does not do: it doesn't see the question, so an answer that is equal in value but not in the
form asked for (expanded for factored, `6/4` for `3/2`) is correct; and units are not compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from persona_bench.grading import processors
from persona_bench.grading.algebra import POOL, Finding, Job
from persona_bench.grading.compare import same
from persona_bench.grading.extract import Extracted, extract_answer, extract_several
from persona_bench.grading.normalise import normalise
from persona_bench.grading.refusal import is_refusal
from persona_bench.grading.verdict import Verdict

GRADER = "maths 4"
"""Name and version; the number rises when a response may get another verdict than before."""

__all__ = ["GRADER", "Extracted", "extract_answer", "grade", "grade_all"]


def grade(
    response: str,
    gold: str,
    *,
    truncated: bool = False,
    integer: bool = False,
    timeout: float = 10.0,
) -> Verdict:
    """The verdict on one response. Arguments as in `grade_all`."""
    return grade_all(
        [response], [gold], truncated=[truncated], integer=integer, workers=1, timeout=timeout
    )[0]


def grade_all(
    responses: Sequence[str],
    golds: Sequence[str],
    *,
    truncated: Sequence[bool] | None = None,
    integer: bool = False,
    workers: int | None = None,
    timeout: float = 10.0,
) -> list[Verdict]:
    """The verdicts on many responses, in their order; the same for any order and any `workers`.

    Args:
        responses: what the model wrote.
        golds: the reference answer to each.
        truncated: whether each response was cut off by a limit of length; then only a box or a
            statement that goes on after its answer counts.
        integer: references are integers and only an integer is right (AIME, sums): `073` is 73.
        workers: processes for what needs computer algebra; by default one per processor, at most 8.
        timeout: seconds that computer algebra may take over one answer.

    Returns:
        One verdict per response. `wrong` with `wrong_answer`, `no_answer`, `refused` or
        `truncated`; `unscored` with `timeout` or `grader_error` where the instrument failed.

    Raises:
        ValueError: the arguments differ in length.
    """
    cut = [False] * len(responses) if truncated is None else truncated
    if not len(responses) == len(golds) == len(cut):
        raise ValueError(f"{len(responses)} responses, {len(golds)} golds, {len(cut)} truncated")
    answers = [_answer_or_verdict(*item) for item in zip(responses, golds, cut, strict=True)]
    pairs = {
        (gold, answer.text)
        for gold, answer in zip(golds, answers, strict=True)
        if isinstance(answer, Extracted)
    }
    findings = _compare(sorted(pairs), integer, workers, timeout)
    return [
        answer if isinstance(answer, Verdict) else _verdict(findings[gold, answer.text], answer)
        for gold, answer in zip(golds, answers, strict=True)
    ]


def _answer_or_verdict(response: str, gold: str, truncated: bool) -> Extracted | Verdict:
    """The answer to compare, or the verdict where there is none."""
    answer = extract_several(response) if _has_members(gold) else extract_answer(response)
    if answer is not None and answer.source != "last":
        return Verdict("wrong", "truncated") if truncated and _cut_in(response, answer) else answer
    if truncated:
        return Verdict("wrong", "truncated")
    if is_refusal(response):
        return Verdict("wrong", "refused")
    return answer if answer is not None else Verdict("wrong", "no_answer")


def _cut_in(response: str, answer: Extracted) -> bool:
    """Whether the cut may lie within the answer: "The answer is 1" might have become 17."""
    return answer.source in ("stated", "tag") and response.rstrip(" \n$*").endswith(answer.text)


def _has_members(gold: str) -> bool:
    return "," in normalise(gold).text or r"\pm" in gold


def _compare(
    pairs: Sequence[tuple[str, str]], integer: bool, workers: int | None, timeout: float
) -> dict[tuple[str, str], Finding]:
    findings: dict[tuple[str, str], Finding] = {}
    jobs = []
    for gold, answer in pairs:
        try:
            verdict = same(gold, answer, integer=integer)
        except (RecursionError, MemoryError):  # e.g. thousands of nested brackets
            findings[gold, answer] = "grader_error"
            continue
        if verdict is None:
            jobs.append(Job(gold, answer, integer))
        else:
            findings[gold, answer] = "same" if verdict else "different"
    count = min(8, processors()) if workers is None else workers
    results = POOL.run(jobs, workers=count, timeout=timeout) if jobs else []
    for job, finding in zip(jobs, results, strict=True):
        findings[job.gold, job.answer] = finding
    return findings


def _verdict(finding: Finding, answer: Extracted) -> Verdict:
    if finding == "same":
        return Verdict("correct", "", answer.text, answer.source)
    if finding == "different":
        return Verdict("wrong", "wrong_answer", answer.text, answer.source)
    return Verdict("unscored", finding, answer.text, answer.source)
