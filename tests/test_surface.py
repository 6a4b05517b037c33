"""The command line as a whole: how many options it has, and what `--help` shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from persona_bench.cli import app
from persona_bench.commands.options import ALWAYS_ON, REMOVED

MOST_OPTIONS = 90


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group below a command, with the words that call it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


TREE = dict(walk(typer.main.get_command(app)))
COMMANDS = {path: command for path, command in TREE.items() if not hasattr(command, "commands")}


def options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option"]


def names(command: Any) -> set[str]:
    return {name for each in options(command) for name in (*each.opts, *each.secondary_opts)}


def test_all_commands_together_have_at_most_90_options() -> None:
    counts = {" ".join(path): len(options(command)) for path, command in TREE.items()}
    assert sum(counts.values()) <= MOST_OPTIONS, counts


each_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def shown_help(path: tuple[str, ...]) -> str:
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert done.exit_code == 0, done.output
    return done.output


def words(text: str) -> list[str]:
    return re.sub("[│╭╮╰╯─]", " ", text).split()


@each_command
def test_help_is_whole_at_80_columns(path: tuple[str, ...]) -> None:
    text = shown_help(path)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    said = " ".join(words(text))
    for each in options(COMMANDS[path]):
        assert set(each.opts) <= set(words(text))
        for word in each.help.split():  # the table may break a line within a long word
            assert word in said or word in said.replace(" ", ""), word


@each_command
def test_every_option_stands_in_a_named_panel(path: tuple[str, ...]) -> None:
    text = shown_help(path)
    for each in options(COMMANDS[path]):
        assert each.help
        assert each.rich_help_panel
        assert f"─ {each.rich_help_panel} ─" in text


def example(path: tuple[str, ...]) -> list[str]:
    """The arguments of a command's example."""
    _, line = str(COMMANDS[path].epilog).split("Example:\n\n")
    program, *arguments = shlex.split(line)
    assert program == "persona-bench"
    return arguments


@each_command
def test_the_example_is_shown_and_is_a_command_line_of_this_command(path: tuple[str, ...]) -> None:
    text = shown_help(path)
    arguments = example(path)
    assert tuple(arguments[: len(path)]) == path
    assert shlex.split(" ".join(words(text.split("Example:")[1])))[1:] == arguments
    # what the command line is parsed to; nothing runs
    COMMANDS[path].make_context(path[-1], arguments[len(path) :])


@pytest.mark.parametrize(
    "path",
    [
        ("plan",),
        ("personas", "list"),
        ("personas", "show"),
        ("personas", "sample"),
        ("personas", "build"),
        ("tasks-path",),
    ],
    ids=" ".join,
)
def test_examples_that_need_no_results_run_as_they_are(
    path: tuple[str, ...], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, example(path))
    assert done.exit_code == 0, done.output
    assert done.stdout


ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*")]
CALL = re.compile(
    r"persona-bench ([a-z-]+(?: (?:list|show|sample|build|check))?)((?:\\\n|[^\n`])*)"
)


def test_the_docs_show_only_options_that_there_are() -> None:
    seen = 0
    for text in TEXTS:
        if not text.is_file():
            continue
        for match in CALL.finditer(text.read_text(encoding="utf-8")):
            path = tuple(match[1].split())
            path = path if path in COMMANDS else path[:1]
            if path not in COMMANDS:
                continue
            flags = {
                flag.replace("_", "-") for flag in re.findall(r"(?<!\S)--[a-z][\w-]*", match[2])
            }
            assert flags <= names(COMMANDS[path]) | ALWAYS_ON | {"--verbose"}, (text, match[0])
            seen += len(flags)
    assert seen > 50


REMOVED_FLAGS = [(name, flag) for name, flags in REMOVED.items() for flag in flags]


@pytest.mark.parametrize(("name", "flag"), REMOVED_FLAGS)
def test_a_removed_option_is_answered_with_what_to_do_instead(name: str, flag: str) -> None:
    (path,) = [path for path in COMMANDS if path[-1] == name]
    assert flag not in names(COMMANDS[path])
    done = CliRunner().invoke(app, [*path, flag.replace("-", "_").replace("__", "--", 1), "1"])
    assert done.exit_code == 2
    said = " ".join(words(done.output))
    assert f"{flag} is no longer an option" in said
    assert " ".join(REMOVED[name][flag].split())[:20] in said


def test_flags_of_lm_eval_that_say_what_happens_anyway_are_accepted() -> None:
    arguments = ["--apply_chat_template", "--log_samples", "--tasks", "persona_arithmetic"]
    context = COMMANDS[("run",)].make_context("run", arguments)
    assert context.params["tasks"] == "persona_arithmetic"
    assert context.params["study"] is None


@pytest.mark.parametrize(
    "arguments", [["--verbose", "personas", "list"], ["personas", "list", "--verbose"]]
)
def test_verbose_is_taken_before_and_after_the_command(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 0
