"""A folder that a static host serves: the page over http, and what the hosts read."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from persona_bench.cli import app
from persona_bench.commands.publish import publish_page
from persona_bench.report.page import write_page
from tests.report.page.browser import READY, Browser
from tests.report.page.made_up import contents, responses

EXAMPLE = Path(__file__).parents[3] / "docs" / "example"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The folder's site, as a host would serve it."""
    handler = functools.partial(Quiet, directory=str(tmp_path / "out" / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_published_page_works_from_a_server(
    browser: Browser, tmp_path: Path, served: str
) -> None:
    title = 'a "quoted": title & more'
    write_page(contents(responses(3, 3), title=title), tmp_path / "out" / "scores" / "index.html")
    done = CliRunner().invoke(app, ["publish", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    site = tmp_path / "out" / "site"
    assert {each.name for each in site.iterdir()} == {"index.html", "README.md", ".nojekyll"}
    _, head, _ = (site / "README.md").read_text(encoding="utf-8").split("---\n")
    told = yaml.safe_load(head)
    assert told == {"title": title, "sdk": "static", "app_file": "index.html", "pinned": False}
    for command in ("git push", "hf repos create", "hf upload", str(site)):
        assert command in done.output.replace("\n", "")
    browser.driver.get(served + "#responses")
    browser.until(lambda: browser.script(READY), "not ready")
    browser.until(lambda: browser.texts(".card"), "no cards")
    browser.driver.get_log("browser")  # browsers ask servers for a favicon, which is not there


def test_it_can_be_published_again_but_not_over_something_else(tmp_path: Path) -> None:
    write_page(contents(responses(2, 2)), tmp_path / "index.html")
    site = publish_page(tmp_path, tmp_path / "site")
    (site / "index.html").write_text("old")
    publish_page(tmp_path, site)
    assert (site / "index.html").stat().st_size > 1000
    (site / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"thesis\.tex, which is no part of a page"):
        publish_page(tmp_path, site)
    with pytest.raises(ValueError, match=r"has no page .*make one with persona-bench score"):
        publish_page(tmp_path / "site" / "nowhere", tmp_path / "other")


def test_the_example_in_the_docs_is_small_and_opens(browser: Browser) -> None:
    assert sum(each.stat().st_size for each in EXAMPLE.iterdir()) < 3_000_000
    browser.open(EXAMPLE / "index.html")
    browser.until(lambda: browser.texts(".drawing a"), "no chart")
    assert len(browser.texts(".verdict-card")) >= 3
    assert "/home/" not in browser.text("[data-key=provenance] pre")
    assert "/root/" not in browser.text("[data-key=provenance] pre")
