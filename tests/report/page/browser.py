"""What the tests do with a page in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

READY = "return document.documentElement.dataset.ready === 'true'"


class Browser:
    """A page in a browser.

    Attributes:
        driver: Selenium's.
        expected: What the console may hold at the end.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.expected: list[Any] = []

    def open(self, page: Path, hash: str = "") -> None:
        """Opens a page from disk, and waits until it is ready."""
        self.driver.get("about:blank")  # else only the part after the # would change
        self.driver.get(page.as_uri() + hash)
        self.until(lambda: self.script(READY), "the page is not ready")

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, true: Callable[[], Any], else_say: str, seconds: float = 20) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.driver, seconds, poll_frequency=0.05)
        return wait.until(lambda _: true(), else_say)

    # -------------------------------------------------------------------------- what is there
    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        """The texts of all such elements, hidden ones too."""
        # the driver can't carry halves of characters
        code = """
            return [...document.querySelectorAll(arguments[0])]
                .map(e => e.textContent.toWellFormed());
        """
        return list(self.script(code, selector))

    def text(self, selector: str) -> str:
        """The text of the first such element, with white space as it is."""
        found = self.texts(selector)
        assert found, selector
        return found[0]

    def shows(self, selector: str, *wanted: str) -> None:
        """Waits until the elements have these texts."""
        from selenium.common.exceptions import TimeoutException

        try:
            self.until(lambda: self.texts(selector) == list(wanted), "", seconds=10)
        except TimeoutException:
            found = self.texts(selector)
            assert found == list(wanted), f"{selector}: {found}, not {list(wanted)}"

    @property
    def hash(self) -> str:
        return str(self.script("return location.hash"))

    @property
    def fits(self) -> bool:
        """Whether nothing is wider than the window."""
        return bool(
            self.script("const d = document.documentElement; return d.scrollWidth <= d.clientWidth")
        )

    # -------------------------------------------------------------------------- what is done
    def click(self, selector: str) -> None:
        self.one(selector).click()

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def choose(self, name: str, value: str) -> None:
        """Chooses from a list of the filters."""
        from selenium.webdriver.support.ui import Select

        Select(self.one(f"select[name='{name}']")).select_by_value(f"={value}")
