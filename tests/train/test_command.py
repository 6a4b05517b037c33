"""`persona-bench train` as people call it, on a tiny model, to a checkpoint that lm_eval runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from persona_bench import cli

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
LmEval = Callable[..., subprocess.CompletedProcess[str]]


Here = Callable[..., str]


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Here:
    """Runs the command in this process, which has imported torch already; gives what it says."""

    def run(*parts: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["persona-bench", "train", *parts])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit):
            cli.main()
        return capfd.readouterr().err

    return run


def command(*parts: str, cwd: Path, code: int = 0) -> str:
    """What `persona-bench train` says on stderr."""
    done = subprocess.run(
        [str(BIN / "persona-bench"), "train", *parts],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stderr


@pytest.fixture
def settings(tiny: Path, tmp_path: Path) -> Callable[..., str]:
    """Writes a run's file; gives its name."""

    def write(**given: Any) -> str:
        told = {
            "model": str(tiny),
            "output_path": "out",
            "data": {"source": "arithmetic", "levels": ["1"], "n_questions": 20},
            "personas": {"mix_ratio": 0.5},
            "trainer": {
                "max_steps": 2,
                "per_device_train_batch_size": 4,
                "num_generations": 4,
                "max_completion_length": 6,
                "logging_steps": 1,
                "save_strategy": "no",
            },
            **given,
        }
        told = {name: value for name, value in told.items() if value is not None}
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(told))
        return "run.yaml"

    return write


@pytest.mark.slow
def test_a_checkpoint_is_made_once_and_lm_eval_runs_it(
    settings: Callable[..., str], tmp_path: Path, lm_eval: LmEval, here: Here
) -> None:
    said = command("permix", settings(), "--seed", "3", cwd=tmp_path)
    assert "mix_ratio: 0.5" in said  # what was given
    assert "curriculum: 0.0" in said  # our defaults
    assert "loss_type dapo" in said  # and TRL's
    assert "seed: 3" in (tmp_path / "out" / "train.yaml").read_text()
    for seed, words in ((3, "finished: nothing to do"), (4, "other settings (seed)")):
        assert words in here("permix", settings(), "--seed", str(seed))
    arguments = "--model hf --model_args pretrained=out,dtype=float32 --tasks persona_arithmetic"
    more = "--apply_chat_template --limit 6 --gen_kwargs max_gen_toks=4 --output_path results"
    knobs = json.dumps({"persona_set": "demo", "levels": [2], "per_level": 3})
    done = lm_eval(*arguments.split(), *more.split(), "--metadata", knobs, cwd=tmp_path)
    assert "persona_arithmetic" in done.stdout


def test_a_dry_run_shows_settings_and_data_and_makes_nothing(
    settings: Callable[..., str], tmp_path: Path, here: Here
) -> None:
    said = here("permix", settings(use_vllm="colocate"), "--dry-run")
    assert "use_vllm: colocate" in said
    assert "20 questions, 111 personas" in said
    assert "What is" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("ppo", {}, "there is no method 'ppo': use sft, distill, rlvr, permix"),
        ("rlvr", {}, "rlvr has none"),
        ("permix", {"trainer": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
        ("permix", {"data": {"source": "nowhere.jsonl"}}, "there is no file nowhere.jsonl"),
        ("permix", {"model": "./nowhere"}, "there is no folder nowhere"),
        ("permix", {"personas": {"persona_set": "core"}}, "persona set 'core' shares"),
    ],
)
def test_a_fault_is_one_sentence(
    method: str, given: dict[str, Any], words: str, settings: Callable[..., str], here: Here
) -> None:
    assert words in here(method, settings(**given))


@pytest.mark.parametrize("name", ["rlvr", "permix"])
def test_the_examples_are_read(name: str, tmp_path: Path) -> None:
    from persona_bench.train.config import read_config

    config = read_config(ROOT / "examples" / f"{name}.yaml", name)
    assert (config.personas is None) == (name == "rlvr")
    study = ROOT / "results" / "smollm2-arithmetic" / "configs"
    one, other = (read_config(study / f"{each}.yaml", each) for each in ("rlvr", "permix"))
    same = {"method", "output_path", "personas"}  # and nothing else may differ
    assert one.model_dump(exclude=same) == other.model_dump(exclude=same)


RECIPES = sorted(path.stem for path in (ROOT / "examples").glob("permix*.yaml"))


@pytest.mark.parametrize("name", ["rlvr", *RECIPES])
def test_a_recipe_passes_a_dry_run(
    name: str, tiny: Path, data_dir: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_BENCH_DATA", str(data_dir))
    path = ROOT / "examples" / f"{name}.yaml"
    method = "rlvr" if name == "rlvr" else "permix"
    said = here(method, str(path), "--dry-run", "--model", str(tiny))
    assert "The first question:" in said, said
    head = path.read_text().partition("model:")[0]
    assert f"train {method} examples/{path.name}" in " ".join(head.split())


@pytest.mark.parametrize("name", ["fsdp2", "zero3"])
def test_accelerate_reads_the_configurations(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "examples" / "accelerate" / f"{name}.yaml"))
    assert config.num_processes == 8
    assert config.mixed_precision == "bf16"


@pytest.mark.slow
def test_two_processes_share_a_step(settings: Callable[..., str], tmp_path: Path) -> None:
    """Groups lie across processes; each persona's completions are counted once."""
    trainer = {
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "num_generations": 4,
        "max_completion_length": 6,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
    }
    personas = {"mix_ratio": 0.5, "group": "question"}
    evaluation = {"every": 2, "n_questions": 3}
    name = settings(trainer=trainer, personas=personas, evaluation=evaluation)
    launch = "--standalone --nproc_per_node 2 -m persona_bench train permix"
    done = subprocess.run(
        [str(BIN / "torchrun"), *launch.split(), name],
        cwd=tmp_path,
        env={
            # without what the trainers of other tests have left in this process
            **{k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE_", "MASTER_"))},
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (tmp_path / "out" / "personas.csv").read_text().splitlines()
    head = lines[0].split(",")
    rows = [dict(zip(head, line.split(","), strict=True)) for line in lines[1:]]
    for step in ("1", "2"):
        own = [row for row in rows if row["step"] == step]
        assert sum(int(row["completions"]) for row in own) == 4
        assert len(own) >= 2
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "best" / "model.safetensors").is_file()
    lines = (tmp_path / "out" / "evaluations.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "0", "2"]
    assert done.stderr.count("Held out: ") == 2  # once per evaluation, not per process
