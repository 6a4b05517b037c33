"""Personas and persona sets: read, check, choose.

A set is a YAML file:

    name: mine
    version: 1
    description: What the set is for.
    personas:
      - id: none
        kind: control
        prompt: ""
      - id: pirate
        kind: speech
        prompt: You are a pirate who answers everything as if at sea.

An error in a file is one sentence with the file, the line and what to do.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from persona_bench.resources import resource_folder
from persona_bench.yaml_files import (
    Part,
    compose,
    key_twice,
    line_of,
    no_yaml,
    node_at,
    texts,
    warn_of_comment,
)

KINDS: dict[str, str] = {
    "control": "no persona: `none` sends no system message; or a plain assistant",
    "expert": "an expert in the benchmark's own field",
    "adjacent_expert": "an expert in a neighbouring field",
    "layperson": "someone whose work has nothing to do with the field",
    "education": "a level of schooling; `level` orders them",
    "character": "a figure with a story",
    "temperament": "a mood or a way of working",
    "speech": "a register, a dialect, a verse form",
    "irrelevant": "an attribute that should not matter: a name, a favourite colour",
    "harmful": "a persona that would drag the work down",
}
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


class PersonaSetError(ValueError):
    """A persona set that can't be used; the message says where and what to do."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Persona:
    """One persona; values that a persona can't have raise pydantic's ValidationError.

    Attributes:
        id: Its name in tables and files: lower-case letters, digits and hyphens.
        kind: One of `KINDS`.
        prompt: The system message; empty only for a `control`, and then none is sent.
        domain: The field of an `expert` or `adjacent_expert`, where given.
        level: The place of an `education` persona in the order of schooling.
        note: For people.
    """

    id: str
    kind: str
    prompt: str
    domain: str = ""
    level: int | None = None
    note: str = ""

    @field_validator("id")
    @classmethod
    def _check_id(cls, id_: str) -> str:
        if not _ID.fullmatch(id_):
            raise ValueError(
                f"the id {id_!r} must be lower-case letters, digits and single hyphens, "
                "such as 'maths-professor'"
            )
        return id_

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, kind: str) -> str:
        if kind not in KINDS:
            close = get_close_matches(kind, KINDS, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"unknown kind {kind!r}: {hint}use {', '.join(KINDS)}")
        return kind

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, prompt: str, info: ValidationInfo) -> str:
        if not prompt and info.data.get("kind") != "control":
            raise ValueError(
                f"{info.data.get('id')!r} has an empty prompt; write one (only a control may have "
                "none)"
            )
        return prompt

    @field_validator("level", mode="before")
    @classmethod
    def _check_level(cls, level: Any, info: ValidationInfo) -> int | None:
        id_ = info.data.get("id")
        if level is None:
            return None
        if info.data.get("kind") != "education":
            raise ValueError(f"{id_!r} has a 'level', which only kind 'education' has; remove it")
        if not (str(level).isdigit() and int(level) >= 1):
            raise ValueError(f"the level of {id_!r} must be a whole number from 1")
        return int(level)

    @model_validator(mode="after")
    def _check_education(self) -> Persona:
        if self.kind == "education" and self.level is None:
            raise ValueError(f"{self.id!r} needs a 'level' (1, 2, ... from the least schooling up)")
        return self


@dataclass(frozen=True)
class PersonaSet:
    """A named list of personas, in the order of its file."""

    name: str
    version: str
    description: str
    personas: tuple[Persona, ...]
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.personas)

    def __iter__(self) -> Iterator[Persona]:
        return iter(self.personas)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that occur, in the order of `KINDS`."""
        present = {persona.kind for persona in self.personas}
        return tuple(kind for kind in KINDS if kind in present)

    @property
    def fingerprint(self) -> str:
        """A short hash of every id, kind and prompt: equal exactly where the prompts are."""
        content = [(p.id, p.kind, p.prompt) for p in self.personas]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def choose(
        self, n: int | None = None, kinds: Sequence[str] | None = None, seed: int = 0
    ) -> PersonaSet:
        """A subset, in the order of the set.

        The draw goes round the kinds, so that they stay as balanced as the set allows.
        The first control persona is always among the chosen, as the baseline.

        Args:
            n: How many personas; None keeps all.
            kinds: Only these kinds; None keeps all.
            seed: Seed of the draw.

        Raises:
            PersonaSetError: an unknown kind, or more personas asked for than there are.
        """
        for kind in kinds or ():
            if kind not in self.kinds:
                raise PersonaSetError(
                    f"persona set {self.name!r} has no persona of kind {kind!r}; "
                    f"it has {', '.join(self.kinds)}"
                )
        pool = [p for p in self.personas if kinds is None or p.kind in kinds]
        if n is not None:
            if not 1 <= n <= len(pool):
                raise PersonaSetError(
                    f"{n} personas asked for, but the choice is from {len(pool)} "
                    f"(persona set {self.name!r}"
                    + (f", kinds {', '.join(kinds)}" if kinds else "")
                    + "): ask for between 1 and that many"
                )
            ids = {p.id for p in _draw_balanced(pool, n, seed)}
            pool = [p for p in pool if p.id in ids]
        return PersonaSet(self.name, self.version, self.description, tuple(pool), self.path)


def _draw_balanced(pool: Sequence[Persona], n: int, seed: int) -> list[Persona]:
    rng = random.Random(seed)
    baseline = next((p for p in pool if p.kind == "control"), None)
    by_kind: dict[str, list[Persona]] = {}
    for persona in pool:
        if persona is not baseline:
            by_kind.setdefault(persona.kind, []).append(persona)
    for members in by_kind.values():
        rng.shuffle(members)
    order = list(by_kind)
    rng.shuffle(order)
    if "control" in order and baseline is not None:  # the baseline was control's first turn
        order = [kind for kind in order if kind != "control"] + ["control"]
    chosen = [baseline] if baseline is not None else []
    while len(chosen) < n:
        for kind in order:
            if by_kind[kind] and len(chosen) < n:
                chosen.append(by_kind[kind].pop())
    return chosen


def bundled_sets() -> dict[str, Path]:
    """The sets that come with the project: name -> file."""
    return {path.stem: path for path in sorted(resource_folder("persona_sets").glob("*.yaml"))}


def near_copy(one: str, other: str) -> bool:
    """Whether two prompts are nearly the same: most of their words, or of their runs of three.

    Measured by Jaccard's index, above 0.6 of the words or 0.35 of the runs; empty prompts are no
    copies.
    """
    words = [re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower()) for text in (one, other)]
    if words[0] and words[0] == words[1]:
        return True
    runs = [set(zip(each, each[1:], each[2:], strict=False)) for each in words]
    return _jaccard(set(words[0]), set(words[1])) > 0.6 or _jaccard(*runs) > 0.35


def _jaccard(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def load_persona_set(name_or_path: str | Path) -> PersonaSet:
    """Read and check a set: one of `bundled_sets()` by name, or a YAML file by path.

    Raises:
        PersonaSetError: no such set, or a fault in it, with file, line and mend.
    """
    bundled = bundled_sets()
    if str(name_or_path) in bundled:
        return read_persona_set(bundled[str(name_or_path)])
    path = Path(name_or_path).expanduser()
    if path.suffix.lower() not in (".yaml", ".yml"):
        close = get_close_matches(str(name_or_path), bundled, n=1)
        raise PersonaSetError(
            f"no persona set {str(name_or_path)!r}: "
            + (f"did you mean {close[0]!r}? " if close else "")
            + f"use one of {', '.join(bundled)}, or the path of a .yaml file"
        )
    return read_persona_set(path)


def read_persona_set(path: str | Path) -> PersonaSet:
    """Read and check one YAML file.

    Raises:
        PersonaSetError: the first fault, with file, line and mend.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        root = compose(text, path, PersonaSetError)
    except FileNotFoundError:
        raise PersonaSetError(f"{path}: no such file; give the path of a persona set") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PersonaSetError(f"{path}: can't be read as UTF-8 text ({error})") from None
    except yaml.YAMLError as error:
        raise PersonaSetError(
            f"{no_yaml(error, text, path)}; mend the line (a prompt with a colon, a # or a quote "
            "in it goes behind `>-` on lines of its own)"
        ) from None
    if twice := key_twice(root):
        raise PersonaSetError(
            f"{path}:{twice.start_mark.line + 1}: the key {twice.value!r} stands twice; keep one"
        )
    persona_set = _persona_set(root, path)
    for place, persona in enumerate(persona_set):
        node = node_at(root, ("personas", place, "prompt"))
        warn_of_comment(node, text, path, f"the prompt of {persona.id!r}")
    return persona_set


def build_persona_set(name: str, kind: str, template: str, values: Sequence[str]) -> PersonaSet:
    """A set from one template and a list: the published studies' way of writing personas.

    Values of kind `education` are taken as ordered, from the least schooling up. The control
    `none` comes first, as the baseline.

    Args:
        name: Name of the set.
        kind: Kind of its personas; see `KINDS`.
        template: The prompt, with `{}` where the value goes: `You are a {}.`
        values: What goes there; their ids are made from them.

    Raises:
        PersonaSetError: no `{}` in the template, an unknown kind, or values whose ids meet.
    """
    if template.count("{}") != 1:
        raise PersonaSetError(f"the template {template!r} must hold {{}} once, for the value")
    if kind not in KINDS:
        raise PersonaSetError(f"unknown kind {kind!r}: use {', '.join(KINDS)}")
    personas = [Persona("none", "control", "")]
    for place, value in enumerate(values, start=1):
        id_ = "-".join(re.findall(r"[a-z0-9]+", value.lower()))
        if not id_ or any(id_ == persona.id for persona in personas):
            raise PersonaSetError(
                f"the value {value!r} gives no id of its own; reword or remove it"
            )
        level = place if kind == "education" else None
        personas.append(Persona(id_, kind, template.replace("{}", value.strip()), level=level))
    return PersonaSet(name, "1", f"{kind}: {template}", tuple(personas))


def dump_persona_set(chosen: PersonaSet) -> str:
    """The YAML of a set; `read_persona_set` reads it back."""
    personas = []
    for persona in chosen:
        keys: dict[str, Any] = {"id": persona.id, "kind": persona.kind, "prompt": persona.prompt}
        more = {"domain": persona.domain, "level": persona.level, "note": persona.note}
        personas.append(keys | {key: value for key, value in more.items() if value})
    head = {"name": chosen.name, "version": chosen.version, "description": chosen.description}
    return yaml.safe_dump(
        {**head, "personas": personas}, sort_keys=False, allow_unicode=True, width=100
    )


# ---------------------------------------------------------------------- what a file may hold


class _SetFile(Part):
    """A file with a persona set."""

    name: str
    version: str
    description: str
    personas: list[Persona] = Field(min_length=1)


def _persona_set(root: yaml.Node | None, path: Path) -> PersonaSet:
    """The set in the nodes of a file.

    Raises:
        PersonaSetError: the first fault, with its line.
    """
    if root is None:
        raise PersonaSetError(
            f"{path}:1: the file is empty; it needs {', '.join(_SetFile.model_fields)}"
        )
    try:
        found = _SetFile.model_validate(texts(root, depth=3))
    except ValidationError as error:
        raise PersonaSetError(_in_words(error, root, path)) from None
    ids: dict[str, int] = {}
    prompts: dict[str, str] = {}
    for place, persona in enumerate(found.personas):
        line = line_of(root, ("personas", place))
        if persona.id in ids:
            raise PersonaSetError(
                f"{path}:{line}: the id {persona.id!r} is already used on line {ids[persona.id]}; "
                "give each persona an id of its own"
            )
        if persona.prompt in prompts:
            raise PersonaSetError(
                f"{path}:{line}: {persona.id!r} has the same prompt as "
                f"{prompts[persona.prompt]!r}; remove one of them"
            )
        ids[persona.id], prompts[persona.prompt] = line, persona.id
    return PersonaSet(found.name, found.version, found.description, tuple(found.personas), path)


def _in_words(error: ValidationError, root: yaml.Node, path: Path) -> str:
    """The first fault as a sentence with its line."""
    # a misspelt key is named before the key that is missing for it
    first = min(error.errors(), key=lambda each: each["type"] not in UNKNOWN_KEY)
    place = first["loc"]
    what, allowed = "a persona set", list(_SetFile.model_fields)
    if len(place) > 1:
        what, allowed = "a persona", [field.name for field in fields(Persona)]
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
