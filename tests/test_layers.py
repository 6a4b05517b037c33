"""The rooms of the package are layers: each imports only from rooms below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import persona_bench

PACKAGE = Path(persona_bench.__file__).parent
LAYERS = (
    "commands", "extras", "train", "report", "judge", "harness", "scoring", "results", "benchmarks",
    "grading",
)  # fmt: skip
"""From top to bottom, as docs/architecture.md draws them. Files of the package itself stand above
(`cli`) or below (`personas`, `texts`, ...) and are checked for circles only."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of the package that a module imports, wherever in it."""
    return frozenset(_imported(ast.parse(MODULES[name].read_text(encoding="utf-8"))))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("persona_bench"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def room(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


@pytest.mark.parametrize("layer", LAYERS)
def test_a_room_imports_only_from_rooms_below_it(layer: str) -> None:
    above = LAYERS[: LAYERS.index(layer)]
    wrong = {
        f"{name} imports {other}"
        for name in MODULES
        if room(name) == layer
        for other in imports(name)
        if room(other) in (*above, "cli")
    }
    assert not wrong


def test_no_files_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter({name: imports(name) - {name} for name in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_only_the_harness_imports_lm_eval() -> None:
    def uses_lm_eval(path: Path) -> bool:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            if any(name.split(".")[0] == "lm_eval" for name in names):
                return True
        return False

    outside = {name for name, path in MODULES.items() if uses_lm_eval(path)}
    assert {room(name) for name in outside} == {"harness"}


def test_only_commands_import_extras_and_only_when_they_run() -> None:
    users = {name for name in MODULES if any(room(other) == "extras" for other in imports(name))}
    outside = {name for name in users if room(name) != "extras"}
    assert {room(name) for name in outside - {"persona_bench"}} == {"commands"}
    for name in outside:  # `persona_bench` itself names them for type checkers
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        at_the_top = ast.Module([n for n in tree.body if isinstance(n, ast.ImportFrom)], [])
        assert not [other for other in _imported(at_the_top) if room(other) == "extras"]


WANTED = {
    "grading": 2300, "harness": 2900, "judge": 1500, "results": 800, "scoring": 3200,
    "report": 3300, "commands": 1300, "benchmarks": 1500, "train": 2300, "extras": 5000,
}  # fmt: skip
"""Lines that each room should have."""
CEILINGS = {
    "grading": 4980, "harness": 8250, "judge": 2600, "results": 2600, "scoring": 8080,
    "report": 8480, "commands": 2120, "benchmarks": 2245, "train": 4490, "extras": 4850,
}  # fmt: skip
"""Lines that no room may exceed: lowered when a room has become smaller."""


SPINE = (
    "personas", "rendering", "harness/documents", "harness/tasks", "grading/verdict",
    "results/outcomes", "scoring/cells", "scoring/stability", "scoring/compare",
)  # fmt: skip
"""The files that everyone reads first, in the order of README's Layout."""


def test_the_spine_is_named_in_order_and_read_in_an_hour() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8").partition("## Layout")[2]
    places = [readme.find(f"`{name}.py`") for name in SPINE]
    assert -1 not in places
    assert places == sorted(places)
    files = [(PACKAGE / f"{name}.py").read_text(encoding="utf-8") for name in SPINE]
    assert sum(len(text.splitlines()) for text in files) <= 2500


def test_no_room_grows_unseen() -> None:
    """Prints the lines of each room beside those that are wanted (`pytest -s`)."""
    lines = dict.fromkeys(CEILINGS, 0)
    for name, path in MODULES.items():
        if room(name) in lines:
            lines[room(name)] += len(path.read_text(encoding="utf-8").splitlines())
    for name, count in lines.items():
        print(f"{name:<11}{count:6,} lines, {WANTED[name]:,} wanted")
    assert {name: n for name, n in lines.items() if n > CEILINGS[name]} == {}
