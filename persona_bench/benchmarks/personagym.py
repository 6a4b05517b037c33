"""PersonaGym: 200 personas, each asked 10 questions on each of five evaluation tasks.

Samuel et al. 2024 (arXiv 2407.18416). Responses are judged afterwards, by `persona-bench judge`.
The system message and the sampling are PersonaGym's. docs/fidelity.md lists what else is, and which
faults of its released code are corrected.

    lm_eval --model vllm --model_args pretrained=... --tasks persona_personagym \
        --apply_chat_template --log_samples --output_path results
    persona-bench judge results --judge MODEL --base-url http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from persona_bench.benchmarks.archives import GitFolder
from persona_bench.benchmarks.base import Benchmark, Question, not_judged
from persona_bench.benchmarks.rubrics import (
    EVAL_TASKS,
    RubricError,
    RubricSet,
    read_personagym_rubrics,
)
from persona_bench.benchmarks.sources import SourceError
from persona_bench.personas import Persona, PersonaSet

PERSONAS, PER_TASK = 200, 10

FOLDER = GitFolder(
    mirror="personagym",
    repository="vsamuel2003/PersonaGym",
    commit="536f705e610289c38d84e083fcea6ea5093d3a25",
    patterns=(
        "questions/benchmark-v1/*.json",
        "rubrics/*.txt",
        "prompts/rubric_grading/prompt.txt",
        "prompts/rubric_grading/sys_prompt.txt",
        "prompts/score_examples/prompt.txt",
    ),
    sha256="e86aee5e47ef19d2fbacb18a2b833934e7097bf5f074946607da70288bb78fae",
)

BEFORE = "Adopt the identity of "
AFTER = (
    ". Answer the questions while staying in strict accordance with the nature of this identity."
)


def personas(data_dir: Path | None) -> PersonaSet:
    """The 200 personas, each with PersonaGym's system message, sorted by their descriptions.

    Raises:
        SourceError: the files can't be had.
    """
    return _personas(FOLDER.locate(data_dir))


@lru_cache(maxsize=2)
def _personas(folder: Path) -> PersonaSet:
    personas: dict[str, Persona] = {}
    for file in _files(folder):
        slug = "-".join(re.findall(r"[a-z0-9]+", file.stem.lower()))
        id_ = slug[:60].rstrip("-")
        if id_ in personas:
            id_ = slug  # whole, where the beginnings are the same
        personas[id_] = Persona(id_, "character", BEFORE + file.stem + AFTER)
    about = "PersonaGym's benchmark personas"
    return PersonaSet("personagym", FOLDER.commit[:12], about, tuple(personas.values()))


def description(prompt: str) -> str:
    """A persona's own description, taken out of the system message."""
    return prompt.removeprefix(BEFORE).removesuffix(AFTER)


def load(
    data_dir: Path | None,
    seed: int = 0,
    *,
    eval_tasks: tuple[str, ...] = EVAL_TASKS,
    questions_per_task: int = PER_TASK,
) -> list[Question]:
    """The questions, persona by persona; `seed` is not used.

    Args:
        data_dir: The mirror folder.
        seed: Not used.
        eval_tasks: The evaluation tasks whose questions are loaded.
        questions_per_task: Number of questions of each persona and evaluation task.

    Raises:
        SourceError: a file can't be had, or is not the benchmark's.
    """
    folder = FOLDER.locate(data_dir)
    rows = []
    for persona, file in zip(personas(data_dir), _files(folder), strict=True):
        by_task = _read(file)
        for eval_task in EVAL_TASKS:
            if eval_task in eval_tasks:
                for number, text in enumerate(by_task[eval_task][:questions_per_task], start=1):
                    id_ = f"{persona.id}/{eval_task.lower().replace(' ', '-')}/{number:02d}"
                    rows.append(Question(id_, text, "", subject=eval_task, persona=persona.id))
    return rows


def _files(folder: Path) -> list[Path]:
    files = sorted((folder / "questions" / "benchmark-v1").glob("*.json"))
    if len(files) != PERSONAS:
        raise SourceError(f"{folder}: questions of {len(files)} personas, not of {PERSONAS}")
    return files


@lru_cache(maxsize=2 * PERSONAS)
def _read(file: Path) -> dict[str, list[str]]:
    try:
        questions = json.loads(file.read_text(encoding="utf-8"))
        by_task = {name: [str(text) for text in questions[name]] for name in EVAL_TASKS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{file}: not a question file of PersonaGym ({error!r})") from None
    if any(len(texts) != PER_TASK for texts in by_task.values()):
        raise SourceError(f"{file}: not {PER_TASK} questions for each of the five tasks")
    return by_task


def rubrics(data_dir: Path | None) -> RubricSet:
    """PersonaGym's rubrics, read from its files.

    Raises:
        SourceError: the files are not there and can't be fetched, or are not PersonaGym's.
    """
    try:
        return read_personagym_rubrics(FOLDER.locate(data_dir), FOLDER.commit[:12])
    except RubricError as error:
        raise SourceError(str(error)) from None


@dataclass(frozen=True)
class PublishedPrompts:
    """What PersonaGym's released code sends to its judges, before slots are filled.

    Attributes:
        system: The system message, which only the first judge is sent.
        outline: The user message around several rubrics, with the slot {rubrics}.
        rubrics: By evaluation task, with the slots of `Rubric.text`.
    """

    system: str
    outline: str
    rubrics: Mapping[str, str]


def published_prompts(data_dir: Path | None) -> PublishedPrompts:
    """PersonaGym's own prompts, read from its files and not changed.

    Raises:
        SourceError: a file can't be had.
    """
    folder = FOLDER.locate(data_dir)
    grading = folder / "prompts" / "rubric_grading"
    files = {name: folder / "rubrics" / f"{name}.txt" for name in EVAL_TASKS}
    try:
        return PublishedPrompts(
            system=(grading / "sys_prompt.txt").read_text(encoding="utf-8"),
            outline=(grading / "prompt.txt").read_text(encoding="utf-8"),
            rubrics={name: file.read_text(encoding="utf-8") for name, file in files.items()},
        )
    except OSError as error:
        raise SourceError(
            f"{folder}: a file of PersonaGym is missing ({error}); clone {FOLDER.repository} again"
        ) from None


# ---------------------------------------------------------------------- knobs


def _eval_tasks(value: Any) -> tuple[str, ...]:
    texts = value.replace("+", ",").split(",") if isinstance(value, str) else list(value)
    by_name = {name.lower(): name for name in EVAL_TASKS}
    names = [str(name).strip().lower().replace("-", " ").replace("_", " ") for name in texts]
    if not names or not set(names) <= set(by_name):
        raise ValueError(f"{value!r} is unknown: use some of {', '.join(EVAL_TASKS)}")
    return tuple(name for name in EVAL_TASKS if name.lower() in names)


def _per_task(most: int, value: Any) -> int:
    if not str(value).isdigit() or not 1 <= int(value) <= most:
        raise ValueError(f"{value!r} must be a whole number from 1 to {most}")
    return int(value)


def eval_knobs(most: int) -> dict[str, Any]:
    """The knobs of a benchmark of the five evaluation tasks with `most` questions each."""
    return {"eval_tasks": _eval_tasks, "questions_per_task": partial(_per_task, most)}


def configured(data_dir: Path | None, knobs: Mapping[str, Any]) -> Benchmark:
    """The benchmark under its own knobs."""
    return Benchmark(
        "personagym",
        partial(load, **knobs),
        str,
        not_judged,
        "judge",
        knobs=eval_knobs(PER_TASK),
        configured=configured,
        personas=personas,
        rubrics=rubrics,
        describe=description,
    )


BENCHMARK = configured(None, {})
