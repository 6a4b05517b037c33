"""The gallery in the docs, and the committed results that it is drawn from."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from persona_bench.report.runs import Settings
from scripts import example_page, gallery
from scripts.gallery import RESULTS

DOCS = gallery.ROOT / "docs"


def test_every_figure_is_shown_with_its_command() -> None:
    text = (DOCS / "figures.md").read_text(encoding="utf-8")
    shown = re.findall(
        r"!\[.+\]\((images/gallery/.+)\)\n\n`python -m scripts\.gallery (\w+)`", text
    )
    assert [name for _, name in shown] == list(gallery.FIGURES)
    assert [path for path, _ in shown] == [f"images/gallery/{name}.png" for _, name in shown]
    assert all((DOCS / path).is_file() for path, _ in shown)


@pytest.mark.parametrize("name", ["failures", "training_personas"])
def test_a_figure_is_drawn_anew(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    monkeypatch.setattr(gallery, "IMAGES", tmp_path / "images")
    monkeypatch.setattr("sys.argv", ["gallery", name])
    gallery.main()
    made = tmp_path / "images" / f"{name}.png"
    assert capsys.readouterr().out.split() == [f"images/{name}.png"]
    assert abs(made.stat().st_size / (DOCS / "images/gallery" / made.name).stat().st_size - 1) < 0.2


def test_the_example_is_what_its_script_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same but for the numbers: fewer draws take a fraction of the time."""
    stored, made = example_page.SITE, tmp_path / "example"
    monkeypatch.setattr(example_page, "SITE", made)
    monkeypatch.setattr(example_page, "Settings", lambda: Settings(resamples=100))
    example_page.main()
    assert {path.name for path in made.iterdir()} == {path.name for path in stored.iterdir()}
    pages = [(folder / "index.html").read_text(encoding="utf-8") for folder in (made, stored)]
    new, old = (re.findall(r"<h[1-4][^>]*>.*?</h[1-4]>", page) for page in pages)
    assert new == old
    assert sum(path.stat().st_size for path in stored.iterdir()) < 3e6
    assert abs(len(pages[0]) / len(pages[1]) - 1) < 0.05


def test_the_summary_of_the_study_holds_the_numbers_of_its_verdicts() -> None:
    summary = pd.read_csv(RESULTS / "summary.csv", dtype={"seed": str}, keep_default_na=False)
    assert len(summary) == 7
    for row in summary.to_dict("records"):
        table = gallery.of(f"{row['method']}-{row['seed']}".rstrip("-"))
        accuracies = table.groupby("persona")["correct"].mean()
        assert len(table) == 160 * 16
        assert row["accuracy"] == pytest.approx(accuracies.mean(), abs=1e-4)
        assert row["worst"] == pytest.approx(accuracies.min(), abs=1e-4)
        assert row["best"] == pytest.approx(accuracies.max(), abs=1e-4)
        assert row["pss"] == pytest.approx(accuracies.min() / accuracies.max(), abs=1e-4)
        for name in ("pss_corrected", "persona_information", "identifiability"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
