"""LiveCodeBench's files: one row per question; its tests are read when they are needed.

A release has up to 4.5 GB, nearly all of it tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from persona_bench.benchmarks.private_tests import TestsError, decode
from persona_bench.benchmarks.sources import HubFile, SourceError, mirror_folder
from persona_bench.grading.code import Case, Suite

REVISION = "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
_SHA256 = {
    "test.jsonl": "2bd02b38beb48e8c46b5b9987095d999ff38cd8efc255ea5d58974317c48f63f",
    "test2.jsonl": "095df7c5daf15f882c51a9deb84085cff1e073495a5dbcf95015a564d485f3a3",
    "test3.jsonl": "28ed26cc83363ce3f1fe2d5fad9f8393077beb1907b167a31bd3b32f80801b79",
    "test4.jsonl": "d711138ddaebfcf5f8ec6a4283ee677298c0f5c5d374a235af92aaf0584510da",
    "test5.jsonl": "7f77571c2a6df0c2a72a3277650309f67e01e0008e18117e624633df53f81214",
    "test6.jsonl": "bb4c364f71921c4495a6ad15abe1a927350b720009f4933e2e71f8af0f6fd1f5",
}
FILES = [
    HubFile(f"livecodebench/{name}", "livecodebench/code_generation_lite", name, REVISION, digest)
    for name, digest in _SHA256.items()
]
RELEASES = {f"v{number}": FILES[:number] for number in range(1, len(FILES) + 1)}
"""A release holds the files of those before it."""

PUBLIC = "livecodebench/lcb_release_v1_400_public.jsonl"
"""In a mirror without `test.jsonl`: the rows of v1 with public tests alone."""
EXTRA = "livecodebench/lcb_v1_leetcode_extra_tests.jsonl"
"""In a mirror: more tests (`hidden_tests`) for some of these questions, by `question_id`."""

ERRATA = {
    **dict.fromkeys(
        [
            *["abc311_c", "abc326_d", "abc327_b", "abc333_e", "abc343_a", "abc343_e", "abc362_c"],
            *["arc185_c", "find-words-containing-character", "find-the-peaks"],
            "generate-binary-strings-without-adjacent-zeros",
        ],
        "several outputs are right, one is accepted",
    ),
    **dict.fromkeys(["abc337_e", "abc355_e"], "interactive"),
    **dict.fromkeys(
        ["abc350_c", "apply-operations-to-make-string-empty", "most-frequent-ids", "arc189_a"],
        "faulty tests",
    ),
}
"""The benchmark's own list (ERRATA.md of its repository): question id or title, and why."""

FIELDS = (
    *("question_id", "question_title", "question_content", "platform", "starter_code"),
    *("difficulty", "contest_date", "public_test_cases", "metadata"),
)


class Extra(NamedTuple):
    """Where a question's extra tests are, and what they are."""

    path: Path
    offset: int
    size: int
    sha256: str


class Place(NamedTuple):
    """Where a question's tests are: they are too large to be kept in memory.

    Attributes:
        size: Bytes of their lines in the files: what takes long is as a rule large.
    """

    path: Path
    offset: int
    size: int
    extra: Extra | None


def release_rows(release: str, data_dir: Path | None) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The rows of a release and where they lie, with extra tests where a mirror has them.

    Raises:
        SourceError: a file can't be had, or is not the benchmark's.
    """
    folder = mirror_folder(data_dir)
    more = _extra_tests(folder)
    for file in RELEASES[release]:
        path = _public_alone(folder) if file is FILES[0] else None
        path = path or file.locate(data_dir)
        for offset, size, row in _rows(path, FIELDS):
            private = row.get("private_test_cases")
            extra = None if private else more.get(str(row["question_id"]))
            yield Place(path, offset, size + (extra.size if extra else 0), extra), row


def reference_of(row: dict[str, Any], extra: Extra | None) -> str:
    """What names a question and exactly these tests of it: `<id>#<digits of a sha256>`."""
    private = row.get("private_test_cases") or ""
    tests = f"{row['public_test_cases']}\n{private}\n{extra.sha256 if extra else ''}"
    return f"{row['question_id']}#{_sha256(tests)[:12]}"


def read_suite(place: Place) -> Suite:
    """The tests at a place: the public ones, then the private or the extra ones.

    Raises:
        SourceError: they can't be decoded.
    """
    row = _row_at(place.path, place.offset)
    try:
        cases = decode(row["public_test_cases"])
        if row.get("private_test_cases"):
            cases += decode(row["private_test_cases"])
        elif place.extra:
            cases += decode(_row_at(place.extra.path, place.extra.offset)["hidden_tests"])
        function = json.loads(row["metadata"] or "{}").get("func_name") or ""
        return Suite(tuple(Case(case["input"], case["output"]) for case in cases), function)
    except (TestsError, ValueError, TypeError, KeyError) as error:
        raise SourceError(
            f"{place.path}: the tests of question {row['question_id']} can't be read ({error}); "
            "get the file anew"
        ) from None


def _public_alone(folder: Path | None) -> Path | None:
    if folder is None or (folder / FILES[0].mirror).is_file():
        return None
    return folder / PUBLIC if (folder / PUBLIC).is_file() else None


def _extra_tests(folder: Path | None) -> dict[str, Extra]:
    path = folder / EXTRA if folder else None
    if path is None or not path.is_file():
        return {}
    rows = _rows(path, ("question_id", "hidden_tests"))
    return {
        str(row["question_id"]): Extra(path, offset, size, _sha256(json.dumps(row["hidden_tests"])))
        for offset, size, row in rows
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(offset and size in the file, row), one at a time: a release has gigabytes of tests.

    Raises:
        SourceError: a row can't be read or lacks a field; names file and line.
    """
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line) if line.strip() else None
            except ValueError as error:
                raise SourceError(f"{path}:{number}: not JSON ({error}); get it anew") from None
            if row is not None:
                missing = [n for n in required if not isinstance(row, dict) or n not in row]
                if missing:
                    raise SourceError(
                        f"{path}:{number}: the field {missing[0]!r} is missing; this is not the "
                        "file that the benchmark expects"
                    )
                yield offset, len(line), row
            offset += len(line)


def _row_at(path: Path, offset: int) -> dict[str, Any]:
    with path.open("rb") as file:
        file.seek(offset)
        row: dict[str, Any] = json.loads(file.readline())
        return row
