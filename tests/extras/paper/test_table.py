"""Tables as Markdown, CSV and LaTeX: names are text, numbers are those of the results."""

from __future__ import annotations

import math
import shutil
import subprocess

import pandas as pd
import pytest

from persona_bench.extras.paper import leaderboard
from persona_bench.extras.paper.leaderboard import SORT_BY
from persona_bench.extras.paper.models import methods_table, models_table, personas_table
from persona_bench.extras.paper.significance import holm
from persona_bench.extras.paper.table import Column, Number, PaperTable, write_table
from persona_bench.report.latex import escape
from persona_bench.report.runs import Settings

NASTY = 'a_b & 50% #1 $x$ {y} \\input{/etc/passwd} ~^<>|"` [z] *w --- \x1b[31m'


def nasty() -> PaperTable:
    columns = [Column("model", align="l"), Column("accuracy", "[first] & set"), Column("n")]
    rows = [
        [NASTY, Number(0.4125, 0.3714, 0.455, "f"), Number(1600, digits=0)],
        ["[in brackets]", Number(math.nan), Number(0, digits=0)],
        ["*starred", Number(1.0), Number(12, digits=0)],
    ]
    return PaperTable("nasty", NASTY, columns, rows, notes=[NASTY, "[a] second note"])


def test_a_number_is_shown_with_its_interval_and_letter() -> None:
    text = nasty().markdown()
    assert "0.412<sup>f</sup> [0.371, 0.455] | 1,600 |" in text
    assert "| n/a | 0 |" in text
    assert "0.412$^{\\mathrm{f}}$ {\\scriptsize [0.371, 0.455]} & 1,600 \\\\" in nasty().latex()


def test_in_markdown_a_name_is_one_cell_and_no_markup() -> None:
    row = next(line for line in nasty().markdown().splitlines() if line.startswith("| a\\_b"))
    assert row.replace("\\|", "").count("|") == 4  # three cells
    for shown in ("\\<", "\\`", "\\*w", "\\x1b"):
        assert shown in row


def test_the_csv_has_the_numbers_as_they_are(tmp_path) -> None:
    md, csv, tex = write_table(nasty(), tmp_path / "tables")
    assert [path.name for path in (md, csv, tex)] == ["nasty.md", "nasty.csv", "nasty.tex"]
    table = pd.read_csv(csv)
    assert table["[first] & set accuracy"].tolist()[0] == 0.4125
    assert table["[first] & set accuracy low"].tolist()[0] == 0.3714
    assert table["n"].tolist() == [1600, 0, 12]


def test_latex_escapes_every_character_that_is_a_command() -> None:
    written = escape(NASTY)
    for command in ("\\input", "--"):
        assert command not in written
    for plain, safe in (("&", "\\&"), ("%", "\\%"), ("#", "\\#"), ("$", "\\$"), ("_", "\\_")):
        assert written.count(plain) == written.count(safe) > 0
    assert escape("[*") == "{[}{*}"  # else arguments of a line break


@pytest.mark.parametrize("stacked", [False, True])
def test_latex_compiles(tmp_path, made_up, stacked: bool) -> None:
    engine = shutil.which("tectonic") or shutil.which("pdflatex")
    if not engine:
        pytest.skip("no tectonic, no pdflatex: apt-get install texlive-latex-recommended")
    results = {"base_model": made_up([0.5, 0.4, 0.2]), "100% [tuned]": made_up([0.9, 0.8, 0.7])}
    table = nasty()
    table = PaperTable(table.name, table.caption, table.columns, table.rows, table.notes, stacked)
    parts = [table, models_table("task_1", results, {}), personas_table("task_1", results)]
    body = "\n".join(part.latex() for part in parts)
    source = "\\documentclass{article}\n\\usepackage{booktabs}\n"
    file = tmp_path / "paper.tex"
    file.write_text(f"{source}\\begin{{document}}\n{body}\n\\end{{document}}\n")
    quiet = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in engine else []
    done = subprocess.run(
        [engine, *quiet, file.name], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 5000


def test_models_stand_beside_each_other_with_their_own_numbers(made_up) -> None:
    results = {"a": made_up([0.5, 0.4, 0.2], unscored=0.05), "b": made_up([0.9, 0.8, 0.7])}
    table = models_table("task", results, {})
    assert [row[0] for row in table.rows] == ["a", "b"]
    for row, result in zip(table.rows, results.values(), strict=True):
        shown = {column.header: cell for column, cell in zip(table.columns, row, strict=True)}
        assert shown["accuracy"] == Number(result.mean, *result.mean.interval)
        assert (shown["plain PSS"].text, shown["plain PSS"].interval) == (f"{result.pss:.3f}", "")
        assert shown["noise floor"].interval
        corrected = Number(result.pss_corrected, *result.pss_corrected.interval)
        assert shown["corrected PSS"] == corrected
        assert shown["n"].value == result.n_responses - result.unscored
        assert shown["unscored"].value == result.unscored
    frame = table.frame().set_index("model")
    assert frame.loc["a", "pss_corrected_low"] == results["a"].pss_corrected.low
    assert "pss_low" not in frame
    assert frame.loc["a", "unscored"] == results["a"].unscored > 0


def test_personas_are_in_the_order_of_their_mean_over_the_models(made_up) -> None:
    results = {"a": made_up([0.1, 0.9, 0.2]), "b": made_up([0.1, 0.8, 0.3])}
    table = personas_table("task", results)
    assert [row[0] for row in table.rows] == ["persona-1", "persona-2", "none"]
    for row in table.rows:
        for cell, result in zip(row[2:], results.values(), strict=True):
            mine = result.per_persona.set_index("persona").loc[row[0]]
            assert (cell.value, cell.low, cell.high) == (mine.accuracy, mine.low, mine.high)
    assert len(table.frame()) == 6


def test_holm_is_stricter_the_more_is_looked_at() -> None:
    assert holm({"a": 0.03}, 0.05) == {"a"}
    assert holm({"a": 0.03, "b": 0.9}, 0.05) == set()
    assert holm({"a": 0.01, "b": 0.04, "c": math.nan}, 0.05) == {"a", "b"}
    assert holm({}, 0.05) == set()


def test_a_method_without_a_number_has_none(made_up) -> None:
    table = methods_table(["a", "b"], [], "a")
    assert [row[0] for row in table.rows] == ["a", "b"]
    assert "n/a" not in table.markdown()


def test_a_leaderboard_says_what_its_order_favours(made_up, monkeypatch) -> None:
    results = {"weak": made_up([0.2] * 4), "strong": made_up([0.9, 0.9, 0.9, 0.6])}
    monkeypatch.setattr(leaderboard, "stability", lambda table, **_: table)
    orders = {}
    for sort_by, favours in SORT_BY.items():
        table = leaderboard._stability("task", results, Settings(), sort_by)
        assert table.notes[0] == f"Ordered by {favours}."
        orders[sort_by] = [row[1] for row in table.rows]
    assert orders["worst"] == ["strong", "weak"]
    assert orders["pss_corrected"] == ["weak", "strong"]
