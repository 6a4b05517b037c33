"""Evaluation while training: held-out questions under a few personas, every few steps.

The model's responses are graded by the run's verifier and become the benchmark's measures
(`persona_bench.scoring.stability`), which TRL logs with its own, so that TensorBoard, W&B and
trackio get them, and the best checkpoint is kept. In rlvr and permix TRL's own evaluation writes
the responses, so that vLLM works as it does in training; in sft and distill transformers does. The
random state is put back afterwards: a run trains the same with and without evaluation.
"""

from __future__ import annotations

import copy
import json
import math
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import Trainer, set_seed
from trl import SFTTrainer
from trl.models.utils import unwrap_model_for_generation

from persona_bench.personas import load_persona_set
from persona_bench.scoring.stability import stability
from persona_bench.train.arguments import when_evaluated
from persona_bench.train.config import TrainConfig
from persona_bench.train.data import NONE, Prepared, Row, columns, messages
from persona_bench.train.generation import end_tokens, generate
from persona_bench.train.information import Information
from persona_bench.train.logs import append_completions, of_all_processes
from persona_bench.train.redraw import RedrawingTrainer
from persona_bench.train.rewards import Reward, Rewarded

LONGEST = 512
"""Tokens of a response in sft and distill where `max_new_tokens` says nothing else."""

REWARDED = ("answer", "problem", "persona", "question")
"""Columns that the reward needs."""

BEST = "best"
"""In the output folder: the checkpoint that did best, with `best.json`, which says why."""

RESAMPLES = 500
"""Bootstrap replicates of an evaluation's intervals."""


class Evaluation:
    """What is asked in an evaluation, and what is measured on the responses.

    Args:
        config: The run, with `evaluation` settings.
        data: Its questions, some of them held out.
        tokenizer: The model's.
        reward: The run's reward function, which grades the responses.
        say: Receives one line per evaluation.

    Attributes:
        rows: Each held-out question under each persona.
        table: The rows as TRL's dataset has them.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Prepared,
        tokenizer: Any,
        reward: Reward,
        say: Callable[[str], None],
    ) -> None:
        assert config.evaluation
        self.settings, self.seed = config.evaluation, config.seed
        self.folder = config.output_path
        self.benchmark, self.tokenizer, self.reward, self.say = (
            data.benchmark, tokenizer, reward, say
        )  # fmt: skip
        role = self.settings.system_role
        self.system_role = config.personas.system_role if config.personas else role
        personas = list(load_persona_set(self.settings.persona_set))
        self.kinds = {persona.id if persona.prompt else NONE: persona.kind for persona in personas}
        self.prompts = {persona.id: persona.prompt for persona in personas if persona.prompt}
        self.rows = [
            Row(0, question, persona if persona.prompt else None)
            for question in data.held_out
            for persona in personas
        ]
        self.table = columns(data.benchmark, self.rows, self.system_role)

    def measure(self, seen: Sequence[Rewarded], model: Any) -> dict[str, float]:
        """The measures of one evaluation; one that is not defined is left out.

        Args:
            seen: The graded responses of all processes, some twice where a batch was filled up.
            model: What wrote them, for persona information; None: it is not measured.
        """
        table = self.outcomes(seen)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the same notes at each evaluation
            result = stability(table, resamples=RESAMPLES, seed=self.seed)
        measures: dict[str, float] = {
            "accuracy": result.mean,
            "accuracy_low": result.mean.low,
            "accuracy_high": result.mean.high,
            "worst_accuracy": result.worst,
            "worst_accuracy_low": result.worst.low,
            "worst_accuracy_high": result.worst.high,
            "pss": result.pss,
            "pss_corrected": result.pss_corrected,
            "pss_corrected_low": result.pss_corrected.low,
            "pss_corrected_high": result.pss_corrected.high,
            "unscored": float(result.unscored),
        }
        by_persona = result.per_persona.set_index("persona")["accuracy"]
        measures |= {f"accuracy/{persona}": value for persona, value in by_persona.items()}
        if model is not None and self.settings.information_personas:
            measures["persona_information"] = self._information(table, model)
        measures = {name: float(value) for name, value in measures.items() if value == value}
        self.say(summary(measures, result.worst_personas))
        return measures

    def outcomes(self, seen: Sequence[Rewarded]) -> pd.DataFrame:
        """One row per response: persona, kind, question, sample, verdict, reason, correct."""
        table = pd.DataFrame(
            {
                "persona": [each.persona for each in seen],
                "kind": [self.kinds[each.persona] for each in seen],
                "question": [each.question for each in seen],
                "verdict": [each.verdict.verdict for each in seen],
                "reason": [each.verdict.reason for each in seen],
                "correct": [
                    math.nan if each.verdict.correct is None else each.verdict.correct
                    for each in seen
                ],
                "problem": [each.problem for each in seen],
                "text": [each.text for each in seen],
            }
        )
        table["sample"] = table.groupby(["persona", "question"]).cumcount()
        return table[table["sample"] < self.settings.samples].reset_index(drop=True)

    def _information(self, table: pd.DataFrame, model: Any) -> float:
        """Mean nats per token over the responses under a persona that are not empty."""
        own = table[table["persona"].isin(self.prompts) & (table["text"] != "")]
        measure = Information(
            model,
            self.tokenizer,
            self.prompts,
            lambda persona, problem: messages(self.benchmark, problem, persona, self.system_role),
            others=self.settings.information_personas,
            seed=self.seed,
        )
        values = measure(list(own["text"]), list(own["problem"]), list(own["persona"]))
        return float(np.mean(values)) if values else math.nan

    # ------------------------------------------------------------------ the best checkpoint

    def is_best(self, measures: dict[str, float]) -> bool:
        """Whether these measures are better than those of the checkpoint in `best`."""
        name = self.settings.keep_best
        if name == "none" or name not in measures:
            return False
        file = self.folder / BEST / f"{BEST}.json"
        before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        keys = (name, "accuracy")
        return before is None or [measures[k] for k in keys] > [before[k] for k in keys]


def summary(measures: dict[str, float], worst: Sequence[str]) -> str:
    """One line for people."""
    text = (
        f"Held out: accuracy {measures['accuracy']:.2f}, worst {measures['worst_accuracy']:.2f} "
        f"({', '.join(worst)})"
        if "accuracy" in measures
        else "Held out: nothing could be scored"
    )
    if "pss_corrected" in measures:
        low, high = measures["pss_corrected_low"], measures["pss_corrected_high"]
        text += f", corrected PSS {measures['pss_corrected']:.2f} ({low:.2f} to {high:.2f})"
    if "persona_information" in measures:
        text += f", persona information {measures['persona_information']:.3f} nats per token"
    return text


class Evaluates(Trainer):
    """What a trainer of TRL gains: the measures of an evaluation, and the best checkpoint.

    Attributes:
        evaluation: What is asked and measured; None: TRL's own trainer.
    """

    evaluation: Evaluation | None = None

    def evaluate(self, *args: Any, **named: Any) -> dict[str, float]:
        """As TRL's, with the measures of persona stability; keeps the best checkpoint."""
        assert self.evaluation
        with random_state_kept(), self._temperature(self.evaluation.settings.temperature):
            set_seed(self.evaluation.seed)
            measures: dict[str, float] = super().evaluate(*args, **named)
        own = {name.removeprefix("eval_"): value for name, value in measures.items()}
        if self.evaluation.is_best(own):
            self._keep_best(own)
        return measures

    def evaluation_loop(self, *args: Any, **named: Any) -> Any:
        """As TRL's; the measures are added to its metrics, and so to its log."""
        assert self.evaluation
        reward = self.evaluation.reward
        training, reward.seen = reward.seen, []
        try:
            output = super().evaluation_loop(*args, **named)
            seen = of_all_processes(reward.seen)
        finally:
            reward.seen = training
        if self.is_world_process_zero() and getattr(self.args, "log_completions", False):
            append_completions(self.evaluation.folder, self.state.global_step, "evaluation", seen)
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        model = None if sharded else self.accelerator.unwrap_model(self.model)
        with torch.inference_mode(), self.accelerator.autocast():
            measures = self.evaluation.measure(seen, model)
        output.metrics.update({f"eval_{name}": value for name, value in measures.items()})
        return output

    def _temperature(self, temperature: float) -> AbstractContextManager[None]:
        """Sets the temperature of the responses while an evaluation runs."""
        return nullcontext()

    def _keep_best(self, measures: dict[str, float]) -> None:
        assert self.evaluation
        folder = self.evaluation.folder
        self.save_model(str(folder / f"{BEST}.part"))
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            criterion = self.evaluation.settings.keep_best
            replace_best(
                folder, {"step": self.state.global_step, "criterion": criterion, **measures}
            )
        self.accelerator.wait_for_everyone()


class EvaluatingTrainer(Evaluates, RedrawingTrainer):
    """GRPO that is evaluated while it trains."""

    def __init__(self, *args: Any, evaluation: Evaluation | None = None, **named: Any) -> None:
        self.evaluation = evaluation
        if evaluation:
            named["eval_dataset"] = Dataset.from_dict(evaluation.table)
        super().__init__(*args, **named)

    def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        """Writes and grades the responses; there is no loss to compute."""
        self._prepare_inputs(inputs)
        return None, None, None

    @contextmanager
    def _temperature(self, temperature: float) -> Iterator[None]:
        """Another temperature of generation; 0 is greedy decoding."""
        holder: dict[str, Any] = self.__dict__
        if self.use_vllm:
            holder = self.vllm_generation.__dict__
            changed: dict[str, Any] = {"temperature": temperature}
        else:
            sampling: dict[str, Any] = {
                "do_sample": temperature > 0,
                "temperature": temperature or None,
            }
            if not temperature:  # no sampling, so none of its settings
                sampling |= {"top_k": None, "top_p": None, "min_p": None}
            config = copy.deepcopy(self.generation_config)
            config.update(**sampling)
            changed = {
                "generation_config": config,
                "generation_kwargs": {**self.generation_kwargs, **sampling},
            }
        before = {name: holder[name] for name in changed}
        holder.update(changed)
        try:
            yield
        finally:
            holder.update(before)


class EvaluatingSFTTrainer(Evaluates, SFTTrainer):
    """Supervised fine-tuning that is evaluated while it trains."""

    def __init__(self, *args: Any, evaluation: Evaluation | None = None, **named: Any) -> None:
        self.evaluation = evaluation
        super().__init__(*args, **named)
        if evaluation:  # from the start on, TRL would tokenize the questions as rows to learn
            evaluation.reward.ends = end_tokens(self.model, self.processing_class)
            for name, value in when_evaluated(evaluation.settings).items():
                setattr(self.args, name, value)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """The questions, each as often as it is answered."""
        assert self.evaluation
        columns = self.evaluation.table
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        asked = [row for row in rows for _ in range(self.evaluation.settings.samples)]
        size = self.args.per_device_eval_batch_size
        return self.accelerator.prepare(DataLoader(asked, batch_size=size, collate_fn=list))

    def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        """Writes and grades the responses; there is no loss to compute."""
        assert self.evaluation
        settings = self.evaluation.settings
        # transformers can't see that FSDP2 shards the model; each process must go on until all end
        self.model._is_fsdp_managed_module = self.is_fsdp_enabled
        with (
            unwrap_model_for_generation(self.model_wrapped, self.accelerator) as unwrapped,
            self.accelerator.autocast(),
        ):
            ids = generate(
                unwrapped,
                self.processing_class,
                [row["prompt"] for row in inputs],
                temperature=settings.temperature,
                max_new_tokens=settings.max_new_tokens or LONGEST,
            )
        texts = self.processing_class.batch_decode(ids, skip_special_tokens=True)
        columns: dict[str, Any] = {name: [row[name] for row in inputs] for name in REWARDED}
        self.evaluation.reward(
            [row["prompt"] for row in inputs],
            [[{"role": "assistant", "content": text}] for text in texts],
            ids,
            **columns,
        )
        return None, None, None


def replace_best(folder: Path, facts: Mapping[str, Any]) -> None:
    """Puts the complete `best.part` in the place of `best`, with `best.json`."""
    part = folder / f"{BEST}.part"
    (part / f"{BEST}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    shutil.rmtree(folder / BEST, ignore_errors=True)
    part.replace(folder / BEST)


def merge_best(folder: Path, dtype: torch.dtype) -> None:
    """Merges the adapters of the best checkpoint, so that it is an ordinary one like the last."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    if not (folder / BEST / "adapter_config.json").is_file():
        return
    model = AutoPeftModelForCausalLM.from_pretrained(folder / BEST, dtype=dtype).merge_and_unload()
    model.save_pretrained(folder / f"{BEST}.part")
    AutoTokenizer.from_pretrained(folder / BEST).save_pretrained(folder / f"{BEST}.part")
    replace_best(folder, json.loads((folder / BEST / f"{BEST}.json").read_text(encoding="utf-8")))


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Puts the random state of Python, NumPy and torch back at the end."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
