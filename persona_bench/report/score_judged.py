"""Scoring judged tasks: fidelity with what is known of the judges."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from persona_bench.judge.raters import ratings_of
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.compose.judged import judged_section
from persona_bench.report.compose.pages import provenance_line
from persona_bench.report.fidelity import (
    judge_lines,
    print_fidelity,
    published_lines,
    rater_lines,
    write_fidelity,
)
from persona_bench.report.figures.style import set_in
from persona_bench.report.places import Places, provenance
from persona_bench.report.refusals import REFUSED, refusals_data, refusals_figure, refusals_line
from persona_bench.report.runs import Settings
from persona_bench.scoring.as_published import as_published
from persona_bench.scoring.audit import agreement
from persona_bench.scoring.estimate import plain
from persona_bench.scoring.fidelity import fidelity
from persona_bench.scoring.ratings import hold_against_raters

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.page.contents import PageFigure, Section
    from persona_bench.results.judged import JudgeFile
    from persona_bench.results.runs import TaskResults
    from persona_bench.scoring.estimate import Estimate


ELSEWHERE = ("audit", "entry_test", "as_published")
"""Parts of a judge's record that have a place of their own in the scores."""


def score_judged(
    judged: Sequence[TaskResults],
    results: Path,
    places: Places,
    as_json: bool,
    settings: Settings,
    *,
    page: bool = True,
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
    for each in judged:
        samples, trace, rows = each.samples, each.trace, each.verdicts
        model, task = samples.model, samples.task
        refused = refusals_data(each.responses)
        figures, files = _refusals(task, model, refused, places, settings) if page else ([], [])
        written += files
        if rows is None:
            out.print(
                f"{escape(task)} of {escape(places.name(model))} is not judged yet: persona-bench "
                f"judge {escape(str(results))} --judge MODEL --base-url URL",
                soft_wrap=True,
            )
            said = [refusals_line(refused)]
            out.print(escape(said[0]), soft_wrap=True)
            sections.append(judged_section(task, places.name(model), None, said, trace, figures))
            continue
        with warnings.catch_warnings():  # they are in its notes, which are printed
            warnings.simplefilter("ignore")
            result = fidelity(rows, confidence=settings.confidence)
        audits = {file.about.get("judge", ""): file.audit for file in each.judges if file.audit}
        entries = entry_tests(each.judges)
        alpha = agreement_of(rows, settings)
        ratings = ratings_of(rows, results)
        held = (
            None
            if ratings.empty
            else hold_against_raters(
                rows, ratings, confidence=settings.confidence, seed=settings.seed
            )
        )
        published = as_published(
            [file.as_published for file in each.judges], confidence=settings.confidence
        )
        judges = [
            {name: value for name, value in file.about.items() if name not in ELSEWHERE}
            for file in each.judges
        ]
        run = {"samples_file": samples.file.name, "task": samples.facts, "judges": judges}
        beside = {
            "entry_tests": entries,
            "audits": audits,
            "agreement": None
            if alpha is None
            else plain({"alpha": alpha.value, **alpha.interval._asdict()}),
            "raters": held.to_dict() if held else None,
            "refusals": plain(refused[refused["outcome"] == REFUSED].drop(columns="model")),
            "as_published": published.to_dict() if published else None,
            "provenance": provenance(results, run, asdict(settings)),
        }
        written += write_fidelity(result, places.of(model), task=task, record=beside)
        records.append({"model": model, "task": task, **result.to_dict(), **beside})
        said = published_lines(published) if published else []
        said += judge_lines(result.judges["judge"], entries, audits)
        said += rater_lines(held) if held else []
        said.append(refusals_line(refused))
        sections.append(
            judged_section(task, places.name(model), result, said, trace, figures, published)
        )
        if not as_json:
            print_fidelity(
                result,
                title=f"{task} · {places.name(model)}",
                console=out,
                audits=audits,
                entries=entries,
                agreement=alpha,
                held=held,
                published=published,
            )
            out.print(escape(refusals_line(refused)), soft_wrap=True)
    return written, records, sections


def _refusals(
    task: str, model: str, data: pd.DataFrame, places: Places, settings: Settings
) -> tuple[list[PageFigure], list[Path]]:
    """The figure of a model's refusals, drawn into files and for the page."""
    gallery = Gallery(places.of(model), provenance_line([model], asdict(settings)))
    title = f"{places.name(model)}, {task}"
    with set_in(gallery.font):
        figure = refusals_figure(data, title=title, width=gallery.width)
    return [gallery.draw("refusals", figure, data, task=task)], gallery.paths


def entry_tests(files: Iterable[JudgeFile]) -> dict[str, dict[str, Any]]:
    """The entry tests that judges have taken, by judge."""
    return {str(file.about["judge"]): dict(told) for file in files if (told := file.entry_test)}


def agreement_of(rows: pd.DataFrame, settings: Settings) -> Estimate | None:
    """Krippendorff's alpha between the judges; None where there is one."""
    if rows["judge"].nunique() < 2:
        return None
    keys = ["persona", "eval_task", "question", "sample"]
    wide = rows.pivot(index=keys, columns="judge", values="score").reset_index()
    chosen = wide[["persona", *rows["judge"].unique()]]
    return agreement(chosen, confidence=settings.confidence, seed=settings.seed)
