"""Fidelity in the terminal and as files, with the judge's own measure beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from persona_bench.report.names import file_stem
from persona_bench.report.summary import two
from persona_bench.report.tables import (
    bare_p,
    count,
    format_p,
    interval,
    number,
    plain_table,
    printable,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from persona_bench.scoring.as_published import AsPublished, PublishedComparison
    from persona_bench.scoring.estimate import Estimate
    from persona_bench.scoring.fidelity import Fidelity
    from persona_bench.scoring.fidelity_compare import FidelityComparison
    from persona_bench.scoring.ratings import AgainstRaters, HeldAgainstRaters

MOST_PERSONAS = 20
"""Personas in the terminal's table; the files have all."""

BIASED = 0.05
"""Level, after Holm's correction, at which a judge's bias for a persona or model is named."""

NOT_ENTERED = (
    "The judge {judge} has not taken the entry test (persona-bench judge RESULTS --entry-test)."
)
NOT_AUDITED = (
    "The judge {judge} was not audited: whether it tells personas apart is not known "
    "(persona-bench judge RESULTS --audit)."
)


def print_fidelity(
    result: Fidelity,
    *,
    title: str,
    console: Console,
    audits: Mapping[str, Mapping[str, Any]],
    entries: Mapping[str, Mapping[str, Any]],
    agreement: Estimate | None = None,
    held: HeldAgainstRaters | None = None,
    published: AsPublished | None = None,
) -> None:
    """Print how well one model plays its personas.

    Args:
        result: The scores.
        title: Title of the whole.
        console: Where to.
        audits: By judge, as `Audit.to_dict` gives them; a judge without one is named.
        entries: By judge, as `EntryResult.to_dict` gives them, likewise.
        agreement: Krippendorff's alpha between the judges; None for one judge.
        held: What people's ratings say; None where there are none.
        published: The scores of PersonaGym's published protocol; None where it was not asked for.
    """
    console.print(Text(printable(title), style="bold"))
    console.print(
        Text(
            f"{count(result.n_responses, 'response')} of {count(result.n_personas, 'persona')}, "
            f"judged by {', '.join(map(printable, result.judges['judge']))} with the rubrics "
            f"{printable(result.rubric)}"
        )
    )
    console.print(Text(f"Scores from 1 to 5; intervals: {result.confidence:.0%}, by persona"))
    console.print(_tasks(result, published))
    console.print(_personas(result))
    if len(result.judges) > 1:
        console.print(_judges(result))
    if agreement is not None:
        console.print(
            Text(f"Agreement between the judges: Krippendorff's alpha {number(agreement)} "
                 f"{interval(agreement.interval)} (1: the same scores, 0: chance).")
        )  # fmt: skip
    if result.unscored:
        console.print(Text(_unscored(result)))
    for note in result.notes:
        console.print(Text(f"Note: {printable(note)}."))
    for line in published_lines(published) if published else ():
        console.print(Text(printable(line)))
    for line in judge_lines(result.judges["judge"], entries, audits):
        console.print(Text(printable(line), style="bold"))
    for line in rater_lines(held) if held else ():
        console.print(Text(printable(line)))


def judge_lines(
    judges: Iterable[str],
    entries: Mapping[str, Mapping[str, Any]],
    audits: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """What is known of each judge, beside the scores: entry test and audit."""
    lines: list[str] = []
    for judge in judges:
        lines.append(entry_line(judge, entries))
        told = audits.get(judge)
        if not told:
            lines.append(NOT_AUDITED.format(judge=judge))
            continue
        words = [str(word) for word in told["words"]]
        if told["tells_personas_apart"] == "not":
            words[0] = f"WARNING: {words[0]}"
        lines += words
    return lines


def judges_in_words(judges: pd.DataFrame) -> str:
    """The judges' names, each with its accuracy in the entry test.

    Args:
        judges: Columns judge and entry_test, as `Fidelity.judges` or the judged table.
    """
    accuracies = judges.groupby("judge", sort=False)["entry_test"].min()  # NaN if never taken
    return ", ".join(
        f"{name} ({'no entry test' if math.isnan(value) else f'entry test {value:.0%}'})"
        for name, value in accuracies.items()
    )


def entry_line(judge: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """How a judge did in the entry test, or that it has not taken it."""
    told = entries.get(judge)
    if not told:
        return NOT_ENTERED.format(judge=judge)
    return str(told["words"]) if told["passed"] else f"WARNING: {told['words']}"


def published_lines(found: AsPublished) -> list[str]:
    """PersonaScore by PersonaGym's published protocol, and what that protocol lost."""
    first, second = found.judges
    score, faults = found.persona_score, []
    if found.unread:
        faults.append(f"{found.unread:,} without a score that it can read drop out")
    if found.out_of_range:
        faults.append(f"{found.out_of_range:,} above 5 count as they are")
    if found.empty_batches:
        failed = f", {found.failed_calls:,} of them failed calls" if found.failed_calls else ""
        faults.append(f"{count(found.empty_batches, 'answer')} without any score count 0{failed}")
    if found.failed_responses:
        faults.append(f'{count(found.failed_responses, "failed request")} judged as "Error"')
    read = count(found.read + found.unread, "evaluation")
    said = "; ".join((f"{two(score)} {_ends(*score.interval)}, from {read} of responses", *faults))
    return [
        f"PersonaScore as published (PersonaGym's protocol with its faults; judges {first}, and "
        f"{second} without the system message): {said}."
    ]


def rater_lines(held: HeldAgainstRaters) -> list[str]:
    """What people's ratings say of raters, judges and fidelity, a sentence each."""
    lines = [
        f"{count(held.n, 'response')} rated by {count(len(held.raters), 'rater')}"
        + (
            f"; Krippendorff's alpha between them {number(held.alpha)} {interval(held.interval)}."
            if len(held.raters) > 1
            else "; agreement between raters takes two."
        )
    ]
    lines += [_against_raters(each) for each in held.judges if each.n]
    if found := held.corrected:
        lines.append(
            f"PersonaScore corrected for the judges' error: {two(found.persona_score)} "
            f"{_ends(*found.interval)} from {found.n_rated:,} ratings and {found.n_responses:,} "
            f"judged responses (judges alone {two(found.judged)} "
            f"{_ends(*found.judged_interval)}, ratings alone {two(found.rated)} "
            f"{_ends(*found.rated_interval)}; {found.confidence:.0%} intervals, by persona)."
        )
        lines.append(
            f"About {found.to_halve:,} rated responses would halve this interval."
            if found.to_halve
            else "No number of ratings of these responses would halve this interval: the rest of "
            "its width lies in the number of personas."
        )
    return lines


def _against_raters(found: AgainstRaters) -> str:
    """One judge beside the raters."""
    low, high = found.interval
    said = (
        f"{found.judge} against the raters: {found.bias:+.2f} points {_ends(low, high)} on average "
        f"over {count(found.n, 'response')}, the same score in {found.same:.0%}, within one point "
        f"in {found.within_one:.0%}, alpha {number(found.alpha)}"
    )
    parts = []
    for by in ("model", "persona"):
        table = getattr(found, f"by_{by}")
        if len(table) > 1:
            parts += [
                f"{row[by]} {row['bias']:+.2f} (p {bare_p(row['p_holm'])})"
                for row in table.to_dict("records")
                if row["p_holm"] <= BIASED
            ]
    return said + (f"; clearly biased for {', '.join(parts)}." if parts else ".")


def table_of(title: str, *columns: str) -> Table:
    """A table of the terminal, the first column on the left."""
    table = plain_table(title)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right", overflow="fold")
    return table


def _ends(low: float, high: float) -> str:
    return "n/a" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]"


def _tasks(result: Fidelity, published: AsPublished | None) -> Table:
    ends = f"{result.confidence:.0%} interval"
    rows = published.task_scores.to_dict("records") if published else []
    by_theirs = {row["eval_task"]: float(row["score"]) for row in rows}
    theirs = ["as published"] if published else []
    table = table_of(
        "Fidelity", "evaluation task", "score", ends, "averaged as PersonaGym", *theirs,
        "responses", "unscored",
    )  # fmt: skip
    for row in result.task_scores.to_dict("records"):
        table.add_row(
            row["eval_task"], two(row["score"]), _ends(row["low"], row["high"]),
            two(row["compatible"]),
            *[two(by_theirs.get(row["eval_task"], math.nan)) for _ in theirs],
            f"{row['n']:,}", f"{row['unscored']:,}",
        )  # fmt: skip
    table.add_row(
        Text("PersonaScore", style="bold"),
        Text(two(result.persona_score), style="bold"),
        _ends(*result.persona_score.interval),
        two(result.persona_score_compatible),
        *([two(published.persona_score)] if published else []),
        f"{result.n_responses - result.unscored_responses:,}",
        f"{result.unscored:,}",
    )
    if "Toxicity" in set(result.task_scores["eval_task"]) and len(result.task_scores) > 1:
        apart = result.without_toxicity
        table.add_row(
            "  without Toxicity",
            two(apart),
            _ends(*apart.interval),
            "",
            *["" for _ in theirs],
            "",
            "",
        )
    return table


def _personas(result: Fidelity) -> Table:
    rows = result.personas.to_dict("records")
    half = MOST_PERSONAS // 2
    shown: Sequence[Any] = rows
    title = "By persona"
    if len(rows) > MOST_PERSONAS:
        shown = [*rows[:half], None, *rows[-half:]]
        title += f" (the best and worst {half} of {len(rows)})"
    table = table_of(title, "persona", "kind", "PersonaScore", "interval", "n", "unscored")
    for row in shown:
        if row is None:
            table.add_row("...", "", "", "", "", "")
            continue
        table.add_row(
            Text(printable(str(row["persona"]))), row["kind"], two(row["persona_score"]),
            _ends(row["low"], row["high"]), f"{row['n']:,}", f"{row['unscored']:,}",
        )  # fmt: skip
    return table


def _judges(result: Fidelity) -> Table:
    table = table_of(
        "By judge", "judge", "PersonaScore", "n", "unscored", "scores 1 / 2 / 3 / 4 / 5"
    )
    for row in result.judges.to_dict("records"):
        shares = " / ".join(f"{row[f'share_{k}']:.0%}" for k in range(1, 6)) if row["n"] else "n/a"
        name = Text(printable(str(row["judge"])))
        table.add_row(
            name, two(row["persona_score"]), f"{row['n']:,}", f"{row['unscored']:,}", shares
        )
    return table


def _unscored(result: Fidelity) -> str:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in result.unscored_reasons.items())
    low, high = result.bounds
    return (
        f"{count(result.unscored, 'verdict')} unscored ({reasons}): PersonaScore would be "
        f"{two(low)} if all of them were 1, {two(high)} if all were 5."
    )


def write_fidelity(
    result: Fidelity, folder: Path, *, task: str, record: Mapping[str, Any]
) -> list[Path]:
    """`<task>_fidelity.csv`, `_fidelity_personas.csv`, `_fidelity_judges.csv` and `.json`.

    Args:
        result: The scores.
        folder: Where to; made where it is not there.
        task: The task's name.
        record: Goes into the JSON file beside the scores: provenance, audits, agreement.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{file_stem(task)}_fidelity"
    whole = {**result.to_dict(), **record}
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    tables = {"": result.task_scores, "_personas": result.personas, "_judges": result.judges}
    paths = []
    for end, table in tables.items():
        path = folder / f"{stem}{end}.csv"
        table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
        paths.append(path)
    path = folder / f"{stem}.json"
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
    return [*paths, path]


# ---------------------------------------------------------------------- two models


def print_fidelity_comparison(
    result: FidelityComparison,
    *,
    title: str,
    a: str,
    b: str,
    console: Console,
    entries: Mapping[str, Mapping[str, Any]],
    published: PublishedComparison | None = None,
) -> None:
    """Print what differs in fidelity between two models, and what of it is more than noise.

    `entries` has the judges' entry tests, as for `print_fidelity`; `published` the difference under
    PersonaGym's published protocol, where both runs were judged by it.
    """
    console.print(Text(printable(f"{title}: b - a"), style="bold"))
    for letter, model in (("a", a), ("b", b)):
        console.print(Text(printable(f"{letter}: {model}")))
    console.print(
        Text(
            f"{count(result.n_responses, 'response')} of {count(result.n_personas, 'persona')}, "
            f"the same for both, judged by {', '.join(map(printable, result.judges))}; "
            f"intervals: {result.confidence:.0%}"
        )
    )
    ends = f"{result.confidence:.0%} interval"
    table = table_of("Fidelity, 1 to 5", "evaluation task", "a", "b", "b - a", ends, "p", "Holm")
    for row in result.task_scores.to_dict("records"):
        table.add_row(row["eval_task"], *_difference(row), bare_p(row["p_holm"]))
    low, high = result.difference.interval
    whole = {
        "a": result.score_a, "b": result.score_b, "difference": result.difference, "low": low,
        "high": high, "p_value": result.p_value,
    }  # fmt: skip
    table.add_row(Text("PersonaScore", style="bold"), *_difference(whole), "")
    console.print(table)
    rows = result.per_persona.to_dict("records")
    half = MOST_PERSONAS // 2
    if len(rows) > MOST_PERSONAS:
        rows = [*rows[:half], *rows[-half:]]
    table = table_of("By persona", "persona", "a", "b", "b - a", ends, "p", "Holm")
    for row in rows:
        name = Text(printable(str(row["persona"])))
        table.add_row(name, *_difference(row), bare_p(row["p_holm"]))
    console.print(table)
    if result.left_out:
        console.print(
            Text(f"{result.left_out:,} of {result.n_verdicts:,} verdicts are unscored in one of "
                 "the runs and left out of both.")
        )  # fmt: skip
    for note in result.notes:
        console.print(Text(f"Note: {printable(note)}."))
    if published:
        console.print(
            Text(
                f"PersonaScore as published: a {two(published.score_a)}, b "
                f"{two(published.score_b)}, b - a {published.difference:+.2f} "
                f"{_ends(*published.difference.interval)} ({format_p(published.p_value)}; "
                f"{count(published.n_personas, 'persona')})."
            )
        )
    for judge in result.judges:
        console.print(Text(printable(entry_line(judge, entries)), style="bold"))


def _difference(row: Mapping[Any, Any]) -> list[str]:
    value = row["difference"]
    signed = "n/a" if math.isnan(value) else f"{value:+.2f}"
    return [
        two(row["a"]), two(row["b"]), signed, _ends(row["low"], row["high"]),
        bare_p(row["p_value"]),
    ]  # fmt: skip


def write_fidelity_comparison(
    result: FidelityComparison, folder: Path, *, task: str, record: Mapping[str, Any]
) -> list[Path]:
    """`<task>_fidelity_comparison.csv` and `.json`, and `..._personas.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{file_stem(task)}_fidelity_comparison"
    paths = [folder / f"{stem}{end}" for end in (".csv", "_personas.csv", ".json")]
    result.task_scores.to_csv(paths[0], index=False)
    result.per_persona.to_csv(paths[1], index=False)
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    paths[2].write_text(text + "\n", encoding="utf-8")
    return paths
