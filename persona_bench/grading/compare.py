r"""Whether an answer is the reference answer, decided from normalised text alone where that can be.

`same` answers yes, no, or None: undecided, which means that computer algebra has to look. It takes
lists, sets, tuples, intervals, unions and matrices apart and compares their members, so that only
members ever need computer algebra. What is decided here, and how:

- **Exact numbers** are compared as fractions; see `same_number` for decimals of endless ones.
- **Percent.** A percent sign that only one side has may be a unit (50 for 50%) or a factor (0.5 for
  50%): both count. Where the reference has no sign and lies strictly between 0 and 1, it is a
  factor only: 0.5% is not 0.5.
- **Units, degree and currency signs** are not compared: the question names them. Only where both
  sides give an area or a volume must it be the same of the two (`cm^2` is not `cm^3`).
- **Bases.** `2516_8` is met by the digits `2516` without a base, and the other way round: the
  question names the base. Another base, or other digits, is wrong, even where the value agrees.
- **Choices.** `\text{(C)}` is met by `C`, `(C)`, `C.` and `(C) 17`.
- **Text** is compared as text, without case, article or closing punctuation.
- **Lists.** Members without brackets are unordered, and may be given in braces or parentheses; a
  set in braces may lose them; a tuple or open interval may lose its parentheses but not its order.
  Brackets otherwise are part of the value: `[2,4]` is neither `(2,4)` nor `\{2,4\}`.
- **Vectors.** A column or row is met by the tuple of its entries.
- **Intervals** are met by the inequality that says the same.
- **Assignments.** `x = 5` is met by `5`, and `5` by `x = 5`; `y = 5` is not `x = 5`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from persona_bench.grading.normalise import Normal, normalise
from persona_bench.grading.numbers import as_fraction, decimals, is_huge, same_number
from persona_bench.grading.shape import Shape, as_interval, closes_at_end, shape, split_outside

MAX_MEMBERS = 64
MAX_HARD = 400
"""Longer normalised answers are not handed to computer algebra: no reference is half as long."""

Leaf = Callable[[str, str], "bool | None"]


def same(gold: str, answer: str, *, integer: bool = False, leaf: Leaf | None = None) -> bool | None:
    """Whether `answer` is `gold`; both as they were written.

    Args:
        gold: the reference.
        answer: what was read from the response.
        integer: the reference is an integer and the answer counts only as one.
        leaf: decides two normalised members that plain means leave open; without it they are None.

    Returns:
        True or False; None where `leaf` is missing, or itself says None.
    """
    symbolic = is_symbolic(gold)
    powers = _unit_power(gold), _unit_power(answer)
    if None not in powers and powers[0] != powers[1]:
        return False
    left = normalise(gold, symbolic)
    if as_fraction(left.text) is not None:
        answer = _DECIMAL_COMMA.sub(r"\1.\2", _AND_FRACTION.sub(r"\1 \2", answer))
    right = _unnamed(left, normalise(answer, symbolic), answer, symbolic)
    left, right = _without_modulus(left, right), _without_modulus(right, left)
    if is_huge(right.text) and not is_huge(left.text):
        return False
    if integer and (value := as_fraction(left.text)) is not None and value.denominator == 1:
        return _same_integer(value, right, leaf)
    if left == right and left.text:
        return True
    if choice := _choice(gold, left):
        given = normalise(answer, True).text
        return bool(
            re.match(
                rf"(?:(?:option|choice) )?(?:\({choice}\)|{choice}(?:[).:]|$))",
                given,
                re.IGNORECASE,
            )
        )
    if left.words and not right.words and (texts := _TEXTS.findall(answer)):
        right = normalise(texts[-1], symbolic)  # `f(x)\\text{ is odd}`
    if left.words or right.words:
        return _same_words(left, right)
    if not left.text or not right.text:
        return False
    return _same_text(left.text, right.text, leaf or _undecided)


_TEXTS = re.compile(r"\\text\w*\s*\{([^{}]*)\}")
_DECIMAL_COMMA = re.compile(r"^([\s$]*[-+]?\d+)(?:,|\{,\})(\d{1,2}|\d{4,})(?=[\s$]*$)")
_AND_FRACTION = re.compile(
    r"^([\s$]*-?\d+)[\s$]*(?:\\text\s*\{\s*and\s*\}|\band\b)[\s$]*"
    r"(\\[dt]?frac\s*(?:\d\d|\{\d+\}\s*\{\d+\})|\d+/\d+)(?=[\s$]*$)"
)
"""`3 and 1/2`, where the reference is one number."""
_UNIT_POWER = re.compile(
    r"(?:\\(?:text\w*|mbox|mathrm|rm)\s*\{[^{}\d]*[a-zA-Z][^{}\d]*\}|(?<=\d)\s?[a-zA-Z]{1,3})\s*\^\s*(?:\{\s*([23])\s*\}|([23]))"
    r"\s*[$.\s]*\Z"
)
_POWER_WORDS = {"square": 2, "sq": 2, "cubic": 3}
_POWER_WORD = re.compile(r"(?<![a-zA-Z])(square|sq|cubic)\b\.?\s*[a-zA-Z]", re.IGNORECASE)


def _unit_power(text: str) -> int | None:
    """2 for an area, 3 for a volume, as the unit at the end says it; None where none says."""
    if match := _UNIT_POWER.search(text):
        return int(match[1] or match[2])
    match = _POWER_WORD.search(text)
    return _POWER_WORDS[match[1].lower()] if match else None


_MODULUS = re.compile(
    r",?\s*(?:\\pm?od\s*(?:\{[^{}]*\}|\w)|\(?\s*\\?(?:[bp]?mod)(?:ulo)?(?![a-zA-Z])\s*(?:\{[^{}]*\}|\d+|[a-z])\s*\)?)$"
)
_INEQUALITY = re.compile(r"[<>]|\\(?:leq|geq|neq)(?![a-zA-Z])")


def _without_modulus(normal: Normal, partner: Normal) -> Normal:
    r"""The residue in `10\pmod{11}`, where only one side names the modulus."""
    if normal.words or _MODULUS.search(partner.text) or r"\equiv" in partner.text:
        return normal
    text = _MODULUS.sub("", normal.text).replace(r"\equiv", "=").strip()
    return normal if text == normal.text else Normal(text, False)


def _unnamed(gold: Normal, answer: Normal, written: str, symbolic: bool) -> Normal:
    r"""The value in `(x,y)=(3,2)`, `f=\text{even}` and `v=` a matrix, for a reference without name.

    Args:
        gold: The reference.
        answer: The answer.
        written: The answer as it was written: text beside a name is not a unit.
        symbolic: As for `normalise`.
    """
    if "=" in gold.text or _INEQUALITY.search(answer.text):
        return answer
    whole = gold.words or shape(gold.text).kind in ("bracket", "matrix", "union")
    if "=" not in answer.text:
        point = whole and _POINT.match(answer.text)
        return Normal(answer.text[point.end() :], False) if point else answer
    first, *rest = split_outside(answer.text, "=")
    several = len(split_outside(answer.text.replace(";", ","), ",")) > 1
    if rest and "," in rest[-1] and as_fraction(rest[-1]) is not None:
        return Normal(rest[-1], False)  # with thousands separators
    if not rest or several or not (whole or _is_name(first)):
        return answer
    return normalise((split_outside(written, "=")[1:] or rest)[-1], symbolic)


_POINT = re.compile(r"[A-Z]'?(?=\()")


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and text not in (r"\pi", r"\infty")


def is_symbolic(gold: str) -> bool:
    """Whether a reference holds variables (`2k+2`) rather than only numbers and units."""
    text = normalise(gold, False)
    return not text.words and bool(_LETTERS.search(_COMMANDS.sub("", text.text)))


_COMMANDS = re.compile(r"\\[a-zA-Z]+(?:\{pmatrix\})?")
_LETTERS = re.compile(r"[a-zA-Z]")


def _undecided(gold: str, answer: str) -> bool | None:
    return None


def _same_integer(gold: Fraction, answer: Normal, leaf: Leaf | None) -> bool | None:
    text = _value_side(answer.text)
    value = as_fraction(text)
    if value is not None:
        return value == gold
    if re.search(r"[a-zA-Z,]", _COMMANDS.sub("", text)) or r"\%" in text:
        return False
    return _same_leaf(str(gold), text, leaf or _undecided)


def _choice(gold: str, normal: Normal) -> str:
    match = re.fullmatch(r"\(?([a-zA-Z])\)?", normal.text)
    return match[1] if match and ("text" in gold or "(" in gold or "mbox" in gold) else ""


def _same_words(gold: Normal, answer: Normal) -> bool | None:
    if gold.words and answer.words:
        if gold.text == answer.text:
            return True
        members = gold.text.split(","), answer.text.split(",")
        return len(members[0]) > 1 and sorted(members[0]) == sorted(members[1])
    word, other = (gold.text, answer.text) if gold.words else (answer.text, gold.text)
    # a product of variables may look like a word: `ab` against `a b`
    return word == other.lower().replace(r"\cdot", "").replace("*", "").replace(" ", "")


def _same_text(gold: str, answer: str, leaf: Leaf) -> bool | None:
    gold, answer = _strip_membership(gold), _strip_membership(answer)
    if gold == answer:
        return True
    left, right = shape(gold), shape(answer)
    if left.kind == "matrix" and (column := _COLUMN.fullmatch(answer)):
        right = Shape("matrix", (column[1], column[2]), "1")
    elif left.kind == "matrix" and right.kind == "leaf" and r"{pmatrix}" in answer:
        return _hard(gold, answer, leaf)  # a number times a matrix
    if left.kind in ("bracket", "union") and right.kind in ("leaf", "list"):
        right = as_interval(right) or right
    elif right.kind in ("bracket", "union") and left.kind == "leaf":
        left = as_interval(left) or left
    # 100,200 without spaces reads as one number unless the reference is a list
    if left.kind == "list" and right.kind == "leaf" and "," in answer:
        right = Shape("list", tuple(answer.split(",")))
    return _same_shape(left, right, leaf)


_COLUMN = re.compile(r"\\binom\{([^{}]*)\}\{([^{}]*)\}")
_SET_BUILDER = re.compile(r"^\\\{[a-zA-Z](?:\\in\\mathbb\{R\})?(?:\\mid ?|\||:)(.*)\\\}$")


def _strip_membership(text: str) -> str:
    if text in (r"\mathbb{R}", r"x\in\mathbb{R}"):
        return r"(-\infty,\infty)"
    text = _SET_BUILDER.sub(r"\1", text)
    return re.sub(
        r"^(?:[a-zA-Z]|\([a-zA-Z](?:,[a-zA-Z])+\)|[a-zA-Z]\([a-zA-Z]\))\\in(?![a-zA-Z]) ?", "", text
    )


def _same_shape(gold: Shape, answer: Shape, leaf: Leaf) -> bool | None:
    if gold.kind == "leaf" and answer.kind == "leaf":
        return _same_leaf(gold.members[0], answer.members[0], leaf) if answer.members else False
    if gold.kind == "leaf" and answer.kind == "list":
        return _same_twice(gold.members[0], answer.members, leaf)
    if gold.kind == "leaf" and answer.kind == "set" and len(answer.members) == 1:
        return _same_leaf(gold.members[0], answer.members[0], leaf)
    if max(len(gold.members), len(answer.members)) > MAX_MEMBERS:
        return False
    if gold.kind in ("list", "set"):
        loose = ("list", "set", "leaf") if gold.kind == "set" else ("list", "set")
        if answer.kind in loose or (gold.kind == "list" and answer.brackets == "()"):
            return _same_members(gold.members, answer.members, leaf)
        return False
    if gold.kind == "union" and answer.kind == "union":
        return _same_members(gold.members, answer.members, lambda g, a: _same_text(g, a, leaf))
    if gold.kind == "matrix":
        if answer.kind == "matrix" and gold.brackets == answer.brackets:
            return _same_row(gold.members, answer.members, leaf)
        is_vector = gold.brackets in ("1", str(len(gold.members)))
        return (
            is_vector and answer.brackets == "()" and _same_row(gold.members, answer.members, leaf)
        )
    if gold.kind == "bracket":
        if answer.kind == "list" and gold.brackets == "()":
            return _same_row(gold.members, _by_name(answer.members), leaf)
        if answer.kind == "matrix" and gold.brackets == "()" and answer.brackets == "1":
            return _same_row(gold.members, answer.members, leaf)
        if answer.kind == "bracket" and gold.brackets == answer.brackets:
            return _same_row(gold.members, answer.members, leaf)
    return False


def _same_twice(gold: str, answers: Sequence[str], leaf: Leaf) -> bool | None:
    """One value written several ways, rounded ones after an exact one: `1/3 or 33.3%`."""
    value = as_fraction(gold)
    if value is None or len(answers) > 3 or not _same_leaf(gold, answers[0], _undecided):
        return False
    return all(
        _same_leaf(gold, other, _undecided) or _rounds(value, other) for other in answers[1:]
    )


def _rounds(value: Fraction, answer: str) -> bool:
    """Whether a decimal with two places or more is this value, rounded or cut."""
    number, percent = _percent(answer)
    places = decimals(number)[0] + 2 * percent
    exact = as_fraction(number)
    if exact is None or places < 2:
        return False
    unit, lost = Fraction(1, 10**places), abs(value) - abs(exact / (100 if percent else 1))
    return value * exact > 0 and (abs(lost) <= unit / 2 or 0 <= lost < unit)


def _by_name(members: Sequence[str]) -> Sequence[str]:
    """`y=7, x=5` in the order of the names, in which a tuple gives them."""
    names = [member[:1] if member[1:2] == "=" else "" for member in members]
    distinct = len(set(names)) == len(names) and all(name.isalpha() for name in names)
    return sorted(members) if distinct else members


def _same_row(gold: Sequence[str], answer: Sequence[str], leaf: Leaf) -> bool | None:
    """Member by member, in order: False as soon as one differs, None if one is undecided."""
    if len(gold) != len(answer):
        return False
    verdicts = []
    for left, right in zip(gold, answer, strict=True):
        verdict = _same_text(left, right, leaf)
        if verdict is False:
            return False
        verdicts.append(verdict)
    return None if None in verdicts else True


def _same_members(gold: Sequence[str], answer: Sequence[str], leaf: Leaf) -> bool | None:
    """The same members in any order; each member of the answer is used once."""
    gold, answer = list(dict.fromkeys(gold)), list(dict.fromkeys(answer))
    if len(gold) != len(answer):
        return False
    left_over, undecided = list(answer), False
    open_members = []
    for member in gold:
        verdicts = [_same_leaf(member, other, _undecided) for other in left_over]
        if True in verdicts:
            left_over.pop(verdicts.index(True))
        elif None not in verdicts:
            return False
        else:
            open_members.append(member)
    for member in open_members:
        verdicts = []
        for other in left_over:
            verdicts.append(_same_leaf(member, other, leaf))
            if verdicts[-1]:
                break
        if True in verdicts:
            left_over.pop(len(verdicts) - 1)
        elif None in verdicts:
            undecided = True
        else:
            return False
    return None if undecided else True


_NAME = re.compile(
    r"\\?[a-zA-Z]+(?:_(?:\w|\{\w+\}))?'?(?:\([^()=]*\))?|\|[^|=]+\||\|\|\\?[a-zA-Z]+\|\|"
    r"|\\(?:vec|over\w+|hat|bar|widehat|math\w+) ?(?:\{[^{}]*\}|[a-zA-Z]+)"
    r"|\\(?:angle|triangle|measuredangle) ?\{?[A-Z]+\}?|\[[A-Z]+\]"
    r"|[a-zA-Z](?:(?:\\cdot ?|[+\-*/])[a-zA-Z])+|\\frac\{[a-zA-Z]\}\{[a-zA-Z]\}"
    r"|[({]?\\?[a-zA-Z]+(?:_\w)?(?:,\\?[a-zA-Z]+(?:_\w)?)+[)}]?"
)
"""Names of values, functions, vectors, tuples, angles and areas, and sums of names."""
_BASED = re.compile(r"\(?([+-]?[0-9A-Fa-f]+)\)?_(?:(\d)|\{(\d+)\})")


_ENDLESS = re.compile(r"-?\d*\.\d+(?:\\ldots ?|\.\.+)")
"""`0.333\\ldots`, which stands for the exact value before it."""


def _sides(text: str) -> tuple[str, str]:
    """What stands before the first and after the last equals sign; no name where there is none."""
    parts = text.split("=")
    if len(parts) > 2 or (len(parts) == 2 and not _is_name(parts[0])):
        parts = parts[:-1] if _ENDLESS.fullmatch(parts[-1]) else parts
    return (parts[0].strip() if len(parts) > 1 else "", parts[-1].strip())


def _value_side(text: str) -> str:
    """The value in `x = 6/2 = 3`, in `3 = x`, and in `1/3 \\approx 0.33` (the exact part)."""
    first, *rest = re.split(_ABOUT, text)
    if rest:
        exact = first.strip()
        named = _is_name(exact) and exact not in ("e", "i")
        rounded = decimals(exact)[0] and as_fraction(rest[0].strip()) is None
        text = rest[0].strip() if named or rounded else exact
    name, value = _sides(text)
    return name if name and _is_name(value) and not _is_name(name) else value


_ABOUT = r"\\(?:approx|simeq|sim)(?![a-z])"
_APPROXIMATION = re.compile(rf"{_ABOUT}(.*)")


def _same_approximation(gold: str, answer: str) -> bool:
    """False where both sides give a decimal beside the exact value, and not the same one."""
    matches = [_APPROXIMATION.search(text) for text in (gold, answer)]
    if None in matches:
        return True
    left, right = (as_fraction(match[1].strip()) for match in matches if match)
    return left is None or right is None or left == right


def _same_leaf(gold: str, answer: str, leaf: Leaf) -> bool | None:
    if not answer or not gold:
        return False
    if gold == answer:
        return True
    gold_name, gold_value = _sides(gold)
    answer_name, answer_value = _sides(answer)
    if gold_name and as_fraction(_percent(gold_name)[0]) is not None:
        sides = answer.split("=")  # the reference says its value twice
        verdicts = [_same_leaf(gold_name, side.strip(), leaf) for side in sides]
        return False if False in verdicts else None if None in verdicts else True
    if not _same_approximation(gold, answer):
        return False
    value, sides = as_fraction(gold), answer.split("=")
    exact = value is not None and value in [as_fraction(side.strip()) for side in sides[:-1]]
    if value is not None and exact and _rounds(value, sides[-1].strip()):
        return True  # 2/3 = 0.667
    rounded, number = re.split(_ABOUT, answer), as_fraction(gold)
    if number is not None and number in [as_fraction(part.strip()) for part in rounded]:
        return True  # the question asks for the rounded value
    if gold_name and not _is_name(gold_name):
        return _hard(gold, answer, leaf) if answer_name else False  # an equation is the answer
    if gold_name and answer_name:
        if not _is_name(answer_name):
            return _hard(gold, answer, leaf)
        if len(gold_name) == len(answer_name) == 1 and gold_name != answer_name:
            return False
        return _same_value(gold_value, answer_value, leaf)
    if answer_value == "0" and _LETTERS.search(_COMMANDS.sub("", answer_name)) and not gold_name:
        return _is_name(answer_name) and _same_value(gold, "0", leaf)
    return _same_value(_value_side(gold), _value_side(answer), leaf)


def _same_value(gold: str, answer: str, leaf: Leaf) -> bool | None:
    if gold == answer:
        return bool(gold)
    gold, gold_percent = _percent(_unbracket(gold))
    answer, answer_percent = _percent(_unbracket(answer))
    left, right = as_fraction(gold), as_fraction(answer)
    if left is not None and right is not None:
        return any(
            same_number(left, value, answer if value == right else "")
            for value in _readings(left, right, gold_percent, answer_percent)
        )
    if _BASED.fullmatch(gold) or _BASED.fullmatch(answer):
        return _same_digits(gold, answer)
    if not re.search(r"[0-9a-zA-Z]", answer) or _odd_spacing(answer):
        return False
    if left is not None and _LETTERS.search(
        re.sub(r"\\[a-zA-Z]+|(?<![a-zA-Z])[ei](?![a-zA-Z])", "", answer)
    ):
        return False  # a number is not an expression in a variable
    return _hard(gold, answer, leaf)


def _hard(gold: str, answer: str, leaf: Leaf) -> bool | None:
    return False if len(answer) > MAX_HARD else leaf(gold, answer)


def _unbracket(text: str) -> str:
    while len(text) > 2 and text[0] + text[-1] in ("()", "{}") and closes_at_end(text):
        text = text[1:-1].strip()
    return text


def _percent(text: str) -> tuple[str, bool]:
    return (text[:-2].strip(), True) if text.endswith(r"\%") else (text, False)


def _readings(
    gold: Fraction, answer: Fraction, gold_percent: bool, answer_percent: bool
) -> list[Fraction]:
    """The values of an answer, on the reference's scale, that its percent sign allows."""
    if gold_percent == answer_percent:
        return [answer]
    if gold_percent:
        return [answer, answer * 100]
    return [answer / 100] if 0 < abs(gold) < 1 else [answer, answer / 100]


def _same_digits(gold: str, answer: str) -> bool:
    left, right = _BASED.fullmatch(gold), _BASED.fullmatch(answer)
    digits = (left[1] if left else gold).lower(), (right[1] if right else answer).lower()
    bases = {match[2] or match[3] for match in (left, right) if match}
    return digits[0] == digits[1] and len(bases) == 1


def _odd_spacing(text: str) -> bool:
    """Two numbers side by side (`3 2` from `3 ft 2 in`), which algebra would multiply."""
    return bool(re.search(r"\d \d", text))
