"""The gate between two stored runs: tested on each task, printed, and as JUnit XML."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pandas as pd
from rich.console import Console
from rich.text import Text

from persona_bench.report.fidelity import judges_in_words
from persona_bench.report.runs import scored_voice
from persona_bench.results.runs import read_runs
from persona_bench.results.table_files import NO_TASK
from persona_bench.scoring.comparable import CompareError
from persona_bench.scoring.gate import (
    Criterion,
    Gate,
    bound_level,
    fidelity_criterion,
    voice_criterion,
)
from persona_bench.scoring.gate import gate as test_gate
from persona_bench.scoring.sequential import early_of

FIDELITY_MARGIN = 0.2
"""Largest acceptable loss of fidelity, in points of 1 to 5, where none is given."""


def gate_runs(base: Path, new: Path, margins: Mapping[str, Any]) -> dict[str, Gate]:
    """The gate of each task that both runs have; a judged task is tested for its fidelity.

    Args:
        base, new: Results of one model each, of any kind that `read_runs` reads.
        margins: Arguments of `scoring.gate.gate`, and `margin_fidelity`.

    Raises:
        CompareError: no task in common, or runs that can't be compared.
    """
    of_accuracy = {name: value for name, value in margins.items() if name != "margin_fidelity"}
    of_fidelity = margins.get("margin_fidelity", FIDELITY_MARGIN)
    graded, judged, voices = read_tables(base)
    graded_new, judged_new, voices_new = read_tables(new)
    graded, graded_new = named_alike(graded, graded_new), named_alike(graded_new, graded)
    gates: dict[str, Gate] = {}
    for task in graded:
        if task in graded_new:
            gates[task] = test_gate(graded[task], graded_new[task], **of_accuracy)
            if task in voices and task in voices_new:
                old, changed = (graded[task], voices[task]), (graded_new[task], voices_new[task])
                gates[task] = _with_voice(gates[task], old, changed)
    for task in judged:
        if task in judged_new:
            criterion = fidelity_criterion(judged[task], judged_new[task], margin=of_fidelity)
            table = judged[task]
            note = f"judged by {judges_in_words(table)}"
            n_questions, n_personas = table["question"].nunique(), table["persona"].nunique()
            gates[task] = Gate((criterion,), n_questions, n_personas, 1, 0.05, (note,))
    if not gates:
        names = [", ".join([*g, *j]) or "none" for g, j in
                 ((graded, judged), (graded_new, judged_new))]  # fmt: skip
        raise CompareError(f"no task in common: {base} has {names[0]}, {new} has {names[1]}")
    return gates


def _with_voice(
    result: Gate,
    old: tuple[pd.DataFrame, pd.DataFrame],
    new: tuple[pd.DataFrame, pd.DataFrame],
) -> Gate:
    """A gate with the criterion of in-character accuracy, on the questions that both have.

    `old` and `new` hold outcomes, and the judges' verdicts on their voice. The margin is that of
    the mean accuracy.
    """
    both = set(old[0]["question"]) & set(new[0]["question"])
    a, b = (scored_voice(table[table["question"].isin(both)], said) for table, said in (old, new))
    if a is None or b is None:
        return result
    margin = next(each.margin for each in result.criteria if each.name == "mean accuracy")
    looked = [early for table, _ in (old, new) if (early := early_of(table))]
    level = bound_level(looked, result.level)
    criteria = (*result.criteria, voice_criterion(a, b, margin=margin, level=level))
    note = f"voice judged by {judges_in_words(a.judges)}"
    return replace(result, criteria=criteria, notes=(*result.notes, note))


class Tables(NamedTuple):
    """The tables of one checkpoint, by task."""

    graded: dict[str, pd.DataFrame]
    """Outcomes."""
    judged: dict[str, pd.DataFrame]
    """The judges' verdicts."""
    voices: dict[str, pd.DataFrame]
    """The judges' verdicts on the voice of graded responses."""


def read_tables(path: Path) -> Tables:
    """The tables of one checkpoint."""
    runs = read_runs([path])
    if len(runs) > 1:
        raise ValueError(f"{path} holds {len(runs)} models: give the folder of one of them")
    return Tables(runs[0].outcomes, runs[0].verdicts, runs[0].voices)


def named_alike(
    graded: Mapping[str, pd.DataFrame], others: Collection[str]
) -> dict[str, pd.DataFrame]:
    """Tables by task; one that names no task takes the name of the only task of another."""
    if set(graded) != {NO_TASK} or len(others) != 1:
        return dict(graded)
    (name,) = others
    return {name: graded[NO_TASK].assign(task=name)}


def print_gates(gates: Mapping[str, Gate], verdict: str) -> None:
    """Prints the verdict, and a line for each criterion of each task."""
    console = Console()
    console.print(Text(verdict.upper(), style="bold"))
    for task, result in gates.items():
        size = f"{result.n_questions} questions × {result.n_personas} personas"
        console.print(Text(f"{task}: {size}"))
        for criterion in result.criteria:
            console.print(Text(f"  {_line(criterion)}"), soft_wrap=True)
        for note in result.notes:
            console.print(Text(f"  Note: {note}."), soft_wrap=True)


def _line(criterion: Criterion) -> str:
    numbers = (
        f"{criterion.difference:+.3f} [{criterion.low:+.3f}, {criterion.high:+.3f}], margin "
        f"{criterion.margin:g}"
    )
    detail = f" ({criterion.detail})" if criterion.detail else ""
    return f"{criterion.verdict:<10}  {criterion.name}: {numbers}{detail}"


def junit_xml(gates: Mapping[str, Gate]) -> str:
    """A test suite per task; a criterion that can't be decided is an error, not a failure."""
    suites = ElementTree.Element("testsuites", name="persona-bench gate")
    for task, result in gates.items():
        verdicts = [criterion.verdict for criterion in result.criteria]
        attributes = {
            "tests": str(len(verdicts)),
            "failures": str(verdicts.count("fail")),
            "errors": str(verdicts.count("can't tell")),
        }
        suite = ElementTree.SubElement(suites, "testsuite", {"name": task, **attributes})
        for criterion in result.criteria:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"persona_bench.gate.{task}", name=criterion.name
            )
            kind = {"fail": "failure", "can't tell": "error"}.get(criterion.verdict)
            if kind:
                ElementTree.SubElement(case, kind, type=criterion.verdict, message=_line(criterion))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
