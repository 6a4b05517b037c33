"""The one YAML file of a training run, checked before anything is loaded.

model: ORG/MODEL
output_path: checkpoints/permix
seed: 1
data: {source: arithmetic, levels: ["2"], n_questions: 400}
personas: {persona_set: train, mix_ratio: 0.5}
trainer:                        # TRL's own arguments, with TRL's own defaults
  learning_rate: 2.0e-5
  max_steps: 40
  num_generations: 8
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from persona_bench.hub import PREFIX as HUB
from persona_bench.personas import KINDS
from persona_bench.yaml_files import Part, read_mapping, validated

Method = Literal["sft", "distill", "rlvr", "permix"]
METHODS: tuple[str, ...] = get_args(Method)
SystemRole = Literal["native", "merge"]

BUILT_IN = ("arithmetic", "gsm8k", "math")
"""Sources that are no files of one's own."""

SET_BESIDE_TRAINER = {
    "output_dir": "output_path",
    "seed": "seed",
    "use_vllm": "use_vllm",
    "vllm_mode": "use_vllm",
    "do_eval": "evaluation",
    "eval_strategy": "evaluation: {every: N}",
    "eval_steps": "evaluation: {every: N}",
    "eval_on_start": "evaluation",
    "num_generations_eval": "evaluation: {samples: N}",
    "metric_for_best_model": "evaluation: {keep_best: ...}",
    "load_best_model_at_end": "evaluation: {keep_best: ...}",
}
"""TRL's arguments that follow from settings of this file, and from which."""

NOT_SET = {
    "shuffle_dataset": "the order of the data is a part of the method here",
    "resume_from_checkpoint": "the same command resumes from the newest complete checkpoint",
}
"""TRL's arguments that can't be set, and why."""


class TrainError(RuntimeError):
    """Training that can't start or go on; the message says what is wrong and what to do."""


class Rows(Part):
    """Which rows of a source are learnt from.

    Attributes:
        config, split, revision: Of a dataset of the hub: its configuration (subset), its split
            (`train` by default; slices such as `train[:500]` too), and a branch, tag or commit.
            The commit that was found is recorded, and a resumed run takes the same.
        columns: Names that the rows should have, each with the source's own name for it, as in
            `{question: problem, answer: solution}`.
        n_questions: Only this many, spread evenly over the levels; all by default, and 1,000 of
            `arithmetic`.
        levels: Only questions of these levels; all by default.
    """

    config: str | None = None
    split: str | None = None
    revision: str | None = None
    columns: dict[str, str] | None = None
    n_questions: int | None = Field(default=None, ge=1)
    levels: tuple[str, ...] | None = Field(default=None, min_length=1)

    @field_validator("levels", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        return tuple(map(str, given)) if isinstance(given, (list, tuple)) else given

    def check(self, source: str) -> None:
        """Refuses keys that a source does not have.

        Raises:
            ValueError: the source is not of the hub, or has columns of its own.
        """
        for name in ("config", "split", "revision"):
            if getattr(self, name) is not None and not source.startswith(HUB):
                raise ValueError(f"{name}: only a dataset of the hub (hub:ORG/NAME) has one")
        if self.columns is not None and source in BUILT_IN:
            raise ValueError(f"columns: {source} has columns of its own")


class Source(Rows):
    """One source of a mixture.

    Attributes:
        source: As in `Data`.
        weight: Its share of the prompts is this over the sum of all weights, whatever its size. A
            source that is small for its share repeats its questions, in a new order each time.
    """

    source: str
    weight: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_keys(self) -> Source:
        self.check(self.source)
        return self


class Data(Rows):
    """What is learnt from: one `source`, or a mixture of `sources`.

    Attributes:
        source: `arithmetic` (generated), `gsm8k`, `math` (the MATH training split), a dataset of
            the hub (`hub:ORG/NAME`), or a .jsonl or .parquet file. Rows have `question` and
            `answer` (and `solution`, `level`, `id`, where there are any); an answer that is a
            worked solution is read from its last `\\boxed{}`, or after `####`. Or rows have
            `question` and `tests`, a list of `input` and `output` on which programs are run in the
            sandbox (stdin and stdout; or arguments and value of `function`, as JSON); or
            `messages`, whose last one, the assistant's, is what sft learns; or `prompt` and
            `completion`, each text or messages. With a system message of its own each persona can
            have its own solution. rlvr and permix need `answer` too.
        sources: Several of them, in place of `source`, each with its own keys. Without weights
            every question comes once an epoch. With weights (on all of them) an epoch has as
            many prompts as there are questions in all, shared out by weight.
        data_dir: Mirror folder of the sources' files (as the benchmarks').
        evaluation: Benchmarks whose questions must not be trained on; by default `arithmetic`,
            and for other questions `math500` and `aime24` too. One whose files can't be had
            is not checked, and the run says so.
        exclude_overlaps: Leave questions out that are in an evaluation benchmark, rather than stop.
    """

    source: str | None = None
    sources: tuple[Source, ...] | None = Field(default=None, min_length=1)
    data_dir: Path | None = None
    evaluation: tuple[str, ...] | None = None
    exclude_overlaps: bool = False

    @field_validator("source", mode="before")
    @classmethod
    def _check_one(cls, given: Any) -> Any:
        if isinstance(given, (list, tuple, dict)):
            raise ValueError(
                "several sources, each with keys of its own, are a list in data.sources"
            )
        return given

    @model_validator(mode="after")
    def _check_sources(self) -> Data:
        if (self.source is None) == (self.sources is None):
            raise ValueError("name one source in data.source, or several in data.sources")
        if self.source is not None:
            self.check(self.source)
        for name in Rows.model_fields if self.sources else ():
            if getattr(self, name) is not None:
                raise ValueError(f"{name}: with several sources, give it beside each of them")
        weighted = [each for each in self.sources or () if each.weight is not None]
        if weighted and len(weighted) < len(self.sources or ()):
            raise ValueError("sources: give a weight to each of them, or to none")
        return self

    @property
    def each(self) -> tuple[Source, ...]:
        """All sources; one where `source` names it."""
        if self.sources is not None:
            return self.sources
        rows = {name: getattr(self, name) for name in Rows.model_fields}
        return (Source(source=str(self.source), **rows),)


class Personas(Part):
    """The personas in the prompts of the training.

    Attributes:
        persona_set: A bundled set's name, or a YAML file.
        evaluation: Persona sets of evaluations; none of their personas may be trained under.
        mix_ratio: Share of the prompts that have a persona; the others have no system message.
        weights: How likely a persona of a kind is relative to those of other kinds; 1 for a kind
            that is not named, 0 leaves it out.
        curriculum: Over this share of the training the kinds come in one after another, from mild
            (experts) to far-out ones (harmful); 0: all from the start.
        group: What the completions of a group share. `persona`: question and persona, as in
            GRPO (arXiv 2402.03300); `question`: the question alone, each completion under its own
            persona.
        system_role: `native`: the persona is the system message; `merge`: it goes before the
            question, for templates without system messages.
    """

    persona_set: str = "train"
    evaluation: tuple[str, ...] = ("demo", "core", "wide")
    mix_ratio: float = Field(default=0.5, ge=0, le=1)
    weights: dict[str, float] = Field(default_factory=dict)
    curriculum: float = Field(default=0.0, ge=0, le=1)
    group: Literal["persona", "question"] = "persona"
    system_role: SystemRole = "native"

    @field_validator("weights")
    @classmethod
    def _of_kinds(cls, given: dict[str, float]) -> dict[str, float]:
        for kind, weight in given.items():
            if kind not in KINDS:
                raise ValueError(f"there is no kind {kind!r}: use {', '.join(KINDS)}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of {kind!r} is {weight}: it must be 0 or more")
        return given


class TokenPrice(Part):
    """US dollars per million tokens.

    Attributes:
        prompt, completion: Price of the prompt's tokens, and of the completion's.
    """

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)


class JudgeReward(Part):
    """A judge that scores how well right answers keep to their persona.

    Attributes:
        model: Its name at the endpoint.
        base_url: An OpenAI-compatible endpoint, as `https://host/v1`; OpenAI's by default.
        weight: Added to the reward of a right answer for a score of 5; nothing for a score of 1.
        rubric: Which of this project's rubrics it goes by.
        concurrency: Calls at a time, of each process.
        timeout: Seconds that a call may take.
        price: Where it is known, costs are recorded in US dollars, not in tokens alone.
        api_key_variable: The environment variable with the endpoint's key.
    """

    model: str
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    weight: float = Field(default=0.25, gt=0, le=0.5)
    rubric: Literal[
        "Expected Action",
        "Action Justification",
        "Linguistic Habits",
        "Persona Consistency",
        "Toxicity",
    ] = "Linguistic Habits"
    concurrency: int = Field(default=16, ge=1)
    timeout: float = Field(default=60.0, gt=0)
    price: TokenPrice | None = None
    api_key_variable: str = "OPENAI_API_KEY"


class Reward(Part):
    """What is rewarded beside a right answer (1; a wrong one 0; an unscored one gives no signal).

    Attributes:
        format_weight: Added for an answer in a box, right or wrong.
        information_weight: Added per nat per token of persona information (see `rewards.py`); 0 is
            the method of the paper, which rewards answers alone.
        information_personas: How many other personas a response is compared with.
        judge: A judge that scores the voice of right answers under a persona.
        overlong_buffer: A completion within this many tokens of `max_completion_length` loses
            reward in proportion, 1 where it reaches the limit (soft overlong punishment, DAPO,
            arXiv 2503.14476); 0: none does.
        timeout: Seconds that grading a step's completions may take; after that they are unscored.
    """

    format_weight: float = Field(default=0.0, ge=0)
    information_weight: float = Field(default=0.0, ge=0)
    information_personas: int = Field(default=3, ge=1)
    judge: JudgeReward | None = None
    overlong_buffer: int = Field(default=0, ge=0)
    timeout: float = Field(default=120.0, gt=0)


class Evaluation(Part):
    """How the model is evaluated while it trains: held-out questions under a few personas.

    Attributes:
        every: Steps between two evaluations; the first is before step 1, the last at the end.
        n_questions: Training questions that are set aside for it, spread evenly over the levels.
        samples: Responses per question and persona.
        temperature: Sampling temperature; 0 is greedy decoding.
        max_new_tokens: Longest response in sft and distill, by default 512; in rlvr and permix it
            is `trainer.max_completion_length`.
        persona_set: The personas, controls among them; training must share none with it.
        system_role: As in `Personas`, which decides it where there is one.
        information_personas: Other personas that a response is held against for persona
            information, by the model's own likelihoods; 0: it is not measured.
        keep_best: What decides which checkpoint is kept in the folder `best`: `worst_accuracy`
            (accuracy under the worst persona), `accuracy` (mean) or `pss_corrected`. Ties go to the
            higher mean accuracy, then to the earlier step. `none`: no checkpoint is kept.
    """

    every: int = Field(default=50, ge=1)
    n_questions: int = Field(default=32, ge=2)
    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    max_new_tokens: int | None = Field(default=None, ge=1)
    persona_set: str = "demo"
    system_role: SystemRole = "native"
    information_personas: int = Field(default=3, ge=0)
    keep_best: Literal["worst_accuracy", "accuracy", "pss_corrected", "none"] = "worst_accuracy"

    @model_validator(mode="after")
    def _check_samples(self) -> Evaluation:
        if self.samples > 1 and not self.temperature:
            raise ValueError("samples: greedy responses are all alike: set a temperature above 0")
        return self


class Teacher(Part):
    """The model whose responses are learnt (`distill`).

    Attributes:
        model: A folder, a hub id, or a name at `base_url`.
        base_url: An OpenAI-compatible endpoint; without one, the model is loaded here.
        samples: Responses per question.
        keep: Learn the `correct` ones only, or `all`.
        temperature, max_new_tokens: Sampling temperature, and longest response in tokens.
        batch_size: Prompts at a time, or calls at a time to an endpoint.
        api_key_variable: The environment variable with the endpoint's key.
    """

    model: str
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    samples: int = Field(default=4, ge=1)
    keep: Literal["correct", "all"] = "correct"
    temperature: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=512, ge=1)
    batch_size: int = Field(default=32, ge=1)
    api_key_variable: str = "OPENAI_API_KEY"


class Lora(Part):
    """Low-rank adapters (peft) rather than all weights; they are merged at the end.

    Attributes:
        r, alpha, dropout, target_modules: As peft's `LoraConfig`.
    """

    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"


class TrainConfig(Part):
    """A training run.

    Attributes:
        method: `sft`, `distill`, `rlvr` or `permix`.
        model: The checkpoint that training starts from: a hub id or a folder.
        output_path: Where the trained checkpoint, its logs and its resumable states go.
        seed: Seed of the data's order, the personas' draw, and TRL's.
        dtype: Precision of the weights; by default `float32` (on a GPU with bfloat16 autocast), and
            `bfloat16` on a GPU where only adapters are trained.
        data, personas, reward, evaluation, teacher, lora: See there. `rlvr` has no personas,
            `teacher` is for distill alone, `reward` is for rlvr and permix.
        use_vllm: Who writes the completions of rlvr and permix: vLLM in the same processes
            (`colocate`) or in a server of its own (`server`, by `trl vllm-serve`); without it
            the model itself.
        redraw: How often groups whose answers are all right or all wrong are drawn again at most,
            from other questions (dynamic sampling; rlvr and permix); 0: never.
        trainer: TRL's own arguments (`GRPOConfig`; `SFTConfig` of sft and distill).
    """

    method: Method
    model: str
    output_path: Path
    seed: int = Field(default=0, ge=0)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    data: Data
    personas: Personas | None = None
    reward: Reward = Reward()
    evaluation: Evaluation | None = None
    teacher: Teacher | None = None
    lora: Lora | None = None
    use_vllm: Literal["colocate", "server"] | None = None
    redraw: int = Field(default=0, ge=0)
    trainer: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_the_method(self) -> TrainConfig:
        if self.method == "rlvr" and self.personas:
            raise ValueError("personas: rlvr has none; permix is rlvr under personas")
        if self.method == "permix" and not self.personas:
            raise ValueError("personas: permix needs them, e.g. personas: {mix_ratio: 0.5}")
        if (self.method == "distill") != (self.teacher is not None):
            raise ValueError("teacher: distill needs one, and the other methods have none")
        grpo = self.method in ("rlvr", "permix")
        if not grpo and self.reward != Reward():
            raise ValueError(f"reward: {self.method} is not rewarded, it learns from solutions")
        if not grpo and self.use_vllm:
            raise ValueError(f"use_vllm: {self.method} writes no completions while it trains")
        if not grpo and self.redraw:
            raise ValueError(f"redraw: {self.method} has no groups")
        if grpo and self.evaluation and self.evaluation.max_new_tokens:
            raise ValueError(
                f"evaluation.max_new_tokens: trainer.max_completion_length decides in {self.method}"
            )
        if not grpo and self.personas and self.personas.group == "question":
            raise ValueError(f"personas.group: {self.method} has no groups")
        if self.reward.information_weight and not self.personas:
            raise ValueError("reward.information_weight: there are no personas to tell apart")
        if self.reward.judge and not self.personas:
            raise ValueError("reward.judge: there are no personas to keep to")
        for name, own in SET_BESIDE_TRAINER.items():
            if name in self.trainer:
                raise ValueError(f"trainer.{name}: set {own} beside trainer, not in it")
        for name, why in NOT_SET.items():
            if name in self.trainer:
                raise ValueError(f"trainer.{name}: {why}")
        return self


PARTS: dict[str, type[Part]] = {
    "data": Data,
    "personas": Personas,
    "reward": Reward,
    "evaluation": Evaluation,
    "teacher": Teacher,
    "lora": Lora,
}
"""The mappings within a run's file."""


def read_config(path: Path, method: str, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Reads and checks a run's file; nothing is loaded.

    Args:
        path: The YAML file.
        method: One of `METHODS`; the file may leave it out, or must say the same.
        overrides: Keys that go over the file's (`seed`, `teacher.model`); None values don't.

    Raises:
        TrainError: one sentence for the first thing that is wrong.
    """
    data = read_mapping(
        path, "a training run is a mapping with model, output_path and data", TrainError
    )
    if data.setdefault("method", method) != method:
        raise TrainError(
            f"{path} is for {data['method']}, not for {method}: name the method it says"
        )
    for name, value in (overrides or {}).items():
        part, _, key = name.rpartition(".")
        if value is not None:
            inner = data.get(part) or {} if part else data
            if not isinstance(inner, dict):
                raise TrainError(f"{path}: {part} must be a mapping (it is {inner!r})")
            inner[key] = value
            if part:
                data[part] = inner
    return validated(TrainConfig, data, path, PARTS, TrainError)
