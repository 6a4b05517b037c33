"""Stability as files: tables, and all of it as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_bench.report.names import file_stem

if TYPE_CHECKING:
    from pathlib import Path

    from persona_bench.scoring.stability import Stability

SIZES: dict[str, str] = {
    "n_questions": "questions asked",
    "n_personas": "personas",
    "n_samples": "most responses to one question under one persona",
    "n_responses": "responses, scored and unscored",
    "unscored": "responses that the instrument failed to grade",
    "missing": "persona x question cells without a response",
    "stable_from": "PSS from which on a model counts as stable",
    "confidence": "of the intervals, low to high",
    "resamples": "bootstrap replicates, and exchanges behind the noise floor",
    "seed": "of the resampling",
}


def write_stability(
    result: Stability,
    folder: Path,
    *,
    model: str,
    task: str,
    provenance: dict[str, Any],
    beside: dict[str, Any] | None = None,
) -> list[Path]:
    """Write one model's stability on one benchmark; returns the files, in this order.

    `<task>_personas.csv` (one row per persona), `<task>_stability.csv` (one row per metric, with
    its interval and definition) and `<task>_stability.json` (all of it, with `provenance`: how the
    numbers were made, and `beside`). Accuracies are shares, 0 to 1. Characters of `task` that file
    names can't hold become `_`. Files already there are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = file_stem(task)
    record = {"model": model, "task": task, "provenance": provenance, **result.to_dict()}
    record |= beside or {}
    json_path = folder / f"{stem}_stability.json"
    # before the first file is written: what JSON can't hold is found out here
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False, default=str)

    paths = [
        _write_csv(result.per_persona, folder / f"{stem}_personas.csv"),
        _write_csv(metric_table(result), folder / f"{stem}_stability.csv"),
    ]
    json_path.write_text(text + "\n", encoding="utf-8", newline="\n")
    paths.append(json_path)
    return paths


def metric_table(result: Stability) -> pd.DataFrame:
    """metric, value, low, high, definition: one row for each number of the result.

    A pair that is not an interval has a row for each of the two, `x_all_wrong` and
    `x_all_right`; bounds have a low and a high, and no value.
    """
    rows: list[dict[str, Any]] = []
    for name, entry in result.to_dict().items():
        if not isinstance(entry, dict) or "definition" not in entry:
            continue
        if "all_wrong" in entry:
            for case in ("all_wrong", "all_right"):
                row = {"metric": f"{name}_{case}", "value": entry[case]}
                rows.append(row | {"definition": entry["definition"]})
        elif name == "pss":  # what its interval is of, the corrected score estimates better
            rows.append({"metric": name, **entry, "low": None, "high": None})
        else:
            rows.append({"metric": name, **entry})
    for name, definition in SIZES.items():
        rows.append({"metric": name, "value": getattr(result, name), "definition": definition})
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "definition"])


def _write_csv(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
    return path
