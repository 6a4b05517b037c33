"""The report in a real browser: tables, figures, links and keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from persona_bench.report.page import PageTable, Section
from tests.report.page.browser import Browser
from tests.report.page.made_up import contents, figure, responses, table

Open = Callable[..., Browser]

SMALL = PageTable(
    "small",
    "Small",
    pd.DataFrame(
        {
            "persona": ["b", "a", "ab, \"c\"", "é"],
            "accuracy": [0.25, np.nan, 0.1234567, 0.9],
            "note": ["x10", "x9", None, "X1"],
        }
    ),
    formats={"accuracy": ".2f"},
)  # fmt: skip
FIRST = "tbody tr > :first-child"
KEY = quote("table/math/small", safe="")


def small_page(**more: Any) -> Any:
    section = Section("math", "Math", ["Text."], [SMALL], [figure()])
    return contents(responses(2, 3), **{"sections": [section], **more})


def test_everything_of_the_report_is_there(opened: Open) -> None:
    browser = opened(contents(responses(2, 3)))
    assert browser.driver.title == "Persona Bench: small-model"
    assert browser.texts("main h2")[:3] == ["Summary", "persona_math · small-model",
                                            "How this was made"]  # fmt: skip
    assert browser.texts("main h3")[:2] == ["Accuracy under each persona", "Accuracy by persona"]
    image = browser.one("figure img")
    assert image.get_attribute("alt") == "Accuracy under each persona"
    assert browser.script("return arguments[0].naturalWidth", image) == 672  # it was drawn
    assert "p < 0.001" in browser.text("[data-key='section/math'] p")
    assert '"lm_eval": "0.4.13"' in browser.text("[data-key=provenance] pre")
    assert len(browser.texts("#report tbody tr")) == 8
    assert browser.text(".sortable > button") == "Show all 30 rows"
    assert browser.fits


def test_a_column_sorts_by_number_or_word_with_nothing_last(opened: Open) -> None:
    browser = opened(small_page())
    rows = f"[data-table='table/math/small'] {FIRST}"
    given = ["b", "a", 'ab, "c"', "é"]
    browser.shows(rows, *given)
    accuracy = "th:nth-child(2)"
    assert browser.one(accuracy).get_attribute("aria-sort") == "none"
    browser.click(f"{accuracy} button")
    browser.shows(rows, 'ab, "c"', "b", "é", "a")
    assert browser.one(accuracy).get_attribute("aria-sort") == "ascending"
    browser.click(f"{accuracy} button")
    browser.shows(rows, "é", "b", 'ab, "c"', "a")
    assert browser.one(accuracy).get_attribute("aria-sort") == "descending"
    browser.click(f"{accuracy} button")
    browser.shows(rows, *given)
    browser.click("th:nth-child(3) button")
    browser.shows(rows, "é", "a", "b", 'ab, "c"')  # X1, x9, x10, nothing
    assert browser.texts("tbody td:nth-child(2)")[:4] == ["0.90", "n/a", "0.25", "0.12"]


def test_a_table_filters_counts_and_says_so(opened: Open) -> None:
    browser = opened(contents(responses(2, 3)))
    field = browser.one("#report input[type=search]")
    field.send_keys("EXPERT persona-1")
    browser.shows(f"#report {FIRST}", "persona-1", "persona-11", "persona-16")
    assert browser.texts("#report .tools .count")[0] == "3 of 30 rows"
    assert browser.text("#live") == "3 of 30 rows"
    field.send_keys(" no such")
    browser.shows(f"#report {FIRST}")


def test_a_link_opens_a_table_as_it_was_sorted_and_filtered(opened: Open) -> None:
    browser = opened(contents(responses(2, 3)))
    browser.click("th:nth-child(3) button")
    browser.one("#report input[type=search]").send_keys("persona-1")
    rows = browser.texts(f"#report {FIRST}")
    assert all(name.startswith("persona-1") for name in rows)
    link = browser.hash
    browser.driver.get("about:blank")
    browser = opened(contents(responses(2, 3)), link)
    browser.shows(f"#report {FIRST}", *rows)
    assert browser.one("#report input[type=search]").get_attribute("value") == "persona-1"


def test_a_link_to_a_part_brings_it_into_view(opened: Open) -> None:
    tall = Section("tall", "Tall", [], [table(60)], [])
    page = contents(responses(2, 3), sections=[tall, Section("low", "Low", [], [], [figure()])])
    browser = opened(page, "#report?at=figure%2Flow%2Faccuracy")
    top = "return document.querySelector('[data-key=\"figure/low/accuracy\"]')\
        .getBoundingClientRect().top"
    assert 0 <= browser.script(top) < 600
    browser.click(".side a")
    browser.until(lambda: browser.script("return scrollY") < 100, "did not go up")
    browser.driver.back()
    browser.until(lambda: 0 <= browser.script(top) < 600, "did not go back")
    assert browser.script("return document.activeElement.dataset.key") == "figure/low/accuracy"


def test_the_numbers_behind_a_figure_and_their_csv(opened: Open) -> None:
    browser = opened(small_page())
    assert not browser.texts("details.numbers table")
    browser.click("details.numbers summary")
    browser.shows("details.numbers tbody td", "0.81", "0.63")
    browser.script("""
        window.saved = [];
        URL.createObjectURL = blob => { blob.text().then(t => saved.push(t)); return '#saved'; };
        HTMLAnchorElement.prototype.click = function () { saved.push(this.download); };
    """)
    browser.click("[data-table='table/math/small'] .tools button:last-child")
    browser.until(lambda: len(browser.script("return saved")) == 2, "nothing was saved")
    name, text = sorted(browser.script("return saved"), key=len)
    assert name == "Small.csv"
    assert text == ('persona,accuracy,note\nb,0.25,x10\na,,x9\n"ab, ""c""",0.1234567,\né,0.9,X1\n')


def test_a_large_table_is_shown_in_parts(opened: Open) -> None:
    page = contents(pd.DataFrame(), sections=[Section("s", "S", [], [table(1500)], [])])
    browser = opened(page)
    assert len(browser.texts("tbody tr")) == 8
    assert not browser.one("#views").is_displayed()  # without responses there is one view
    browser.script("document.querySelector('.sortable > button').click()")
    assert len(browser.texts("tbody tr")) == 1000
    browser.script("document.querySelector('.sortable > button').click()")
    assert len(browser.texts("tbody tr")) == 1500


def test_a_wide_table_scrolls_in_its_own_box_and_breaks_no_words(opened: Open) -> None:
    columns = {f"arithmetic accuracy {i}": [0.25, 0.5] for i in range(20)}
    wide = pd.DataFrame({"method": ["base-model", "rlvr"], **columns, "about": ["a b " * 60, "x"]})
    section = Section("s", "S", [], [PageTable("wide", "Wide", wide)], [])
    browser = opened(contents(pd.DataFrame(), sections=[section]))
    assert browser.fits
    height = "return document.querySelector(arguments[0]).getClientRects()[0].height"
    assert browser.script(height, "tbody th bdi") < 30  # a line
    assert browser.script(height, "thead th bdi") < 30
    assert not browser.script("""
        return [...document.querySelectorAll('thead th')].some(e => e.scrollWidth > e.clientWidth);
    """)
    box = browser.one(".scroll")
    assert "further" in browser.one(".cued").get_attribute("class")  # a cue that there is more
    assert browser.script("return arguments[0].scrollWidth > arguments[0].clientWidth", box)
    browser.script("arguments[0].scrollLeft = 1e6", box)
    left = "return document.querySelector('tbody th').getBoundingClientRect().left\
        - arguments[0].getBoundingClientRect().left"
    assert abs(browser.script(left, box)) < 1  # whose row it is stays in view
    cue = "return document.querySelector('.cued').classList.contains('further')"
    browser.until(lambda: not browser.script(cue), "the cue stays at the end")


def test_landmarks_headings_and_labels(opened: Open) -> None:
    browser = opened(small_page(), "#responses")
    browser.until(lambda: browser.texts(".card"), "no cards")
    for landmark in ("header", "main", "nav[aria-label]", "[role=search]", "[role=status]"):
        assert browser.texts(landmark), landmark
    unnamed = browser.script("""
        return [...document.querySelectorAll('input, select, textarea')]
            .filter(e => !e.labels.length && !e.ariaLabel).map(e => e.outerHTML);
    """)
    assert unnamed == []
    levels = browser.script("""
        return [...document.querySelectorAll('h1, h2, h3, h4')]
            .filter(e => e.checkVisibility() && !e.closest('dialog')).map(e => +e.tagName[1]);
    """)
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert browser.texts("#report caption")[0] == "Small"
    assert not browser.texts("#report th:not([scope])")


def test_without_what_unpacks_data_the_page_says_what_to_do(
    browser: Browser, tmp_path: Any
) -> None:
    from persona_bench.report.page import write_page

    page = write_page(small_page(), tmp_path / "index.html")
    for gone, told in (
        ("delete window.DecompressionStream", "lacks DecompressionStream): open it with Chrome 80"),
        ("delete Uint8Array.fromBase64", ""),  # older browsers have another way
    ):
        command = "Page.addScriptToEvaluateOnNewDocument"
        added = browser.driver.execute_cdp_cmd(command, {"source": gone})
        try:
            browser.driver.get("about:blank")
            browser.driver.get(page.as_uri())
            done = "return document.documentElement.dataset.ready || !!arguments[0].textContent"
            browser.until(partial(browser.script, done, browser.one("#problem")), "neither")
            assert told in browser.text("#problem")
            assert bool(told) == bool(browser.text("#problem"))
        finally:
            command = "Page.removeScriptToEvaluateOnNewDocument"
            browser.driver.execute_cdp_cmd(command, added)


def test_a_page_that_was_cut_off_says_so(browser: Browser, tmp_path: Any) -> None:
    from persona_bench.report.page import write_page

    page = write_page(small_page(), tmp_path / "index.html")
    source = page.read_text()
    start = source.index('<script type="application/octet-stream" id="data-index"')
    page.write_text(source[:start] + source[source.index("<script>", start) :])
    browser.driver.get(page.as_uri())
    browser.until(lambda: browser.one("#problem").is_displayed(), "no word of it")
    assert "the part index is missing: was the file cut off?" in browser.text("#problem")
