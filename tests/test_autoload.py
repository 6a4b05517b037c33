"""The hook for lm-eval, beside what the installation tests show of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import persona_bench_autoload

ROOT = Path(__file__).resolve().parent.parent


class TaskManager:
    """As far as the hook looks at lm-eval's."""

    def __init__(self, include_path: object = None, include_defaults: bool = True) -> None:
        self.paths = include_path


def manager(**names: object) -> ModuleType:
    module = ModuleType("manager")
    # a class of its own for each, as the hook changes it
    module.__dict__.update(names, TaskManager=type("TaskManager", (TaskManager,), {}))
    return module


def test_the_hook_steps_aside_for_an_lm_eval_that_reads_entry_points() -> None:
    today = manager()
    persona_bench_autoload._add_tasks(today)
    assert today.TaskManager().paths == [ROOT / "tasks"]
    assert today.TaskManager(include_defaults=False).paths is None
    proposed = manager(TASKS_ENTRY_POINT_GROUP="lm_eval.tasks")
    persona_bench_autoload._add_tasks(proposed)
    assert proposed.TaskManager().paths is None


def test_the_hook_imports_nothing_until_lm_eval_s_tasks_are_imported(tmp_path: Path) -> None:
    """With a package `lm_eval` that has one module of that name, and one of another."""
    package = tmp_path / "lm_eval" / "tasks"
    package.mkdir(parents=True)
    (package / "other.py").touch()
    (package / "manager.py").write_text(
        "class TaskManager:\n    def __init__(self, include_path=None, include_defaults=True):\n"
        "        self.paths = include_path\n"
    )
    hook = (ROOT / "persona_bench_autoload.pth").read_text().splitlines()[1]
    code = (
        f"{hook}\nours = lambda: sorted(n for n in sys.modules if n.startswith('persona'))\n"
        "import json, lm_eval.tasks.other; print(ours())\n"
        "from lm_eval.tasks.manager import TaskManager; print(ours()[:2])\n"
        "print(TaskManager().paths)\n"
    )

    def run(off: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-S", "-c", code],
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PERSONA_BENCH_NO_AUTOLOAD": off},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    found = ["[]", "['persona_bench', 'persona_bench.resources']", f"[{ROOT / 'tasks'!r}]"]
    assert run("") == run("0") == found
    assert run("1") == ["[]", "[]", "None"]
