"""The example of a published page, docs/example: a comparison of the models in results/.

    python -m scripts.example_page

The verdicts are those of SmolLM2-135M-Instruct before and after two trainings on sums
(results/smollm2-arithmetic). Their responses are not stored there: the page has the questions, the
personas and what became of each response.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from persona_bench import load_persona_set
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.commands.publish import publish_page
from persona_bench.extras.paper.comparison import page_table, task_tables
from persona_bench.extras.training.page import training_section
from persona_bench.provenance import versions
from persona_bench.report.compose.gallery import KINDS, Gallery
from persona_bench.report.compose.models import GradedModels, graded_models_section
from persona_bench.report.figures.frontier import NAMES
from persona_bench.report.page import PageContents, PageFigure, Section, write_page
from persona_bench.report.page.charts import point_chart
from persona_bench.report.runs import Settings, scored_outcomes
from persona_bench.scoring.compare import compare
from scripts.gallery import RESULTS, ROOT, SHOWN, of, trainings

TASK = "persona_arithmetic"
SITE = ROOT / "docs" / "example"


def main() -> None:
    """Writes the page and what hosts need beside it."""
    warnings.simplefilter("ignore")  # they are said where the results are
    settings = Settings()
    outcomes = {model: of(model).assign(task=TASK) for model in SHOWN}
    reference, *others = SHOWN
    graded = GradedModels(
        TASK,
        {model: scored_outcomes(table, settings) for model, table in outcomes.items()},
        outcomes,
        {model: compare(outcomes[reference], outcomes[model]) for model in others},
    )
    with tempfile.TemporaryDirectory() as scratch:
        gallery = Gallery(Path(scratch) / "figures", "")
        tables = [page_table(table) for table in task_tables(graded)]
        section = graded_models_section(graded, gallery, tables)
        contents = PageContents(
            title="A small model before and after training",
            summary=[
                "SmolLM2-135M-Instruct (base), and trained on sums by RLVR and by PerMix-RLVR: 160 "
                "held-out sums under 16 personas. Responses are not stored with these results.",
            ],
            sections=[section, _frontier(), training_section(trainings(), gallery)],
            responses=_responses(outcomes),
            provenance={
                "command": "python -m scripts.example_page",
                "results": str(RESULTS.relative_to(ROOT)),
                "settings": asdict(settings),
                "scored_with": versions(),
            },
        )
        write_page(contents, Path(scratch) / "index.html")
        publish_page(Path(scratch), SITE)
    print(SITE)


def _frontier() -> Section:
    table = pd.read_csv(RESULTS / "summary.csv")
    x, y = "pss_corrected", "persona_information"
    chart = point_chart(table, x, y, (NAMES[x], NAMES[y]), {})
    figure = PageFigure("frontier", *KINDS["frontier"], chart, data=table)
    return Section("frontier", "All checkpoints", [], [], [figure])


def _responses(outcomes: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The verdicts, with the questions and the personas' texts."""
    questions = {q.id: q for q in BENCHMARK.load(None, 0, per_level=160, levels=["2"])}
    # the run asked version 1 of core, whose personas are all in wide
    personas = {persona.id: persona.prompt or "" for persona in load_persona_set("wide")}
    table = pd.concat(
        [each.assign(model=model) for model, each in outcomes.items()], ignore_index=True
    )
    return table.assign(
        question_text=[BENCHMARK.prompt(questions[q].problem) for q in table["question"]],
        answer=[questions[q].answer for q in table["question"]],
        system=[personas[persona] for persona in table["persona"]],
        response=pd.Series([None] * len(table), dtype=object),
    )


if __name__ == "__main__":
    main()
