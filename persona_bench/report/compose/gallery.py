"""Figures as they are drawn: into files, and into the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from persona_bench.report.figures.layout import TEXT_WIDTH
from persona_bench.report.figures.style import save_figure, set_in
from persona_bench.report.names import file_stem
from persona_bench.report.page.contents import PageFigure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from persona_bench.report.page.charts import Chart

KINDS: dict[str, tuple[str, str]] = {
    "accuracy": (
        "Accuracy under each persona",
        "The correct share of the scored responses, with its interval. A click on a row leads to "
        "these responses.",
    ),
    "lottery": (
        "The persona lottery",
        "The mean accuracy (line), and the expected best and worst accuracy (ribbon) when k "
        "personas are drawn at random.",
    ),
    "heat_map": (
        "Question by question",
        "The correct share of each question's responses under each persona. A stripe across is a "
        "persona's own effect, a stripe down a hard question. A click leads to the responses.",
    ),
    "failures": (
        "Reasons for failure",
        "Shares of each persona's responses that are correct, wrong for a reason, or unscored.",
    ),
    "refusals": (
        "Refusals",
        "Shares of each persona's responses that are answers, refusals, without text, or missing.",
    ),
    "voice": (
        "Right and in character",
        "Shares of each persona's responses that are right or wrong, in or out of its voice.",
    ),
    "drift": (
        "Over a conversation",
        "Each measure by the number of turns of conversation before the question, with its "
        "interval.",
    ),
    "by_group": (
        "By level and kind of persona",
        "Stability on the questions of each level, and accuracy under each kind of persona.",
    ),
    "differences": (
        "Differences to the reference",
        "Paired differences of accuracy under each persona and of the metrics, with their "
        "intervals.",
    ),
    "frontier": (
        "Robustness and fidelity",
        "Corrected PSS across, fidelity upwards, with intervals: further up and to the right is "
        "better.",
    ),
    "training": (
        "Training",
        "Reward, entropy, KL, length and the share of groups without a signal, step by step.",
    ),
    "training_groups": (
        "Reward by group of personas",
        "Mean reward of the completions under each group of personas, over a window of steps.",
    ),
    "training_personas": (
        "Training, persona by persona",
        "The share of correct completions under each persona, in blocks of steps.",
    ),
}
"""Heading and caption of each kind of figure; the caption is for those who can't see it too."""


@dataclass
class Gallery:
    """Where figures go, and how they were made.

    Attributes:
        folder: Folder of the files.
        provenance: The line that goes with each: command, runs, versions, seed.
        width: Inches of the figures.
        font: `sans` or `serif`.
        paths: What was written, in that order.
    """

    folder: Path
    provenance: str
    width: float = TEXT_WIDTH
    font: str = "sans"
    paths: list[Path] = field(default_factory=list)

    def draw(
        self,
        kind: str,
        figure: Figure,
        data: pd.DataFrame,
        *,
        task: str = "",
        of: str = "",
        chart: Chart | None = None,
        numbers: bool = True,
    ) -> PageFigure:
        """Writes `<task>_<kind>_<of>` as .png, .pdf, .svg, .csv and .tex.

        Args:
            kind: One of `KINDS`.
            figure: Drawn from `data`.
            data: Exactly what it shows.
            task: The task it is of; empty where it is of several, or of none.
            of: The model, or whatever else tells it from others of its kind.
            chart: The same for the page; without one the picture stands there.
            numbers: Whether the page has the data as a table too.

        Returns:
            The figure, for the page.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = "_".join(
            [*([file_stem(task)] if task else []), kind, *([file_stem(of)] if of else [])]
        )
        with set_in(self.font):
            written = save_figure(figure, self.folder / name, data=data, provenance=self.provenance)
        self.paths += written
        picture = next(path for path in written if path.suffix == ".svg")
        title, caption = KINDS[kind]
        empty = [name for name in data.columns if len(data) and (data[name] == "").all()]
        return PageFigure(
            name=name,
            title=f"{title}: {of}" if of else title,
            caption=caption,
            chart=chart,
            svg=None if chart else picture.read_text(encoding="utf-8"),
            data=data.drop(columns=empty) if numbers else None,
        )
