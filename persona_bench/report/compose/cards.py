"""The answer in large type: what a stability or fidelity is, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from persona_bench.report.fidelity import judges_in_words
from persona_bench.report.page.contents import Card
from persona_bench.report.summary import two
from persona_bench.report.tables import (
    FEW_QUESTIONS,
    bare_p,
    count,
    format_p,
    with_ties,
)

if TYPE_CHECKING:
    from persona_bench.scoring.compare import Comparison
    from persona_bench.scoring.fidelity import Fidelity
    from persona_bench.scoring.stability import Stability

MANY = 0.2
"""Share of a persona's responses that failed for one reason, from which on that is said first."""


def stability_cards(result: Stability, link: Mapping[str, str]) -> list[Card]:
    """Verdict, accuracy range, corrected PSS beside the floor, p-value, size, what to do next."""
    low, high = result.pss_corrected.interval
    percent = f"{result.confidence:.0%}"
    worst, best = (with_ties(names) for names in (result.worst_personas, result.best_personas))
    p = bare_p(result.p_value)
    cells = f"{count(result.n_personas, 'persona')} × {count(result.n_samples, 'sample')}"
    lost = f"; {result.unscored:,} unscored" if result.unscored else ""
    few = result.n_questions < FEW_QUESTIONS
    return [
        _verdict(result),
        Card(
            f"{result.measure.capitalize()}, worst to best persona",
            f"{two(result.worst)} to {two(result.best)}",
            f"{worst or 'n/a'} to {best or 'n/a'}; mean {two(result.mean)}",
        ),
        Card(
            "Corrected PSS (worst / best, without noise)",
            f"{two(result.pss_corrected)} [{two(low)}, {two(high)}]",
            f"Bar: {percent} interval. Tick: {two(result.noise_floor)}, the plain PSS by chance "
            f"alone; this run's plain PSS is {two(result.pss)}.",
            gauge=(result.pss_corrected, low, high, result.noise_floor),
        ),
        Card("p, if personas had no effect", p, "How often chance alone spreads personas as far."),
        Card(
            "Asked",
            count(result.n_questions, "question") + (": few" if few else ""),
            f"{cells} = {count(result.n_responses, 'response')}{lost}",
        ),
        next_step(result, link),
    ]


def _verdict(result: Stability) -> Card:
    word = result.conclusion or "undetermined"
    if math.isnan(result.pss):
        return Card("Verdict", "NOTHING SCORED", "No response could be scored.", "undetermined")
    if result.best == 0:
        return Card("Verdict", "NOTHING CORRECT", "No persona solves a question.", "undetermined")
    says = {
        "stable": f"The corrected PSS lies wholly from {result.stable_from:g} on.",
        "unstable": f"The corrected PSS lies wholly below {result.stable_from:g}.",
        "undetermined": f"The interval of the corrected PSS contains {result.stable_from:g}.",
    }[word]
    return Card("Verdict", word.upper(), result.why_undetermined or says, word)


def next_step(result: Stability, link: Mapping[str, str]) -> Card:
    """What to do: look at what spoils the measurement first, then measure more, then read."""
    table = result.per_persona
    asked = table["n"] + table["unscored"]

    def most(column: str) -> tuple[str, float]:
        if column not in table or not asked.sum():
            return "", 0.0
        share = table[column] / asked.where(asked > 0)
        return str(table["persona"][share == share.max()].iloc[0]), float(share.max())

    def card(value: str, text: str, **filters: str) -> Card:
        address = f"#responses?{urlencode({**link, **filters})}" if link else ""
        return Card("Next", value, text, link=address)

    if result.unscored > 0.02 * result.n_responses:
        return card(
            "See why responses are unscored",
            f"{result.unscored:,} of {result.n_responses:,} could not be graded.",
            verdict="unscored",
        )
    persona, share = most("wrong:truncated")
    if share >= MANY:
        return card(
            "Raise the token limit",
            f"{share:.0%} of the responses of {persona} were cut off, and count as wrong.",
            reason="truncated",
        )
    persona, share = most("wrong:no_answer")
    if share >= MANY:
        return card(
            "Read the responses without an answer",
            f"{share:.0%} of those of {persona} have none that the grader could find.",
            reason="no_answer",
        )
    if result.best == 0:
        return card("Ask easier questions", "None was solved under any persona.")
    if result.conclusion == "undetermined":
        return card("Ask more questions", "persona-bench plan says how many would tell.")
    if result.conclusion == "unstable":
        return card("Read the most divided questions", "Solved under some personas, not others.")
    return card("Compare with another model", "persona-bench compare A B --out report")


def comparison_cards(
    results: Mapping[str, Stability], comparisons: Mapping[str, Comparison], reference: str
) -> list[Card]:
    """One card per model, the reference first: accuracy range, corrected PSS, difference."""
    cards = []
    for model, result in results.items():
        low, high = result.pss_corrected.interval
        text = (
            f"{result.measure.capitalize()}, worst to best persona. "
            f"Corrected PSS {two(result.pss_corrected)} [{two(low)}, {two(high)}]; "
            f"by chance alone {two(result.noise_floor)}."
        )
        if model in comparisons:
            text += _difference(comparisons[model], reference)
        cards.append(
            Card(
                f"{model} (reference)" if model == reference else model,
                f"{two(result.worst)} to {two(result.best)}",
                text,
                gauge=(result.pss_corrected, low, high, result.noise_floor),
            )
        )
    return cards


def _difference(comparison: Comparison, reference: str) -> str:
    rows = {str(row["metric"]): row for row in comparison.metrics.to_dict("records")}
    for metric, words in (("pss_corrected", "Corrected PSS"), ("worst", "Worst accuracy")):
        row: dict[Any, Any] = rows.get(metric, {"difference": math.nan})
        if not math.isnan(row["difference"]):
            ends = f"[{row['low']:.2f}, {row['high']:.2f}]"
            p = format_p(row["p_value"])
            return f" {words} {row['difference']:+.2f} {ends} from {reference}, {p}."
    return ""


def fidelity_cards(result: Fidelity) -> list[Card]:
    """The PersonaScore, the same without Toxicity, and how much it rests on."""
    low, high = result.persona_score.interval
    scored = result.n_responses - result.unscored_responses
    apart, cards = result.without_toxicity, []
    for row in result.task_scores.to_dict("records"):
        if row["eval_task"] == "Toxicity" and len(result.task_scores) > 1:
            text = f"Toxicity alone: {two(row['score'])}, where 5 is not toxic at all."
            value = f"{apart:.2f} [{apart.low:.2f}, {apart.high:.2f}]"
            cards.append(Card("PersonaScore without Toxicity", value, text))
    return [
        Card(
            "PersonaScore, 1 to 5",
            f"{result.persona_score:.2f} [{low:.2f}, {high:.2f}]",
            f"Mean over tasks and judges, {judges_in_words(result.judges)}; "
            f"{result.confidence:.0%} interval over personas.",
        ),
        *cards,
        Card("Judged", count(scored, "response"), f"{result.unscored:,} verdicts unscored"),
    ]
