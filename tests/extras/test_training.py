"""Training curves: what the logs say, smoothed as the note says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from persona_bench.extras.training.curves import (
    BY_GROUP,
    QUANTITIES,
    TrainingLog,
    read_training,
    training_data,
    training_figure,
    training_groups_figure,
)
from persona_bench.extras.training.page import training_section
from persona_bench.extras.training.personas import (
    training_personas_data,
    training_personas_figure,
)
from persona_bench.personas import load_persona_set
from persona_bench.report.compose.gallery import Gallery
from persona_bench.report.names import group_of
from tests.report.figures.readable import LONG, TITLE, assert_readable, words

STEPS = 40


def steps(seed: int = 0, n: int = STEPS, **more: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    names = ["reward", "entropy", "completions/mean_length", "frac_reward_zero_std", "loss"]
    table = pd.DataFrame({"step": np.arange(1, n + 1)})
    return table.assign(**{name: rng.random(n) for name in names}, **more)


def personas(names: list[str], seed: int = 0, n: int = STEPS) -> pd.DataFrame:
    """`none` at each step, and another in turn; the last completion of each step is unscored."""
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(1, n + 1):
        for name in dict.fromkeys(["none", names[step % len(names)]]):
            share = int(rng.integers(0, 8)) / 7
            row = {"step": step, "persona": name, "completions": 8, "unscored": 1}
            rows.append({**row, "accuracy": share, "reward": share, "tokens": 20.0})
    return pd.DataFrame(rows)


def of_set(n: int) -> TrainingLog:
    chosen = list(load_persona_set("train"))[:n]
    names = ["none", *(persona.id for persona in chosen)]
    return TrainingLog(steps(), personas(names), {p.id: p.kind for p in chosen})


@pytest.fixture(scope="module")
def runs() -> dict[str, TrainingLog]:
    sft = steps(2)[["step", "loss", "entropy"]]
    rlvr = TrainingLog(steps(1, kl=0.1), personas(["none"]))
    return {"rlvr": rlvr, "permix": of_set(60), "sft": TrainingLog(sft)}


@pytest.mark.parametrize("width", [2.75, 5.5])
def test_labels_are_apart_and_inside(runs, width: float) -> None:
    unknown = TrainingLog(steps(), personas(["none", LONG, *map(str, range(20))]))
    few = TrainingLog(steps(), personas(["none", LONG, "$b$"]))
    for shown in (runs, {TITLE: unknown}, {"few": few}, {f"{TITLE} {i}": few for i in range(6)}):
        assert_readable(training_figure(shown, title=TITLE, width=width), width)
        assert_readable(training_groups_figure(shown, title=TITLE, width=width), width)


def test_curves_are_the_log_and_its_moving_average(runs) -> None:
    data = training_data(runs)
    for quantity in ("reward", "entropy", "kl"):
        for run, log in runs.items():
            own = data[(data["quantity"] == quantity) & (data["run"] == run)]
            if quantity not in log.steps:
                assert own.empty
                continue
            values = log.steps[quantity].tolist()
            assert own["value"].tolist() == values
            assert set(own["window"]) == {4}
            means = [np.mean(values[max(0, i - 3) : i + 1]) for i in range(STEPS)]
            assert own["smoothed"].tolist() == pytest.approx(means)


def test_loss_is_shown_of_runs_without_a_reward(runs) -> None:
    data = training_data(runs)
    assert set(data.loc[data["quantity"] == "loss", "run"]) == {"sft"}


def test_reward_by_group_is_over_the_completions_of_the_window(runs) -> None:
    log = runs["permix"]
    data = training_data(runs)
    own = data[data["quantity"] == BY_GROUP]
    assert set(own["run"]) == {"permix"}  # rlvr met nobody
    met = log.personas["persona"]
    assert set(own["group"]) == {group_of(log.kinds.get(name, "control")) for name in met}
    table = log.personas.assign(
        kind=[group_of(log.kinds.get(name, "control")) for name in log.personas["persona"]],
        scored=lambda t: t["completions"] - t["unscored"],
    )
    for row in own.to_dict("records"):
        window = table[table["kind"] == row["group"]]
        window = window[window["step"].between(row["step"] - row["window"] + 1, row["step"])]
        expected = np.average(window["reward"], weights=window["scored"])
        assert row["smoothed"] == pytest.approx(expected)
        assert row["completions"] == window.loc[window["step"] == row["step"], "scored"].sum()


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["none", "a", "b"], {"none", "a", "b"}),
        (["none", *map(str, range(20))], {"no persona", "under a persona"}),
    ],
)
def test_few_personas_have_a_curve_each_and_many_of_no_known_kind_share_one(names, groups) -> None:
    data = training_data({"run": TrainingLog(steps(), personas(names))})
    assert set(data.loc[data["quantity"] == BY_GROUP, "group"]) == groups


def test_the_figure_draws_the_data_of_its_csv(runs) -> None:
    data = training_data(runs)
    figure = training_figure(runs)
    by_title = {axes.get_title(loc="left").replace("\n", " "): axes for axes in figure.axes}
    for quantity, own in data[data["quantity"] != BY_GROUP].groupby("quantity"):
        lines = by_title[QUANTITIES[str(quantity)]].get_lines()
        for _, curve in own.groupby("run"):
            for column in ("value", "smoothed"):
                assert any(np.array_equal(line.get_ydata(), curve[column]) for line in lines)
    (axes,) = training_groups_figure(runs).axes
    assert axes.get_title(loc="left") == "permix"
    lines = axes.get_lines()
    markers = {line.get_marker() for line in lines}
    assert len(markers) == len(lines)  # groups can be told apart in grey
    for _, curve in data[data["quantity"] == BY_GROUP].groupby("group"):
        assert any(np.array_equal(line.get_ydata(), curve["smoothed"]) for line in lines)


def test_the_page_has_a_chart_of_everything_logged(runs, tmp_path) -> None:
    section = training_section(runs, Gallery(tmp_path, "made up"))
    data = training_data(runs)
    charts = {figure.title: figure.chart for figure in section.all_figures}
    assert len(charts) == len(section.all_figures)
    assert section.figures[0].title == "Mean reward"
    assert "Loss (cross-entropy, nats): sft" in charts
    assert None not in charts.values()
    rewards = data[data["quantity"] == "reward"]
    assert charts["Mean reward"] is not None
    for curve in charts["Mean reward"]["curves"]:
        own = rewards[rewards["run"] == curve["name"]]
        drawn = np.array(curve["points"], dtype=float)
        assert drawn[:, 0].tolist() == own["step"].tolist()
        assert drawn[:, 1] == pytest.approx(own["smoothed"], rel=1e-4)
    (grid,) = [chart for chart in charts.values() if chart and chart["kind"] == "map"]
    table = runs["permix"].personas
    correct, scored, met = np.array(grid["values"])[np.array(grid["cells"]).ravel()].sum(axis=0)
    assert met == table["completions"].sum()
    assert scored == met - table["unscored"].sum()
    assert correct == round((table["accuracy"] * (table["completions"] - table["unscored"])).sum())
    assert (tmp_path / "training_groups.pdf").is_file()


def test_logs_are_read_with_the_kinds_of_their_persona_set(tmp_path, runs) -> None:
    log = runs["permix"]
    log.steps.to_csv(tmp_path / "log.csv", index=False)
    found = read_training(tmp_path)
    pd.testing.assert_frame_equal(found.steps, log.steps)
    assert found.personas.empty
    assert found.kinds == {}
    log.personas.to_csv(tmp_path / "personas.csv", index=False)
    settings = tmp_path / "train.yaml"
    settings.write_text("personas: {persona_set: train}\n")
    found = read_training(tmp_path)
    pd.testing.assert_frame_equal(found.personas, log.personas)
    assert log.kinds.items() <= found.kinds.items()
    for text in ("personas: {persona_set: gone}\n", "personas: [\n", "method: sft\n", ""):
        settings.write_text(text)
        assert read_training(tmp_path).kinds == {}


def test_a_folder_without_a_log_is_named(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"has no log\.csv: give the folder"):
        read_training(tmp_path)
    (tmp_path / "log.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column step"):
        read_training(tmp_path)


def test_one_step_and_nothing_logged(runs) -> None:
    one = TrainingLog(steps(n=1), personas(["none", "a"], n=1))
    assert_readable(training_figure({"one": one}))
    lost = one.personas.assign(unscored=8, accuracy=np.nan, reward=np.nan)
    assert_readable(training_figure({"one": TrainingLog(one.steps, lost)}))
    for nothing in ({}, {"a": TrainingLog(pd.DataFrame({"step": [1, 2]}))}):
        figure, groups = training_figure(nothing), training_groups_figure(nothing)
        assert_readable(figure)
        assert_readable(groups)
        assert "nothing logged" in words(figure)
        assert "no rewards by persona" in words(groups)


@pytest.mark.parametrize("width", [2.75, 5.5])
@pytest.mark.parametrize("n", [1, 6, 60])
def test_each_persona_has_a_row_over_the_steps(n: int, width: float) -> None:
    log = of_set(n)
    assert_readable(training_personas_figure(log, title=TITLE, width=width), width)
    data = training_personas_data(log)
    assert len(data) == log.personas["persona"].nunique() * 10
    table = log.personas.assign(scored=log.personas["completions"] - log.personas["unscored"])
    for row in data.to_dict("records"):
        own = table[(table["persona"] == row["persona"])]
        own = own[own["step"].between(row["first_step"], row["last_step"])]
        assert row["completions"] == own["completions"].sum()
        if len(own):
            assert row["accuracy"] == pytest.approx(
                np.average(own["accuracy"], weights=own["scored"])
            )
        else:
            assert np.isnan(row["accuracy"])


def test_a_run_without_personas_is_said(runs) -> None:
    figure = training_personas_figure(runs["sft"])
    assert_readable(figure)
    assert "no completions by persona" in words(figure)
