"""Outputs of NeMo-Skills (`output-rs*.jsonl`, graded), one folder per prompt: it is the persona.

`ns robust_eval` writes `<benchmark>/<prompt>/output-rs<seed>.jsonl`; `ns eval`, run once for each
prompt, `<prompt>/eval-results/<benchmark>/output-rs<seed>.jsonl`. Seeds are samples.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_bench.results.other_run import (
    LEVELS,
    Choice,
    OtherRun,
    first_text,
    number,
    runs_of,
    say,
    value_of,
)
from persona_bench.results.samples import OutcomesError
from persona_bench.results.schema import Outcome
from persona_bench.texts import sound, text_hash

_FILE = re.compile(r"output(-rs(?P<seed>\d+))?\.jsonl")
METRICS = (
    "symbolic_correct", "is_correct", "judgement", "graded_list", "follow_all_instructions",
    "passing_plus_tests", "passing_base_tests", "status", "is_correct-plus", "judge_correct",
)  # fmt: skip
"""Fields in which its evaluators write what they found, in the order in which one is chosen."""
RIGHT, WRONG = ("yes", "pass", "true"), ("no", "fail", "timeout", "false")
QUESTIONS = ("problem", "question", "prompt")
SUBJECTS = ("subset_for_metrics", "subject", "topic", "category")
RESULTS_FOLDER = "eval-results"
UNKNOWN = (
    "outputs of NeMo-Skills do not hold the prompts that were sent: a folder's name stands for the "
    "persona, and it can't be proven that it reached the model"
)


def find(path: Path) -> list[Path]:
    """The output files at a path."""
    files = [path] if path.is_file() else sorted(path.rglob("output*.jsonl"))
    return [file for file in files if _FILE.fullmatch(file.name)]


def read(files: Sequence[Path], root: Path | None, choice: Choice) -> list[OtherRun]:
    """One run for each benchmark; the model is named after the folder that holds them all.

    Raises:
        OutcomesError: a line that is no output, one that was not graded, a metric that it lacks, or
            another question under one prompt than under another.
    """
    if choice.persona_from:
        raise OutcomesError(
            f"--persona-from {choice.persona_from} can't be used with outputs of NeMo-Skills: the "
            "persona is the name of a prompt's folder"
        )
    top = root.resolve() if root is not None and root.is_dir() else _common(files)
    rows: dict[tuple[str, str], list[Outcome]] = {}
    asked: dict[tuple[str, str], tuple[str, str]] = {}
    for file in files:
        benchmark, persona = _names(file)
        for place, row in _rows(file, choice.metric):
            where = f"{file}:{place}"
            text, first = asked.setdefault((benchmark, row.question), (row.prompt, where))
            if text != row.prompt:
                raise OutcomesError(
                    f"{where}: question {row.question} is not that of {first}: give folders of "
                    "prompts that were asked the same questions in the same order"
                )
            model = top.parent.name if top.name == benchmark else top.name
            rows.setdefault((model, benchmark), []).append(
                row._replace(
                    persona=persona, kind="control" if persona == "none" else "",
                    prompt_hash=text_hash(persona, row.prompt),
                )
            )  # fmt: skip
    say(UNKNOWN)
    return runs_of(rows, top)


def _common(files: Sequence[Path]) -> Path:
    """The folder above the prompts' folders."""
    inside = [file.resolve() for file in files]
    return next(
        folder
        for folder in inside[0].parents[1:]
        if all(folder in file.parents[1:] for file in inside)
    )


def _names(file: Path) -> tuple[str, str]:
    """Benchmark and prompt of a file, by its folders."""
    folders = [*file.resolve().parts[:-1]]
    if RESULTS_FOLDER in folders[:-1]:
        at = len(folders) - 1 - folders[::-1].index(RESULTS_FOLDER)
        return "/".join(folders[at + 1 :]), folders[at - 1]
    return folders[-2], folders[-1]


def _rows(file: Path, metric: str) -> Iterator[tuple[int, Outcome]]:
    match = _FILE.fullmatch(file.name)
    seed = int(match["seed"] or 0) if match else 0
    with file.open(encoding="utf-8", newline="\n") as lines:
        for place, line in enumerate(lines, start=1):
            try:
                record = dict(json.loads(line))
            except (ValueError, TypeError) as error:
                raise OutcomesError(
                    f"{file}:{place}: not an output of NeMo-Skills ({error}); was the file cut off?"
                ) from None
            yield place, _row(file, place, record, metric)._replace(sample=seed)


def _row(file: Path, place: int, record: Mapping[str, Any], metric: str) -> Outcome:
    # instruction following nests what it found; strictly is how it is reported
    held = {**(record.get("strict_eval") or {}), **record}
    name = metric or next((each for each in METRICS if each in held), "")
    if name not in held:
        have = [each for each in METRICS if each in held]
        raise OutcomesError(
            f"{file}:{place}: "
            + (f"no field {metric!r}" if metric else "it was not graded")
            + (f": use --metric {' or '.join(have)}" if have else ": run ns eval on it first")
        )
    if not metric and len(have := [each for each in METRICS if each in held]) > 1:
        say(f"scored by {name} (others, by --metric: {' · '.join(have[1:])})")
    value = _value(held[name])
    if value is None or not (math.isnan(value) or 0 <= value <= 1):
        raise OutcomesError(
            f"{file}:{place}: {name} is {str(held[name])[:60]!r}, where yes, no or a number from 0 "
            "to 1 belongs: choose another field by --metric"
        )
    unanswered = "predicted_answer" in record and record["predicted_answer"] is None
    finish = str(record.get("finish_reason") or "")
    failed = "no_answer" if unanswered else "truncated" if finish == "length" else "wrong_answer"
    return Outcome(
        **value_of(value, "no_value" if math.isnan(value) else failed),
        question=str(record.get("id", place - 1)),
        level=first_text(record, LEVELS),
        subject=first_text(record, SUBJECTS),
        response=sound(str(record.get("generation") or "")),
        grader=f"NeMo-Skills: {name}",
        prompt=first_text(record, QUESTIONS),
        answer=str(record.get("expected_answer", "")),
        finish=finish,
        taken=str(record.get("predicted_answer") or ""),
        tokens=str(record.get("num_generated_tokens") or ""),
    )


def _value(found: Any) -> float | None:
    """A verdict as a number: a judge's words, a list of one, `pass`; None for what is none."""
    if isinstance(found, list):
        found = found[0] if found else None
    if isinstance(found, str):
        *_, said = found.strip().rpartition("Judgement:")
        word = said.strip().strip("*. ").lower()
        return 1.0 if word in RIGHT else 0.0 if word in WRONG else None
    return math.nan if found is None else number(found)
