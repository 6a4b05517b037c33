"""Screening on a real model: each round is a run of lm-eval on a design.

The folder gets `settings.json`, and a folder for each round with its `design.csv` and what
lm-eval wrote. A round that is there with the same design is read, not asked again, so that a
killed run resumes. The model is loaded once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_bench.extras.screening.rounds import Decoding, plan_rounds, screen
from persona_bench.extras.screening.screened import Screening
from persona_bench.harness.knobs import check_knobs, knobs_of
from persona_bench.harness.preflight import check_model
from persona_bench.harness.run import Asked, RunError, Session, check_tasks, task_settings
from persona_bench.results.outcomes import OutcomesError, read_outcomes

TAKEN = ("design", "samples")
OF_RUN = ("apply_chat_template", "system_instruction", "confirm_run_unsafe_code")


def screen_model(
    *,
    model: str,
    model_args: Mapping[str, Any],
    task: str,
    output_path: Path,
    budget: float = 0.2,
    gen_kwargs: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    **settings: Any,
) -> Screening:
    """Screens a model's personas on one task (see `scoring.screening.screen`).

    Args:
        model, model_args, gen_kwargs: As lm-eval's.
        metadata: The knobs, without `design` and `samples`, which screening sets.
        settings: Further arguments of `harness.run.Session` and its `run`.

    Raises:
        RunError: a knob that screening sets, or a folder of another screening run.
        ValueError: an impossible knob or budget.
    """
    knobs_given = dict(metadata or {})
    for name in TAKEN:
        if name in knobs_given:
            raise RunError(f"{name} in --metadata is set by the screening: leave it out")
    if knobs_given.get("wording") == "all" or "placebos" in knobs_given:
        raise RunError("screening looks for personas: leave out placebos, and choose one wording")
    check_tasks([task])
    defaults = task_settings(task)
    check_knobs(knobs_given, [defaults["dataset_kwargs"]["benchmark"]])
    knobs, benchmark = knobs_of(knobs_given, defaults["dataset_kwargs"]["benchmark"])
    if benchmark.judged:
        raise RunError(f"{task} has no accuracy to be screened: its responses are judged")
    chosen = knobs.choose_personas(benchmark)
    questions = [question.id for question in knobs.choose_questions(benchmark, chosen)]
    personas = [persona.id for persona in chosen]
    decoding = decoding_of({**(defaults.get("generation_kwargs") or {}), **(gen_kwargs or {})})
    plan_rounds(len(questions), len(personas), budget, decoding)  # refused before anything runs
    check_model(model, model_args, device=settings.get("device"))
    _same_settings(
        output_path / "settings.json",
        {
            "model": model,
            "model_args": dict(model_args),
            "task": task,
            "metadata": knobs_given,
            "gen_kwargs": dict(gen_kwargs or {}),
            "budget": budget,
            "seed": seed,
            "questions": len(questions),
            "personas": len(personas),
            "persona prompts": chosen.fingerprint,
            "apply_chat_template": settings.get("apply_chat_template", True),
            "system_instruction": settings.get("system_instruction"),
        },
    )

    def ask(name: str, design: pd.DataFrame, samples: int) -> pd.DataFrame:
        folder, file = output_path / name, output_path / name / "design.csv"
        if (done := _finished(folder, design, samples)) is not None:
            return done
        folder.mkdir(parents=True, exist_ok=True)
        design.to_csv(file, index=False)
        knobs = {**knobs_given, "design": str(file), "samples": samples}
        # a round that asks a cell again wants a new draw of it, not the stored one
        draws = zlib.crc32(f"{seed} {name}".encode())
        asked = [Asked(task, knobs, gen_kwargs or {})]
        session.run(asked, output_path=folder, seed=draws, **of_run)
        finished = _finished(folder, design, samples)
        if finished is None:
            raise RunError(f"{folder} lacks responses of its design; does another run write there?")
        return finished

    of_run = {name: settings.pop(name) for name in OF_RUN if name in settings}
    with Session(model, model_args, output_path, **settings) as session:
        return screen(
            ask,
            questions,
            personas,
            budget=budget,
            decoding=decoding,
            confidence=confidence,
            seed=seed,
        )


def decoding_of(generation: Mapping[str, Any]) -> Decoding:
    """Whether a prompt asked twice would get a new response."""
    sampled = generation.get("do_sample") and float(generation.get("temperature") or 0) > 0
    return "sampled" if sampled else "greedy"


def _same_settings(file: Path, settings: dict[str, Any]) -> None:
    """Rounds of different settings must not be mixed."""
    text = json.dumps(settings, indent=2, sort_keys=True, default=str)
    try:
        if file.is_file() and file.read_text(encoding="utf-8") != text:
            old = json.loads(file.read_text(encoding="utf-8"))
            differs = sorted(k for k, v in json.loads(text).items() if old.get(k) != v)
            raise RunError(
                f"{file.parent} holds a screening run with another {', '.join(differs)}: choose "
                "another --output-path, or delete it"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{file} can't be written ({error.strerror}): choose another --output-path"
        ) from None


def _finished(folder: Path, design: pd.DataFrame, samples: int) -> pd.DataFrame | None:
    """The outcomes of a round, if all of this design is there."""
    if not (folder / "design.csv").is_file():
        return None
    try:
        outcomes = read_outcomes(folder)
    except OutcomesError:
        return None
    asked = outcomes.groupby(["question", "persona"]).size()
    wanted = pd.MultiIndex.from_frame(design[["question", "persona"]])
    whole = (
        len(asked) == len(wanted) and asked.index.isin(wanted).all() and (asked == samples).all()
    )
    return outcomes if whole else None
