"""What is on a results page: a summary, sections with tables and figures, and the responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

RESPONSE_COLUMNS = (
    "model",
    "task",
    "question",
    "question_text",
    "answer",
    "persona",
    "kind",
    "level",
    "subject",
    "sample",
    "verdict",
    "reason",
    "route",
    "voice",
    "reward",
    "response",
    "system",
    "context",
    "judgements",
)
"""Of `PageContents.responses`."""

REQUIRED = ("model", "task", "question", "persona", "sample", "verdict", "response")
"""Columns without which there is nothing to show; the others count as empty where missing."""


@dataclass(frozen=True, eq=False)
class PageFigure:
    """A figure, and the numbers behind it.

    Attributes:
        name: As in a file's name, unique among the figures of its section.
        title: A heading.
        caption: What it shows.
        svg: The figure; it is shown as an image, and nothing in it can run.
        png: The figure where there is no `svg`.
        data: The numbers it shows, if they are to be on the page too.
    """

    name: str
    title: str
    caption: str
    svg: str | None
    png: bytes | None
    data: pd.DataFrame | None


@dataclass(frozen=True, eq=False)
class PageTable:
    """A table that can be sorted and filtered.

    Attributes:
        name: Unique among the tables of its section.
        title: A heading.
        table: Numbers, texts, and NaN or None (shown as n/a). Its index is not shown.
        note: Shown below it.
        formats: How numbers are written, by column: a format specification such as ".3f". They
            are sorted and downloaded as they are, not as they are written.
    """

    name: str
    title: str
    table: pd.DataFrame
    note: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page, e.g. one task or a comparison.

    Attributes:
        name: Unique on the page.
        title: A heading.
        text: Paragraphs.
        tables: Shown after the text.
        figures: Shown after the tables.
    """

    name: str
    title: str
    text: Sequence[str]
    tables: Sequence[PageTable]
    figures: Sequence[PageFigure]


@dataclass(frozen=True, eq=False)
class PageContents:
    """All that is on a page. Every text is plain text: no markup in it has any effect.

    Attributes:
        title: Title of the page.
        summary: Paragraphs.
        sections: In order.
        responses: A row a response, with the columns of `RESPONSE_COLUMNS` (see
            `responses.page_responses`); may be empty.
        provenance: How it was made: command, versions, runs, ...
    """

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    responses: pd.DataFrame
    provenance: Mapping[str, Any]
