"""The trainer: SFT, sequence distillation, RLVR and PerMix-RLVR on TRL, a short file each.

`permix_dataset` and `verifiable_reward` are for trainings with TRL's own `GRPOTrainer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_bench.train.parts import permix_dataset, verifiable_reward

__all__ = ["permix_dataset", "verifiable_reward"]


def __getattr__(name: str) -> Any:
    """Imports them when they are asked for: they load more than a settings file needs."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from persona_bench.train import parts

    return getattr(parts, name)
