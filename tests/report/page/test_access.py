"""axe-core finds no serious fault; it is fetched as an npm package for the test alone."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable

import pandas as pd
import pytest

from persona_bench.report.compose.cards import stability_cards
from persona_bench.report.compose.run import accuracy_chart
from persona_bench.report.figures.heat_map import heat_map_data
from persona_bench.report.page import PageFigure, Section
from persona_bench.report.page.charts import map_chart
from persona_bench.scoring.stability import stability
from tests.report.page.browser import Browser
from tests.report.page.made_up import contents, figure, judged, responses, table
from tests.report.page.test_charts import LINK, outcomes

AXE = "axe-core@4.11.0"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    if not shutil.which("npm"):
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(
        ["npm", "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    packages = list(folder.glob("*.tgz"))
    if not packages:
        pytest.skip(f"npm can't fetch {AXE}: {done.stderr[-200:]}")
    with tarfile.open(packages[0]) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


def whole_page() -> object:
    frame = pd.concat([responses(12, 8), judged(3, 3)], ignore_index=True)
    own = outcomes(frame[frame["task"] == "persona_math"])
    result = stability(own, resamples=200)
    charts = [
        PageFigure("drawn", "A", "Cap.", accuracy_chart({"m": result}, {"m": LINK})),
        PageFigure("map", "B", "Cap.", map_chart(heat_map_data(own), LINK)),
    ]
    section = Section(
        "s", "S", ["Text."], [table()], charts, cards=stability_cards(result, LINK),
        more=[figure()],
    )  # fmt: skip
    return contents(frame, sections=[section])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("hash", ["#report", "#responses", "#responses?diff=1&task=persona_math"])
def test_nothing_serious_is_found(
    opened: Callable[..., Browser], axe: str, hash: str, dark: bool
) -> None:
    emulate = "Emulation.setEmulatedMedia"
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser = opened(whole_page(), hash)
    browser.driver.execute_cdp_cmd(emulate, {"features": [scheme]})
    try:
        ready = ".drawing a" if hash == "#report" else ".card .response"
        browser.until(lambda: browser.texts(ready), "not shown")
        if hash == "#report":
            browser.script("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        browser.driver.execute_script(axe)
        faults = browser.driver.execute_async_script("""
            const [done] = arguments;
            const told = node => node.html.slice(0, 200) + ' ' + node.failureSummary.slice(0, 300);
            axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(
                violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(told)])
            ));
        """)
    finally:
        browser.driver.execute_cdp_cmd(emulate, {"features": []})
        browser.driver.get_log("browser")
    serious = [each for each in faults if each[0] in ("serious", "critical")]
    assert serious == []
