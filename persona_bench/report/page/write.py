"""Makes the results page: `index.html` with everything in it.

What models and persona sets say is untrusted. The html holds text only as escaped text or as
base64; the page's script puts text into text nodes, never into markup; and a content security
policy lets nothing run but that script, known by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from persona_bench.report.page.contents import Card, PageContents, PageFigure, PageTable, Section
from persona_bench.report.page.encode import block, encode_responses
from persona_bench.report.page.tables import encode_table

SOURCES = Path(__file__).parent
SCRIPTS = (
    "store.js",
    "dom.js",
    "route.js",
    "chart.js",
    "charts.js",
    "tables.js",
    "select.js",
    "search.js",
    "text.js",
    "question.js",
    "browse.js",
    "page.js",
)
"""In this order one script."""

_LOST = re.compile("[\x00\ud800-\udfff]")
_PLACE = re.compile(r"<!-- (\w+) -->")


def write_page(contents: PageContents, path: Path) -> Path:
    """Writes a results page; the same contents give the same bytes.

    Args:
        contents: What is on it.
        path: The file, usually `index.html`; its folder is made, and an old file is replaced.

    Returns:
        `path`.

    Raises:
        ValueError: a column of the responses is missing, two parts have one name, or a table's
            format is none for numbers.
    """
    _check_names(contents.sections)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(_page(contents))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _page(contents: PageContents) -> Iterator[str]:
    script = "".join((SOURCES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    look = (SOURCES / "page.css").read_text(encoding="utf-8")
    tables: dict[str, Any] = {}
    body = "".join(_section(section, tables) for section in contents.sections)
    provenance = json.dumps(contents.provenance, indent=2, ensure_ascii=False, default=str)
    provenance = provenance.replace(str(Path.home()), "~")  # a page is for others too
    parts: dict[str, str | Iterator[str]] = {
        "policy": _policy(script, look),
        "title": _text(contents.title),
        "style": look,
        "contents": _contents_list(contents.sections),
        "summary": _paragraphs(contents.summary, "summary"),
        "sections": body,
        "provenance": _text(provenance),
        "tables": block("tables", tables),
        "responses": encode_responses(contents.responses),
        "script": script,
    }
    template = (SOURCES / "page.html").read_text(encoding="utf-8")
    for place, piece in enumerate(_PLACE.split(template)):
        part = piece if place % 2 == 0 else parts[piece]
        if isinstance(part, str):
            yield part
        else:
            yield from part


def _policy(script: str, look: str) -> str:
    """Only this script and this style sheet, and images that are in the page."""
    return escape(
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(look)}; "
        "img-src data:; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        quote=True,
    )


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _check_names(sections: Sequence[Section]) -> None:
    def once(what: str, names: list[str]) -> None:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two {what} have one name: {', '.join(twice)}")

    once("sections", [section.name for section in sections])
    for section in sections:
        tables, figures = section.all_tables, section.all_figures
        once(f"tables of the section {section.name!r}", [each.name for each in tables])
        once(f"figures of the section {section.name!r}", [each.name for each in figures])


def _text(text: str) -> str:
    """Text in the html, in attributes too; what html can't hold is replaced."""
    return escape(_LOST.sub("\ufffd", text), quote=True)


def _paragraphs(texts: Sequence[str], look: str = "") -> str:
    kind = f' class="{look}"' if look else ""
    return "".join(f'<p{kind} dir="auto">{_text(text)}</p>\n' for text in texts)


def _key(*names: str) -> str:
    """How links name a part of the page; a table and a figure may share a name."""
    return "/".join(quote(_LOST.sub("\ufffd", name), safe="") for name in names)


def _section(section: Section, tables: dict[str, Any]) -> str:
    """Cards, text, figures and tables, then what is under *Details*."""
    more = [_part(each, section, tables) for each in section.more]
    details = ""
    if more or section.notes:
        inner = _paragraphs(section.notes) + "".join(more)
        details = f'<details class="more"><summary>Details</summary>\n{inner}</details>\n'
    parts = [
        f'<section data-key="{_key("section", section.name)}" tabindex="-1">\n'
        f'<h2 dir="auto">{_text(section.title)}</h2>\n',
        _cards(section.cards),
        _paragraphs(section.text),
        *(_figure(each, section, tables) for each in section.figures),
        *(_part(each, section, tables) for each in section.tables),
        details,
    ]
    return "".join([*parts, "</section>\n"])


def _cards(cards: Sequence[Card]) -> str:
    if not cards:
        return ""
    return '<div class="verdicts">\n' + "".join(map(_card, cards)) + "</div>\n"


def _card(card: Card) -> str:
    gauge = ""
    if card.gauge is not None:
        value, low, high, floor = (f"{each:.4f}" if each == each else "" for each in card.gauge)
        gauge = (
            f'<div class="gauge" data-value="{value}" data-low="{low}" data-high="{high}" '
            f'data-floor="{floor}" aria-hidden="true"></div>\n'
        )
    value = _text(card.value)
    if card.link:
        value = f'<a href="{_text(card.link)}">{value}</a>'
    return (
        f'<div class="verdict-card {card.look}">\n<p class="label">{_text(card.label)}</p>\n'
        f'<p class="value" dir="auto">{value}</p>\n{gauge}'
        f'<p class="says" dir="auto">{_text(card.text)}</p>\n</div>\n'
    )


def _part(part: PageTable | PageFigure, section: Section, tables: dict[str, Any]) -> str:
    if isinstance(part, PageFigure):
        return _figure(part, section, tables)
    key = _key("table", section.name, part.name)
    encoded = encode_table(part.table, part.formats, part.intervals)
    tables[key] = {"title": part.title, **encoded}
    note = f'<p class="note" dir="auto">{_text(part.note)}</p>\n' if part.note else ""
    return (
        f'<section class="table" data-key="{key}" tabindex="-1">\n'
        f'<h3 dir="auto">{_text(part.title)}</h3>\n<div data-table="{key}"></div>\n'
        f"{note}</section>\n"
    )


def _figure(figure: PageFigure, section: Section, tables: dict[str, Any]) -> str:
    key = _key("figure", section.name, figure.name)
    shown = numbers = ""
    if figure.chart is not None:
        tables[f"chart/{key}"] = {"title": figure.title, **figure.chart}
        shown = f'<div data-chart="chart/{key}"></div>\n'
    elif figure.svg is not None:
        packed = base64.b64encode(figure.svg.encode(errors="replace")).decode("ascii")
        image = f"data:image/svg+xml;base64,{packed}"
        shown = f'<img src="{image}" alt="{_text(figure.title)}" decoding="async">\n'
    if figure.data is not None:
        tables[key] = {"title": figure.title, **encode_table(figure.data)}
        numbers = (
            f'<details class="numbers"><summary>The numbers behind it</summary>\n'
            f'<div data-table="{key}"></div>\n</details>\n'
        )
    return (
        f'<section class="figure" data-key="{key}" tabindex="-1">\n'
        f'<h3 dir="auto">{_text(figure.title)}</h3>\n<figure>\n{shown}'
        f'<figcaption dir="auto">{_text(figure.caption)}</figcaption>\n</figure>\n{numbers}'
        "</section>\n"
    )


def _contents_list(sections: Sequence[Section]) -> str:
    def link(title: str, *names: str) -> str:
        return f'<a href="#report?at={quote(_key(*names), safe="")}"><bdi>{_text(title)}</bdi></a>'

    lines = []
    for section in sections:
        inner = [
            *(link(each.title, "figure", section.name, each.name) for each in section.all_figures),
            *(link(each.title, "table", section.name, each.name) for each in section.all_tables),
        ]
        items = "".join(f"<li>{each}</li>\n" for each in inner)
        below = f"\n<ul>\n{items}</ul>\n" if items else ""
        lines.append(f"<li>{link(section.title, 'section', section.name)}{below}</li>\n")
    return "".join(lines)
