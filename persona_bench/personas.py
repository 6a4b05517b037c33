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
        prompts:  # several wordings, from the shortest to the fullest; the last is the default
          - You are a pirate.
          - You are a pirate who answers everything as if at sea.

An error in a file is one sentence with the file, the line and what to do.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

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

from persona_bench.persona_faults import in_words, prompts_fault
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
    "placebo": "a system prompt without a role and without an instruction, for comparison",
}
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class PersonaSetError(ValueError):
    """A persona set that can't be used; the message says where and what to do."""


Wording = int | Literal["last", "all"]
"""Which wordings of its personas a set asks: the last, all, or the one with a number, from 1."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Persona:
    """One persona; values that a persona can't have raise pydantic's ValidationError.

    Attributes:
        id: Its name in tables and files: lower-case letters, digits and hyphens.
        kind: One of `KINDS`.
        prompt: The system message; empty only for a `control`, and then none is sent. Of several
            wordings the last.
        prompts: All wordings of it, if there are several; the last is `prompt`.
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
    prompts: tuple[str, ...] = ()

    @property
    def wordings(self) -> tuple[str, ...]:
        """All wordings of the system message; most personas have one."""
        return self.prompts or (self.prompt,)

    def asked(self, wording: Wording) -> list[tuple[int, str]]:
        """The number of each wording to ask, from 1, and its text; the last one first.

        A persona with fewer wordings than `wording` is asked in its last one.
        """
        numbered = list(enumerate(self.wordings, start=1))
        if wording == "all":
            return [numbered[-1], *numbered[:-1]]
        return [numbered[-1] if wording == "last" else numbered[min(wording, len(numbered)) - 1]]

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
    def _check_whole(self) -> Persona:
        if self.prompts and (self.prompts[-1] != self.prompt or not all(self.prompts)):
            raise ValueError(
                f"the last of the prompts of {self.id!r} must be its prompt, none empty"
            )
        if len(set(self.prompts)) < len(self.prompts):
            raise ValueError(f"two prompts of {self.id!r} are the same; remove one of them")
        if self.kind == "education" and self.level is None:
            raise ValueError(f"{self.id!r} needs a 'level' (1, 2, ... from the least schooling up)")
        return self


@dataclass(frozen=True)
class PersonaSet:
    """A named list of personas, in the order of its file.

    Attributes:
        wording: `last`, `all`, or the number of the wording that is asked (see `Persona.asked`).
    """

    name: str
    version: str
    description: str
    personas: tuple[Persona, ...]
    path: Path | None = None
    wording: Wording = "last"

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
        """A short hash of every id, kind and asked wording: equal exactly where the prompts are."""
        content = [
            (p.id, p.kind, *(text for _, text in p.asked(self.wording))) for p in self.personas
        ]
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
        return replace(self, personas=tuple(pool))

    def worded(self, wording: Wording) -> PersonaSet:
        """The same personas, of which other wordings are asked.

        Raises:
            PersonaSetError: no persona has as many wordings.
        """
        most = max(len(persona.wordings) for persona in self.personas)
        if wording not in ("last", "all") and not 1 <= int(wording) <= most:
            raise PersonaSetError(
                f"wording {wording} asked for, but no persona of {self.name!r} has more than "
                f"{most}: use 1 to {most}, last or all"
            )
        return replace(self, wording=wording)

    def beside(self, placebos: PersonaSet) -> PersonaSet:
        """These personas, and the placebos of another set after them.

        Raises:
            PersonaSetError: the other set has no placebo, or an id that is used here.
        """
        added = tuple(each for each in placebos if each.kind == "placebo")
        if not added:
            raise PersonaSetError(
                f"placebos: persona set {placebos.name!r} has no persona of kind 'placebo': use "
                f"{' or '.join(name for name in bundled_sets() if name.endswith('-placebos'))}, or "
                "a set with some"
            )
        if both := sorted({each.id for each in added} & {each.id for each in self}):
            raise PersonaSetError(
                f"placebos: the id {both[0]!r} is used in {self.name!r} and in {placebos.name!r}; "
                "rename one of the two"
            )
        return replace(self, personas=(*self.personas, *added))


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
        for key in [("prompt",), *(("prompts", i) for i in range(len(persona.prompts)))]:
            node = node_at(root, ("personas", place, *key))
            warn_of_comment(node, text, path, f"the prompt of {persona.id!r}")
    return persona_set


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
    told = texts(root, depth=5)
    if fault := prompts_fault(told, root, path):
        raise PersonaSetError(fault)
    try:
        found = _SetFile.model_validate(told)
    except ValidationError as error:
        keys = list(_SetFile.model_fields), [field.name for field in fields(Persona)]
        raise PersonaSetError(in_words(error, root, path, *keys)) from None
    ids: dict[str, int] = {}
    prompts: dict[str, str] = {}
    for place, persona in enumerate(found.personas):
        line = line_of(root, ("personas", place))
        if persona.id in ids:
            raise PersonaSetError(
                f"{path}:{line}: the id {persona.id!r} is already used on line {ids[persona.id]}; "
                "give each persona an id of its own"
            )
        for prompt in persona.wordings:
            if prompt in prompts:
                raise PersonaSetError(
                    f"{path}:{line}: {persona.id!r} has the same prompt as "
                    f"{prompts[prompt]!r}; remove one of them"
                )
            prompts[prompt] = persona.id
        ids[persona.id] = line
    return PersonaSet(found.name, found.version, found.description, tuple(found.personas), path)
