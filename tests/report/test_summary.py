"""The short view: the answer first, a line per persona, in thirty lines of eighty columns."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from persona_bench.report.summary import bar, cut, print_summary

LONG = [f"a-persona-with-a-very-long-name-indeed-{i}" for i in range(15)]


def printed(result, *, width: int = 80, **more: list[str]) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width)
    print_summary(result, title="task · model", console=console, **more)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("unscored", [0.0, 0.1])
def test_sixteen_personas_fit_thirty_lines_of_eighty_columns(made_up, unscored: float) -> None:
    chances = list(np.linspace(0.2, 0.8, 16))
    lines = printed(made_up(chances, names=["none", *LONG], unscored=unscored))
    assert len(lines) <= 28  # two more say where the files are
    assert max(map(len, lines)) <= 80
    assert sum("…" in line and "█" in line for line in lines) == 15


def test_all_that_a_run_can_measure_fits_thirty_lines_too(made_up) -> None:
    """Scored answers, wordings, placebos, voices and raters: each says two lines and more."""
    result = made_up(list(np.linspace(0.0, 0.8, 16)), unscored=0.05)
    more = [f"Measure {i}: " + "0.123 [0.045, 0.678], " * 6 for i in range(9)]
    must = ["Unfinished run: 12 of 640 responses."]
    lines = printed(result, more=more, must=must)
    assert len(lines) <= 28
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.startswith(("none ", "persona-"))]
    folded = next(line for line in lines if "between" in line)
    assert len(rows) >= 8
    assert len(rows) + int(folded.split()[1]) == 16
    assert lines[-1] == must[0]
    shown = sum(line.startswith("Measure") for line in lines)
    assert f"{9 - shown} more results: score --full" in lines


def test_hundreds_of_personas_are_folded_and_a_little_more_is_said_in_full(made_up) -> None:
    lines = printed(made_up(list(np.linspace(0.1, 0.9, 120))), more=["One thing more."])
    assert len(lines) == 28
    assert lines[-1] == "One thing more."
    rows = [line for line in lines if "[" in line and line.startswith(("none ", "persona-"))]
    folded = int(next(line for line in lines if "between" in line).split()[1])
    assert len(rows) + folded == 120


def test_the_answer_stands_in_the_first_line_under_the_title(made_up) -> None:
    result = made_up([0.9, 0.5, 0.1], names=["none", "pirate", "sleeper"])
    line = printed(result, width=500)[1]
    assert line.startswith(f"UNSTABLE  accuracy {result.worst:.2f} (sleeper) to ")
    low, high = result.pss_corrected.interval
    assert f"corrected PSS {result.pss_corrected:.2f} [{low:.2f}, {high:.2f}]" in line
    assert f"by chance alone {result.noise_floor:.2f}" in line
    assert "40 questions: few" in line


def test_ties_of_long_names_fit_the_line(made_up) -> None:
    lines = printed(made_up([0.0] * 4 + [1.0] * 3, names=LONG[:7]))
    assert max(map(len, lines)) <= 80
    assert lines[1].count("…") == 2
    assert lines[1].endswith(" +2)")


@pytest.mark.parametrize(
    ("chances", "word"),
    [
        ([0.5, 0.5], "UNDETERMINED  "),
        ([0.0, 0.0], "NOTHING CORRECT  accuracy 0.00 under every persona"),
        ([0.5], "ONLY ONE PERSONA  "),
    ],
)
def test_what_can_t_be_told_is_said_in_a_word(made_up, chances: list[float], word: str) -> None:
    assert printed(made_up(chances))[1].startswith(word)


def test_one_question_is_not_called_one_persona(made_up) -> None:
    assert printed(made_up([1.0, 1.0], questions=1))[1].startswith("ONLY ONE QUESTION  ")


def test_nothing_scored(made_up) -> None:
    lines = printed(made_up([0.5, 0.5], unscored=1.0))
    assert lines[1].startswith("NOTHING SCORED")
    assert any("Unscored: 80" in line for line in lines)
    assert any("api error 40" in line for line in lines)


def test_each_persona_has_its_accuracy_a_bar_and_the_main_reason(made_up) -> None:
    result = made_up([0.9, 0.2])
    rows = {row["persona"]: row for row in result.per_persona.to_dict("records")}
    for line in printed(result):
        if (row := rows.get(line.split(" ")[0])) is not None:
            name = max(("wrong_answer", "no_answer"), key=lambda reason: row[f"wrong:{reason}"])
            count = row[f"wrong:{name}"]
            assert f"{row['accuracy']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" in line
            assert line.rstrip().endswith(f"{name.replace('_', ' ')} {count}")
            assert bar(row["accuracy"]) in line


def test_bars_are_in_proportion() -> None:
    assert [bar(value, 4) for value in (0.0, 0.5, 1.0)] == ["", "██", "████"]
    assert bar(0.03, 4) == "▏"
    assert bar(float("nan")) == ""


def test_long_names_are_cut_in_the_middle() -> None:
    assert cut("short", 5) == "short"
    assert cut("abcdefghij", 5) == "ab…ij"
    assert len(cut("x" * 100, 24)) == 24
