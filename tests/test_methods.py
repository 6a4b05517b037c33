"""`persona-bench compare --by-method` and the gate, on runs against a small endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from persona_bench.cli import app, exit_code_of_error
from persona_bench.harness.knobs import KnobError, Knobs
from persona_bench.harness.run import RunError
from persona_bench.harness.study import read_study
from persona_bench.provenance import training_of
from persona_bench.results.runs import read_runs
from persona_bench.scoring.comparable import CompareError
from tests.support.studies import ask, server


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs, whose model's rates differ by chance alone; the last two with a worse persona."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("rlvr-1", "rlvr-2", "permix-1", "permix-2"):
        with server() as chat:
            if name.startswith("permix"):
                chat.rates = dict.fromkeys(chat.rates, 0.3)
            ask(chat, folder / name)
    return folder


def names(folder: Path, *methods: str) -> list[str]:
    return [f"{method}={folder / method.replace('@', '-')}" for method in methods]


def test_methods_are_compared_over_seeds(checkpoints: Path, tmp_path: Path) -> None:
    runs = names(checkpoints, "rlvr@1", "rlvr@2", "permix@1", "permix@2")
    done = CliRunner().invoke(
        app, ["compare", "--by-method", *runs, "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "permix - rlvr, over seeds" in done.output
    assert "paired t test over 2 and 2 seeds" in done.output
    table = pd.read_csv(tmp_path / "out" / "persona_arithmetic_methods.csv").set_index("metric")
    means = pd.read_csv(tmp_path / "out" / "persona_arithmetic_methods_means.csv")
    means = means.set_index(["method", "metric"])["mean"]
    assert table.loc["mean", "difference"] < -0.2
    assert table.loc["mean", "difference"] == pytest.approx(
        means["permix", "mean"] - means["rlvr", "mean"]
    )
    (record,) = json.loads((tmp_path / "out" / "methods.json").read_text())
    assert record["a"] == "rlvr"
    assert len(record["per_seed"]) == 4 * 5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("rlvr@1", "rlvr@2", "permix@1"), "permix has a single seed"),
        (("rlvr@1", "rlvr@2"), "one method (rlvr)"),
    ],
)
def test_too_few_seeds_or_methods_are_refused(
    checkpoints: Path, given: tuple[str, ...], words: str
) -> None:
    runs = names(checkpoints, *given)
    done = CliRunner().invoke(app, ["compare", "--by-method", *runs])
    assert isinstance(done.exception, CompareError)
    assert words in str(done.exception)


def test_a_run_without_method_and_seed_is_refused(checkpoints: Path) -> None:
    folders = [str(checkpoints / name) for name in ("rlvr-1", "permix-1")]
    done = CliRunner().invoke(app, ["compare", "--by-method", *folders])
    assert isinstance(done.exception, CompareError)
    assert "its method and seed are not known; name them, as in rlvr@1=" in str(done.exception)


def test_a_run_knows_the_training_of_its_checkpoint(checkpoints: Path, tmp_path: Path) -> None:
    """The task records it; the report reads it from the results file."""
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({"method": "permix", "seed": 3}))
    told = training_of({"pretrained": str(tmp_path)})
    assert told == {"method": "permix", "seed": 3}
    assert training_of({"pretrained": "ORG/MODEL"}) == {}
    (results,) = (checkpoints / "rlvr-1").rglob("results_*.json")
    record = json.loads(results.read_text())
    record["configs"]["persona_arithmetic"]["metadata"]["persona_bench"]["training"] = told
    copy = tmp_path / "run" / "model"
    copy.mkdir(parents=True)
    (samples,) = results.parent.glob("samples_*.jsonl")
    (copy / samples.name).write_bytes(samples.read_bytes())
    (copy / results.name).write_text(json.dumps(record))
    (run,) = read_runs([tmp_path / "run"])
    assert run.checkpoint == ("permix", "3")
    (named,) = read_runs([f"sft@7={tmp_path / 'run'}"])
    assert named.checkpoint == ("sft", "7")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["gate", "BASE", "NEW"], 2),
        (["run", "--until", "decided", "--against", "BASE"], 2),
        (["run", "--until", "decided", "--against=BASE"], 2),
        (["run", "--until", "decided"], 1),
    ],
)
def test_an_error_is_no_verdict_of_the_gate(arguments: list[str], code: int) -> None:
    assert exit_code_of_error(arguments) == code


def test_gate_reads_the_folders_of_runs(checkpoints: Path) -> None:
    folders = [str(checkpoints / name) for name in ("rlvr-1", "permix-1")]
    done = CliRunner().invoke(app, ["gate", *folders, "--json"])
    record = json.loads(done.output)
    assert done.exit_code == 1
    assert record["tasks"]["persona_arithmetic"]["verdict"] == "fail"


@pytest.mark.slow
def test_the_paper_s_table_has_one_row_per_method(checkpoints: Path, tmp_path: Path) -> None:
    runs = names(checkpoints, "rlvr@1", "rlvr@2", "permix@1")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["compare", *runs, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    own = pd.read_csv(out / "tables" / "persona_arithmetic_models.csv").set_index("model")["mean"]
    table = pd.read_csv(out / "tables" / "methods.csv").set_index("method")
    assert list(table.index) == ["rlvr", "permix@1"]  # a single seed stands for itself
    row = table.loc["rlvr"]
    assert row["arithmetic accuracy"] == pytest.approx(own[["rlvr@1", "rlvr@2"]].mean())
    half = 12.706 * own[["rlvr@1", "rlvr@2"]].std() / 2**0.5  # Student's t with one degree
    low = max(0, row["arithmetic accuracy"] - half)
    assert row["arithmetic accuracy low"] == pytest.approx(low, abs=1e-3)
    text = (out / "tables" / "methods.md").read_text()
    assert "means over seeds (rlvr 2), with 95% intervals over seeds" in text
    assert "<sup>" not in text  # letters would speak of rlvr@1, which has no row


def test_a_study_names_the_training_of_its_models(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    study: dict[str, object] = {
        "output_path": str(tmp_path / "out"),
        "models": [{"name": "a", "pretrained": "ORG/MODEL", "method": "rlvr", "seed": 1}],
        "tasks": ["persona_arithmetic"],
    }
    file.write_text(yaml.safe_dump(study))
    read = read_study(file)
    (asked,) = read.asked(read.models[0])
    assert asked.metadata["training"] == {"method": "rlvr", "seed": 1}
    with server() as chat:
        ask(chat, tmp_path / "run", **asked.metadata)
    (run,) = read_runs([tmp_path / "run"])
    assert run.checkpoint == ("rlvr", "1")
    study["models"] = [{"name": "a", "pretrained": "ORG/MODEL", "method": "rlvr"}]
    file.write_text(yaml.safe_dump(study))
    with pytest.raises(RunError, match="method and seed belong together"):
        read_study(file)


def test_training_without_a_seed_is_refused() -> None:
    with pytest.raises(KnobError, match="must have a method and a seed"):
        Knobs.from_metadata({"training": "rlvr"})
