"""Reading and writing the pair of files that lm-eval makes of a task: results and samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a samples file.

    Line by line: text within a row may hold characters at which `str.splitlines` would split.
    """
    with file.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def response_of(row: Mapping[str, Any]) -> str:
    """The response of a row, out of lm-eval's nested lists."""
    response = row["resps"][0]
    while isinstance(response, list):
        response = response[0] if response else ""
    return response or ""


def write_results(
    folder: Path,
    task: str,
    date: str,
    rows: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    config: Mapping[str, Any],
    told: Mapping[str, Any],
    figures: Mapping[str, float],
) -> Path:
    """Writes rows as lm-eval writes a task's samples, with a results file of their own.

    Args:
        folder: Where to.
        task: The task's name.
        date: As lm-eval writes it in file names.
        rows: The samples.
        results: lm-eval's results, of which the task's own parts are replaced.
        config: The task's configuration.
        told: What the task records of itself.
        figures: The rows of lm-eval's results table, by name.

    Returns:
        The samples file.
    """
    whole = {
        **results,
        "configs": {task: {**config, "metadata": {**config["metadata"], "persona_bench": told}}},
        "results": {
            task: {"alias": task, **{f"{name},none": value for name, value in figures.items()}}
        },
        "n-samples": {task: {"original": len(rows), "effective": len(rows)}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"samples_{task}_{date}.jsonl"
    with file.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    # lm-eval finds the results of all tasks of a run in one file; here each task has its own
    (folder / f"results_{task}_{date}.json").write_text(
        json.dumps(whole, indent=2, ensure_ascii=False), encoding="utf-8"
    )
    return file
