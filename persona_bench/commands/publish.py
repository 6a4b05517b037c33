"""`persona-bench publish`: a page as a folder that a static host serves as it is."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

PAGES = ("index.html", "scores/index.html", "report/index.html")
"""Where the page of a comparison, of a scoring and of a training lies."""


def publish(
    folder: Annotated[Path, typer.Argument(help="Results with a page: of score, compare, train.")],
) -> None:
    """Make a folder that GitHub Pages or a Hugging Face Space serves, and say how to put it there.

    Example: persona-bench publish results/my-run
    """
    site = publish_page(folder, folder / "site")
    here = shlex.quote(str(site))
    print(f"{site}: the page, and what the two hosts read. Everything in it becomes public.\n")
    print("GitHub Pages (then choose the branch gh-pages under Settings > Pages):")
    print(
        f"  cd {here} && git init -b gh-pages && git add -A && git commit -m Results && "
        "git push -f https://github.com/OWNER/REPO.git gh-pages"
    )
    print("Hugging Face:")
    print(
        "  hf repos create OWNER/NAME --type space --space-sdk static --exist-ok && "
        f"hf upload OWNER/NAME {here} . --type space"
    )


def publish_page(folder: Path, site: Path) -> Path:
    """Copies the page in a folder of results, with a README for a Space; returns the new folder.

    Raises:
        ValueError: no page is in the folder, or the new folder holds something else.
    """
    found = [folder / name for name in PAGES if (folder / name).is_file()]
    if not found:
        raise ValueError(
            f"{folder} has no page ({', '.join(PAGES)}): make one with persona-bench score {folder}"
        )
    made = {"index.html", "README.md", ".nojekyll", ".git"}
    if site.is_dir() and (other := sorted({each.name for each in site.iterdir()} - made)):
        raise ValueError(f"{site} holds {other[0]}, which is no part of a page: give another --out")
    site.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found[0], site / "index.html")
    (site / ".nojekyll").touch()  # GitHub Pages serves the files as they are
    title = json.dumps(_title(found[0]), ensure_ascii=False)
    text = f"---\ntitle: {title}\nsdk: static\napp_file: index.html\npinned: false\n---\n"
    (site / "README.md").write_text(text, encoding="utf-8", newline="\n")
    return site


def _title(page: Path) -> str:
    with page.open(encoding="utf-8") as file:
        head = file.read(100_000)
    match = re.search(r"<title>(.*?)</title>", head, re.DOTALL)
    return " ".join(html.unescape(match[1]).split()) if match else "Persona Bench"
