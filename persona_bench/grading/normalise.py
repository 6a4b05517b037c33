r"""One spelling for answers that differ only in how they are written.

`normalise` turns an answer (LaTeX, Unicode or plain) into a canonical LaTeX string, so that most
answers can be compared as strings. It removes what carries no value: delimiters, spacing, sizes,
currency signs, degree signs, units, text beside a value, closing punctuation. A percent sign stays
(as a closing `\%`), because it may change the value.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from persona_bench.grading.numbers import (
    SCALE_WORDS,
    chinese_numeral,
    leading_number_words,
    roman_numeral,
    scaled_number,
)

MAX_ANSWER = 2000
"""Characters of an answer that are looked at; no reference comes near."""


class Normal(NamedTuple):
    text: str
    """Canonical LaTeX, without spaces except where they separate."""
    words: bool
    """Whether the whole answer is text (`Evelyn`, `even`); then it is in lower case."""


_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ",
    "⋅": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\leq ",
    "≥": r"\geq ", "≠": r"\neq ", "±": r"\pm ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "°": r"^\circ ", "º": r"^\circ ", "θ": r"\theta ", "“": "", "”": "", '"': "",
    "‘": "'", "’": "'", "€": "", "£": "", "¥": "", "₹": "", "¢": "", "％": "%", "\u200b": "",
    "∅": r"\emptyset ", "⟨": r"\langle ", "⟩": r"\rangle ",
}  # fmt: skip
_TABLE = str.maketrans(_SYMBOLS)
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[a-z])|(?=\{))")

_ROW_SKIP = re.compile(r"\\\\\s*\[\s*\d[\d.]*\s*(?:pt|em|ex|mm|cm)\s*\]")
_DELIMITERS = re.compile(r"(?<!\\)(?:\\\\)*\\[()\[\]]|\\?\$")
_THOUSANDS = re.compile(
    r"(?<=\d)(?:\{,\}|,\\!|\{,\\!\}|\\,|\\;|\\ |\\!|\\:|,\{\}|\{\\,\}|,\\,)\s*(?=\d{3}(?!\d))"
)
_SPACED_THOUSANDS = re.compile(r"\s*([+-]?\d{1,3}(?: \d{3})+(?:\.\d+)?)\s*")
_SIZES = re.compile(
    r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lrm]?|mleft|mright)(?![a-zA-Z])"
)
_SPACES = re.compile(
    r"(?<!\\)\\[,;: ]|\\(?:q?quad|thinspace|medspace|enspace)(?![a-zA-Z])|~|\\hspace\*?\{[^{}]*\}"
)
_NEXT_NAME = re.compile(r"(?<=[\d})])\s*\\q?quad(?![a-zA-Z])(?=\s*[a-zA-Z](?:_\{?\w+\}?)?\s*=)")
_SYNONYMS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "nicefrac": "frac", "sfrac": "frac",
    "flatfrac": "frac", "varnothing": "emptyset",
    "dbinom": "binom", "tbinom": "binom", "doteq": "approx", "le": "leq",
    "lg": "log", "lbrace": "{", "rbrace": "}",
    "leqslant": "leq", "ge": "geq", "geqslant": "geq", "lt": "<", "gt": ">", "ne": "neq",
    "infin": "infty", "lbrack": "[", "rbrack": "]", "langle": "(", "rangle": ")", "ast": "*",
    "arctan": "arctan", "degree": "^{\\circ}", "percent": "%", "div": "/", "lvert": "|",
    "rvert": "|", "vert": "|", "colon": ":", "dots": "ldots", "cdots": "ldots", "land": ",",
    "lor": ",", "wedge": "wedge", "dollar": "",
}  # fmt: skip
_MEANINGFUL = frozenset(re.findall(r"\w+", """
    frac binom choose over atop sqrt pm mp times cdot circ setminus cup cap in notin leq geq
    neq approx simeq sim equiv cong mid nmid subset subseteq supset not exp log ln lg sin cos
    tan cot sec csc sinh cosh tanh arcsin arccos arctan gcd lcm max min mod bmod pmod pod sum
    prod int lim infty emptyset varnothing lfloor rfloor lceil rceil angle triangle
    measuredangle parallel perp prime wedge to Rightarrow rightarrow implies begin end boxed
    overline bar dot hat vec widehat overrightarrow ldots ell Re Im cis uparrow pi text textbf
    textit textrm textsf texttt textnormal textsc textup mbox hbox mathrm mathbf mathit mathsf
    mathtt mathnormal mathbb mathcal emph operatorname boldsymbol bm underline alpha beta
    gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho
    varrho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma
    Upsilon Phi Psi Omega hspace
"""))  # fmt: skip
"""Commands that may change a value. All others, such as sizes, fonts and ornaments, are dropped."""
_BARE = {"<", ">", "[", "]", "(", ")", "*", "/", "|", ":", ",", "", "^{\\circ}"}
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_MATRIX = re.compile(r"\\(begin|end)\{(?:[bB]matrix|matrix|smallmatrix|psmallmatrix)\}")
_ARRAY = re.compile(
    r"[(\[]\s*\\begin\{(array|pmatrix)\}(?:\{[lcr|\s]*\})?(.*?)\\end\{\1\}\s*[)\]]", re.DOTALL
)
_CIRCLE = r"(?:\\circ|o\b|\\mathrm\{o\})"
_DEGREE = rf"\^\s*(?:\{{\s*{_CIRCLE}\s*\}}|{_CIRCLE})"
_DEGREES = re.compile(rf"{_DEGREE}(?:\s*[CF](?![a-zA-Z]))?")
_ANGLE = re.compile(rf"(\\(?:sin|cos|tan|cot|sec|csc)\s*[({{]?\s*)(\d+(?:\.\d+)?)\s*{_DEGREE}")
_NESTED = r"(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*"
"""What stands in braces, with braces three deep in it."""
_DECORATION = re.compile(
    r"\\(?:(?:text)?color(?:\s*\[[^\]]*\])?|tag\*?|label|[hv]?phantom|colorbox|fcolorbox\s*\{[^{}]*\}|"
    r"underset|overset|stackrel|raisebox)\s*\{(?:[^{}]|\{[^{}]*\})*\}"
    r"|^\s*\\(?:implies|(?:Long)?[rR]ightarrow|longrightarrow|to)(?![a-zA-Z])"
    r"|[∴∎■□◻\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\U0001f000-\U0001faff]"
)
_REASON = re.compile(r"\\text\w*\s*\{[\s,;]*\(?(?:since|because)\b.*$")
"""A reason that follows the value in the box."""
_ABOUT = re.compile(
    r",?\s*(\\text\w*\s*\{)[\s,(]*(?:or\s+)?(?:approximately|approx\.?|about|roughly)(?![a-z])"
    r"|\(\s*\\approx(?![a-zA-Z])"
)
_SCALED = re.compile(rf"(\d[\d.,]*)((?:[\s~$]|\\,|\\text\w*\s*\{{)*){SCALE_WORDS}", re.IGNORECASE)
_COMBINATIONS = re.compile(
    r"(?:\{\s*\})?\s*[_^]\s*\{?(\d+)\}?\s*(?:\\mathrm\s*\{\s*C\s*\}|C)\s*_\s*\{?(\d+)\}?"
)
_BASE_WORD = re.compile(r"_\s*\{\s*\\(?:text\w*|mathrm)\s*\{\s*(?:base\s)?\s*(\w+)\s*\}\s*\}")
_ONE_CELL = re.compile(
    r"\\begin\{(pmatrix|array)\}(?:\{[lcr|\s]*\})?(?:\s*\\\\)?((?:(?!\\\\)[^&])*?)(?:\\\\\s*)?\\end\{\1\}"
)
_FRAMES = re.compile(
    r"\\(?:boxed|fbox|framebox|ensuremath|underline|underbrace|mathop)"
    rf"\s*\{{({_NESTED})\}}"
)
_MOD = re.compile(r"\\(?:text\w*|math\w+|operatorname|rm)\s*\{\s*mod\s*\}")
_LOG_OF_NUMBER = re.compile(r"(\\log\s*_\s*(?:\w|\{[^{}]*\}))\s*(\d+(?:\.\d+)?)")
ALIGNED = re.compile(
    r"\\begin\{(align(?:ed|at)?|gather(?:ed)?|split|equation|eqnarray|multline|cases|center)\*?\}"
    r"(?:\{[^{}]*\})?(.*?)\\end\{\1\*?\}",
    re.DOTALL,
)
"""Environments that arrange lines: group 2 holds them."""
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|sc|up)?|mbox|hbox|math(?:rm|bf|it|sf|tt|normal)|emph|"
    r"operatorname\*?|boldsymbol|bm|textcolor\{[a-z]+\}|underline)\s*"
    rf"\{{({_NESTED})\}}(\s*\^\s*(?:\{{\s*-?\d\s*\}}|\d))?"
)
_PLAIN_TEXT = re.compile(r"[(\[]?[A-Za-z][A-Za-z .,:;!?'()\[\]/-]*")
_AND_OR = re.compile(
    r"\s*,?\s*(?<![a-zA-Z\\])(?:and|or|und|oder|et|ou|и|или|та)(?![a-zA-Z])\s*,?\s*"
    r"|(?<=\d)\s+[yeo]\s+(?=-?\d)|\s*[、和与與及或]\s*",
    re.IGNORECASE,
)
_FRAC_ARGUMENTS = re.compile(
    r"\\(frac|binom)\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|([0-9a-zA-Z]|\\pi))"
    r"\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|([0-9a-zA-Z]|\\pi))"
)
_SQRT_ARGUMENT = re.compile(r"\\sqrt\s*([0-9a-zA-Z]|\\pi(?![a-zA-Z]))")
_BRACED_POWER = re.compile(r"([\^_])\s*\{\s*([0-9a-zA-Z])\s*\}")
_BARE_POWER = re.compile(r"\^\s*(-\d+|\d{2,})")  # nobody who writes 2^10 means 2^1 times 0
_CALLED_POWER = re.compile(r"(?:\^|\*\*)\s*\(((?:[^()]|\([^()]*\))*)\)")
_FUNCTIONS = re.compile(
    r"(?<![\\a-zA-Z])(sqrt|sin|cos|tan|cot|sec|csc|ln|log|pi|infty|theta|arcsin|arccos|arctan)"
    r"(?![a-zA-Z])"
)
_SQRT_CALL = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_INFINITY = re.compile(r"(?<![\\a-zA-Z])(?:infinity|inf)(?![a-zA-Z])", re.IGNORECASE)
_UNIT_TAIL = re.compile(
    r"(?<=[\d})\s])\s*(?<![\\a-zA-Z{])(?:[A-Za-z]{2,}|(?<=\s)[mgLhs])\.?"
    r"(?:(?:\s*[/·,-]\s*|\s*\\cdot\s*|\s+)[A-Za-z]+\.?)*(?:\s*\^\s*(?:\{-?\d\}|-?\d))?\s*$"
)
_THOUSANDS_LETTER = re.compile(r"^([\s$]*-?\d+(?:\.\d+)?)\s?k\b(?=[\s$.]*$)")
_DIFFERENCE = re.compile(r"(?<![A-Za-z])[A-Za-z] ?[-*/] ?[A-Za-z](?![A-Za-z])")
"""`p - q`, whatever font it is in."""
_CONSTANT_NAME = re.compile(r"(?:(?:minus|negative) )?(?:pi|infinity)", re.IGNORECASE)
_PERCENT = re.compile(r"\\?%|(?<![a-zA-Z\\])(?:per\s?cent|pct)(?:age)?(?![a-zA-Z])", re.IGNORECASE)
_SPACE_RUN = re.compile(r"\s+")
_SPACE_DROP = re.compile(
    r"(?<=[^\w\s]) (?=.)|(?<=.) (?=[^\w\s])|(?<=[a-zA-Z]) (?=\d)|(?<=\d) (?=[a-zA-Z])"
)
_COMMAND_SPACE = re.compile(r"(\\[a-zA-Z]+) (?=[a-zA-Z])")
_EXCLAIMED = re.compile(r"!{3,}$")
_EDGES = " \t\r\n,;:?*_`'\"#"
_CLOSING = _EDGES + "."
_OPENING_WORDS = re.compile(r"^(?:[a-z ]*(?:\b(?:is|are|be) |: ?)|it's )?(?:the |an? )?")
_CHOICE_LABEL = re.compile(r"^\(([A-J])\)\s*(?=[^\s])")


@lru_cache(maxsize=65536)
def normalise(answer: str, symbolic: bool = False) -> Normal:
    """The canonical spelling of an answer.

    Args:
        answer: what stood in the box, or what was read from the prose.
        symbolic: the reference holds variables, so that a plain letter or word beside a number
            may be one and stays; else words beside a value are units and go.
    """
    text = _plain_symbols(answer[:MAX_ANSWER])
    text = _latex_spelling(text)
    text, is_text = _unwrap_text(text)
    text = _SPACE_RUN.sub(" ", text)  # runs of spaces make the patterns below slow
    if (as_words := _words(text, is_text)) is not None:
        return as_words
    text = _FUNCTIONS.sub(r"\\\1 ", _INFINITY.sub(r"\\infty ", _AND_OR.sub(",", text)))
    if not symbolic:
        text = _THOUSANDS_LETTER.sub(r"\1\\times10^3", text)
        text = _UNIT_TAIL.sub("", text.strip(_EDGES).rstrip(_CLOSING))
        text = _CHOICE_LABEL.sub("", text)
    return Normal(_close_up(text), False)


def _plain_symbols(text: str) -> str:
    """Unicode mathematics as LaTeX, the rest in compatibility form."""
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run[0].translate(_SUPERSCRIPTS) + "}", text)
    text = _SUBSCRIPT_RUN.sub(lambda run: "_{" + run[0].translate(_SUBSCRIPTS) + "}", text)
    text = _VULGAR.sub(_vulgar_fraction, text)
    text = _ROOT.sub(
        lambda root: rf"\sqrt{{{root[1] or root[2]}}}" if root[1] or root[2] else r"\sqrt", text
    )
    return unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)


def _vulgar_fraction(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    return rf"\frac{{{top}}}{{{bottom}}}" if bottom else match[0]


def _latex_spelling(text: str) -> str:
    text = _ROW_SKIP.sub(r"\\\\", _SPACE_RUN.sub(" ", text).strip())
    text = ALIGNED.sub(_one_line, text).rstrip("\\")
    text = _REASON.sub("", _DECORATION.sub(" ", _COMBINATIONS.sub(r"\\binom{\1}{\2}", text)))
    text = _ABOUT.sub(r"\\approx \1", _FRAMES.sub(r" \1 ", text.replace("{=}", "=")))
    text = _BASE_WORD.sub(_base_in_digits, _SCALED.sub(_written_out, text))
    text = _LOG_OF_NUMBER.sub(r"\1(\2)", _MOD.sub(r"\\bmod ", text))
    text = _THOUSANDS.sub("", text)
    text = _DELIMITERS.sub(" ", text)
    text = _SPACES.sub(" ", _NEXT_NAME.sub(", ", text).replace(r"\!", ""))
    text = _SIZES.sub("", text)
    text = _COMMAND.sub(_synonym, text)
    text = _ARRAY.sub(r"\\begin{pmatrix}\2\\end{pmatrix}", _MATRIX.sub(r"\\\1{pmatrix}", text))
    text = _ONE_CELL.sub(r" \2 ", text)
    text = _ANGLE.sub(r"\1\\frac{\2\\pi}{180}", text)
    text = _DEGREES.sub(" ", text).replace("<=", r"\leq ").replace(">=", r"\geq ")
    text = _SPACE_RUN.sub(" ", _PERCENT.sub(r"\\%", text))
    if match := _SPACED_THOUSANDS.fullmatch(text):
        return match[1].replace(" ", "")
    return text


def _written_out(match: re.Match[str]) -> str:
    """`2.3 \\text{ million}` as a number; what stands between stays, so that braces match."""
    value = scaled_number(match[1], match[3])
    return value + match[2] if value else match[0]


def _base_in_digits(match: re.Match[str]) -> str:
    """`_{\\text{two}}` as `_{2}`; any other index stays."""
    number = (match[1], 0) if match[1].isdigit() else leading_number_words(match[1])
    return f"_{{{number[0]}}}" if number else match[0]


def _one_line(match: re.Match[str]) -> str:
    """An aligned block as one line: steps of a calculation stay one, other lines are members."""
    lines = [line.replace("&", "").strip() for line in match[2].split("\\\\")]
    joined = ""
    for line in lines:
        joined += (" " if not joined or line.startswith("=") else ", ") + line if line else ""
    return joined


def _synonym(match: re.Match[str]) -> str:
    name = _SYNONYMS.get(match[1])
    if name is None:
        return match[0] if match[1] in _MEANINGFUL else " "
    return name + " " if name in _BARE else "\\" + name


def _unwrap_text(text: str) -> tuple[str, bool]:
    r"""Takes `\text{...}` apart: units beside a value go, values and whole-text answers stay."""
    if not _TEXT.search(text):
        return text, False
    beside = _TEXT.sub(" ", text)
    alone = not re.search(r"[0-9A-Za-z]", beside)

    def replace(match: re.Match[str]) -> str:
        inside = match[1].strip()
        if _AND_OR.fullmatch(f" {inside} "):
            return ","
        is_unit = not alone and len(inside) > 1 and _PLAIN_TEXT.fullmatch(inside)
        if is_unit and not re.fullmatch(r"\([A-Z]\)|cis|Re|Im|[A-Z]{2,}", inside):
            return " "
        return f" {match[1]}{match[2] or ''} "

    for _ in range(4):  # text in text, rarely more than twice
        unwrapped = _TEXT.sub(replace, text)
        if unwrapped == text:
            break
        text = unwrapped
    return text, alone


def _words(text: str, is_text: bool) -> Normal | None:
    """The answer as text or as a number in words; None where it is mathematics."""
    stripped = text.strip(_EDGES).rstrip(_CLOSING)
    if (value := chinese_numeral(stripped.rstrip("。"))) is not None:
        return Normal(str(value), False)
    if re.search(r"[\d\\^_=+{}<>|]", stripped) or not re.search(r"[A-Za-z]{2}|[A-Za-z]", stripped):
        return None
    if _CONSTANT_NAME.fullmatch(stripped) or _DIFFERENCE.search(stripped):
        return None
    if number := leading_number_words(stripped):
        return Normal(number[0], False)
    if (roman := roman_numeral(stripped)) is not None:
        return Normal(str(roman), False)
    if not is_text and not re.search(r"[A-Za-z]{2}", stripped):
        return None
    plain = _SPACE_RUN.sub(" ", _AND_OR.sub(",", stripped)).lower().strip(_EDGES).rstrip(_CLOSING)
    plain = re.sub(r"\s*,\s*", ",", plain).rstrip("!")
    return Normal(_OPENING_WORDS.sub("", plain), True)


def _close_up(text: str) -> str:
    """Arguments in braces, no idle spaces, no punctuation or empty sign at either end."""
    text = _SQRT_CALL.sub(r"\\sqrt{\1}", text)
    text = _SQRT_ARGUMENT.sub(r"\\sqrt{\1}", text)
    text = _FRAC_ARGUMENTS.sub(_braced_fraction, text)
    text = _BRACED_POWER.sub(r"\1\2", re.sub(r"\s+(?=[_^])", "", text))
    text = _CALLED_POWER.sub(r"^{\1}", text).replace("**", "^")
    text = _BARE_POWER.sub(r"^{\1}", text)
    text = _EXCLAIMED.sub("", _SPACE_RUN.sub(" ", text).strip(_EDGES).rstrip(_CLOSING))
    text = _COMMAND_SPACE.sub("\\1\x00", text)
    text = _SPACE_DROP.sub("", text).replace("\x00", " ")
    text = re.sub(r"(?<=[a-zA-Z]) (?=[a-zA-Z])", "", text) if "\\" not in text else text
    return text.strip(_EDGES).rstrip(_CLOSING).removeprefix("+")


def _braced_fraction(match: re.Match[str]) -> str:
    top, bottom = match[2] or match[3] or "", match[4] or match[5] or ""
    if "\\frac" in top or "\\frac" in bottom:
        top, bottom = (_FRAC_ARGUMENTS.sub(_braced_fraction, part) for part in (top, bottom))
    return rf"\{match[1]}{{{top.strip()}}}{{{bottom.strip()}}}"
