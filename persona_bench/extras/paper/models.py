"""Several models beside each other: a table a benchmark, a table of personas, and the paper's own.

A letter at a number says by which test it differs from the reference (`significance.TEST_MARKS`);
p-values are corrected for the number of models held against it (Holm 1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.extras.paper.significance import STABILITY_TESTS, against, stability_marks
from persona_bench.extras.paper.table import Cell, Column, Measure, Number, PaperTable
from persona_bench.report.names import file_stem, generation_sentences
from persona_bench.report.tables import count
from persona_bench.scoring.resampling import NOWHERE

if TYPE_CHECKING:
    from persona_bench.scoring.compare import Comparison
    from persona_bench.scoring.stability import Stability

_HEADERS = {
    "mean": "accuracy",
    "worst": "worst",
    "best": "best",
    "pss_corrected": "corrected PSS",
    "pss": "plain PSS",
}


def models_table(
    task: str,
    results: Mapping[str, Stability],
    comparisons: Mapping[str, Comparison],
    reference: str = "",
) -> PaperTable:
    """One row per model: accuracy, worst, best, corrected PSS, plain PSS, noise floor, n, unscored.

    Args:
        task: The task that all results are of.
        results: By model, in the order of the rows.
        comparisons: Comparison of each other model with the reference; no letters if empty.
        reference: The model they were held against.
    """
    marks = stability_marks(comparisons)
    columns = [Column("model", align="l"), *map(Column, _HEADERS.values())]
    columns += [Column("noise floor"), Column("n"), Column("unscored")]
    rows: list[list[Cell]] = []
    for model, result in results.items():
        cells = [stability_number(result, name, marks.get((model, name), "")) for name in _HEADERS]
        floor = noise_floor(result)
        n = result.n_responses - result.unscored
        counts = [Number(n, digits=0), Number(result.unscored, digits=0)]
        rows.append([model, *cells, floor, *counts])
    return PaperTable(
        f"{file_stem(task)}_models",
        f"{task}: accuracy and stability over personas",
        columns,
        rows,
        notes=[*_sizes(results), *_told(comparisons, reference)],
        data=pd.DataFrame([_record(model, result) for model, result in results.items()]),
        stacked=True,
    )


def personas_table(task: str, results: Mapping[str, Stability]) -> PaperTable:
    """A row a persona, one column per model: accuracies; personas by their mean over the models."""
    tables = {model: result.per_persona.set_index("persona") for model, result in results.items()}
    wide = pd.DataFrame({model: table["accuracy"] for model, table in tables.items()})
    order = wide.mean(axis=1).sort_values(ascending=False, kind="stable", na_position="last").index
    kinds = pd.concat([table["kind"] for table in tables.values()])
    kinds = kinds[~kinds.index.duplicated()]
    rows: list[list[Cell]] = []
    for persona in order:
        cells = []
        for table in tables.values():
            if persona not in table.index:
                cells.append(Number(math.nan))
                continue
            row = table.loc[persona]
            ends = float(row["low"]), float(row["high"])
            cells.append(Number(float(row["accuracy"]), *ends))
        rows.append([str(persona), str(kinds[persona]).replace("_", " "), *cells])
    columns = [Column("persona", align="l"), Column("kind", align="l"), *map(Column, results)]
    long = [
        table.reset_index()[["persona", "kind", "accuracy", "low", "high", "n", "unscored"]].assign(
            model=model
        )
        for model, table in tables.items()
    ]
    return PaperTable(
        f"{file_stem(task)}_models_personas",
        f"{task}: accuracy by persona",
        columns,
        rows,
        notes=[*_sizes(results), _scored(results)],
        data=pd.concat(long, ignore_index=True),
    )


def methods_table(models: Sequence[str], measures: Sequence[Measure], reference: str) -> PaperTable:
    """The paper's layout, methods by benchmarks: accuracy and PSS of each, and fidelity.

    Args:
        models: In the order of the rows.
        measures: The columns, from left to right.
        reference: What the others were held against.
    """
    columns = [Column("method", align="l")]
    columns += [Column(measure.name, measure.benchmark) for measure in measures]
    rows: list[list[Cell]] = [
        [model, *(measure.cells.get(model, Number(math.nan)) for measure in measures)]
        for model in models
    ]
    notes = list(dict.fromkeys(note for measure in measures for note in measure.notes))
    if any(cell.marks for measure in measures for cell in measure.cells.values()):
        notes.append(against(reference, len(models) - 1))
    return PaperTable(
        "methods", "Robustness and fidelity to personas", columns, rows, notes=notes, stacked=True
    )


def _told(comparisons: Mapping[str, Comparison], reference: str) -> list[str]:
    if not comparisons:
        return []
    return [
        *generation_sentences(comparisons, reference),
        f"{against(reference, len(comparisons))} {STABILITY_TESTS}",
    ]


def stability_number(result: Stability, metric: str, marks: str = "") -> Number:
    """A metric with its interval. The plain PSS has none: the corrected one and the noise floor say
    how much of it is noise."""
    low, high = NOWHERE if metric == "pss" else getattr(result, metric).interval
    return Number(getattr(result, metric), low, high, marks)


def noise_floor(result: Stability) -> Number:
    """The cell with the band of values that occur when personas have no effect."""
    return Number(result.noise_floor, *result.noise_floor.interval)


def _sizes(results: Mapping[str, Stability]) -> list[str]:
    """How much was asked, and what the intervals are; one line where all are alike."""
    models_by_words: dict[str, list[str]] = {}
    for model, each in results.items():
        words = (
            f"{count(each.n_questions, 'question')} x {count(each.n_personas, 'persona')} x "
            f"{count(each.n_samples, 'sample')}; in brackets {each.confidence:.0%} intervals"
        )
        models_by_words.setdefault(words, []).append(model)
    if len(models_by_words) == 1:
        return [f"{next(iter(models_by_words))}."]
    return [f"{', '.join(models)}: {words}." for words, models in models_by_words.items()]


def _scored(results: Mapping[str, Stability]) -> str:
    """How many responses stand behind a persona's accuracy."""
    parts = []
    for model, each in results.items():
        n = each.per_persona["n"].astype(int)
        span = f"{n.min():,}" if n.min() == n.max() else f"{n.min():,} to {n.max():,}"
        parts.append(f"{model} {span} ({each.unscored:,} of all unscored)")
    return f"Scored responses a persona: {', '.join(parts)}."


def scored_note(task: str, results: Mapping[str, Stability]) -> str:
    """How many responses stand behind a task's numbers."""
    parts = [
        f"{model} {each.n_responses - each.unscored:,} ({each.unscored:,} unscored)"
        for model, each in results.items()
    ]
    return f"{task}, scored responses: {', '.join(parts)}."


def _record(model: str, result: Stability) -> dict[str, object]:
    record: dict[str, object] = {"model": model}
    for name in (*_HEADERS, "noise_floor"):
        record[name] = getattr(result, name)
        if name != "pss":
            low, high = getattr(result, name).interval
            record |= {f"{name}_low": low, f"{name}_high": high}
    sizes = ("n_questions", "n_personas", "n_samples", "n_responses", "unscored")
    record |= {"p_value": result.p_value, "conclusion": result.conclusion}
    return record | {name: getattr(result, name) for name in sizes}
