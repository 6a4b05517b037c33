"""The report of several models: a section for each task that they share, and one for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_bench.report.compose.cards import comparison_cards
from persona_bench.report.compose.judged import SCORE
from persona_bench.report.compose.run import (
    SHARE,
    accuracy_chart,
    group_figures,
    lottery_chart,
)
from persona_bench.report.fidelity import judges_in_words
from persona_bench.report.figures.accuracy import accuracy_data, accuracy_figure
from persona_bench.report.figures.differences import differences_data, differences_figure
from persona_bench.report.figures.failures import failures_data, failures_figure, name_of
from persona_bench.report.figures.frontier import NAMES, frontier_data, frontier_figure
from persona_bench.report.figures.heat_map import heat_map_data, heat_map_figure
from persona_bench.report.figures.lottery import lottery_data, lottery_figure
from persona_bench.report.figures.style import set_in
from persona_bench.report.names import file_stem, generation_sentences
from persona_bench.report.page.charts import bar_chart, interval_chart, map_chart, point_chart
from persona_bench.report.page.contents import PageFigure, PageTable, Section
from persona_bench.report.rankings import ranking_line
from persona_bench.report.tables import format_p, meaning
from persona_bench.report.trace import MEANING, trace_sentences
from persona_bench.scoring.rankings import ranking_agreement

if TYPE_CHECKING:
    from persona_bench.report.compose.gallery import Gallery
    from persona_bench.report.page.charts import Chart
    from persona_bench.report.runs import Scored
    from persona_bench.scoring.compare import Comparison
    from persona_bench.scoring.fidelity import Fidelity
    from persona_bench.scoring.fidelity_compare import FidelityComparison
    from persona_bench.scoring.information_compare import InformationDifference


@dataclass(frozen=True)
class GradedModels:
    """Several models on one graded task, on the same questions and personas.

    Attributes:
        task: Its name.
        scored: By model, the reference first.
        outcomes: By model.
        comparisons: Comparisons of the others against the reference, by model.
    """

    task: str
    scored: Mapping[str, Scored]
    outcomes: Mapping[str, pd.DataFrame]
    comparisons: Mapping[str, Comparison]

    @property
    def reference(self) -> str:
        """What the others are held against."""
        return next(iter(self.scored))


@dataclass(frozen=True)
class JudgedModels:
    """Several models on one judged task.

    Attributes:
        task: Its name.
        fidelities: By model; only those that were judged.
        comparisons: Comparisons of the others against the reference, by model.
        traces: What `persona-bench trace` wrote, by model; only where it did.
        information: Persona information held against the reference's, by model.
    """

    task: str
    fidelities: Mapping[str, Fidelity] = field(default_factory=dict)
    comparisons: Mapping[str, FidelityComparison] = field(default_factory=dict)
    traces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    information: Mapping[str, InformationDifference] = field(default_factory=dict)


def graded_models_section(
    models: GradedModels, gallery: Gallery, tables: Sequence[PageTable] = ()
) -> Section:
    """Models beside each other on one task: differences and figures, below other tables."""
    results = {model: each.stability for model, each in models.scored.items()}
    notes = [f"{model}: {meaning(result)}" for model, result in results.items()]
    if line := ranking_line(ranking_agreement(models.outcomes)):
        notes.append(line)
    first, *more = _figures(models, gallery)
    return Section(
        name=file_stem(models.task),
        title=models.task,
        text=generation_sentences(models.comparisons, models.reference),
        tables=list(tables[:1]),
        figures=[first],
        cards=comparison_cards(results, models.comparisons, models.reference),
        notes=notes,
        more=[*more, *tables[1:], *_differences(models)],
    )


def _figures(models: GradedModels, gallery: Gallery) -> list[PageFigure]:
    task, width = models.task, gallery.width
    results = {model: each.stability for model, each in models.scored.items()}
    links = {model: {"task": task, "model": model} for model in results}
    look: dict[str, Any] = {"title": task, "width": width}
    with set_in(gallery.font):
        curves = {model: lottery_data(result) for model, result in results.items()}
        drawn: list[tuple[str, str, Any, pd.DataFrame, Any]] = [
            (
                "accuracy",
                "",
                accuracy_figure(results, **look),
                accuracy_data(results),
                accuracy_chart(results, links),
            )
        ]
        for model, each in models.comparisons.items():
            figure = differences_figure(each, a=models.reference, b=model, **look)
            data = differences_data(each)
            chart = _differences_chart(data, links[model])
            drawn.append(("differences", model, figure, data, chart))
        for model, outcomes in models.outcomes.items():
            own: dict[str, Any] = {"title": f"{model}, {task}", "width": width}
            data = heat_map_data(outcomes)
            figure = heat_map_figure(outcomes, **own)
            drawn.append(("heat_map", model, figure, data, map_chart(data, links[model])))
        figure = lottery_figure(results, **look)
        drawn.append(("lottery", "", figure, lottery_data(results), lottery_chart(curves)))
        failures, data = failures_figure(results, **look), failures_data(results)
    shown = [
        gallery.draw(kind, figure, data, task=task, of=of, chart=chart, numbers=kind != "heat_map")
        for kind, of, figure, data, chart in drawn
    ]
    together = gallery.draw("failures", failures, data, task=task)
    names = {each: name_of(each) for each in data["outcome"].unique()}
    for model in results:
        rows = data[data["model"] == model]
        chart = bar_chart(rows, names, links[model])
        name, title = f"{together.name}_{file_stem(model)}", f"{together.title}: {model}"
        shown.append(PageFigure(name, title, together.caption, chart, data=rows))
    for model, scored in models.scored.items():
        look = {"title": f"{model}, {task}", "width": width}
        shown += group_figures(task, model, scored, gallery, look)
    return shown


def _differences_chart(data: pd.DataFrame, link: dict[str, str]) -> Chart:
    own = data[data["panel"] == "persona"]
    return interval_chart(
        list(own["name"]),
        {"difference": own},
        value="difference",
        label="Difference in accuracy",
        kinds=dict(zip(own["name"], own["kind"], strict=True)),
        lines={"no difference": 0.0},
        links={"difference": link},
        by="name",
    )


def _differences(models: GradedModels) -> list[PageTable]:
    numbers = dict.fromkeys(("a", "b", "difference", "p_value", "p_holm"), SHARE)
    ends = {"difference": ("low", "high")}
    tables = []
    for model, each in models.comparisons.items():
        name = f"{file_stem(models.task)}_differences_{file_stem(model)}"
        title = f"{model} (b) less {models.reference} (a)"
        note = "; ".join(dict.fromkeys(each.notes))
        tables += [
            PageTable(name, title, each.metrics, note, numbers, ends),
            PageTable(
                f"{name}_personas", f"{title}, by persona", each.per_persona, "", numbers, ends
            ),
        ]
    return tables


def judged_models_section(models: JudgedModels) -> Section:
    """Models beside each other on one judged task."""
    stem = file_stem(models.task)
    tables, said = [], []
    if models.fidelities:
        rows = [
            {
                "model": model,
                "persona_score": each.persona_score,
                "low": each.persona_score.low,
                "high": each.persona_score.high,
                "n": each.n_responses - each.unscored_responses,
                "unscored": each.unscored,
            }
            for model, each in models.fidelities.items()
        ]
        table, ends = pd.DataFrame(rows), {"persona_score": ("low", "high")}
        formats = {"persona_score": SCORE}
        tables.append(PageTable(f"{stem}_models", "Fidelity, 1 to 5", table, "", formats, ends))
    if models.fidelities:
        said.append(f"Judged by {_judges(models)}.")
    for model, each in models.comparisons.items():
        low, high = each.difference.interval
        said.append(
            f"{model} has a PersonaScore {each.difference:+.2f} [{low:.2f}, {high:.2f}] from that "
            f"of the reference ({format_p(each.p_value)})."
        )
    for model, record in models.traces.items():
        said += [f"{model}: {sentence}" for sentence in trace_sentences(record)]
    for model, gain in models.information.items():
        said.append(
            f"{model} has persona information {gain.difference:+.3f} [{gain.low:.3f}, "
            f"{gain.high:.3f}] nats per token from the reference's ({format_p(gain.p_value)})."
        )
    said += [MEANING] if models.traces else []
    return Section(stem, models.task, said, tables, [])


def _judges(models: JudgedModels) -> str:
    """The judges of these models, with their entry tests."""
    return judges_in_words(pd.concat([each.judges for each in models.fidelities.values()]))


def overview_section(
    graded: Sequence[GradedModels],
    judged: Sequence[JudgedModels],
    gallery: Gallery,
    tables: Sequence[PageTable] = (),
) -> Section:
    """All models on all tasks: robustness against fidelity, and tables if there are any."""
    figures = [
        figure for each in graded for task in judged for figure in _frontiers(each, task, gallery)
    ]
    return Section("methods", "All models", [], tables, figures)


def _frontiers(graded: GradedModels, judged: JudgedModels, gallery: Gallery) -> list[PageFigure]:
    """One for each measure of fidelity that at least two models have."""
    figures = []
    for y, numbers in (
        ("persona_score", _persona_scores(judged)),
        ("persona_information", _persona_information(judged)),
    ):
        rows = [
            {
                "method": model,
                "seed": "",
                "pss_corrected": scored.stability.pss_corrected,
                "pss_corrected_low": scored.stability.pss_corrected.low,
                "pss_corrected_high": scored.stability.pss_corrected.high,
                **dict(zip((y, f"{y}_low", f"{y}_high"), numbers[model], strict=True)),
            }
            for model, scored in graded.scored.items()
            if model in numbers
        ]
        if len(rows) < 2:
            continue
        table, title = pd.DataFrame(rows), f"{graded.task} and {judged.task}"
        if y == "persona_score":
            title += f", judged by {_judges(judged)}"
        with set_in(gallery.font):
            figure = frontier_figure(table, y=y, title=title, width=gallery.width)
        data, of = frontier_data(table, "pss_corrected", y), f"{judged.task}, {y.replace('_', ' ')}"
        links = {model: {"task": graded.task, "model": model} for model in graded.outcomes}
        labels = NAMES["pss_corrected"], NAMES[y]
        chart = point_chart(table, "pss_corrected", y, labels, links)
        figures.append(gallery.draw("frontier", figure, data, task=graded.task, of=of, chart=chart))
    return figures


Ends = tuple[float, float, float]


def _persona_scores(judged: JudgedModels) -> dict[str, Ends]:
    return {
        model: (each.persona_score, *each.persona_score.interval)
        for model, each in judged.fidelities.items()
    }


def _persona_information(judged: JudgedModels) -> dict[str, Ends]:
    found = {}
    for model, record in judged.traces.items():
        if told := record.get("persona_information"):
            value, low, high = (
                math.nan if told[name] is None else float(told[name])
                for name in ("information", "low", "high")
            )
            found[model] = (value, low, high)
    return found
