"""The tidy table as a file, and as Every Eval Ever has it (schema 0.3.0).

Every Eval Ever (arXiv 2606.14516) stores one JSON file per model and task, with a result for each
number, and beside it a JSONL file with one line per response.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import persona_bench
from persona_bench.report.runs import Settings
from persona_bench.results import table_files
from persona_bench.results.runs import Run, TaskResults
from persona_bench.results.samples import OutcomesError
from persona_bench.results.schema import Outcome
from persona_bench.scoring.stability import stability
from persona_bench.texts import file_stem

SCHEMA = "0.3.0"
FOLDER = ".eee"
COLLECTION = "persona_bench"
RATIOS = {"pss": "PSS", "pss_corrected": "Corrected PSS"}


def is_export(path: Path) -> bool:
    """Whether `--out` names a table or a folder of Every Eval Ever, not a folder of scores."""
    return path.suffix == FOLDER or path.name.lower().endswith(table_files.SUFFIXES)


def export(runs: Sequence[Run], out: Path) -> list[Path]:
    """Writes the responses of all graded tasks; returns the files.

    Args:
        runs: Read with `asked=True`.
        out: A .csv, .csv.gz or .parquet file; or a folder NAME.eee.

    Raises:
        OutcomesError: nothing is graded, or another suffix.
    """
    graded = [(run, run.tasks[task]) for run in runs for task in run.outcomes]
    if left := [task for run in runs for task in run.judged]:
        warnings.warn(
            f"left out, as they are judged and not graded: {', '.join(left)}", stacklevel=2
        )
    if not graded:
        raise OutcomesError(f"{out}: nothing to write: no task is graded")
    if out.suffix == FOLDER:
        return [file for run, task in graded for file in _write_log(run, task, out)]
    table_files.write(pd.concat([each.responses for _, each in graded], ignore_index=True), out)
    return [out]


def _write_log(run: Run, task: TaskResults, out: Path) -> Iterator[Path]:
    """Writes the two files of one model and task, where Every Eval Ever wants them."""
    rows = task.responses
    local = Path(run.model).is_absolute() or "/" not in run.model
    developer, model = (
        ("unknown", Path(run.model).name) if local else run.model.rsplit("/", maxsplit=1)
    )
    model_id = f"{developer}/{model}"
    place = Path("data", COLLECTION, file_stem(developer), file_stem(model))
    content = rows.to_json(orient="records", default_handler=str)
    key = f"{run.model}\0{task.samples.task}\0{content}"
    name = uuid.UUID(bytes=hashlib.sha256(key.encode(errors="replace")).digest()[:16], version=4)
    now = f"{time.time():.0f}"
    about = {
        "schema_version": SCHEMA,
        "evaluation_id": f"{task.samples.task}/{model_id}/{now}",
        "model_id": model_id,
    }
    lines = [json.dumps(each, ensure_ascii=False) for each in _instances(task, about)]
    text = "".join(f"{line}\n" for line in lines)
    samples = place / f"{name}_samples.jsonl"
    log = {
        "schema_version": SCHEMA,
        "evaluation_id": about["evaluation_id"],
        "retrieved_timestamp": now,
        "source_metadata": {
            "source_name": "Persona Bench",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "persona_bench", "version": persona_bench.__version__},
        "model_info": {
            "name": run.name,
            "id": model_id,
            "additional_details": {
                "deployment_type": "unknown",
                "model_availability": "unknown",
            },
        },
        "evaluation_results": list(_results(task, run.outcomes[task.samples.task])),
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": samples.as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(text.encode()).hexdigest(),
            "total_rows": len(lines),
        },
    }
    (out / place).mkdir(parents=True, exist_ok=True)
    (out / samples).write_text(text, encoding="utf-8", newline="\n")
    file = out / place / f"{name}.json"
    file.write_text(json.dumps(log, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    yield from (file, out / samples)


def _results(task: TaskResults, outcomes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The mean of each persona's responses, then the ratios over all personas."""
    name, rows = task.samples.task, task.responses
    with warnings.catch_warnings():  # they are for readers of a score
        warnings.simplefilter("ignore")
        result = stability(outcomes, **asdict(Settings()))
    source = {"dataset_name": name, "source_type": "other"}
    scores = _scores(rows)
    binary = scores.dropna().isin([0.0, 1.0]).all()
    generation = _generation(task.samples.generation)
    for persona, own in rows.groupby("persona", sort=False):
        values = scores[own.index]
        scored = values.dropna()
        if scored.empty:
            continue
        spread: dict[str, Any] = {"num_samples": len(scored)}
        if len(scored) > 1:
            error = float(scored.std() / math.sqrt(len(scored)))
            spread["standard_error"] = {"value": error, "method": "analytic"}
        yield {
            "evaluation_result_id": f"{name}/{persona}",
            "evaluation_name": f"{name} as {persona}",
            "source_data": source,
            "metric_config": {
                "evaluation_description": "Mean over responses under this persona's system prompt",
                "metric_id": "accuracy" if binary else "mean_score",
                "metric_kind": "accuracy" if binary else "mean_score",
                "metric_unit": "proportion",
                **_SHARE,
            },
            "score_details": {
                "score": float(scored.mean()),
                "details": {
                    "persona": str(persona),
                    "kind": str(own["kind"].iloc[0]),
                    "system_prompt": str(own["persona_prompt"].iloc[0]),
                    "unscored": str(int(values.isna().sum())),
                },
                "uncertainty": spread,
            },
            **generation,
        }
    for metric, title in RATIOS.items():
        value = getattr(result, metric)
        if math.isnan(value):
            continue
        bounds = {} if math.isnan(value.low) else {
            "uncertainty": {
                "confidence_interval": {
                    "lower": value.low,
                    "upper": value.high,
                    "confidence_level": result.confidence,
                }
            }
        }  # fmt: skip
        yield {
            "evaluation_result_id": f"{name}/{metric}",
            "evaluation_name": f"{name} over personas",
            "source_data": source,
            "metric_config": {
                "evaluation_description": result.DEFINITIONS[metric],
                "metric_id": f"persona_bench.{metric}",
                "metric_name": title,
                "metric_unit": "proportion",
                **_SHARE,
            },
            "score_details": {"score": float(value), **bounds},
        }


_SHARE = {"lower_is_better": False, "score_type": "continuous", "min_score": 0, "max_score": 1}


def _scores(rows: pd.DataFrame) -> pd.Series:
    return rows["score"].fillna(rows["correct"])


def _generation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """How responses were generated, in the names of the schema; empty where unknown."""
    if not settings:
        return {}
    known = {name: settings[name] for name in ("temperature", "top_p", "top_k") if name in settings}
    if settings.get("max_gen_toks"):
        known["max_tokens"] = int(settings["max_gen_toks"])
    rest = {key: str(value) for key, value in settings.items() if key not in known}
    return {"generation_config": {"generation_args": known, "additional_details": rest}}


def _instances(task: TaskResults, about: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A line for each response that is scored: the schema has no place for others."""
    name = task.samples.task
    scores = _scores(task.responses)
    rows = (Outcome(*values) for values in task.responses[list(Outcome._fields)].to_numpy())
    for row, score in zip(rows, scores, strict=True):
        if math.isnan(score):
            continue
        raw = row.prompt or row.context or row.question
        reference = [row.answer] if row.answer else []
        taken = {
            "turn_idx": 0,
            "source": "output.raw",
            "extracted_value": row.taken,
            "extraction_method": row.route or "custom",
            "is_terminal": True,
        }
        held = {"persona": row.persona, "kind": row.kind, "system_prompt": row.persona_prompt,
                "sample": str(row.sample), "level": row.level, "subject": row.subject,
                "verdict": row.verdict, "reason": row.reason, "finish": row.finish}  # fmt: skip
        yield {
            **about,
            "evaluation_name": f"{name} as {row.persona}",
            "evaluation_result_id": f"{name}/{row.persona}",
            "sample_id": row.question,
            "sample_hash": hashlib.sha256((raw + "".join(reference)).encode()).hexdigest(),
            "interaction_type": "single_turn",
            "input": {"raw": raw, "formatted": row.context or None, "reference": reference},
            "output": {"raw": [row.response or ""]},
            "answer_attribution": [taken] if row.taken else [],
            "evaluation": {"score": float(score), "is_correct": score == 1},
            "metadata": {key: value for key, value in held.items() if value},
        }
