"""Names as LaTeX shows them: nothing in a name is a command."""

from __future__ import annotations

from persona_bench.report.tables import printable

_SPECIAL = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    "$": "\\$",
    "&": "\\&",
    "%": "\\%",
    "#": "\\#",
    "_": "\\_",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "{\\char34}",
    "`": "{\\char96}",
    # after \\ these two are arguments of the line break
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}


def escape(text: str) -> str:
    """The text, with what LaTeX would take for a command written out; `--` stays two hyphens."""
    escaped = "".join(_SPECIAL.get(character, character) for character in printable(text))
    return escaped.replace("--", "-{}-").replace("--", "-{}-")
