"""Functions of the local tasks; they fail where a document has columns that are not its own."""

from __future__ import annotations

import random
from typing import Any

from lm_eval.api.task import ConfigurableTask

COLUMNS = {"question", "answer", "choices", "gold", "level"}


def text(doc: dict[str, Any]) -> str:
    """The question."""
    assert set(doc) == COLUMNS
    return f"{doc['question']} Answer with a number."


def digits(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Which share of the answer's digits the response holds, and whether it holds all of it."""
    assert set(doc) == COLUMNS
    doc["seen"] = True  # a function may keep its notes in the document
    said = set(results[0])
    wanted = set(doc["answer"])
    return {
        "digits": len(wanted & said) / len(wanted),
        "length": len(results[0]),
        "pair": (doc["answer"], results[0]),
        "holds": doc["answer"] in results[0],
    }


def joined(items: list[Any]) -> float:
    """An aggregation that needs all documents."""
    return float(len({gold for gold, _ in items}))


def shuffled(dataset: Any) -> Any:
    """Choices in a random order, as GPQA has them."""

    def shuffle(doc: dict[str, Any]) -> dict[str, Any]:
        choices = list(doc["choices"])
        random.shuffle(choices)
        return {**doc, "choices": choices, "gold": choices.index(doc["answer"])}

    return dataset.map(shuffle)


class Shouting(ConfigurableTask):
    """A task with a class of its own."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = dict(config or {})
        config.pop("class", None)
        super().__init__(config=config)

    def doc_to_text(self, doc: dict[str, Any], doc_to_text: Any = None) -> str:
        """The question, in capitals."""
        assert set(doc) == COLUMNS
        return str(doc["question"]).upper()
