"""Each extra can be deleted: only its own command fails, and the others work as before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import persona_bench
from tests.extras.test_screen_command import write_pilot

pytestmark = pytest.mark.slow

EXTRAS = Path(persona_bench.__file__).parent / "extras"
FAILING: dict[str, set[str]] = {
    "paper": {"leaderboard"},
    "parts": set(),
    "planning": {"plan"},
    "screening": {"screen"},
    "traces": {"trace"},
    "training": {"compare --training"},
    "*": {"compare --training", "leaderboard", "plan", "screen", "trace"},
}
"""The commands that fail where an extra is deleted, and where all are."""

CHECK = """
import importlib.abc, io, json, os, sys, traceback
from contextlib import redirect_stdout
# what the package takes from elsewhere is imported once; the package itself anew in each process
import matplotlib.pyplot, numpy, openai, pandas, pydantic, rich.table, scipy.stats, sklearn
import statsmodels.stats.multitest, typer, yaml

removed_ones, folder, compared, log = sys.argv[1].split(), *sys.argv[2:]


class Deleted(importlib.abc.MetaPathFinder):
    def __init__(self, name):
        self.name = name

    def find_spec(self, name, *rest):
        if name.startswith("persona_bench.extras."):
            if self.name in ("*", name.split(".")[2]):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def outcome(arguments):
    from persona_bench.cli import app

    with redirect_stdout(io.StringIO()) as out:
        try:
            app(arguments, standalone_mode=False)
        except ModuleNotFoundError as error:
            return "deleted" if error.name.startswith("persona_bench.extras") else repr(error)
        except (ValueError, RuntimeError) as error:
            return f"refused: {error}"
    return out.getvalue()


def check(name):
    sys.meta_path.insert(0, Deleted(name))
    everything = name == "*"
    runs = ["a=" + folder, "b=" + folder]
    return {
        "score": outcome(["score", folder, "--json", *([] if everything else ["--no-page"])]),
        "compare": outcome(["compare", *runs, "--out", compared]) if everything else "",
        "compare --training": outcome(["compare", *runs, "--training", log]),
        "gate": outcome(["gate", folder, folder]),
        "leaderboard": outcome(["leaderboard", folder]),
        "plan": outcome(["plan", "--accuracy", "0.4", "--questions", "9", "--personas", "3"]),
        "screen": outcome(["screen", "--budget", "2"]),
        "trace": outcome(["trace", folder]),
        "train": outcome(["train", "sft", "absent.yaml"]),
        "personas list": outcome(["personas", "list"]),
    }


results = {}
for name in removed_ones:
    reading, writing = os.pipe()
    if not os.fork():
        try:
            said = json.dumps(check(name))
        except BaseException:
            said = json.dumps(traceback.format_exc())
        with os.fdopen(writing, "w") as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        results[name] = json.loads(pipe.read())
    os.wait()
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run, and what is made of it."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def outcomes(runs: Path) -> dict[str, dict[str, str]]:
    """What each command gives, by the extra that is deleted."""
    folder = runs / "run"
    write_pilot(folder, 6)
    for file in folder.iterdir():  # what a page shows too
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            row["doc"] |= {"persona_prompt": "", "prompt": "?", "answer": "1", "system": ""}
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-c", CHECK, " ".join(FAILING), str(folder)]
    command += [str(runs / "compared"), str(runs / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_extra_is_deleted_once() -> None:
    names = {path.parent.name for path in EXTRAS.glob("*/__init__.py")}
    assert names == FAILING.keys() - {"*"}
    assert [path.name for path in EXTRAS.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("removed", FAILING)
def test_without_an_extra_only_its_own_command_fails(
    removed: str, outcomes: dict[str, dict[str, str]]
) -> None:
    given = outcomes[removed]
    assert isinstance(given, dict), given
    assert {name for name, said in given.items() if said == "deleted"} == FAILING[removed]
    (score,) = json.loads(given["score"])
    assert score["pss"]["value"] < 1
    assert ("variance_parts" in score) == (removed not in ("parts", "*"))
    assert "pss_corrected" in given["gate"]
    assert "demo" in given["personas list"]


def test_without_all_extras_a_score_and_a_comparison_still_have_their_pages(
    outcomes: dict[str, dict[str, str]], runs: Path
) -> None:
    assert "pss_corrected" in outcomes["*"]["compare"]
    assert "Accuracy under each persona" in (runs / "run" / "scores" / "index.html").read_text()
    assert "by persona" in (runs / "compared" / "index.html").read_text()
