"""A benchmark's folder of a public Git repository: from the mirror, else the pinned commit."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from persona_bench.benchmarks.sources import SourceError, mirror_folder
from persona_bench.resources import cache_folder

HOST = "https://codeload.github.com"
HOST_VARIABLE = "PERSONA_BENCH_GITHUB"
WAIT_SECONDS = 60


@dataclass(frozen=True)
class GitFolder:
    """Files of a repository at one commit.

    Attributes:
        mirror: Their folder in a mirror, e.g. `personagym`.
        repository: `owner/name` on GitHub.
        commit: The commit it is pinned to.
        patterns: Which files, e.g. `rubrics/*.txt`.
        sha256: Hash of these files' names and contents (`digest`); archives differ by host.
    """

    mirror: str
    repository: str
    commit: str
    patterns: tuple[str, ...]
    sha256: str

    def locate(self, data_dir: Path | None = None) -> Path:
        """The folder on this machine, fetched where neither mirror nor cache has it.

        Raises:
            SourceError: it can't be had, or is not the pinned one.
        """
        folder = mirror_folder(data_dir)
        if folder is not None and (folder / self.mirror).is_dir():
            return folder / self.mirror
        cached = cache_folder() / "repositories" / f"{self.mirror}-{self.sha256[:12]}"
        if not cached.is_dir():
            self._download(cached, folder)
        return cached

    def files(self, folder: Path) -> list[Path]:
        """The files of the patterns, sorted by their names."""
        found = [file for pattern in self.patterns for file in folder.glob(pattern)]
        return sorted(found, key=lambda file: file.relative_to(folder).as_posix())

    def digest(self, folder: Path) -> str:
        """sha256 over every file's name and content."""
        total = hashlib.sha256()
        for file in self.files(folder):
            name = file.relative_to(folder).as_posix()
            total.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()

    def _download(self, target: Path, mirror: Path | None) -> None:
        import requests

        host = os.environ.get(HOST_VARIABLE, HOST).rstrip("/")
        url = f"{host}/{self.repository}/tar.gz/{self.commit}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            archive, unpacked = Path(scratch) / "archive.tar.gz", Path(scratch) / "unpacked"
            try:
                with requests.get(url, stream=True, timeout=WAIT_SECONDS) as answer:
                    answer.raise_for_status()
                    with archive.open("wb") as file:
                        shutil.copyfileobj(answer.raw, file)
                with tarfile.open(archive) as packed:
                    packed.extractall(unpacked, self._wanted(packed), filter="data")
            except (requests.RequestException, OSError, tarfile.TarError) as error:
                where = f"{mirror}/{self.mirror}" if mirror else f"<folder>/{self.mirror}"
                how = "" if mirror else ", and name the folder with data_dir or PERSONA_BENCH_DATA"
                raise SourceError(
                    f"{url} can't be had ({type(error).__name__}: {_first(error)}). Without the "
                    f"network: clone {self.repository} at {self.commit[:12]} into {where}{how}"
                ) from None
            found = self.digest(unpacked)
            if found != self.sha256:
                raise SourceError(
                    f"the files of {self.repository} at {self.commit[:12]} have the sha256 "
                    f"{found[:16]}..., not the pinned {self.sha256[:16]}...: try again; if it "
                    "stays so, they were changed on the way"
                )
            shutil.rmtree(target, ignore_errors=True)
            unpacked.rename(target)  # whole or not at all

    def _wanted(self, packed: tarfile.TarFile) -> Iterable[tarfile.TarInfo]:
        """The members that match, without the folder that the archive puts around them."""
        for member in packed.getmembers():
            name = Path(*Path(member.name).parts[1:])
            if member.isfile() and any(name.match(pattern) for pattern in self.patterns):
                member.name = name.as_posix()
                yield member


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]
