"""The report of trainings: their section of a page, and a page of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_bench.extras.training.curves import (
    ALL_QUANTITIES,
    BY_GROUP,
    HELD_OUT,
    read_training,
    training_data,
    training_figure,
    training_groups_figure,
)
from persona_bench.extras.training.personas import (
    training_personas_data,
    training_personas_figure,
)
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.figures.style import set_in
from persona_bench.report.names import file_stem
from persona_bench.report.page.charts import grid_chart, line_chart
from persona_bench.report.page.contents import PageContents, PageFigure, Section
from persona_bench.report.page.write import write_page
from persona_bench.results.runs import split_name

if TYPE_CHECKING:
    from persona_bench.extras.training.curves import TrainingLog
    from persona_bench.report.page.charts import Chart


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
    """Curves of all trainings together, reward by group of personas, and the personas of each."""
    width, data = gallery.width, training_data(logs)
    by_group = data["quantity"] == BY_GROUP
    with set_in(gallery.font):
        curves = training_figure(logs, width=width)
        groups = training_groups_figure(logs, width=width) if by_group.any() else None
        rows = {
            name: training_personas_figure(log, title=name, width=width)
            for name, log in logs.items()
            if len(log.personas) and log.personas["persona"].nunique() > 1
        }
    drawn = gallery.draw("training", curves, data[~by_group], numbers=False)
    charts = {}
    for quantity, name in ALL_QUANTITIES.items():
        own = data[data["quantity"] == quantity]
        if len(shown := own["run"].unique()):
            of = f": {shown[0]}" if len(shown) == 1 < len(logs) else ""
            chart = curves_chart(own, "run", name)
            stem = f"{drawn.name}_{file_stem(quantity)}"
            charts[quantity] = PageFigure(stem, name + of, "", chart)
    first = [*HELD_OUT, "reward"] if {*HELD_OUT, "reward"} & {*charts} else [*charts]
    figures = [charts.pop(quantity) for quantity in first if quantity in charts]
    if groups is not None:
        drawn = gallery.draw("training_groups", groups, data[by_group], numbers=False)
        for run, own in data[by_group].groupby("run", sort=False):
            chart = curves_chart(own, "group", "Reward")
            name = f"{drawn.name}_{file_stem(str(run))}"
            figures.append(PageFigure(name, f"{drawn.title}: {run}", drawn.caption, chart))
    for name, figure in rows.items():
        blocks = training_personas_data(logs[name])
        chart = blocks_chart(blocks, name if len(logs[name].completions) else "")
        figures.append(gallery.draw("training_personas", figure, blocks, of=name, chart=chart))
    return Section("training", "Training", [], [], figures, more=[*charts.values()])


def curves_chart(data: pd.DataFrame, by: str, label: str) -> Chart:
    """Smoothed curves over the steps, with a ribbon where evaluations have an interval.

    Args:
        data: Rows of `training_data`, of one quantity.
        by: `run` or `group`: what has a curve of its own.
        label: What stands at the axis.
    """
    ends = ("low", "high") if data["low"].notna().any() else ()
    curves = {str(name): own for name, own in data.groupby(by, sort=False)}
    return line_chart(curves, "step", ("smoothed", *ends), ("Step", label))


def blocks_chart(data: pd.DataFrame, name: str) -> Chart:
    """The personas of a training over blocks of steps: `training_personas_data`.

    Args:
        data: One row per persona and block.
        name: The training, if its completions are on the page; else empty.
    """
    steps = data["first_step"].astype(str) + "–" + data["last_step"].astype(str)
    correct = (data["accuracy"].fillna(0) * data["scored"]).round()
    data = data.assign(steps=steps, correct=correct, responses=data["completions"])
    link = {"model": name, "task": PHASES["training"]} if name else {}
    return grid_chart(data, "steps", "Blocks of steps, from the first to the last", link)


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
