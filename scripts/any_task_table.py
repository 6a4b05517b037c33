"""Which of lm-eval's own tasks can be put under personas: the table of docs/any-task.md.

    python scripts/any_task_table.py

Reads the YAML files of all tasks; nothing is downloaded and no task is built. What only a built
task shows (a data set that is gone, a package that is missing) is not in it.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind
from lm_eval.tasks._yaml_loader import load_yaml

from persona_bench.harness.wrap import BUILT_IN, declared_problems, refusal

KINDS = ("generate_until", "multiple_choice", "loglikelihood", "loglikelihood_rolling", "class")


def outcome(config: Mapping[str, Any]) -> str:
    """What becomes of a task, in the words of the table."""
    if reason := refusal(config):
        if "loglikelihood_rolling" in reason:
            return "refused: likelihood of whole texts"
        if "images" in reason:
            return "refused: images or audio"
        return "refused: no metric per document"
    if "class" in config:
        return "wrapped; its own class decides"
    problems = declared_problems(config)
    if config.get("unsafe_code"):
        return "wrapped; asks for --confirm_run_unsafe_code"
    if "" in problems.values():
        first = next(iter(problems.values()))
        return "wrapped" if not first else "wrapped; not by its first metric"
    return "wrapped, if its own function gives each document a number"


def table() -> list[str]:
    """The rows of the table in Markdown."""
    index = TaskManager().task_index
    counts: Counter[tuple[str, str]] = Counter()
    for entry in index.values():
        if entry.kind not in (Kind.TASK, Kind.PY_TASK) or entry.yaml_path is None:
            continue
        if not Path(entry.yaml_path).resolve().is_relative_to(BUILT_IN):
            continue
        config = load_yaml(entry.yaml_path, resolve_func=False)
        kind = "class" if "class" in config else config.get("output_type", "generate_until")
        counts[outcome(config), kind] += 1
    lines = ["| what becomes of it | " + " | ".join(KINDS) + " | all |"]
    lines.append("|---|" + "---:|" * (len(KINDS) + 1))
    names = sorted({name for name, _ in counts})
    for name in sorted(names, key=lambda each: (each.startswith("refused"), each)):
        row = [counts[name, kind] for kind in KINDS]
        lines.append(f"| {name} | " + " | ".join(f"{n:,}" for n in [*row, sum(row)]) + " |")
    totals = [sum(n for (_, each), n in counts.items() if each == kind) for kind in KINDS]
    lines.append("| all | " + " | ".join(f"{n:,}" for n in [*totals, sum(totals)]) + " |")
    return lines


def main() -> None:
    """Prints the table."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print(f"lm-eval {lm_eval.__version__}:\n")
    print("\n".join(table()))


if __name__ == "__main__":
    main()
