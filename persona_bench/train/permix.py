"""PerMix-RLVR: GRPO on verifiable rewards, each prompt under a persona or none.

    persona-bench train permix permix.yaml

As rlvr, but a share `mix_ratio` of the prompts carry a persona as their system message, drawn from
a set that shares none with the evaluations (arXiv 2604.08986). The reward stays the verifier's, so
that what is learnt is to answer right whoever one is.

`personas.group` says what the completions of a group share. `persona`: one prompt, so that an
answer is held against others under the same persona. `question`: the question alone, so that an
answer under a persona is held against answers under others, and a persona that drags answers down
is itself what the advantage points away from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.data import Sampler
from trl.trainer.utils import RepeatSampler

from persona_bench.train import running
from persona_bench.train.config import TrainConfig
from persona_bench.train.data import Prepared, messages, prepare
from persona_bench.train.evaluation import EvaluatingTrainer
from persona_bench.train.information import Information
from persona_bench.train.rlvr import arguments, learn


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Path:
    """Trains; returns the checkpoint's folder.

    Raises:
        TrainError: the settings, the data or the model are not such as can be trained.
    """
    data, tokenizer = prepare(config), running.load_tokenizer(config)
    information = _information(config, data, tokenizer)
    if not config.personas or config.personas.group == "persona":
        return learn(config, data, say, tokenizer, information=information)
    return learn(
        config,
        data,
        say,
        tokenizer,
        kind=AcrossPersonas,
        prompts=arguments(config).num_generations,
        information=information,
    )


class AcrossPersonas(EvaluatingTrainer):
    """GRPO whose rows are completions' prompts, not groups' prompts.

    The schedule has `num_generations` rows a question, next to each other; TRL compares each such
    block. Each row is written one completion, in vLLM's server mode too, where TRL would send the
    first row of each block alone and give its completions to all.
    """

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        return RepeatSampler(
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=1,
            batch_size=self.args.generation_batch_size,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            shuffle=False,
        )

    def _generate_single_turn(
        self,
        prompt_ids: Any,
        images: Any,
        multimodal_fields: Any,
        num_generations: Any,
        has_tool_images: Any = False,
    ) -> Any:
        return super()._generate_single_turn(
            prompt_ids, images, multimodal_fields, 1, has_tool_images
        )


def _information(config: TrainConfig, data: Prepared, tokenizer: Any) -> Information | None:
    """What rewards a persona's trace, where that is asked for: an option beyond the paper."""
    if not config.reward.information_weight or not data.mix:
        return None
    role = config.personas.system_role if config.personas else "native"
    return Information(
        running.load_model(config).eval().requires_grad_(False),
        tokenizer,
        {persona.id: persona.prompt for persona in data.mix.personas},
        lambda persona, problem: messages(data.benchmark, problem, persona, role),
        others=config.reward.information_personas,
        seed=config.seed,
    )


__all__ = ["AcrossPersonas", "arguments", "train"]
