"""The report of trainings: their section of a page, and a page of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_bench.extras.training.curves import (
    read_training,
    training_data,
    training_figure,
)
from persona_bench.extras.training.personas import (
    training_personas_data,
    training_personas_figure,
)
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.figures.style import set_in
from persona_bench.report.page.contents import PageContents, Section
from persona_bench.report.page.write import write_page
from persona_bench.results.runs import split_name

if TYPE_CHECKING:
    from persona_bench.extras.training.curves import TrainingLog


class Trainings:
    """The trainings in some folders, as a page shows them.

    Args:
        given: Folders of `persona-bench train`, or `NAME=FOLDER`.

    Raises:
        ValueError: a folder without a log.
    """

    def __init__(self, given: Sequence[str]) -> None:
        self.logs: dict[str, TrainingLog] = {}
        for each in given:
            name, folder = split_name(each)
            self.logs[name or folder.name] = read_training(folder)

    def section(self, gallery: Gallery) -> Section:
        """Curves of all trainings together, and the personas of each."""
        return training_section(self.logs, gallery)

    def responses(self) -> list[pd.DataFrame]:
        """The logged completions of each training."""
        return [training_responses(log, name) for name, log in self.logs.items()]


PHASES = {"training": "training", "evaluation": "held out, while training"}
"""What completions were written for, as the page's tasks are called."""


def training_section(logs: Mapping[str, TrainingLog], gallery: Gallery) -> Section:
    """Curves of all trainings together, and the personas of each."""
    width = gallery.width
    with set_in(gallery.font):
        curves = training_figure(logs, width=width)
        rows = {
            name: training_personas_figure(log, title=name, width=width)
            for name, log in logs.items()
            if len(log.personas) and log.personas["persona"].nunique() > 1
        }
    figures = [gallery.draw("training", curves, training_data(logs))]
    for name, figure in rows.items():
        data = training_personas_data(logs[name])
        figures.append(gallery.draw("training_personas", figure, data, of=name))
    return Section("training", "Training", [], [], figures)


def training_responses(log: TrainingLog, name: str) -> pd.DataFrame:
    """The logged completions of a training, for `PageContents.responses`; the level is the step."""
    if log.completions.empty:
        return pd.DataFrame()
    table = log.completions
    responses = pd.DataFrame(
        {
            "model": name,
            "task": table["phase"].map(PHASES),
            "question": table["question"],
            "question_text": table["problem"],
            "answer": table["answer"],
            "persona": table["persona"],
            "kind": [log.kinds.get(persona, "") for persona in table["persona"]],
            "level": [f"step {step}" for step in table["step"]],
            "verdict": table["verdict"],
            "reason": table["reason"],
            "reward": ["" if pd.isna(reward) else f"{reward:.2f}" for reward in table["reward"]],
            "response": table["response"],
        }
    )
    responses["sample"] = responses.groupby(["task", "persona", "question"]).cumcount()
    return responses


def training_page(folder: Path, provenance: Mapping[str, Any]) -> Path:
    """Writes `report/index.html` in the folder of a training, with its figures beside it.

    Args:
        folder: Folder of a run of `persona-bench train`.
        provenance: How the run was made.
    """
    log = read_training(folder)
    name = folder.name
    gallery = Gallery(folder / "report" / "figures", f"persona-bench train; {name}")
    contents = PageContents(
        title=f"Training: {name}",
        summary=["Rewards, evaluations while training, and the completions that were logged."],
        sections=[training_section({name: log}, gallery)],
        responses=training_responses(log, name),
        provenance=dict(provenance),
    )
    return write_page(contents, folder / "report" / "index.html")
