"""Ties outside the stability report: screening, traces and plans."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas as pd
from rich.console import Console

from persona_bench.commands.plan import plan
from persona_bench.extras.screening.report import print_screening
from persona_bench.extras.screening.rounds import screen
from persona_bench.extras.traces.identifiability import identifiability
from persona_bench.extras.traces.report import print_trace
from tests.extras.test_identifiability import responses


def printed(show, *arguments, **named) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(*arguments, title="t", console=console, **named)
    return "\n".join(" ".join(line.split()) for line in console.file.getvalue().splitlines())


def test_finalists_that_share_the_worst_accuracy_are_named_as_a_tie() -> None:
    rng = np.random.default_rng(0)
    questions, personas = [f"q{i:03d}" for i in range(300)], [f"p{i:02d}" for i in range(24)]
    right = pd.DataFrame(rng.random((300, 24)) < 0.7, index=questions, columns=personas)
    right[["p03", "p04"]] = False
    right[["p08", "p09"]] = True

    def ask(_: str, design: pd.DataFrame, samples: int) -> pd.DataFrame:
        table = design.loc[design.index.repeat(samples)].reset_index(drop=True)
        cells = zip(table["question"], table["persona"], strict=True)
        return table.assign(sample=0, correct=[float(right.loc[cell]) for cell in cells])

    result = screen(ask, questions, personas, budget=0.4)
    assert result.worst_personas == ["p03", "p04"]
    assert result.best_personas == ["p08", "p09"]
    assert result.to_dict()["worst_personas"] == ["p03", "p04"]
    assert "(p03, p04 (tie) / p08, p09 (tie))" in printed(print_screening, result)


def test_a_persona_that_is_taken_for_two_others_alike_names_both() -> None:
    found = identifiability(responses(6, 4), permutations=10)
    names = [f"p{i}" for i in range(4)]
    counts = [[2, 2, 2, 0], [0, 6, 0, 0], [1, 3, 1, 1], [1, 1, 1, 3]]
    axes = (pd.Index(names, name="persona"), pd.Index(names, name="taken for"))
    confusion = pd.DataFrame(counts, index=axes[0], columns=axes[1])
    text = printed(print_trace, dataclasses.replace(found, confusion=confusion), None)
    ends = {line.split()[0]: line.split("] ")[-1] for line in text.splitlines() if "] " in line}
    assert ends["p0"] == "p1, p2 (tie) 6"
    assert ends["p1"] == "6"
    assert ends["p2"] == "p1 6"
    assert ends["p3"] == "p0, p1, p2 (tie) 6"


def test_a_design_that_finds_nothing_says_none_rather_than_zero(capsys) -> None:
    plan(accuracy=0.3, questions=5, personas=6)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "one bad persona" in line]
    assert line.split()[3] == "none"
    assert "0.000" not in line
    assert float(line.split()[-1]) > 0
