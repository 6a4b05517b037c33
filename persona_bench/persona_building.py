"""Persona sets that are made or changed here, and their YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from persona_bench.personas import KINDS, Persona, PersonaSet, PersonaSetError


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
        told = {"prompts": list(persona.prompts)} if persona.prompts else {"prompt": persona.prompt}
        keys: dict[str, Any] = {"id": persona.id, "kind": persona.kind, **told}
        more = {"domain": persona.domain, "level": persona.level, "note": persona.note}
        personas.append(keys | {key: value for key, value in more.items() if value})
    head = {"name": chosen.name, "version": chosen.version, "description": chosen.description}
    return yaml.safe_dump(
        {**head, "personas": personas}, sort_keys=False, allow_unicode=True, width=100
    )
