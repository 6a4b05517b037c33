"""Joining what several machines did: their stores, and the results of a study's shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_bench.harness.chat_date import record_date, recorded_dates
from persona_bench.harness.knobs import parse_shard
from persona_bench.harness.metrics import figures
from persona_bench.harness.run import RunError
from persona_bench.harness.store import RecordLog, join, record_logs
from persona_bench.results.samples import Samples, find_samples, write_samples

SAME_VERSIONS = ("persona-bench", "lm-eval", "torch", "transformers", "vllm")
# what shards differ in by their questions alone, or by where and when they ran
NOT_COMPARED = (
    "shard", "tests", "sandbox", "sandbox_missing", "design_asked", "versions", "chat_dates",
    "conversations",
)  # fmt: skip


class MergeError(RunError):
    """What can't be joined: mixed versions or settings, or a shard that is missing."""


@dataclass(frozen=True)
class Merged:
    """What came of it.

    Attributes:
        segments: How many files of the stores were copied.
        tasks: (model, task, responses) of each result that was joined.
    """

    segments: int
    tasks: list[tuple[str, str, int]]


def merge(sources: Sequence[Path], target: Path) -> Merged:
    """Joins output folders into one: the stores, and every shard's results to whole ones.

    The target must be none of the sources. What is already there is kept; results are written
    beside, and the newest counts.

    Raises:
        MergeError: a source without a store or results, mixed versions or settings, a shard
            that is missing or there twice.
        StoreError: see `store.join`.
    """
    for source in sources:
        if not source.is_dir():
            raise MergeError(f"{source}: no such folder")
        if target.resolve().is_relative_to(source.resolve()):
            raise MergeError(f"{target} is in a folder to be joined, {source}: name another")
    stores = [store for source in sources for store in sorted(source.rglob("store"))]
    _check_versions([*stores, target / "store"])
    by_task: dict[tuple[str, str], list[Samples]] = {}
    for source in sources:
        for samples in find_samples(source):
            by_task.setdefault((samples.model, samples.task), []).append(samples)
    if not stores and not by_task:
        raise MergeError(f"{', '.join(map(str, sources))}: neither a store nor results are there")
    parts = {name: _shards(*name, files) for name, files in by_task.items()}
    segments = join(stores, target / "store")
    for day in {day for store in stores for day in recorded_dates(store)}:
        record_date(target / "store", day)
    tasks = []
    for (model, task), files in parts.items():
        count = _write(task, files, target)
        tasks.append((model, task, count))
    return Merged(segments, tasks)


def _check_versions(stores: Sequence[Path]) -> None:
    """Responses of one model must be from the same versions of what made them."""
    seen: dict[str, dict[str, tuple[str, Path]]] = {}
    for folder in (each for store in stores for each in record_logs(store)):
        for header in RecordLog(folder, {}).headers:
            model = seen.setdefault(str(header.get("fingerprint")), {})
            made_with = header.get("versions") or {}
            for package in SAME_VERSIONS:
                version = str(made_with.get(package, "none"))
                first, where = model.setdefault(package, (version, folder))
                if first != version:
                    raise MergeError(
                        f"mixed versions: responses of one model were made with {package} {first} "
                        f"({where}) and {version} ({folder}): run one of them again with the "
                        "other's version"
                    )


def _shards(model: str, task: str, files: Sequence[Samples]) -> list[Samples]:
    """The newest of each shard, in order, checked to be all of one run."""
    files = [each for each in files if not each.facts.get("unfinished")]
    if not files:
        raise MergeError(f"{task} of {model}: the run is unfinished: start it again to finish it")
    last = max(files, key=lambda each: each.date)
    if not last.facts.get("shard"):  # whole, of which shards are parts
        return [last]
    newest: dict[str, Samples] = {}
    files = [each for each in files if each.facts.get("shard")]
    for each in sorted(files, key=lambda each: each.date):
        newest[str(each.facts["shard"])] = each
    what = f"{task} of {model}"
    counts = {parse_shard(shard)[1] for shard in newest}
    if len(counts) > 1:
        raise MergeError(
            f"{what}: there are shards of {' and '.join(str(n) for n in sorted(counts))} parts "
            f"({', '.join(sorted(newest))}): give only the folders of one division"
        )
    (count,) = counts
    missing = [f"{n}/{count}" for n in range(1, count + 1) if f"{n}/{count}" not in newest]
    if missing:
        raise MergeError(f"{what}: shard {', '.join(missing)} is missing: run it, then merge")
    ordered = [newest[f"{n}/{count}"] for n in range(1, count + 1)]
    first = _comparable(ordered[0])
    for other in ordered[1:]:
        theirs = _comparable(other)
        differ = sorted(key for key in first | theirs if first.get(key) != theirs.get(key))
        if differ:
            raise MergeError(
                f"{what}: the shards differ in {', '.join(differ)} ({ordered[0].file} and "
                f"{other.file}): run one of them again with the other's settings"
            )
    return ordered


def _comparable(samples: Samples) -> dict[str, Any]:
    facts = {key: value for key, value in samples.facts.items() if key not in NOT_COMPARED}
    if "default_system_undated" in facts:  # shards of two days are alike but for the date
        facts["default_system"] = facts.pop("default_system_undated")
    for package in SAME_VERSIONS:
        facts[f"version of {package}"] = (samples.facts.get("versions") or {}).get(package)
    return {**facts, "generation_kwargs": samples.config.get("generation_kwargs")}


def _write(task: str, files: Sequence[Samples], target: Path) -> int:
    """The joined samples in the order of an unsharded run, and their results file."""
    blocks: list[list[list[dict[str, Any]]]] = []
    for each in files:
        by_question: dict[str, list[dict[str, Any]]] = {}
        for row in each.records():
            by_question.setdefault(row["doc"]["question"], []).append(row)
        blocks.append(list(by_question.values()))
    rows = [
        row
        for turn in range(max(map(len, blocks)))  # each n-th question is a shard's
        for block in blocks
        if turn < len(block)
        for row in block[turn]
    ]
    for number, row in enumerate(rows):
        row["doc_id"] = number
    facts = {**files[0].facts, "shard": None, "merged_from": [str(each.file) for each in files]}
    if "chat_dates" in facts:
        dates = {day for each in files for day in each.facts.get("chat_dates") or ()}
        facts["chat_dates"] = sorted(dates)
    if isinstance(facts.get("tests"), dict):  # whose tests graded how many programs
        facts["tests"] = _sum(each.facts.get("tests") or {} for each in files)
    write_samples(
        target / files[0].file.parent.name,
        task,
        max(each.date for each in files),
        rows,
        files[0].results,
        files[0].config,
        facts,
        figures(files[0].config, rows),
    )
    return len(rows)


def _sum(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
