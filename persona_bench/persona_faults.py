"""What is wrong with the file of a persona set, in a sentence with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from persona_bench.yaml_files import line_of

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


def prompts_fault(told: Any, root: yaml.Node, path: Path) -> str:
    """What is wrong with the wordings of a persona; empty if nothing is.

    The last of the `prompts` of each persona becomes its `prompt`, in `told`.
    """
    for place, each in enumerate(_mappings(told)):
        if "prompts" not in each:
            continue
        where = f"{path}:{line_of(root, ('personas', place, 'prompts'))}: {each.get('id')!r}"
        if "prompt" in each:
            return (
                f"{where} has both 'prompt' and 'prompts'; put all its wordings into 'prompts', "
                "the default last"
            )
        listed = each["prompts"]
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            return f"{where}: 'prompts' must be a list of texts"
        if not listed:
            return f"{where} has no prompts; write one"
        each["prompt"] = listed[-1]
    return ""


def _mappings(told: Any) -> Iterator[dict[str, Any]]:
    """What a file says of each persona; an empty mapping where that is none."""
    listed = told.get("personas") if isinstance(told, dict) else None
    for each in listed if isinstance(listed, list) else ():
        yield each if isinstance(each, dict) else {}


def in_words(
    error: ValidationError,
    root: yaml.Node,
    path: Path,
    set_keys: Sequence[str],
    persona_keys: Sequence[str],
) -> str:
    """The first fault as a sentence with its line."""
    # a misspelt key is named before the key that is missing for it
    first = min(error.errors(), key=lambda each: each["type"] not in UNKNOWN_KEY)
    place = first["loc"]
    what, allowed = "a persona set", set_keys
    if len(place) > 1:
        what, allowed = "a persona", persona_keys
    key = str(place[-1]) if place else ""
    match first["type"]:
        case "missing":
            words = f"{key!r} is missing; add {'a list of personas' if key == 'personas' else 'it'}"
        case "extra_forbidden" | "unexpected_keyword_argument":
            close = get_close_matches(key, allowed, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "remove it"
            words = f"unknown key {key!r} ({hint}; {what} has {', '.join(allowed)})"
        case "string_type":
            words = f'{key!r} must be text; write it as text (empty is "")'
        case "list_type" | "too_short":
            words = "'personas' must be a list with at least one persona"
        case "model_type" | "dataclass_type":
            words = f"{what} must be a mapping with the keys {', '.join(allowed)}"
        case _:
            words = first["msg"].removeprefix("Value error, ")
    return f"{path}:{line_of(root, place)}: {words}"
