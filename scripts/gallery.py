"""The figures in docs/figures.md, drawn from the committed results.

    python -m scripts.gallery                # all of them, into docs/images/gallery
    python -m scripts.gallery several lottery # only these

The results are those of SmolLM2-135M-Instruct trained on sums (results/smollm2-arithmetic):
verdicts of each checkpoint, their summary, and the logs of the trainings.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from persona_bench.extras.training.curves import (
    read_training,
    training_figure,
    training_groups_figure,
)
from persona_bench.extras.training.personas import training_personas_figure
from persona_bench.report.figures.accuracy import accuracy_figure
from persona_bench.report.figures.differences import differences_figure
from persona_bench.report.figures.failures import failures_figure
from persona_bench.report.figures.frontier import frontier_figure
from persona_bench.report.figures.groups import groups_figure
from persona_bench.report.figures.heat_map import heat_map_figure
from persona_bench.report.figures.lottery import lottery_figure
from persona_bench.report.figures.style import save_figure
from persona_bench.scoring.compare import Comparison, compare
from persona_bench.scoring.groups import scores_by_group
from persona_bench.scoring.stability import Stability, stability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from persona_bench.extras.training.curves import TrainingLog

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "smollm2-arithmetic"
IMAGES = ROOT / "docs" / "images" / "gallery"
SHOWN = ("base", "rlvr-1", "permix-1")
"""The checkpoints in figures of several models."""


@cache
def outcomes() -> pd.DataFrame:
    """Verdicts of every checkpoint."""
    return pd.read_csv(RESULTS / "outcomes.csv.gz", keep_default_na=False, dtype={"level": str})


def of(model: str) -> pd.DataFrame:
    """Verdicts of one checkpoint."""
    table = outcomes()
    table = table[table["model"] == model]
    correct = table["verdict"].map({"correct": 1.0, "wrong": 0.0}).astype(float)
    return table.assign(correct=correct)


@cache
def stable(model: str) -> Stability:
    """Stability of one checkpoint."""
    return stability(of(model))


def several() -> dict[str, Stability]:
    """Stability of the checkpoints that are shown together."""
    return {model: stable(model) for model in SHOWN}


@cache
def difference() -> Comparison:
    """PerMix-RLVR less RLVR, the same seed."""
    return compare(of("rlvr-1"), of("permix-1"))


def trainings() -> dict[str, TrainingLog]:
    """The trainings of rlvr and permix, the same seed."""
    return {name: read_training(RESULTS / "logs" / name) for name in ("rlvr-1", "permix-1")}


TITLE = "sums under 16 personas"
FIGURES: dict[str, Callable[[], Figure]] = {
    "accuracy": lambda: accuracy_figure(stable("base"), title=f"base, {TITLE}"),
    "several": lambda: accuracy_figure(several(), title=TITLE),
    "lottery": lambda: lottery_figure(several(), title=TITLE),
    "frontier": lambda: frontier_figure(pd.read_csv(RESULTS / "summary.csv"), title=TITLE),
    "heat_map": lambda: heat_map_figure(of("base"), title=f"base, {TITLE}"),
    "groups": lambda: groups_figure({}, scores_by_group(of("base")), title=f"base, {TITLE}"),
    "differences": lambda: differences_figure(difference(), a="rlvr-1", b="permix-1", title=TITLE),
    "failures": lambda: failures_figure(several(), title=TITLE),
    "training": lambda: training_figure(trainings(), title="trained on sums"),
    "training_groups": lambda: training_groups_figure(trainings(), title="trained on sums"),
    "training_personas": lambda: training_personas_figure(
        read_training(RESULTS / "logs" / "permix-1"), title="permix-1, trained on sums"
    ),
}


def main() -> None:
    """Draws what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    asked = parser.parse_args().figures or list(FIGURES)
    if unknown := [name for name in asked if name not in FIGURES]:
        parser.error(f"no figure {unknown[0]!r}: use {', '.join(FIGURES)}")
    warnings.simplefilter("ignore")  # they are said where the results are
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in asked:
        with tempfile.TemporaryDirectory() as scratch:
            paths = save_figure(FIGURES[name](), Path(scratch) / name)
            (png,) = [path for path in paths if path.suffix == ".png"]
            shutil.copy(png, IMAGES / png.name)
        print(IMAGES.relative_to(ROOT) / f"{name}.png")


if __name__ == "__main__":
    main()
