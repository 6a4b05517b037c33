"""Data as blocks in the page: gzip and base64, so that nothing in them can end the block.

Columns are codes into a list of their distinct values. Long texts are not in the columns but in
pools: lists of distinct texts, cut into chunks that the page unpacks when it needs them.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from persona_bench.report.page.contents import REQUIRED
from persona_bench.report.page.maths import formula_trees

CHUNK = 1_000_000
"""Characters of text in a chunk: some milliseconds of work for a browser."""
LEVEL = 6
"""Level of compression."""
HEAD = 100
"""Characters of a question that the list of questions shows."""

CATEGORIES = ("model", "task", "question", "persona", "kind", "level", "subject", "verdict")
"""Columns by which responses are grouped and filtered."""
VALUES = (
    *CATEGORIES, "score", "reason", "route", "voice", "reward", "answer", "taken", "tokens",
    "limit",
)  # fmt: skip
"""All columns that are codes into a list of their distinct values."""


def block(name: str, value: Any) -> str:
    """A script element that holds the value as data; the same value gives the same text."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: any text is safe
    packed = gzip.compress(text.encode("ascii"), LEVEL, mtime=0)
    data = base64.b64encode(packed).decode("ascii")
    return f'<script type="application/octet-stream" id="data-{name}">{data}</script>\n'


def unblock(text: str) -> Any:
    """The value of a block."""
    packed = base64.b64decode(text[text.index(">") + 1 : text.rindex("</script>")])
    return json.loads(gzip.decompress(packed))


@dataclass
class Pool:
    """Distinct texts in chunks.

    Attributes:
        name: Name of its blocks, `<name>-0`, `<name>-1`, ...
        codes: For each row the place of its text; -1 for none.
        texts: In the order of the rows, so that what is shown together lies together.
    """

    name: str
    codes: list[int]
    texts: Sequence[str]
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.starts, held = [], CHUNK
        for place, text in enumerate(self.texts):
            if held >= CHUNK:
                self.starts.append(place)
                held = 0
            held += len(text)

    def about(self, *, heads: bool = False) -> dict[str, Any]:
        """What the page needs to know before any chunk is unpacked."""
        facts: dict[str, Any] = {
            "name": self.name,
            "codes": self.codes,
            "starts": self.starts,
            "size": len(self.texts),
        }
        if heads:
            facts["heads"] = [" ".join(text[: 3 * HEAD].split())[:HEAD] for text in self.texts]
        return facts

    def blocks(self) -> Iterator[str]:
        """The chunks, one at a time."""
        for number, start in enumerate(self.starts):
            end = next(iter(self.starts[number + 1 :]), len(self.texts))
            yield block(f"{self.name}-{number}", list(self.texts[start:end]))


def encode_responses(responses: pd.DataFrame) -> Iterator[str]:
    """The blocks of a table of responses: first `index`, then the texts.

    Rows are sorted so that all responses to a question stand together, tasks, questions, models
    and personas each in the order in which they first come.

    Raises:
        ValueError: a required column is missing.
    """
    if responses.empty and not len(responses.columns):
        responses = pd.DataFrame(columns=list(REQUIRED))
    missing = [column for column in REQUIRED if column not in responses.columns]
    if missing:
        raise ValueError(
            f"the responses lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"{', '.join(REQUIRED)} are required"
        )
    size = len(responses)
    columns = {name: _category(responses, name) for name in VALUES}
    sample = responses["sample"].to_numpy(dtype=int)
    by = ("persona", "model", "question", "task")
    order = np.lexsort((sample, *(columns[name][0] for name in by)))
    pools = [
        _pool(responses, name, order)
        for name in ("question_text", "response", "system", "context", "conversation")
    ]
    if "judgements" in responses.columns:
        lists = [_judgements(each) for each in responses["judgements"].to_numpy(object)[order]]
    else:
        lists = [[]] * size
    judgements, justification = _encode_judgements(lists)
    index = {
        "rows": size,
        "sample": sample[order].tolist(),
        "columns": {
            name: {"codes": codes[order].tolist(), "values": values}
            for name, (codes, values) in columns.items()
        },
        "pools": {pool.name: pool.about(heads=pool.name == "question_text") for pool in pools},
        "judgements": judgements,
    }
    yield block("index", index)
    questions = pools[0].texts
    yield block("maths", formula_trees(questions, columns["answer"][1] + columns["taken"][1]))
    for pool in (*pools, justification):
        yield from pool.blocks()


def _category(table: pd.DataFrame, name: str) -> tuple[np.ndarray[Any, Any], list[str]]:
    """A column's codes and distinct texts."""
    if name not in table.columns:
        return np.zeros(len(table), dtype=int), [""]
    codes, values = pd.factorize(table[name], use_na_sentinel=True)
    texts = [str(value) for value in values]
    if (codes < 0).any():
        codes, texts = np.where(codes < 0, len(texts), codes), [*texts, ""]
    return codes, texts


def _pool(table: pd.DataFrame, name: str, order: np.ndarray[Any, Any]) -> Pool:
    if name not in table.columns:
        return Pool(name, [-1] * len(table), [])
    texts = np.empty(len(table), dtype=object)
    for row, value in enumerate(table[name].to_numpy(dtype=object)[order]):
        # an empty response is one, an empty prompt is none
        missing = value is None or value != value or (value == "" and name != "response")
        texts[row] = None if missing else value if isinstance(value, str) else str(value)
    codes, values = pd.factorize(texts, use_na_sentinel=True)
    return Pool(name, codes.tolist(), list(values))


def _judgements(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else []


def _encode_judgements(lists: Sequence[list[dict[str, Any]]]) -> tuple[dict[str, Any], Pool]:
    """A table with a row for each judgement, `row` being the response's place."""
    said = [(row, each) for row, found in enumerate(lists) for each in found]
    table = pd.DataFrame(
        {
            name: pd.Series([each.get(name) for _, each in said], dtype=object)
            for name in ("judge", "verdict", "reason", "justification")
        }
    )
    scores = [each.get("score") for _, each in said]
    pool = _pool(table, "justification", np.arange(len(table)))
    columns = {name: _category(table, name) for name in ("judge", "verdict", "reason")}
    table_of: dict[str, Any] = {
        "row": [row for row, _ in said],
        "score": [None if score is None or score != score else float(score) for score in scores],
        "columns": {
            name: {"codes": codes.tolist(), "values": values}
            for name, (codes, values) in columns.items()
        },
        "pool": pool.about(),
    }
    return table_of, pool
