"""A real headless Chromium, and pages in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_bench.report.page import PageContents, write_page
from tests.report.page.browser import Browser
from tests.report.page.real_runs import RealRuns
from tests.report.page.real_runs import real_runs as made_runs


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    """One browser for all tests of the page."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium and chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,720",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=chromedriver)  # else one is downloaded
    driver = webdriver.Chrome(service=service, options=options)
    driver.set_script_timeout(30)
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: Any) -> Iterator[Browser]:
    """The browser; a test fails if anything was written to its console."""
    driver.get("about:blank")
    driver.get_log("browser")
    browser = Browser(driver)
    yield browser
    assert driver.get_log("browser") == browser.expected


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Callable[..., Browser]:
    """Writes a page and opens it."""

    def open_page(contents: PageContents, hash: str = "") -> Browser:
        browser.open(write_page(contents, tmp_path / "index.html"), hash)
        return browser

    return open_page


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return made_runs(tmp_path_factory.mktemp("real"))
