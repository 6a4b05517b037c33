"""What a reader of responses is shown: the answer taken, formulas, differences, conversations."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from persona_bench.report.page.maths import formula_tree, formula_trees
from tests.report.page.browser import Browser
from tests.report.page.made_up import contents, judged, responses
from tests.report.page.test_charts import phone

Open = Callable[..., Browser]


def shown(browser: Browser, question: str) -> None:
    browser.shows(".question h2", f"Question {question}")


def test_the_answer_taken_stands_beside_the_reference_with_route_and_length(opened: Open) -> None:
    frame = responses(1, 3)
    frame["verdict"], frame["reason"] = "wrong", "wrong_answer"
    frame["taken"], frame["answer"], frame["route"] = ["12", "13", "14"], "15", "boxed"
    frame["tokens"] = "34"
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/000")
    parts = browser.texts(".card[data-persona=persona-1] .taken > span")
    assert parts == ["took 13", "reference 15", "route: boxed", "34 of at most 512 tokens"]


def test_it_opens_on_the_question_that_divides_the_personas_most(opened: Open) -> None:
    frame = responses(3, 4)
    frame["verdict"] = (["correct"] * 4) + ["correct", "wrong"] * 2 + ["wrong"] * 4
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/001")
    assert browser.one("select[name=sort]").get_attribute("value") == "=split"
    frame = judged(3, 2)
    scores = iter([3, 3, 1, 5])
    for said in frame["judgements"]:
        score = next(scores, None)
        for each in said:
            each["score"] = score
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/001")  # a mean of 1 under one persona and of 5 under the other


def test_formulas_of_questions_and_answers_are_drawn(opened: Open) -> None:
    frame = responses(1, 2)
    frame["question_text"] = "What is $\\frac{1}{2} + x^2$ when a pen costs $5 and not $7?"
    frame["answer"], frame["taken"] = "\\frac{3}{4}", "\\sqrt{2}"
    frame["verdict"], frame["reason"] = "wrong", "wrong_answer"
    frame["response"] = "It is $\\frac{1}{2}$."
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/000")
    assert browser.texts(".asked mfrac mn") == ["1", "2"]
    text = "What is 12+x2 when a pen costs $5 and not $7?"
    assert browser.text(".asked").replace("\u2061", "") == text
    assert browser.texts(".reference mfrac mn") == ["3", "4"]
    assert browser.texts(".took msqrt mn") == ["2", "2"]
    name = "return document.querySelector('.asked math').namespaceURI"
    assert browser.script(name) == "http://www.w3.org/1998/Math/MathML"
    assert browser.script("return document.querySelector('.asked mfrac').clientHeight") > 15
    assert browser.text(".card .response") == "It is $\\frac{1}{2}$."  # text, as it was said


@pytest.mark.parametrize(
    "latex",
    [
        "\\text{<script>alert(1)</script>}",
        "\\text{<img src=x onerror=alert(1)>}",
        "\\href{javascript:alert(1)}{x}",
        "\\text{</mtext></math><h1>big</h1>}",
        "\\frac{" * 300,
        "x" * 5000,
    ],
)
def test_formulas_are_made_of_known_elements_alone(opened: Open, latex: str) -> None:
    frame = responses(1, 2)
    frame["question_text"], frame["answer"] = f"Take ${latex}$ now.", latex
    frame["taken"] = latex
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/000")
    made = browser.script("""
        const bad = 'script, img, h1, math a, math [href]';
        return document.querySelector('.question').querySelectorAll(bad).length;
    """)
    assert made == 0
    attributes = browser.script("""
        return [...document.querySelectorAll('math, math *')]
            .flatMap(e => [...e.attributes].map(a => a.name));
    """)
    assert not [name for name in attributes if name.startswith("on") or name in ("style", "href")]


def test_dollars_that_are_no_formula_stay_dollars() -> None:
    assert formula_trees(["It costs $5 and $7, or \\$9 to $10."], []) == {}
    assert formula_trees([], ["15", "x"]) == {}
    tree = formula_tree("x^2")
    assert tree is not None
    assert tree[0] == "math"
    assert set(formula_trees(["\\(a+b\\), \\[c\\] and $$d$$"], ["\\pi"])) == {
        "a+b",
        "c",
        "d",
        "\\pi",
    }


def test_responses_are_compared_with_the_control_word_by_word(opened: Open) -> None:
    frame = responses(1, 3)
    frame["response"] = ["We add 3 and 4. It is 7.", "Arr, we add 3 and 4. It is 8.", None]
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/000")
    assert browser.text(".overview .diff") == "Differences from none"
    browser.press("d")
    card = ".card[data-persona=persona-1] .response"
    browser.shows(f"{card} del", "We", "7")
    assert browser.texts(f"{card} ins")[-1] == "8"
    kept = "".join(browser.texts(f"{card} :not(del)"))
    assert kept == "Arr, we add 3 and 4. It is 8."
    assert "".join(browser.texts(f"{card} :not(ins)")) == "We add 3 and 4. It is 7."
    assert "diff=1" in browser.hash
    assert not browser.texts(".card[data-persona=none] ins")
    browser.click(".overview .diff")
    browser.shows(card, "Arr, we add 3 and 4. It is 8.")


def test_a_response_with_nothing_in_common_is_still_shown(opened: Open) -> None:
    frame = responses(1, 2)
    other = " ".join(f"w{i}" for i in range(3000))
    frame["response"] = [" ".join(f"v{i}" for i in range(3000)), other]
    browser = opened(contents(frame), "#responses?diff=1&whole=1")
    shown(browser, "algebra/000")
    card = ".card[data-persona=persona-1]"
    assert "too different" in browser.text(f"{card} .sample .empty")
    assert browser.text(f"{card} .response") == other


def test_a_persona_s_text_stands_above_its_column_once(opened: Open) -> None:
    frame = responses(1, 3, ("a", "b"), samples=2)
    frame.loc[frame["persona"] == "persona-1", "system"] = "You have much to say. " * 20
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/000")
    own = frame.drop_duplicates("persona")["system"]
    found = browser.texts(".line .persona")
    assert len(found) == 3
    assert found[0] == "no system message"
    assert own.iloc[1].startswith(found[1].removesuffix("… all of it"))
    browser.click(".line:nth-of-type(2) .persona button")
    assert browser.texts(".line .persona")[1] == own.iloc[1]


def test_search_finds_personas_system_messages_and_prompts(opened: Open) -> None:
    frame = responses(3, 4)
    frame.loc[frame["persona"] == "persona-2", "system"] = "You guard the lighthouse of Ytterby."
    frame.loc[5, "context"] = "<|im_start|>user\nzeppelin<|im_end|>"
    browser = opened(contents(frame), "#responses?q=lighthouse+of+Ytter")
    browser.shows(".status", "3 responses to 3 questions")
    browser.shows(".card h3", "persona-2")
    assert browser.texts(".persona mark") == ["lighthouse of Ytter"]
    browser = opened(contents(frame), "#responses?q=persona-3")
    browser.shows(".card h3", "persona-3")
    browser = opened(contents(frame), "#responses?q=zeppelin")
    browser.shows(".status", "1 response to 1 question")
    browser.shows(".card h3", frame.loc[5, "persona"])


@pytest.mark.parametrize(
    "context",
    [
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi?<|im_end|>\n"
        "<|im_start|>assistant\n",
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi?<|eot_id|>",
        "system:\nBe brief.\n\nuser:\nHi?",
        "### a template of somebody's own",
    ],
)
def test_the_conversation_is_told_turn_by_turn(opened: Open, context: str) -> None:
    frame = responses(1, 1)
    frame["context"], frame["response"] = context, "Hello."
    frame["system"], frame["question_text"] = "Be brief.", "Hi?"
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/000")
    browser.click(".card details summary")
    browser.shows(".turn .role", "system", "user", "assistant")
    browser.shows(".turn .response", "Be brief.", "Hi?", "Hello.")


def test_the_rounds_before_the_question_are_told_where_the_template_is_unknown(
    opened: Open,
) -> None:
    frame = responses(1, 1)
    frame["context"], frame["response"] = "### a template of somebody's own", "Four."
    frame["system"], frame["question_text"] = "Be brief.", "2 + 2?"
    frame["conversation"] = '["Nice day!", "Yes. <b>Sun</b>."]'
    browser = opened(contents(frame), "#responses")
    shown(browser, "algebra/000")
    assert browser.text(".card details summary") == "The conversation before the question"
    browser.click(".card details summary")
    browser.shows(".turn .role", "system", "user", "assistant", "user", "assistant")
    said = ("Be brief.", "Nice day!", "Yes. <b>Sun</b>.", "2 + 2?", "Four.")
    browser.shows(".turn .response", *said)


def test_on_a_phone_filters_and_lists_are_folded_and_reach_their_end(opened: Open) -> None:
    page = contents(responses(60, 4))
    with phone(opened(page)):
        browser = opened(page, "#responses?sort=asked")
        shown(browser, "algebra/000")
        assert browser.fits
        assert not browser.one("select[name=persona]").is_displayed()
        assert not browser.one(".questions ol").is_displayed()
        first = browser.script("return document.querySelector('.card').getBoundingClientRect().top")
        assert first < 800  # a response is seen without scrolling
        browser.click(".filters .fold summary")
        browser.choose("kind", "expert")
        browser.shows(".card h3", "persona-1")
        assert browser.text(".filters .fold summary") == "Filters (1 set)"
        browser.click(".questions .fold summary")
        last = browser.one(".questions li:last-child a")
        browser.script("arguments[0].scrollIntoView({ block: 'end' })", last)
        last.click()
        shown(browser, "algebra/059")
        assert browser.fits
        browser = opened(page)
        assert not browser.one("#report .side ul").is_displayed()
        browser.click("#report .fold summary")
        end = browser.one("#report .side > details > ul > li:last-child a")
        browser.script("arguments[0].scrollIntoView({ block: 'end' })", end)
        end.click()
        top = "return document.querySelector('[data-key=provenance]').getBoundingClientRect().top"
        browser.until(lambda: -1 < browser.script(top) < 800, "the end is not reached")


def test_what_judges_said_stands_below_each_response(opened: Open) -> None:
    frame = pd.DataFrame(judged(2, 3))
    browser = opened(contents(frame), "#responses?sort=asked")
    shown(browser, "algebra/000")
    assert len(browser.texts(".card .judgement")) == 6
    assert browser.texts(".card[data-persona=persona-1] .words") == [
        "judge-a finds persona persona-1 at ease.",
        "judge-b finds persona persona-1 at ease.",
    ]
