"""The store of finished work: append-only JSON lines, one file for each process that writes.

    store/generations/<model's fingerprint>/<time>-<host>-<process>.jsonl

The first line of a file (a segment) says what wrote it: the model's fingerprint with what it was
made of, and the versions of the packages. Every further line is one record with a `key` and a
checksum. A process appends to a segment of its own and never touches another's, so several may
write to one store at once, on network file systems too, and a store is joined with another by
copying files. A line that was cut off by a kill is left where it is and not read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from persona_bench.provenance import versions

FORMAT = 1
SYNC_SECONDS = 1.0  # at most so much finished work is lost where the machine itself goes down
_KEY = re.compile(rb'\{"key":"([0-9a-f]{64})",')
_ERROR = b'"error":'
_CRC_LENGTH = len(',"crc":"00000000"}')


class StoreError(RuntimeError):
    """A store that can't be read or written; the message names the file and says what to do."""


class _Place(NamedTuple):
    segment: Path
    start: int
    length: int


class RecordLog:
    """The records of one kind from one source: a model's generations, or a judge's verdicts.

    Records are found by their key. Where several have the same one, the first counts, in the
    order of the segments' names (which start with the time), so that every reader sees the same.
    A record with an `error` counts as not done.

    Args:
        folder: Where its segments lie.
        about: What every segment's first line says beside the versions; must hold JSON values.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self.about = {"format": FORMAT, **about}
        self.torn = 0
        self.damaged: list[str] = []
        self.headers: list[dict[str, Any]] = []
        self._places: dict[str, _Place] = {}
        self._segment: int | None = None
        self._path: Path | None = None
        self._written = 0
        self._synced = 0.0
        self._syncer: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None
        self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, keys: Iterable[str], before: str = "") -> dict[str, dict[str, Any]]:
        """The records of those keys that are there, read from the files again.

        Args:
            keys: Whose.
            before: Only the fields that stand before this one; a long prompt need not be read.
        """
        end = f',"{before}":'.encode() if before else None  # within a text its quotes are escaped
        records: dict[str, dict[str, Any]] = {}
        by_segment: dict[Path, list[tuple[str, _Place]]] = {}
        for key in keys:
            if (place := self._places.get(key)) is not None:
                by_segment.setdefault(place.segment, []).append((key, place))
        for segment, places in by_segment.items():
            with segment.open("rb") as file:
                for key, place in places:
                    line = os.pread(file.fileno(), place.length, place.start)
                    if end and (cut := line.find(end)) > 0:
                        line = line[:cut] + b"}"
                    records[key] = json.loads(line)
        return records

    def add(self, record: Mapping[str, Any]) -> None:
        """Appends a record; after this a killed process has not lost it.

        A power cut may take the last second's: the file is synced once a second, in a thread.

        Raises:
            StoreError: the disk is full, or the folder can't be written.
        """
        text = json.dumps(record, ensure_ascii=True, separators=(",", ":"))
        if not _KEY.match(text.encode()):
            raise ValueError("a record starts with a key of 64 hexadecimal digits")
        place = self._write(text)
        if "error" not in record:
            self._places.setdefault(str(record["key"]), place)

    def sync(self) -> None:
        """Waits until what was added is on the disk."""
        self._await_sync()
        if self._segment is not None:
            try:
                os.fsync(self._segment)
            except OSError as error:
                raise self._cannot_write(error) from None
            self._synced = time.monotonic()

    def close(self) -> None:
        """Syncs and lets go of the segment; adding again starts another."""
        if self._segment is not None:
            self.sync()
            os.close(self._segment)
            self._segment = None
        if self._syncer is not None:
            self._syncer.shutdown()
            self._syncer = None

    def records(self) -> Iterator[dict[str, Any]]:
        """All records that count, one a key."""
        keys = list(self._places)
        for start in range(0, len(keys), 4096):
            yield from self.get(keys[start : start + 4096]).values()

    # ------------------------------------------------------------------ writing

    def _write(self, text: str) -> _Place:
        body = text.encode()
        line = body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)
        try:
            segment, path = self._open()
            done = 0
            while done < len(line):
                done += os.write(segment, line[done:])
        except OSError as error:
            raise self._cannot_write(error) from None
        place = _Place(path, self._written, len(line))
        self._written += len(line)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync_beside(segment)
        return place

    def _sync_beside(self, segment: int) -> None:
        """Syncs in a thread: nobody waits for the disk. What fails is said at the next one."""
        if self._syncing is not None and not self._syncing.done():
            return
        self._await_sync()
        if self._syncer is None:
            self._syncer = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._syncing = self._syncer.submit(os.fsync, segment)
        self._synced = time.monotonic()

    def _await_sync(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            try:
                syncing.result()
            except OSError as error:
                raise self._cannot_write(error) from None

    def _open(self) -> tuple[int, Path]:
        if self._segment is not None and self._path is not None:
            return self._segment, self._path
        self.folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(timezone.utc)
        host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:20] or "host"
        self._path = self.folder / f"{now:%Y%m%dT%H%M%S.%f}-{host}-{os.getpid()}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._segment, self._written = os.open(self._path, flags, 0o644), 0
        header = {**self.about, "versions": versions(), "created": now.isoformat()}
        self._write(json.dumps(header, separators=(",", ":")))
        return self._segment, self._path

    def _cannot_write(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._path or self.folder} can't be written ({error.strerror}): the {len(self)} "
            "finished records are kept; make room there, or give it write permission, and start "
            "the same command again"
        )

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        try:
            segments = sorted(self.folder.glob("*.jsonl"))
            for segment in segments:
                self._read_segment(segment)
        except OSError as error:
            raise StoreError(
                f"{error.filename or self.folder} can't be read ({error.strerror})"
            ) from None
        if self.damaged:
            more = f" and {len(self.damaged) - 3} more" if len(self.damaged) > 3 else ""
            warnings.warn(
                f"damaged records in the store, dropped and generated again: "
                f"{', '.join(self.damaged[:3])}{more}; is the disk sound?",
                stacklevel=4,
            )

    def _read_segment(self, segment: Path) -> None:
        with segment.open("rb") as file:
            start = 0
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    self.torn += 1  # a kill while it was written, or another process writing now
                elif not _is_whole(line):
                    self.damaged.append(f"{segment}:{number}")
                elif number == 1:
                    self.headers.append(_header(segment, line))
                elif (key := _KEY.match(line)) is None:
                    self.damaged.append(f"{segment}:{number}")
                elif _ERROR not in line or "error" not in json.loads(line):
                    place = _Place(segment, start, len(line))
                    self._places.setdefault(key[1].decode(), place)
                start += len(line)


def _is_whole(line: bytes) -> bool:
    checksum = zlib.crc32(b"}", zlib.crc32(line[: -_CRC_LENGTH - 1]))
    return line[-_CRC_LENGTH - 1 :] == b',"crc":"%08x"}\n' % checksum


def _header(segment: Path, line: bytes) -> dict[str, Any]:
    header = dict(json.loads(line))
    if header.get("format") != FORMAT:
        raise StoreError(
            f"{segment} is in format {header.get('format')} of the store, this version of "
            f"persona-bench reads format {FORMAT}: use the version that wrote it "
            f"({(header.get('versions') or {}).get('persona-bench', 'unknown')}), or another "
            "output folder"
        )
    return header


def record_logs(store: Path, kind: str = "generations") -> list[Path]:
    """The folders of the record_logs of a store."""
    root = store / kind
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def join(sources: Iterable[Path], target: Path) -> int:
    """Copies the segments of several stores into one.

    A segment of the same name and content that is already there is left; names hold time, host
    and process, so that different segments do not meet.

    Returns:
        How many segments were copied.

    Raises:
        StoreError: two different segments of one name, or one can't be copied.
    """
    copied = 0
    for source in sources:
        for segment in sorted(source.rglob("*.jsonl")):
            place = target / segment.relative_to(source)
            try:
                if place.exists():
                    if place.read_bytes() != segment.read_bytes():
                        raise StoreError(
                            f"{segment} and {place} have one name and differ: one of them went on "
                            "being written, or is damaged; keep the longer one"
                        )
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                partial = place.with_suffix(".part")
                shutil.copyfile(segment, partial)
                partial.rename(place)
            except OSError as error:
                raise StoreError(
                    f"{segment} can't be copied to {place} ({error.strerror})"
                ) from None
            copied += 1
    return copied
