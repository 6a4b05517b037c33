r"""The sentence of a response that states the answer: "The answer, me hearty, be 17 doubloons." """

from __future__ import annotations

import re
from typing import NamedTuple

from persona_bench.grading.expressions import BEFORE_NUMBER, mathematics_at, skip_filler, value_at
from persona_bench.grading.numbers import leading_number_words

IS = (
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
    rf"(?:(?<!\bto )(?<!n't )(?<!\bnot )(?<!\bcannot )\b{_ANSWER}\b[^.!?\n:=]{{0,60}}?{IS}|"
    rf"\b{_ANSWER_ABROAD}(?:\s+[^\W\d]+){{0,2}}\s*[:=—–-]?(?=[\s*_(]*\$?\\?[-−]?\d)|"
    rf"\banswer\?[?!]*|\banswer,\s*(?=[$*]*\\?[-−]?\d[^,\n]{{0,40}},)|\banswer(?=[\s*$]+-?\d[\d.,/]*[$*]*(?:[.!;\n]|$))|"
    r"(?:^|[.!?]\s+)(?:the )?(?:final |end )?(?:result|solution|total)\s*[:=]"
    r"(?=[\s*$]*\\?[-−]?\d)|"
    rf"{_ANSWER_CJK}[^。！？\n:：=\d]{{0,12}}?(?:{IS}|(?=[\s$]*\\?[\d$(]))|"
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
        before = _value_before(text, start) if stated_before else ""
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


def _value_before(text: str, end: int) -> str:
    """The value that a statement follows: "Forty-two, the answer is." """
    before = re.sub(
        r"[\s,]*(?:\b(?:the|my|your|thy|our|final)\b\s*)*$", "", text[max(0, end - 120) : end]
    )
    starts = [match.end() for match in _SENTENCE_START.finditer(before)]
    clause = before[starts[-1] if starts else 0 :]
    adjoining = _ADJOINING.search(before)
    if adjoining:
        return adjoining[1]
    value = (
        mathematics_at(clause, skip_filler(clause, 0)) or (leading_number_words(clause) or ("",))[0]
    )
    whole = clause.strip(" *_$()\\").rstrip(",.")
    return value if value and len(whole) <= len(value) + 25 else ""


class Statement(NamedTuple):
    value: str
    """A number or expression; empty where the statement has none."""
    words: str
    """A short answer in words; empty where the statement has a value or is no answer."""


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
    position = skip_filler(tail, 0)
    if _COMPARES.match(tail, position):
        return Statement("", "")
    if condition := _CONDITION.match(tail, position):
        position = skip_filler(tail, condition.end())
    sentence = tail[: _SENTENCE_END.search(tail, position).start()]  # type: ignore[union-attr]
    if value_and_end := value_at(tail, position):
        text, end = value_and_end
        if _is_subject(text, sentence, position, end):
            after = _after_verb(sentence, position) or _after_words(sentence, end)
            if after:
                return Statement(after, "")
        return Statement(_correction(tail, end) or text, "")
    end_of_clause = _CLAUSE_END.search(tail, position)
    clause = tail[position : end_of_clause.start() if end_of_clause else len(tail)]
    if after := _after_verb(sentence, position):
        return Statement(after, "")
    if value := _first_value(clause):
        return Statement(value, "")
    if figures := _IN_FIGURES.match(tail, position + len(clause)):
        return Statement(mathematics_at(tail, figures.end()), "")
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
    value_and_end = value_at(sentence, match.end()) if match else None
    return value_and_end[0] if value_and_end else ""


def _after_verb(sentence: str, position: int) -> str:
    """The value after the first verb that has one and is not itself followed by another verb.

    A mere name counts only where no verb has another value.
    """
    name = ""
    for verb in _VERB.finditer(sentence, position):
        start = skip_filler(sentence, verb.end())
        if not (value_and_end := value_at(sentence, start)):
            continue
        text, end = value_and_end
        if not _is_subject(text, sentence, start, end):
            return _correction(sentence, end) or text
        name = "" if re.search(r"\d", sentence[end:]) else text
    return name


def _skip_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t*_":
        position += 1
    return position


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


def _correction(text: str, end: int) -> str:
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
        value_and_end = value_at(text, skip_filler(text, match.end())) if match else None
        if not match or not value_and_end or not re.search(r"\d|\\", value_and_end[0]):
            break
        if not regret:
            opens_sentence = _NEW_SENTENCE.search(match[0]) and not re.search(
                r"(?:[,.:!—–-]|\bit(?:['’]s| is))\s*$", match[0], re.IGNORECASE
            )
            if opens_sentence or not _ENDS_CLAUSE.match(text, value_and_end[1]):
                break
        last, end = value_and_end
    return last


def corrected_after(text: str, end: int) -> str:
    r"""What replaces the box that ends there: `\boxed{7}... correction: it is 8.`

    Only a value that is said to be put in its place does; a remark such as "wait" may just open a
    check. Empty where nothing replaces it.
    """
    run = _TAKEN_BACK.match(text, _CLOSED.match(text, end).end())  # type: ignore[union-attr]
    value_and_end = (
        value_at(text, skip_filler(text, run.end())) if run and _REGRETS.search(run[0]) else None
    )
    return value_and_end[0] if value_and_end and _ENDS_CLAUSE.match(text, value_and_end[1]) else ""


_CLOSED = re.compile(r"(?:\s|\$|\\[)\]]|\*)*")


_VALUE_STARTS = re.compile(rf"\$|\\[(\[]|(?<![{BEFORE_NUMBER}])[-−]?\.?\d")


def _first_value(clause: str) -> str:
    """The first span or number of a clause that opens with words; else the first name."""
    name = ""
    for match in _VALUE_STARTS.finditer(clause):
        if expression := mathematics_at(clause, match.start()):
            if not _NAMES_ONLY.fullmatch(expression):
                return expression
            name = name or expression
    return name
