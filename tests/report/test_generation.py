"""Runs of different generation settings: never in one table, and named where they are compared."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from persona_bench.extras.paper.comparison import overview_table, page_table, task_tables
from persona_bench.extras.paper.leaderboard import leaderboards
from persona_bench.report.comparison import print_comparison
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.compose.models import (
    GradedModels,
    graded_models_section,
)
from persona_bench.report.runs import Settings, scored_outcomes
from persona_bench.results.runs import Run, TaskResults
from persona_bench.results.samples import Samples
from persona_bench.scoring.compare import Comparison, compare
from tests.scoring.simulated import outcomes_of

NOTE = "generated under different settings: max_gen_toks 40 and 80, temperature 0.0 and 0.8"
SENTENCE = f"base and tuned: {NOTE[0].upper()}{NOTE[1:]}."
SETTINGS = Settings(resamples=100)


def outcomes(correct: np.ndarray) -> pd.DataFrame:
    table = outcomes_of(correct, np.ones_like(correct)).assign(level="", kind="control")
    return table.assign(verdict=np.where(table["correct"] == 1, "correct", "wrong"), reason="")


@pytest.fixture(scope="module")
def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.binomial(1, 0.6, (12, 4)) for name in ("base", "tuned")}


@pytest.fixture(scope="module")
def compared(tables: dict[str, np.ndarray]) -> Comparison:
    a, b = (outcomes(each) for each in tables.values())
    found = compare(a, b, resamples=100)
    return replace(found, notes=(NOTE, *found.notes))


def test_the_terminal_says_it_above_the_numbers(compared: Comparison) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    print_comparison(compared, title="sums", a="base", b="tuned", console=console)
    text = console.export_text()
    assert text.count(NOTE) == 1
    assert text.index(NOTE) < text.index("Accuracy over personas")


@pytest.mark.slow
def test_tables_and_page_say_it(
    tables: dict[str, np.ndarray], compared: Comparison, tmp_path: Path
) -> None:
    frames = {name: outcomes(each) for name, each in tables.items()}
    scored = {name: scored_outcomes(each, SETTINGS) for name, each in frames.items()}
    models = GradedModels("sums", scored, frames, {"tuned": compared})
    gallery = Gallery(tmp_path, "made")
    assert graded_models_section(models, gallery).text[0] == SENTENCE
    assert SENTENCE in task_tables(models)[0].notes
    table = overview_table(["base", "tuned"], [models], [])
    assert table.notes[0] == SENTENCE
    assert SENTENCE in page_table(table).note
    alike = GradedModels("sums", scored, frames, {"tuned": replace(compared, notes=())})
    section, papers = graded_models_section(alike, gallery), task_tables(alike)
    assert "settings" not in " ".join([*section.text, *papers[0].notes])


def test_a_leaderboard_keeps_generation_settings_apart(tables: dict[str, np.ndarray]) -> None:
    def run(name: str, **generation: float) -> Run:
        frame = outcomes(tables["base"]).assign(
            prompt_hash="h", grader="g", generation=json.dumps(generation) if generation else ""
        )
        samples = Samples(Path("samples.jsonl"), "sums", "")
        return Run(name, name, Path(name), {"sums": TaskResults(samples, frame, frame)})

    greedy = [run(name, max_gen_toks=40, temperature=0.0) for name in ("a", "b")]
    sampled = run("c", max_gen_toks=80, temperature=0.8)
    (one,) = leaderboards(greedy, SETTINGS)
    assert len(one.rows) == 2
    apart = leaderboards([*greedy, sampled], SETTINGS)
    assert [len(table.rows) for table in apart] == [2, 1]
    assert "1 of 2: asked or graded otherwise" in apart[0].caption
    assert "Generated with max_gen_toks 40, temperature 0.0." in apart[0].notes
    assert "Generated with max_gen_toks 80, temperature 0.8." in apart[1].notes
    (unknown,) = leaderboards([run("d"), run("e")], SETTINGS)
    assert not any("Generated" in note for note in unknown.notes)
