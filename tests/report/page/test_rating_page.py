"""The page on which people rate responses, in a real browser."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_bench.judge.raters import draw, rateable, read_ratings, write_rating_page
from persona_bench.judge.run import find_judged
from tests.report.page.browser import Browser
from tests.support.judged_run import in_role, stored_run

ODD = '</script><b id="odd">bold</b> “=1+1”, "quoted"\nline\u2028two 🙂'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def answer(system: str, user: str) -> str:
        return ODD if "weaver" in system else in_role(system, user)

    return stored_run(tmp_path_factory.mktemp("run"), answer, questions_per_task=1)


@pytest.fixture
def rating(browser: Browser, run: Path, tmp_path: Path) -> Callable[[int], Browser]:
    """Opens the page with so many responses in a browser that has not seen it."""
    pool = rateable(find_judged(run))

    def open_page(n: int) -> Browser:
        browser.open(write_rating_page(draw(pool, n), pool, tmp_path / "rate.html"))
        return browser

    open_page(1).script("localStorage.clear()")
    browser.until(lambda: open_page(1).script("return localStorage.length") == 0, "is not empty")
    return open_page


def saved(browser: Browser, folder: Path) -> Path:
    """Saves the CSV into a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    where = {"behavior": "allow", "downloadPath": str(folder)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    browser.click("#export")
    browser.until(lambda: list(folder.glob("*.csv")), "nothing was saved")
    (file,) = folder.glob("*.csv")
    return file


def test_it_is_rated_by_keys_and_goes_on_where_it_was(
    rating: Callable[[int], Browser], run: Path, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    page = rating(6)
    shown: list[Any] = []
    for key in ("5", "1", "0"):
        shown.append(page.text("#response"))
        page.press(key)
    assert len(set(shown)) == 3
    assert page.text("#count") == "3 of 6 rated"
    page.press(Keys.ARROW_LEFT)
    page.press("c")
    page.press("x1")  # typed, not a score
    page.press(Keys.ESCAPE)
    assert page.text("#place") == "Response 3 of 6"
    assert page.one("#comment").get_attribute("value") == "x1"
    assert page.text("#count") == "3 of 6 rated"

    # closed, and opened again; the browser may take a moment to write down what it stores
    page.until(lambda: rating(6).text("#count") == "3 of 6 rated", "nothing was stored")
    assert page.text("#place") == "Response 4 of 6"
    page.click("#export")  # without a name
    assert "Write your name first" in page.text("#problem")
    page.press("Ann ", "3")  # into the field, which has the focus
    assert page.text("#count") == "3 of 6 rated"
    file = saved(page, tmp_path / "saved")
    assert file.name == "ratings_Ann_3.csv"
    known = [each.item for each in rateable(find_judged(run))]
    rows = read_ratings([file], known)
    assert list(rows["rater"]) == ["Ann 3"] * 3
    assert rows["score"].fillna(0).tolist() == [5, 1, 0]
    assert rows["comment"].tolist() == ["", "", "x1"]

    def goes_on() -> bool:  # a larger draw has these and more, once Chromium has stored them
        return rating(12).text("#count") == "3 of 12 rated"

    page.until(goes_on, "the larger draw does not know them")


def test_nothing_in_a_response_is_markup(
    rating: Callable[[int], Browser], run: Path, tmp_path: Path
) -> None:
    page = rating(30)
    for _ in range(30):
        if page.text("#response") == ODD:
            break
        page.press("4")
    assert page.text("#response") == ODD
    assert page.texts("#odd") == []
    page.one("#rater").clear()  # what is stored of another test may come back after all
    page.one("#rater").send_keys('"A", =B\n')
    page.one("#comment").send_keys(ODD.replace("🙂", "").replace("\u2028", ""))
    file = saved(page, tmp_path / "saved")
    with file.open(encoding="utf-8", newline="") as lines:
        *_, last = csv.DictReader(lines)
    assert last["rater"] == '"A", =B'
    assert last["comment"].startswith("</script>")
    assert page.fits


def test_it_can_be_used_with_a_mouse_and_says_what_scores_mean(
    rating: Callable[[int], Browser],
) -> None:
    page = rating(4)
    before = page.text("#response")
    page.click("#scores button[value='2']")
    assert page.text("#response") != before
    page.click("#back")
    assert page.text("#response") == before
    pressed = page.texts("#scores button[aria-pressed='true']")
    assert pressed == ["2"]
    assert "5: " in page.text("#rubric")
    for _ in range(4):
        page.click("#next")
    assert page.text("#place") == "Response 4 of 4"
