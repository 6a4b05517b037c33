r"""Answers in running text: the sentence that states one, and the last number or expression.

Written for prose that plays a part: "Arr, for $3 the treasure be 17 doubloons, matey".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from persona_bench.grading.normalise import ALIGNED
from persona_bench.grading.numbers import SCALE, SCALE_WORDS, leading_number_words, scaled_number

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


_IS = (
    r"(?:\bis\b|\bbe\b|\bare\b|\bwas\b|'s\b|’s\b|\bequals?\b|\bwill be\b|\bmust be\b|\bwould be\b|"
    r"\bshall be\b|\bcomes to\b|\bcomes out (?:to|as)\b|\bremains\b|\bist\b|\blautet\b|\bbeträgt\b|"
    r"\best\b|\bes\b|\bär\b|\ber\b|\bje\b|\beste\b|\badalah\b|\blà\b|\bsono\b|\bsão\b|\bson\b|(?<!\w)[éè]\b|\bjest\b|\bto\b(?=\s*:)|равен|равна|равно|"
    r"[是为為は이은]|等于|等於|："
    r"|:|=|→|⇒|\\Rightarrow|-+>)"
)
_ANSWER_ABROAD = (
    r"(?:(?:end)?ergebnis|(?<!er)lösung|antwort|réponse|résultat|respuesta|resultado|solución|risposta|"
    r"risultato|soluzione|resposta|solução|antwoord|oplossing|svar|svaret|lösningen|odpowiedź|wynik|"
    r"odpověď|výsledek|válasz|cevap|sonuç|jawaban\w*|đáp án|đáp số|kết quả|vastaus|răspuns\w*|"
    r"ответ|результат|відповідь|απάντηση|الجواب|الإجابة|जवाब|उत्तर|התשובה|คำตอบ)"
)
"""A number after one of these states an answer, with up to two words (a verb) between them."""
_ANSWER = rf"(?:answers?|ans|{_ANSWER_ABROAD})"
_ANSWER_CJK = r"(?:最终答案|最終答案|答案|答え|答|結果|结果|정답|답)"
_STATEMENT = re.compile(
    rf"(?:(?<!\bto )(?<!n't )(?<!\bnot )(?<!\bcannot )\b{_ANSWER}\b[^.!?\n:=]{{0,60}}?{_IS}|"
    rf"\b{_ANSWER_ABROAD}(?:\s+[^\W\d]+){{0,2}}\s*[:=—–-]?(?=[\s*_(]*\$?\\?[-−]?\d)|"
    rf"\banswer\?[?!]*|\banswer,\s*(?=[$*]*\\?[-−]?\d[^,\n]{{0,40}},)|\banswer(?=[\s*$]+-?\d[\d.,/]*[$*]*(?:[.!;\n]|$))|"
    r"(?:^|[.!?]\s+)(?:the )?(?:final |end )?(?:result|solution|total)\s*[:=]"
    r"(?=[\s*$]*\\?[-−]?\d)|"
    rf"{_ANSWER_CJK}[^。！？\n:：=\d]{{0,12}}?(?:{_IS}|(?=[\s$]*\\?[\d$(]))|"
    rf"\bfinal\s+(?:answer|result|solution)\b[*_#\s]*\n|"
    r"^[ \t]*#{2,4}\s(?=[^a-zA-Z\n]{0,4}\d))",
    re.IGNORECASE | re.MULTILINE,
)
_STATEMENT_WORDS = (
    "ans", "##", "result", "solution", "total", "final", "ergebnis", "lösung", "antwort", "réponse",
    "résultat", "respuesta", "resultado", "solución", "risposta", "risultato", "soluzione",
    "resposta", "solução", "antwoord", "oplossing", "svar", "odpowiedź", "wynik", "odpověď",
    "výsledek", "válasz", "cevap", "sonuç", "đáp", "kết quả", "vastaus", "răspuns", "ответ",
    "результат", "відповідь", "απάντηση", "الجواب", "الإجابة", "जवाब", "उत्तर", "התשובה", "คำตอบ",
    "答", "結果", "结果", "정답", "답", "jawaban", "lösningen",
)  # fmt: skip
"""One of these stands in every text that `_STATEMENT` matches: finding none takes a tenth of the
time of the pattern."""
_TAIL = 600
"""Characters of a statement that are read."""
_HASHES = re.compile(r"####\s*")
_IS_THE_ANSWER = re.compile(
    r"(?:\b(?:is|be|was)|(?<=\d)['’]s)\s+(?:the|my|our|your|yer|thy)\s+"
    r"(?:final |correct |right )*answer\b"
    r"|,\s*(?:it|that) (?:is|be)(?=\s*[.!;])",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\s*(?:not|never|n't|no longer|neither|unlikely|wrong|incorrect|nicht|pas|niet|nie|не|não)\b",
    re.IGNORECASE,
)

_NEGATED = re.compile(
    r"不|\b(?:no|non|não|nu|ne|n['’])\s*(?:es|è|est|este|é|je)\s*\Z", re.IGNORECASE
)


def find_statement(text: str) -> str:
    """What the last sentence that states an answer says; empty where there is none.

    Statements of a number or expression go before statements in words, so that "the answer is
    clear: it is 17" is 17.
    """
    in_words = ""
    statements = []
    lowered = text.lower()
    if any(word in lowered for word in _STATEMENT_WORDS):
        statements += [(match.end(), match.start()) for match in _STATEMENT.finditer(text)]
    statements += [(match.end(), match.end()) for match in _HASHES.finditer(text)]
    statements += [(match.end(), match.start()) for match in _IS_THE_ANSWER.finditer(text)]
    for end, start in sorted(statements, reverse=True)[:50]:
        tail = text[end : end + _TAIL]
        if _NEGATION.match(tail) or _NEGATED.search(text[start:end]):
            continue
        stated_before = _ENDS_HERE.match(tail) or _IS_THE_ANSWER.match(text, start)
        before = _before(text, start) if stated_before else ""
        answer = read_statement(tail)
        value = before if _IS_THE_ANSWER.match(text, start) else answer.value or before
        if value:
            return value
        if "=" not in text[end:]:
            in_words = in_words or answer.words
    return in_words


_ENDS_HERE = re.compile(r"[\s*_]*(?:[.!;,…]|$)(?!\d)")
_SENTENCE_START = re.compile(
    r"(?:^|[.!?…:;\n](?=\s|$)|,\s+(?:so|thus|hence|then|therefore|and)\b)[\s*_\"“(]*(?=[^.!?…:;\n]*$)"
)


_ADJOINING = re.compile(r"[,;—…][\s*]*([-−]?\d+(?:\.\d+)?)\Z")


def _before(text: str, end: int) -> str:
    """The value that a statement follows: "Forty-two, the answer is." """
    before = re.sub(
        r"[\s,]*(?:\b(?:the|my|your|thy|our|final)\b\s*)*$", "", text[max(0, end - 120) : end]
    )
    starts = [match.end() for match in _SENTENCE_START.finditer(before)]
    clause = before[starts[-1] if starts else 0 :]
    adjoining = _ADJOINING.search(before)
    if adjoining:
        return adjoining[1]
    found = _at(clause, _skip(clause, 0)) or (leading_number_words(clause) or ("",))[0]
    whole = clause.strip(" *_$()\\").rstrip(",.")
    return found if found and len(whole) <= len(found) + 25 else ""


class Statement(NamedTuple):
    value: str
    """A number or expression; empty where the statement has none."""
    words: str
    """A short answer in words; empty where the statement has a value or is no answer."""


_MARKUP = re.compile(r"(?:[\s*_`>~:=,\"“”‘’']|\\quad|#+\s)+")
_FILLER = re.compile(
    r"(?:(?:simply|just|exactly|precisely|therefore|thus|hence|then|clearly|indeed|actually|only|about|"
    r"approximately|roughly|none other than|no other than|of course|equal to|given by|found to be|"
    r"option|choice|letter|naught but|nowt but|the (?:number|value|integer|fraction|expression|"
    r"interval|set|point|pair|vector|matrix|sum)|an?|the|a grand total of|me hearty|matey|lad|"
    r"friend|now|so|well|aye|arr+|yes|is|be|(?:it|that)(?:'s| is)|'?tis)\b[\s,:*]*"
    r"|\b(?:fine|sure|ok(?:ay)?|alright|very well|easy|simple)\b[.!,:…]+(?=\s)[\s*]*"
    r"|\b(?:approx|e\.g|i\.e|viz|ca)\b\.?[\s,:*]*|(?:\.\.\.|…)\s*|\*[a-z ]{2,30}\*[\s.…,]*)+",
    re.IGNORECASE,
)
_STOP = r"(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bMrs)(?<!\bSt)\."
_CLAUSE_END = re.compile(
    rf"\n\s*\n|\n|(?<!\d){_STOP}|{_STOP}(?!\d)|(?<!\\)[;!?](?=\s|$)|:(?=\s)|,(?=\s+[A-Za-z]{{2,}})"
    r"|\s(?:because|since|as|which|who|for|when|where|if|but|while|so|that)\b",
    re.IGNORECASE,
)
_NO_ANSWER_WORDS = re.compile(
    r"\b(?:clear|simple|obvious|easy|follows|following|found|correct|wrong|right|here|below|above|this|that|it|"
    r"these|those|not|what|how|given|obtained|unknown|unclear|ready|done|near|yours|mine|me|my|you|your|"
    r"i|we|left|hidden|important|always|never|in|on|of|within|between|to|beyond|too|"
    r"as|straightforward|quite|very|known|refuse|cannot|can't|secret|none|nothing|nope|no)\b",
    re.IGNORECASE,
)


def read_statement(tail: str) -> Statement:
    """Reads the answer that opens a text, e.g. ` **$17$** doubloons, matey!` is `17`.

    A value that is only the name of what is asked for ("the largest $n$ is 34") or a place in an
    order ("the 3rd term is 12") gives way to what follows the verb; a value that its writer takes
    back ("7... wait, no, 8") gives way to the one put in its place.
    """
    position = _skip(tail, 0)
    if _COMPARES.match(tail, position):
        return Statement("", "")
    if condition := _CONDITION.match(tail, position):
        position = _skip(tail, condition.end())
    sentence = tail[: _SENTENCE_END.search(tail, position).start()]  # type: ignore[union-attr]
    if found := _value_at(tail, position):
        text, end = found
        if _is_subject(text, sentence, position, end):
            after = _after_verb(sentence, position) or _after_words(sentence, end)
            if after:
                return Statement(after, "")
        return Statement(_corrected(tail, end) or text, "")
    end_of_clause = _CLAUSE_END.search(tail, position)
    clause = tail[position : end_of_clause.start() if end_of_clause else len(tail)]
    if after := _after_verb(sentence, position):
        return Statement(after, "")
    if (value := _first_value(clause)) or (value := _after_colon(tail, end_of_clause)):
        return Statement(value, "")
    if figures := _IN_FIGURES.match(tail, position + len(clause)):
        return Statement(_at(tail, figures.end()), "")
    words = _LINKED.sub("", clause.strip(" *_`'\"“”().,$}{\\")).strip(" *_`'\"“”")
    if not words or len(words.split()) > 4 or _NO_ANSWER_WORDS.search(words):
        return Statement("", "")
    return Statement("", words)


_IN_FIGURES = re.compile(
    r",?\s*(?:soit|c['’]est[- ]à[- ]dire|also|das heißt|d\.\s?h\.|o sea|es decir|cioè|ossia|"
    r"ou seja|that is|i\.e\.|namely|\.\.\.|…|—)[\s,:]*(?=[$\\]*[-−]?\d)",
    re.IGNORECASE,
)
"""Between a number in words and the same in figures: `quarante-cinq, soit 45`."""
_LINKED = re.compile(r"^(?:[\w' -]*?)\b(?:is|are|be) (?:an? |the )?(?=\S)", re.IGNORECASE)
_COMPARES = re.compile(
    r"(?:less|more|greater|fewer|smaller|larger|higher|lower|over|under|above|below|between)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"(?:if|when|for|since|given|with|in|on|at|after|before)\b[^.!?\n]{1,120}?,\s*"
    r"(?=then\b|the\b|[$\\\d]|we\b|it\b)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(
    rf"\n\s*\n|,\s+(?:and|but|since|because|as|while)\s+[a-zA-Z]{{2,}}|{_STOP}(?!\d)(?=\s|\*|$)|(?<!\\)[;!?](?=\s|$)|\Z"
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|be|equals|equal to|becomes|ist|beträgt|es|est|has|have|"
    r"gets?|needs?|costs?|"
    r"measures?|weighs?|makes?|gives?|yields?|contains?|sums? to|totals?|(?:comes|adds up) to)\b"
    r"|(?<=\$)\s*[=:]|=(?=\s*(?:\$|\\\())|:(?=\s)|[是为為は]"
)
_ORDINAL = re.compile(
    r"\$?\d+(?:\s*(?:st|nd|rd|th)\b|\^\{?\\?(?:text\{)?(?:st|nd|rd|th))", re.IGNORECASE
)
_NAMES_ONLY = re.compile(
    r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?'*(?:\([^()=]{1,12}\))?|[A-Z]{2,}|\\(?:angle|triangle|overline|vec)"
    r"\s*\{?[A-Z]+\}?|\([a-zA-Z](?:,\s*[a-zA-Z])+\)|\|[a-zA-Z]+\||[a-zA-Z]+(?:\s*[-+*/]\s*[a-zA-Z]+)+"
)
_COUNTED = re.compile(r"\bthe\s+[*_$]*\Z", re.IGNORECASE)
_NOUN_AND_VERB = re.compile(r"\w+\s+(?:[a-z]+\s+){1,4}?(?:is|are|was|were|have|has|gets?)\b")


_SUM = re.compile(r"-?\d[\d.]*(?:\s?(?:[-+*/×]|\\cdot)\s?\d[\d.]*)+")
"""Arithmetic whose value follows: `10 + 15 is 25`."""


def _is_subject(value: str, sentence: str, position: int, end: int) -> bool:
    """Whether a value is what the sentence is about rather than what it says."""
    name = _NAMES_ONLY.fullmatch(value.strip()) and value.strip() not in (r"\pi", r"\infty")
    followed = _VERB.match(sentence, _skip_spaces(sentence, end))
    if followed and (_variable(value) or _SUM.fullmatch(value)):
        return True
    counted = _COUNTED.search(sentence[:position]) and _NOUN_AND_VERB.match(sentence, position)
    return bool(name or counted or _ORDINAL.match(sentence, position))


_CONSTANTS = re.compile(
    r"\\(?:pi|sqrt|[dt]?frac|cdot|times|circ|left|right|text\w*\s*\{[^{}]*\})(?![a-zA-Z])"
)


def _variable(value: str) -> bool:
    return bool(re.search(r"[a-zA-Z]", _CONSTANTS.sub("", value)))


_A_FEW_WORDS = re.compile(
    r"(?:nd|rd|th|st)?(?:\s+[a-z]+| \d+(?:st|nd|rd|th)){1,5}\s+(?=[$\\(]*[-−]?\d)"
)


def _after_words(sentence: str, position: int) -> str:
    """The number after a name and a few words: `$ABC$ measures 18`."""
    match = _A_FEW_WORDS.match(sentence, position)
    found = _value_at(sentence, match.end()) if match else None
    return found[0] if found else ""


def _after_verb(sentence: str, position: int) -> str:
    """The value after the first verb that has one and is not itself followed by another verb.

    A mere name counts only where no verb has another value.
    """
    name = ""
    for verb in _VERB.finditer(sentence, position):
        start = _skip(sentence, verb.end())
        if not (found := _value_at(sentence, start)):
            continue
        text, end = found
        if _VERB.match(sentence, _skip_spaces(sentence, end)):
            continue
        if not _is_subject(text, sentence, start, end):
            return _corrected(sentence, end) or text
        name = "" if re.search(r"\d", sentence[end:]) else text
    return name


def _skip_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t*_":
        position += 1
    return position


def _value_at(text: str, position: int) -> tuple[str, int] | None:
    """The span, expression or number in words that begins at a position, and where it ends."""
    if found := _at(text, position):
        length = max(len(found), 1)
        end = position + length
        if (span := span_at(text, position)) is not None:
            end = span[1]
        return _scaled(text, position, found, end)
    if number := leading_number_words(text[position : position + 200]):
        return _scaled(text, position, number[0], position + number[1])
    if (minus := _MINUS.match(text, position)) and (found := _at(text, minus.end())):
        return f"-{found}", minus.end() + len(found)
    return None


_MINUS = re.compile(r"(?:minus|negative|moins|menos|meno|минус)\s+(?=[\d$\\.])", re.IGNORECASE)


def _scaled(text: str, position: int, found: str, end: int) -> tuple[str, int]:
    """A number with its power of ten in words: `1.2 million`, `$3$ dozen`."""
    match = SCALE.match(text, end)
    if match and (value := scaled_number(found, match[1])):
        return value, match.end()
    return found, end


_REGRET = (
    r"oops|whoops|sorry|apologies|m[ye] (?:mistake|bad|apologies)|"
    r"(?:or )?rather|or so i (?:thought|think)|er+m?|uh+|um+|"
    r"hmm+|ahem|argh|i mean|i meant|scratch that|make (?:that|it)|strike that|correction|hold on|"
    r"hang on|"
    r"(?:just|only) kidding|let me (?:correct that|re-?check|fix that)|or should i say|"
    r"more precisely|"
    r"(?:that's|that is) (?:wrong|not right)|that can(?:'t|not) be right|not right|"
    r"(?:it )?(?:should|must) be|checks notes|blast|nein|non|espera|perdón"
)
_DOUBT = r"wait|no|nope|nah|nay|actually|well"
_BREAK = r"[\s.…,;:!?()—–*_-]"
_TAKEN_BACK = re.compile(
    rf"{_BREAK}*(?:\b(?:{_REGRET}|{_DOUBT}|or|oh|it's|it is|in (?:fact|truth)|the answer is)\b"
    rf"{_BREAK}*)+",
    re.IGNORECASE,
)
_REGRETS = re.compile(
    rf"\b(?:{_REGRET})\b|不对|不對|等等|错了|錯了|抱歉|更正|应该|應該|いや|違|訂正|아니",
    re.IGNORECASE,
)
_DOUBTS = re.compile(rf"\b(?:{_DOUBT})\b", re.IGNORECASE)
_REPLACED = re.compile(
    r"\s*(?:→|-+>|\\(?:to|rightarrow)(?![a-zA-Z]))\s*"
    r"|[\s，。…,.！、]*(?:不对|不對|等等|错了|錯了|抱歉|更正|应该|應該|いや|違|訂正|아니)"
    r"(?:[\s，。…,.！、：:是为為不对等错了抱歉更正应该答案]|います|いました)*"
)
_FALTERS = re.compile(r"\s*(?:\.\.\.|…)\s*[^\W\d][^\d.…=$\\\n]{0,40}(?:\.\.\.|[…!:,])\s*")
_NEW_SENTENCE = re.compile(r"(?<!\.)[.!?](?!\.)\s")
_ENDS_CLAUSE = re.compile(r"[\s*_)$]*(?:[.!?,;:]|$|\n|it\b)")


def _corrected(text: str, end: int) -> str:
    """What replaces the value that ends there: "7... wait, no, 8!"; empty where nothing does.

    "No" and "wait" may just open the next sentence ("No 3 ways about it."): there, a comma must
    follow them, and nothing the new value. So with what comes after dots ("7... blast! 8").
    """
    last = ""
    for _ in range(5):
        run = _TAKEN_BACK.match(text, end)
        regret = run if run and _REGRETS.search(run[0]) else _REPLACED.match(text, end)
        doubt = run if run and _DOUBTS.search(run[0]) else _FALTERS.match(text, end)
        match = regret or doubt
        found = _value_at(text, _skip(text, match.end())) if match else None
        if not match or not found or not re.search(r"\d|\\", found[0]):
            break
        if not regret:
            opens_sentence = _NEW_SENTENCE.search(match[0]) and not re.search(
                r"(?:[,.:!—–-]|\bit(?:['’]s| is))\s*$", match[0], re.IGNORECASE
            )
            if opens_sentence or not _ENDS_CLAUSE.match(text, found[1]):
                break
        last, end = found
    return last


def corrected_after(text: str, end: int) -> str:
    r"""What replaces the box that ends there: `\boxed{7}... correction: it is 8.`

    Only a value that is said to be put in its place does; a remark such as "wait" may just open a
    check. Empty where nothing replaces it.
    """
    run = _TAKEN_BACK.match(text, _CLOSED.match(text, end).end())  # type: ignore[union-attr]
    found = _value_at(text, _skip(text, run.end())) if run and _REGRETS.search(run[0]) else None
    return found[0] if found and _ENDS_CLAUSE.match(text, found[1]) else ""


_CLOSED = re.compile(r"(?:\s|\$|\\[)\]]|\*)*")


def _skip(text: str, position: int) -> int:
    """Past markup and filler words."""
    for pattern in (_MARKUP, _FILLER, _MARKUP):
        if match := pattern.match(text, position):
            after = text[match.end() : match.end() + 1]
            if pattern is not _FILLER or not (after in "=+^" and after):
                position = match.end()
    return position


def _first_value(clause: str) -> str:
    """The first span or number of a clause that opens with words; else the first name."""
    name = ""
    for match in re.finditer(r"\$|\\[(\[]|(?<![0-9A-Za-z_\u00c0-\u052f.\\])[-−]?\.?\d", clause):
        if found := _at(clause, match.start()):
            if not _NAMES_ONLY.fullmatch(found):
                return found
            name = name or found
    return name


def _after_colon(tail: str, end: re.Match[str] | None) -> str:
    if end is None or end[0] not in (":", "\n"):
        return ""
    position = _skip(tail, end.end())
    return _at(tail, position)


_JOIN = re.compile(r"\s*(?:,\s*(?:and|or)?|and|or)\s*(?=\$|\\\()", re.IGNORECASE)
_PERCENT_AFTER = re.compile(r"\s*(?:\\?%|per\s?cent\b)", re.IGNORECASE)


def _at(text: str, position: int) -> str:
    """The span or expression that begins at a position; empty where none does."""
    span = span_at(text, position)
    if span is None:
        end = expression_end(text, position)
        return text[position:end].strip() if end > position else ""
    content, end = span
    parts = [content]
    while (joint := _JOIN.match(text, end)) and (following := span_at(text, joint.end())):
        parts.append(following[0])
        end = following[1]
    percent = r"\%" if _PERCENT_AFTER.match(text, end) else ""
    if re.match(r"[a-z](?: ?\+ ?[a-z])+ ?=", parts[-1]):
        return parts[-1]  # the answer is m/n = 3/7, and m + n = 10
    return ", ".join(parts) + percent


_PROSE_IN_SPAN = re.compile(r"(?<![\\a-zA-Z{])[a-zA-Z]{2,}\s+[a-zA-Z]{2,}")
_TEXT_BLOCK = re.compile(r"\\(?:text\w*|mbox|mathrm)\s*\{[^{}]*\}")


def span_at(text: str, position: int) -> tuple[str, int] | None:
    """The mathematics between the delimiters that open at a position, and where it ends.

    A dollar is a delimiter only where the pair holds together as in Pandoc (no space inside the
    edges, no digit after the closing one) and there is no prose between: in "for $3 the treasure
    be 17, and $5 for rum" both are currency.
    """
    for opening, closing in (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)")):
        if text.startswith(opening, position):
            end = text.find(closing, position + 2)
            return (text[position + 2 : end].strip(), end + 2) if end > 0 else None
    if aligned := ALIGNED.match(text, position):
        return aligned[0], aligned.end()
    if not text.startswith("$", position):
        return None
    end = position + 1
    while (end := text.find("$", end)) > 0 and text[end - 1] == "\\":
        end += 1
    content = text[position + 1 : end] if end > 0 else ""
    if not content.strip() or "\n\n" in content or len(content) > 1000:
        return None
    if text[end + 1 : end + 2].isdigit() or _PROSE_IN_SPAN.search(_TEXT_BLOCK.sub("", content)):
        return None
    if content[0].isspace() != content[-1].isspace() and "\\" not in content:
        return None
    return content.strip(), end + 1


_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|log|ln|sqrt|pi|infinity|inf|exp)"
_ATOM = re.compile(
    rf"""
    \d[\d,]*\d(?:\.\d+)?(?!\w*[a-zA-Z]{{3}}) | \.?\d+(?:\.\d+)?
    | \\[a-zA-Z]+\s*\*? | \\[,;:!\ {{}}%$|\\]
    | \{{(?:[^{{}}]|\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}})*\}}
    | (?<=\d):(?=\d) | (?<=\d\ ):(?=\ \d)
    | {_FUNCTION}(?![a-zA-Z]) | [a-zA-Z](?![a-zA-Z'’]|-[a-zA-Z]{{2}})
    | [-−–+/^_=<>()\[\]|%°√π∞≤≥≠±×÷·∪∩∈⁄²³⁴½¼¾&!€£¥] | \*(?!\*)
    """,
    re.VERBOSE,
)
_BETWEEN = re.compile(
    r"[ \t]*,\s*(?:(?:and|or)[ \t]+)?"
    r"|[ \t]+(?:and|or|und|oder|et|ou|[yeo]|и|или)[ \t]+(?=[-−$\\\d])"
    r"|[ \t]+(?:and|or)[ \t]+|[ \t]*[、和与與及或][ \t]*(?=[-−$\\\d])|[ \t]*",
    re.IGNORECASE,
)
_STARTS_NUMBER = re.compile(r"[\d.$€£¥(\[+\-−\\√π∞|{]|[a-zA-Z]\b(?!['’])|" + _FUNCTION)


def expression_end(text: str, position: int) -> int:
    """Where a plain expression that begins at a position ends; the position itself where none does.

    Takes numbers, operators, LaTeX and single letters, and lists of these; stops at words and at
    the punctuation of the sentence.
    """
    start = position
    if text[position : position + 2] in (r"\$", "**"):
        position += 2
    elif text[position : position + 1] == "$" and text[position + 1 : position + 2].isdigit():
        position += 1
    end = position
    while position < len(text) and not text.startswith("!!", position):
        atom = _ATOM.match(text, position)
        if not atom or not _belongs(text, start, atom):
            break
        end = position = atom.end()
        between = _BETWEEN.match(text, position)
        gap = between[0] if between else ""
        if gap.strip() and not _STARTS_NUMBER.match(text, position + len(gap)):
            break
        position += len(gap)
    taken = text[start:end].rstrip(" \t+-−–/^_=<([*\\|&")
    if not re.search(r"[\da-zA-Z\\π∞½¼¾]", taken):
        return start
    if taken.endswith("!!") or not re.search(r"\d!", taken[:-1]):
        taken = taken.rstrip("!")  # the sentence's, not a factorial
    while taken.endswith(")") and taken.count(")") > taken.count("("):
        taken = taken[:-1]
    return start + len(taken)


_WORD_AFTER = re.compile(r"[ \t]+[a-zA-Z]{2,}|['’]")


def _belongs(text: str, start: int, atom: re.Match[str]) -> bool:
    """A single letter before a word is an article or pronoun, not a variable."""
    if not re.fullmatch(r"[a-zA-Z]", atom[0]):
        return True
    if re.match(r"[a-zA-Z]\.\s?[a-zA-Z]\.", text[atom.start() : atom.start() + 5]):
        return False  # i.e., e.g.
    if not text[start : atom.start()].strip():
        follows = re.match(
            r"\s*(?:[-+*/^_=<>(),.;!?]|\\|\d|$|\n)", text[atom.end() : atom.end() + 8]
        )
        return bool(follows) and not (
            atom[0] in "aI" and not re.match(r"\s*[-+*/^_=]", text[atom.end() :])
        )
    spaced = text[atom.start() - 1].isspace()
    return not (spaced and _WORD_AFTER.match(text, atom.end()))


_BEFORE = "0-9A-Za-z_\u00c0-\u052f.\\\\"
"""Characters that a number can't follow; it can follow Chinese, Japanese and Korean ones."""
_LAST_NUMBER = re.compile(
    rf"(?<![{_BEFORE}])(?<!/[a-z]\^)(?:[-−](?=[\d.]))?"
    r"(?:\d+ \d+/\d+|\d*\s?[¼½¾⅐-⅞]|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:\s?/\s?\d+(?!\d))?(?:\s*\\?%)?(?!(?:st|nd|rd|th)\b)"
)
_NO_ANSWER_BEFORE = re.compile(
    r"(?:\bmod(?:ulo)?|\b(?:not|nicht|niet|nie|pas|не|não)|n't|不是|\bthan|≠|\\neq?|!=)[\s$*]*\Z",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"(?<!\\)\b(?:about|approximately|approx\.?|roughly)[\s$*]*\Z"
    r"|(?:π|\bpi|√[\d(]\S{0,9}|\d\s?/\s?\d+|\d\)|\})[\s$]*≈[\s$]*\Z",
    re.IGNORECASE,
)
_LAST_LATEX = re.compile(
    r"\\(?:[dtc]?frac|sqrt|d?binom|pi|infty|left|begin\{[bpvBV]?matrix\})(?![a-zA-Z])"
    r"|(?<![a-zA-Z\\])sqrt(?=\()|√(?=\s*[\d({a-z])|(?<![\w.}\\])\d+(?:\^(?:\{[^{}]*\}|\d+)|[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
)
_COEFFICIENT = re.compile(r"(?<![\w}])[-−+]?\s?(?:\d+(?:\.\d+)?|[a-z])?\s?\Z")
_VARIABLE_SPAN = re.compile(
    r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?'?(?:\([a-zA-Z]\))?|\\(?:angle|triangle) ?[A-Z]+"
)
_LAST_REACH = 4000
"""Characters from the end in which a last number is looked for."""


_NAMED_LIST = re.compile(
    r"(?<![a-zA-Z\\\d])([a-zA-Z])\s*=\s*[^\s,=，、或和]+"
    r"(?:\s*(?:,|\bor\b|\band\b|[，、或和])\s*(?:or\s+)?\1\s*=\s*[^\s,=，、或和]+)+\Z"
)
"""`x = 3 or x = 6`."""


_ASSIGNED = r"[$(\\]{0,2}(?<![a-zA-Z\\])[a-zA-Z](?:_\w)?\s*=\s*[^\s,=，、$]+?[$)\\]{0,2}"
_ASSIGNMENTS = re.compile(rf"{_ASSIGNED}(?:\s*(?:,|\bor\b|\band\b)+\s*{_ASSIGNED}(?=[\s,.;]|$))+")
"""`x = 2 and y = 3`."""
_CONCLUSION = re.compile(
    r"\bthere (?:are|is|be|were|will be|must be) "
    r"(?:(?:exactly|only|precisely|a total of|thus|therefore|hence) )*(?=[$\\]*\d)"
    r"|(?:^|\n)[\s*_]*(?:therefore|thus|hence|so|consequently)[,:]? "
    r"(?=[$\\(]*[-−]?\d\S*\s(?:is|are) (?:the|our|my)\b)",
    re.IGNORECASE,
)
"""Before a number that a sentence concludes with: "there are 6 ways", "so 6 is the smallest"."""


def _last_conclusion(text: str) -> str:
    """The number that the last sentence concludes with; empty where it concludes otherwise."""
    sentences = [match for match in _SENTENCE.finditer(text) if re.search(r"\d", match[0])]
    if not sentences:
        return ""
    sentence = sentences[-1][0].lstrip()
    for match in _CONCLUSION.finditer(sentence):
        if found := _value_at(sentence, match.end()):
            number, end = found
            rest = re.sub(r"^[\s$]*(?:is|are) (?:the|our|my)\b", "", sentence[end:])
            if re.search(r"\d", number) and not _CONCLUDES.search(rest):
                return number
    return ""


def find_last(text: str, *, several: bool = False) -> str:
    """The last mathematical span or number of a text; a number in words where it has no digits.

    Args:
        text: A response without its reasoning.
        several: The reference has several members: `x = 2 and y = 3` is read as one list.
    """
    text = ALIGNED.sub(lambda match: match[2].replace("&", " "), text[-_LAST_REACH:])
    plain = _ASSURANCE.sub("", _ASIDE.sub("", text))
    plain = _BOAST.sub(r"\1", _REASON.sub(_without_reason, plain))
    if (check := _CHECK.search(plain)) and _VALUE.search(plain[: check.start()]):
        plain = plain[: check.start()]
    text = _without_chat(plain if _VALUE.search(plain) else text)
    lists = list(_ASSIGNMENTS.finditer(text)) if several else []
    if lists and not re.search(r"\d", text[lists[-1].end() :]):
        return re.sub(r"[$\\()]", "", re.sub(r"\s(?:and|or)\s", ", ", lists[-1][0]))
    if concluded := _last_conclusion(text):
        return concluded
    span, span_end = _last_span(text)
    latex, latex_end = _last_latex(text, span_end)
    if latex:
        span, span_end = latex, latex_end
    numbers = [
        match
        for match in _LAST_NUMBER.finditer(text, span_end)
        if not _ordinal(text, match) and not _NO_ANSWER_BEFORE.search(text[: match.start()][-20:])
    ]
    exact = [match for match in numbers if not _ABOUT.search(text[: match.start()][-20:])]
    if exact or (numbers and not span):
        number = _result(text, numbers) or (exact or numbers)[-1]
        if named := _NAMED_LIST.search(text, 0, number.end()):
            return named[0]
        whole = _concluded_with(text, number.start(), number.end())
        if whole != number[0].strip() and whole:
            return whole
        return _scaled(text, number.start(), number[0].strip(), number.end())[0]
    if span:
        return span
    if listed := list(_LAST_NUMBER.finditer(text)):
        opens_line = _LIST_ITEM.match(text, listed[0].end())
        return listed[0][0].strip() if len(listed) == 1 and opens_line else ""
    return "" if re.search(r"\d", text) else _last_words(text)


def _concluded_with(text: str, begin: int, stop: int) -> str:
    """The expression around what stands there, where a verb or sign states it: `is e^2`."""
    start = text.rfind("\n", 0, begin) + 1
    signs = [match.end() for match in re.finditer(_IS, text[start:begin], re.IGNORECASE)]
    for sign in reversed(signs[-3:]):
        position = _skip(text, start + sign)
        if position > begin:
            continue
        end = expression_end(text, position)
        if end >= stop and not re.search(r",|\b(?:and|or)\b", text[stop:end]):
            return text[position:end].strip()
        return ""
    return ""


_ASIDE = re.compile(r"(?<=[\d$*]) \([^()$=]*[a-zA-Z]{2,}[^()$=]*\)")
_ASSURANCE = re.compile(
    r",?\s*\b(?:of (?:that|which) )?I(?:'m| am|’m) (?:about |like )?\d+(?:\.\d+)?\s?% [a-z]+"
    r"|\b\d+(?:\.\d+)?\s?% (?:sure|certain|confident|positive|accurate)\b"
    r"|(?<=\d), (?:with|to) (?:an? )?(?:probability|confidence|certainty|likelihood|accuracy)"
    r"(?: level)? of [\d.]*\d\s?%"
    r"|(?<=\d),? (?:as )?(?:sure|certain|true) as [^.!?\n]*"
    r"|\b(?:it(?:'s|’s| is)|is it) (?:like |almost |already |past |only |really )*\d{1,2}(?::\d\d)?"
    r"(?:\s?[ap]\.?m\b\.?| o['’]clock)",
    re.IGNORECASE,
)
"""How sure the writer is, and what the clock says: `I am 99% certain`, `it's like 3am`."""
_REASON = re.compile(
    r"([\d$)][^.!?\n]{0,60}?)(?:,\s+(?:since|because)\b|\s\((?:(?:we|I) )?"
    r"(?:discard|reject|ignor|exclud|rul|not|since|because|check))"
    r"(?:(?!\b(?:so|thus|hence|therefore|answer)\b)[^.!?\n])*",
    re.IGNORECASE,
)
"""Why the value before it is right, or another is not: `x = 6, because x = -2 is negative`."""
_CHECK = re.compile(
    r"(?:\n|[.!?]\s)[\s*#_]*(?:let me |let's |to )?"
    r"(?:(?:double[- ])?check|verif(?:y|ication)|proof)(?:ing)?\b[\s*_]*[:：]"
    r"(?![\s\S]*\b(?:so|thus|hence|therefore|answer|final|wait|no)\b)",
    re.IGNORECASE,
)
"""A check at the end that concludes nothing: `Check: 2(6) + 1 = 13`."""
_BOAST = re.compile(
    r"([\d$)][^.!?\n]{0,30}),\s+(?:(?:and )?(?:it|that) )?"
    r"(?:(?:only |just |barely )?took|not bad for|easy as|thanks to|pay me|you owe me|"
    r"see you|trust me)\b[^.!?\n=$\\]*",
    re.IGNORECASE,
)
"""Chat in the sentence of the answer: `it's $9$, took me like 2 secs`."""

_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*[.!?\n]*")
_CONCLUDED = re.compile(
    rf"(?:{_IS}|\b(?:its|makes?|gives?|gets?|got|leaves?|yields?|totals?)\b)[\s*_(:]*"
    r"(?:[$\\]*[-−]?\d|\$(?=[^$\n]*\$)|\\[(\[])"
    r"|\d[$*]*,\s*(?:it|that|this) (?:is|be)\b",
    re.IGNORECASE,
)
_COUNTS_SOMETHING = re.compile(
    r"[^\d=+*/^$\\]*\d+\s+[^\W\d]{2,}[^\d=+*/^$\\]*|[^\d=]*\bno\. ?\d+[^\d=]*"
)


_LONE_NUMBER = re.compile(r"[\s*_$]*(?!1\.)[-−]?\d+(?:[.,]\d+)*[\s*_$]*[.!?]+\s*")
"""`30.` before chat; `1.` may open a list."""


def _without_reason(match: re.Match[str]) -> str:
    """The value alone, unless the sentence denies it: "it can't be 5, because 8 works"."""
    before = re.split(r"[.!?\n]", match.string[: match.start()])[-1]
    denied = re.search(r"\b(?:not|never|cannot|no)\b|n['’]t\b", before, re.IGNORECASE)
    return match[0] if denied else match[1]


_VALUE = re.compile(r"\d|\$[^$\n]+\$|\\[(\[]")


def _without_chat(text: str) -> str:
    """The text up to the sentence that concludes with a number, where only chat follows.

    Chat counts something and concludes nothing: "It's 42. Leave me alone, I need 3 naps."
    """
    chats = False
    for sentence in reversed(list(_SENTENCE.finditer(text))):
        if not _VALUE.search(sentence[0]):
            continue
        alone = _LONE_NUMBER.fullmatch(sentence[0]) and "\n" not in text[: sentence.start()][-1:]
        if alone or _CONCLUDED.search(sentence[0]):
            return text[: sentence.end()] if chats else text
        if not _COUNTS_SOMETHING.fullmatch(sentence[0].strip(" *_")) or _CONCLUDES.search(
            sentence[0]
        ):
            break
        chats = True
    return text


def _last_latex(text: str, position: int) -> tuple[str, int]:
    """The last LaTeX expression without delimiters from a position on, and where it ends."""
    found = ("", 0)
    while match := _LAST_LATEX.search(text, position):
        before = _COEFFICIENT.search(text, 0, match.start())
        start = before.start() if before else match.start()
        while start < match.start() and text[start].isspace():
            start += 1
        end = max(expression_end(text, start), match.end())
        found = (_concluded_with(text, start, end) or text[start:end].strip(), end)
        position = end
    return found


_CONCLUDES = re.compile(
    r"=|≈|\b(?:is|are|was|were|get|gets|got|give|gives|gave|given|make|makes|equals?|leaves|left|"
    r"totals?|sum|so|thus|therefore|hence|then|means|answer|result|final|(?<!\bi )have|has|"
    r"remain\w*|becomes?|yields?|comes? to|obtain|find|conclude|there)\b",
    re.IGNORECASE,
)


_GOES_ON = re.compile(r"[\s$]*(?:[-+*/×÷^:]|(?:or|and|to|through)\s+[-$]?\d|,\s*[-$]?\d)")


def _result(text: str, numbers: list[re.Match[str]]) -> re.Match[str] | None:
    """The right side of the last plain equation, where only chat with numbers in it follows.

    "12 + 5 = 17, and 3 cheers for you!" ends in 3 and answers 17. What follows must not conclude
    anything: "12 + 5 = 17. Adding 3, we get 20" answers 20.
    """
    for number in reversed(numbers):
        before = text[: number.start()].rstrip(" $*")
        if before.endswith("=") and not before.endswith(("!=", "<=", ">=")):
            after = number.end()
            ends = not (_GOES_ON.match(text, after) or _CONCLUDES.search(text, after))
            return number if ends else None
    return None


def has_mathematics(text: str) -> bool:
    """Whether the end of a text holds a mathematical span that is more than a variable."""
    return bool(_last_span(text[-_LAST_REACH:])[0])


_LIST_ITEM = re.compile(r"[.)]\s")


def _ordinal(text: str, match: re.Match[str]) -> bool:
    """`2nd`, `x2`, and the `2.` that opens a line of a list."""
    after = text[match.end() : match.end() + 3]
    return bool(
        re.match(r"[a-zA-Z_]{2}\w|st|nd|rd|th", after) and not after.startswith(("cm", "km"))
    ) or (
        bool(_LIST_ITEM.match(after))
        and not text[: match.start()].rpartition("\n")[2].strip()
        and len(text[match.end() :].partition("\n")[0]) > 3
    )


def _last_span(text: str) -> tuple[str, int]:
    found, position = ("", 0), 0
    while match := re.compile(r"(?<!\\)(?:\$|\\[(\[])").search(text, position):
        span = span_at(text, match.start())
        if span is None:
            position = match.end()
            continue
        if not _VARIABLE_SPAN.fullmatch(span[0]) or span[0] in (r"\pi", r"\infty"):
            value = span[0] + (r"\%" if _PERCENT_AFTER.match(text, span[1]) else "")
            found = (value, span[1])
        position = span[1]
    return found


def _last_words(text: str) -> str:
    """The last number written in words, but for a lone `one` or `zero`, which rarely is one."""
    found, position = "", 0
    for match in re.finditer(r"[A-Za-z]+(?:-[A-Za-z]+)*", text):
        if match.start() < position or re.fullmatch(SCALE_WORDS, match[0], re.IGNORECASE):
            continue
        number = leading_number_words(text[match.start() : match.start() + 200])
        if number:
            position = match.start() + number[1]
            if match[0].lower() not in ("one", "zero", "half", "quarter") or number[1] > len(
                match[0]
            ):
                found = number[0]
    return found
