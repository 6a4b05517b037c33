"""Exact numbers: what a normalised answer is worth as a fraction, and numbers written in words."""

from __future__ import annotations

import math
import re
from fractions import Fraction

MAX_DIGITS = 400
"""Longer digit strings are left alone: Python refuses to read them past 4,300."""

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_DECIMAL = re.compile(rf"([+-]?)({_NUMBER})")
_SLASH = re.compile(rf"([+-]?)({_NUMBER})/({_NUMBER})")
_MIXED = re.compile(r"([+-]?)(\d+)\\frac\{(\d+)\}\{(\d+)\}")
_MIXED_SLASH = re.compile(r"([+-]?)(\d+) (\d+)/(\d+)")
_REPEATING = re.compile(r"([+-]?)(\d*)\.(\d*)\\(?:overline|bar|dot)\{?(\d+)\}?")
_SCIENTIFIC = re.compile(rf"([+-]?)({_NUMBER})(?:(?:\\times|\\cdot|\*)10\^|[eE])\{{?([+-]?\d+)\}}?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[+-]?\d{1,3}(?:['_]\d{3})+(?:\.\d+)?")
_DOTTED = re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3}){2,}(?:,\d+)?|(?:\.\d{3})+,\d+)")
"""Thousands as in German, Spanish and Portuguese, where nothing else can be meant."""

_CHOOSE_CALL = re.compile(r"(?<![a-zA-Z\\])C\((\d+),(\d+)\)")

_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = (
    {word: value for value, word in enumerate(_UNITS)}
    | {word: 20 + 10 * value for value, word in enumerate(_TENS)}
    | {"fourty": 40}
)
NUMBER_WORDS = "|".join(sorted(_SMALL, key=len, reverse=True))
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALES = {**_LARGE, "hundred": 100, "dozen": 12, "score": 20}
_SCALES_ABROAD = {
    3: "tausend|mil|mille|mila|tusen|duizend|tysiące|tysięcy|тысяч[аиу]?|тыс|nghìn|ngàn|ribu",
    4: "万|萬|만",
    6: "millionen|mio|millions|mill[oó]n(?:es)?|milion[ie]|milhão|milhões|miljoner|miljoen|"
    "milion(?:y|ów)?|milyon|миллион(?:а|ов)?|млн|triệu|juta",
    8: "亿|億|억",
    9: "milliarden?|mrd|milliards?|miliard[iy]?|bilhão|bilhões|миллиард(?:а|ов)?|млрд",
}
"""Words for powers of ten in other languages, by their exponent."""
_ABROAD = "|".join(_SCALES_ABROAD.values())
SCALE_WORDS = (
    rf"((?:hundred|thousand|dozen|[mb]illion|trillion|{_ABROAD})\b(?!th|-\w)|[万萬만亿億억])"
)
SCALE = re.compile(rf"[\s$}}]*{SCALE_WORDS}", re.IGNORECASE)
"""A power of ten (or a dozen) in words, after a number."""
_ORDINALS = ["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    word + plural: value for value, word in enumerate(_ORDINALS, 3) for plural in ("", "s")
}


def as_fraction(text: str) -> Fraction | None:
    r"""The exact value of a normalised plain number, or None where it is anything else.

    Reads integers, decimals, `a/b`, `\frac{a}{b}`, mixed numbers (`1\frac{4}{5}` is 9/5, never a
    product), powers of ten (`6.72\times10^{-5}`), thousands separators (`1,234`, `1.234.567`) and
    arithmetic of plain numbers (`_calculated`).
    """
    if len(text) > MAX_DIGITS or not text:
        return None
    if _GROUPED.fullmatch(text):
        text = re.sub("[,'_]", "", text)
    elif _DOTTED.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    text = _CHOOSE_CALL.sub(r"\\binom{\1}{\2}", text)
    try:
        value = _read(text)
        return _calculated(text) if value is None else value
    except (ZeroDivisionError, _NotPlainError):
        return None


class _NotPlainError(ValueError):
    """Not arithmetic of plain numbers, or of numbers too large to be written out."""


HUGE = 5000
"""Digits from which on a power or factorial is not computed."""

_TOKEN = re.compile(
    rf"{_NUMBER}|\\(?:frac|d?binom|tbinom|choose|times|cdot|div)(?![a-zA-Z])|[-+*/^!(){{}}]"
)
_NESTED = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_POWER = re.compile(
    rf"(\d[\d.]*|\)|\}})\^({_NESTED}|\d)(?!!)|(\d+(?:\^(?:{_NESTED}|\d))?)!|\(([^()]*)\)!|\\Gamma\(([^()]*)\)"
)
_BINOMIAL = re.compile(rf"\\binom({_NESTED})({_NESTED})")


def is_huge(text: str) -> bool:
    """Whether a normalised answer holds a power or factorial too large to be computed."""
    for match in _POWER.finditer(text):
        exponent = match[2] or ""
        inside = (
            match[3] or match[4] or match[5] or (exponent[1:-1] if exponent[0] == "{" else exponent)
        )
        if is_huge(inside):
            return True
        value = as_fraction(inside)
        if value is None:
            continue
        if not exponent:  # a factorial
            if value > 10**5 or (value > 0 and _factorial_digits(int(value)) > HUGE):
                return True
            continue
        base = match[1] if match[1][:1].isdigit() else "10"
        if len(base.rstrip(".")) * abs(value) > HUGE and base.strip(".") not in ("0", "1"):
            return True
    return any(_is_huge_binomial(match[1], match[2]) for match in _BINOMIAL.finditer(text))


def _is_huge_binomial(top: str, bottom: str) -> bool:
    n, k = as_fraction(top[1:-1]), as_fraction(bottom[1:-1])
    if n is None or k is None:
        return is_huge(top) or is_huge(bottom)
    if not 0 <= k <= n:
        return False
    a, b = float(n), float(k)
    digits = math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)
    return digits / math.log(10) > HUGE


def _factorial_digits(n: int) -> float:
    return math.lgamma(n + 1) / math.log(10)


def _calculated(text: str) -> Fraction:
    r"""The exact value of arithmetic on plain numbers: powers, factorials, `\binom`, `\frac`.

    math-verify compares such values as decimals, in which 2^{-60} and 2^{-98} are the same.

    Raises:
        _NotPlainError: something else stands there, or the value is too large.
        ZeroDivisionError: a division by zero.
    """
    tokens: list[str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        if text[position : match.start()].strip():
            raise _NotPlainError
        tokens.append(match[0])
        position = match.end()
    if text[position:].strip() or not any(t in "^!" or t.startswith("\\") for t in tokens):
        raise _NotPlainError
    reader = _Arithmetic(tokens)
    value = reader.group()
    if reader.tokens:
        raise _NotPlainError
    return value


class _Arithmetic:
    """Reads a sum from a list of tokens, from the left; what is read is taken off."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def group(self) -> Fraction:
        value = self.total()
        if self._next() == r"\choose":
            self._take()
            value = _binomial(value, self.total())
        return value

    def total(self) -> Fraction:
        value = self._product()
        while self._next() in ("+", "-"):
            sign = self._take()
            term = self._product()
            value = value + term if sign == "+" else value - term
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while self._next() in ("*", "/", r"\times", r"\cdot", r"\div"):
            division = self._take() in ("/", r"\div")
            factor = self._signed()
            value = value / factor if division else value * factor
        return value

    def _signed(self) -> Fraction:
        if self._next() in ("+", "-"):
            return self._signed() if self._take() == "+" else -self._signed()
        return self._power()

    def _power(self) -> Fraction:
        value = self._atom()
        marks = 0
        while self._next() == "!":
            marks += len(self._take())
        if marks:
            value = _factorial(value, marks)
        if self._next() != "^":
            return value
        self._take()
        exponent = self._signed() if self._next() in ("+", "-") else self._power()
        digits = max(len(str(value.numerator)), len(str(value.denominator)))
        if exponent.denominator != 1 or digits * abs(exponent) > HUGE:
            raise _NotPlainError
        return value ** int(exponent)

    def _atom(self) -> Fraction:
        token = self._take()
        if token in ("(", "{"):
            value = self.group()
            if self._take() != {"(": ")", "{": "}"}[token]:
                raise _NotPlainError
            return value
        if token == r"\frac":
            return self._atom() / self._atom()
        if token in (r"\binom", r"\dbinom", r"\tbinom"):
            return _binomial(self._atom(), self._atom())
        if not token[:1].isdigit() and not token.startswith("."):
            raise _NotPlainError
        return Fraction(token.rstrip("."))

    def _next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def _take(self) -> str:
        return self.tokens.pop(0) if self.tokens else ""


def _factorial(n: Fraction, step: int) -> Fraction:
    """n (n - step) (n - 2 step) ...: the factorial for one mark, the double factorial for two."""
    if n.denominator != 1 or not 0 <= n <= 10**5 or _factorial_digits(int(n)) > HUGE * step:
        raise _NotPlainError
    return Fraction(math.prod(range(int(n), 0, -step)))


def _binomial(n: Fraction, k: Fraction) -> Fraction:
    if n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= 10**4:
        raise _NotPlainError
    return Fraction(math.comb(int(n), int(k)))


def _read(text: str) -> Fraction | None:
    if match := _DECIMAL.fullmatch(text):
        return _signed(match[1], Fraction(match[2].rstrip(".")))
    if match := _SLASH.fullmatch(text):
        return _signed(match[1], Fraction(match[2].rstrip(".")) / Fraction(match[3].rstrip(".")))
    if match := _MIXED.fullmatch(text) or _MIXED_SLASH.fullmatch(text):
        whole, top, bottom = (int(match[i]) for i in (2, 3, 4))
        # an improper fraction beside an integer is a product, not a mixed number
        return _signed(match[1], whole + Fraction(top, bottom)) if 0 < top < bottom else None
    if match := _REPEATING.fullmatch(text):
        start, period = Fraction(f"{match[2] or 0}.{match[3] or 0}"), match[4]
        rest = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(match[3]))
        return _signed(match[1], start + rest)
    match = _SCIENTIFIC.fullmatch(text)
    if match and abs(int(match[3])) <= MAX_DIGITS:
        return _signed(match[1], Fraction(match[2].rstrip(".")) * Fraction(10) ** int(match[3]))
    return None


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def scaled_number(number: str, scale: str) -> str:
    """A number times its scale in words (`1.2`, `million` give `1200000`); empty for others."""
    value = as_fraction(number.replace(" ", "").lstrip("\\$€£¥"))
    if value is None:
        return ""
    name = scale.strip().lower()
    exponents = [e for e, words in _SCALES_ABROAD.items() if re.fullmatch(words, name)]
    value *= 10 ** exponents[0] if exponents else _SCALES[name]
    return str(value)


def same_number(gold: Fraction, answer: Fraction, answer_text: str) -> bool:
    """Whether an exact answer, or a decimal written for an endless one, is the reference.

    A decimal stands for an endless reference (1/3, 17/21) only with 6 or more decimal places and 6
    or more significant digits, all right (rounded in the last): the precision that math-verify
    asks for. A reference that ends (3/20, 0.15) must be met exactly.
    """
    if gold == answer:
        return True
    places, significant = decimals(answer_text)
    if places < 6 or significant < 6 or _ends(gold):
        return False
    return abs(gold - answer) <= Fraction(1, 2 * 10**places)


def decimals(text: str) -> tuple[int, int]:
    """Decimal places and significant digits of a plain decimal; (0, 0) for anything else."""
    match = _DECIMAL.fullmatch(text)
    if not match or "." not in match[2]:
        return 0, 0
    whole, part = match[2].split(".")
    return len(part), len((whole + part).lstrip("0"))


def _ends(value: Fraction) -> bool:
    bottom = value.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1


_ROMAN = re.compile(r"(?=..)M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_CHINESE = re.compile("[零〇一二两兩三四五六七八九十百千万萬]+")
_CHINESE_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {
    "〇": 0, "两": 2, "兩": 2,
}  # fmt: skip
_CHINESE_PLACES = {"十": 10, "百": 100, "千": 1000}


def roman_numeral(text: str) -> int | None:
    """The value of a Roman numeral of two letters or more in its usual form: `XXXIV` is 34."""
    if not _ROMAN.fullmatch(text):
        return None
    digits = [_ROMAN_DIGITS[letter] for letter in text]
    after = [*digits[1:], 0]
    return sum(-a if a < b else a for a, b in zip(digits, after, strict=True))


def chinese_numeral(text: str) -> int | None:
    """The value of a number in Chinese signs below 100 million: `三十四` is 34."""
    if not _CHINESE.fullmatch(text):
        return None
    high, ten_thousand, low = text.replace("萬", "万").rpartition("万")
    if "万" in high:
        return None
    return (_below_ten_thousand(high) * 10**4 if ten_thousand else 0) + _below_ten_thousand(low)


def _below_ten_thousand(text: str) -> int:
    if text and not set(text) & _CHINESE_PLACES.keys():
        return int("".join(str(_CHINESE_DIGITS[sign]) for sign in text))  # digit by digit
    total, digit = 0, None
    for sign in text:
        if sign in _CHINESE_PLACES:
            total += (1 if digit is None else digit) * _CHINESE_PLACES[sign]
            digit = None
        else:
            digit = _CHINESE_DIGITS[sign]
    return total + (digit or 0)


_WORD = re.compile(r"[a-z]+")
_OPENERS = {*_SMALL, *_LARGE, "hundred", "dozen", "half", "quarter", "a", "an", "minus", "negative"}
"""The words that a number in words can begin with."""


def leading_number_words(text: str) -> tuple[str, int] | None:
    """A number in words that opens the text: its digits (or `a/b`) and where it ends.

    `"forty-two doubloons"` gives `("42", 9)`, `"minus one half"` gives `("-1/2", 14)`; None where
    the text opens otherwise.
    """
    lowered = text[:200].lower()
    first = _WORD.search(lowered)
    if not first or first[0] not in _OPENERS or lowered[: first.start()].strip():
        return None
    words = [(match[0], match.start(), match.end()) for match in _WORD.finditer(lowered)]
    start = 1 if words[0][0] in ("minus", "negative") else 0
    negative = bool(start)
    if words[start : start + 1] and words[start][0] in ("a", "an"):
        following = words[start + 1][0] if len(words) > start + 1 else ""
        if following not in _SCALES and following not in ("half", "quarter"):
            return None
        start += 1
    total, group, end, used = 0, 0, 0, False
    index = start
    while index < len(words):
        word = words[index][0]
        gap = lowered[words[index - 1][2] : words[index][1]] if index else ""
        after_scale = index > start and words[index - 1][0] in _LARGE and gap.strip() == ","
        if gap.strip(" -") and not after_scale:
            break
        if word in _SMALL:
            if used and not _may_follow(words[index - 1][0], word):
                break
            group += _SMALL[word]
        elif word in ("hundred", "dozen") and not (total and not group):
            group = (group or 1) * _SCALES[word]
        elif word in _LARGE and (used or index == start):
            total, group = total + (group or 1) * _LARGE[word], 0
        elif word == "and" and used and _continues(words, index):
            index += 1
            continue
        else:
            break
        used, end = True, words[index][2]
        index += 1
    if not used and index < len(words) and words[index][0] in ("half", "quarter"):
        if words[index + 1 : index + 2] and words[index + 1][0] in ("a", "an", "of", "the"):
            return None
        used, group = True, 1
    if not used:
        return None
    sign = "-" if negative else ""
    if point := _decimals(words, index):
        return f"{sign}{total + group}.{point[0]}", point[1]
    if index < len(words) and words[index][0] in _PARTS and not total:
        return f"{sign}{group}/{_PARTS[words[index][0]]}", words[index][2]
    if part := _part(lowered, words, index):
        mixed = total + group + part[0]
        return f"{sign}{mixed.numerator}/{mixed.denominator}", part[1]
    return f"{sign}{total + group}", end


def _decimals(words: list[tuple[str, int, int]], index: int) -> tuple[str, int] | None:
    """The digits that follow a whole number in words, `point five`, and where they end."""
    if index >= len(words) or words[index][0] != "point":
        return None
    digits, end = "", 0
    for word, _, stop in words[index + 1 :]:
        if _SMALL.get(word, 10) > 9:
            break
        digits, end = digits + str(_SMALL[word]), stop
    return (digits, end) if digits else None


def _part(text: str, words: list[tuple[str, int, int]], index: int) -> tuple[Fraction, int] | None:
    """The fraction that follows a whole number in words: `and a half`, `and three quarters`."""
    following = [word for word, _, _ in words[index : index + 3]]
    if len(following) < 3 or following[0] != "and" or following[2] not in _PARTS:
        return None
    if re.search(r"[^a-z\s-]", text[words[index - 1][2] : words[index + 2][1]]):
        return None
    top = 1 if following[1] in ("a", "an", "one") else _SMALL.get(following[1])
    bottom = _PARTS[following[2]]
    if not top or top >= bottom:
        return None
    return Fraction(top, bottom), words[index + 2][2]


def _may_follow(before: str, word: str) -> bool:
    """`forty two` and `hundred five` are one number, `two three` are two."""
    return before in ("hundred", "and", *_LARGE) or (before in _TENS and 0 < _SMALL[word] < 10)


def _continues(words: list[tuple[str, int, int]], index: int) -> bool:
    after = words[index + 1][0] if index + 1 < len(words) else ""
    before = words[index - 1][0]
    unit = before in _TENS and 0 < _SMALL.get(after, 0) < 10  # forty and two
    return unit or (before in ("hundred", *_LARGE) and after in _SMALL)
