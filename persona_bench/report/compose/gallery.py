"""Figures as they are drawn: into files, and into the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from persona_bench.report.figures.style import save_figure
from persona_bench.report.names import file_stem
from persona_bench.report.page.contents import PageFigure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LARGEST_SVG = 400_000
"""Bytes; a larger figure stands in the page as PNG."""

KINDS: dict[str, tuple[str, str]] = {
    "accuracy": (
        "Accuracy under each persona",
        "The correct share of the scored responses, with its interval; the numbers are in the "
        "table of personas.",
    ),
    "forest": (
        "Accuracy under each persona",
        "The correct share of the scored responses of each model, with its interval; the numbers "
        "are in the table of personas.",
    ),
    "lottery": (
        "The persona lottery",
        "The expected best and worst accuracy when k personas are drawn at random.",
    ),
    "heat_map": (
        "Question by question",
        "The correct share of each question's responses under each persona, from the easiest "
        "question to the hardest.",
    ),
    "failures": (
        "Reasons for failure",
        "Shares of each persona's responses that are correct, wrong for a reason, or unscored.",
    ),
    "voice": (
        "Right and in character",
        "Shares of each persona's responses that are right or wrong, in or out of its voice.",
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
        "Corrected PSS across, fidelity upwards, with joint intervals: further up and to the "
        "right is better.",
    ),
    "training": (
        "Training",
        "Reward, entropy, KL, length and the share of groups without a signal, step by step; and "
        "reward by persona.",
    ),
    "training_personas": (
        "Training, persona by persona",
        "Mean reward of the completions under each persona, over blocks of steps.",
    ),
}
"""Heading and caption of each kind of figure; the caption is for those who can't see it too."""


@dataclass
class Gallery:
    """Where figures go, and how they were made.

    Attributes:
        folder: Folder of the files.
        provenance: The line that goes with each: command, runs, versions, seed.
        paths: What was written, in that order.
    """

    folder: Path
    provenance: str
    paths: list[Path] = field(default_factory=list)

    def draw(
        self, kind: str, figure: Figure, data: pd.DataFrame, *, task: str = "", of: str = ""
    ) -> PageFigure:
        """Writes `<task>_<kind>_<of>` as .png, .pdf, .svg, .csv and .txt.

        Args:
            kind: One of `KINDS`.
            figure: Drawn from `data`.
            data: Exactly what it shows.
            task: The task it is of; empty where it is of several, or of none.
            of: The model, or whatever else tells it from others of its kind.

        Returns:
            The figure, for the page.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = "_".join(
            [*([file_stem(task)] if task else []), kind, *([file_stem(of)] if of else [])]
        )
        written = save_figure(figure, self.folder / name, data=data, provenance=self.provenance)
        self.paths += written
        by_kind = {path.suffix: path for path in written}
        small = by_kind[".svg"].stat().st_size <= LARGEST_SVG
        title, caption = KINDS[kind]
        return PageFigure(
            name=name,
            title=f"{title}: {of}" if of else title,
            caption=caption,
            svg=by_kind[".svg"].read_text(encoding="utf-8") if small else None,
            png=None if small else by_kind[".png"].read_bytes(),
            data=data,
        )
