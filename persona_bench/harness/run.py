"""One model through lm-eval on this project's tasks, written as lm-eval writes it."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import LM
from lm_eval.loggers.evaluation_tracker import GeneralConfigTracker
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import make_table, sanitize_model_name, simple_parse_args_string

from persona_bench.harness.backends import model_class
from persona_bench.harness.caching_lm import CachingLM
from persona_bench.harness.chat_date import first_date, pin_date, prints_date, today
from persona_bench.harness.conversations import (
    NAME,
    begin,
    check_room,
    ended_early,
    hold,
    put_into_documents,
)
from persona_bench.harness.fingerprint import Fingerprint, fingerprint, without_secrets
from persona_bench.harness.hub import check_hub, finish_push, tracker_for
from persona_bench.harness.knobs import (
    FILE,
    benchmark_named,
    check_knobs,
    is_own_data,
    knobs_of,
    numbers_of_turns,
)
from persona_bench.harness.notes import Note, RunFacts, forget_unfinished, parts_of
from persona_bench.harness.preflight import check_chat_template
from persona_bench.harness.store import RecordLog
from persona_bench.harness.task_index import build, is_planned, own_data_task, plan
from persona_bench.harness.wrap import PREFIX
from persona_bench.resources import resource_folder
from persona_bench.texts import short_name

if TYPE_CHECKING:
    from lm_eval.loggers import EvaluationTracker

DEFAULT_DEVICE = "cuda:0"  # what the lm_eval command passes; the hf backend falls back to the CPU


class RunError(ValueError):
    """A run that can't start, or whose results could not be written."""


def task_names() -> list[str]:
    """The tasks and groups of this project."""
    return list(_task_manager({}).all_tasks)


def task_settings(task: str) -> dict[str, Any]:
    """What a task's YAML says, with what it includes; functions stay names.

    Raises:
        RunError: no task of this name, or a group of tasks.
    """
    file = resource_folder("tasks") / f"{task}.yaml"
    settings = load_yaml(file, resolve_func=False) if file.is_file() else {}
    if "dataset_kwargs" not in settings:
        tasks = [name for name in task_names() if name != "persona_bench"]
        raise RunError(f"no single task {task!r}: use {', '.join(tasks)}")
    return dict(settings)


def _example(word: str) -> str:
    """How to write a word that looks like a model without its name."""
    return f": write pretrained={word}" if "/" in word else ""


def parse_arguments(text: str | None) -> dict[str, Any]:
    """`a=1,b=2` or a JSON object, as lm-eval reads them.

    Raises:
        RunError: neither of the two.
    """
    text = (text or "").strip()
    if not text:
        return {}
    if not text.startswith("{"):
        parts = [part for part in text.split(",") if part]
        if wrong := [part for part in parts if not part.partition("=")[1]]:
            raise RunError(
                f"{text!r} is neither key=value,key=value nor a JSON object: {wrong[0].strip()!r} "
                f"has no ={_example(wrong[0].strip())}"
            )
        return dict(simple_parse_args_string(text))
    try:
        return dict(json.loads(text))
    except ValueError as error:
        how = error
    try:  # single quotes, True, None: what Python would print
        meant = ast.literal_eval(text)
        mended = json.dumps(meant) if isinstance(meant, dict) else ""
    except (ValueError, SyntaxError, TypeError, RecursionError):
        mended = ""
    raise RunError(
        f"{text} is not JSON: write '{mended}', with double quotes inside and single ones around it"
        if mended
        else f'{text!r} is not a JSON object ({how}): write it as \'{{"key": "value"}}\''
    )


@dataclass(frozen=True)
class Asked:
    """One task of a run, with knobs and generation arguments of its own.

    Attributes:
        task: A task's or group's name, of this project or of lm-eval; `file:` and a path, or
            `hub:ORG/NAME`.
        metadata: Its knobs, as `--metadata`.
        gen_kwargs: As `--gen_kwargs`.
        include_path: Folders of further lm-eval tasks.
        num_fewshot: As lm-eval's, for tasks with few-shot examples; None: as the task says.
    """

    task: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    include_path: Sequence[str] = ()
    num_fewshot: int | None = None

    def __post_init__(self) -> None:
        """Makes paths absolute, as a stopped run may be scored from another folder."""
        folders = tuple(str(Path(folder).resolve()) for folder in self.include_path)
        object.__setattr__(self, "include_path", folders)
        if self.task.startswith(FILE):
            file = Path(self.task.removeprefix(FILE)).resolve()
            object.__setattr__(self, "task", f"{FILE}{file}")

    @property
    def name(self) -> str:
        """What the task is called in the results."""
        if is_own_data(self.task):
            return f"{PREFIX}{benchmark_named(self.task).name}"
        own = self.task.startswith(PREFIX) or self.task in task_names()
        return self.task if own else PREFIX + self.task


def run(
    *,
    model: str,
    model_args: Mapping[str, Any],
    tasks: Sequence[str],
    output_path: Path,
    limit: float | None = None,
    gen_kwargs: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    confirm_run_unsafe_code: bool = False,
    apply_chat_template: bool = True,
    system_instruction: str | None = None,
    **settings: Any,
) -> str:
    """Runs tasks on one model; the arguments mean what lm-eval's flags mean.

    Args:
        settings: Further ones of `Session`.

    Returns:
        lm-eval's own table of results, as Markdown; empty on ranks that hold no results.

    Raises:
        RunError: an unknown task, one that runs programs and was not confirmed, or the results
            could not be written.
        StoreError, EndpointError, FingerprintError: see there; what was done is kept.
    """
    asked = [Asked(task, metadata or {}, gen_kwargs or {}) for task in tasks]
    with Session(model, model_args, output_path, **settings) as session:
        return session.run(
            asked,
            limit=limit,
            confirm_run_unsafe_code=confirm_run_unsafe_code,
            apply_chat_template=apply_chat_template,
            system_instruction=system_instruction,
        )


class Session:
    """One model, loaded once, with the store of its finished work.

    Args:
        model, model_args: As lm-eval's `--model`, `--model_args`.
        output_path: Where results go; the store lies below it.
        store: The store's folder; `output_path`/store by default. `keep=False`: none.
        batch_size, device: As lm-eval's.
        name: The model's name in the results; by default what lm-eval takes from `model_args`.
        seed: Seed of Python, NumPy and torch, and of the draws where decoding samples.
        verbose: Shows lm-eval's log.
        say: Is told what is in the store already.
        hub: As lm-eval's `--hf_hub_log_args`.

    Raises:
        HubError: hub options that can't work.
    """

    def __init__(
        self,
        model: str,
        model_args: Mapping[str, Any],
        output_path: Path,
        *,
        store: Path | None = None,
        keep: bool = True,
        batch_size: str | None = None,
        device: str | None = None,
        name: str | None = None,
        seed: int = 1234,
        verbose: bool = False,
        say: Callable[[str], None] | None = None,
        hub: Mapping[str, Any] | None = None,
    ) -> None:
        quiet(verbose)
        check_hub(hub or {})
        self.hub = dict(hub or {})
        check_writable(output_path)
        self.model, self.output_path, self.seed = model, output_path, seed
        self.model_args = dict(model_args)
        if model == "vllm":  # personas and questions share the beginnings of their prompts
            self.model_args.setdefault("enable_prefix_caching", True)
        self.batch_size = self._one_of("batch_size", batch_size)
        check_batch_size(self.batch_size)
        self.device = self._one_of("device", device) or DEFAULT_DEVICE
        self.name = name
        self.store = (store or output_path / "store") if keep else None
        self.say = say or (lambda _: None)
        self._lm: LM | None = None
        self._record_log: RecordLog | None = None

    def _one_of(self, name: str, given: str | None) -> str | None:
        """What lm-eval takes as a flag or as a model argument, but not as both."""
        own = self.model_args.pop(name, None)
        if given is not None and own is not None and str(given) != str(own):
            raise RunError(
                f"--{name.replace('_', '-')} {given} and {name}={own} in --model-args differ: "
                "give one of them"
            )
        return given if given is not None else own and str(own)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        if stopped and int(getattr(self._lm, "rank", 0)) == 0:
            self.say(f"\n{self.interrupted()}")  # a progress bar may stand on the line
        self.close()

    def interrupted(self) -> str:
        """What to tell of a run that was stopped by hand: what is stored, and how to go on."""
        if self.store is None:
            return "Interrupted: this run keeps no store, so the same command starts again"
        record_log = self._record_log if self._record_log is not None else ()
        asked = self._lm.asked if isinstance(self._lm, CachingLM) else set()
        if not asked and not len(record_log):
            return "Interrupted before anything was asked: the same command starts again"
        done = f"{sum(key in record_log for key in asked):,} of {len(asked):,}"
        return (
            f"Interrupted: {done if asked else f'{len(record_log):,}'} responses are stored in "
            f"{self.store}; the same command goes on from there"
        )

    def close(self) -> None:
        """Lets go of the store and of the model."""
        if self._record_log is not None:
            self._record_log.close()
        self._lm = self._record_log = None

    @property
    def lm(self) -> LM:
        """The model, loaded when first asked for."""
        if self._lm is None:
            found = fingerprint(self.model, self.model_args) if self.store else None
            if found is not None:
                self._open(found)  # before the model is loaded: a damaged store is told at once
            self._lm = model_class(self.model).create_from_arg_obj(
                dict(self.model_args), {"batch_size": self.batch_size, "device": self.device}
            )
            self._pin_date()
            if found is not None and self._record_log is not None:
                self._lm = CachingLM(self._lm, self._record_log, found.digest, self.seed, self.say)
        return self._lm

    def run(
        self,
        asked: Sequence[Asked],
        *,
        output_path: Path | None = None,
        seed: int | None = None,
        limit: float | None = None,
        confirm_run_unsafe_code: bool = False,
        apply_chat_template: bool = True,
        system_instruction: str | None = None,
        fewshot_as_multiturn: bool | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> str:
        """Runs tasks together, so that all their prompts reach the backend together.

        Args:
            output_path: Where results go, if not into the session's folder.
            seed: If not the session's.
            fewshot_as_multiturn: As lm-eval's, for tasks with few-shot examples.
            record: What each task's record in the results file says besides.

        Returns, Raises: As `run`.
        """
        import lm_eval

        folder = output_path or self.output_path
        tasks = load_tasks(
            asked, self.model_args, limit=limit, confirm_run_unsafe_code=confirm_run_unsafe_code
        )
        if self._lm is None and apply_chat_template:
            check_chat_template(self.model, self.model_args)  # quick; the weights are not
        parts = [part for each in tasks for part in parts_of(each)]
        check_kinds(parts, self.model)
        for notice in dict.fromkeys(notice for part in parts for notice in part.notices):
            self.say(notice)
        tracker = tracker_for(folder, self.hub)
        seed = self.seed if seed is None else seed
        if isinstance(self.lm, CachingLM):
            self.lm.seed = seed
            self.lm.starts()
        note = self._note(asked, folder, limit, seed, apply_chat_template, system_instruction)
        if isinstance(self.lm, CachingLM) and note is not None:
            self.lm.before = note.write
        self._converse(parts, limit, apply_chat_template, system_instruction,
                       multiturn(fewshot_as_multiturn, apply_chat_template))  # fmt: skip
        _silence_git()
        results = lm_eval.simple_evaluate(
            model=self.lm,
            model_args=without_secrets(self.model_args),
            tasks=tasks,
            batch_size=self.batch_size,
            device=self.device,
            limit=limit,
            apply_chat_template=apply_chat_template,
            system_instruction=system_instruction,
            fewshot_as_multiturn=multiturn(fewshot_as_multiturn, apply_chat_template),
            task_manager=_task_manager({}),
            evaluation_tracker=tracker,
            log_samples=True,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
            confirm_run_unsafe_code=confirm_run_unsafe_code,
        )
        if isinstance(self.lm, CachingLM) and self.lm.failed:
            self.say(failures(self.lm.failed))
        if results is None:
            return ""
        results["config"]["model"] = self.model
        if isinstance(self.lm, CachingLM):
            for task, adapted in self.lm.adapted.items():
                told = results["configs"][task]["metadata"]["persona_bench"]
                told["parameters_adapted"] = adapted
        for config in results["configs"].values():
            config["metadata"]["persona_bench"].update(record or {})
        general = tracker.general_config_tracker
        general.model_name = self.name or general.model_name
        general.model_name_sanitized = short_name(sanitize_model_name(str(general.model_name)))
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for task in results["configs"]:
            tracker.save_results_samples(task_name=task, samples=samples[task])
        _check_written(folder, tracker)
        forget_unfinished(folder / general.model_name_sanitized, results["configs"])
        if note is not None:
            note.remove()
        finish_push(tracker)
        return str(make_table(results))

    def _converse(
        self,
        tasks: Sequence[Any],
        limit: float | None,
        apply_chat_template: bool,
        system_instruction: str | None,
        as_turns: bool,
    ) -> None:
        """Holds the conversations that the questions of some tasks follow."""
        talking = [task for task in tasks if task.turns]
        if not talking:
            return
        if not apply_chat_template:
            raise RunError("turns in --metadata needs a chat template: leave its option out")
        conversations = begin(talking, system_instruction, limit)
        for task in talking:
            check_room(task, self.lm, system_instruction, as_turns)
        rounds = sum(each.rounds for each in conversations)
        self.say(
            f"First {len(conversations):,} conversations of up to "
            f"{max(each.rounds for each in conversations)} rounds ({rounds:,} replies)"
        )
        hold(conversations, self.lm)
        if told := ended_early(conversations, talking):
            self.say(told)
        for task in talking:
            put_into_documents(task)
        if isinstance(self.lm, CachingLM):  # what is said of both is about the questions
            self.lm.failed.clear()
            self.lm.adapted.pop(NAME, None)

    def _note(
        self,
        asked: Sequence[Asked],
        folder: Path,
        limit: float | None,
        seed: int,
        apply_chat_template: bool,
        system_instruction: str | None,
    ) -> Note | None:
        """What is asked, by which the stored part of a stopped run can be graded."""
        if self.store is None or not isinstance(self.lm, CachingLM):
            return None
        secret = ("header", "auth_token")
        named = GeneralConfigTracker._get_model_name(self.model_args)
        whole = RunFacts(
            limit=limit,
            apply_chat_template=apply_chat_template,
            system_instruction=system_instruction,
            seed=seed,
            model=self.model,
            model_args={k: v for k, v in self.model_args.items() if k not in secret},
            name=self.name or named or self.model,
            fingerprint=self.lm.fingerprint,
            folder=os.path.relpath(folder, self.store.parent),
            think_end_token=getattr(self.lm, "think_end_token", None),
            tasks=[asdict(each) for each in asked],
        )
        return Note(self.store, whole, self.lm.rank)

    def _pin_date(self) -> None:
        """Holds the date that the chat template prints at the day of the folder's first run."""
        if not prints_date(self._lm):
            return
        day = first_date(self.store, record=True)
        pin_date(self._lm, day)
        if day != today():
            self.say(f"The chat template prints the date: {day}, as in this folder's first run")

    def _open(self, found: Fingerprint) -> None:
        self._record_log = generations(self.store or self.output_path, found)
        if self._record_log.torn:
            torn = self._record_log.torn
            self.say(f"{torn} record(s) were cut off when a run ended: they are generated again")


def _silence_git() -> None:
    """Keeps lm-eval from asking git for a commit where git would only print that there is none."""
    from lm_eval import evaluator

    with suppress(OSError):  # without git there is no complaint
        done = subprocess.run(["git", "rev-parse"], capture_output=True, check=False)
        if done.returncode:
            evaluator.get_git_commit_hash = lambda: None


def multiturn(given: bool | None, apply_chat_template: bool) -> bool:
    """Whether few-shot examples are turns of the conversation, as the `lm_eval` command decides."""
    return apply_chat_template if given is None else given


def check_kinds(tasks: Iterable[Any], model: str) -> None:
    """Refuses tasks whose requests a backend can't answer.

    Raises:
        RunError: likelihoods are wanted from an endpoint that has none.
    """
    for task in tasks:
        if task.OUTPUT_TYPE != "generate_until" and ("chat" in model or "anthropic" in model):
            raise RunError(
                f"{task.task_name} compares likelihoods ({task.OUTPUT_TYPE}), which {model} does "
                "not give: use hf, vllm or local-completions, or a task that generates its answers"
            )


def failures(failed: Mapping[str, str]) -> str:
    """What to tell of requests that failed for good, from their keys and errors."""
    (error, count), *others = Counter(failed.values()).most_common()
    more = f" and {len(others)} other errors" if others else ""
    return (
        f"{len(failed):,} responses are unscored, as their requests failed for good ({count:,} x "
        f"{error}{more}): the same command asks for them again"
    )


def generations(store: Path, found: Fingerprint) -> RecordLog:
    """A model's generations in a store."""
    about = {"kind": "generations", "fingerprint": found.digest, "model": found.parts}
    return RecordLog(store / "generations" / found.digest[:16], about)


def check_tasks(names: Iterable[str], include_path: Sequence[str] = ()) -> None:
    """Whether there are such tasks.

    Raises:
        RunError, WrapError, QuestionsError: one there is not; names the nearest.
    """
    own = task_names()
    for name in names:
        if name in own:
            continue
        if is_own_data(name):
            benchmark_named(name)
            continue
        close = get_close_matches(name, own, n=1, cutoff=0.8)
        if close and not include_path:  # before lm-eval's tasks are read, which takes a while
            raise RunError(f"no task {name!r}: did you mean {close[0]!r}?")
        plan(name, include_path)


def parts_named(asked: Asked) -> list[str]:
    """The names of a task's or group's own tasks, in the results as well."""
    if is_own_data(asked.task):
        return [asked.task]
    if asked.task not in task_names():
        found = plan(asked.task, asked.include_path)
        return [each.task_name if is_planned(each) else PREFIX + each.task_name for each in found]
    settings = load_yaml(resource_folder("tasks") / f"{asked.task}.yaml", resolve_func=False)
    return list(settings["task"]) if "group" in settings else [asked.task]


def load_tasks(
    asked: Sequence[Asked],
    model_args: Mapping[str, Any],
    *,
    limit: float | None = None,
    confirm_run_unsafe_code: bool = False,
) -> list[Any]:
    """lm-eval's task objects, with their documents: whatever is wrong with them is said here.

    Raises:
        RunError: an unknown task, or one that runs programs and was not confirmed.
        WrapError: a task of lm-eval's that can't be put under personas.
        KnobError, PersonaSetError, SourceError: what is wrong with a knob, a set, or the data.
    """
    loaded: list[Any] = []
    for each in asked:
        check_tasks([each.task], each.include_path)
        _check_asked(each, confirm_run_unsafe_code)
    for each in asked:
        passed = without_secrets(model_args)
        if is_own_data(each.task):  # a model's revision is no dataset's
            own = benchmark_named(each.task).knobs
            passed = {name: value for name, value in passed.items() if name not in own}
        for tasks, group in _build(each, {**passed, **each.metadata}):
            for task in tasks:
                if each.num_fewshot is not None and task.config.num_fewshot != 0:  # as lm-eval does
                    task.set_config("num_fewshot", each.num_fewshot)
                if each.gen_kwargs and task.OUTPUT_TYPE == "generate_until":
                    given = dict(each.gen_kwargs)
                    task.set_config(key="generation_kwargs", value=given, update=True)
                task.check(limit)
            loaded += [group] if group is not None else tasks
    return loaded


def _build(each: Asked, metadata: dict[str, Any]) -> list[tuple[list[Any], Any]]:
    """The tasks of what is asked, and their group where they have one; for each number of turns."""
    if metadata.get("turns") is None:
        return [_build_once(each, metadata)]
    found = []
    for turns in numbers_of_turns(metadata["turns"]):
        tasks, group = _build_once(each, {**metadata, "turns": turns})
        suffix = f"_turns{turns}" if turns else ""
        for task in tasks:
            task.config.task += suffix
        for part in [] if group is None else (*reversed(group.get_all_groups()), group):
            part.name += suffix
            part._children = {getattr(each, "task_name", None) or each.name: each for each in part}
        found.append((tasks, group))
    return found


def _build_once(each: Asked, metadata: dict[str, Any]) -> tuple[list[Any], Any]:
    if is_own_data(each.task):
        return [own_data_task(each.task, metadata)], None
    if each.task not in task_names():
        return build(each.task, metadata, each.include_path)
    found = _task_manager(metadata).load([each.task])
    return list(found["tasks"].values()), found["groups"].get(each.task)


def _check_asked(each: Asked, confirmed: bool) -> None:
    """What can be known to be wrong before documents are loaded.

    Raises:
        RunError: it runs programs, and that was not confirmed.
        KnobError: an impossible knob.
    """
    if is_own_data(each.task) or each.task in task_names():
        check_knobs(each.metadata, _benchmarks_of(each.task))
        if is_own_data(each.task):
            unsafe = knobs_of(each.metadata, each.task)[1].unsafe_code
        else:
            file = resource_folder("tasks") / f"{each.task}.yaml"
            unsafe = bool(load_yaml(file, resolve_func=False).get("unsafe_code"))
        where = "in a sandbox (docs/livecodebench.md)"
    else:
        planned = plan(each.task, each.include_path)
        unsafe = any(task.config.get("unsafe_code") for task in planned)
        where = "as you, without a sandbox, as lm-eval does"
    if unsafe and not confirmed:
        raise RunError(
            f"{each.task} runs programs that a model wrote, {where}: add --confirm_run_unsafe_code"
        )


def _benchmarks_of(task: str) -> list[str]:
    """The benchmarks of a task of this project's, or of a group's tasks."""
    if is_own_data(task):
        return [task]
    settings = load_yaml(resource_folder("tasks") / f"{task}.yaml", resolve_func=False)
    if "group" in settings:
        return [name for part in settings["task"] for name in _benchmarks_of(part)]
    return [settings["dataset_kwargs"]["benchmark"]]


def _task_manager(metadata: dict[str, Any]) -> TaskManager:
    # reading lm-eval's own tasks takes eight seconds and more at every start
    return TaskManager(
        include_path=str(resource_folder("tasks")), include_defaults=False, metadata=metadata
    )


def quiet(verbose: bool = False) -> None:
    """Shows of lm-eval's log only the warnings, unless it is wanted."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO" if verbose else "WARNING")
    for name in ("lm_eval", "lm-eval"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)


def check_batch_size(size: str | None) -> None:
    """Refuses a batch size that no backend takes.

    Raises:
        RunError: neither a whole number nor `auto` or `auto:N`.
    """
    if size is not None and not re.fullmatch(r"[1-9]\d*|auto(:\d+(\.\d+)?)?", str(size)):
        raise RunError(f"--batch-size {size} must be a whole number above 0, auto or auto:N")


def check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".persona-bench-probe"
        probe.touch()
        probe.unlink(missing_ok=True)  # several ranks may probe at once
    except OSError as error:
        raise RunError(
            f"the output folder {folder} can't be written ({error.strerror}): choose another "
            "with --output-path"
        ) from None


def _check_written(folder: Path, tracker: EvaluationTracker) -> None:
    """lm-eval only logs a warning where it could not save what was computed."""
    date = getattr(tracker, "date_id", "")
    if not date or not any(folder.rglob(f"samples_*{date}.jsonl")):
        raise RunError(f"lm-eval could not write its results into {folder}; is the disk full?")
