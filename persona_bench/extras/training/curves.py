"""Training curves: what a run of `persona-bench train` was rewarded for, and how it went about it.

    runs = {"rlvr": read_training(Path("checkpoints/rlvr")), "permix": ...}
    save_figure(training_figure(runs), Path("figures/training"), data=training_data(runs))

One figure has a panel for each quantity that some run logged (loss only for runs without a
reward), a curve for each run. The other has a panel for each run that met personas: its reward by
group of personas. They are two because a colour is a run in one and a group in the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from matplotlib.lines import Line2D

from persona_bench.personas import PersonaSetError, load_persona_set
from persona_bench.report.figures.layout import MARGIN, TEXT_WIDTH, Page
from persona_bench.report.figures.style import (
    BASELINE,
    GROUP_LOOKS,
    POINTS,
    limits,
    model_colours,
    set_ticks,
    styled,
)
from persona_bench.report.names import group_of
from persona_bench.report.tables import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from persona_bench.report.figures.style import PaperFigure

QUANTITIES = {
    "reward": "Mean reward",
    "entropy": "Entropy (nats)",
    "kl": "KL (nats)",
    "completions/mean_length": "Length (tokens)",
    "frac_reward_zero_std": "Groups of equal reward",
    "loss": "Loss (cross-entropy, nats)",
}
"""Columns of `log.csv` and what they are, in the order of the panels."""
HELD_OUT = {
    "eval_accuracy": "Held-out accuracy",
    "eval_worst_accuracy": "Held out, worst persona",
    "eval_pss_corrected": "Held-out corrected PSS",
    "eval_persona_information": "Persona information (nats)",
}
"""The same of `evaluations.csv`, whose columns have no `eval_`; these panels come first."""
ALL_QUANTITIES = {**HELD_OUT, **QUANTITIES}
COLUMNS = [
    "quantity", "run", "group", "step", "value", "low", "high", "smoothed", "window", "completions",
]  # fmt: skip
BY_GROUP = "reward_by_group"
LINE: dict[str, Any] = {"linewidth": 1.4, "markersize": 3.5}
MOST_PERSONAS = 8
"""Up to this many have one curve each where their kinds are not known."""
NOBODY, SOMEBODY = "no persona", "under a persona"


@dataclass(frozen=True)
class TrainingLog:
    """What a training run wrote of itself."""

    steps: pd.DataFrame
    """`log.csv`: `step`, and what was logged at it."""
    personas: pd.DataFrame = field(default_factory=pd.DataFrame)
    """`personas.csv`: step, persona, completions, accuracy, unscored, reward, tokens; empty where
    nothing was rewarded."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """The kind of each persona, where the persona set is at hand."""
    evaluations: pd.DataFrame = field(default_factory=pd.DataFrame)
    """`evaluations.csv`: the evaluations while training; empty where there were none."""
    completions: pd.DataFrame = field(default_factory=pd.DataFrame)
    """`completions.jsonl`: step, phase, persona, question, problem, answer, response, verdict,
    reason, reward; empty where they were not logged."""


def read_training(folder: Path) -> TrainingLog:
    """Read the logs in the folder of a run of `persona-bench train`.

    Args:
        folder: With `log.csv`, and where there are any `personas.csv`, `evaluations.csv` and
            `train.yaml`.

    Raises:
        ValueError: no log is there, or it has no steps.
    """
    log = folder / "log.csv"
    if not log.is_file():
        raise ValueError(f"{folder} has no log.csv: give the folder of a persona-bench train run")
    steps = pd.read_csv(log)
    if "step" not in steps.columns:
        raise ValueError(f"{log} has no column step: it is not from persona-bench train")
    personas, evaluations = (
        pd.read_csv(folder / name) if (folder / name).is_file() else pd.DataFrame()
        for name in ("personas.csv", "evaluations.csv")
    )
    lines = folder / "completions.jsonl"
    rows = [json.loads(line) for line in lines.read_bytes().splitlines()] if lines.is_file() else []
    kinds = _kinds(folder / "train.yaml")
    return TrainingLog(steps, personas, kinds, evaluations, pd.DataFrame(rows))


def _kinds(settings: Path) -> dict[str, str]:
    """Kinds of the personas of the run; empty where its set is no longer found."""
    if not settings.is_file():
        return {}
    try:
        settings_read = yaml.safe_load(settings.read_text(encoding="utf-8"))
        chosen = load_persona_set(settings_read["personas"]["persona_set"])
    except (yaml.YAMLError, KeyError, TypeError, OSError, PersonaSetError):
        return {}
    return {persona.id: persona.kind for persona in chosen}


def training_figure(
    runs: Mapping[str, TrainingLog], *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """Training curves of one or several runs.

    Args:
        runs: By name.
        title: What it is of: begins the caption.
        width: Inches.
    """
    data = training_data(runs)
    data = data[data["quantity"] != BY_GROUP]
    looks = {name: (colour, "") for name, colour in model_colours(runs).items()}
    with styled():
        page = Page(title, _notes(data), [_handles(looks) if len(data) else []], width=width)
        if data.empty:
            return page.say("nothing logged")
        panels = {name: data[data["quantity"] == key] for key, name in ALL_QUANTITIES.items()}
        _draw_panels(page, panels, "run", looks, beside=max(1, int(width / 1.7)), height=0.95)
    return page.figure


def training_groups_figure(
    runs: Mapping[str, TrainingLog], *, title: str = "", width: float = TEXT_WIDTH
) -> PaperFigure:
    """Reward of each run by group of personas; arguments as `training_figure`'s."""
    data = training_data(runs)
    data = data[data["quantity"] == BY_GROUP]
    with styled():
        looks = _group_looks([str(name) for name in data["group"].unique()])
        page = Page(title, _notes(data), [_handles(looks)], width=width)
        if data.empty:
            return page.say("no rewards by persona")
        panels = {printable(run): data[data["run"] == run] for run in runs}
        _draw_panels(page, panels, "group", looks, beside=max(1, int(width / 2.5)), height=1.3)
    return page.figure


def training_data(runs: Mapping[str, TrainingLog]) -> pd.DataFrame:
    """What both figures show: one row per quantity, run, group and step.

    `smoothed`, the thick lines, is the mean of `value` over the last `window` logged steps; `value`
    itself is the thin lines. Of `reward_by_group` only `smoothed` is drawn, the mean over the
    completions in the window, `completions` of which are of that step. Evaluations while training
    are not smoothed; `low` and `high` are their 95% intervals.
    """
    tables = [_empty()]
    for run, log in runs.items():
        window = max(1, round(len(log.steps) / 10))
        rewarded = "reward" in log.steps.columns
        for quantity in QUANTITIES:
            if quantity not in log.steps.columns or (quantity == "loss" and rewarded):
                continue
            own = log.steps[["step", quantity]].rename(columns={quantity: "value"}).dropna()
            smoothed = own["value"].rolling(window, min_periods=1).mean()
            labels: dict[str, Any] = {
                "quantity": quantity,
                "run": run,
                "group": "",
                "window": window,
            }
            tables.append(own.assign(smoothed=smoothed, **labels))
        tables += _held_out(log.evaluations, run)
        tables += _by_group(log, run, runs)
    filled = [table for table in tables if not table.empty]
    return pd.concat(filled, ignore_index=True).reindex(columns=COLUMNS) if filled else _empty()


def _held_out(evaluations: pd.DataFrame, run: str) -> list[pd.DataFrame]:
    """The evaluations while training, with their intervals."""
    tables = []
    for quantity in HELD_OUT:
        name = quantity.removeprefix("eval_")
        if name not in evaluations.columns:
            continue
        columns = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
        own = evaluations.reindex(columns=["step", *columns]).rename(columns=columns)
        own = own.dropna(subset=["value"])
        labels: dict[str, Any] = {"quantity": quantity, "run": run, "group": "", "window": 1}
        tables.append(own.assign(smoothed=own["value"], **labels))
    return tables


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=COLUMNS)


def _by_group(log: TrainingLog, run: str, runs: Mapping[str, TrainingLog]) -> list[pd.DataFrame]:
    """Reward by persona or kind: of the completions in a window of steps, not of its steps."""
    if log.personas.empty or log.personas["persona"].nunique() < 2:
        return []
    window = max(1, round(len(log.steps) / 4))  # a group is met in few of the steps
    own = log.personas.assign(scored=log.personas["completions"] - log.personas["unscored"])
    own = own[own["reward"].notna() & (own["scored"] > 0)]
    own = own.assign(group=_grouping(own["persona"], runs), total=own["reward"] * own["scored"])
    tables = []
    for group, rows in own.groupby("group", sort=False):
        sums = rows.groupby("step")[["total", "scored"]].sum()
        # every step up to the last: a window is as long for a group that is seldom drawn
        every = sums.reindex(range(int(sums.index.min()), int(sums.index.max()) + 1), fill_value=0)
        seen = every.rolling(window * _stride(log.steps), min_periods=1).sum().loc[sums.index]
        table = pd.DataFrame(
            {
                "step": sums.index,
                "value": (sums["total"] / sums["scored"]).to_numpy(),
                "smoothed": (seen["total"] / seen["scored"]).to_numpy(),
                "completions": sums["scored"].to_numpy(),
            }
        )
        labels = {"quantity": BY_GROUP, "run": run, "group": group, "window": window}
        tables.append(table.assign(**labels))
    return tables


def _stride(steps: pd.DataFrame) -> int:
    """Steps from one row of the log to the next."""
    apart = steps["step"].diff().median()
    return 1 if math.isnan(apart) else max(1, round(apart))


def _grouping(personas: pd.Series, runs: Mapping[str, TrainingLog]) -> list[str]:
    """What each persona is counted under: itself, its kind, or whether it is one at all."""
    tables = [log.personas["persona"] for log in runs.values() if not log.personas.empty]
    everyone = set(pd.concat(tables))
    kinds = {name: kind for log in runs.values() for name, kind in log.kinds.items()}
    if everyone - {BASELINE} <= set(kinds):
        return [group_of(kinds.get(name, "control")) for name in personas]
    if len(everyone) <= MOST_PERSONAS:
        return [str(name) for name in personas]
    return [NOBODY if name == BASELINE else SOMEBODY for name in personas]


# ------------------------------------------------------------------------------- drawing
def _group_looks(groups: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each group of personas, or of each persona."""
    if set(groups) <= set(GROUP_LOOKS):
        return {group: look for group, look in GROUP_LOOKS.items() if group in groups}
    markers = "Dos^vPX*"
    colours = model_colours(groups)
    return {group: (colours[group], markers[i % len(markers)]) for i, group in enumerate(groups)}


def _handles(looks: Mapping[str, tuple[str, str]]) -> list[Artist]:
    return [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.4,
            label=printable(name),
        )
        for name, (colour, marker) in looks.items()
    ]


def _notes(data: pd.DataFrame) -> list[str]:
    if data.empty:
        return []
    by_group, held_out = data["quantity"] == BY_GROUP, data["quantity"].isin(HELD_OUT)
    each, of_groups = (
        " or ".join(f"{n:,}" for n in sorted(set(rows["window"].astype(int))))
        for rows in (data[~by_group & ~held_out], data[by_group])
    )
    notes = [f"Thin: each step; thick: mean over the last {each} logged steps"] if each else []
    if of_groups:
        notes.append(
            f"By group of personas: mean over the completions in the last {of_groups} steps"
        )
    if held_out.any():
        notes.append("Held out: evaluations while training, with 95% intervals")
    return notes


def _draw_panels(
    page: Page,
    panels: Mapping[str, pd.DataFrame],
    by: str,
    looks: Mapping[str, tuple[str, str]],
    *,
    beside: int,
    height: float,
) -> None:
    """A panel for each table that is not empty; a curve for each value of its column `by`."""
    shown = [(name, table) for name, table in panels.items() if len(table)]
    rows = math.ceil(len(shown) / beside)
    beside = math.ceil(len(shown) / max(1, rows)) or 1  # rows of about the same length
    each = page.inner / beside
    left = 0.36
    width = each - left - 0.1
    for start in range(0, len(shown), beside):
        row = shown[start : start + beside]
        names = [page.fit(name, width, POINTS) for name, _ in row]
        top = 0.05 + 0.14 * max(name.count("\n") + 1 for name in names)
        cells = [(MARGIN + left + i * each, width) for i in range(len(row))]
        axes_of_row = page.band(height, cells, xlabels=["Step"] * len(row), top=top)
        for axes, name, (_, own) in zip(axes_of_row, names, row, strict=True):
            axes.set_title(name, loc="left", fontsize=POINTS, pad=4)
            _draw_curves(axes, own, by, looks)


def _draw_curves(
    axes: Axes, data: pd.DataFrame, by: str, looks: Mapping[str, tuple[str, str]]
) -> None:
    axes.grid(axis="both")
    thin = data["value"] if by == "run" else data["smoothed"]
    drawn = [*thin, *data["smoothed"], *data["low"].dropna(), *data["high"].dropna()]
    axes.set_ylim(*limits(drawn, -math.inf, math.inf))
    first, last = data["step"].min(), data["step"].max()
    room = max(0.04 * (last - first), 0.5)
    axes.set_xlim(first - room, last + room)
    for i, name in enumerate(name for name in looks if name in set(data[by])):
        (colour, marker), own = looks[name], data[data[by] == name]
        if by == "run":
            axes.plot(own["step"], own["value"], color=colour, linewidth=0.5, alpha=0.5, zorder=2)
            axes.vlines(
                own["step"], own["low"], own["high"], color=colour, linewidth=0.7, alpha=0.6
            )
        apart = max(1, len(own) // 6)  # markers of two curves seldom meet
        axes.plot(
            own["step"], own["smoothed"], color=colour, zorder=3, **LINE,
            marker=marker, markevery=(i * apart // 4 % len(own), apart),
        )  # fmt: skip
    set_ticks(axes.xaxis)
    set_ticks(axes.yaxis)
