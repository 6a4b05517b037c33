"""A page with 50,000 responses."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from persona_bench.report.figures.heat_map import heat_map_data
from persona_bench.report.page import PageFigure, Section, write_page
from persona_bench.report.page.charts import map_chart
from tests.report.page.browser import Browser
from tests.report.page.made_up import contents, responses


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = responses(500, 50, ("small-model", "large-model"))
    assert len(frame) == 50_000
    assert 800 < frame["response"].str.len().mean() < 1500
    start = time.perf_counter()
    page = write_page(contents(frame), tmp_path_factory.mktemp("large") / "index.html")
    size = page.stat().st_size / 1e6
    print(f"written in {time.perf_counter() - start:.1f} s, {size:.1f} MB")
    assert size < 40
    return page


@pytest.mark.parametrize("hash", ["", "#responses?question=algebra%2F123"])
def test_it_opens_and_says_how_long_that_took(
    browser: Browser, large_page: Path, hash: str
) -> None:
    start = time.perf_counter()
    browser.open(large_page, hash)
    if hash:
        browser.shows(".question h2", "Question algebra/123")
    wall = time.perf_counter() - start
    after = int(browser.script("return document.documentElement.dataset.readyAfter"))
    print(f"ready after {after} ms; {wall:.2f} s on the clock; at most 3 s are wanted")
    assert after > 0


def test_a_search_through_all_of_it_leaves_the_page_at_hand(
    browser: Browser, large_page: Path
) -> None:
    browser.open(large_page, "#responses")
    browser.driver.execute_script("""
        window.longest = window.turns = 0;
        let last = performance.now();
        setInterval(() => {
            const now = performance.now();
            longest = Math.max(longest, now - last);
            last = now;
            if (document.querySelector(".status").textContent.startsWith("Searching")) turns += 1;
        }, 10);
    """)
    start = time.perf_counter()
    browser.one("#search").send_keys("captain harbour sea")
    done = "const s = document.querySelector('.status').textContent;\
        return !s.startsWith('Searching') && !s.startsWith('50,000')"
    browser.until(lambda: browser.script(done), "the search does not end", seconds=60)
    longest, turns = browser.script("return [longest, turns]")
    print(f"searched in {time.perf_counter() - start:.1f} s, longest pause {longest:.0f} ms")
    assert turns > 3  # the page did other things while it searched
    assert 0 < int(browser.text(".status").split()[0]) < 1000
    browser.press("\ue00c", "j")
    browser.until(lambda: browser.text(".steps .count").startswith("2 of"), "no second question")


def test_the_page_of_a_run_of_8000_responses_can_be_sent_by_mail(tmp_path: Path) -> None:
    frame = responses(500, 16)
    outcomes = frame.drop(columns="score")
    outcomes["correct"] = (frame["verdict"] == "correct").astype(float)
    chart = map_chart(heat_map_data(outcomes), {"task": "persona_math"})
    section = Section("s", "S", [], [], [PageFigure("map", "Map", "", chart)])
    frame["response"] = [f"{text} {text[::-1]}" for text in frame["response"]]
    assert frame["response"].str.len().mean() > 2000  # as long as mathematics is
    page = write_page(contents(frame, sections=[section]), tmp_path / "index.html")
    assert page.stat().st_size < 10_000_000
