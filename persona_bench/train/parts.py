"""PerMix's data and reward for a training loop of one's own, such as TRL's `GRPOTrainer`.

from trl import GRPOConfig, GRPOTrainer

from persona_bench.train import permix_dataset, verifiable_reward

trainer = GRPOTrainer(
    model="ORG/MODEL",
    args=GRPOConfig(output_dir="out", shuffle_dataset=False, num_train_epochs=1),
    train_dataset=permix_dataset("math", mix_ratio=0.5, epochs=2, seed=1),
    reward_funcs=verifiable_reward("math"),
)
trainer.train()
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_bench.train.config import PARTS, SystemRole, TrainConfig, TrainError
from persona_bench.train.config import Reward as Settings
from persona_bench.train.data import columns, prepare
from persona_bench.train.rewards import Reward
from persona_bench.train.sources import grader
from persona_bench.yaml_files import validated

if TYPE_CHECKING:
    from datasets import Dataset


def permix_dataset(
    source: str | Sequence[Mapping[str, Any]],
    *,
    persona_set: str = "train",
    mix_ratio: float = 0.5,
    epochs: int = 1,
    seed: int = 0,
    system_role: SystemRole = "native",
    personas: Mapping[str, Any] | None = None,
    **data: Any,
) -> Dataset:
    """Questions, each under a persona or none, in the order in which permix trains on them.

    Args:
        source: `arithmetic`, `gsm8k`, `math`, `hub:ORG/NAME`, or a .jsonl or .parquet file; or a
            list of sources, as `sources` of `persona_bench.train.config.Data`.
        persona_set: A bundled set or a YAML file; it must share no persona with the evaluations.
        mix_ratio: Share of the prompts that are under a persona; 0 is rlvr.
        epochs: How often each question comes, every time under another draw.
        seed: Seed of the order and of the personas.
        system_role: `native`, or `merge` for templates without system messages.
        personas: More of `persona_bench.train.config.Personas`, such as `weights`.
        data: More of `persona_bench.train.config.Data`, such as `n_questions`.

    Returns:
        The columns `prompt` (messages), `answer`, `question`, `problem`, `persona` and `epoch`;
        one row per question and epoch.

    Raises:
        TrainError: as `persona-bench train`, such as for a question of an evaluation.
    """
    from datasets import Dataset

    own = {"persona_set": persona_set, "mix_ratio": mix_ratio, "system_role": system_role}
    settings = {
        "method": "permix",
        "model": "-",
        "output_path": "-",
        "seed": seed,
        "data": {"source" if isinstance(source, str) else "sources": source, **data},
        "personas": {**own, **(personas or {})},
    }
    config = validated(TrainConfig, settings, Path("permix_dataset"), PARTS, TrainError)
    prepared = prepare(config)
    rows = prepared.schedule(epochs * len(prepared.questions), seed)
    return Dataset.from_dict(columns(prepared.benchmark, rows, system_role))


def verifiable_reward(
    kind: str = "math",
    *,
    ends: Collection[int] | None = None,
    timeout: float = 120.0,
    format_weight: float = 0.0,
) -> Reward:
    """A reward function for TRL: 1 for a right answer, 0 for a wrong one, None where unscored.

    Args:
        kind: What the column `answer` holds: `math` (also of `gsm8k` and files of questions),
            `arithmetic` (whole numbers) or `code` (tests, see `Data.source`), which runs programs
            in the sandbox.
        ends: Ids of the tokens that end a completion (the model's `eos_token_id`s); one that ends
            otherwise was cut off and is wrong. By default none counts as cut off.
        timeout: Seconds that grading a batch may take.
        format_weight: Added for an answer in a box, right or wrong.

    Raises:
        TrainError: there is no such kind.
    """
    settings = Settings(timeout=timeout, format_weight=format_weight)
    reward = Reward(grader(kind), settings)
    reward.ends = None if ends is None else frozenset(ends)
    return reward
