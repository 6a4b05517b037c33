"""Grades cases of maths answers and prints where the grader differs from them.

    python -m scripts.grade_cases FILE.jsonl

A line is one case: `kind, gold, response, truncated, integer, verdict, why`. A `why` of the form
`reason: NAME` is checked too. Exits with 0 where all agree, else with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from persona_bench.grading.maths import grade_all


def main() -> None:
    """Print what differs, case by case, then `N of M`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    cases = read_cases(parser.parse_args().file)
    differing = [found for found in map(difference, cases, verdicts_on(cases)) if found]
    for line in differing:
        print(line)
    print(f"{len(cases) - len(differing)} of {len(cases)}")
    sys.exit(bool(differing))


def read_cases(file: Path) -> list[dict[str, Any]]:
    """The cases of a JSONL file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def verdicts_on(cases: list[dict[str, Any]]) -> list[Any]:
    """The grader's verdicts, in the order of the cases."""
    found: dict[int, Any] = {}
    for integer in (False, True):
        own = [i for i, case in enumerate(cases) if bool(case.get("integer")) == integer]
        graded = grade_all(
            [cases[i]["response"] for i in own],
            [cases[i]["gold"] for i in own],
            truncated=[bool(cases[i].get("truncated")) for i in own],
            integer=integer,
        )
        found |= dict(zip(own, graded, strict=True))
    return [found[i] for i in range(len(cases))]


def difference(case: dict[str, Any], verdict: Any) -> str:
    """What differs, in one line; empty where nothing does."""
    wanted = case["verdict"]
    why = case.get("why") or ""
    reason = why.removeprefix("reason: ") if why.startswith("reason: ") else ""
    if verdict.verdict == wanted and reason in ("", verdict.reason):
        return ""
    wanted += f" ({reason})" if reason else ""
    got = f"{verdict.verdict} ({verdict.reason or verdict.route})"
    return (
        f"[{case['kind']}] wanted {wanted}, got {got}: gold {case['gold']!r}, "
        f"read {verdict.answer!r} from {case['response']!r}"
    )


if __name__ == "__main__":
    main()
