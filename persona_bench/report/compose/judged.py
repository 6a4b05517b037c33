"""The report of one model on one judged task: its section of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from persona_bench.report.compose.cards import fidelity_cards
from persona_bench.report.names import file_stem
from persona_bench.report.page.contents import PageFigure, PageTable, Section
from persona_bench.report.trace import MEANING, trace_sentences

if TYPE_CHECKING:
    from persona_bench.scoring.as_published import AsPublished
    from persona_bench.scoring.fidelity import Fidelity

SCORE = ".2f"


def judged_section(
    task: str,
    model: str,
    result: Fidelity | None,
    said: Sequence[str],
    trace: Mapping[str, Any],
    figures: Sequence[PageFigure] = (),
    published: AsPublished | None = None,
) -> Section:
    """How well one model plays its roles, as judged and without a judge.

    Args:
        task: Its name.
        model: As it is shown.
        result: None where no judge was asked yet.
        said: What is known of the judges and of refusals.
        trace: What `persona-bench trace` wrote; empty where it did not.
        figures: Drawn before.
        published: The scores of PersonaGym's published protocol; None where it was not asked for.
    """
    stem = file_stem(task)
    text: list[str] = []
    tables: list[PageTable] = []
    if result is None:
        text += ["Not judged yet: persona-bench judge.", *said]
    else:
        text += said
        formats = dict.fromkeys(("score", "compatible", "persona_score"), SCORE)
        ends = {"score": ("low", "high")}
        of_personas = {
            str(name): SCORE for name in result.personas if result.personas[name].dtype.kind == "f"
        }
        tables += [
            PageTable(f"{stem}_fidelity", "Fidelity", result.task_scores, "", formats, ends),
            PageTable(f"{stem}_fidelity_personas", "By persona", result.personas, "", of_personas),
        ]
    if published:
        numbers, ends = {"score": SCORE}, {"score": ("low", "high")}
        title = "As published: by PersonaGym's protocol"
        table = published.task_scores
        tables.append(PageTable(f"{stem}_as_published", title, table, "", numbers, ends))
    if trace:
        text += [*trace_sentences(trace), MEANING]
    cards = fidelity_cards(result) if result is not None else []
    return Section(f"{task}/{model}", f"{task}: {model}", text, tables, figures, cards=cards)
