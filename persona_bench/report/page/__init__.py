"""The results page: one html file that opens from disk and needs nothing else.

`contents` says what is on a page, `responses` reads a run's responses for it, `write` makes the
file. What the reader's browser does with it is in `page.html`, `page.css` and the `.js` files.
"""

from persona_bench.report.page.contents import PageContents, PageFigure, PageTable, Section
from persona_bench.report.page.responses import page_responses
from persona_bench.report.page.write import write_page

__all__ = [
    "PageContents",
    "PageFigure",
    "PageTable",
    "Section",
    "page_responses",
    "write_page",
]
