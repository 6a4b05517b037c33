"""Stability in the terminal: one row per persona, then what the rows add up to.

    from rich.console import Console

    print_stability(stability(outcomes), title="my model on math500", console=Console())

Everything is plain ASCII but the names themselves, and nothing hangs on colour: the output
reads the same in a pipe, in a log and on an 80-column terminal.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from persona_bench.scoring.family import DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from rich.console import Console

    from persona_bench.scoring.stability import Stability

FAMILY = (
    "mean", "spread", "agreement", "answer_agreement", "answer_agreement_self", "solid", "pss_mean",
    "pss_cv",
)  # fmt: skip
"""The metrics that stand beside the PSS, in the order in which they are printed."""

UNKNOWN = "n/a"
"""Stands where a number is undefined."""


EXPECTED = "expected"
"""Header of the expected accuracies."""

PADDING = (0, 1, 0, 0)
"""Padding of table cells: tight, so that a persona fits a line of 80 columns."""


def print_stability(result: Stability, *, title: str, console: Console) -> None:
    """Print one model's stability on one benchmark.

    `title` and the names of personas and kinds are shown as they are: Rich markup in them
    has no effect, and control characters are written out (`\\x1b`).
    """
    console.print(Text(printable(title), style="bold"))
    console.print(Text(size(result)))
    console.print(Text(f"Intervals: {result.confidence:.0%}, over questions like these"))
    _print_personas(result, console)
    console.print(_metric_table(result, _headline_rows(result)))
    console.print(Text(meaning(result), style="bold"))
    if verdict := conclusion(result):
        console.print(Text(verdict, style="bold"))
    for line in filter(None, (near_zero(result), how_little(result))):
        console.print(Text(line))
    for line in extremes(result):
        console.print(Text(line))
    console.print(_metric_table(result, _family_rows(result)))
    if result.unscored:
        console.print(Text(_unscored(result)))
    for note in result.notes:
        console.print(Text(f"Note: {printable(note)}."))


def meaning(result: Stability) -> str:
    """What the PSS, its noise floor and p-value say, in one sentence."""
    if math.isnan(result.pss):
        return "No response could be scored: nothing can be said about this model."
    if result.best == 0:
        return (
            "No response is correct under any persona: the PSS is 0 by definition, and whether "
            "personas matter can't be told from these questions."
        )
    if (result.per_persona["n"] > 0).sum() < 2:
        return "Only one persona is scored: whether personas matter can't be told."
    if result.spread == 0:
        return (
            f"Every persona has the same {result.measure}, {number(result.best)}; "
            f"{count(result.n_questions, 'question')} can't rule a small effect out."
        )
    if math.isnan(result.p_value):
        return "Whether this spread is larger than chance is not tested in an early look."
    p = format_p(result.p_value)
    if result.p_value < 1 - result.confidence:
        return f"Personas change this model's {result.measure} more than chance would ({p})."
    return (
        "This spread is no larger than chance alone would give on "
        f"{count(result.n_questions, 'question')} ({p}); a smaller effect can't be ruled out."
    )


def conclusion(result: Stability) -> str:
    """Whether the model is stable, and what this design could have seen; empty where undefined."""
    if math.isnan(result.pss_corrected):
        return ""
    if result.why_undetermined:
        why = printable(result.why_undetermined)
        return f"Conclusion: {why}. {_power(result)}".strip()
    where = {
        "stable": f"lies wholly from {result.stable_from:g} on",
        "unstable": f"lies wholly below {result.stable_from:g}",
        "undetermined": f"lies on both sides of {result.stable_from:g}",
    }[result.conclusion]
    return (
        f"Conclusion: {result.conclusion} (the interval of the corrected PSS {where}; probability "
        f"of a PSS below {result.stable_from:g}: {result.probability_unstable:.0%}). "
        f"{_power(result)}"
    ).strip()


def _power(result: Stability) -> str:
    """What this design could have detected; empty where that is no information."""
    detectable = number(result.minimum_detectable)
    if detectable in (UNKNOWN, number(1.0)):  # every PSS is 1 or lower
        return ""
    if detectable != number(0.0):
        return (
            "With one persona worse than the rest, this run had 80% power to detect a PSS of "
            f"{detectable} or lower."
        )
    if result.conclusion != "undetermined":
        return ""
    return (
        "This run had less than 80% power to detect even one persona that gets every question "
        "wrong: more questions or samples are needed."
    )


FEW_QUESTIONS = 100


def how_little(result: Stability) -> str:
    """How imprecise a small table is; empty where it is large, or where nothing can vary."""
    if result.n_questions >= FEW_QUESTIONS or math.isnan(result.p_value):
        return ""
    low, high = map(number, result.noise_floor.interval)
    if low == high:  # all is correct, or nothing is: `meaning` and the notes say so
        return ""
    return (
        f"A wide range is possible with {count(result.n_questions, 'question')}: a model that no "
        f"persona affects would show a plain PSS between {low} and {high} in "
        f"{result.confidence:.0%} of runs by chance alone. More questions or samples narrow that."
    )


def near_zero(result: Stability) -> str:
    """What to read in place of a ratio where the worst accuracy is near 0; empty elsewhere."""
    if not result.is_near_zero:
        return ""
    gap, odds = result.worst_minus_best, result.worst_odds_ratio
    return (
        f"The worst {result.measure} is near 0, where a ratio tells little. Worst - best, without "
        f"the noise: {number(gap)} {interval(gap.interval)}; log-odds ratio {odds:.2f} "
        f"[{odds.low:.2f}, {odds.high:.2f}]."
    )


# ------------------------------------------------------------------------- words and numbers
def printable(text: str) -> str:
    """The text with what can't be printed written out: no terminal codes, no line breaks."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def count(n: int, noun: str) -> str:
    """`1 question`, `1,200 questions`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


MOST_TIED = 5
"""Names that are listed of a tie."""


def with_ties(names: Sequence[str]) -> str:
    """`pirate`, `hater, sleeper (tie)`, `a, b, c, d, e and 12 more (tie)`."""
    text = ", ".join(map(printable, names[:MOST_TIED]))
    if len(names) > MOST_TIED:
        text += f" and {len(names) - MOST_TIED:,} more"
    return f"{text} (tie)" if len(names) > 1 else text


def undefined(result: Stability) -> str:
    """Why the corrected PSS of a result is undefined, in two or three words."""
    if math.isnan(result.mean):
        return "nothing scored"
    if result.best == 0:
        return "nothing correct"
    several = (result.per_persona["n"] > 0).sum() > 1
    return "only one question" if several else "only one persona"


def size(result: Stability, times: str = "x") -> str:
    """How much was asked: `200 questions x 16 personas x 4 samples (12,800 responses)`."""
    cells = result.n_questions * result.n_personas
    up_to = "up to " if result.n_responses < cells * result.n_samples else ""
    text = (
        f"{count(result.n_questions, 'question')} {times} {count(result.n_personas, 'persona')} "
        f"{times} {up_to}{count(result.n_samples, 'sample')} "
        f"({count(result.n_responses, 'response')}"
    )
    return text + (f"; {count(result.missing, 'cell')} without any)" if result.missing else ")")


def number(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.3f}"


def interval(ends: tuple[float, float]) -> str:
    """`[0.612, 0.731]`."""
    if math.isnan(ends[0]) or math.isnan(ends[1]):
        return UNKNOWN
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]"


def format_p(p: float) -> str:
    if math.isnan(p):
        return f"p {UNKNOWN}"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def bare_p(p: float) -> str:
    """`0.012` or `< 0.001`, for a column that is called p."""
    return format_p(p).removeprefix("p ").removeprefix("= ")


def by_accuracy(result: Stability) -> pd.DataFrame:
    """`per_persona`, best accuracy first and ties by name; nothing scored comes last."""
    return result.per_persona.sort_values(
        ["accuracy", "persona"], ascending=[False, True], na_position="last", ignore_index=True
    )


# --------------------------------------------------------------------------- the persona table
def _print_personas(result: Stability, console: Console) -> None:
    """One table where the window is wide enough, else two."""
    personas = by_accuracy(result)
    more = _shrunken(personas) | _failures(personas)
    whole = _persona_table(result, personas, more)
    unlimited = console.options.update(max_width=10_000)
    if Measurement.get(console, unlimited, whole).maximum <= console.width:
        console.print(whole)
        return
    console.print(_persona_table(result, personas, {}))
    console.print()
    second = plain_table("Expected accuracy, and responses that failed", _caption(more))
    second.add_column("persona", overflow="fold")
    _add_columns(second, more)
    for i, name in enumerate(personas["persona"]):
        second.add_row(_text(name), *(cells[i] for cells in more.values()))
    console.print(second)


def _persona_table(result: Stability, personas: pd.DataFrame, more: dict[str, list[str]]) -> Table:
    caption = of_responses(result)
    if more:
        caption += f"; {_caption(more)}"
    table = plain_table(f"{result.measure.capitalize()} by persona", caption)
    table.add_column("persona", overflow="fold")
    longest = max(len(str(kind)) for kind in personas["kind"])
    table.add_column("kind", overflow="fold", min_width=min(15, longest))
    table.add_column(result.measure, justify="right", no_wrap=True)
    table.add_column(f"{result.confidence:.0%} interval", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    _add_columns(table, more)
    for i, row in enumerate(personas.to_dict("records")):
        table.add_row(
            _text(row["persona"]),
            _text(row["kind"]),
            number(row["accuracy"]),
            Text(interval((row["low"], row["high"]))),
            f"{row['n']:,}",
            *(cells[i] for cells in more.values()),
        )
    return table


def of_responses(result: Stability) -> str:
    """How the accuracy of a persona comes from its responses."""
    if result.measure == "score":
        return "score: mean over the n scored responses"
    return "accuracy: correct share of the n scored responses"


def _caption(more: dict[str, list[str]]) -> str:
    expected = "expected: without the noise; its bands hold for all personas at once; "
    return f"{expected if EXPECTED in more else ''}right: responses that failed"


def _shrunken(personas: pd.DataFrame) -> dict[str, list[str]]:
    """Expected accuracies and their bands; empty where they are undefined."""
    if personas["shrunken"].isna().all():
        return {}
    bands = zip(personas["shrunken_low"], personas["shrunken_high"], strict=True)
    return {EXPECTED: list(map(number, personas["shrunken"])), "band": list(map(interval, bands))}


def _failures(personas: pd.DataFrame) -> dict[str, list[str]]:
    """Why responses are wrong, the commonest reason first, then how many are unscored.

    Only what occurs: reason -> count per persona, in the order of the rows.
    """
    reasons = {
        str(name).removeprefix("wrong:"): personas[name].astype(int)
        for name in personas.columns
        if str(name).startswith("wrong:")
    }
    explained = sum(reasons.values())
    reasons["wrong, no reason given"] = personas["wrong"].astype(int) - explained
    ordered = sorted(reasons.items(), key=lambda item: (-item[1].sum(), item[0]))
    if "scored" in personas:
        ordered.append(("scored between 0 and 1", personas["scored"].astype(int)))
    ordered.append(("unscored", personas["unscored"].astype(int)))
    return {name: [f"{n:,}" for n in counts] for name, counts in ordered if counts.sum() > 0}


def _add_columns(table: Table, more: dict[str, list[str]]) -> None:
    for name in more:
        header = printable(name).replace("_", "\n").replace(" ", "\n")  # narrow columns
        table.add_column(Text(header), justify="right", no_wrap=name in (EXPECTED, "band"))


def plain_table(title: str = "", caption: str = "") -> Table:
    """An empty table in the style that all tables in the terminal share."""
    return Table(
        title=title or None,
        caption=caption or None,
        title_justify="left",
        caption_justify="left",
        title_style="",
        caption_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=PADDING,
    )


def _text(value: Any) -> Text:
    return Text(printable(str(value)))


# ----------------------------------------------------------------------------- the metrics
def _metric_table(result: Stability, rows: list[tuple[str, str, str, str]]) -> Table:
    table = plain_table()
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column(f"{result.confidence:.0%} interval", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _headline_rows(result: Stability) -> list[tuple[str, str, str, str]]:
    floor = f"{DEFINITIONS['noise_floor']} (interval: the middle {result.confidence:.0%} of these)"
    p = bare_p(result.p_value)
    rows = [
        (
            "corrected PSS",
            number(result.pss_corrected),
            interval(result.pss_corrected.interval),
            DEFINITIONS["pss_corrected"],
        ),
        (
            "  asked",
            number(result.pss_corrected_asked),
            interval(result.pss_corrected_asked.interval),
            DEFINITIONS["pss_corrected_asked"],
        ),
        ("plain PSS", number(result.pss), "", f"{DEFINITIONS['pss']}; noise lowers it"),
        (
            "noise floor",
            number(result.noise_floor),
            interval(result.noise_floor.interval),
            floor,
        ),
        ("p-value", p, "", DEFINITIONS["p_value"]),
        (
            "persona sd",
            number(result.persona_sd),
            interval(result.persona_sd.interval),
            f"{DEFINITIONS['persona_sd']}; {number(result.persona_sd_logit)} in log-odds",
        ),
        (
            "worst - control",
            number(result.worst_minus_control),
            interval(result.worst_minus_control.interval),
            DEFINITIONS["worst_minus_control"],
        ),
    ]
    optional = ("asked", "persona sd", "worst - control")
    return [row for row in rows if row[0].strip() not in optional or row[1] != UNKNOWN]


def _family_rows(result: Stability) -> list[tuple[str, str, str, str]]:
    rows = []
    for name in FAMILY:
        if name.startswith("answer_") and math.isnan(getattr(result, name)):
            continue
        definition = DEFINITIONS[name]
        if name == "mean":
            definition += f"; standard error {number(result.mean_se)}, clustered by question"
        ends: tuple[float, float] = getattr(result, name).interval
        rows.append((name, number(getattr(result, name)), interval(ends), definition))
    return rows


def extremes(result: Stability) -> list[str]:
    """The worst and the best persona, ties named as such; empty where all have one accuracy."""
    if not result.spread > 0:  # NaN too
        return []
    table = result.per_persona.set_index("persona")
    lines = []
    for label, names in (("Worst", result.worst_personas), ("Best", result.best_personas)):
        rows = table.loc[names]
        line = (
            f"{label} persona{'s' if len(names) > 1 else ''}: {with_ties(names)}, {result.measure} "
            f"{number(rows['accuracy'].iloc[0])}"
        )
        same = rows[["low", "high", "n"]].drop_duplicates()
        if len(same) == 1:
            ends = interval((same["low"].iloc[0], same["high"].iloc[0]))
            line += f" {ends}, n = {same['n'].iloc[0]:,}{' each' if len(names) > 1 else ''}"
        lines.append(line)
    return lines


def _unscored(result: Stability) -> str:
    """How many responses are unscored, why, and how much they leave open."""
    reasons = {
        str(name).removeprefix("unscored:"): int(result.per_persona[name].sum())
        for name in result.per_persona.columns
        if str(name).startswith("unscored:")
    }
    why = ", ".join(f"{printable(name)} {n:,}" for name, n in sorted(reasons.items()) if n)
    mean, pss, bounds = result.mean_if_unscored, result.pss_if_unscored, result.pss_bounds
    return (
        f"Unscored: {result.unscored:,} of {count(result.n_responses, 'response')}"
        f"{f' ({why})' if why else ''}: the instrument failed, not the model. With all of them "
        f"wrong / all right, mean {result.measure} is {number(mean[0])} / {number(mean[1])} and "
        f"PSS {number(pss[0])} / {number(pss[1])}; however they had come out, PSS lies within "
        f"{interval(bounds)}."
    )
