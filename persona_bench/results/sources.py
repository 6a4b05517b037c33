"""Results of other programs: one function recognises what a path is, and reads the tidy table.

`read_source` takes a table (CSV, Parquet, JSONL), folders of plain lm-eval runs with different
system instructions, logs of inspect_ai, and outputs of NeMo-Skills. Each kind has a module of its
own with two functions: `find` names the files of its kind at a path, and `read` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from persona_bench.results import inspect_logs, nemo_skills, plain_lm_eval, table_files
from persona_bench.results.other_run import Choice, OtherRun
from persona_bench.results.samples import OutcomesError, find_samples

KINDS = {
    "table": table_files,
    "outputs of lm-eval": plain_lm_eval,
    "logs of inspect_ai": inspect_logs,
    "outputs of NeMo-Skills": nemo_skills,
}
"""What else than runs of persona tasks can be read, in the order in which a path is tried."""


def read_source(paths: Sequence[Path], choice: Choice) -> list[OtherRun] | None:
    """The results of another program at some paths; None where they are runs of persona tasks.

    Args:
        paths: Files or folders of one kind, read as one.
        choice: Where the persona stands, and which metric counts.

    Raises:
        OutcomesError: files that can't be read, with file, line and mend; or paths of several
            kinds.
    """
    found = {path: _kind(path) for path in paths}
    kinds = set(found.values())
    if kinds == {""}:
        if len(paths) > 1:
            raise OutcomesError(
                f"{paths[0]} and {len(paths) - 1} more: runs of persona tasks are scored one "
                "folder at a time (persona-bench compare takes several)"
            )
        choice.refuse("a run of a persona task", "its knobs choose (--metadata)")
        return None
    if len(kinds) > 1:
        named = "; ".join(f"{path}: {kind or 'persona tasks'}" for path, kind in found.items())
        raise OutcomesError(
            f"these are results of different kinds ({named}): give one kind at once"
        )
    reader = KINDS[kinds.pop()]
    files = list(dict.fromkeys(file for path in paths for file in reader.find(path)))
    root = paths[0] if len(paths) == 1 else None
    return reader.read(files, root, choice)


def _kind(path: Path) -> str:
    """The kind of results at a path, as `KINDS` names it; empty for runs of persona tasks."""
    if not path.exists() or (path.is_dir() and find_samples(path)):
        return ""
    return next((kind for kind, reader in KINDS.items() if reader.find(path)), "")
