"""An example response of each score for each persona and question, as PersonaGym's judges see."""

from __future__ import annotations

from collections.abc import Iterable

from persona_bench.grading.judge.prompt import Item
from persona_bench.harness.judge.asking import Done, Work, examples_work
from persona_bench.harness.judge.client import JudgeSettings
from persona_bench.harness.judge.desk import Desk
from persona_bench.harness.judge.jobs import Judged, stored_example_key, unique_items

Examples = dict[str, str]
"""By `jobs.example_key`; those that could not be read are not there."""


def examples_wanted(
    judged: Judged, items: Iterable[Item], writer: JudgeSettings, desk: Desk
) -> dict[str, Work]:
    """What has to be written, by `jobs.example_key`; nothing where the rubrics show none."""
    if not desk.plan.examples or not judged.rubrics.examples:
        return {}
    digest = desk.digest_or_unknown(writer)
    return {
        key: examples_work(
            stored_example_key(judged.rubrics, item, writer.parameters, digest),
            item,
            judged.rubrics,
            writer,
        )
        for key, item in unique_items(list(items), judged.rubrics).items()
    }


def write_examples(wanted: dict[str, Work], writer: JudgeSettings, desk: Desk) -> Done:
    """Has the examples written that are not there yet."""
    show = f"examples by {writer.model}"
    return desk.carry_out("examples", list(wanted.values()), writer, show)


def stored_examples(wanted: dict[str, Work], writer: JudgeSettings, desk: Desk) -> Examples:
    """The examples that are in the store and could be read."""
    if not wanted:
        return {}
    records = desk.shelf("examples", writer).get(work.key for work in wanted.values())
    texts = {
        key: str((records.get(work.key) or {}).get("examples") or "")
        for key, work in wanted.items()
    }
    return {key: text for key, text in texts.items() if text}
