"""A study: which models answer which tasks, in one YAML file that is checked before anything runs.

output_path: results/my-study
models:
  - name: base
    pretrained: ORG/MODEL
    model_args: {dtype: bfloat16}
  - name: served
    model: local-chat-completions
    model_args: {model: NAME, base_url: "http://127.0.0.1:8000/v1/chat/completions"}
tasks:
  - persona_arithmetic
  - task: persona_math500
    metadata: {n_questions: 100}
    gen_kwargs: {max_gen_toks: 1024}
  - task: gsm8k
    num_fewshot: 5
metadata: {persona_set: core}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from persona_bench.failures import missing
from persona_bench.harness.fingerprint import is_api
from persona_bench.harness.knobs import benchmark_named
from persona_bench.harness.preflight import check_chat_template, check_model
from persona_bench.harness.run import Asked, RunError, load_tasks, task_names, task_settings
from persona_bench.yaml_files import Part, read_mapping, validated

THINK_END = "</think>"


class StudyModel(Part):
    """One model of a study.

    Attributes:
        name: In the results; letters, digits, `-`, `_` and `.`.
        model: lm-eval's backend: `hf`, `vllm`, `local-chat-completions`, ...
        pretrained: A hub id or a folder; short for `model_args: {pretrained: ...}`.
        model_args: As lm-eval's `--model_args`.
        batch_size, device: As lm-eval's.
        gen_kwargs: For this model alone, over the study's and the task's.
        enable_thinking: Lets a thinking model think, or keeps it from it; by default as its
            chat template has it.
        think_end_token: What ends the reasoning; the answer after it is graded.
        apply_chat_template: Personas are system messages only with one.
        method, seed: Method and seed of its training, for comparisons of methods over seeds; not
            needed for a checkpoint of `persona-bench train`, whose folder has both.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    model: str = "hf"
    pretrained: str | None = None
    model_args: dict[str, Any] = Field(default_factory=dict)
    batch_size: int | str | None = None
    device: str | None = None
    gen_kwargs: dict[str, Any] = Field(default_factory=dict)
    enable_thinking: bool | None = None
    think_end_token: str | int | None = None
    apply_chat_template: bool = True
    method: str | None = Field(default=None, min_length=1)
    seed: int | None = None

    @model_validator(mode="after")
    def _consistent(self) -> StudyModel:
        if (self.method is None) != (self.seed is None):
            raise ValueError("method and seed belong together: give both, or neither")
        if self.pretrained and "pretrained" in self.model_args:
            raise ValueError("pretrained stands twice, beside model_args and in it: leave one")
        return self

    def arguments(self) -> dict[str, Any]:
        """The arguments as lm-eval's backend takes them."""
        return thinking(self.model, self._given())[0]

    def generation(self) -> dict[str, Any]:
        """The model's own generation arguments."""
        return {**thinking(self.model, self._given())[1], **self.gen_kwargs}

    def _given(self) -> dict[str, Any]:
        names = ("pretrained", "enable_thinking", "think_end_token")
        own = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {**self.model_args, **own}


class StudyTask(Part):
    """One task of a study, with knobs and generation arguments of its own.

    Attributes:
        task: As in `--tasks`: this project's, any of lm-eval's, `file:FILE` or `hub:ORG/NAME`.
        num_fewshot: For this task, in place of the study's.
    """

    task: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    gen_kwargs: dict[str, Any] = Field(default_factory=dict)
    num_fewshot: int | None = Field(default=None, ge=0)


Url = Annotated[str, Field(pattern=r"^https?://")]


class StudyJudge(Part):
    """Who judges the responses of judged tasks.

    Attributes:
        models: The judges' names at the endpoint; several judge side by side.
        base_url: An OpenAI-compatible endpoint, or one by model; OpenAI's own by default.
        concurrency: Calls at a time.
        price: Price of a million prompt tokens and of a million completion tokens, in US dollars;
            of all models that are asked, or by name.
        max_cost: Stop before calls that would cost more, in US dollars; needs `price`.
        audit: Measure the judges too (retest, persona swap, length).
        audited: Responses of the retest, and of the swap.
        examples: PersonaGym's rubrics: have an example of each score written first.
        examples_by: The model that writes the examples; the first judge by default.
        form: `json`, `text` or `auto` (docs/fidelity.md).
        gen_kwargs: Generation arguments for the judge, merged over temperature 0 and max_tokens
            1024.
        api_key_variable: The environment variable with the endpoint's key, or one by model.
        timeout: Seconds that a call may take.
        entry_test: True: judges take the entry test first, and those below its bar judge nothing.
            False: a judge that has failed it judges all the same.
        as_published: PersonaGym's responses: score them by its published protocol too, with two
            judges (docs/fidelity.md).
    """

    models: list[str] = Field(min_length=1)
    base_url: Url | dict[str, Url] | None = None
    concurrency: int = Field(default=16, ge=1)
    price: tuple[float, float] | dict[str, tuple[float, float]] | None = None
    max_cost: float | None = Field(default=None, gt=0)
    audit: bool = False
    audited: int = Field(default=100, ge=2)
    examples: bool = True
    examples_by: str | None = None
    form: Literal["auto", "json", "text"] = "auto"
    gen_kwargs: dict[str, Any] = Field(default_factory=dict)
    api_key_variable: str | dict[str, str] = "OPENAI_API_KEY"
    timeout: float = Field(default=180.0, gt=0)
    entry_test: bool | None = None
    as_published: bool = False

    @property
    def names(self) -> list[str]:
        """All models that are asked: the judges, and who writes the examples."""
        return [*self.models, *([self.examples_by] if self.examples_by else [])]

    @field_validator("price", mode="before")
    @classmethod
    def _two_numbers(cls, given: Any) -> Any:
        if given is None:
            return None
        for each in given.values() if isinstance(given, Mapping) else [given]:
            numbers = each if isinstance(each, (list, tuple)) else ()
            if len(numbers) != 2 or not all(isinstance(n, (int, float)) for n in numbers):
                raise ValueError(
                    "a price is two numbers, as in [0.15, 0.60], or {MODEL: [0.15, 0.60], ...}"
                )
        return given

    @model_validator(mode="after")
    def _named(self) -> StudyJudge:
        for what in ("base_url", "price", "api_key_variable"):
            by_name = getattr(self, what)
            if isinstance(by_name, dict) and (unknown := set(by_name) - set(self.names)):
                raise ValueError(f"{what} names {min(unknown)!r}, which is not among the models")
        return self

    @model_validator(mode="after")
    def _priced(self) -> StudyJudge:
        if self.max_cost is not None and self.price is None:
            raise ValueError("max_cost needs price, e.g. price: [0.15, 0.60] a million tokens")
        return self


class Study(Part):
    """A study file.

    Attributes:
        output_path: Where results go, one folder per model; the store lies in it too. Relative to
            the working directory, as every path in the file.
        models, tasks: What is run: every model on every task.
        metadata: The knobs of all tasks (`persona_set`, `samples`, `n_questions`, ...).
        gen_kwargs: The generation arguments of all tasks.
        include_path: Folders of further lm-eval tasks.
        num_fewshot: As lm-eval's, for the tasks of lm-eval's; by default as each task says.
        seed: Seed of Python, NumPy and torch, and of the draws where decoding samples.
        system_instruction: Before each persona.
        confirm_run_unsafe_code: For tasks that run programs which a model wrote.
        judge: For tasks whose responses a model judges.
        hf_hub_log_args: As lm-eval's: where on the Hugging Face hub results are pushed.
    """

    output_path: Path
    models: list[StudyModel] = Field(min_length=1)
    tasks: list[StudyTask] = Field(min_length=1)
    metadata: dict[str, Any] = Field(default_factory=dict)
    gen_kwargs: dict[str, Any] = Field(default_factory=dict)
    include_path: list[Path] = Field(default_factory=list)
    num_fewshot: int | None = Field(default=None, ge=0)
    seed: int = 1234
    system_instruction: str | None = None
    confirm_run_unsafe_code: bool = False
    judge: StudyJudge | None = None
    hf_hub_log_args: dict[str, Any] = Field(default_factory=dict)

    @field_validator("tasks", mode="before")
    @classmethod
    def _names_are_tasks(cls, given: Any) -> Any:
        if isinstance(given, list):
            return [{"task": each} if isinstance(each, str) else each for each in given]
        return given

    @field_validator("include_path", mode="before")
    @classmethod
    def _one_folder_is_a_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _no_name_twice(self) -> Study:
        for what, names in (
            ("models", [model.name.lower() for model in self.models]),
            ("tasks", [task.task for task in self.tasks]),
        ):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ValueError(f"{what}: {twice[0]!r} stands twice; give each its own name")
        return self

    def asked(self, model: StudyModel, shard: str | None = None) -> list[Asked]:
        """What one model is asked: the task's own settings go over the study's."""
        extra: dict[str, Any] = {"shard": shard} if shard else {}
        if model.method is not None:
            extra["training"] = {"method": model.method, "seed": model.seed}
        return [
            Asked(
                task.task,
                {**self.metadata, **task.metadata, **extra},
                {**self.gen_kwargs, **task.gen_kwargs, **model.generation()},
                tuple(map(str, self.include_path)),
                self.num_fewshot if task.num_fewshot is None else task.num_fewshot,
            )
            for task in self.tasks
        ]

    def chosen(self, names: list[str] | None) -> list[StudyModel]:
        """The models of these names; all where none are given.

        Raises:
            RunError: no model of a name.
        """
        by_name = {model.name: model for model in self.models}
        for name in names or []:
            if name not in by_name:
                raise RunError(f"the study has no model {name!r}: it has {', '.join(by_name)}")
        return [by_name[name] for name in names] if names else self.models


def thinking(backend: str, model_args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model arguments, and generation arguments, of a model that may think.

    A model that thinks has its reasoning taken off before grading; where no `think_end_token` is
    given, the reasoning ends with `</think>`. A local model takes `enable_thinking` as an argument;
    an endpoint gets it with each request.
    """
    arguments = dict(model_args)
    enable = arguments.get("enable_thinking")
    if enable is None:
        return arguments, {}
    if enable:
        arguments.setdefault("think_end_token", THINK_END)
    if not is_api(backend, model_args):
        return arguments, {}
    del arguments["enable_thinking"]
    return arguments, {"chat_template_kwargs": {"enable_thinking": enable}}


# ---------------------------------------------------------------------- reading and checking


def read_study(path: Path) -> Study:
    """Reads and checks a study file; no model is loaded.

    Raises:
        RunError: one sentence for the first thing that is wrong: no such file, no YAML, an
            unknown key, an impossible value.
    """
    what = "a study is a mapping with output_path, models and tasks"
    data = read_mapping(path, what, RunError, prose=("system_instruction",))
    parts = {"models": StudyModel, "tasks": StudyTask, "judge": StudyJudge}
    return validated(Study, data, path, parts, RunError)


def check_study(study: Study, models: list[StudyModel], shard: str | None = None) -> None:
    """Everything that can be known to be wrong before a model is loaded.

    Raises:
        RunError, ModelError, FingerprintError, KnobError, PersonaSetError, SourceError: the first
            fault, in one sentence.
    """
    if study.judge and not any(is_judged(task.task) for task in study.tasks):
        raise RunError(
            f"judge: none of {', '.join(task.task for task in study.tasks)} is judged, they are "
            "graded against reference answers: leave judge out"
        )
    if study.judge:
        several = study.judge.audit or len(study.judge.models) > 1
        if problem := missing("openai", *(["krippendorff"] if several else [])):
            raise RunError(f"judge: {problem}")
    for model in models:
        check_model(model.model, model.arguments(), model.name, model.device)
        load_tasks(
            study.asked(model, shard),
            model.arguments(),
            confirm_run_unsafe_code=study.confirm_run_unsafe_code,
        )
    for model in models:  # last, as it may ask the hub
        if model.apply_chat_template:
            check_chat_template(model.model, model.arguments(), model.name)


def is_judged(task: str) -> bool:
    """Whether a model judges a task's responses; groups are graded."""
    if task not in task_names() or task == "persona_bench":
        return False
    return benchmark_named(task_settings(task)["dataset_kwargs"]["benchmark"]).judged
