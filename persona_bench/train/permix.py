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

from datasets import Dataset
from torch.utils.data import Sampler
from trl.trainer.utils import RepeatSampler

from persona_bench.train import running
from persona_bench.train.config import Personas, TrainConfig
from persona_bench.train.data import Prepared, columns, messages, prepare, schedule
from persona_bench.train.logs import Logs
from persona_bench.train.redraw import RedrawingTrainer, spare_rows
from persona_bench.train.rewards import Information, Reward
from persona_bench.train.rlvr import arguments, epochs, groups_taken, in_one_pass


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Path:
    """Trains; returns the checkpoint's folder.

    Raises:
        TrainError: the settings, the data or the model are not such as can be trained.
    """
    personas = config.personas or Personas()
    data = prepare(config)
    args = arguments(config)
    tokenizer = running.load_tokenizer(config.model)
    across = personas.group == "question"
    rows = schedule(
        data.questions,
        epochs(args, len(data.questions)),
        config.seed,
        data.mix,
        prompts=args.num_generations if across else 1,
        groups=groups_taken(args, len(data.questions)),
    )
    table = columns(data.benchmark, rows, personas.system_role)
    running.check_prompts(rows, table["prompt"], tokenizer, config.model)
    reward = Reward(data.benchmark.grade, config.reward, _information(config, data, tokenizer))
    trainer = (AcrossPersonas if across else RedrawingTrainer)(
        model=running.load_model(config),
        args=in_one_pass(args, len(rows) // args.num_generations if across else len(rows)),
        reward_funcs=[reward],
        train_dataset=Dataset.from_dict(table),
        processing_class=tokenizer,
        peft_config=running.adapters(config),
        callbacks=[Logs(config.output_path, reward)],
        spare=spare_rows(
            data, config.seed, personas.system_role, args.num_generations if across else 1
        ),
        rounds=config.redraw,
    )
    reward.ready(trainer)
    facts = {"questions": len(data.questions)}
    return running.train(trainer, config, say, mix=data.mix, notes=data.notes, facts=facts)


class AcrossPersonas(RedrawingTrainer):
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
        running.load_model(config),
        tokenizer,
        {persona.id: persona.prompt for persona in data.mix.personas},
        lambda persona, problem: messages(data.benchmark, problem, persona, role),
        others=config.reward.information_personas,
        seed=config.seed,
    )


__all__ = ["AcrossPersonas", "arguments", "train"]
