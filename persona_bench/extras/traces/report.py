"""Whether personas leave a trace: identifiability and persona information, printed and written.

Tables are plain ASCII but for names, as in `report.tables`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from persona_bench.extras.traces.identifiability import identifiability
from persona_bench.provenance import PACKAGES, versions
from persona_bench.report.names import file_stem
from persona_bench.report.places import Places, provenance
from persona_bench.report.tables import (
    count,
    interval,
    number,
    plain_table,
    printable,
    with_ties,
)
from persona_bench.report.trace import MEANING, trace_sentences
from persona_bench.report.voice import traced_lines
from persona_bench.results.outcomes import graded_outcomes, read_responses
from persona_bench.results.samples import newest_samples
from persona_bench.scoring.information import persona_information, response_information
from persona_bench.scoring.voice import VoiceError, voice_by_trace

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from persona_bench.extras.traces.identifiability import Identifiability
    from persona_bench.harness.run import Session
    from persona_bench.results.samples import Samples
    from persona_bench.scoring.information import Information
    from persona_bench.scoring.voice import Voice

DEFINITIONS: dict[str, str] = {
    "identifiability": "share of responses whose persona a classifier names that learned on "
    "other questions",
    "information": "mean log-likelihood of a response under its own persona, less that under "
    "the others (log of their mean likelihood), in nats per token",
}


def chosen_samples(results: Path, *, one_model: bool) -> list[Samples]:
    """The newest samples of a folder, or a samples file.

    Raises:
        ValueError: results of several models when `one_model` is set.
    """
    chosen = newest_samples(results)
    models = sorted({samples.model for samples in chosen})
    if one_model and len(models) > 1:
        raise ValueError(
            f"{results} has results of {len(models)} models ({', '.join(models)}), and "
            "--model-args names one: give the folder of its results"
        )
    return chosen


def trace_samples(
    chosen: Sequence[Samples],
    results: Path,
    places: Places,
    session: Session | None,
    *,
    others: int | None = None,
    embeddings: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> None:
    """Prints and writes the traces in samples files.

    Args:
        chosen: The samples files.
        results: The folder that they are from, for the record.
        places: Where the files of each model go.
        session: The model that gave the responses, for persona information; None leaves it out.
        others: Compare each response with this many other personas, drawn at random; all by
            default.
        embeddings: A sentence-transformers model for identifiability, instead of TF-IDF.
        resamples: Number of bootstrap replicates and of permutations.
        seed: Seed of all that is random.
    """
    out = Console()
    settings = {"others": others, "embeddings": embeddings, "resamples": resamples, "seed": seed}
    for samples in chosen:
        responses = read_responses(samples)
        responses = responses[responses["kind"] != "placebo"].reset_index(drop=True)
        result = identifiability(
            responses, embeddings=embeddings, permutations=resamples, seed=seed
        )
        measured = information = None
        if session is not None:
            from persona_bench.harness.information import likelihoods

            measured = likelihoods(samples, session, others=others, seed=seed)
            information = persona_information(measured.table, resamples=resamples, seed=seed)
        right = [] if samples.judged else _right(samples, responses, result, measured)
        run = {"samples_file": samples.file.name, "task": samples.facts or None}
        how = provenance(results, run, settings)
        how["likelihoods"] = measured and measured.record()
        how["scored_with"] = versions((*PACKAGES, "scikit-learn", "sentence-transformers"))
        write_trace(
            result,
            information,
            places.of(samples.model),
            model=samples.model,
            task=samples.task,
            provenance=how,
            likelihoods=None if measured is None else measured.table,
            right=right,
        )
        title = f"{samples.task} · {places.name(samples.model)}"
        print_trace(result, information, title=title, console=out)
        for line in [line for each in right for line in traced_lines(each)]:
            out.print(escape(line), soft_wrap=True)
        for line in _left_out(measured):
            out.print(escape(line), soft_wrap=True)


def _right(
    samples: Samples, responses: pd.DataFrame, result: Identifiability, measured: Any
) -> list[Voice]:
    """How often a graded task's responses are right and have a trace of their persona."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = graded_outcomes(samples, responses)
    own = responses["persona"].reindex(result.named.index)
    traces = [("identifiability", responses, result.named == own)]
    if measured is not None:
        keys = ["persona", "question", "sample"]
        texts = responses[[*keys, "response"]]
        rows = response_information(measured.table).merge(texts, on=keys)
        traces.append(("persona information above 0", rows, rows["information"] > 0))
    try:
        return [voice_by_trace(outcomes, rows, trace, name) for name, rows, trace in traces]
    except VoiceError:
        return []


def _left_out(measured: Any) -> list[str]:
    """Lines about the log-likelihoods; none if there are none."""
    if measured is None:
        return []
    lines = [f"Note: {note}." for note in measured.notes]
    if measured.empty:
        lines.append(f"Persona information leaves out {measured.empty:,} empty responses.")
    if measured.uneven:
        lines.append(
            f"Persona information leaves out {measured.uneven:,} responses that have other tokens "
            "after other personas."
        )
    return lines


def print_trace(
    result: Identifiability, information: Information | None, *, title: str, console: Console
) -> None:
    """Print both measures of one model on one task; names are shown as they are."""
    console.print(Text(printable(title), style="bold"))
    parts = [
        count(result.n_questions, "question"),
        count(result.n_personas, "persona"),
        count(result.n_responses, "response"),
    ]
    console.print(Text(", ".join(parts) + f"; {result.features}"))
    console.print(_measures(result, information))
    console.print(_personas(result, information))
    for line in conclusions(result, information):
        console.print(Text(line, style="bold"))
    console.print(Text(MEANING))
    if result.missing:
        console.print(Text(f"{count(result.missing, 'response')} missing (API errors): left out."))
    notes = dict.fromkeys((*result.notes, *(information.notes if information else ())))
    for note in notes:
        console.print(Text(f"Note: {printable(note)}."))


def conclusions(result: Identifiability, information: Information | None) -> list[str]:
    """A sentence for each measure."""
    return trace_sentences(trace_record(result, information))


def _measures(result: Identifiability, information: Information | None) -> Table:
    table = plain_table()
    table.add_column("measure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column(f"{result.confidence:.0%} interval", no_wrap=True)
    table.add_column("no trace", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    name = "identifiability"
    _add(
        table, name, number(result.accuracy), interval(result.interval), interval(result.no_trace),
        DEFINITIONS[name],
    )  # fmt: skip
    if information is not None:
        name = "information"
        _add(
            table, name, number(information.value), interval(information.interval),
            interval(information.no_trace), DEFINITIONS[name],
        )  # fmt: skip
    return table


def _personas(result: Identifiability, information: Information | None) -> Table:
    table = plain_table("By persona, the most recognisable first")
    table.add_column("persona", overflow="fold", min_width=12)
    columns = ["recall", f"{result.confidence:.0%} interval"]
    if information is not None:
        columns += ["information", f"{information.confidence:.0%} interval"]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    if information is None:  # an 80-column terminal has no room for both; the files have all
        table.add_column("taken for", overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    for row in personas_table(result, information).to_dict("records"):
        cells = [number(row["recall"]), interval((row["recall_low"], row["recall_high"]))]
        if information is None:
            others = result.confusion.loc[row["persona"]].drop(row["persona"])
            most = others.index[(others > 0) & (others == others.max())]
            cells += [with_ties(list(most)) if len(most) else ""]
        else:
            ends = row["information_low"], row["information_high"]
            cells += [number(row["information"]), interval(ends)]
        _add(table, str(row["persona"]), *cells, f"{row['n']:,}")
    return table


def personas_table(result: Identifiability, information: Information | None) -> pd.DataFrame:
    """One row per persona: recall, what else it is taken for, and its information if measured."""
    table = result.per_persona.rename(columns={"low": "recall_low", "high": "recall_high"})
    if information is None:
        return table
    named = {"low": "information_low", "high": "information_high"}
    named["no_trace"] = "information_no_trace"
    other = information.per_persona.drop(columns=["n", "n_questions"]).rename(columns=named)
    return table.merge(other, on="persona", how="left")


def write_trace(
    result: Identifiability,
    information: Information | None,
    folder: Path,
    *,
    model: str,
    task: str,
    provenance: dict[str, Any],
    likelihoods: pd.DataFrame | None = None,
    right: Sequence[Voice] = (),
) -> list[Path]:
    """Write one model's measures on one task; returns the files, in this order.

    `<task>_trace.json` (all of it, with `provenance`: how the numbers were made),
    `<task>_trace_personas.csv` (one row per persona), `<task>_trace_confusion.csv` (counts: one
    row per persona, one column per persona that it was taken for), and, where there are any,
    `<task>_trace_likelihoods.csv` (a row for each response and candidate persona). Files already
    there are replaced. `right` is for graded tasks: how often responses are right and have a trace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{file_stem(task)}_trace"
    record = {
        "model": model,
        "task": task,
        "meaning": MEANING,
        "provenance": provenance,
        **trace_record(result, information),
        "right_and_traced": {each.judges["judge"].iloc[0]: each.to_dict() for each in right},
    }
    json_path = folder / f"{stem}.json"
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    json_path.write_text(text + "\n", encoding="utf-8", newline="\n")
    tables = {
        "personas": personas_table(result, information),
        "confusion": result.confusion.reset_index(),
        "likelihoods": likelihoods,
    }
    paths = [json_path]
    for name, table in tables.items():
        path = folder / f"{stem}_{name}.csv"
        if table is None:
            path.unlink(missing_ok=True)  # of an earlier call, and of another model perhaps
            continue
        table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
        paths.append(path)
    return paths


def trace_record(result: Identifiability, information: Information | None) -> dict[str, Any]:
    """Both measures, ready for JSON."""
    return {
        "identifiability": {**result.to_dict(), "definition": DEFINITIONS["identifiability"]},
        "persona_information": information
        and {**information.to_dict(), "definition": DEFINITIONS["information"]},
    }


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))
