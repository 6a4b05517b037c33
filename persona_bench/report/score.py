"""A folder of results, scored: read, score, then print and write."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from persona_bench.judge.raters import ratings_of
from persona_bench.report.compose.drift import drift_section
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.compose.pages import provenance_line, score_page, stability_page
from persona_bench.report.drift import drift_of, drifting, print_drift, write_drift
from persona_bench.report.files import write_stability
from persona_bench.report.places import Places, provenance
from persona_bench.report.prompts import print_prompts, prompt_lines, write_prompts
from persona_bench.report.runs import Settings, scored_prompts, scored_voice
from persona_bench.report.score_judged import score_judged
from persona_bench.report.sensitivity import (
    print_sensitivity,
    sensitivity_lines,
    write_sensitivity,
)
from persona_bench.report.summary import print_summary
from persona_bench.report.tables import print_stability
from persona_bench.report.voice import print_voice, voice_line, voice_rater_lines, write_voice
from persona_bench.results.runs import read_folder
from persona_bench.results.samples import progress
from persona_bench.scoring.cells import values_of
from persona_bench.scoring.groups import scores_by_group
from persona_bench.scoring.pass_at_k import pass_at_k
from persona_bench.scoring.sensitivity import grader_sensitivity, has_routes
from persona_bench.scoring.stability import stability

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.page.contents import Section
    from persona_bench.results.other_run import Choice
    from persona_bench.results.runs import Run, TaskResults
    from persona_bench.results.schema import TaskFacts
    from persona_bench.scoring.stability import Stability

SETTINGS = ("confidence", "resamples", "seed", "stratify", "population", "stable_from")


def score_folder(
    results: Path,
    folder: Path,
    *,
    more: Sequence[Path] = (),
    choice: Choice | None = None,
    by: str | None = None,
    full: bool = False,
    as_json: bool = False,
    page: bool = True,
    only_judged: bool = False,
    providers: Sequence[ModuleType] = (),
) -> list[Path]:
    """Scores every model and task in a folder, prints the scores and writes files and figures.

    Args:
        results: An output folder of lm-eval, a samples file, or results of another program.
        folder: Where files go.
        more: Further results of another program, scored with the first as one.
        choice: What is chosen about another program's logs.
        by: Score each value of this column of questions by itself: level, subject or date.
        full: Print every table, not the summary alone.
        as_json: Print JSON instead of tables.
        page: Draw figures, and write the page of them and of all responses.
        only_judged: Leave out tasks that are graded, and the page if there are any: half a page
            would replace a whole one.
        providers: Modules whose `section` adds to the score of each graded task (`ScoreSection`).

    Raises:
        OutcomesError: a folder without results.
        NothingScoredError: every response is unscored; what was written stays.
    """
    if by not in (None, "level", "subject", "date"):
        raise ValueError(f"--by {by} is unknown: use level, subject or date")
    settings = Settings()
    runs = read_folder(results, *more, asked=page, choice=choice)
    tasks = [each for run in runs for each in run.tasks.values()]
    graded = [each for each in tasks if each.outcomes is not None]
    judged = [each for each in tasks if each.outcomes is None]
    places = Places(folder, [run.model for run in runs])
    written: list[Path] = []
    printed: list[dict[str, Any]] = []
    sections: list[Section] = []
    stabilities: dict[tuple[str, str], Stability] = {}
    index: Path | None = None
    if not only_judged:
        written, printed, sections, stabilities = _score_graded(
            graded, results, places, by, full, as_json, page, settings, providers
        )
    more, fidelities, of_roles = score_judged(
        judged, results, places, as_json, settings, page=page and not (only_judged and graded)
    )
    chosen = judged if only_judged else [] if by else tasks
    drifts, of_drifts, of_pages = _score_drift(
        runs, chosen, places, stabilities, as_json, page, settings
    )
    written += more + drifts
    printed += fidelities + of_drifts
    sections += of_roles + of_pages
    if page and not (only_judged and graded):
        index = score_page(results, tasks, places, sections)
        written.append(index)
    if as_json:
        print(json.dumps(printed, indent=2))
    elif written:
        rest = " (score --full prints all tables)" if graded and not full else ""
        Console().print(f"Files: {escape(str(folder))}{rest}", soft_wrap=True)
        if index:
            Console().print(f"Page: {escape(str(index))}", soft_wrap=True)
    if graded and not only_judged:
        _check_any_scored([each.outcomes for each in graded if each.outcomes is not None])
    return written


class NothingScoredError(RuntimeError):
    """Every response is unscored: the instrument failed, and the numbers say nothing."""


def _check_any_scored(tables: Sequence[pd.DataFrame]) -> None:
    """Raises where no graded task has a scored response; what was written stays."""
    if any(values_of(table).notna().any() for table in tables):
        return
    counts = Counter(reason for table in tables for reason in table["reason"])
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in counts.most_common())
    raise NothingScoredError(
        f"every response is unscored ({reasons}): this says nothing about the model; put right "
        "what failed and start the run again, which asks only for what is missing"
    )


def _score_drift(
    runs: Sequence[Run],
    chosen: Sequence[TaskResults],
    places: Places,
    stabilities: Mapping[tuple[str, str], Stability],
    as_json: bool,
    page: bool,
    settings: Settings,
) -> tuple[list[Path], list[dict[str, Any]], list[Section]]:
    """What changes over a conversation, for each model and task asked after several turns."""
    written: list[Path] = []
    printed: list[dict[str, Any]] = []
    sections: list[Section] = []
    for run in runs:
        own = {name: each for name, each in run.tasks.items() if each in chosen}
        for task, names in drifting(own).items():
            parts = [run.tasks[name] for name in names]
            known = {
                int(part.samples.facts["turns"]): stabilities[run.model, name]
                for name, part in zip(names, parts, strict=True)
                if (run.model, name) in stabilities
            }
            if (found := drift_of(parts, settings.confidence, known)) is None:
                continue
            place, name = places.of(run.model), places.name(run.model)
            record = {"model": run.model, "task": task, "parts": names}
            written += write_drift(found, place, task=task, record=record)
            printed.append({**record, "drift": found.to_dict()})
            if page:
                gallery = Gallery(place, provenance_line([name], asdict(settings)))
                sections.append(drift_section(task, {name: found}, gallery))
                written += gallery.paths
            if not as_json:
                print_drift(found, f"{task} · {name}, over a conversation", Console())
    return written, printed, sections


def _score_graded(
    graded: Sequence[TaskResults],
    results: Path,
    places: Places,
    by: str | None,
    full: bool,
    as_json: bool,
    page: bool,
    settings: Settings,
    providers: Sequence[ModuleType],
) -> tuple[list[Path], list[dict[str, Any]], list[Section], dict[tuple[str, str], Stability]]:
    out = Console()
    stabilities: dict[tuple[str, str], Stability] = {}
    written: list[Path] = []
    printed: list[dict[str, Any]] = []
    pages: list[Section] = []
    for task, title, rows in _parts(graded, by):
        samples = task.samples
        model, facts = samples.model, samples.facts
        result = stability(rows, **asdict(settings))
        stabilities[model, title] = result
        by_group = scores_by_group(rows, **asdict(settings))
        sections = [provider.section(rows, by_group, settings) for provider in providers]
        sensitivity = grader_sensitivity(rows, result) if has_routes(rows) else None
        ratings = None if task.voice is None else ratings_of(task.voice, results)
        voice = scored_voice(rows, task.voice, settings.confidence, ratings)
        prompts = scored_prompts(rows, settings)
        said = prompt_lines(prompts) if prompts is not None else []
        said[2:2] = [line for section in sections for line in section.lines()]
        place, name = places.of(model), places.name(model)
        used = {key: getattr(result, key) for key in SETTINGS}
        beside: dict[str, Any] = {}
        for section in sections:
            beside |= section.record()
        if sensitivity is not None:
            beside["grader_sensitivity"] = sensitivity.to_dict()
        if prompts is not None:
            beside["prompts"] = prompts.to_dict()
        if voice is not None:
            beside["voice"] = voice.to_dict()
        written += write_stability(
            result,
            place,
            model=name,
            task=title,
            provenance=provenance(results, samples.provenance, used),
            beside=beside,
        )
        for section in sections:
            written += section.write(place, task=title)
        written += write_sensitivity(sensitivity, place, task=title)
        written += write_prompts(prompts, place, task=title)
        if voice is not None:
            written += write_voice(voice, place, task=title)
        if page:
            of_page, figures = stability_page(
                title,
                name,
                result,
                by_group,
                sensitivity,
                rows,
                place,
                settings,
                voice,
                prompts,
                said,
            )
            pages.append(of_page)
            written += figures
        plan = facts.get("until")
        if as_json:
            until = {"until": plan} if plan else {}
            printed.append({"model": model, "task": title, **until, **result.to_dict(), **beside})
            continue
        heading = f"{title} · {name}"
        must = [f"{progress(plan)}."] if plan else []
        if part := facts.get("unfinished"):
            must.append(f"Unfinished run: {part['stored']:,} of {part['asked']:,} responses.")
        must += _of_programs(rows, facts)
        if full:
            print_stability(result, title=heading, console=out)
            if sensitivity is not None:
                print_sensitivity(sensitivity, out)
            for section in sections:
                section.print(out)
            if prompts is not None:
                print_prompts(prompts, out)
            if voice is not None:
                print_voice(voice, out)
            for line in must:
                out.print(escape(line), soft_wrap=True)
        else:
            more = [*said]
            if voice is not None:
                more += [voice_line(voice), *voice_rater_lines(voice)]
            if sensitivity is not None and sensitivity.disagree:
                more.insert(0, sensitivity_lines(sensitivity)[-1])
            print_summary(result, title=heading, console=out, more=more, must=must)
    return written, printed, pages, stabilities


def _parts(
    graded: Sequence[TaskResults], by: str | None
) -> Iterator[tuple[TaskResults, str, pd.DataFrame]]:
    """Each task as a whole, or each level, subject or date of it by itself, with its title."""
    for task in graded:
        name, outcomes = task.samples.task, task.outcomes
        if outcomes is None:
            continue
        if by is None:
            yield task, name, outcomes
            continue
        for part in outcomes[by].unique():
            yield task, f"{name}-{part}" if part else name, outcomes[outcomes[by] == part]


def _of_programs(rows: Any, facts: TaskFacts) -> list[str]:
    """Lines about a task that runs programs: whose tests, which sandbox, pass@k."""
    if "sandbox" not in facts:
        return []
    lines = []
    if set(facts["tests"]) != {"private"}:
        counts = ", ".join(f"{name} tests {count:,}" for name, count in facts["tests"].items())
        lines.append(f"Graded on other than LiveCodeBench's tests ({counts}): not its pass@1.")
    if facts["sandbox"] == "none":
        lines.append("Programs were run without a sandbox (unsafe_no_sandbox).")
    if (rows["reason"] == "no_sandbox").any():
        why = facts.get("sandbox_missing") or "a sandbox was there at the start, but not later"
        lines.append(f"Programs could not be run: {why}.")
    samples = int(rows.groupby(["persona", "question"]).size().max())
    for k in sorted({1, samples}) if samples > 1 else ():
        value = pass_at_k(rows, k)
        lines.append(f"pass@{k}: mean over personas {value.mean():.3f}, worst {value.min():.3f}.")
    return lines
