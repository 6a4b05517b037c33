"""Untrusted text in a real browser: shown as it is, without any effect."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from tests.report.page.browser import Browser
from tests.report.page.made_up import ATTACKS, contents, hostile, responses

Open = Callable[..., Browser]
NAMES = [text[:400] for text in ATTACKS.values()]


def well_formed(text: str) -> str:
    """As the driver carries it."""
    return text.replace("\ud83d", "\ufffd").replace("\udc00", "\ufffd")


def as_html(text: str) -> str:
    """What is left of text in html."""
    return well_formed(text).replace("\x00", "\ufffd").replace("\r\n", "\n")


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_response_is_shown_as_it_is(opened: Open, attack: str) -> None:
    frame = responses(1, 2).astype(object)
    text = ATTACKS[attack]
    frame["response"] = pd.Series([text, "harmless"], dtype=object)
    browser = opened(contents(frame), "#responses?whole=1")
    browser.until(lambda: browser.texts(".card"), "no cards")
    packed = text.encode("utf-16-le", "surrogatepass")  # the driver can't carry half characters
    units = [int.from_bytes(packed[at : at + 2], "little") for at in range(0, len(packed), 2)]
    same = """
        const text = arguments[0].map(unit => String.fromCharCode(unit)).join('');
        return document.querySelector('.card .response').textContent === text;
    """
    assert browser.script(same, units)
    assert browser.texts(".card .response")[1:] == ["harmless"]
    assert browser.texts(".card h3") == ["none", "persona-1"]
    harmless(browser)


@pytest.mark.parametrize("hash", ["#report", "#responses", "#responses?whole=1&q=script"])
def test_names_titles_cells_and_judgements_have_no_effect(opened: Open, hash: str) -> None:
    browser = opened(hostile(), hash)
    if hash.startswith("#responses"):
        browser.until(lambda: browser.texts(".card"), "no cards")
        for opens in browser.driver.find_elements("css selector", ".card details")[:30]:
            browser.script("arguments[0].open = true", opens)
    else:
        browser.script("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        browser.until(lambda: browser.texts("details.numbers table"), "no numbers")
    harmless(browser)


def test_they_are_shown_as_they_are(opened: Open) -> None:
    browser = opened(hostile())
    bad = ATTACKS["end of script"]
    assert browser.driver.title == bad
    assert browser.text("h1") == bad
    assert browser.texts("[data-key=summary] p.summary") == [as_html(name) for name in NAMES]
    assert browser.text("figcaption") == bad
    assert browser.one("figure img").get_attribute("alt") == bad
    cells = browser.texts("#report .table tbody th")
    assert cells == NAMES[:8]
    assert browser.texts("#report .table thead bdi")[1:] == [NAMES[0], NAMES[5]]
    browser.click("#views a[href='#responses']")
    browser.until(lambda: browser.texts(".card"), "no cards")
    assert browser.text(".question h2") == f"Question {NAMES[3]}"
    assert browser.text(".reference bdi") == NAMES[2]
    assert browser.texts(".card h4 bdi")[:2] == [NAMES[0], NAMES[1]]
    assert NAMES[1] in browser.texts(".card .words")


def harmless(browser: Browser) -> None:
    """No script ran, no element was made, and nothing is wider than the window."""
    assert browser.script("return window.__pwned") is None
    assert browser.script("return document.scripts.length - document.querySelectorAll(\
        'script[type=\"application/octet-stream\"]').length") == 1  # fmt: skip
    made = browser.script("""
        const others = ['iframe', 'object', 'embed', 'svg:not(.drawing svg)', 'link', 'base',
            'h1:not(header h1)', 'math',
            'style:not(head style)', 'img:not(figure img)', '[onerror]', '[style*="900px"]'];
        return document.querySelectorAll(others.join()).length;
    """)
    assert made == 0
    assert browser.fits
    beyond = browser.script("""
        const width = document.documentElement.clientWidth;
        return [...document.querySelectorAll('main *')].filter(e => e.checkVisibility()
            && !e.closest('.scroll, .wide, .unseen') && e.getBoundingClientRect().right > width + 1)
            .map(e => e.className || e.tagName);
    """)
    assert beyond == []
