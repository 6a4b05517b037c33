"""The notebook of the tour: its cells run, and show what the committed notebook shows."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.notebook import run_cells

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "tour.ipynb"


def test_the_tour_runs_and_shows_what_it_showed() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    stored = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    now = run_cells(notebook)
    assert [_texts(each) for each in now] == [_texts(each) for each in stored]
    pictures = [data for cell in now for data in map(_data, cell) if "image/png" in data]
    assert len(pictures) == 1


def _data(output: dict) -> dict:
    return output.get("data", {})


def _texts(outputs: list[dict]) -> list[str]:
    """What is printed, and tables; a picture's bytes are those of the machine's own libraries."""
    return [
        "".join(output.get("text") or _data(output).get("text/html") or _data(output)["text/plain"])
        for output in outputs
        if "image/png" not in _data(output)
    ]
