"""Results pushed to the Hugging Face hub, by lm-eval's own options (`--hf_hub_log_args`)."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval.loggers import EvaluationTracker

PUSHES = ("push_results_to_hub", "push_samples_to_hub")
_GIVEN_HERE = ("self", "output_path")


class HubError(ValueError):
    """Hub options that can't work."""


class _Remembering:
    """The hub's API; keeps in mind what failed, which lm-eval only logs."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.failed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._api, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return attribute(*args, **kwargs)
            except Exception as error:
                self.failed.append(f"{name}: {error}")
                raise

        return call


def check_hub(hub: Mapping[str, Any]) -> None:
    """Refuses hub options that can't work, before anything runs.

    Raises:
        HubError: an unknown option, or a push without a token.
    """
    parameters = [name for name in inspect.signature(EvaluationTracker).parameters
             if name not in _GIVEN_HERE]  # fmt: skip
    if unknown := sorted(set(hub) - set(parameters)):
        raise HubError(f"hf_hub_log_args: {unknown[0]!r} is unknown: use {', '.join(parameters)}")
    if any(hub.get(name) for name in PUSHES) and not _token(hub):
        raise HubError("hf_hub_log_args asks for a push to the hub: set HF_TOKEN")


def tracker_for(folder: Path, hub: Mapping[str, Any]) -> EvaluationTracker:
    """lm-eval's tracker, which writes into the folder and pushes what `hub` asks for."""
    if not any(hub.get(name) for name in PUSHES):
        return EvaluationTracker(output_path=str(folder))
    tracker = EvaluationTracker(**{**hub, "output_path": str(folder), "token": _token(hub)})
    tracker.api = _Remembering(tracker.api)
    return tracker


def finish_push(tracker: EvaluationTracker) -> None:
    """Renews the card of what was pushed, and warns of what could not be."""
    if not isinstance(tracker.api, _Remembering):
        return
    if not tracker.api.failed:
        try:
            tracker.recreate_metadata_card()
        except Exception as error:  # whatever the network and the hub come up with
            tracker.api.failed.append(f"the card: {error}")
    if failed := tracker.api.failed:
        warnings.warn(
            f"not all was pushed to the hub ({failed[0]}): everything is in {tracker.output_path}, "
            "and the same command pushes again without asking the model again",
            stacklevel=2,
        )


def _token(hub: Mapping[str, Any]) -> str:
    return str(hub.get("token") or os.environ.get("HF_TOKEN") or "")
