"""How many small faults do the tests of scoring and grading find?

    make mutants                        # 60 faults, drawn with seed 0
    make mutants MUTANTS="--n 200 --seed 1 --rooms scoring"

Cosmic Ray makes the faults (`<` becomes `<=`, `and` becomes `or`, `+` becomes `-`, a number changes
by one ...), one at a time, in a copy of the package. A fault is *found* when a test of the module
fails: tests that import the module first, then the others of its room. Those that no test found
are printed with their place; some of them change nothing that can be seen.
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 600  # seconds for the tests of one fault: a fault that hangs them is found
# unions of types in annotations, and decorators such as @dataclass: such faults say little
LEFT_OUT = re.compile(r"BitOr|BitAnd|RemoveDecorator|NoOp")


def faults(module: Path) -> list[tuple[str, int]]:
    """Every fault that can be made in a module: the operator's name, and which of its places."""
    tree = get_ast_from_path(module)
    found = []
    for name in filter(lambda name: not LEFT_OUT.search(name), operator_names()):
        operator = get_operator(name)
        if operator.arguments():
            continue
        places = sum(len(list(operator().mutation_positions(node))) for node in ast_nodes(tree))
        found += [(name, place) for place in range(places)]
    return found


def tests_of(module: Path) -> list[str]:
    """Test files of a module: those that import it, then the rest of its room."""
    dotted = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    room = ROOT / "tests" / module.relative_to(ROOT).parts[1]
    files = sorted(room.rglob("test_*.py"))
    direct = [path for path in files if re.search(rf"\b{re.escape(dotted)}\b", path.read_text())]
    rest = [path for path in files if path not in direct]
    return [str(path.relative_to(ROOT)) for path in direct + rest]


def survives(copy: Path, module: Path, mutated: str) -> bool:
    """Whether no test of the module fails with the fault in place."""
    target = copy / module.relative_to(ROOT)
    original = target.read_text(encoding="utf-8")
    target.write_text(mutated, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-m", "not slow", *tests_of(module)]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            check=False,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        target.write_text(original, encoding="utf-8")
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=60, help="how many faults; 60")
    parser.add_argument("--seed", type=int, default=0, help="seed of their draw; 0")
    parser.add_argument("--rooms", nargs="+", default=["scoring", "grading"])
    given = parser.parse_args()
    modules = [
        path
        for room in given.rooms
        for path in sorted((ROOT / "persona_bench" / room).glob("*.py"))
    ]
    possible = [(module, *fault) for module in modules for fault in faults(module)]
    drawn = random.Random(given.seed).sample(possible, min(given.n, len(possible)))
    print(f"{len(drawn)} of {len(possible):,} faults in {', '.join(given.rooms)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv*", "results", "site", "*_cache", "build")
        shutil.copytree(ROOT, copy, ignore=ignored)
        survived = 0
        for number, (module, operator, place) in enumerate(drawn, start=1):
            source = module.read_text(encoding="utf-8")
            mutated = mutate_code(source, get_operator(operator)(), place)
            start = time.monotonic()
            alive = survives(copy, module, mutated)
            survived += alive
            name = operator.removeprefix("core/")
            word = "SURVIVED" if alive else "found"
            where = module.relative_to(ROOT)
            print(
                f"{number:4} {word:8} {time.monotonic() - start:4.0f} s  {where}: {name}",
                flush=True,
            )
            if alive:
                before, after = source.splitlines(), mutated.splitlines()
                for line in difflib.unified_diff(before, after, lineterm="", n=0):
                    if not line.startswith(("---", "+++")):
                        print(f"       {line}", flush=True)
    print(f"Found {len(drawn) - survived} of {len(drawn)}: {1 - survived / len(drawn):.0%}")


if __name__ == "__main__":
    main()
