"""Scoring judged tasks: fidelity with what is known of the judges."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from persona_bench.report.compose.judged import judged_section
from persona_bench.report.fidelity import audit_lines, print_fidelity, write_fidelity
from persona_bench.report.places import Places, provenance
from persona_bench.report.runs import Settings, trace_of
from persona_bench.scoring.audit import agreement
from persona_bench.scoring.fidelity import fidelity
from persona_bench.scoring.judged import judge_files, read_judged

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.page.contents import Section
    from persona_bench.scoring.resampling import Interval
    from persona_bench.scoring.samples import Samples


def score_judged(
    judged: Sequence[Samples],
    results: Path,
    places: Places,
    as_json: bool,
    settings: Settings,
) -> tuple[list[Path], list[dict[str, Any]], list[Section]]:
    """Scores the fidelity of each model on each judged task, and prints and writes it.

    A task that is not judged yet is printed with the command that judges it.

    Returns:
        The files, the records for JSON, and the sections of the page.
    """
    out = Console(stderr=as_json)
    written: list[Path] = []
    records: list[dict[str, Any]] = []
    sections: list[Section] = []
    for samples in judged:
        model, task = samples.model, samples.task
        trace, _ = trace_of(samples, results)
        files = judge_files(samples)
        if not files:
            out.print(
                f"{escape(task)} of {escape(places.name(model))} is not judged yet: persona-bench "
                f"judge {escape(str(results))} --judge MODEL --base-url URL",
                soft_wrap=True,
            )
            sections.append(judged_section(task, places.name(model), None, [], trace))
            continue
        rows = read_judged(samples.file)
        with warnings.catch_warnings():  # they are in its notes, which are printed
            warnings.simplefilter("ignore")
            result = fidelity(rows, confidence=settings.confidence)
        audits = {file.about.get("judge", ""): file.audit for file in files if file.audit}
        alpha = agreement_of(rows, settings)
        judges = [
            {key: value for key, value in file.about.items() if key != "audit"} for file in files
        ]
        run = {"samples_file": samples.file.name, "task": samples.told, "judges": judges}
        beside = {
            "audits": audits,
            "agreement": None if alpha is None else _plain(alpha),
            "provenance": provenance(results, run, settings.to_dict()),
        }
        written += write_fidelity(result, places.of(model), task=task, record=beside)
        records.append({"model": model, "task": task, **result.to_dict(), **beside})
        lines = audit_lines(result, audits)
        sections.append(judged_section(task, places.name(model), result, lines, trace))
        if not as_json:
            print_fidelity(
                result,
                title=f"{task} · {places.name(model)}",
                console=out,
                audits=audits,
                agreement=alpha,
            )
    return written, records, sections


def agreement_of(rows: pd.DataFrame, settings: Settings) -> tuple[float, Interval] | None:
    """Krippendorff's alpha between the judges; None if there is one judge."""
    if rows["judge"].nunique() < 2:
        return None
    keys = ["persona", "eval_task", "question", "sample"]
    wide = rows.pivot(index=keys, columns="judge", values="score").reset_index()
    chosen = wide[["persona", *rows["judge"].unique()]]
    return agreement(chosen, confidence=settings.confidence, seed=settings.seed)


def _plain(alpha: tuple[float, Interval]) -> dict[str, float | None]:
    value, (low, high) = alpha
    named = {"alpha": value, "low": low, "high": high}
    return {name: None if math.isnan(each) else each for name, each in named.items()}
