"""What stands in the columns of the paper's table: accuracy, PSS, fidelity, persona information."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_bench.extras.paper.models import noise_floor, scored_note, stability_number
from persona_bench.extras.paper.significance import STABILITY_TESTS, holm, level_of, stability_marks
from persona_bench.extras.paper.table import Measure, Number
from persona_bench.report.fidelity import judges_in_words
from persona_bench.scoring.methods import mean_over_seeds

if TYPE_CHECKING:
    from persona_bench.scoring.compare import Comparison
    from persona_bench.scoring.fidelity import Fidelity
    from persona_bench.scoring.fidelity_compare import FidelityComparison
    from persona_bench.scoring.information_compare import InformationDifference
    from persona_bench.scoring.stability import Stability


SHOWN = {"mean": "accuracy", "pss_corrected": "corrected PSS", "pss": "plain PSS"}


def stability_measures(
    task: str, results: Mapping[str, Stability], comparisons: Mapping[str, Comparison]
) -> list[Measure]:
    """Accuracy, corrected PSS and plain PSS on a graded benchmark."""
    floors = [
        f"{model} {floor.text} {floor.interval}".strip()
        for model, floor in ((model, noise_floor(each)) for model, each in results.items())
    ]
    notes = [
        "accuracy: mean over personas; corrected PSS: worst / best accuracy expected on questions "
        "like these; plain PSS: worst / best accuracy as measured, which noise lowers.",
        f"{_short(task)}, noise floor (plain PSS if personas had no effect): {', '.join(floors)}.",
    ]
    notes += [STABILITY_TESTS] if comparisons else []
    notes.append(scored_note(_short(task), results))
    marks = stability_marks(comparisons)
    measures = []
    for metric, name in SHOWN.items():
        cells = {}
        for model, result in results.items():
            cells[model] = stability_number(result, metric, marks.get((model, metric), ""))
        measures.append(Measure(_short(task), name, cells, tuple(notes), (0, 1)))
    return measures


def fidelity_measure(
    task: str, results: Mapping[str, Fidelity], comparisons: Mapping[str, FidelityComparison]
) -> Measure:
    """PersonaScore, 1 to 5, on a judged benchmark."""
    p_values = {model: each.p_value for model, each in comparisons.items()}
    marked = holm(p_values, level_of(comparisons))
    cells = {
        model: Number(
            result.persona_score,
            result.persona_score.low,
            result.persona_score.high,
            marks="p" if model in marked else "",
            digits=2,
        )
        for model, result in results.items()
    }
    judges = judges_in_words(pd.concat([each.judges for each in results.values()]))
    counts = []
    for model, each in results.items():
        n = each.n_responses - each.unscored_responses
        counts.append(f"{model} {n:,} ({each.unscored:,} verdicts unscored)")
    notes = [
        f"PersonaScore, 1 to 5, judged by {judges}; {_short(task)}, scored responses: "
        f"{', '.join(counts)}."
    ]
    notes += ["p: signs of the personas' differences flipped."] if marked else []
    return Measure(_short(task), "PersonaScore", cells, tuple(notes), (1, 5))


def information_measure(
    task: str,
    traces: Mapping[str, Mapping[str, Any]],
    comparisons: Mapping[str, InformationDifference],
) -> Measure:
    """Persona information in nats per token, of `persona-bench trace`."""
    p_values = {model: each.p_value for model, each in comparisons.items()}
    marked = holm(p_values, level_of(comparisons))
    cells = {}
    for model, trace in traces.items():
        information = trace.get("persona_information") or {}
        value, low, high = (
            _number(information.get(name)) for name in ("information", "low", "high")
        )
        cells[model] = Number(value, low, high, marks="f" if model in marked else "")
    notes = (
        "persona information: how much better a response is explained by its own persona than by "
        "the others, in nats per token; needs no judge.",
    )
    return Measure(_short(task), "persona information", cells, notes)


def over_seeds(
    measure: Measure, methods: Mapping[str, Sequence[str]], confidence: float, reference: str
) -> Measure:
    """One number per method: the mean over its checkpoints, with its interval over seeds.

    Means have no letters (`compare --by-method` tests methods). Other numbers have none either if
    the reference of the letters is one of these checkpoints, which then has no row.

    Args:
        measure: The numbers of single checkpoints.
        methods: The checkpoints of each method with several seeds; other models stay as they are.
        confidence: Level of the intervals.
        reference: What the others were held against.
    """
    cells = dict(measure.cells)
    for method, models in methods.items():
        own = [number for model in models if (number := cells.pop(model, None)) is not None]
        if len(own) < len(models):
            continue
        interval = mean_over_seeds(pd.Series([number.value for number in own]), confidence)
        low, high = np.clip([interval["low"], interval["high"]], *measure.bounds)
        cells[method] = Number(interval["mean"], float(low), float(high), digits=own[0].digits)
    if any(reference in models for models in methods.values()):
        cells = {name: replace(number, marks="") for name, number in cells.items()}
    return replace(measure, cells=cells)


def _short(task: str) -> str:
    return task.removeprefix("persona_")


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
