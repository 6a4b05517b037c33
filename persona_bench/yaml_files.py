"""Settings in YAML files, checked by pydantic; an error is one sentence with its place."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails


class Part(BaseModel):
    """A mapping of a settings file, or the whole of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Whole = TypeVar("Whole", bound=Part)


def read_mapping(
    path: Path, what: str, error: type[Exception], prose: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: The file.
        what: What such a file is, for the message where it holds no mapping.
        error: What is raised.
        prose: Keys of texts that a model reads: a warning says where a ` #` cuts one off.

    Raises:
        error: no such file, no YAML, half of a surrogate pair, a key twice, no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = compose(text, path, error)
        data = None if root is None else yaml.SafeLoader("").construct_document(root)
        twice = key_twice(root)
    except OSError as fault:
        raise error(f"{path} can't be read ({fault.strerror})") from None
    except yaml.YAMLError as fault:
        raise error(no_yaml(fault, text, path)) from None
    except UnicodeDecodeError as fault:
        raise error(f"{path}: not YAML ({fault})") from None
    if twice is not None:
        line = twice.start_mark.line + 1
        raise error(f"{path}:{line}: the key {twice.value!r} stands twice; keep one")
    if not isinstance(data, dict):
        raise error(f"{path}: {what}")
    if isinstance(root, yaml.MappingNode):
        for key, node in root.value:
            if key.value in prose:
                warn_of_comment(node, text, path, str(key.value))
    return data


def compose(text: str, path: Path, error: type[Exception]) -> yaml.Node | None:
    """The nodes of a YAML text, in which JSON's escapes of a surrogate pair are one character.

    Args:
        text: The YAML.
        path: The file that it is from, for the message.
        error: What is raised for half of a pair.

    Raises:
        yaml.YAMLError: no YAML.
        error: half of a surrogate pair, which no model or file can take; names the line.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    for node in _scalars(root):
        try:
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise error(
                f"{path}:{_line_of_half(node, text)}: half of a surrogate pair stands there "
                'without its other half, as in "\\ud83d" without "\\ude00": write the '
                "character itself, or both halves"
            ) from None
    return root


def no_yaml(fault: yaml.YAMLError, text: str, path: Path) -> str:
    """Where and why a text is no YAML, in one sentence.

    A ` #` that cuts a text off often makes the line below it, or the end of the file, the fault.
    """
    mark = getattr(fault, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    said = f"{path}:{line}: not YAML ({getattr(fault, 'problem', None) or fault})"
    lines = text.splitlines()
    for number in range(min(line, len(lines)), max(line - 3, 0), -1):
        if _COMMENT.match(lines[number - 1]):
            return (
                f"{said}; in line {number} YAML reads a comment from ` #` on: put the text into "
                "quotes, if the # belongs to it"
            )
    return said


_COMMENT = re.compile(r"""[^#'"]*[^#'"\s]\s+#""")


def warn_of_comment(node: yaml.Node | None, text: str, path: Path, what: str) -> None:
    """Warns where a text without quotes ends at a ` #`, from which on YAML reads a comment.

    Args:
        node: The text's node.
        text: The whole YAML.
        path: The file that it is from.
        what: What the text is, for the message.
    """
    if not isinstance(node, yaml.ScalarNode) or node.style:  # quoted, or a block
        return
    rest = text[node.end_mark.index :].split("\n", 1)[0]
    if rest.lstrip().startswith("#"):
        warnings.warn(
            f"{path}:{node.end_mark.line + 1}: {what} ends before {rest.strip()[:40]!r}, which "
            "YAML reads as a comment: put the text into quotes, or behind >- on lines of its own, "
            "if that belongs to it",
            stacklevel=2,
        )


def _scalars(root: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """All texts and numbers, keys among them; once each, where aliases repeat them."""
    todo, met = [root], set()
    while todo:
        node = todo.pop()
        if node is None or id(node) in met:
            continue
        met.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.MappingNode):
            todo += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value


_SURROGATES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F])"
)


def _line_of_half(node: yaml.ScalarNode, text: str) -> int:
    start = node.start_mark.index
    for match in _SURROGATES.finditer(text, start, node.end_mark.index):
        if match["half"]:
            return text.count("\n", 0, match.start()) + 1
    return int(node.start_mark.line) + 1


def key_twice(root: yaml.Node | None) -> yaml.ScalarNode | None:
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


Place = Sequence[str | int]
"""Where in a file: keys, and places in lists, from the outermost inwards."""


def texts(node: yaml.Node, depth: int) -> Any:
    """The mappings, lists and texts of a node; `2` and `yes` stay texts, and null is None.

    What lies deeper than `depth` levels stays a node.
    """
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == "tag:yaml.org,2002:null" else str(node.value).strip()
    if depth == 0:
        return node
    if isinstance(node, yaml.SequenceNode):
        return [texts(each, depth - 1) for each in node.value]
    return {str(key.value): texts(value, depth - 1) for key, value in node.value}


def node_at(root: yaml.Node | None, place: Place) -> yaml.Node | None:
    """The node at a place; the innermost one around it if there is none."""
    node = root
    for step in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            node = {str(key.value): value for key, value in node.value}.get(str(step), node)
    return node


def line_of(root: yaml.Node | None, place: Place) -> int:
    """The line of a place in a file, counted from 1: that of its key, if it has one."""
    around = node_at(root, place[:-1]) if place else None
    if isinstance(around, yaml.MappingNode):
        for key, _ in around.value:
            if str(key.value) == place[-1]:
                return int(key.start_mark.line) + 1
    node = node_at(root, place)
    return int(node.start_mark.line) + 1 if node is not None else 1


def validated(
    model: type[Whole],
    data: Mapping[str, Any],
    path: Path,
    parts: Mapping[str, type[Any]],
    error: type[Exception],
) -> Whole:
    """The mapping as its model.

    Args:
        model: Pydantic model of the whole file.
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


def sentence(fault: ErrorDetails) -> str:
    """A fault of a value that stands in no file: `samples=0 should be greater than ...`."""
    if fault["type"] == "value_error":  # one of our own, which names the place
        return fault["msg"].removeprefix("Value error, ")
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{place} is missing"
    return f"{place}={fault['input']!r} {fault['msg'].partition(' ')[2]}"  # `Input should be ...`
