"""SFT: cross-entropy on reference solutions.

    persona-bench train sft sft.yaml

The loss is of the solution's tokens alone, given the prompt. With `personas` in the settings a
share `mix_ratio` of the prompts carry one, with the same solution; without, there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig

from persona_bench.train import running
from persona_bench.train.arguments import arguments as trl_arguments
from persona_bench.train.config import TrainConfig
from persona_bench.train.data import Prepared, columns, prepare
from persona_bench.train.evaluation import EvaluatingSFTTrainer, Evaluation
from persona_bench.train.logs import Logs
from persona_bench.train.rewards import Reward


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Path:
    """Trains; returns the checkpoint's folder.

    Raises:
        TrainError: the settings, the data or the model are not such as can be trained.
    """
    return learn(config, prepare(config), say)


def learn(
    config: TrainConfig,
    data: Prepared,
    say: Callable[[str], None],
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Cross-entropy on the `solution` of each question, in the schedule's order.

    Args:
        config: The run.
        data: What is learnt from.
        say: Receives what is being done.
        facts: What else the card and `finished.json` should say.
    """
    args = arguments(config)
    tokenizer = running.load_tokenizer(config)
    rows = data.schedule(rows_taken(args, len(data.questions)), config.seed)
    table = columns(
        data.benchmark, rows, config.personas.system_role if config.personas else "native"
    )
    running.check_prompts(rows, table["prompt"], tokenizer, config.model)
    solutions = [row.question.extra["solution"] for row in rows]
    completions = [[{"role": "assistant", "content": solution}] for solution in solutions]
    args.num_train_epochs = 1  # the schedule has them all
    evaluation = None
    if config.evaluation:
        reward = Reward(data.benchmark.grade, config.reward)
        evaluation = Evaluation(config, data, tokenizer, reward, say)
        running.check_evaluation(evaluation, tokenizer, config.model)
    trainer = running.built(
        EvaluatingSFTTrainer,
        model=running.load_model(config),
        args=args,
        train_dataset=Dataset.from_dict({"prompt": table["prompt"], "completion": completions}),
        processing_class=tokenizer,
        peft_config=running.adapters(config),
        callbacks=[Logs(config.output_path)],
        evaluation=evaluation,
    )
    return running.train(trainer, config, say, data, data.counted(rows), facts)


def arguments(config: TrainConfig) -> Any:
    """TRL's arguments of sft and distill; the order of the rows is the schedule's."""
    ours: dict[str, Any] = {"shuffle_dataset": False, "train_sampling_strategy": "sequential"}
    if "per_device_eval_batch_size" not in config.trainer:
        ours["per_device_eval_batch_size"] = 32
    return trl_arguments(config, SFTConfig, **ours)


def rows_taken(args: Any, questions: int) -> int:
    """How many rows the training takes: those of its epochs, or of `max_steps` steps."""
    if args.max_steps <= 0:
        return running.rows_taken(args, questions)
    step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    return int(args.max_steps * step)
