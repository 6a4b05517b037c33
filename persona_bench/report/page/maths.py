"""LaTeX in questions and answers as MathML, in a form that the page can build element by element.

The page makes no markup from text: a formula is a tree of known MathML elements and attributes,
made here, and anything else stays LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

FORMULAS = re.compile(
    r"(?<!\\)\$\$(?P<a>[^$]+)\$\$|(?<!\\)\$(?!\s)(?P<b>[^$\n]+?)(?<!\s)\$(?!\d)"
    r"|\\\((?P<c>.+?)\\\)|\\\[(?P<d>.+?)\\\]",
    re.DOTALL,
)
"""Formulas in a text. `text.js` has the same expression."""
IN_ANSWERS = re.compile(r"[\\^_]")
"""An answer with one of these characters is LaTeX as a whole."""
LONGEST = 600
"""Characters of a formula; a longer one stays LaTeX."""
MOST = 20_000
"""Formulas on a page."""
_TAGS = """
math mrow mi mn mo mtext mspace mfrac msqrt mroot msup msub msubsup munder mover munderover mtable
mtr mtd mstyle mpadded menclose mphantom mfenced
"""
_ATTRIBUTES = """
display displaystyle scriptlevel mathvariant stretchy fence form separator lspace rspace minsize
maxsize accent accentunder linethickness columnalign columnlines rowlines rowspacing columnspacing
width height depth notation movablelimits symmetric
"""
TAGS, ATTRIBUTES = frozenset(_TAGS.split()), frozenset(_ATTRIBUTES.split())

Tree = list[Any]
"""Tag, attributes, and children: trees and texts."""


def formula_trees(texts: Iterable[str], answers: Iterable[str]) -> dict[str, Tree]:
    """The MathML of every formula in some texts and of every answer that is LaTeX, by its LaTeX.

    What can't be converted is missing.
    """
    sources = [
        next(group for group in match.groups() if group is not None)
        for text in texts
        for match in FORMULAS.finditer(text)
    ]
    sources += [answer.strip("$") for answer in answers if IN_ANSWERS.search(answer)]
    found = {}
    for source in list(dict.fromkeys(sources))[:MOST]:
        if tree := formula_tree(source):
            found[source] = tree
    return found


def formula_tree(latex: str) -> Tree | None:
    """One formula as MathML; None where it has something that is not known to be harmless."""
    from latex2mathml.converter import convert

    if len(latex) > LONGEST:
        return None
    try:
        return _tree(ElementTree.fromstring(convert(latex)))
    except Exception:  # whatever the converter or parser can't do: the LaTeX is shown
        return None


def _tree(element: ElementTree.Element) -> Tree:
    tag = element.tag.rpartition("}")[2]
    if tag not in TAGS:
        raise ValueError(tag)
    attributes = {name: value for name, value in element.items() if name in ATTRIBUTES}
    children: list[Any] = [element.text] if (element.text or "").strip() else []
    for child in element:
        children.append(_tree(child))
    return [tag, attributes, children]
