"""Benchmark files: from a local mirror folder, else from the hub at a pinned revision.

The mirror is a folder laid out as `math500/test.jsonl`, ...; it is named by `data_dir`
or by the environment variable `PERSONA_BENCH_DATA`, and goes before the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIRROR_VARIABLE = "PERSONA_BENCH_DATA"
WAIT_SECONDS = 10


class SourceError(RuntimeError):
    """A benchmark's file can't be had, or isn't the pinned one; the message says what to do."""


@dataclass(frozen=True)
class HubFile:
    """One file of a benchmark.

    Attributes:
        mirror: Its place in a mirror folder, e.g. `math500/test.jsonl`.
        repo_id: The dataset's repository on the hub.
        filename: Its place there.
        revision: The commit it is pinned to.
        sha256: Hash of the file at that commit; empty if it is not known.
    """

    mirror: str
    repo_id: str
    filename: str
    revision: str
    sha256: str = ""

    def locate(self, data_dir: Path | None = None) -> Path:
        """The file on this machine, fetched from the hub where no mirror has it.

        Raises:
            SourceError: neither the mirror nor the hub has it, or the hub's file is not
                the pinned one.
        """
        folder = mirror_folder(data_dir)
        if folder is not None and (folder / self.mirror).is_file():
            return folder / self.mirror
        path = self._download(folder)
        if self.sha256 and (found := _sha256(path)) != self.sha256:
            raise SourceError(
                f"{self.repo_id}/{self.filename} at {self.revision[:12]} has the sha256 "
                f"{found[:16]}..., not the pinned {self.sha256[:16]}...: delete {path} and try "
                "again; if it stays so, the file was changed on the hub"
            )
        return path

    def _download(self, folder: Path | None) -> Path:
        from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache

        place: dict[str, Any] = {"revision": self.revision, "repo_type": "dataset"}
        try:
            cached = try_to_load_from_cache(self.repo_id, self.filename, **place)
            if not isinstance(cached, str) and not constants.HF_HUB_OFFLINE:
                # the download below would try for half a minute
                get_session().head(constants.ENDPOINT, timeout=WAIT_SECONDS)
            return Path(hf_hub_download(self.repo_id, self.filename, **place))
        except Exception as error:  # the hub's client raises a dozen unrelated types
            where = (
                f"put the file at {folder / self.mirror}"
                if folder
                else f"put it at <folder>/{self.mirror} and name the folder with data_dir "
                f"(--metadata) or {MIRROR_VARIABLE}"
            )
            raise SourceError(
                f"{self.repo_id}/{self.filename} (revision {self.revision[:12]}) can't be had "
                f"from the hub ({_first_line(error)}). Without the hub: get {self.filename} of "
                f"the dataset {self.repo_id} on another machine and {where}"
            ) from error


def mirror_folder(data_dir: Path | str | None = None) -> Path | None:
    """The mirror folder: `data_dir`, else the environment's, else None.

    Raises:
        SourceError: the named folder does not exist.
    """
    named = str(data_dir) if data_dir else os.environ.get(MIRROR_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        how = "data_dir" if data_dir else MIRROR_VARIABLE
        raise SourceError(f"the mirror folder {folder} (from {how}) does not exist; mend the path")
    return folder


def read_rows(path: Path, required: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a JSONL or parquet file, each checked to have the required fields.

    Raises:
        SourceError: a row can't be read or lacks a field; names file and line.
    """
    rows = []
    for number, row in _parquet(path) if _is_parquet(path) else _jsonl(path):
        missing = [name for name in required if not isinstance(row, dict) or name not in row]
        if missing:
            raise SourceError(
                f"{path}:{number}: the field {missing[0]!r} is missing; this is not the "
                "file that the benchmark expects"
            )
        rows.append(row)
    if not rows:
        raise SourceError(f"{path}: the file is empty; get it anew")
    return rows


def _is_parquet(path: Path) -> bool:
    """By content: a mirror may hold the hub's file under the mirror's name."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise SourceError(f"{path}:{number}: not JSON ({error}); get it anew") from None


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise SourceError(f"{path}: not a parquet file ({error}); get it anew") from None
    yield from enumerate(table.to_pylist(), start=1)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:  # some files have a gigabyte
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
