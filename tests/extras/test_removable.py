"""Each extra can be deleted: only its own command fails, and the others work as before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import persona_bench
from tests.extras.test_screen_command import write_pilot

EXTRAS = Path(persona_bench.__file__).parent / "extras"
FAILING: dict[str, set[str]] = {
    "contrasts": set(),
    "effects": {"screen"},
    "identifiability": {"trace"},
    "moments": set(),
    "paper": {"leaderboard"},
    "parts": set(),
    "pilot": {"plan"},
    "plan": {"plan"},
    "rasch": {"screen"},
    "roles": set(),
    "screened": {"screen"},
    "screening": {"screen"},
    "screening_run": {"screen"},
    "tau": set(),
    "trace": {"trace"},
    "training": {"compare --training"},
    "variance": set(),
    "*": {"compare --training", "leaderboard", "plan", "screen", "trace"},
}
"""The commands that fail where an extra is deleted, and where all are."""
PARTS = {"contrasts", "moments", "parts", "roles", "tau", "variance", "*"}
"""The extras without which a score has no variance parts and contrasts."""

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
    return {
        "score": outcome(["score", folder, "--json", "--out", folder + "/scores"] + (
            [] if name == "*" else ["--no-page"])),
        "compare": outcome(["compare", "a=" + folder, "b=" + folder, "--json"] + (
            ["--out", compared] if name == "*" else [])),
        "compare --training": outcome(
            ["compare", "a=" + folder, "b=" + folder, "--json", "--training", log]),
        "gate": outcome(["gate", folder, folder]),
        "leaderboard": outcome(["leaderboard", folder]),
        "plan": outcome(["plan", "--pilot", folder]),
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
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each command gives, by the extra that is deleted."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    write_pilot(folder, 20)
    command = [sys.executable, "-c", CHECK, " ".join(FAILING), str(folder)]
    command += [str(folder.parent / "compared"), str(folder.parent / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_extra_is_deleted_once() -> None:
    names = {
        path.stem for path in EXTRAS.iterdir() if path.name not in ("__init__.py", "__pycache__")
    }
    assert names == FAILING.keys() - {"*"}


@pytest.mark.parametrize("removed", FAILING)
def test_without_an_extra_only_its_own_command_fails(
    removed: str, outcomes: dict[str, dict[str, str]]
) -> None:
    given = outcomes[removed]
    assert isinstance(given, dict), given
    assert {name for name, said in given.items() if said == "deleted"} == FAILING[removed]
    (score,) = json.loads(given["score"])
    assert score["pss"]["value"] < 1
    assert ("variance_parts" in score) == (removed not in PARTS)
    (compared,) = json.loads(given["compare"])
    assert compared["metrics"]
    assert "pss_corrected" in given["gate"]
    assert "demo" in given["personas list"]


def test_without_all_extras_a_score_and_a_comparison_still_have_their_pages(
    outcomes: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    (base,) = tmp_path_factory.getbasetemp().glob("runs*")
    assert "Accuracy under each persona" in (base / "run" / "scores" / "index.html").read_text()
    assert "Differences" in (base / "compared" / "index.html").read_text()
