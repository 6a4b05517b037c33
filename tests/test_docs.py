"""The docs: every command in them is one that exists, with flags that exist; the site builds."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Context
from typer.main import get_command

from persona_bench.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "results/*/README.md")
    for path in ROOT.glob(pattern)
)
BLOCK = re.compile(r"^ *```(?:bash|console|sh)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Each command line of the docs with the page that it stands on."""
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    yield str(page.relative_to(ROOT)), " ".join(line.split())


def parse(words: list[str]) -> None:
    """Parses the arguments of `persona-bench` as it does itself, and runs nothing.

    Raises:
        click.UsageError: a command or an option that doesn't exist, or an argument too many.
    """
    command = get_command(app)
    context = Context(command, info_name="persona-bench", **command.context_settings)
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = Context(command, parent=context, info_name=name)
    command.make_context(context.info_name, words, parent=context.parent)


COMMANDS = list(commands())


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {x}" for page, x in COMMANDS])
def test_a_command_in_the_docs_exists_as_it_is_written(page: str, line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if word != "..."]
    while words and re.fullmatch(r"\w+=.*", words[0]):  # variables of the environment
        words.pop(0)
    for part in _split(words, {"&&", "||", ";", "|", "&", ">"}):
        name, *rest = part
        if name == "persona-bench":
            parse(rest)
        elif name == "lm_eval":
            assert "--tasks" in rest or "validate" in rest or "ls" in rest
        elif name == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in rest if "=" not in word} <= set(targets)
        elif name in ("python", ".venv/bin/python") and rest[:1] == ["-m"]:
            module, *flags = rest[1:]
            _check_script(module, flags)
        elif name == "pip" and rest[:1] == ["install"]:
            extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
            for group in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
                assert set(group.split(",")) <= set(extras)


def _split(words: list[str], ends: set[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in [*words, ";"]:
        if word in ends:
            if part:
                yield part
            part = []
        else:
            part.append(word)


def _check_script(module: str, flags: list[str]) -> None:
    if not module.startswith(("scripts.", "persona_bench")):
        return
    path = ROOT / (module.replace(".", "/") + ".py")
    assert path.is_file()
    text = path.read_text(encoding="utf-8")
    for flag in flags:
        assert not flag.startswith("--") or f'"{flag.partition("=")[0]}"' in text, flag


def test_the_site_has_no_broken_link(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "REPO_URL": "https://example.org/repo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    home = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="metrics/"' in home
    assert 'href="https://example.org/repo/tree/main/results/organism"' in home
    assert "persona-bench gate" in (tmp_path / "reference" / "commands" / "index.html").read_text()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
