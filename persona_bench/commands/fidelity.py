"""Scoring judged tasks: fidelity with what is known of the judges."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from persona_bench.commands.places import Places, provenance

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.page.contents import Section
    from persona_bench.results.runs import TaskResults
    from persona_bench.scoring.estimate import Estimate


def score_judged(
    judged: Sequence[TaskResults],
    results: Path,
    places: Places,
    as_json: bool,
    settings: Mapping[str, Any],
) -> tuple[list[Path], list[dict[str, Any]], list[Section]]:
    """Fidelity of each model on each judged task: files; records; and sections of the page.

    What is not judged yet is said, with the command that judges it.
    """
    from persona_bench.report.compose.judged import judged_section
    from persona_bench.report.fidelity import audit_lines, print_fidelity, write_fidelity
    from persona_bench.scoring.estimate import plain
    from persona_bench.scoring.fidelity import fidelity

    out = Console(stderr=as_json)
    written: list[Path] = []
    records: list[dict[str, Any]] = []
    sections: list[Section] = []
    for each in judged:
        samples, trace, rows = each.samples, each.trace, each.verdicts
        model, task = samples.model, samples.task
        if rows is None:
            out.print(
                f"{escape(task)} of {escape(places.name(model))} is not judged yet: persona-bench "
                f"judge {escape(str(results))} --judge MODEL --base-url URL",
                soft_wrap=True,
            )
            sections.append(judged_section(task, places.name(model), None, [], trace))
            continue
        with warnings.catch_warnings():  # they are in its notes, which are printed
            warnings.simplefilter("ignore")
            result = fidelity(rows, confidence=settings["confidence"])
        audits = {file.about.get("judge", ""): file.audit for file in each.judges if file.audit}
        alpha = agreement_of(rows, settings)
        judges = [
            {key: value for key, value in file.about.items() if key != "audit"}
            for file in each.judges
        ]
        run = {"samples_file": samples.file.name, "task": samples.facts, "judges": judges}
        beside = {
            "audits": audits,
            "agreement": None
            if alpha is None
            else plain({"alpha": alpha.value, **alpha.interval._asdict()}),
            "provenance": provenance(results, run, settings),
        }
        written += write_fidelity(result, places.of(model), task=task, record=beside)
        records.append({"model": model, "task": task, **result.to_dict(), **beside})
        said = audit_lines(result, audits)
        sections.append(judged_section(task, places.name(model), result, said, trace))
        if not as_json:
            print_fidelity(
                result,
                title=f"{task} · {places.name(model)}",
                console=out,
                audits=audits,
                agreement=alpha,
            )
    return written, records, sections


def agreement_of(rows: pd.DataFrame, settings: Mapping[str, Any]) -> Estimate | None:
    """Krippendorff's alpha between the judges; None where there is one."""
    from persona_bench.scoring.audit import agreement

    if rows["judge"].nunique() < 2:
        return None
    keys = ["persona", "eval_task", "question", "sample"]
    wide = rows.pivot(index=keys, columns="judge", values="score").reset_index()
    chosen = wide[["persona", *rows["judge"].unique()]]
    return agreement(chosen, confidence=settings["confidence"], seed=settings["seed"])
