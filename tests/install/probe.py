"""What an environment's lm-eval knows of this project's tasks; run inside it, prints JSON.

Usage: python probe.py FOLDER, where FOLDER can be written to.
"""

from __future__ import annotations

import sys

AT_START = sorted(sys.modules)  # before anything else is imported
FINDERS = [type(finder).__name__ for finder in sys.meta_path]

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
from importlib.metadata import entry_points  # noqa: E402
from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

OWN_TASK = "task: {name}\ndataset_path: json\noutput_type: generate_until\ntest_split: test\n"


class Warnings(logging.Handler):
    """Keeps what lm-eval warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main(folder: Path) -> dict[str, Any]:
    import lm_eval
    import lm_eval.tasks.manager as manager

    warnings = Warnings()
    log = logging.getLogger("lm_eval.tasks")
    log.addHandler(warnings)
    log.propagate = False

    # lm-eval looks for its own 15,000 task files beside this file. Indexing them takes many
    # seconds each time, and one of them is all that the paths in question need.
    defaults = folder / "defaults"
    defaults.mkdir()
    (defaults / "theirs.yaml").write_text(OWN_TASK.format(name="theirs"))
    manager.__file__ = str(defaults / "manager.py")

    own = folder / "own"
    own.mkdir()
    for name in ("persona_arithmetic", "of_my_own"):
        (own / f"{name}.yaml").write_text(OWN_TASK.format(name=name))

    def index(*args: Any, **kwargs: Any) -> dict[str, Any]:
        warnings.messages.clear()
        found = manager.TaskManager(*args, **kwargs)
        files = {name: entry.yaml_path for name, entry in found.task_index.items()}
        return {
            "names": found.all_tasks,
            "groups": found.all_groups,
            "files": {name: str(file and Path(file).resolve()) for name, file in files.items()},
            "warnings": list(warnings.messages),
        }

    indexes = {
        "plain": index(),
        "without defaults": index(include_defaults=False),
        "own folder": index(include_path=str(own)),
        "own folder, by position": index(None, [own]),
    }
    tasks = tasks_path()
    if tasks:
        indexes["tasks path"] = index(include_path=tasks)
        indexes["tasks path, relative"] = index(include_path=os.path.relpath(tasks))
        indexes["tasks path, among others"] = index(include_path=[own, f"{tasks}/"])
        indexes["tasks path, without defaults"] = index(include_path=tasks, include_defaults=False)
    return {
        "modules_at_start": AT_START,
        "finders_at_start": FINDERS,
        "ours_in_the_end": sorted(name for name in sys.modules if name.startswith("persona_bench")),
        "declared": declared(),
        "lm_eval": str(Path(lm_eval.__file__).resolve()),
        "tasks_path": tasks,
        "indexes": indexes,
    }


def declared() -> list[str]:
    """Where the tasks lie that are declared as lm-eval's PR #4015 reads them.

    It takes the value of each entry point in the group `lm_eval.tasks` as a module's name, and
    scans the folder of that package.
    """
    found = []
    for point in entry_points(group="lm_eval.tasks"):
        spec = find_spec(point.value)
        found += list(spec.submodule_search_locations or ()) if spec else []
    return found


def tasks_path() -> str:
    """What `persona-bench tasks-path` prints; empty where there is no such command."""
    command = Path(sys.executable).with_name("persona-bench")
    if not command.exists():
        return ""
    done = subprocess.run([command, "tasks-path"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    scratch = Path(sys.argv[1]) / "scratch"  # the same each time, as it is part of the answer
    scratch.mkdir()
    print(json.dumps(main(scratch)))
    shutil.rmtree(scratch)
