"""The page in Firefox, driven by WebDriver BiDi: it opens, draws, and shows responses."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_bench.report.compose.run import accuracy_chart
from persona_bench.report.page import PageFigure, Section, write_page
from persona_bench.scoring.stability import stability
from tests.report.page.made_up import contents, responses
from tests.report.page.test_charts import LINK, outcomes

LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """One tab of a headless Firefox."""

    def __init__(self, address: str) -> None:
        websocket = pytest.importorskip("websocket")
        self._socket = websocket.create_connection(
            f"{address}/session", timeout=60, suppress_origin=True
        )
        self._ids = itertools.count(1)
        self.send("session.new", capabilities={})
        (tab,) = self.send("browsingContext.getTree")["contexts"]
        self.tab = tab["context"]

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return dict(answer["result"])

    def open(self, address: str) -> None:
        self.send("browsingContext.navigate", context=self.tab, url=address, wait="complete")

    def value(self, expression: str) -> Any:
        """What an expression gives: text or a number."""
        found = self.send(
            "script.evaluate", expression=expression, target={"context": self.tab},
            awaitPromise=True,
        )  # fmt: skip
        assert found["type"] == "success", found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        for _ in range(200):
            if self.value(expression):
                return
            time.sleep(0.1)
        pytest.fail(f"never true: {expression}")


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if not program:
        pytest.skip("needs Firefox (Debian: firefox-esr)")
    (tmp_path / "profile").mkdir()
    told = (tmp_path / "firefox.log").open("w+")
    command = [program, "--headless", "--no-remote", "--remote-debugging-port=0",
               "--profile", str(tmp_path / "profile")]  # fmt: skip
    with subprocess.Popen(command, stdout=told, stderr=told) as process:
        try:
            for _ in range(600):
                if match := LISTENING.search((tmp_path / "firefox.log").read_text()):
                    break
                time.sleep(0.1)
            else:
                pytest.fail((tmp_path / "firefox.log").read_text()[-2000:])
            yield Firefox(match[1])
        finally:
            process.terminate()


def test_the_page_works_in_firefox(firefox: Firefox, tmp_path: Path) -> None:
    frame = responses(6, 5)
    frame["question_text"] = "What is $\\frac{1}{2}$?"
    result = stability(outcomes(frame), resamples=100)
    chart = accuracy_chart({"small-model": result}, {"small-model": LINK})
    section = Section("s", "S", [], [], [PageFigure("a", "A", "", chart)])
    page = write_page(contents(frame, sections=[section]), tmp_path / "index.html")
    firefox.open(page.as_uri())
    firefox.until("document.querySelectorAll('.drawing a').length === 5")
    assert firefox.value("document.getElementById('problem').hidden") is True
    firefox.value("location.hash = document.querySelector('.drawing a').getAttribute('href')")
    firefox.until("document.querySelectorAll('.card .response').length === 1")
    assert firefox.value("document.querySelectorAll('.asked mfrac mn').length") == 2
    assert (
        firefox.value("document.querySelector('.asked mfrac').getBoundingClientRect().height > 15")
        is True
    )
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert firefox.value(wide) is True
