"""Hooks of `make docs`, which builds the site that mkdocs.yml describes.

The README is its first page, the reference of the commands comes from their `--help`, and links to
files outside docs/ lead to the repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from persona_bench.cli import app

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the two pages that are made from what stands elsewhere."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    in_docs = re.sub(
        r"\]\((?!https?:|#)(docs/)?", lambda link: "](" if link[1] else "](../", readme
    )
    files.append(File.generated(config, "index.md", content=in_docs))
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    return files


def commands() -> str:
    """Every command's help, as one Markdown page."""
    command = get_command(app)
    context = Context(command, info_name="persona-bench")
    page: str = get_docs_for_click(obj=command, ctx=context, name="persona-bench", title="Commands")
    return page


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Replaces links to files of the repository that are not pages of the site.

    Without a `repo_url` they become plain text. A link to a file that is not there stays, and the
    strict build fails on it.
    """
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def replaced(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = (folder / target.partition("#")[0]).resolve()
        if path.is_relative_to(ROOT / "docs") or not path.exists():
            return link.group()
        if not config["repo_url"]:
            return text
        kind = "tree" if path.is_dir() else "blob"
        return f"[{text}]({config['repo_url'].rstrip('/')}/{kind}/main/{path.relative_to(ROOT)})"

    return LINK.sub(replaced, markdown)
