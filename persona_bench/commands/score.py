"""`persona-bench score`: what a finished run says, printed and written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options
from persona_bench.commands.places import Places, provenance

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.report.page.contents import Section

SETTINGS = ("confidence", "resamples", "seed", "stratify", "population", "stable_from")


def score(
    results: Annotated[Path, typer.Argument(help="lm-eval's --output_path.")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where files go; RESULTS/scores by default.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap and permutation draws.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    by: Annotated[
        str | None,
        typer.Option(help="Each level, subject or date by itself, e.g. --by level (difficulty)."),
    ] = None,
    stratify: Annotated[
        str | None, typer.Option(help="Redraw questions within each level or subject.")
    ] = None,
    population: Annotated[
        str, typer.Option(help="questions; or personas: the mean's interval is over these too.")
    ] = "questions",
    stable_from: Annotated[
        float, typer.Option("--stable-from", help="PSS from which on a model counts as stable.")
    ] = 0.95,
    regrade: Annotated[
        bool, typer.Option("--regrade", help="Grade the stored responses again first, no model.")
    ] = False,
    confirm_run_unsafe_code: options.ConfirmUnsafe = False,
    page: Annotated[
        bool, typer.Option(help="Draw figures, and write the page of them and all responses.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Score an lm-eval output folder: accuracy per persona, PSS and its noise floor."""
    if regrade:
        from persona_bench.harness.regrade import regrade as grade_again

        for done in grade_again(results, confirm_run_unsafe_code=confirm_run_unsafe_code):
            told = f"{done.changed:,} of {done.responses:,} verdicts changed ({done.file.name})"
            Console(stderr=True).print(escape(f"{done.task} of {done.model}: {told}"))
    elif any(results.glob("store/unfinished/*.json")):
        grade_stopped(results, confirm_run_unsafe_code)
    folder = out_folder or (results if results.is_dir() else results.parent) / "scores"
    score_folder(
        results,
        folder,
        by=by,
        as_json=as_json,
        page=page,
        of_stability={"stratify": stratify, "population": population, "stable_from": stable_from},
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def grade_stopped(results: Path, confirm_run_unsafe_code: bool) -> None:
    """Grades what is stored of runs that were stopped before their results were written."""
    from persona_bench.harness.unfinished import grade_unfinished
    from persona_bench.scoring.samples import NoSamplesError, find_samples

    said = Console(stderr=True)
    found = grade_unfinished(results, confirm_run_unsafe_code=confirm_run_unsafe_code)
    if found and not any(each.stored for each in found) and not find_samples(results):
        raise NoSamplesError(
            f"{results}: none of the {sum(each.asked for each in found):,} responses of the run "
            "is stored yet, so there is nothing to score: start the same run again"
        )
    for each in found:
        text = (
            f"{each.task} of {each.model} is an unfinished run: {each.stored:,} of {each.asked:,} "
            "responses are stored, and no random choice of them; start the run again to finish it"
        )
        said.print(escape(text), soft_wrap=True)


def score_folder(
    results: Path,
    folder: Path,
    *,
    by: str | None = None,
    as_json: bool = False,
    page: bool = True,
    of_stability: Mapping[str, Any] | None = None,
    only_judged: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Path]:
    """Scores every model and task in a folder, prints them and writes files and figures.

    `page`: with figures, and the page of them and of all responses. `of_stability` holds settings
    of `stability` alone; `only_judged` leaves out tasks that are graded, and the page where there
    are any: half a page would replace a whole one.
    """
    from persona_bench.commands.fidelity import score_judged
    from persona_bench.scoring.outcomes import read_outcomes
    from persona_bench.scoring.samples import find_samples, newest_samples

    settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
    everything = find_samples(results)
    places = Places(folder, [samples.model for samples in everything])
    written: list[Path] = []
    printed: list[dict[str, Any]] = []
    sections: list[Section] = []
    index: Path | None = None
    outcomes: pd.DataFrame | None = None
    # also where nothing at all is there: then the reader of outcomes says so
    if not only_judged and not (everything and all(samples.judged for samples in everything)):
        outcomes = read_outcomes(results)
        written, printed, sections = _score_graded(
            outcomes, results, places, by, as_json, page, of_stability or {}, settings
        )
    if any(samples.judged for samples in everything):
        judged = newest_samples(results, judged=True)
        more, fidelities, of_roles = score_judged(judged, results, places, as_json, settings)
        written += more
        printed += fidelities
        sections += of_roles
    if page and (not only_judged or all(samples.judged for samples in everything)):
        from persona_bench.commands.pages import score_page

        with warnings.catch_warnings():  # said once is enough
            warnings.simplefilter("ignore")
            index = score_page(results, newest_samples(results), places, sections)
            written.append(index)
    if as_json:
        print(json.dumps(printed, indent=2))
    elif written:
        Console().print(f"\nFiles and figures: {escape(str(folder))}", soft_wrap=True)
        if index:
            Console().print(f"Page: {escape(str(index))}", soft_wrap=True)
    if outcomes is not None:
        _check_any_scored(outcomes)
    return written


class NothingScoredError(RuntimeError):
    """Every response is unscored: the instrument failed, and the numbers say nothing."""


def _check_any_scored(outcomes: pd.DataFrame) -> None:
    """Raises where no graded task has a scored response; what was written stays."""
    if outcomes["correct"].notna().any():
        return
    reasons = ", ".join(
        f"{n:,} {reason}" for reason, n in outcomes["reason"].value_counts().items()
    )
    raise NothingScoredError(
        f"every response is unscored ({reasons}): this says nothing about the model; put right "
        "what failed and start the run again, which asks only for what is missing"
    )


def _score_graded(
    outcomes: pd.DataFrame,
    results: Path,
    places: Places,
    by: str | None,
    as_json: bool,
    page: bool,
    of_stability: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> tuple[list[Path], list[dict[str, Any]], list[Section]]:
    from persona_bench.commands.pages import stability_page
    from persona_bench.report.files import write_stability
    from persona_bench.report.parts import parts_record, print_parts, write_parts
    from persona_bench.report.runs import scored_voice
    from persona_bench.report.sensitivity import print_sensitivity, write_sensitivity
    from persona_bench.report.tables import print_stability
    from persona_bench.report.voice import print_voice, write_voice
    from persona_bench.scoring.contrasts import contrasts
    from persona_bench.scoring.judged import read_voice
    from persona_bench.scoring.outcomes import read_provenance
    from persona_bench.scoring.samples import newest_samples
    from persona_bench.scoring.sensitivity import grader_sensitivity, has_routes
    from persona_bench.scoring.sequential import progress
    from persona_bench.scoring.stability import stability
    from persona_bench.scoring.variance import variance_parts

    with warnings.catch_warnings():  # said once is enough
        warnings.simplefilter("ignore")
        runs = read_provenance(results)
    if by not in (None, "level", "subject", "date"):
        raise ValueError(f"--by {by} is unknown: use level, subject or date")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        voices = {(s.model, s.task): read_voice(s) for s in newest_samples(results, judged=False)}
    groups = list(outcomes.groupby(["model", "task", *([by] if by else [])], sort=False))
    out = Console()
    written: list[Path] = []
    printed: list[dict[str, Any]] = []
    sections: list[Section] = []
    for (model, task, *parts), rows in groups:
        title = "-".join([str(task), *(str(part) for part in parts if part)])
        result = stability(rows, **settings, **of_stability)
        found = variance_parts(rows, **settings), contrasts(rows, **settings)
        sensitivity = grader_sensitivity(rows, result) if has_routes(rows) else None
        voice = scored_voice(rows, voices[str(model), str(task)], settings["confidence"])
        place, name = places.of(str(model)), places.name(str(model))
        told = {key: getattr(result, key) for key in SETTINGS}
        made = provenance(results, runs[str(model), str(task)], told)
        beside = parts_record(*found)
        if sensitivity is not None:
            beside["grader_sensitivity"] = sensitivity.to_dict()
        if voice is not None:
            beside["voice"] = voice.to_dict()
            written += write_voice(voice, place, task=title)
        written += write_stability(
            result,
            place,
            model=name,
            task=title,
            provenance=made,
            beside=beside,
        )
        written += write_parts(*found, place, task=title)
        written += write_sensitivity(sensitivity, place, task=title)
        if page:
            section, drawn = stability_page(
                title, name, result, found[0], sensitivity, rows, place, settings, voice
            )
            sections.append(section)
            written += drawn
        task_facts = runs[str(model), str(task)].get("task") or {}
        plan = task_facts.get("until")
        if as_json:
            until = {"until": plan} if plan else {}
            printed.append({"model": model, "task": title, **until, **result.to_dict(), **beside})
        else:
            print_stability(result, title=f"{title} · {name}", console=out)
            if sensitivity is not None:
                print_sensitivity(sensitivity, out)
            print_parts(*found, out)
            if voice is not None:
                print_voice(voice, out)
            if plan:
                out.print(escape(f"{progress(plan)}."), soft_wrap=True)
            if part := task_facts.get("unfinished"):
                out.print(f"Unfinished run: {part['stored']:,} of {part['asked']:,} responses.")
            for line in _of_programs(rows, task_facts):
                out.print(escape(line), soft_wrap=True)
    return written, printed, sections


def _of_programs(rows: Any, told: dict[str, Any]) -> list[str]:
    """What there is to say of a task that runs programs: whose tests, which sandbox, pass@k."""
    if "sandbox" not in told:
        return []
    from persona_bench.scoring.pass_at_k import pass_at_k

    lines = []
    if set(told["tests"]) != {"private"}:
        counts = ", ".join(f"{name} tests {count:,}" for name, count in told["tests"].items())
        lines.append(f"Graded on other than LiveCodeBench's tests ({counts}): not its pass@1.")
    if told["sandbox"] == "none":
        lines.append("Programs were run without a sandbox (unsafe_no_sandbox).")
    if (rows["reason"] == "no_sandbox").any():
        why = told.get("sandbox_missing") or "a sandbox was there at the start, but not later"
        lines.append(f"Programs could not be run: {why}.")
    samples = int(rows.groupby(["persona", "question"]).size().max())
    for k in sorted({1, samples}) if samples > 1 else ():
        value = pass_at_k(rows, k)
        lines.append(f"pass@{k}: mean over personas {value.mean():.3f}, worst {value.min():.3f}.")
    return lines
