"""The browser of responses: questions, filters, search, links and keys."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from tests.report.page.browser import Browser
from tests.report.page.made_up import contents, judged, responses
from tests.report.page.real_runs import RealRuns

Open = Callable[..., Browser]
IDS = ".questions .id"
CARDS = ".card h3"


def shown(browser: Browser, question: str) -> None:
    """Waits for a question."""
    browser.shows(".question h2", f"Question {question}")


def test_a_question_with_all_its_personas_side_by_side(opened: Open) -> None:
    frame = responses(3, 16)
    browser = opened(contents(frame), "#responses?sort=asked&whole=1")
    shown(browser, "algebra/000")
    own = frame[frame["question"] == "algebra/000"]
    assert browser.texts(CARDS) == list(own["persona"])
    assert browser.texts(".card .response") == list(own["response"])
    assert browser.text(".asked") == own["question_text"].iloc[0]
    assert browser.text(".reference bdi") == own["answer"].iloc[0]
    words = {"correct": "✓ correct", "wrong": "✗ wrong", "unscored": "? unscored"}
    assert browser.texts(".card .badge") == [words[each] for each in own["verdict"]]
    reasons = [reason.replace("_", " ") for reason in own["reason"] if reason]
    assert browser.texts(".card .reason") == reasons
    assert browser.texts(".card .route") == [f"route: {route}" for route in own["route"] if route]
    assert browser.texts(".card .reward") == [f"reward: {each}" for each in own["reward"] if each]
    counted = own["verdict"].value_counts()
    graded = counted["correct"] + counted["wrong"]
    assert browser.text(".overview strong").startswith(f"{counted['correct']} of {graded} correct")
    tops = browser.script(
        "return [...document.querySelectorAll('.card')].map(e => e.getBoundingClientRect().top)"
    )
    assert len(set(tops[:3])) == 1  # three beside each other on a laptop
    assert browser.fits


def test_scores_between_right_and_wrong_are_shown_and_averaged(opened: Open) -> None:
    frame = responses(2, 4)
    scores = [0.0, 0.25, 1.0, 0.5]
    own = frame["question"] == "algebra/000"
    frame.loc[own, "score"] = [f"{score:g}" for score in scores]
    frame.loc[own, "verdict"] = ["wrong", "scored", "correct", "scored"]
    browser = opened(contents(frame), "#responses?sort=asked&question=algebra%2F000")
    shown(browser, "algebra/000")
    badges = ["✗ wrong 0", "★ scored 0.25", "✓ correct 1", "★ scored 0.5"]
    assert browser.texts(".card .badge") == badges
    assert browser.text(".overview strong").startswith("mean score 0.44")


def test_the_prompt_as_rendered_is_there_when_it_is_asked_for(opened: Open) -> None:
    frame = responses(3, 4)
    browser = opened(contents(frame), "#responses?question=algebra%2F001")
    shown(browser, "algebra/001")
    assert not browser.texts(".card pre")
    row = frame[(frame["question"] == "algebra/001") & (frame["persona"] == "persona-1")].iloc[0]
    browser.click(".card[data-persona=persona-1] details:last-of-type summary")
    browser.until(lambda: browser.texts(".card[data-persona=persona-1] pre"), "no prompt")
    assert browser.text(".card[data-persona=persona-1] pre") == row["context"]


def test_long_responses_show_their_start_and_end_until_asked_for(opened: Open) -> None:
    frame = responses(1, 2)
    text = "first line " + "word " * 500 + "the answer is 7"
    frame["response"] = [text, None]
    frame.loc[1, ["verdict", "reason"]] = "unscored", "api_error"
    browser = opened(contents(frame), "#responses?sort=asked")
    shown(browser, "algebra/000")
    start, end = browser.texts(".card .response")
    assert text.startswith(start)
    assert text.endswith(end)
    button = browser.one(".long button")
    hidden = len(text) - len(start) - len(end)
    assert button.text == f"… {hidden:,} more characters …"
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    browser.shows(".card .response", text)
    assert browser.script("return document.activeElement.textContent") == "Show less"
    assert "the request failed" in browser.text(".card[data-persona=persona-1] .empty")


def test_models_stand_beside_each_other_under_each_persona(opened: Open) -> None:
    frame = responses(2, 3, ("a", "b", "c"), samples=2)
    browser = opened(contents(frame), "#responses?sort=asked&whole=1")
    shown(browser, "algebra/000")
    assert [each.split()[0] for each in browser.texts(".line > h3")] == [
        "none", "persona-1", "persona-2"]  # fmt: skip
    assert browser.texts(".card h4") == ["a", "b", "c"] * 3
    own = frame[frame["question"] == "algebra/000"].sort_values(
        ["persona", "model", "sample"], kind="stable"
    )
    assert browser.texts(".card .response") == list(own["response"])
    assert browser.texts(".which")[:2] == ["sample 0 ", "sample 1 "]
    browser.click(".pick summary")
    browser.click(".pick label:nth-of-type(2) input")
    browser.shows(".card h4", *["a", "c"] * 3)
    assert browser.hash.count("model=") == 2
    assert browser.text(".pick summary") == "2 of 3"


def test_filters_narrow_the_list_and_the_question(opened: Open) -> None:
    frame = responses(6, 8)
    browser = opened(contents(frame), "#responses?sort=asked")
    shown(browser, "algebra/000")
    wrong = frame[(frame["verdict"] == "wrong") & (frame["reason"] == "refused")]
    browser.choose("verdict", "wrong")
    browser.choose("reason", "refused")
    browser.shows(IDS, *wrong["question"].unique())
    assert browser.text(".status").startswith(f"{len(wrong)} response")
    first = wrong["question"].iloc[0]
    shown(browser, first)
    own = wrong[wrong["question"] == first]
    browser.shows(CARDS, *own["persona"])
    browser.click(".overview a[href*='all=']")  # all personas again, with the filters on
    browser.shows(CARDS, *frame["persona"].unique())
    browser.click("form button")
    browser.shows(IDS, *frame["question"].unique())
    browser.choose("persona", "persona-3")
    browser.shows(CARDS, "persona-3")
    browser.choose("subject", "Geometry")
    browser.shows(IDS, "algebra/001", "algebra/004")


def test_responses_can_be_filtered_by_the_route_to_their_answer(opened: Open) -> None:
    frame = responses(6, 8)
    browser = opened(contents(frame), "#responses?sort=asked")
    shown(browser, "algebra/000")
    last = frame[(frame["route"] == "last") & (frame["verdict"] == "wrong")]
    browser.choose("route", "last")
    browser.choose("verdict", "wrong")
    browser.shows(IDS, *last["question"].unique())
    assert browser.text(".status").startswith(f"{len(last)} response")
    assert set(browser.texts(".card .route")) == {"route: last"}


def test_responses_can_be_filtered_by_verdict_and_voice(opened: Open) -> None:
    frame = responses(6, 8)
    said = ["in voice" if row % 3 else "out of voice" for row in range(len(frame))]
    frame["voice"] = said
    browser = opened(contents(frame), "#responses?sort=asked")
    shown(browser, "algebra/000")
    chosen = frame[(frame["voice"] == "in voice") & (frame["verdict"] == "correct")]
    browser.choose("voice", "in voice")
    browser.choose("verdict", "correct")
    browser.shows(IDS, *chosen["question"].unique())
    assert browser.text(".status").startswith(f"{len(chosen)} responses")
    assert set(browser.texts(".card .voice")) == {"in voice"}


def test_without_routes_there_is_none_to_choose(opened: Open) -> None:
    for frame in (responses(3, 4).drop(columns="route"), judged(3, 4)):
        browser = opened(contents(frame), "#responses?sort=asked")
        shown(browser, "algebra/000")
        assert browser.texts(".card .route") == []
        assert not browser.script("return document.querySelector('select[name=route]')")


def test_the_list_sorts_by_share(opened: Open) -> None:
    frame = responses(6, 8)
    graded = frame[frame["verdict"] != "unscored"]
    share = (graded["verdict"] == "correct").groupby(graded["question"]).mean()
    browser = opened(contents(frame), "#responses?sort=fewest")
    browser.shows(IDS, *share.sort_values(kind="stable").index)
    browser.choose("sort", "most")
    browser.shows(IDS, *share.sort_values(ascending=False, kind="stable").index)


def test_search_finds_responses_questions_and_judges_words(opened: Open) -> None:
    frame = pd.concat([responses(4, 3), judged(4, 3)], ignore_index=True)
    place = frame.index[(frame["question"] == "algebra/002") & (frame["persona"] == "persona-1")][0]
    frame.loc[place, "response"] = "x " * 800 + "The Königsberg (bridges)? " + "y " * 800
    browser = opened(contents(frame), "#responses?sort=asked")
    shown(browser, "algebra/000")
    field = browser.one("#search")
    field.send_keys("KÖNIGSBERG (b")
    browser.shows(IDS, "algebra/002")
    browser.shows(CARDS, "persona-1")
    browser.shows(".card mark", "Königsberg (b")
    assert browser.text(".status") == "1 response to 1 question"
    assert browser.text("#live") == "1 response to 1 question"
    link = browser.hash
    assert "q=K%C3%96NIGSBERG+%28b" in link
    field.clear()
    field.send_keys("algebra/003")
    browser.shows(IDS, "algebra/003")
    browser.choose("task", "persona_roleplay")
    browser.one("#search").clear()
    browser.one("#search").send_keys("judge-b finds persona persona-2 at")
    browser.shows(CARDS, "persona-2")
    assert browser.texts(".words mark")
    browser.one("#search").clear()
    browser.one("#search").send_keys("nothing like this")
    browser.shows(".question .empty", "Nothing fits: clear a filter.")
    again = opened(contents(frame), link)
    again.shows(IDS, "algebra/002")
    assert again.one("#search").get_attribute("value") == "KÖNIGSBERG (b"


def test_back_forward_and_a_copied_link_show_the_same(opened: Open) -> None:
    page = contents(pd.concat([responses(5, 4), judged(4, 3)], ignore_index=True))
    browser = opened(page)
    browser.click("#views a[href='#responses']")
    browser.choose("sort", "asked")
    browser.click(".questions li:nth-child(1) a")
    shown(browser, "algebra/000")
    browser.click(".questions li:nth-child(3) a")
    shown(browser, "algebra/002")
    browser.choose("kind", "expert")
    browser.shows(CARDS, "persona-1")
    browser.choose("task", "persona_roleplay")
    shown(browser, "algebra/000")
    browser.driver.back()
    browser.shows(CARDS, "persona-1")
    shown(browser, "algebra/002")
    browser.driver.back()
    browser.shows(CARDS, "none", "persona-1", "persona-2", "persona-3")
    browser.driver.forward()
    browser.shows(CARDS, "persona-1")
    browser.click(".card .link")
    link = browser.hash
    for part in ("task=persona_math", "question=algebra%2F002", "kind=expert", "at=persona-1"):
        assert part in link
    again = opened(page, link)
    shown(again, "algebra/002")
    again.shows(CARDS, "persona-1")
    assert again.script("return document.activeElement.dataset.persona") == "persona-1"


@pytest.mark.parametrize(
    ("hash", "told"),
    [
        ("#responses?task=none", "Nothing fits: clear a filter."),
        ("#responses?question=none", "This page has no such question."),
        ("#responses?persona=none&verdict=%00&model=x", "Nothing fits: clear a filter."),
    ],
)
def test_a_link_to_what_is_not_there_says_so(opened: Open, hash: str, told: str) -> None:
    browser = opened(contents(responses(2, 3)), hash)
    browser.shows(".question .empty", told)


def test_keys(opened: Open) -> None:
    browser = opened(contents(responses(4, 3)), "#responses?sort=asked")
    browser.press("r")
    browser.press("r")
    shown(browser, "algebra/000")
    browser.press("j")
    shown(browser, "algebra/001")
    assert browser.text("#live").startswith("Question 2 of 4: algebra/001, ")
    assert browser.text(".questions [aria-current] .id") == "algebra/001"
    browser.press("\ue014")  # right
    shown(browser, "algebra/002")
    browser.press("k")
    shown(browser, "algebra/001")
    browser.press("/")
    browser.press("jjk?/")  # typed, not obeyed
    assert browser.one("#search").get_attribute("value") == "jjk?/"
    assert not browser.one("#keys").is_displayed()
    browser.shows(IDS)
    browser.press("\ue00c")  # Escape leaves the field
    browser.press("?")
    assert browser.one("#keys").is_displayed()
    browser.click("#single-keys")
    browser.press("\ue00c")
    assert not browser.one("#keys").is_displayed()
    before = browser.hash
    browser.press("r")  # switched off
    assert browser.hash == before


def test_what_is_not_judged_yet_is_told(opened: Open) -> None:
    browser = opened(contents(judged(2, 3)), "#responses?sort=asked")
    shown(browser, "algebra/000")
    assert browser.texts(".judge")[0].startswith("Judge judge-a: ")
    assert browser.texts(".words")[0] == "judge-a finds persona none at ease."
    assert browser.texts(".questions .told")[1] == "3 not judged yet"
    browser.press("j")
    browser.shows(".card .badge", *["… not judged yet"] * 3)


def test_a_list_of_many_questions_grows_as_it_is_scrolled(opened: Open) -> None:
    browser = opened(contents(responses(1000, 2)), "#responses?sort=asked&question=algebra%2F450")
    shown(browser, "algebra/450")
    current = browser.one(".questions [aria-current]")
    assert current.is_displayed()
    assert len(browser.texts(IDS)) < 1000
    browser.until(
        lambda: browser.script("""
            const list = document.querySelector('.questions');
            list.scrollTop = list.scrollHeight;
            return list.querySelectorAll('.id').length === 1000;
        """),
        "the list ends",
    )


def test_a_question_shows_all_of_its_800_responses(opened: Open) -> None:
    browser = opened(contents(responses(2, 100, ("a", "b"), samples=4)), "#responses?sort=asked")
    shown(browser, "algebra/000")
    browser.driver.execute_async_script("""
        const [done] = arguments;
        dispatchEvent(new KeyboardEvent('keydown', { key: 'j' }));
        const wait = () => document.querySelector('.question h2').textContent.endsWith('001')
            ? requestAnimationFrame(done) : setTimeout(wait);
        wait();
    """)
    assert len(browser.texts(".sample")) == 800


def test_the_page_of_real_runs(opened: Open, real_runs: RealRuns) -> None:
    frame = pd.concat([real_runs.graded, real_runs.judged], ignore_index=True)
    browser = opened(contents(frame), "#responses?task=persona_arithmetic&whole=1&sort=asked")
    own = real_runs.graded
    first = own[own["question"] == own["question"].iloc[0]]
    shown(browser, first["question"].iloc[0])
    assert browser.texts(CARDS) == list(first["persona"])
    assert browser.texts(".card .response") == list(first["response"])
    browser.choose("verdict", "unscored")
    browser.shows(".card .badge", "? unscored")
    browser.shows(".card .reason", "api error")
    browser.choose("task", "persona_roleplay")
    browser.choose("persona", "weaver")
    browser.shows(CARDS, "weaver")
    assert browser.text(".card .badge") == "? unscored"
    browser.choose("persona", "baker")
    browser.shows(CARDS, "baker")
    row = real_runs.judged[real_runs.judged["persona"] == "baker"].iloc[0]
    said = row["judgements"][0]
    assert browser.text(".card .badge") == f"★ scored {said['score']:g}"
    assert browser.texts(".words") == [said["justification"]] * 2
    browser.click(".card details:last-of-type summary")
    browser.until(lambda: browser.texts(".card pre"), "no prompt")
    assert browser.text(".card pre") == row["context"]
    assert browser.fits
