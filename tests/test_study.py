"""Studies: a file that is checked before anything runs, and models that don't mix."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from persona_bench import read_outcomes
from persona_bench.harness.dry_run import plan_run
from persona_bench.harness.run import Asked, RunError, run
from persona_bench.harness.study import check_study, read_study
from persona_bench.results.samples import find_samples
from tests.conftest import ROOT
from tests.support.studies import hub_model, server, study_of, written
from tests.test_cli import persona_bench

EXAMPLE = ROOT / "examples" / "study.yaml"


# ---------------------------------------------------------------------- the file

GOOD: dict[str, Any] = {
    "output_path": "out",
    "models": [{"name": "m", "pretrained": "org/name"}],
    "tasks": ["persona_arithmetic"],
    "metadata": {"persona_set": "demo"},
}
ENDPOINT = {"name": "m", "model": "local-chat-completions"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modells": []}, "there is no key 'modells': did you mean 'models'?"),
        ({"models": [{"name": "m", "pretraind": "x"}]}, "models.0.pretraind': did you mean 'pre"),
        ({"tasks": [{"task": "persona_math500", "limit": 3}]}, "no key 'tasks.0.limit'"),
        ({"models": []}, "models: List should have at least 1 item"),
        ({"models": [{"pretrained": "x/y"}]}, "models.0.name is missing"),
        ({"output_path": None}, "output_path"),
        ({"models": [{"name": "a/b"}]}, "models.0.name"),
        ({"models": [{"name": "M"}, {"name": "m"}]}, "models: 'm' stands twice"),
        ({"tasks": ["persona_aime24"] * 2}, "tasks: 'persona_aime24' stands twice"),
        ({"seed": "soon"}, "seed: .*valid integer.*soon"),
        (
            {"models": [{"name": "m", "pretrained": "x", "model_args": {"pretrained": "y"}}]},
            "pretrained stands twice",
        ),
        ({"tasks": ["persona_maths"]}, "no task 'persona_maths': did you mean 'persona_math500'"),
        ({"metadata": {"persona_set": "demmo"}}, "did you mean 'demo'"),
        ({"metadata": {"persona_sets": "demo"}}, "did you mean 'persona_set'"),
        ({"metadata": {"samples": 3}}, "decoding is greedy"),
        ({"metadata": {"n_questions": 10**6}}, "n_questions=1000000, but there are"),
        ({"models": [{"name": "m", "model": "hff"}]}, "model 'm': lm-eval has no backend 'hff'"),
        ({"models": [{"name": "m"}]}, "hf needs pretrained=..., a hub id or a folder"),
        ({"models": [{"name": "m", "pretrained": "./none"}]}, "there is no folder none"),
        ({"models": [{"name": "m", "pretrained": "."}]}, "holds no model: there is no config.json"),
        ({"models": [ENDPOINT]}, "an endpoint needs model=NAME"),
        ({"models": [{**ENDPOINT, "model_args": {"model": "x"}}]}, "needs base_url=..."),
        (
            {"models": [{**ENDPOINT, "model_args": {"model": "x", "base_url": "host:80"}}]},
            "must start with http",
        ),
        (
            {"models": [{"name": "m", "model": "openai-chat-completions",
                         "model_args": {"model": "gpt"}}]},
            "needs a key in the environment: OPENAI_API_KEY",
        ),
        ({"judge": {"models": ["x"]}}, "judge: none of persona_arithmetic is judged"),
        ({"judge": {"model": "x"}}, "no key 'judge.model': did you mean 'models'"),
        ({"judge": {"models": ["x"], "base_url": "host"}}, "judge.base_url"),
        ({"judge": {"models": ["x"], "max_cost": 2}}, "judge: max_cost needs price"),
        ({"tasks": ["persona_livecodebench"]}, "add --confirm_run_unsafe_code"),
    ],
)  # fmt: skip
def test_a_fault_in_the_file_is_one_sentence_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def read_and_check() -> None:
        study = read_study(written(tmp_path, {**GOOD, **change}))
        check_study(study, study.models)

    with pytest.raises(ValueError, match=words) as caught:
        read_and_check()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: [}", "study.yaml:1: not YAML"),
        (
            "output_path: out\nmodels:\n  - name: x\n    name: y\n",
            "study.yaml:4: the key 'name' st",
        ),
        ("- a list", "a study is a mapping"),
        ("output_path: out\nmodels:\n  - name: x\n   y: 1\n", "study.yaml:4: not YAML"),
        (
            'output_path: out\nsystem_instruction: "Smile \\ud83d!"\n',
            "study.yaml:2: half of a surro",
        ),
    ],
)
def test_an_invalid_study_file_is_refused_with_the_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(RunError, match=words):
        read_study(written(tmp_path, text))


def test_texts_in_a_study_file_are_what_they_look_like(tmp_path: Path) -> None:
    whole = yaml.safe_dump(GOOD)
    pair = read_study(written(tmp_path, f'{whole}system_instruction: "Smile \\ud83d\\ude00"\n'))
    assert pair.system_instruction == "Smile 😀"
    file = written(tmp_path, f"{whole}system_instruction: Be our #1 fan\n")
    with pytest.warns(UserWarning, match="system_instruction ends before '#1 fan', which YAML"):
        assert read_study(file).system_instruction == "Be our"


def test_flags_of_a_single_model_beside_a_file_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    done = persona_bench("run", str(file), "--gen_kwargs", "a=1", cwd=tmp_path, ok=False)
    assert "--gen-kwargs belongs into" in done.stderr


def test_a_task_s_own_settings_go_over_the_study_s(tmp_path: Path) -> None:
    task = {"task": "persona_math500", "metadata": {"samples": 2}, "gen_kwargs": {"top_p": 0.5}}
    model = {"name": "m", "pretrained": "x/y", "gen_kwargs": {"temperature": 0.6}}
    study = read_study(
        written(
            tmp_path,
            {
                **GOOD,
                "tasks": ["persona_arithmetic", task],
                "models": [model],
                "gen_kwargs": {"do_sample": True, "temperature": 1.0},
            },
        )
    )
    plain, own = study.asked(study.models[0], "2/3")
    assert plain.metadata == {"persona_set": "demo", "shard": "2/3"}
    assert own.metadata == {"persona_set": "demo", "samples": 2, "shard": "2/3"}
    assert own.gen_kwargs == {"do_sample": True, "temperature": 0.6, "top_p": 0.5}


def test_examples_and_folders_of_tasks_are_the_study_s_or_the_task_s(tmp_path: Path) -> None:
    tasks = ["gsm8k", {"task": "local_sums", "num_fewshot": 0}]
    study = {**GOOD, "tasks": tasks, "num_fewshot": 5, "include_path": str(tmp_path)}
    read = read_study(written(tmp_path, study))
    first, second = read.asked(read.models[0])
    assert (first.num_fewshot, second.num_fewshot) == (5, 0)
    assert first.include_path == (str(tmp_path),)


@pytest.mark.parametrize(
    ("backend", "arguments", "generation"),
    [
        ("hf", {"enable_thinking": True, "think_end_token": "</think>"}, {}),
        ("vllm", {"enable_thinking": True, "think_end_token": "</think>"}, {}),
        (
            "local-chat-completions",
            {"think_end_token": "</think>"},
            {"chat_template_kwargs": {"enable_thinking": True}},
        ),
    ],
)
def test_thinking_reaches_each_backend_in_its_own_way(
    tmp_path: Path, backend: str, arguments: dict[str, Any], generation: dict[str, Any]
) -> None:
    model = {"name": "m", "model": backend, "enable_thinking": True}
    (found,) = read_study(written(tmp_path, {**GOOD, "models": [model]})).models
    assert found.arguments() == arguments
    assert found.generation() == generation


# ---------------------------------------------------------------------- running


@pytest.mark.slow
def test_a_study_runs_every_model_says_what_is_done_and_goes_on(tmp_path: Path) -> None:
    with server() as chat:
        file = written(tmp_path, study_of(chat))
        before = persona_bench("run", str(file), "--dry-run", cwd=tmp_path, columns=120).stdout
        assert before.count(" 72     0     72 ") == 2
        assert chat.requests == []
        persona_bench("run", str(file), cwd=tmp_path)
        assert len(chat.requests) == 2 * 72  # two models, of which each got its own
        after = persona_bench("run", str(file), "--dry-run", cwd=tmp_path, columns=120).stdout
        assert after.count(" 72    72      0 ") == 2
        persona_bench("run", str(file), "--only", "b", cwd=tmp_path)
        assert len(chat.requests) == 2 * 72
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = read_outcomes(tmp_path / "out")
    assert dict(outcomes["model"].value_counts()) == {"a": 72, "b": 72}
    assert {path.name for path in (tmp_path / "out" / "scores").iterdir()} == {
        "a",
        "b",
        "index.html",
    }


@pytest.mark.slow
def test_a_model_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    with server() as chat:
        study = study_of(chat)
        study["models"][0]["model_args"]["base_url"] = "http://127.0.0.1:9/v1/chat/completions"
        done = persona_bench("run", str(written(tmp_path, study)), cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert "http://127.0.0.1:9/v1/models does not answer" in done.stderr
    assert "a did not finish" in done.stderr
    assert set(read_outcomes(tmp_path / "out")["model"]) == {"b"}


@pytest.mark.parametrize("short", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_example_of_the_readme_runs(
    smollm2: Path, data_dir: Path, tmp_path: Path, short: bool
) -> None:
    """As it stands with hub ids, from the hub's cache; the second model is the first, disturbed."""
    cache = tmp_path / "hub"
    for name, change in (("135M", False), ("360M", True)):
        snapshot = hub_model(cache, f"HuggingFaceTB/SmolLM2-{name}-Instruct", name[0] * 40)
        shutil.copytree(smollm2, snapshot)
        if change:
            disturb(snapshot)
    text = EXAMPLE.read_text()
    if short:
        text = text.replace("n_questions: 2}", "n_questions: 1}").replace(": 10}", ": 2}")
        text = text.replace("max_gen_toks: 128", "max_gen_toks: 12").replace("toks: 48", "toks: 12")
    file = written(tmp_path, text)
    environment = {"HF_HUB_CACHE": str(cache), "PERSONA_BENCH_DATA": str(data_dir)}
    persona_bench("run", str(file), cwd=tmp_path, **environment)
    outcomes = read_outcomes(tmp_path / "results" / "first-study")
    counts = outcomes.groupby(["model", "task"]).size()
    assert set(counts.index) == {
        (model, task)
        for model in ("smollm2-135m", "smollm2-360m")
        for task in ("persona_arithmetic", "persona_math500")
    }
    assert set(counts) == ({12, 6} if short else {60, 12})
    responses = outcomes.set_index(["model", "task", "persona", "question"])["response"]
    assert (responses["smollm2-135m"] != responses["smollm2-360m"]).any()
    headers = [
        json.loads(segment.read_text().splitlines()[0])["model"]["pretrained"]
        for segment in tmp_path.glob("results/first-study/store/generations/*/*.jsonl")
    ]
    assert sorted(header["commit"] for header in headers) == ["1" * 40, "3" * 40]


def disturb(checkpoint: Path) -> None:
    """Another model of the same shape."""
    from safetensors.torch import load_file, save_file

    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "layers.10.mlp.down_proj" in name)
    weights[name] = weights[name] * 0.5
    file.unlink()
    save_file(weights, file, metadata={"format": "pt"})


# ---------------------------------------------------------------------- dry runs


def test_a_dry_run_finds_what_a_real_model_s_run_stored(smollm2: Path, tmp_path: Path) -> None:
    """The prompts are rendered without the weights, to the letter as with them."""
    arguments = {"pretrained": str(smollm2), "dtype": "float32"}
    knobs = {"persona_set": "demo", "n_questions": 1}
    asked = [Asked("persona_arithmetic", knobs, {"max_gen_toks": 4})]
    store = tmp_path / "out" / "store"
    (before,) = plan_run("hf", arguments, asked, store)
    assert (before.prompts, before.done, before.most_tokens) == (6, 0, 24)
    run(
        model="hf", model_args=arguments, tasks=["persona_arithmetic"], metadata=knobs,
        gen_kwargs={"max_gen_toks": 4}, output_path=tmp_path / "out", batch_size="6",
    )  # fmt: skip
    (after,) = plan_run("hf", arguments, asked, store)
    assert (after.prompts, after.done, after.prompt_tokens) == (6, 6, 0)
    (segment,) = store.glob("generations/*/*.jsonl")
    prompts = [json.loads(line)["prompt"] for line in segment.read_text().splitlines()[1:]]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    counts = [len(tokenizer(p, add_special_tokens=False)["input_ids"]) for p in prompts]
    assert before.prompt_tokens == sum(counts)


def test_a_launcher_of_several_processes_needs_one_model(tmp_path: Path) -> None:
    with server() as chat:
        file = written(tmp_path, study_of(chat))
        done = persona_bench("run", str(file), cwd=tmp_path, ok=False, WORLD_SIZE="2")
    assert "a study runs one model at a time: add --only, one of a, b" in done.stderr


# lm-eval shares out prompts among processes only where each has a GPU: here they get a number
# all the same, and all else is as under `accelerate launch`
RANKS = """
from accelerate import Accelerator
from lm_eval.models.huggingface import HFLM
from persona_bench.harness import until
until.planned_looks = lambda questions: (2, questions)  # real plans start at 100 questions
made = HFLM.__init__
def numbered(self, *args, **kwargs):
    made(self, *args, **kwargs)
    self.accelerator = Accelerator(cpu=True)
    self._rank = self.accelerator.process_index
    self._world_size = self.accelerator.num_processes
HFLM.__init__ = numbered
from persona_bench.cli import main
main()
"""


def asked_by_two(model: Path, folder: Path, *more: str, times: int = 1) -> list[str]:
    """Has two processes ask three questions, and gives the arguments."""
    arguments = [
        "run", "--model", "hf", "--model-args", f"pretrained={model},dtype=float32",
        "--tasks", "persona_arithmetic", "--gen-kwargs", "max_gen_toks=8",
        "--metadata", json.dumps({"persona_set": "demo", "n_questions": 3}),
        "--batch-size", "3", "--device", "cpu",
    ]  # fmt: skip
    (folder / "ranks.py").write_text(RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "ranks.py"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
    for _ in range(times):
        subprocess.run(
            [*launch, *arguments, "--output-path", "two", *more],
            cwd=folder, env=environment, check=True, timeout=500,
        )  # fmt: skip
    return arguments


@pytest.mark.slow
def test_data_parallel_processes_take_the_same_looks(smollm2: Path, tmp_path: Path) -> None:
    asked_by_two(smollm2, tmp_path, "--until", "decided")
    (samples,) = find_samples(tmp_path / "two")
    record = samples.facts["until"]
    assert (record["looks"], record["decision"], record["over"]) == ([2, 3], None, True)
    segments = tmp_path.glob("two/store/generations/*/*.jsonl")
    counts = [len(segment.read_text().splitlines()) - 1 for segment in segments]
    assert sum(counts) == 18  # the second look asks only for what is new
    assert len(counts) == 2


@pytest.mark.slow
def test_data_parallel_processes_share_a_store(smollm2: Path, tmp_path: Path) -> None:
    """Two processes give the outcomes of one; each prompt is asked by one; then nothing is left."""
    arguments = asked_by_two(smollm2, tmp_path, times=2)
    persona_bench(*arguments, "--output-path", "one", cwd=tmp_path)
    with pytest.warns(UserWarning, match="2 runs"):
        two = read_outcomes(tmp_path / "two")
    one = read_outcomes(tmp_path / "one")
    keys = ["persona", "question"]
    pd.testing.assert_frame_equal(
        two.sort_values(keys, ignore_index=True), one.sort_values(keys, ignore_index=True)
    )
    segments = tmp_path.glob("two/store/generations/*/*.jsonl")
    counts = [len(segment.read_text().splitlines()) - 1 for segment in segments]
    assert counts == [9, 9]  # the second run wrote nothing
