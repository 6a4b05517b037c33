"""Finding tasks by name: this project's, lm-eval's own, and those of the user's folders.

Groups and tags are expanded by lm-eval's own factory, so that overrides and nesting mean what they
mean there; here it only builds something else of each task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from lm_eval.api.group import Group
from lm_eval.config.group import AggMetricConfig
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind
from lm_eval.tasks._yaml_loader import load_yaml

from persona_bench.harness.knobs import knobs_of
from persona_bench.harness.tasks import PersonaTask
from persona_bench.harness.wrap import BUILT_IN, PREFIX, WrapError, WrappedTask, refusal
from persona_bench.resources import resource_folder

FILE_TOKENS = 2048
"""Tokens that a response to a question of the user may have, unless --gen_kwargs says otherwise."""
GROUP_METRICS = ("acc", "pss")
"""What a group of wrapped tasks averages, each task counting alike."""


@dataclass
class Planned:
    """A task as its YAML describes it; nothing is downloaded.

    Attributes:
        task_name: As lm-eval calls it.
        file: Its YAML file.
        overrides: What a group lays over the file.
        config: All of it; functions stay names.
    """

    task_name: str
    file: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The file as `wraps` names it: built-in tasks relative to lm-eval's folder of tasks."""
        file = self.file.resolve()
        return str(file.relative_to(BUILT_IN) if file.is_relative_to(BUILT_IN) else file)


class _Planner(TaskFactory):
    """Describes tasks instead of building them."""

    def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Any:
        if entry.yaml_path is None:
            raise WrapError(f"{entry.name} has no YAML file that could be wrapped")
        config = load_yaml(entry.yaml_path, resolve_func=False)
        more = {key: value for key, value in (overrides or {}).items() if key != "task"}
        return Planned(entry.name, Path(entry.yaml_path), more, {**config, **more})


class _Wrapper(TaskFactory):
    """Builds tasks with personas around them."""

    def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Any:
        config = self._load_full_config(entry, overrides)
        if isinstance(kind := config.get("class"), type) and issubclass(kind, PersonaTask):
            return super()._build_task(entry, overrides)
        name = PREFIX + config["task"]
        return WrappedTask({"task": name, "metadata": dict(self._meta), "wrapped": config})


@lru_cache(maxsize=8)
def _index(include_path: tuple[str, ...], built_in: bool) -> dict[str, Entry]:
    """All tasks by name; reading lm-eval's own takes eight seconds and more."""
    folders = [str(resource_folder("tasks")), *include_path]
    return TaskManager(include_path=folders, include_defaults=built_in).task_index


def find(name: str, include_path: Sequence[str] = ()) -> tuple[Entry, dict[str, Entry]]:
    """The task, group or tag of a name; `persona_NAME` is NAME where there is no such task.

    Args:
        name: As lm-eval calls it.
        include_path: Folders of further tasks; their tasks go before lm-eval's own.

    Returns:
        The entry, and the index that its members are found in.

    Raises:
        WrapError: there is none; names the nearest.
    """
    for folder in include_path:
        if not Path(folder).is_dir():
            raise WrapError(f"--include_path {folder}: there is no such folder")
    names = (name, name.removeprefix(PREFIX))
    if include_path:
        entries = _index(tuple(include_path), built_in=False)
        for each in names:
            if each in entries and _stands_alone(entries[each], entries):
                return entries[each], dict(entries)
    entries = _index(tuple(include_path), built_in=True)
    for each in names:
        if each in entries:
            return entries[each], dict(entries)
    close = get_close_matches(name, entries, n=3)
    raise WrapError(
        f"no task {name!r}: "
        + (f"did you mean {', '.join(close)}?" if close else "lm_eval ls tasks lists all")
    )


def _stands_alone(entry: Entry, entries: Mapping[str, Entry]) -> bool:
    """Whether an entry needs none but the known ones."""
    if entry.kind is not Kind.GROUP:
        return entry.kind is not Kind.TAG
    members = (entry.cfg or {}).get("task") or []
    names = [each if isinstance(each, str) else each.get("task") for each in members]
    return all(isinstance(name, str) and name in entries for name in names)


def plan(name: str, include_path: Sequence[str] = ()) -> list[Planned]:
    """The tasks of a task, group or tag, in lm-eval's order, each checked by its configuration.

    Raises:
        WrapError: there is no such task, or one of a kind that can't be put under personas.
    """
    entry, registry = find(name, include_path)
    built: Any = _Planner().build(entry, overrides=None, registry=registry)
    leaves = list(_leaves(built if isinstance(built, list) else [built]))
    for each in leaves:
        if problem := refusal(each.config):
            raise WrapError(f"{each.task_name} can't be put under personas: {problem}")
    return leaves


def _leaves(items: Any) -> Iterator[Planned]:
    for item in items:
        if isinstance(item, Group):
            yield from _leaves(item)
        else:
            yield item


def is_planned(task: Planned) -> bool:
    """Whether a task's YAML has personas already."""
    return ".harness.wrap." in str(task.config.get("class")) or ".harness.tasks." in str(
        task.config.get("class")
    )


def build(
    name: str, metadata: Mapping[str, Any], include_path: Sequence[str] = ()
) -> tuple[list[PersonaTask], Group | None]:
    """A task, group or tag with personas around every task.

    Args:
        name: As lm-eval calls it.
        metadata: The knobs, and what else the run passes to tasks.
        include_path: Folders of further tasks.

    Returns:
        The tasks, and the group where the name is one's.

    Raises:
        WrapError, KnobError, PersonaSetError: see `WrappedTask`.
    """
    entry, registry = find(name, include_path)
    built: Any = _Wrapper(meta=dict(metadata)).build(entry, overrides=None, registry=registry)
    if not isinstance(built, Group):
        return (built if isinstance(built, list) else [built]), None
    for group in (built, *built.get_all_groups()):
        group.aggregate_metric_list = [
            AggMetricConfig(metric=metric, weight_by_size=False) for metric in GROUP_METRICS
        ]
    tasks: Any = built.get_all_tasks()
    return tasks, built


def write_wrapped(names: Sequence[str], out: Path, include_path: Sequence[str] = ()) -> list[Path]:
    """Writes YAML files of wrapped tasks, for `lm_eval --include_path OUT`.

    Args:
        names: Tasks, groups or tags.
        out: The folder; files of the same names are replaced.
        include_path: Folders of further tasks.

    Returns:
        The files: one for each task, and one for each name that stands for several.

    Raises:
        WrapError: see `plan`; nothing is written then.
    """
    files: dict[Path, str] = {}
    for name in names:
        planned = plan(name, include_path)
        for each in planned:
            if is_planned(each):
                raise WrapError(f"{each.task_name} has personas already: run it as it is")
            if not _is_plain(each.overrides):
                raise WrapError(
                    f"{each.task_name}: the group {name} lays functions over it, which a YAML "
                    "file can't hold: wrap the task by its own name"
                )
            file, text = out / f"{PREFIX}{each.task_name}.yaml", _task_yaml(each)
            if files.setdefault(file, text) != text:
                raise WrapError(
                    f"{each.task_name} is asked for twice, and the group {name} lays other "
                    "settings over it: wrap the group into a folder of its own"
                )
        if len(planned) > 1 or planned[0].task_name != name:
            files[out / f"{PREFIX}{name}.yaml"] = _group_yaml(name, planned)
    out.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool))


def _task_yaml(task: Planned) -> str:
    more = {"overrides": dict(task.overrides)} if task.overrides else {}
    unsafe = {"unsafe_code": True} if task.config.get("unsafe_code") else {}
    settings = {"task": PREFIX + task.task_name, "wraps": task.source, **more, **unsafe}
    return (
        f"# lm-eval's task {task.task_name} under personas; see docs/any-task.md of Persona Bench\n"
        "class: !function persona_bench.harness.wrap.WrappedTask\n"
        + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    )


def _group_yaml(name: str, tasks: Sequence[Planned]) -> str:
    settings = {
        "group": PREFIX + name,
        "task": [PREFIX + each.task_name for each in tasks],
        "aggregate_metric_list": [
            {"metric": metric, "weight_by_size": False} for metric in GROUP_METRICS
        ],
        "metadata": {"version": 1.0},
    }
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def own_data_task(name: str, metadata: Mapping[str, Any]) -> PersonaTask:
    """The task of a file of questions, or of a dataset of the hub.

    Args:
        name: `file:` and the path, or `hub:ORG/NAME`.
        metadata: The knobs.
    """
    benchmark = knobs_of(metadata, name)[1]
    config = load_yaml(resource_folder("tasks") / "_persona.yaml")
    config |= {
        "task": f"persona_{benchmark.name}",
        "dataset_kwargs": {"benchmark": name},
        "unsafe_code": benchmark.unsafe_code,
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": FILE_TOKENS},
        "metadata": {"version": 1.0, **metadata},
    }
    return PersonaTask(config)
