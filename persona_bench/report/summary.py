"""The first thing that a scored run says: one line, a line per persona, four numbers.

    UNSTABLE  accuracy 0.03 (mathematician) to 0.26 (favourite-colour-teal) · corrected PSS 0.15
    [0.03, 0.40] · by chance alone 0.53 · p = 0.002 · 35 questions: few

At most thirty lines of 80 columns with those that say where the files are, however much was
measured; `tables.print_stability` has the rest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from persona_bench.report.tables import (
    FEW_QUESTIONS,
    PADDING,
    by_accuracy,
    count,
    format_p,
    near_zero,
    printable,
    size,
    undefined,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from persona_bench.scoring.stability import Stability

STYLES = {"stable": "bold green", "unstable": "bold red"}
NAME, BAR, REASON = 24, 14, 18
"""Widths of a persona's name, bar and reason: with accuracy and interval they make 80 columns."""
MOST_LINES = 28
"""Lines of the summary; two more say where the files are."""
FEWEST_PERSONAS = 8
"""Personas that are shown however much else there is to say."""


def print_summary(
    result: Stability,
    *,
    title: str,
    console: Console,
    more: Sequence[str] = (),
    must: Sequence[str] = (),
) -> None:
    """Prints one model's stability on one benchmark, the answer first.

    Where there is too much for `MOST_LINES`, personas between the worst and the best are folded
    into one line, down to `FEWEST_PERSONAS`, and then the last of `more` are counted instead of
    shown. Names are shown as they are, cut in the middle where they are long; markup in them has
    no effect.

    Args:
        result: What is said.
        title: The first line.
        console: Where it is printed.
        more: What else was measured, the most important first.
        must: What has to be said whatever the room: what was not done, or done otherwise.
    """
    word, *rest = headline(result)
    lines = [printable(title), *_wrapped([word, *rest], console.width)]
    heads = [Text(line) for line in lines]
    heads[0].stylize("bold")
    heads[1].stylize(STYLES.get(result.conclusion, "bold yellow"), 0, len(word))
    ends = [Text(line) for line in numbers(result)]
    added, last = ([Text(printable(line)) for line in lines] for lines in (more, must))
    room = MOST_LINES - 3 - sum(_height(text, console) for text in [*heads, *ends, *last])
    shown = min(len(result.per_persona), FEWEST_PERSONAS + 1)
    said = _fitting(added, room - shown, console)
    if len(said) < len(added):
        left = len(added) - len(said)
        said.append(Text(f"{count(left, 'more result')}: score --full"))
    room -= sum(_height(text, console) for text in said)
    for text in heads:
        console.print(text)
    console.print()
    console.print(_personas(result, max(room, shown)))
    console.print()
    for text in [*ends, *said, *last]:
        console.print(text)


def _height(text: Text, console: Console) -> int:
    return len(text.wrap(console, console.width))


def _fitting(texts: Sequence[Text], room: int, console: Console) -> list[Text]:
    """The first texts that fit the room, with a line to spare for how many are left out."""
    heights = [_height(text, console) for text in texts]
    if sum(heights) <= room:
        return list(texts)
    n = 0
    while n < len(texts) and sum(heights[: n + 1]) <= room - 1:
        n += 1
    return list(texts[:n])


def headline(result: Stability) -> list[str]:
    """The verdict, the range of accuracy, corrected PSS beside chance, and how much was asked."""
    word, parts = undefined(result), [accuracy_range(result)]
    if not math.isnan(result.pss_corrected):
        word = result.conclusion
        ends = range_of(result.pss_corrected.interval)
        parts.append(f"corrected PSS {two(result.pss_corrected)} {ends}")
    if not math.isnan(result.p_value):
        parts += [f"by chance alone {two(result.noise_floor)}", format_p(result.p_value)]
    few = ": few" if result.n_questions < FEW_QUESTIONS else ""
    parts.append(f"{count(result.n_questions, 'question')}{few}")
    return [word.upper(), *filter(None, parts)]


def _wrapped(parts: list[str], width: int) -> list[str]:
    """The parts in lines, broken between them alone; the first is set apart by two blanks."""
    word, first, *rest = parts
    lines = [f"{word}  {first}"]
    for part in rest:
        if len(lines[-1]) + len(part) + 3 > width:
            lines.append(part)
        else:
            lines[-1] += f" · {part}"
    return lines


def accuracy_range(result: Stability) -> str:
    """`accuracy 0.03 (mathematician) to 0.26 (teal)`; one value where all personas share it."""
    if math.isnan(result.mean):
        return ""
    if not result.spread > 0:
        return f"{result.measure} {two(result.best)} under every persona"
    ends = (
        f"{two(value)} ({_names(names)})"
        for value, names in (
            (result.worst, result.worst_personas),
            (result.best, result.best_personas),
        )
    )
    return f"{result.measure} " + " to ".join(ends)


def _names(tied: list[str]) -> str:
    more = "" if len(tied) == 1 else f" +{len(tied) - 1}"
    return cut(printable(tied[0]), 18 - len(more)) + more  # two of them fit the line


def _personas(result: Stability, lines: int) -> Table:
    """A line per persona: accuracy, its interval, a bar, and why responses are wrong.

    Personas in the middle are one line together where all would take more than `lines`.
    """
    rows = by_accuracy(result).to_dict("records")
    before = len(rows) if len(rows) <= lines else lines // 2
    after = len(rows) - (lines - 1 - before)
    table = Table(box=None, pad_edge=False, padding=PADDING, show_edge=False)
    table.add_column("persona", no_wrap=True, max_width=NAME)
    table.add_column(Text(result.measure), justify="right", no_wrap=True)
    table.add_column(f"{result.confidence:.0%} interval", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("most fail by", no_wrap=True, max_width=REASON)
    for i, row in enumerate(rows):
        if before <= i < after:
            if i == before:
                table.add_row(Text(f"… {after - before} between"), Text("…"))
            continue
        table.add_row(
            Text(cut(printable(str(row["persona"])), NAME)),
            Text(two(row["accuracy"])),
            Text(range_of((row["low"], row["high"]))),
            Text(bar(row["accuracy"])),
            Text(cut(printable(main_reason(row)), REASON)),
        )
    return table


def main_reason(row: dict[Hashable, Any]) -> str:
    """The commonest reason why a persona's responses are wrong, short of 1 or unscored."""
    reasons = {
        str(name).partition(":")[2]: int(n)
        for name, n in row.items()
        if str(name).startswith(("wrong:", "scored:", "unscored:")) and n > 0
    }
    if not reasons:
        return ""
    reason = max(reasons, key=lambda name: reasons[name])
    return f"{reason.replace('_', ' ')} {reasons[reason]:,}"


def numbers(result: Stability) -> list[str]:
    """What was asked, the mean, plain PSS beside its floor, what could have been seen; notes."""
    lines = [f"Asked: {size(result, '×')}"]
    if not math.isnan(result.mean):
        lines.append(f"Mean {result.measure} {two(result.mean)} {range_of(result.mean.interval)}")
    if not math.isnan(result.pss):
        line = f"Plain PSS {two(result.pss)}"
        if not math.isnan(result.noise_floor):
            floor = f"{two(result.noise_floor)} {range_of(result.noise_floor.interval)}"
            line += f" (noise floor, if personas had no effect: {floor})"
        lines.append(line)
    if line := near_zero(result):
        lines.append(line)
    if 0 < result.minimum_detectable < 1:
        lines.append(
            f"This run could find a PSS of {two(result.minimum_detectable)} or lower (power 80%)"
        )
    if result.why_undetermined:
        lines.append(f"Conclusion: {printable(result.why_undetermined)}.")
    if result.unscored:
        low, high = result.mean_if_unscored
        lines.append(
            f"Unscored: {result.unscored:,}, the instrument failed; mean if all wrong {two(low)}, "
            f"all right {two(high)}"
        )
    return [*lines, *(f"Note: {printable(note)}." for note in result.notes)]


# --------------------------------------------------------------------- numbers and names
def two(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2f}"


def range_of(ends: tuple[float, float]) -> str:
    """`[0.03, 0.40]`; empty where an end is undefined."""
    return "" if math.isnan(ends[0]) or math.isnan(ends[1]) else f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def bar(value: float, width: int = BAR) -> str:
    """A bar of `width` columns at 1, in eighths of a column; empty where the value is undefined."""
    if math.isnan(value):
        return ""
    eighths = round(value * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def cut(text: str, width: int) -> str:
    """The text with its middle left out where it is longer than `width`: `a-very-lo…g-name`."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
