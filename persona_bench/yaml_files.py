"""Settings in YAML files, checked by pydantic, each fault said in one sentence with its place."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class Part(BaseModel):
    """A mapping of a settings file, or the whole of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Whole = TypeVar("Whole", bound=Part)


def read_mapping(path: Path, what: str, error: type[Exception]) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: The file.
        what: What such a file is, for the message where it holds no mapping.
        error: What is raised.

    Raises:
        error: no such file, no YAML, a key twice, no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data, twice = yaml.safe_load(text), _twice(yaml.compose(text, yaml.SafeLoader))
    except OSError as fault:
        raise error(f"{path} can't be read ({fault.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        mark = getattr(fault, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise error(f"{where}: not YAML ({getattr(fault, 'problem', fault)})") from None
    if twice is not None:
        line = twice.start_mark.line + 1
        raise error(f"{path}:{line}: the key {twice.value!r} stands twice; keep one")
    if not isinstance(data, dict):
        raise error(f"{path}: {what}")
    return data


def _twice(root: yaml.Node | None) -> yaml.ScalarNode | None:
    """A key that stands a second time in a mapping, of which YAML would take the last."""
    todo, met = [root], set()
    while todo:
        node = todo.pop()
        if id(node) in met:  # by an alias
            continue
        met.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        if isinstance(node, yaml.MappingNode):
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            names = [key.value for key in keys]
            for index, key in enumerate(keys):
                if names[index] in names[:index]:
                    return key
            todo += [value for _, value in node.value]
    return None


def validated(
    model: type[Whole],
    data: Mapping[str, Any],
    path: Path,
    parts: Mapping[str, type[Any]],
    error: type[Exception],
) -> Whole:
    """The mapping as its model.

    Args:
        model: Of the whole file.
        data: What is in it.
        path: For the message.
        parts: The models of the mappings within, by the key that they stand under.
        error: What is raised.

    Raises:
        error: an unknown key, a missing one, an impossible value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as fault:
        raise error(f"{path}: {_in_words(fault, model, parts)}") from None


def _in_words(error: ValidationError, model: type[Part], parts: Mapping[str, type[Any]]) -> str:
    """The first fault as a sentence that names the place."""
    # a misspelt key before what it leaves missing
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner = parts.get(str(first["loc"][0]), model) if len(first["loc"]) > 1 else model
        known = list(owner.model_fields)
        close = get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"use {', '.join(known)}"
        return f"there is no key {place!r}: {hint}"
    if first["type"] == "missing":
        return f"{place} is missing"
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f" (it is {given!r})" if isinstance(given, (str, int, float, bool, type(None))) else ""
    return f"{place + ': ' if place else ''}{message}{shown}"
