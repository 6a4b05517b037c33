"""Figures as they are drawn: into files, and into the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from persona_bench.report.figures.style import save_figure
from persona_bench.report.page.contents import PageFigure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LARGEST_SVG = 400_000
"""Bytes; a larger figure stands in the page as PNG."""


@dataclass
class Gallery:
    """Where figures go, and how they were made.

    Attributes:
        folder: Of the files.
        provenance: The line that goes with each: command, runs, versions, seed.
        paths: What was written, in that order.
    """

    folder: Path
    provenance: str
    paths: list[Path] = field(default_factory=list)

    def draw(
        self, name: str, figure: Figure, data: pd.DataFrame, *, title: str, caption: str
    ) -> PageFigure:
        """Writes `<name>` as .png, .pdf, .svg, .csv and .txt; returns it for the page.

        Args:
            name: Of the files.
            figure: Drawn from `data`.
            data: Exactly what it shows.
            title: A heading.
            caption: What it shows, for those who can't see it too.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        written = save_figure(figure, self.folder / name, data=data, provenance=self.provenance)
        self.paths += written
        by_kind = {path.suffix: path for path in written}
        small = by_kind[".svg"].stat().st_size <= LARGEST_SVG
        return PageFigure(
            name=name,
            title=title,
            caption=caption,
            svg=by_kind[".svg"].read_text(encoding="utf-8") if small else None,
            png=None if small else by_kind[".png"].read_bytes(),
            data=data,
        )
