"""`persona-bench trace`: whether personas leave a trace in the responses, without a judge."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from persona_bench.commands import options
from persona_bench.commands.places import Places, provenance
from persona_bench.provenance import PACKAGES, versions

if TYPE_CHECKING:
    import pandas as pd

    from persona_bench.harness.run import Session
    from persona_bench.scoring.identifiability import Identifiability
    from persona_bench.scoring.samples import Samples
    from persona_bench.scoring.voice import Voice


def trace(
    results: Annotated[Path, typer.Argument(help="lm-eval's --output_path.")],
    model: Annotated[str, typer.Option(help="lm-eval's backend: hf or vllm.")] = "hf",
    model_args: options.ModelArgs = "",
    others: Annotated[
        int | None,
        typer.Option(help="Compare each response with so many other personas, drawn; all."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="A sentence-transformers model, instead of TF-IDF."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws and of the resampling.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap and permutation draws.")] = 2000,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where files go; RESULTS/scores by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    verbose: options.Verbose = False,
) -> None:
    """Tell whether personas leave a trace in stored responses; no judge is asked.

    How often can the persona be told from a response (identifiability)? And, where --model-args
    names the model: how much better is a response explained by its own persona than by the others
    (persona information)? Not whether the role is played well.
    """
    chosen = _chosen(results, task, one_model=bool(model_args))
    root = results if results.is_dir() else results.parent
    folder = out_folder or root / "scores"
    with ExitStack() as stack:
        session = _session(stack, root, model, model_args, batch_size, device, seed, verbose)
        trace_samples(
            chosen,
            results,
            Places(folder, [samples.model for samples in chosen]),
            session,
            others=others,
            embeddings=embeddings,
            resamples=resamples,
            seed=seed,
            as_json=as_json,
        )
    if not as_json:
        Console().print(f"\nFiles: {escape(str(folder))}", soft_wrap=True)


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
    as_json: bool = False,
) -> None:
    """Prints and writes the traces in samples files; persona information where a model is given."""
    from persona_bench.report.trace import print_trace, trace_record, write_trace
    from persona_bench.report.voice import traced_lines
    from persona_bench.scoring.identifiability import identifiability
    from persona_bench.scoring.information import persona_information
    from persona_bench.scoring.responses import read_responses

    out, printed = Console(), []
    settings = {"others": others, "embeddings": embeddings, "resamples": resamples, "seed": seed}
    for samples in chosen:
        responses = read_responses(samples)
        found = identifiability(responses, embeddings=embeddings, permutations=resamples, seed=seed)
        told = information = None
        if session is not None:
            from persona_bench.harness.information import likelihoods

            told = likelihoods(samples, session, others=others, seed=seed)
            information = persona_information(told.table, resamples=resamples, seed=seed)
        right = [] if samples.judged else _right(samples, responses, found, told)
        run = {"samples_file": samples.file.name, "task": samples.told or None}
        made = provenance(results, run, settings)
        made["likelihoods"] = told and told.record()
        made["scored_with"] = versions((*PACKAGES, "scikit-learn", "sentence-transformers"))
        write_trace(
            found,
            information,
            places.of(samples.model),
            model=samples.model,
            task=samples.task,
            provenance=made,
            likelihoods=None if told is None else told.table,
            right=right,
        )
        if as_json:
            record = trace_record(found, information)
            printed.append({"model": samples.model, "task": samples.task, **record})
            continue
        title = f"{samples.task} · {places.name(samples.model)}"
        print_trace(found, information, title=title, console=out)
        for line in [line for each in right for line in traced_lines(each)]:
            out.print(escape(line), soft_wrap=True)
        for line in _left_out(told):
            out.print(escape(line), soft_wrap=True)
    if as_json:
        print(json.dumps(printed, indent=2))


def _right(
    samples: Samples, responses: pd.DataFrame, found: Identifiability, told: Any
) -> list[Voice]:
    """How often a graded task's responses are right and have a trace of their persona."""
    from persona_bench.scoring.information import response_information
    from persona_bench.scoring.outcomes import read_outcomes
    from persona_bench.scoring.voice import VoiceError, voice_by_trace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = read_outcomes(samples.file)
    named = responses["persona"].reindex(found.named.index)
    measured = [("identifiability", responses, found.named == named)]
    if told is not None:
        keys = ["persona", "question", "sample"]
        texts = responses[[*keys, "response"]]
        known = response_information(told.table).merge(texts, on=keys)
        measured.append(("persona information above 0", known, known["information"] > 0))
    try:
        return [voice_by_trace(outcomes, rows, trace, name) for name, rows, trace in measured]
    except VoiceError:
        return []


def _chosen(results: Path, task: str | None, *, one_model: bool) -> list[Samples]:
    """The samples files that are asked for.

    Raises ValueError for a task that is not there, or several models where one is named.
    """
    from persona_bench.scoring.samples import newest_samples

    found = newest_samples(results)
    chosen = [samples for samples in found if task in (None, samples.task)]
    if not chosen:
        tasks = sorted({samples.task for samples in found})
        raise ValueError(f"{results} has no results of {task!r}, but of {', '.join(tasks)}")
    models = sorted({samples.model for samples in chosen})
    if one_model and len(models) > 1:
        raise ValueError(
            f"{results} has results of {len(models)} models ({', '.join(models)}), and "
            "--model-args names one: give the folder of its results"
        )
    return chosen


def _session(
    stack: ExitStack,
    root: Path,
    model: str,
    model_args: str,
    batch_size: str | None,
    device: str | None,
    seed: int,
    verbose: bool,
) -> Session | None:
    """The model, not loaded yet; None where none is named."""
    if not model_args:
        return None
    from persona_bench.harness.information import check_backend
    from persona_bench.harness.preflight import check_model
    from persona_bench.harness.run import Session, parse_arguments

    arguments = parse_arguments(model_args)
    check_model(model, arguments, device=device)
    check_backend(model, arguments)
    err = Console(stderr=True)
    session = Session(
        model,
        arguments,
        root,
        batch_size=batch_size,
        device=device,
        seed=seed,
        verbose=verbose,
        say=lambda text: err.print(escape(text), soft_wrap=True),
    )
    return stack.enter_context(session)


def _left_out(told: Any) -> list[str]:
    """What there is to say of the log-likelihoods; nothing where there are none."""
    if told is None:
        return []
    lines = [f"Note: {note}." for note in told.notes]
    if told.empty:
        lines.append(f"Persona information leaves out {told.empty:,} empty responses.")
    if told.uneven:
        lines.append(
            f"Persona information leaves out {told.uneven:,} responses that have other tokens "
            "after other personas."
        )
    return lines
