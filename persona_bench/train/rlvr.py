"""RLVR: GRPO on verifiable rewards, no personas. The baseline that permix is held against.

    persona-bench train rlvr rlvr.yaml

Each question is answered `num_generations` times; an answer's advantage is its reward beside the
mean of its group (GRPO, arXiv 2402.03300; the loss is TRL's `loss_type`). The reward is the
verifier of the benchmark: 1 for a right answer, 0 for a wrong one, no signal for one that could not
be graded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import GRPOConfig

from persona_bench.train import running
from persona_bench.train.arguments import arguments as trl_arguments
from persona_bench.train.arguments import when_evaluated
from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.data import Prepared, columns, prepare
from persona_bench.train.evaluation import EvaluatingTrainer, Evaluation
from persona_bench.train.information import Information
from persona_bench.train.judging import JudgeScores
from persona_bench.train.logs import Logs
from persona_bench.train.redraw import spare_rows
from persona_bench.train.rewards import Reward


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Path:
    """Trains; returns the checkpoint's folder.

    Raises:
        TrainError: the settings, the data or the model are not such as can be trained.
    """
    return learn(config, prepare(config), say, running.load_tokenizer(config))


def learn(
    config: TrainConfig,
    data: Prepared,
    say: Callable[[str], None],
    tokenizer: Any,
    *,
    kind: type[EvaluatingTrainer] = EvaluatingTrainer,
    prompts: int = 1,
    information: Information | None = None,
) -> Path:
    """GRPO on the schedule of `data`, under personas where it has some.

    Args:
        config: The run.
        data: Its questions and personas.
        say: Receives what is being done.
        tokenizer: The model's.
        kind: The trainer.
        prompts: Rows of the schedule per group.
        information: What rewards persona information, where that is asked for.
    """
    args = arguments(config)
    role = config.personas.system_role if config.personas else "native"
    rows = data.schedule(groups_taken(args, len(data.questions)), config.seed, prompts)
    table = columns(data.benchmark, rows, role)
    running.check_prompts(rows, table["prompt"], tokenizer, config.model)
    judge = None
    if config.reward.judge and data.mix:
        prompts_of = {persona.id: persona.prompt for persona in data.mix.personas}
        judge = JudgeScores(config.reward.judge, prompts_of, config.output_path)
    reward = Reward(data.benchmark.grade, config.reward, information, judge)
    evaluation = None
    if config.evaluation:
        evaluation = Evaluation(config, data, tokenizer, reward, say)
        running.check_evaluation(evaluation, tokenizer, config.model)
    trainer = running.built(
        kind,
        model=running.load_model(config),
        args=in_one_pass(args, len(rows) // prompts),
        reward_funcs=[reward],
        train_dataset=Dataset.from_dict(table),
        processing_class=tokenizer,
        peft_config=running.adapters(config),
        callbacks=[Logs(config.output_path, reward)],
        spare=spare_rows(data, config.seed, role, prompts),
        rounds=config.redraw,
        evaluation=evaluation,
    )
    reward.ready(trainer)
    return running.train(trainer, config, say, data, data.counted(rows, prompts))


def arguments(config: TrainConfig) -> Any:
    """TRL's arguments of rlvr and permix; the order of the rows is the schedule's."""
    ours: dict[str, Any] = {"shuffle_dataset": False}
    if config.use_vllm:
        ours |= {"use_vllm": True, "vllm_mode": config.use_vllm}
    if config.evaluation:
        samples = config.evaluation.samples
        ours |= {**when_evaluated(config.evaluation), "num_generations_eval": samples}
        if "per_device_eval_batch_size" not in config.trainer:
            ours["per_device_eval_batch_size"] = samples * max(1, 32 // samples)
    args = trl_arguments(config, GRPOConfig, **ours)
    if config.reward.overlong_buffer >= args.max_completion_length:
        raise TrainError(
            f"reward.overlong_buffer: {config.reward.overlong_buffer} tokens must be fewer than "
            f"trainer.max_completion_length ({args.max_completion_length})"
        )
    steps = steps_of_a_generation(args)
    if args.save_strategy == "steps" and steps > 1 and args.save_steps % steps:
        raise TrainError(
            f"trainer.save_steps: completions are used for {steps:g} steps (num_iterations, "
            f"steps_per_generation), so a run resumed after {args.save_steps:g} would differ from "
            f"one that was not stopped: use a multiple of {steps:g}"
        )
    return args


def groups_taken(args: Any, questions: int) -> int:
    """How many groups the training takes: those of its epochs, or of `max_steps` steps."""
    if args.max_steps <= 0:
        return running.rows_taken(args, questions)
    groups = args.generation_batch_size // args.num_generations
    return math.ceil(args.max_steps / steps_of_a_generation(args)) * groups


def steps_of_a_generation(args: Any) -> float:
    """Optimizer steps on the completions of one round of generation; above 1 is off-policy."""
    return float(args.steps_per_generation * args.num_iterations / args.gradient_accumulation_steps)


def in_one_pass(args: Any, groups: int) -> Any:
    """The arguments for a schedule that has all epochs in it.

    Raises:
        TrainError: not enough groups for one step.
    """
    needed = args.generation_batch_size // args.num_generations
    if groups < needed:
        raise TrainError(
            f"data: there are {groups} prompts, and TRL writes completions for {needed} at a time: "
            "have more questions or epochs, or a smaller trainer.per_device_train_batch_size"
        )
    args.num_train_epochs = 1
    return args
