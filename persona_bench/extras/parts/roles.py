"""Which personas of a table stand on which side of a contrast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_bench.scoring.cells import Cells
from persona_bench.scoring.frames import labels

if TYPE_CHECKING:
    from persona_bench.personas import PersonaSet


@dataclass
class Roles:
    """Positions and masks of personas, in the order of `Cells.personas`."""

    kinds: list[str]
    control: int | None
    groups: dict[str, Any] = field(default_factory=dict)
    """The mask of personas by contrast, or of cells if the contrast depends on the subject."""
    irrelevant: Any = ()
    schooled: Any = ()
    places: Any = ()
    """The place of each of `schooled` in the order of schooling."""
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def assign(table: pd.DataFrame, cells: Cells, control: str, given: PersonaSet | None) -> Roles:
    """The roles in a checked table; `given` fills in what its personas' rows don't say.

    Raises ValueError for a persona_level that is not a number, or two labels for one persona
    or question.
    """
    personas = {p.id: p for p in given or ()}

    def of_each(column: str, attribute: str) -> list[str]:
        in_table = labels(table, "persona", column, cells.personas)
        values = [getattr(personas.get(name), attribute, None) for name in cells.personas]
        in_set = ["" if value is None else str(value) for value in values]
        return [own or spare for own, spare in zip(in_table, in_set, strict=True)]

    kinds = of_each("kind", "kind")
    where = cells.personas.index(control) if control in cells.personas else None
    roles = Roles(kinds, where)
    of_kind = np.array(kinds, dtype=object)
    _groups(roles, of_kind, _in_domain(table, cells, of_each("persona_domain", "domain")), control)
    _schooling(roles, of_kind, cells.personas, of_each("persona_level", "level"))
    return roles


def _groups(roles: Roles, kinds: Any, in_domain: Any, control: str) -> None:
    """Fills in the groups that are held against the control."""
    wanted = {
        "expertise_advantage": "expert",
        "adjacent_expert": "adjacent_expert",
        "layperson": "layperson",
        "robustness": "irrelevant",
    }
    for contrast, kind in wanted.items():
        if roles.control is None:
            roles.absent[contrast] = f"there is no persona {control} to compare with"
        elif not (kinds == kind).any():
            roles.absent[contrast] = f"there is no persona of kind {kind}"
        elif contrast == "robustness":
            roles.irrelevant = np.flatnonzero(kinds == kind)
        else:
            roles.groups[contrast] = kinds == kind
    if "expertise_advantage" not in roles.groups:
        return
    experts = roles.groups["expertise_advantage"]
    if in_domain is None:
        roles.notes.append(
            "expertise_advantage is over all experts: the outcomes don't say what they are experts "
            "in, or what the questions are about"
        )
    elif (experts & in_domain).any():
        roles.groups["expertise_advantage"] = experts & in_domain
    else:
        del roles.groups["expertise_advantage"]
        roles.absent["expertise_advantage"] = "no expert's domain is the field of any question"


def _in_domain(table: pd.DataFrame, cells: Cells, domains: list[str]) -> Any:
    """Mask of cells (questions, personas): the persona's domain is the question's subject, or the
    field of the whole benchmark. None where either side says nothing."""
    own = np.array([_plain(d) for d in domains], dtype=object)
    fields = [
        np.array([_plain(s) for s in labels(table, "question", column, cells.questions)], object)
        for column in ("subject", "domain")
    ]
    if not (own != "").any() or not any((f != "").any() for f in fields):
        return None
    return (own != "") & ((fields[0][:, None] == own) | (fields[1][:, None] == own))


def _plain(name: str) -> str:
    """`Counting & Probability` and `counting and probability` are one field."""
    return " ".join(name.casefold().replace("&", " and ").split())


def _schooling(roles: Roles, kinds: Any, personas: list[str], levels: list[str]) -> None:
    """Fills in the education personas that have a place in the order of schooling."""
    chosen = [i for i, k in enumerate(kinds) if k == "education" and levels[i]]
    try:
        places = [float(levels[i]) for i in chosen]
    except ValueError:
        bad = next(i for i in chosen if not levels[i].replace(".", "", 1).isdigit())
        raise ValueError(
            f"persona {personas[bad]}: persona_level is {levels[bad]!r}; give the place in the "
            "order of schooling as a number"
        ) from None
    if not (kinds == "education").any():
        roles.absent["education_tau"] = "there is no persona of kind education"
    elif not chosen:
        roles.absent["education_tau"] = "no education persona says its place in the order"
    elif len(set(places)) < 2:
        roles.absent["education_tau"] = "all education personas have the same place in the order"
    else:
        roles.schooled, roles.places = np.array(chosen), np.array(places)
