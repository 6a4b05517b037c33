"""The page's own charts in a real browser: numbers, clicks, colours and files."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from persona_bench.report.compose.run import accuracy_chart, lottery_chart
from persona_bench.report.figures.failures import failures_data, name_of
from persona_bench.report.figures.heat_map import heat_map_data
from persona_bench.report.figures.lottery import lottery_data
from persona_bench.report.page import PageFigure, Section
from persona_bench.report.page.charts import bar_chart, line_chart, map_chart, point_chart
from persona_bench.scoring.stability import stability
from tests.report.page.browser import Browser
from tests.report.page.made_up import contents, responses

Open = Callable[..., Browser]
LINK = {"task": "persona_math", "model": "small-model"}
FRAME = responses(12, 8)


def outcomes(frame: pd.DataFrame = FRAME) -> pd.DataFrame:
    correct = frame["verdict"].map({"correct": 1.0, "wrong": 0.0}).astype(float)
    return frame.drop(columns="score").assign(correct=correct, prompt_hash="x")


def page_of(chart: dict[str, Any], frame: pd.DataFrame = FRAME) -> Any:
    figure = PageFigure("one", "The chart", "What it shows.", chart)
    return contents(frame, sections=[Section("s", "S", [], [], [figure])])


def marks(browser: Browser) -> dict[str, str]:
    """What each mark that leads somewhere says, and where it leads."""
    code = """
        return [...document.querySelectorAll('.drawing a')]
            .map(e => [e.ariaLabel, e.getAttribute('href')]);
    """
    return dict(browser.script(code))


@pytest.fixture(scope="module")
def result() -> Any:
    return stability(outcomes(), resamples=200)


def test_accuracy_says_its_numbers_and_leads_to_the_responses(opened: Open, result: Any) -> None:
    browser = opened(page_of(accuracy_chart({"small-model": result}, {"small-model": LINK})))
    browser.until(lambda: marks(browser), "no marks")
    rows = result.per_persona.set_index("persona")
    found = marks(browser)
    assert len(found) == len(rows)
    for says, _ in found.items():
        name = says.split(":")[0]
        row = rows.loc[name]
        assert says == (
            f"{name}: {row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}], n = {row['n']}"
        )
    (row,) = [
        each for each in browser.driver.find_elements("css selector", ".drawing a")
        if each.get_attribute("aria-label").startswith("persona-3:")
    ]  # fmt: skip
    hover(browser, row)
    assert browser.text(".tip").startswith("persona-3: ")
    assert browser.one(".tip").is_displayed()
    row.click()
    browser.until(lambda: browser.texts(".card"), "no cards")
    assert set(browser.texts(".card h3")) == {"persona-3"}


def hover(browser: Browser, element: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser.driver).move_to_element(element).perform()


def test_several_models_have_a_mark_each_that_leads_to_its_model(opened: Open) -> None:
    frame = responses(12, 3, ("a", "b"))
    results = {m: stability(outcomes(frame[frame["model"] == m]), resamples=200) for m in "ab"}
    links = {m: {"task": "persona_math", "model": m} for m in "ab"}
    browser = opened(page_of(accuracy_chart(results, links), frame))
    browser.until(lambda: marks(browser), "no marks")
    found = marks(browser)
    assert len(found) == 6
    (to,) = [to for says, to in found.items() if says.startswith("persona-1, b:")]
    assert "model=b" in to
    assert "persona=persona-1" in to


def test_the_map_names_the_cell_and_a_click_leads_to_its_responses(opened: Open) -> None:
    data = heat_map_data(outcomes())
    browser = opened(page_of(map_chart(data, LINK)))
    browser.until(lambda: browser.script("return !!document.querySelector('.cells')"), "no map")
    cell = data[data["question_accuracy"] > 0].iloc[0]  # on the left, at the top
    area = browser.one(".cells")
    at = browser.script(
        "const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", area
    )
    from selenium.webdriver.common.action_chains import ActionChains

    corner = ActionChains(browser.driver).move_to_element_with_offset(
        area, int(-at[0] / 2) + 3, int(-at[1] / 2) + 3
    )
    corner.perform()
    words = {1.0: "correct", 0.0: "wrong"}.get(cell["accuracy"], "unscored")
    assert browser.text(".tip") == f"{cell['persona']} × question {cell['question']}: {words}"
    ActionChains(browser.driver).click().perform()
    browser.shows(".question h2", f"Question {cell['question']}")
    assert browser.script("return document.activeElement.dataset.persona") == cell["persona"]


def test_questions_that_nobody_solved_are_counted_not_drawn(opened: Open) -> None:
    table = outcomes()
    table.loc[table["question"] == "algebra/003", ["verdict", "correct"]] = "wrong", 0.0
    chart = map_chart(heat_map_data(table), LINK)
    assert "algebra/003" not in chart["columns"]
    browser = opened(page_of(chart))
    told = "1 more that nobody solved"
    browser.until(lambda: told in browser.texts(".drawing text"), "not told")


def test_reasons_lead_to_the_responses_that_failed_so(opened: Open, result: Any) -> None:
    data = failures_data(result)
    names = {each: name_of(each) for each in data["outcome"].unique()}
    browser = opened(page_of(bar_chart(data, names, LINK)))
    browser.until(lambda: marks(browser), "no marks")
    row = data[data["outcome"] == "wrong:refused"].query("count > 0").iloc[0]
    says = f"{row['persona']}: refused {row['count']} of {row['responses']} ({row['share']:.0%})"
    to = marks(browser)[says]
    browser.driver.execute_script("location.hash = arguments[0]", to)
    browser.until(lambda: browser.texts(".card"), "no cards")
    assert browser.text(".status").startswith(f"{row['count']} response")


def test_points_and_curves_are_drawn_where_numbers_are(opened: Open, result: Any) -> None:
    table = pd.DataFrame(
        {
            "method": ["rlvr", "rlvr", "base"], "seed": ["1", "2", ""],
            "x": [0.9, 0.8, 0.5], "x_low": [0.8, 0.7, float("nan")],
            "x_high": [1.0, 0.9, float("nan")], "y": [0.2, 0.3, 0.1],
            "y_low": [0.1, 0.2, 0.0], "y_high": [0.3, 0.4, 0.2],
        }
    )  # fmt: skip
    chart = point_chart(table, "x", "y", ("Corrected PSS", "Fidelity"), {"base": LINK})
    browser = opened(page_of(chart))
    browser.until(lambda: marks(browser), "no marks")
    assert marks(browser) == {
        "base: corrected pss 0.500; fidelity 0.100 [0.000, 0.200]": (
            "#responses?task=persona_math&model=small-model"
        )
    }
    x = browser.script("""
        return [...document.querySelectorAll('.drawing .mark circle.over')]
            .map(e => +e.getAttribute('cx'));
    """)
    assert x[2] < x[1] < x[0]
    browser = opened(page_of(lottery_chart({"small-model": lottery_data(result)})))
    code = "return document.querySelectorAll('.drawing .mark').length"
    browser.until(lambda: browser.script(code) == 8, "not one mark for each k")
    curve = pd.DataFrame({"step": [1, 2], "reward": [0.1, float("nan")]})
    chart = line_chart({"a": curve}, "step", ("reward",), ("Step", "Reward"))
    assert chart["curves"][0]["points"] == [[1, 0.1], [2, None]]
    browser = opened(page_of(chart))
    browser.until(lambda: browser.script(code) == 1, "a mark where no number is")


def test_colours_follow_dark_mode_and_files_are_for_white_paper(opened: Open, result: Any) -> None:
    browser = opened(page_of(accuracy_chart({"small-model": result}, {"small-model": LINK})))
    browser.until(lambda: marks(browser), "no marks")
    colour = "return getComputedStyle(document.querySelector('.drawing text')).fill"
    light = browser.script(colour)
    emulate = "Emulation.setEmulatedMedia"
    scheme = "prefers-color-scheme"
    browser.driver.execute_cdp_cmd(emulate, {"features": [{"name": scheme, "value": "dark"}]})
    try:
        assert browser.script(colour) != light
        browser.script("""
            window.saved = [];
            URL.createObjectURL = blob => {
                (blob.type === 'image/png' ? blob.arrayBuffer().then(b => saved.push(
                    [blob.type, ...new Uint8Array(b.slice(0, 24))]))
                    : blob.text().then(t => saved.push([blob.type, t])));
                return '#';
            };
            HTMLAnchorElement.prototype.click = function () { saved.push([this.download]); };
        """)
        for button in browser.driver.find_elements("css selector", ".chart .tools button"):
            button.click()
        browser.until(lambda: len(browser.script("return saved")) == 4, "not saved")
    finally:
        browser.driver.execute_cdp_cmd(emulate, {"features": []})
    saved = {each[0]: each[1:] for each in browser.script("return saved")}
    assert {"The_chart.svg", "The_chart.png"} <= set(saved)
    (svg,) = saved["image/svg+xml"]
    assert svg.startswith("<svg ")
    assert "var(" not in svg
    assert "#1c1e21" in svg  # ink on white, whatever the reader's screen
    assert "#fdfdfc" in svg
    png = bytes(saved["image/png"])
    assert png.startswith(b"\x89PNG")
    width = browser.script("return document.querySelector('.drawing svg').clientWidth")
    assert int.from_bytes(png[16:20], "big") == 2 * width


def test_without_responses_a_chart_leads_nowhere(opened: Open, result: Any) -> None:
    chart = accuracy_chart({"small-model": result}, {"small-model": LINK})
    browser = opened(page_of(chart, pd.DataFrame()))
    browser.until(lambda: browser.script("return !!document.querySelector('.mark')"), "no marks")
    assert marks(browser) == {}


def test_a_chart_fits_a_phone_and_cuts_long_names_in_the_middle(opened: Open) -> None:
    long = "a-persona-whose-name-somebody-made-much-longer-than-any-table-would-like-it"
    frame = FRAME.replace({"persona": {"persona-2": long}})
    result = stability(outcomes(frame), resamples=200)
    browser = opened(page_of(accuracy_chart({"small-model": result}, {"small-model": LINK}), frame))
    with phone(browser):
        narrow = "return document.querySelector('.drawing svg')?.clientWidth < 380"
        browser.until(lambda: browser.script(narrow), "not redrawn")
        assert browser.fits
        names = [text for text in browser.texts(".drawing text") if text.startswith("a-pers")]
        assert len(names) == 1
        assert re.fullmatch(r"a-pers.*….*like-it", names[0])
        beyond = browser.script("""
            const box = document.querySelector('.drawing svg').getBoundingClientRect();
            return [...document.querySelectorAll('.drawing text')].filter(e => {
                const own = e.getBoundingClientRect();
                return own.left < box.left - 1 || own.right > box.right + 1;
            }).map(e => e.textContent);
        """)
        assert beyond == []


class phone:
    """A window of a phone's size, while it lasts."""

    def __init__(self, browser: Browser) -> None:
        self.driver = browser.driver

    def __enter__(self) -> None:
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def __exit__(self, *_: object) -> None:
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
