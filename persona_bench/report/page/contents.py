"""What is on a results page: sections with cards, figures and tables, and the responses."""

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
    "score",
    "reason",
    "route",
    "taken",
    "tokens",
    "limit",
    "voice",
    "reward",
    "response",
    "system",
    "context",
    "conversation",
    "judgements",
)
"""The columns of `PageContents.responses`."""

REQUIRED = ("model", "task", "question", "persona", "sample", "verdict", "response")
"""Columns without which there is nothing to show; the others count as empty where missing."""


@dataclass(frozen=True)
class Card:
    """One number that answers a question, in large type.

    Attributes:
        label: What it is.
        value: The number or word.
        text: One sentence below it.
        look: `stable`, `unstable` or empty: how it is coloured.
        gauge: A value with its interval and the value by chance alone, all from 0 to 1, drawn
            as a line below the number; None for none.
        link: An address in the page, `#responses?...`; empty for none.
    """

    label: str
    value: str
    text: str = ""
    look: str = ""
    gauge: tuple[float, float, float, float] | None = None
    link: str = ""


@dataclass(frozen=True, eq=False)
class PageFigure:
    """A chart that the page draws from numbers, or a picture; and the numbers behind it.

    Attributes:
        name: As in a file's name, unique among the figures of its section.
        title: A heading.
        caption: What it shows.
        chart: A chart as `page.charts` makes it; None for a picture.
        svg: The picture; it is shown as an image, and nothing in it can run.
        data: The numbers it shows, if they are to be on the page too.
    """

    name: str
    title: str
    caption: str
    chart: Mapping[str, Any] | None = None
    svg: str | None = None
    data: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class PageTable:
    """A table that can be sorted and filtered; eight rows are shown until more are asked for.

    Attributes:
        name: Unique among the tables of its section.
        title: A heading.
        table: Numbers, texts, and NaN or None (shown as n/a). Its index is not shown.
        note: Shown below it.
        formats: How numbers are written, by column: a format specification such as ".3f". They
            are sorted and downloaded as they are, not as they are written. Numbers of a column
            that are all whole are written as integers.
        intervals: Columns that hold the ends of another column's interval: `value [low, high]`
            is then one column.
    """

    name: str
    title: str
    table: pd.DataFrame
    note: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page, e.g. one task or a comparison: the answer first.

    Attributes:
        name: Unique on the page.
        title: A heading.
        text: Paragraphs, after the cards.
        tables: Shown after the figures.
        figures: Shown after the text.
        cards: The answer.
        notes: Paragraphs under *Details*.
        more: Tables and figures under *Details*.
    """

    name: str
    title: str
    text: Sequence[str]
    tables: Sequence[PageTable]
    figures: Sequence[PageFigure]
    cards: Sequence[Card] = ()
    notes: Sequence[str] = ()
    more: Sequence[PageTable | PageFigure] = ()

    @property
    def all_tables(self) -> list[PageTable]:
        """Those under *Details* too."""
        return [*self.tables, *(each for each in self.more if isinstance(each, PageTable))]

    @property
    def all_figures(self) -> list[PageFigure]:
        """Those under *Details* too."""
        return [*self.figures, *(each for each in self.more if isinstance(each, PageFigure))]


@dataclass(frozen=True, eq=False)
class PageContents:
    """All that is on a page. Every text is plain text: no markup in it has any effect.

    Attributes:
        title: Title of the page.
        summary: Paragraphs.
        sections: In order.
        responses: One row per response, with the columns of `RESPONSE_COLUMNS` (see
            `responses.page_responses`); may be empty.
        provenance: How it was made: command, versions, runs, ...
    """

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    responses: pd.DataFrame
    provenance: Mapping[str, Any]
