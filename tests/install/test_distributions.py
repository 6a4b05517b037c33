"""What is in the wheel and in the source distribution."""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path


def names_in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def names_in_sdist(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}


def files(checkout: Path, folder: str) -> set[str]:
    return {
        path.relative_to(checkout).as_posix()
        for path in (checkout / folder).rglob("*")
        if path.is_file()
    }


def test_the_wheel_has_the_package_the_yamls_the_hook_and_nothing_else(
    wheel: Path, checkout: Path
) -> None:
    yamls = files(checkout, "tasks") | files(checkout, "persona_sets")
    assert {"tasks/persona_math500.yaml", "persona_sets/core.yaml"} <= yamls
    expected = files(checkout, "persona_bench") | {f"persona_bench/{name}" for name in yamls}
    expected |= {"persona_bench_autoload.py", "persona_bench_autoload.pth"}
    expected |= {"persona_bench/stored/smollm2-arithmetic.csv.gz"}  # what the demo shows first

    found = {name for name in names_in_wheel(wheel) if ".dist-info/" not in name}
    assert found == expected


def test_the_docs_show_the_hook_as_it_is(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        hook = archive.read("persona_bench_autoload.pth").decode()
    assert len(hook.splitlines()) == 2
    assert f"```text\n{hook}```" in (checkout / "docs" / "installation.md").read_text(
        encoding="utf-8"
    )


def test_nothing_names_the_other_project_s_distribution_to_be_installed(checkout: Path) -> None:
    """On the package index `persona-bench` is another project, and ours is not there."""
    command = re.compile(r"pip3? install[^\n`]*persona[-_](stability[-_])?bench")
    for path in checkout.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".yaml", ".cff", ""):
            if path == checkout / "tests" / "install" / Path(__file__).name:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not command.search(text), path
            assert "persona-bench[" not in text.replace(__name__, ""), path


def test_the_wheel_puts_nothing_into_lm_eval(wheel: Path) -> None:
    top = {name.split("/")[0] for name in names_in_wheel(wheel) if ".dist-info/" not in name}
    assert top == {"persona_bench", "persona_bench_autoload.py", "persona_bench_autoload.pth"}


def test_the_wheel_names_the_command_and_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.rsplit("/", 1)[1]: name for name in archive.namelist() if "dist-info" in name}
        entry_points = archive.read(texts["entry_points.txt"]).decode()
    assert "persona-bench = persona_bench_autoload:main" in entry_points
    assert "[lm_eval.tasks]\npersona_bench = persona_bench.tasks" in entry_points
    assert "[inspect_ai]\npersona_bench = persona_bench.harness.inspect_tasks" in entry_points
    assert "LICENSE" in texts


def test_the_source_distribution_builds_the_same_wheel_as_the_checkout(
    wheel: Path, wheel_from_tree: Path
) -> None:
    assert wheel.name == wheel_from_tree.name
    assert wheel.name.startswith("persona_stability_bench-")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(wheel_from_tree) as other:
        assert {i.filename: i.CRC for i in one.infolist()} == {
            i.filename: i.CRC for i in other.infolist()
        }


def test_the_source_distribution_has_what_its_tests_and_its_build_need(
    sdist: Path, checkout: Path
) -> None:
    needed = {"pyproject.toml", "hatch_build.py", "constraints.txt", "README.md", "LICENSE"}
    found = names_in_sdist(sdist)
    assert needed | files(checkout, "tests") | files(checkout, "results") <= found
    assert not {name for name in found if name.startswith(".venv/")}
