"""The output folder of a training run: whose it is, and whether it is finished."""

from __future__ import annotations

from typing import Any

import yaml

from persona_bench.train.config import TrainConfig, TrainError

SETTINGS = "train.yaml"
ARGUMENTS = "trainer.json"
FINISHED = "finished.json"


def begin(config: TrainConfig) -> None:
    """Notes the run's settings in the output folder.

    Raises:
        TrainError: another run's output is there, or something else.
    """
    folder = config.output_path
    told = as_data(config)
    if (folder / SETTINGS).is_file():
        before = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
        if before != told:
            differing = sorted(
                name for name in {*before, *told} if before.get(name) != told.get(name)
            )
            raise TrainError(
                f"{folder} holds a run with other settings ({', '.join(differing)}): choose "
                "another output_path, or delete it"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise TrainError(f"{folder} is not empty and holds no training run: choose another one")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(
        yaml.safe_dump(told, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def finished(config: TrainConfig) -> bool:
    """Whether the output folder holds this very run, ended."""
    folder = config.output_path
    if not (folder / FINISHED).is_file() or not (folder / SETTINGS).is_file():
        return False
    return bool(yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8")) == as_data(config))


def as_data(config: TrainConfig) -> dict[str, Any]:
    """The run's settings as plain data, without where the output goes."""
    told = config.model_dump(mode="json", exclude_none=True)
    del told["output_path"]
    return told
