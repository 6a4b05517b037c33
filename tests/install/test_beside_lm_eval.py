"""This project, installed normally and editable, beside lm-eval from a wheel and editable.

Each of the four is looked at before the installation, with it, with the hook turned off,
and after the uninstall. The tests only compare what was seen.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.install.environment import (
    METRICS,
    Environment,
    LiteralCommand,
    State,
    copy_checkout,
    observe,
)

TASKS = {
    "persona_math500",
    "persona_aime24",
    "persona_arithmetic",
    "persona_livecodebench",
    "persona_personagym",
    "persona_roleplay",
}
GROUP = "persona_bench"
OFF = {"PERSONA_BENCH_NO_AUTOLOAD": "1"}

# lm-eval indexes all its tasks in each of the four: a minute each, more where it is busy
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Life:
    """What one environment showed.

    Attributes:
        package: Where `lm_eval` lies.
        tasks: Where the task files of this project lie.
        before: Without this project.
        installed: With it.
        off: With it, and `PERSONA_BENCH_NO_AUTOLOAD=1`.
        literal: The literal `lm_eval` command, over lm-eval's whole index of tasks.
        metrics: The metrics in the table that it printed.
        personas: `persona-bench personas list`.
        after: After `pip uninstall`.
    """

    package: Path
    tasks: Path
    before: State
    installed: State
    off: State
    literal: subprocess.CompletedProcess[str]
    metrics: set[str]
    personas: subprocess.CompletedProcess[str]
    after: State


@pytest.fixture(scope="module")
def install_lm_eval(request: pytest.FixtureRequest) -> Callable[[Environment, str], Path]:
    """Installs lm-eval from its wheel or editable, and says where the package lies."""

    def install(environment: Environment, how: str) -> Path:
        options = ("install", "--quiet", "--no-deps", "--no-index")
        if how == "wheel":
            wheel = request.getfixturevalue("lm_eval_wheel")
            environment.pip(*options, "--no-compile", wheel)
            return environment.site_packages / "lm_eval"
        sources: Path = request.getfixturevalue("lm_eval_sources")
        environment.pip(*options, "--no-build-isolation", "--editable", sources)
        return sources / "lm_eval"

    return install


@pytest.fixture(scope="module")
def install_project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Environment, str], Path]:
    """Installs this project from its wheel or editable, and says where its tasks lie."""

    def install(environment: Environment, how: str) -> Path:
        options = ("install", "--quiet", "--no-deps", "--no-index")
        if how == "wheel":
            environment.pip(*options, request.getfixturevalue("wheel"))
            return environment.site_packages / "persona_bench" / "tasks"
        copy = copy_checkout(tmp_path_factory.mktemp("editable") / "checkout")
        environment.pip(*options, "--no-build-isolation", "--editable", copy)
        return copy / "tasks"

    return install


@pytest.fixture(
    scope="module",
    params=[
        ("wheel", "wheel"),
        ("editable", "editable"),
        # each a minute, and of what the other two have both halves
        pytest.param(("wheel", "editable"), marks=pytest.mark.slow),
        pytest.param(("editable", "wheel"), marks=pytest.mark.slow),
    ],
    ids=lambda how: f"lm_eval-{how[0]}-project-{how[1]}",
)
def life(
    request: pytest.FixtureRequest,
    new_environment: Callable[..., Environment],
    borrowed: Path,
    install_lm_eval: Callable[[Environment, str], Path],
    install_project: Callable[[Environment, str], Path],
    literal_command: LiteralCommand,
) -> Life:
    environment = new_environment(borrowed)
    package = install_lm_eval(environment, request.param[0])
    before = observe(environment, package)
    tasks = install_project(environment, request.param[1])
    installed = observe(environment, package)
    off = observe(environment, package, OFF)
    literal = literal_command.run(environment)
    metrics = literal_command.metrics(literal)
    personas = environment.run(environment.bin / "persona-bench", "personas", "list")
    environment.pip("uninstall", "--quiet", "--yes", "persona-stability-bench")
    after = observe(environment, package)
    return Life(package, tasks, before, installed, off, literal, metrics, personas, after)


def ours(index: Mapping[str, Any]) -> set[str]:
    """Which of this project's tasks and groups an index has."""
    return (TASKS | {GROUP}) & set(index["names"])


def test_lm_eval_is_imported_from_where_it_was(life: Life) -> None:
    expected = str((life.package / "__init__.py").resolve())
    for state in (life.before, life.installed, life.off, life.after):
        assert state.probe["lm_eval"] == expected


def test_python_starts_silently_and_imports_nothing_heavy(life: Life) -> None:
    assert [life.before.start, life.installed.start, life.off.start, life.after.start] == [""] * 4
    before = set(life.before.probe["modules_at_start"])
    more = set(life.installed.probe["modules_at_start"]) - before
    assert more <= {"types"}
    before, off, installed = (
        state.probe["finders_at_start"] for state in (life.before, life.off, life.installed)
    )
    assert off == before
    # twice where a Python reads its site-packages under two names, lib and lib64
    assert installed in ([*["SimpleNamespace"] * n, *before] for n in (1, 2))


def test_a_turned_off_hook_imports_nothing_of_this_project(life: Life) -> None:
    assert life.off.probe["ours_in_the_end"] == []
    assert "persona_bench_autoload" in life.installed.probe["ours_in_the_end"]


def test_the_tasks_are_declared_as_lm_eval_proposes(life: Life) -> None:
    assert [Path(path).resolve() for path in life.off.probe["declared"]] == [life.tasks.resolve()]
    assert life.after.probe["declared"] == []


def test_the_tasks_are_found_once_with_no_path_given(life: Life) -> None:
    plain = life.installed.probe["indexes"]["plain"]
    assert ours(plain) == TASKS | {GROUP}
    assert GROUP in plain["groups"]
    assert {Path(plain["files"][name]).parent for name in TASKS | {GROUP}} == {life.tasks.resolve()}
    assert plain["warnings"] == []
    assert "theirs" in plain["names"]


def test_the_literal_command_works(life: Life) -> None:
    assert life.metrics == METRICS, life.literal.stdout
    assert "overrides existing task" not in life.literal.stdout + life.literal.stderr


def test_a_manager_without_defaults_is_left_alone(life: Life) -> None:
    assert life.installed.probe["indexes"]["without defaults"]["names"] == []


def test_the_tasks_path_may_be_given_on_top(life: Life) -> None:
    for spelling in ("tasks path", "tasks path, relative"):
        index = life.installed.probe["indexes"][spelling]
        assert ours(index) == TASKS | {GROUP}
        assert index["warnings"] == []
    alone = life.installed.probe["indexes"]["tasks path, without defaults"]
    assert set(alone["names"]) == TASKS | {GROUP}


def test_a_folder_of_the_users_own_goes_before(life: Life) -> None:
    for way in ("own folder", "own folder, by position"):
        index = life.installed.probe["indexes"][way]
        assert ours(index) == TASKS | {GROUP}
        assert "of_my_own" in index["names"]
        assert Path(index["files"]["persona_arithmetic"]).parent.name == "own"
        # lm-eval says so itself, which also shows that its warnings are seen here
        assert [w for w in index["warnings"] if "overrides" in w] == index["warnings"]
        assert len(index["warnings"]) == 1
    among = life.installed.probe["indexes"]["tasks path, among others"]
    assert Path(among["files"]["persona_arithmetic"]).parent == life.tasks.resolve()


def test_the_hook_can_be_turned_off(life: Life) -> None:
    indexes = life.off.probe["indexes"]
    assert ours(indexes["plain"]) == set()
    assert ours(indexes["own folder"]) == {"persona_arithmetic"}  # the user's
    assert ours(indexes["tasks path"]) == TASKS | {GROUP}
    assert indexes["tasks path"]["warnings"] == []


def test_the_command_is_there(life: Life) -> None:
    assert Path(life.installed.probe["tasks_path"]) == life.tasks.resolve()
    for name in ("demo", "core", "wide", "train"):
        assert re.search(rf"\b{name}\b", life.personas.stdout)


def test_nothing_is_written_into_lm_eval(life: Life) -> None:
    before = set(life.before.lm_eval.items())
    assert len(before) > 1000
    for state in (life.installed, life.off, life.after):
        assert sorted(before ^ set(state.lm_eval.items()))[:20] == []


def test_nothing_remains_after_the_uninstall(life: Life) -> None:
    assert life.installed.traces  # else nothing could have remained
    assert life.after.traces == []
    assert sorted(life.before.files ^ life.after.files)[:20] == []
    assert life.after.probe == life.before.probe
    assert ours(life.after.probe["indexes"]["plain"]) == set()


def test_lm_eval_may_be_uninstalled_first(
    new_environment: Callable[..., Environment],
    borrowed: Path,
    install_lm_eval: Callable[[Environment, str], Path],
    install_project: Callable[[Environment, str], Path],
) -> None:
    environment = new_environment(borrowed)
    empty = environment.files()
    install_lm_eval(environment, "wheel")
    install_project(environment, "wheel")

    environment.pip("uninstall", "--quiet", "--yes", "lm_eval")
    found = environment.run(environment.python, "-c", "import lm_eval", ok=False)
    assert "No module named 'lm_eval'" in found.stderr
    code = "import sys\ntry: import lm_eval\nexcept ImportError: print(sorted(sys.modules))"
    start = environment.run(environment.python, "-c", code)
    assert "persona_bench" not in start.stdout
    assert start.stderr == ""
    tasks = environment.run(environment.bin / "persona-bench", "tasks-path")
    assert Path(tasks.stdout.strip()).is_dir()

    environment.pip("uninstall", "--quiet", "--yes", "persona-stability-bench")
    start = environment.run(environment.python, "-c", "pass")
    assert start.stdout + start.stderr == ""
    assert environment.traces() == []
    assert environment.files() == empty


def test_a_damaged_installation_does_not_break_lm_eval(
    new_environment: Callable[..., Environment],
    borrowed: Path,
    install_lm_eval: Callable[[Environment, str], Path],
    install_project: Callable[[Environment, str], Path],
) -> None:
    environment = new_environment(borrowed)
    install_lm_eval(environment, "editable")
    install_project(environment, "wheel")
    code = "from lm_eval.tasks import TaskManager; TaskManager(include_defaults=False)"

    (environment.site_packages / "persona_bench").rename(environment.folder / "gone")
    [said] = environment.run(environment.python, "-c", code).stderr.splitlines()
    assert said.startswith("Persona Bench: its tasks could not be added to lm_eval: ")
    assert "pip uninstall persona-bench persona-stability-bench" in said
