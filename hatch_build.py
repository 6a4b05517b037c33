"""Puts the YAML folders and the autoload files where an installation needs them.

In a wheel `tasks/` and `persona_sets/` go inside the package. In an editable install they
are read from the checkout, so only the two autoload files are installed.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

AUTOLOAD = {
    "persona_bench_autoload.py": "persona_bench_autoload.py",
    "persona_bench_autoload.pth": "persona_bench_autoload.pth",
}
DATA = {
    "tasks": "persona_bench/tasks",
    "persona_sets": "persona_bench/persona_sets",
    "results/smollm2-arithmetic/outcomes.csv.gz": "persona_bench/stored/smollm2-arithmetic.csv.gz",
}


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            build_data["force_include_editable"] = AUTOLOAD
        else:
            build_data["force_include"] = {**AUTOLOAD, **DATA}
