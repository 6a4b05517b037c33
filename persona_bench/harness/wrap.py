"""Personas around any task that lm-eval knows.

A `WrappedTask` holds the task as lm-eval builds it and asks it everything: for the prompt of a
document, for the requests, and for the metrics of the responses. Its own documents are questions x
personas, as those of this project's benchmarks are; the inner task only ever sees its own document,
with nothing added. So a document under the control `none` is asked and scored exactly as plain
lm-eval would, and under a persona as with `--system_instruction PERSONA`.

`persona-bench wrap TASK --out FOLDER` writes YAML files such as

    task: persona_gsm8k
    class: !function persona_bench.harness.wrap.WrappedTask
    wraps: gsm8k/gsm8k.yaml
"""

from __future__ import annotations

import copy
import inspect
import json
import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import datasets
import lm_eval.tasks
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean, nanmean
from lm_eval.api.registry import (
    AGGREGATION_REGISTRY,
    DEFAULT_METRIC_REGISTRY,
    HIGHER_IS_BETTER_REGISTRY,
    METRIC_AGGREGATION_REGISTRY,
)
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.tasks._yaml_loader import load_yaml

from persona_bench.benchmarks.base import Benchmark, Question
from persona_bench.grading import Verdict
from persona_bench.harness.caching_lm import CachingLM
from persona_bench.harness.grade_finished import FIXED
from persona_bench.harness.knobs import KnobError, Knobs
from persona_bench.harness.tasks import PersonaTask, cell_of, model_of
from persona_bench.rendering import merged, prompt_text
from persona_bench.resources import resource_folder
from persona_bench.results.other_run import LEVELS, SUBJECTS, number
from persona_bench.results.schema import verdict_of_score

log = logging.getLogger("persona_bench")

PREFIX = "persona_"
BUILT_IN = Path(lm_eval.tasks.__file__).parent
PYTHON_SEED, NUMPY_SEED, FEWSHOT_SEED = 0, 1234, 1234
"""What the `lm_eval` command seeds before it builds documents, and draws examples with."""
NOT_HANDED_ON = ("class", "tag", "group", "task_list", "wraps", "overrides")
LONGEST_ANSWER = 1000
"""Characters of a filtered response that are recorded."""
MARK = "\0persona\0"
"""Stands for the persona in a prompt that is rendered once for all personas."""


class WrapError(ValueError):
    """A task that can't be put under personas; the message says why."""


# ---------------------------------------------------------------------- what can be wrapped


def refusal(config: Mapping[str, Any]) -> str:
    """Why a task can't be put under personas, as far as its configuration tells; empty if it can.

    Args:
        config: The task's YAML, with what it includes; functions may be unresolved.
    """
    kind = config.get("output_type") or ("" if "class" in config else "generate_until")
    if kind == "loglikelihood_rolling":
        return (
            "it measures the likelihood of whole texts (loglikelihood_rolling), which have no "
            "question that could be asked under a persona"
        )
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        return "it asks about images or audio, and personas are put around text only"
    return "" if "class" in config else no_headline(declared_problems(config))


def declared_problems(config: Mapping[str, Any]) -> dict[str, str]:
    """For each metric that a YAML declares, why it can't be the headline; empty if it can."""
    kind = config.get("output_type", "generate_until")
    declared = config.get("metric_list") or [
        {"metric": name} for name in DEFAULT_METRIC_REGISTRY[kind]
    ]
    problems = {}
    for metric in declared:
        name = str(getattr(metric["metric"], "__name__", metric["metric"])).rpartition(".")[2]
        aggregation = metric.get("aggregation", METRIC_AGGREGATION_REGISTRY.get(name, None))
        higher = metric.get("higher_is_better", HIGHER_IS_BETTER_REGISTRY.get(name, None))
        problems[name] = headline_problem(aggregation, higher)
    return problems


def no_headline(problems: Mapping[str, str]) -> str:
    """Why none of the metrics can be the headline; empty if one can."""
    if any(problem in ("", OWN_FUNCTION) for problem in problems.values()):
        return ""
    reasons = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    return f"it has no metric that scores each document by itself ({reasons})"


OWN_FUNCTION = "a function of the task's own combines its documents"


def headline_problem(aggregation: Any, higher_is_better: Any) -> str:
    """Why a metric can't be the headline, as far as its declaration tells; empty if it can.

    `OWN_FUNCTION` is no more than a doubt: the values of the documents will tell.
    """
    if higher_is_better is False:
        return "lower is better"
    if isinstance(aggregation, str):
        aggregation = AGGREGATION_REGISTRY.get(aggregation, aggregation)
    if aggregation in (None, mean, nanmean):
        return ""
    if aggregation not in AGGREGATION_REGISTRY.values():
        return OWN_FUNCTION
    return "it is computed from all documents together, so that no document has a value of its own"


class Headline:
    """The (metric, filter) that decides each document.

    Args:
        task: The inner task.
        wanted: The knob `metric`, `NAME` or `NAME,FILTER`; None: the first that can be one.

    Raises:
        WrapError: there is none.
        KnobError: the one that is wanted can't be it.
    """

    def __init__(self, task: Task, wanted: str | None) -> None:
        name, _, chosen = (wanted or "").partition(",")
        name, chosen = name.strip(), chosen.strip()
        who = task.task_name
        self.filters = [each.name for each in task._filters]
        self.declared = list(task.aggregation())
        higher = task.higher_is_better()
        problems = {
            each: headline_problem(aggregation, higher.get(each))
            for each, aggregation in task.aggregation().items()
        }
        sure = [each for each, problem in problems.items() if not problem]
        fitting = sure + [each for each in problems if problems[each] == OWN_FUNCTION]
        # functions may return values under other names than their own (pass_at_k: pass@1)
        expands = callable(getattr(task.config, "process_results", None)) or any(
            callable(metric.get("metric"))
            for metric in getattr(task.config, "metric_list", None) or ()
        )
        if not fitting:
            raise WrapError(f"{who} can't be put under personas: {no_headline(problems)}")
        if name in problems and name not in fitting:
            raise KnobError(
                f"metric={wanted}: {name} can't be the headline, as {problems[name]}: use "
                f"{', '.join(fitting)}"
            )
        if name and name not in problems and not expands:
            close = (get_close_matches(name, fitting, n=1) or [""])[0]
            raise KnobError(
                f"metric={wanted}: {who} has no metric {name!r}"
                + (f": did you mean {close}?" if close else f": use {', '.join(fitting)}")
            )
        if chosen and chosen not in self.filters:
            raise KnobError(
                f"metric={wanted}: {who} has no filter {chosen!r}: use {', '.join(self.filters)}"
            )
        self.metric, self.filter = name or fitting[0], chosen or self.filters[0]
        before = (
            self.declared[: self.declared.index(self.metric)] if self.metric in problems else []
        )
        self.passed_over = {each: problems[each] for each in before if problems[each]}
        self.others = [
            f"{metric},{each}"
            for metric in fitting
            for each in self.filters
            if (metric, each) != (self.metric, self.filter)
        ]

    def __str__(self) -> str:
        return f"{self.metric},{self.filter}"

    def notice(self, who: str) -> str:
        """What the user should know of the choice."""
        text = f"{who} is scored by {self}"
        if self.passed_over:
            why = "; ".join(f"{name}: {problem}" for name, problem in self.passed_over.items())
            text += f" (not by {why})"
        if self.others:
            text += f'; others, by "metric" in --metadata: {" · ".join(self.others)}'
        return text

    def value(self, metrics: Mapping[str, Any], who: str) -> float | None:
        """The headline's value among all of one document; None where it is no number (NaN)."""
        metric = metrics.get(self.metric)
        if metric is None:
            expanded = [name for name in metrics if name not in self.declared]
            if self.metric in self.declared and expanded:
                metric = metrics[expanded[0]]
        value = number(metric)
        if value is not None and math.isnan(value):
            return None
        if value is None or not 0 <= value <= 1:
            numbers = {name: number(each) for name, each in metrics.items()}
            usable = [name for name, each in numbers.items() if each is not None and 0 <= each <= 1]
            what = "gives no value" if metric is None else f"gives {str(metric)[:60]}"
            raise WrapError(
                f"{who}: the metric {self} {what} for a document, where a number from 0 to 1 "
                "belongs: every response is stored; choose "
                + (f"one of {', '.join(usable)}" if usable else "another")
                + ' by "metric" in --metadata, and start the same command again'
            )
        return value


# ---------------------------------------------------------------------- the task


class WrappedTask(PersonaTask):
    """Any task of lm-eval's, with documents that are its questions × personas.

    Few-shot examples are drawn once for each question, in the order of the task's documents, so
    that they are those of one plain run whatever personas, shards and ranks ask.

    Args:
        config: With `wraps` the file of the task's YAML, relative to lm-eval's own tasks where it
            is one of these, and `overrides` what goes over it; or with `wrapped` its configuration.

    Attributes:
        inner: The task as lm-eval builds it.
        headline: The metric and filter that decide.

    Raises:
        WrapError: a task of a kind that has no question to ask under a persona, or no metric.
        KnobError: see `Headline`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        metadata = dict(config.get("metadata") or {})
        self._source = str(config.get("wraps", ""))
        wrapped = config.get("wrapped") or read_wrapped(self._source, config.get("overrides"))
        self.inner = build_inner(wrapped, metadata)
        docs: Any = getattr(self.inner, "task_docs", None)
        self.docs = self.inner.eval_docs if docs is None else docs
        self.headline = Headline(self.inner, metadata.get("metric"))
        self._seed: int | None = FEWSHOT_SEED
        self._at = 0
        self._state: list[Any] | None = None
        self._rendered: tuple[str, dict[str | None, Any]] = ("", {})
        inner = self.inner.config
        base = load_yaml(resource_folder("tasks") / "_persona.yaml")
        for name in ("custom_dataset", "class"):
            base.pop(name, None)
        outer = {
            **base,
            "task": config["task"],
            "dataset_kwargs": {"wraps": self.inner.task_name},
            "output_type": self.inner.OUTPUT_TYPE,
            "generation_kwargs": copy.deepcopy(inner.generation_kwargs),
            "num_fewshot": 0,
            "repeats": inner.repeats,
            "unsafe_code": bool(getattr(self.inner, "UNSAFE_CODE", False)),
            "metadata": {**metadata, "version": self.inner.VERSION},
        }
        super().__init__(outer, self._benchmark())
        self.set_config("num_fewshot", inner.num_fewshot)  # later, as the examples are the inner's
        self.notices = [self.headline.notice(self.task_name)]

    def _benchmark(self) -> Benchmark:
        """The inner task as a benchmark: a question for each document, called by its place."""
        return Benchmark(
            name=self.inner.task_name,
            load=lambda data_dir, seed: [
                _question(number, self.docs[number]) for number in range(len(self.docs))
            ],
            complete=lambda question: _completed(
                question, self.inner, self._document(int(question.id))
            ),
            prompt=str,
            grade=_graded_by_the_task,
            grader=f"lm-eval {lm_eval.__version__}: {self.headline}",
            knobs={"metric": str},
        )

    def _document(self, number: int) -> Any:
        """A document of the inner task, that its functions may change."""
        return copy.deepcopy(self.docs[number])

    def _own(self, doc: Mapping[str, Any]) -> Any:
        return self._document(int(doc["question"]))

    # ------------------------------------------------------------------ prompts

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """Seeds the draws of few-shot examples, as lm-eval does before each run."""
        super().set_fewshot_seed(seed)
        self._seed, self._state = seed, None
        self.inner.set_fewshot_seed(seed)

    def build_all_requests(self, **kwargs: Any) -> None:
        """As `PersonaTask`, after lm-eval has set the generation arguments."""
        if self.OUTPUT_TYPE == "generate_until":
            self._one_name_for_length()
            self.inner.set_config("generation_kwargs", self.config.generation_kwargs)
        if not isinstance(model_of(kwargs.get("chat_template")), CachingLM):
            # `persona-bench run` says it itself
            log.warning(self.notices[0])
        self.set_fewshot_seed(self._seed)
        self._rendered = ("", {})
        super().build_all_requests(**kwargs)

    def doc_to_prefix(self, doc: dict[str, Any]) -> Any:
        """The beginning of the answer that the inner task puts into the prompt."""
        return self.inner.doc_to_prefix(self._own(doc))

    def _system(self, doc: dict[str, Any]) -> str:
        if self.turns and self.knobs.system_role == "merge":
            return ""  # the persona stands in the conversation's first turn
        return str(doc["persona_prompt"])

    def _render(self, doc: dict[str, Any], **kwargs: Any) -> Any:
        """As the inner task renders it: once for each question, with a mark for the persona.

        Templates are slow, and a question has the same text under all personas. White space at the
        end of a system message decides what lm-eval puts after it, so that it stays there.
        """
        number, system = doc["question"], kwargs.pop("system_instruction") or ""
        chat_template = self._after_conversation(doc, kwargs.pop("chat_template", None))
        end = system[len(system.rstrip()) :]
        marked = f"{MARK}{end}" if system else None
        if self._rendered[0] != number:
            self._rendered = (number, {})
        prompts = self._rendered[1]
        if marked not in prompts:
            if kwargs["num_fewshot"]:
                self._draw_as_plain(int(number), kwargs["num_fewshot"])
            prompts[marked] = self.inner.fewshot_context(
                self._own(doc),
                system_instruction=marked,
                chat_template=_Messages if chat_template is not None else None,
                **kwargs,
            )
        if chat_template is not None and self.knobs.system_role == "merge":
            chat_template = _without_system(chat_template)
        prompt = prompts[marked]
        if isinstance(prompt, list):  # an input for each choice
            return [_with_persona(each, system.rstrip(), chat_template) for each in prompt]
        return _with_persona(prompt, system.rstrip(), chat_template)

    def _draw_as_plain(self, number: int, num_fewshot: int) -> None:
        """Puts the generators of the few-shot draws where a plain run has them at a question.

        Questions come in order; for those in between, of other shards or not chosen, examples are
        drawn and forgotten.
        """
        if self._state is None or number < self._at:
            self.inner.set_fewshot_seed(self._seed)
            self._at = 0
        else:
            for generator, state in zip(self._generators(), self._state, strict=True):
                generator.setstate(state)
        for skipped in range(self._at, number):
            self.inner.fewshot_context(self._document(skipped), num_fewshot=num_fewshot)
        self._at = number
        self._state = [generator.getstate() for generator in self._generators()]

    def _generators(self) -> list[random.Random]:
        held = (getattr(self.inner, "sampler", None), "rnd"), (self.inner, "fewshot_rnd")
        attributes = (getattr(holder, name, None) for holder, name in held)
        return [each for each in attributes if isinstance(each, random.Random)]

    # ------------------------------------------------------------------ requests

    def _requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Any:
        requests = self.inner.construct_requests(doc=self._own(doc), ctx=ctx, **kwargs)
        for request in requests if isinstance(requests, list) else [requests]:
            request.doc = doc
        return requests

    def _whole_text(self, instance: Instance) -> str:
        text = prompt_text(instance.args[0])
        return text if instance.request_type == "generate_until" else text + str(instance.args[1])

    def _max_gen_toks(self) -> int:
        return super()._max_gen_toks() if self.OUTPUT_TYPE == "generate_until" else 0

    def _check_sampling(self) -> None:
        if self.knobs.samples > 1 and self.OUTPUT_TYPE != "generate_until":
            raise KnobError(
                f"{self.task_name}: samples={self.knobs.samples}, but it compares likelihoods and "
                "nothing is drawn: set samples to 1 in --metadata"
            )
        super()._check_sampling()

    def _finish(self, response: Any) -> str:
        return "" if isinstance(response, (tuple, list)) else super()._finish(response)

    # ------------------------------------------------------------------ grading

    def apply_filters(self) -> Any:
        """Grades as the inner task does; then each document has one request, with its response."""
        result = super().apply_filters()
        by_document: dict[Any, list[Instance]] = {}
        for instance in self.instances:
            by_document.setdefault(instance.doc_id, []).append(instance)
        self._instances = [
            instance for several in by_document.values() for instance in self._as_one(several)
        ]
        return result

    def grade(self, instances: list[Instance]) -> None:
        """Applies the inner task's filters and metrics, persona by persona as in a plain run."""
        runs: dict[tuple[str, int], list[Instance]] = {}
        for instance in instances:
            doc = instance.doc
            runs.setdefault((doc["persona"], doc["sample"]), []).append(instance)
        for run in runs.values():
            self._grade_run(run)

    def _grade_run(self, run: Sequence[Instance]) -> None:
        plain = [copy.copy(instance) for instance in run]
        for instance in plain:
            instance.doc, instance.filtered_resps = self._own(instance.doc), {}
        self.inner._instances = plain
        self.inner.apply_filters()
        by_document: dict[str, list[int]] = {}
        for place, instance in enumerate(run):
            by_document.setdefault(instance.doc["question"], []).append(place)
        for places in by_document.values():
            asked = sorted((plain[place] for place in places), key=lambda each: each.idx)
            self._grade_document(run[places[0]].doc, asked)

    def _grade_document(self, doc: dict[str, Any], asked: Sequence[Instance]) -> None:
        ends = [self._finish(response) for each in asked for response in each.resps]
        finish = next((end for end in ends if end in FIXED), ends[0])
        if finish in FIXED:
            self._record_grade(doc, FIXED[finish], finish, {})
            return
        values: dict[str, float] = {}
        value, answer = None, ""
        for name in self.headline.filters:
            filtered = [each.filtered_resps[name] for each in asked]
            try:
                metrics = self.inner.process_results(self._own(doc), filtered)
            except Exception as error:  # the task's own code may do anything
                log.warning("%s: question %s: %r", self.task_name, doc["question"], error)
                self._record_grade(doc, Verdict("unscored", "grader_error"), finish, {})
                return
            for metric, each in metrics.items():
                if (as_number := number(each)) is not None:
                    values[f"{metric},{name}"] = as_number
            if name == self.headline.filter:
                value = self.headline.value(metrics, self.task_name)
                answer = self._answer(doc, asked, filtered)
        named = verdict_of_score(math.nan if value is None else value)
        below_one = "truncated" if finish == "length" else "wrong_answer" if value == 0 else ""
        reason = {"unscored": "no_value", "correct": ""}.get(named, below_one)
        verdict = Verdict(named, reason, answer)  # type: ignore[arg-type]  # no grader gives scores
        self._record_grade(doc, verdict, finish, {"score": value, "metrics": values})

    def _answer(self, doc: dict[str, Any], asked: Sequence[Instance], filtered: list[Any]) -> str:
        """What the model answered, as text: the filtered response, or the likeliest choice."""
        if asked[0].request_type == "generate_until":
            answer = filtered[0]
            while isinstance(answer, (list, tuple)) and answer:
                answer = answer[0]
            return str(answer)[:LONGEST_ANSWER]
        likelihoods = [each.resps[0] for each in asked]
        if self.OUTPUT_TYPE == "loglikelihood":
            return str(asked[0].args[1]) if likelihoods[0][1] else ""
        choices = self.inner.doc_to_choice(self._own(doc))
        lengths: dict[str, Callable[[str], int]] = {
            "acc_norm": len,
            "acc_bytes": lambda choice: len(choice.encode()),
        }
        length = lengths.get(self.headline.metric, lambda choice: 1)
        scores = [
            likelihood[0] / length(choice)
            for likelihood, choice in zip(likelihoods, choices, strict=False)
        ]
        return str(choices[int(np.argmax(scores))])

    def _as_one(self, several: list[Instance]) -> list[Instance]:
        """The requests of a document; likelihoods as one request, answered by the choice."""
        if any(each.request_type == "generate_until" for each in several):
            return several
        several.sort(key=lambda each: each.idx)
        first, graded = several[0], self.graded[cell_of(several[0].doc)]
        arguments = {
            "continuations": [each.args[1] for each in several],
            "loglikelihoods": [each.resps[0][0] for each in several],
            "greedy": [bool(each.resps[0][1]) for each in several],
        }
        if len({each.args[0] for each in several}) > 1:
            arguments["contexts"] = [each.args[0] for each in several]
        request = copy.copy(first)
        request.arguments = (first.args[0], arguments)
        request.resps, request.filtered_resps = [graded["answer"]], {"none": graded["answer"]}
        return [request]

    # ------------------------------------------------------------------ records

    def facts(self, system_instruction: str | None) -> dict[str, Any]:
        """As `PersonaTask`, with the inner task and the choice of the metric."""
        record = super().facts(system_instruction)
        record["wrapped"] = {
            "task": self.inner.task_name,
            "output_type": self.OUTPUT_TYPE,
            "version": self.inner.VERSION,
            "metric": str(self.headline),
            "num_fewshot": self.config.num_fewshot or 0,
            "fewshot_seed": self._seed,
            "config": json.loads(json.dumps(self.inner.dump_config(), default=_name_of)),
        }
        return record


# ---------------------------------------------------------------------- the inner task


def read_wrapped(source: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of a task of lm-eval's, from its YAML file.

    Raises:
        WrapError: there is no such file.
    """
    file = BUILT_IN / source  # an absolute path stays what it is
    if not source or not file.is_file():
        raise WrapError(
            f"wraps: {source}: there is no such task file (built-in tasks are named relative to "
            f"{BUILT_IN}): write the YAML again with persona-bench wrap"
        )
    return {**load_yaml(file), **(overrides or {})}


def build_inner(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> Task:
    """A task as lm-eval builds it, with its documents.

    What a task draws at random while it builds its documents is drawn from the seeds of the
    `lm_eval` command, so that all runs, shards and machines ask the same.

    Args:
        config: Its YAML, with what it includes.
        metadata: What the run passes to tasks; knobs of personas are kept from it.

    Raises:
        WrapError: a task of a kind that can't be asked under a persona, or that can't be built.
    """
    name = config["task"]
    if problem := refusal(config):
        raise WrapError(f"{name} can't be put under personas: {problem}")
    knobs = {*Knobs.__dataclass_fields__, "metric", "persona_bench"}
    own = config.get("metadata") or {}
    passed = {**(own if isinstance(own, dict) else {"_metadata": own}), **metadata}
    for knob in knobs & set(metadata):
        passed.pop(knob)
    settings = {key: value for key, value in config.items() if key not in NOT_HANDED_ON}
    settings["metadata"] = passed
    kind: Any = config.get("class", ConfigurableTask)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise WrapError(f"{name} can't be put under personas: its class is no task of lm-eval's")
    takes_config = "config" in inspect.signature(kind).parameters
    with _plain_seeds():
        try:
            task: Task = kind(config=settings) if takes_config else kind()
        except Exception as error:  # of the task's own code, of datasets, of the hub
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise WrapError(f"{name} could not be loaded by lm-eval: {lines[0]}") from error
    if getattr(task, "MULTIMODAL", False) or task.OUTPUT_TYPE == "loglikelihood_rolling":
        problem = refusal(
            {"output_type": task.OUTPUT_TYPE, "doc_to_image": task.OUTPUT_TYPE is None}
        )
        raise WrapError(f"{name} can't be put under personas: {problem}")
    task.config.task = name
    return task


@contextmanager
def _plain_seeds() -> Iterator[None]:
    """Seeds the global generators as `lm_eval` does; transforms are not cached on disk."""
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    caching = datasets.is_caching_enabled()
    random.seed(PYTHON_SEED)
    np.random.seed(NUMPY_SEED)  # noqa: NPY002 - what tasks draw from
    datasets.disable_caching()  # a cached random draw would be another run's
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if caching:
            datasets.enable_caching()


def _question(number: int, doc: Any) -> Question:
    """A document as a question, by which it may be chosen."""
    columns = doc if isinstance(doc, Mapping) else {}
    level = next((columns[name] for name in LEVELS if columns.get(name) is not None), "")
    subject = next((columns[name] for name in SUBJECTS if columns.get(name) is not None), "")
    return Question(
        id=str(number),
        problem="",
        answer="",
        level=str(level) if isinstance(level, (str, int)) else "",
        subject=subject if isinstance(subject, str) else "",
    )


def _completed(question: Question, task: Any, doc: Any) -> Question:
    """The question with its text and its answer, for people to read."""
    text, target = task.doc_to_text(doc), task.doc_to_target(doc)
    choices = task.doc_to_choice(doc) if getattr(task.config, "doc_to_choice", None) else None
    if choices and isinstance(text, int):  # an input for each choice: the text says which is right
        text, target = " / ".join(f"{choice} ... {target}" for choice in choices), choices[text]
    answers = target if isinstance(target, list) else [target]
    answers = [
        choices[each] if choices and isinstance(each, int) and each < len(choices) else each
        for each in answers
    ]
    return replace(question, problem=str(text), answer=" | ".join(map(str, answers)))


def _name_of(value: Any) -> str:
    """What stands in a results file for a function, which has no form in JSON."""
    return str(getattr(value, "__qualname__", value))


class _Messages:
    """A chat template that keeps the messages, for the one that renders them."""

    def __init__(self, messages: list[dict[str, Any]], **settings: Any) -> None:
        self.messages, self.settings = messages, settings

    def rendered(self, system: str, chat_template: Callable[..., Any]) -> Any:
        """The prompt by a chat template, with the persona in place of its mark."""
        messages = [dict(message) for message in self.messages]
        if messages[0]["role"] == "system":
            messages[0]["content"] = messages[0]["content"].replace(MARK, system)
        return chat_template(messages, **self.settings)


def _with_persona(prompt: Any, system: str, chat_template: Callable[..., Any] | None) -> Any:
    if isinstance(prompt, _Messages) and chat_template is not None:
        return prompt.rendered(system, chat_template)
    return prompt.replace(MARK, system)


def _graded_by_the_task(
    responses: Sequence[str], golds: Sequence[str], *, truncated: Sequence[bool]
) -> list[Verdict]:
    raise RuntimeError("a wrapped task grades its responses itself")


def _without_system(chat_template: Callable[..., Any]) -> Callable[..., Any]:
    """A chat template to which the system message comes before the first user message's text."""

    def apply(messages: list[dict[str, str]], **more: Any) -> Any:
        if messages[0]["role"] == "system":
            system, user, *rest = messages
            content = merged(system["content"], user["content"])
            messages = [{**user, "content": content}, *rest]
        return chat_template(messages, **more)

    return apply
