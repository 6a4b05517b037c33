"""Right and in character: in the terminal, as files, and in sentences for the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from persona_bench.report.fidelity import judges_in_words, rater_lines, table_of
from persona_bench.report.names import file_stem
from persona_bench.report.tables import format_p, interval, number, printable

if TYPE_CHECKING:
    from rich.console import Console

    from persona_bench.scoring.estimate import Estimate
    from persona_bench.scoring.voice import Cost, Voice, VoiceComparison

NAMES = {
    "in_character": "in-character accuracy",
    "accuracy": "accuracy",
    "in_voice": "in voice",
    "right_in": "right, in voice",
    "right_out": "right, out of voice",
    "wrong_in": "wrong, in voice",
    "wrong_out": "wrong, out of voice",
}
MAIN = ("in_character", "accuracy", "in_voice")
"""The rates that are given in a sentence."""
MOST_PERSONAS = 20
"""Personas in the terminal's table; the files have all."""


def voice_lines(found: Voice) -> list[str]:
    """How often the model is right and in character, and what voice costs, a sentence each."""
    said = ", ".join(
        f"{NAMES[name]} {rate:.3f} {interval(rate.interval)}"
        for name, rate in zip(MAIN, _rates(found), strict=True)
    )
    lines = [
        f"Right and in character: {said}; {found.confidence:.0%} intervals, by question.",
        f"In voice is a score of 4 or 5; {found.judged:,} of {found.n:,} responses judged by "
        f"{judges_in_words(found.judges)}"
        + (f", {found.unread:,} without a score" if found.unread else "")
        + (
            "; each group of persona and verdict counts as often as it occurs."
            if found.judged + found.unread < found.n
            else "."
        ),
        _cost(found.cost, "Within a question"),
    ]
    if not math.isnan(found.cost_within_personas.difference):
        lines.append(_cost(found.cost_within_personas, "Within question and persona"))
    return lines + voice_rater_lines(found)


def voice_rater_lines(found: Voice) -> list[str]:
    """What people's ratings say of the voice and of its judges; none where there are no ratings."""
    if found.raters is None:
        return []
    lines = rater_lines(found.raters)
    if (corrected := found.corrected) is None:
        return lines
    for row in corrected.rates.to_dict("records"):
        name = NAMES[row["rate"]]
        lines.append(
            f"{name[0].upper()}{name[1:]} corrected for the judges' error: {row['value']:.3f} "
            f"{interval((row['low'], row['high']))} (judges alone {row['judged']:.3f} "
            f"{interval((row['judged_low'], row['judged_high']))}, ratings alone "
            f"{row['rated']:.3f} {interval((row['rated_low'], row['rated_high']))})."
        )
    lines[-1] = (
        f"{lines[-1][:-1]}; from {corrected.n_rated:,} rated and {corrected.n_judged:,} judged of "
        f"{corrected.n:,} responses."
    )
    return lines


def traced_lines(found: Voice) -> list[str]:
    """The same of responses with a trace of their persona, where no judge was asked."""
    (measure,) = found.judges["judge"]
    names = ("right and with a trace of the persona", "right", "with a trace")
    said = ", ".join(
        f"{name} {rate:.3f} {interval(rate.interval)}"
        for name, rate in zip(names, _rates(found), strict=True)
    )
    return [
        f"By {measure}, of {found.judged:,} graded responses: {said}.",
        _cost(found.cost, "Within a question", "with a trace", "without one"),
    ]


def voice_line(found: Voice) -> str:
    """In-character accuracy beside accuracy, in one line for the summary."""
    inside, right = found.in_character, found.accuracy
    return (
        f"In-character accuracy {inside:.2f} [{inside.low:.2f}, {inside.high:.2f}]: right and in "
        f"voice, where {right:.2f} are right; {found.judged:,} of {found.n:,} responses judged by "
        f"{judges_in_words(found.judges)}"
    )


def _rates(found: Voice) -> list[Estimate]:
    return [getattr(found, name) for name in MAIN]


def _cost(cost: Cost, where: str, inside: str = "in voice", outside: str = "out of voice") -> str:
    """Whether responses in voice are less often right."""
    if math.isnan(cost.difference):
        return (
            f"Whether accuracy differs {inside} can't be told: it takes two questions with "
            f"responses {inside} and {outside}."
        )
    low, high = cost.difference.interval
    if high < 0:
        verdict = f"accuracy {inside} is lower"
    elif low > 0:
        verdict = f"accuracy {inside} is higher"
    else:
        verdict = f"no difference is seen, and a cost of up to {max(0.0, -low):.3f} is not excluded"
    return (
        f"{where}, accuracy {inside} less accuracy {outside} is {cost.difference:+.3f} "
        f"{interval((low, high))} ({format_p(cost.p_value)}; {cost.n_questions:,} questions): "
        f"{verdict}."
    )


def print_voice(found: Voice, console: Console) -> None:
    """Prints the four shares of each persona, and the conclusions."""
    table = table_of(
        "Right and in character, by persona", "persona", "kind", "in-character accuracy",
        f"{found.confidence:.0%} interval", "right, out", "wrong, in", "wrong, out", "judged",
    )  # fmt: skip
    rows = found.personas.to_dict("records")
    half = MOST_PERSONAS // 2
    for row in [*rows[:half], *rows[-half:]] if len(rows) > MOST_PERSONAS else rows:
        table.add_row(
            Text(printable(str(row["persona"]))), str(row["kind"]), number(row["in_character"]),
            interval((row["low"], row["high"])), number(row["right_out"]), number(row["wrong_in"]),
            number(row["wrong_out"]), f"{row['judged']:,} of {row['n']:,}",
        )  # fmt: skip
    console.print(table)
    for line in voice_lines(found):
        console.print(Text(printable(line)))


def write_voice(found: Voice, folder: Path, *, task: str) -> list[Path]:
    """`<task>_voice_personas.csv`, one row per persona, and `<task>_voice.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{file_stem(task)}_voice"
    table, record = folder / f"{stem}_personas.csv", folder / f"{stem}.json"
    found.personas.to_csv(table, index=False, encoding="utf-8", lineterminator="\n")
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    record.write_text(text + "\n", encoding="utf-8", newline="\n")
    return [table, record]


def voice_comparison_lines(found: VoiceComparison, a: str, b: str) -> list[str]:
    """What differs in voice between two models, a sentence per rate."""
    rows = found.rates.set_index("rate").loc[["in_character", "in_voice", "right_in", "right_out"]]
    return [
        f"{NAMES[str(name)]}: {a} {row['a']:.3f}, {b} {row['b']:.3f}, difference "
        f"{row['difference']:+.3f} {interval((row['low'], row['high']))} "
        f"({format_p(row['p_value'])})."
        for name, row in rows.drop(index="right_in").iterrows()
    ] + [f"Voice judged by {judges_in_words(found.judges)}."]
