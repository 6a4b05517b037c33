"""The output folder of a training run: which run it holds, and how far that run is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from persona_bench.train.config import TrainConfig, TrainError

SETTINGS = "train.yaml"
ARGUMENTS = "trainer.json"
FINISHED = "finished.json"
SOURCES = "data.json"
"""In the output folder: what is learnt from, with the commits of datasets of the hub."""


def check_folder(config: TrainConfig) -> None:
    """Checks that the output folder holds this run, or nothing.

    Raises:
        TrainError: another run's output is there, or something else.
    """
    folder = config.output_path
    settings = as_data(config)
    if folder.exists() and not folder.is_dir():
        raise TrainError(f"output_path {folder} is a file: choose another one")
    if (folder / SETTINGS).is_file():
        before = _settings(folder)
        if before != settings:
            differing = sorted(
                name for name in {*before, *settings} if before.get(name) != settings.get(name)
            )
            raise TrainError(
                f"{folder} holds a run with other settings ({', '.join(differing)}): choose "
                "another output_path, or delete it"
            )
    elif folder.is_dir() and any(map(_counts, folder.iterdir())):
        raise TrainError(f"{folder} is not empty and holds no training run: choose another one")


def _counts(path: Path) -> bool:
    """Whether a path holds anything: TRL makes empty folders before a run."""
    if path.is_dir():
        return any(map(_counts, path.iterdir()))
    return path.name != f"{SETTINGS}.part"


def begin(config: TrainConfig) -> None:
    """Makes the output folder; the first process notes the run's settings in it.

    Raises:
        TrainError: as `check_folder`.
    """
    folder = config.output_path
    if os.environ.get("RANK", "0") != "0":
        folder.mkdir(parents=True, exist_ok=True)  # each process looks for checkpoints in it
        return
    check_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(as_data(config), sort_keys=False, allow_unicode=True)
    part = folder / f"{SETTINGS}.part"
    part.write_text(text, encoding="utf-8")
    part.replace(folder / SETTINGS)  # whole or not at all


def write_sources(folder: Path, sources: Sequence[Mapping[str, Any]]) -> None:
    """Records what the run learns from, so that a later start takes the same commits."""
    part = folder / f"{SOURCES}.part"
    part.write_text(json.dumps(sources, indent=1, ensure_ascii=False), encoding="utf-8")
    part.replace(folder / SOURCES)


def read_sources(folder: Path) -> list[dict[str, Any]]:
    """What an earlier start recorded; nothing without one."""
    path = folder / SOURCES
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def finished(config: TrainConfig) -> bool:
    """Whether the output folder holds this very run, finished."""
    folder = config.output_path
    if not (folder / FINISHED).is_file() or not (folder / SETTINGS).is_file():
        return False
    return _settings(folder) == as_data(config)


def newest_complete_checkpoint(folder: Path, *, redraws: bool) -> Path | None:
    """The newest checkpoint that was written completely; None without one.

    Args:
        folder: The run's output folder.
        redraws: Whether a checkpoint must also say how many groups were drawn again.
    """
    folders = [
        path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()
    ]
    for path in sorted(folders, key=lambda path: -int(path.name.rpartition("-")[2])):
        try:
            for name in ("trainer_state.json", *(["draws.json"] if redraws else [])):
                json.loads((path / name).read_text(encoding="utf-8"))  # these are written last
        except (OSError, ValueError):
            continue
        return path
    return None


def _settings(folder: Path) -> dict[str, Any]:
    settings = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    return settings if isinstance(settings, dict) else {}


def as_data(config: TrainConfig) -> dict[str, Any]:
    """The run's settings as plain data, without where the output goes."""
    settings = config.model_dump(mode="json", exclude_none=True)
    del settings["output_path"]
    return settings
