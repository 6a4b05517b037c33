r"""Reading the final answer out of a response.

In this order: the last balanced box, the last `<answer>...</answer>`, the last sentence that states
an answer, the last number or expression. Reasoning (`reasoning.final_part`) is not looked at.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from persona_bench.grading.last_number import find_last
from persona_bench.grading.reasoning import final_part
from persona_bench.grading.shape import split_outside
from persona_bench.grading.spoken import in_symbols
from persona_bench.grading.statements import corrected_after, find_statement, read_statement

Source = Literal["boxed", "tag", "stated", "last"]


class Extracted(NamedTuple):
    """An answer as it stood in the response, and where it stood."""

    text: str
    source: Source


def extract_answer(response: str) -> Extracted | None:
    r"""The final answer of a response, or None where it has none.

    - `boxed`: the last balanced `\boxed{...}` or `\fbox{...}`, or `\boxed 5`. Empty boxes and
      placeholders (`\boxed{}`, `\boxed{...}`, `\boxed{answer}`) don't count; a box that is never
      closed is no answer, nor is what stands in it.
    - `tag`: what the last `<answer>...</answer>` (`<final_answer>`, `<solution>`) holds, as GRPO
      recipes ask for it; a box after it or in it goes before it.
    - `stated`: what follows the last "the answer is", "Final Answer:", "answer:" or `####`,
      without markup, delimiters, closing prose and punctuation.
    - `last`: the last number or mathematical expression of the text; where only chat follows a
      plain equation ("12 + 5 = 17, and 3 cheers!"), its right side.
    """
    return _read(response, several=False)


def extract_several(response: str) -> Extracted | None:
    r"""As `extract_answer`, but boxes joined by a comma, "and" or "or" count as one list.

    For references with several members: `$\boxed{1}$ and $\boxed{-2}$` gives `1, -2`.
    """
    return _read(response, several=True)


def _read(response: str, *, several: bool) -> Extracted | None:
    text, finished = final_part(response)
    text = without_markup(text)
    boxes, unclosed = find_boxes(text)
    if tagged := _tagged(text, boxes, several=several):
        return tagged
    if boxes:
        chosen = _joined(text, boxes) if several else boxes[-1].text
        if corrected := corrected_after(text, boxes[-1].end):
            return Extracted(corrected, "stated")
        return Extracted(_from_box(chosen), "boxed")
    text = in_symbols(text[:unclosed] if unclosed is not None else text)
    if statement := find_statement(text):
        return Extracted(statement, "stated")
    if finished and (last := find_last(text, several=several)):
        return Extracted(last, "last")
    return None


_STRUCK_OUT = re.compile(
    r"~~(?=\S)(?:(?!\\boxed|\\fbox)[^~\n]){1,80}(?<=\S)~~|<(s|del|strike)>.{1,80}?</\1>|\\(?:st|sout|xcancel|cancel)\{[^{}]{1,80}\}",
    re.IGNORECASE,
)
_HTML = re.compile(
    r"</?(?:b|i|u|em|strong|br|p|span|font|div|center|code|mark|small|big|h[1-6]|li|ul|ol|pre)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_SUPERSCRIPT = re.compile(r"<sup>([^<>]{1,20})</sup>", re.IGNORECASE)
_FULL_WIDTH = {
    code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "！，：；？"
}
_PAIR = re.compile(r"\([^()\n]{1,60}\)")
_BREAKDOWN = re.compile(
    r"(?<=\d) \(\d[\d .+*/×−-]{0,60}[+*/×−-][\d .+*/×−-]{0,60}\)(?=\s*(?:[.!]|\n|$))"
)
"""How a total comes about, behind it: `25 (10 + 15)`."""


def without_markup(text: str) -> str:
    """The text without HTML, full-width letters, and what its writer has crossed out."""
    text = _BREAKDOWN.sub("", _STRUCK_OUT.sub(" ", text.translate(_FULL_WIDTH)))
    text = _PAIR.sub(lambda pair: pair[0].replace("，", ", "), text) if "，" in text else text
    return _HTML.sub(" ", _SUPERSCRIPT.sub(r"^{\1}", text)) if "<" in text else text


_TAG = re.compile(
    r"<\s*(answer|final[_ ]?answer|solution)\s*>(.*?)(?:<\s*/\s*\1\s*>|\Z)"
    r"|\[(ANSWER)\](.*?)(?:\[/ANSWER\]|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_SHORT = 100
"""Characters up to which the content of a tag is read as a sentence, or taken as it is."""
_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
_NO_PROSE = re.compile(r"\\(?:text\w*|math\w+|mbox|begin|end)\s*\{[^{}]*\}|\b(?:and|or)\b")


def _tagged(text: str, boxes: list[Box], *, several: bool) -> Extracted | None:
    """The answer in the last tag that holds one, unless a box follows it."""
    tags = list(_TAG.finditer(text))
    if several and len(tags) > 1:
        members = [Box(m.start(), m.end(), (m[2] if m[1] else m[4]).strip()) for m in tags]
        if not any(find_boxes(member.text)[0] for member in members):
            joined = _joined(text, [m for m in members if m.text])
            if "," in joined and joined != members[-1].text:
                return Extracted(joined, "tag")
    for match in reversed(tags):
        content = (match[2] if match[1] else match[4]).strip().strip("*`")
        if boxes and boxes[-1].start > match.end():
            return None
        if _PLACEHOLDER.fullmatch(content[:200]):
            continue
        inside, _ = find_boxes(content)
        if inside:
            chosen = _joined(content, inside) if several else inside[-1].text
            return Extracted(_from_box(chosen), "boxed")
        content = in_symbols(content)
        if answer := find_statement(content):
            return Extracted(answer, "tag")
        if len(content) <= _SHORT and "\n" not in content:
            statement = (
                read_statement(content) if _PROSE.search(_NO_PROSE.sub(" ", content)) else None
            )
            return Extracted((statement and (statement.value or statement.words)) or content, "tag")
        if last := find_last(content):
            return Extracted(last, "tag")
    return None


class Box(NamedTuple):
    start: int
    end: int
    text: str


_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox|framebox)(?![a-zA-Z])\s*(\{)?|\\[\\{}]|[{}]")
_PLACEHOLDER = re.compile(
    r"(?:\\(?:text|mathrm|textbf)\s*\{)?\s*"
    r"(?:(?:your |the |final )*answer(?: here)?|\.\.\.|…|\\l?dots|\\cdots?|"
    r"\?+|_+|\\?#|n/?a|x+\.x+|none given)?[\s.]*\}?",
    re.IGNORECASE,
)


def find_boxes(text: str) -> tuple[list[Box], int | None]:
    """Balanced boxes that hold an answer, in order, and where the first unclosed one begins.

    One pass, so that a response of nothing but opened boxes costs no more than any other.
    """
    boxes: list[Box] = []
    opened: list[tuple[int, int] | None] = []  # (start, content) of a box, None for a mere brace
    for token in _BOX_TOKEN.finditer(text):
        if token[0].startswith("\\") and len(token[0]) > 2:
            if token[1]:
                opened.append((token.start(), token.end()))
            elif braceless := _BRACELESS.match(text, token.end()):
                boxes.append(Box(token.start(), braceless.end(), braceless[0]))
        elif token[0] == "{":
            opened.append(None)
        elif token[0] == "}" and opened and (box := opened.pop()):
            boxes.append(Box(box[0], token.end(), text[box[1] : token.start()]))
    unclosed = [box[0] for box in opened if box]
    kept = [box for box in boxes if not _PLACEHOLDER.fullmatch(box.text.strip()[:200])]
    kept.sort(key=lambda box: box.start)
    return kept, unclosed[0] if unclosed else None


_BRACELESS = re.compile(r"(?:\\[a-zA-Z]+(?:\{[^{}]*\})*|[^\s${}\\])+")
_JOINT_REACH = 80
"""Characters that may stand between two boxes of one answer."""
_APART = re.compile(
    r"\d|[-+*/×÷^<>]|\\(?:times|cdot|div|frac|sqrt|leq?|geq?|implies|[rR]ightarrow)(?![a-zA-Z])|=\s*[^\s$=]*="
    r"|\b(?:so|thus|hence|therefore|then|total\w*|sum|product|answer|but|no|not|nope|wait|instead|"
    r"rather|actually|finally|check\w*|oops|sorry|again|gives?|step)\b",
    re.IGNORECASE,
)
"""What between two boxes shows that they are not members of one answer."""
_LIST_SIGNS = re.compile(
    r"\n[ \t]*(?:[-+*•·]|\d{1,2}[.)])(?=[ \t])|\(\w\)(?=\s)|_\{?\d+\}?|\*+"
    r"|\d(?:st|nd|rd|th)\b|\w+ \d{1,2}:|\|?-[-|: ]*\|"
)
"""Numbers and signs between two boxes that carry no value: list items, subscripts, bold, tables."""


def _joined(text: str, boxes: list[Box]) -> str:
    """The last boxes as one list, as long as nothing between them shows a step of reasoning."""
    run = [boxes[-1]]
    if len(split_outside(boxes[-1].text, ",")) > 1:
        return boxes[-1].text
    for box in reversed(boxes[:-1]):
        between = text[box.end : run[0].start]
        if len(between) > _JOINT_REACH or _APART.search(_LIST_SIGNS.sub(" ", between)):
            break
        run.insert(0, box)
    return ", ".join(box.text for box in run)


_SAID_IN_BOX = re.compile(
    r"\\text\w*\s*\{[^{}]*\b(?:is|are|equals?)\s*:?\s*\}\s*((?:(?!\\text)[^=])+)\Z"
)
"""`\\text{The value of } k \\text{ is } 5`."""


def _from_box(content: str) -> str:
    """A box normally holds the answer alone; a sentence in it is read like any other."""
    plain = re.sub(r"\\text(?:bf|rm|it)?\s*\{([^{}]*)\}", r" \1 ", content)
    if re.search(r"\banswer\b", plain, re.IGNORECASE) and (stated := find_statement(plain)):
        return stated
    if said := _SAID_IN_BOX.search(content):
        return said[1]
    return content.strip().rstrip("\\")  # of a closing `\\ ` the space is gone by now
