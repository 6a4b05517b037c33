"""Studies: a file that is checked before anything runs, models that don't mix, shards that join."""

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

from persona_bench import load_persona_set, read_outcomes
from persona_bench.benchmarks.arithmetic import BENCHMARK
from persona_bench.benchmarks.base import choose_questions
from persona_bench.harness.dry_run import plan_run
from persona_bench.harness.fingerprint import FingerprintError, fingerprint
from persona_bench.harness.merge import MergeError, merge
from persona_bench.harness.regrade import regrade
from persona_bench.harness.run import Asked, RunError, run
from persona_bench.harness.study import check_study, read_study
from persona_bench.scoring.samples import OutcomesError
from tests.conftest import ROOT
from tests.support.chat_server import ChatServer
from tests.test_cli import persona_bench

EXAMPLE = ROOT / "examples" / "study.yaml"
N_QUESTIONS = 12


def server() -> ChatServer:
    rates = {p.prompt: 0.7 for p in load_persona_set("demo")}
    questions = choose_questions(BENCHMARK.load(None, 0), N_QUESTIONS, 0)
    return ChatServer(rates, {BENCHMARK.prompt(q.problem): q.answer for q in questions})


def study_of(chat: ChatServer, **more: Any) -> dict[str, Any]:
    endpoint = {"base_url": chat.url, "num_concurrent": 8}
    return {
        "output_path": "out",
        "models": [
            {
                "name": name,
                "model": "local-chat-completions",
                "model_args": {**endpoint, "model": name},
            }
            for name in ("a", "b")
        ],
        "tasks": ["persona_arithmetic"],
        "metadata": {"persona_set": "demo", "n_questions": N_QUESTIONS},
        **more,
    }


def written(folder: Path, study: Any) -> Path:
    file = folder / "study.yaml"
    file.write_text(study if isinstance(study, str) else yaml.safe_dump(study))
    return file


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
        ({"tasks": ["persona_maths"]}, "no task 'persona_maths': use persona_aime24"),
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
        ("- a list", "a study is a mapping"),
        ("output_path: out\nmodels:\n  - name: x\n   y: 1\n", "study.yaml:4: not YAML"),
    ],
)
def test_what_is_no_study_is_said_with_the_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RunError, match=words):
        read_study(written(tmp_path, text))


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
    assert {path.name for path in (tmp_path / "out" / "scores").iterdir()} == {"a", "b"}


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


def hub_model(cache: Path, name: str, commit: str) -> Path:
    """The folder of a model in the hub's cache, still to be filled."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots").mkdir()
    return folder / "snapshots" / commit


def disturb(checkpoint: Path) -> None:
    """Another model of the same shape."""
    from safetensors.torch import load_file, save_file

    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "layers.10.mlp.down_proj" in name)
    weights[name] = weights[name] * 0.5
    file.unlink()
    save_file(weights, file, metadata={"format": "pt"})


# ---------------------------------------------------------------------- which model is it


def test_two_checkpoints_in_one_path_have_two_fingerprints(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "x", "bos": 1}')
    (folder / "model.safetensors").write_bytes(b"1234")
    arguments = {"pretrained": str(folder), "dtype": "float32"}
    first = fingerprint("hf", arguments).digest
    assert fingerprint("hf", {**arguments, "batch_size": 4, "device": "cpu"}).digest == first
    assert fingerprint("hf", {**arguments, "dtype": "bfloat16"}).digest != first
    assert fingerprint("vllm", arguments).digest != first
    (folder / "trainer_state.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"bos": 1, "chat_template": "y"}')
    assert fingerprint("hf", arguments).digest == first, "the template is in the prompt"
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied)
    assert fingerprint("hf", {**arguments, "pretrained": str(copied)}).digest == first
    times = (folder / "model.safetensors").stat()
    (folder / "model.safetensors").write_bytes(b"1235")  # the same size, the same time
    os.utime(folder / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint("hf", arguments).digest != first
    with pytest.raises(FingerprintError, match="holds no model"):
        fingerprint("hf", {"pretrained": str(tmp_path)})
    adapter = {"pretrained": str(copied), "lora_local_path": str(folder)}
    trained = fingerprint("vllm", adapter).digest
    (folder / "adapter_model.safetensors").write_bytes(b"more")
    assert fingerprint("vllm", adapter).digest != trained


def test_a_hub_id_counts_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FingerprintError, match=r"'org/name' \(revision 'main'\) is no folder here"):
        fingerprint("hf", {"pretrained": "org/name"})
    hub_model(tmp_path, "org/name", "a" * 40)
    first = fingerprint("hf", {"pretrained": "org/name"})
    assert first.told["pretrained"] == {"hub": "org/name", "commit": "a" * 40}
    (tmp_path / "models--org--name" / "refs" / "main").write_text("b" * 40)
    assert fingerprint("hf", {"pretrained": "org/name"}).digest != first.digest


# ---------------------------------------------------------------------- shards


def ask(chat: ChatServer, folder: Path, **knobs: Any) -> None:
    run(
        model="local-chat-completions",
        model_args={"model": "small", "base_url": chat.url, "num_concurrent": 8},
        tasks=["persona_arithmetic"],
        output_path=folder,
        metadata={"persona_set": "demo", "n_questions": N_QUESTIONS, **knobs},
    )


def same(a: Path, b: Path) -> None:
    pd.testing.assert_frame_equal(read_outcomes(a), read_outcomes(b))


@pytest.mark.parametrize("count", [3, 5])
def test_shards_joined_equal_the_run_in_one_piece(tmp_path: Path, count: int) -> None:
    with server() as chat:
        ask(chat, tmp_path / "whole")
        asked = len(chat.requests)
        parts = [tmp_path / f"part-{n}" for n in range(1, count + 1)]
        for n, part in enumerate(parts, start=1):
            ask(chat, part, shard=f"{n}/{count}")
        assert len(chat.requests) == 2 * asked
        done = merge(parts, tmp_path / "joined")
        assert done.tasks == [("small", "persona_arithmetic", asked)]
        same(tmp_path / "joined", tmp_path / "whole")
        assert results(tmp_path / "joined") == pytest.approx(
            {k: v for k, v in results(tmp_path / "whole").items() if "stderr" not in k}
        )
        ask(chat, tmp_path / "joined")  # the stores are joined too: nothing is asked
        assert len(chat.requests) == 2 * asked


def results(folder: Path) -> dict[str, float]:
    (file,) = folder.glob("small/results_*.json")
    found = json.loads(file.read_text())["results"]["persona_arithmetic"]
    return {k: v for k, v in found.items() if isinstance(v, float | int) and "sample" not in k}


def test_shards_of_one_output_folder_by_the_command(tmp_path: Path) -> None:
    with server() as chat:
        file = written(tmp_path, study_of(chat))
        for n in (1, 2):
            persona_bench("run", str(file), "--shard", f"{n}/2", "--no-score", cwd=tmp_path)
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "shard-1-of-2", "shard-2-of-2", "store",
        }  # fmt: skip
        with pytest.raises(OutcomesError, match="shards 1/2, 2/2 are separate results: join them"):
            read_outcomes(tmp_path / "out")
        with pytest.warns(UserWarning, match="this is shard 1/2"):
            assert len(read_outcomes(tmp_path / "out" / "shard-1-of-2")) == 72
        asked = len(chat.requests)
        persona_bench("merge", "out", "--out", "joined", cwd=tmp_path)
        assert len(read_outcomes(tmp_path / "joined")) == 144
        # the store of all shards is one: the whole study finds everything done
        persona_bench("run", str(file), "--only", "a", "--no-score", cwd=tmp_path)
        assert len(chat.requests) == asked
    assert (tmp_path / "joined" / "scores" / "a").is_dir()


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halves")
    with server() as chat:
        for n in (1, 2):
            ask(chat, folder / f"{n}", shard=f"{n}/2")
    return folder


def edit(folder: Path, pattern: str, old: str, new: str) -> None:
    for file in folder.glob(pattern):
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


def test_what_does_not_belong_together_is_not_joined(halves: Path, tmp_path: Path) -> None:
    with pytest.raises(MergeError, match="shard 2/2 is missing"):
        merge([halves / "1"], tmp_path / "joined")
    with pytest.raises(MergeError, match="is in a folder to be joined"):
        merge([halves / "1", halves / "2"], halves / "2")
    with pytest.raises(MergeError, match="no such folder"):
        merge([halves / "3"], tmp_path / "joined")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MergeError, match="neither a store nor results"):
        merge([tmp_path / "empty"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_line_separators_inside_a_response_are_text(halves: Path, tmp_path: Path) -> None:
    shutil.copytree(halves, tmp_path / "halves")
    parts = [tmp_path / "halves" / n for n in ("1", "2")]
    for part in parts:
        edit(part, "*/samples_*.jsonl", "The answer is ", "The\u2028answer\x85is ")
    merge(parts, tmp_path / "joined")
    joined = read_outcomes(tmp_path / "joined")
    assert joined["response"].str.contains("\u2028").any()
    assert len(joined) == sum(len(read_outcomes(part)) for part in parts)
    (again,) = regrade(tmp_path / "joined")
    assert again.responses == len(joined)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"persona_set_version": "1"', '"persona_set_version": "9"', "in persona_set_version"),
        ('"grader": "maths 1"', '"grader": "maths 0"', "the shards differ in grader"),
        ('"lm-eval": "0.4.', '"lm-eval": "0.3.', "differ in version of lm-eval"),
        ('"max_gen_toks": 128', '"max_gen_toks": 64', "differ in generation_kwargs"),
        ('"shard": "2/2"', '"shard": "2/3"', "shards of 2 and 3 parts"),
    ],
)
def test_shards_of_other_settings_are_refused(
    halves: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    shutil.copytree(halves / "2", tmp_path / "2")
    edit(tmp_path / "2", "small/results_*.json", old, new)
    with pytest.raises(MergeError, match=words):
        merge([halves / "1", tmp_path / "2"], tmp_path / "joined")


def test_stores_of_other_versions_are_refused(halves: Path, tmp_path: Path) -> None:
    import zlib

    shutil.copytree(halves / "2", tmp_path / "2")
    (segment,) = tmp_path.glob("2/store/generations/*/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    header = json.loads(lines[0])
    del header["crc"]
    header["versions"]["transformers"] = "4.0"
    body = json.dumps(header, separators=(",", ":")).encode()
    lines[0] = body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)
    segment.write_bytes(b"".join(lines))
    with pytest.raises(MergeError, match=r"mixed versions: .* transformers .* and 4\.0"):
        merge([halves / "1", tmp_path / "2"], tmp_path / "joined")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/100"])
def test_an_impossible_shard_is_refused(tmp_path: Path, shard: str) -> None:
    with server() as chat, pytest.raises(ValueError, match="shard="):
        ask(chat, tmp_path, shard=shard)


# ---------------------------------------------------------------------- grading again


def test_regrading_needs_no_model_and_keeps_the_old(tmp_path: Path) -> None:
    with server() as chat:
        ask(chat, tmp_path / "out")
    first = read_outcomes(tmp_path / "out")
    (file,) = tmp_path.glob("out/small/samples_*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    spoiled = [row for row in rows if row["acc"]["verdict"] == "correct"][:7]
    for row in spoiled:  # as an older grader might have had it
        for metric in row["metrics"]:
            row[metric].update(verdict="wrong", reason="wrong_answer")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept = file.read_bytes()
    assert read_outcomes(tmp_path / "out")["correct"].sum() == first["correct"].sum() - 7

    done = persona_bench("score", "out", "--regrade", cwd=tmp_path)
    assert f"7 of {len(rows)} verdicts changed" in done.stderr
    assert file.read_bytes() == kept
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that there are two files is no news
        pd.testing.assert_frame_equal(read_outcomes(tmp_path / "out"), first)
    again = persona_bench("score", "out", "--regrade", cwd=tmp_path)
    assert f"0 of {len(rows)} verdicts changed" in again.stderr


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


@pytest.mark.slow
def test_data_parallel_processes_share_a_store(smollm2: Path, tmp_path: Path) -> None:
    """Two processes give the outcomes of one; each prompt is asked by one; then nothing is left."""
    arguments = [
        "run", "--model", "hf", "--model-args", f"pretrained={smollm2},dtype=float32",
        "--tasks", "persona_arithmetic", "--gen-kwargs", "max_gen_toks=8",
        "--metadata", json.dumps({"persona_set": "demo", "n_questions": 3}),
        "--batch-size", "3", "--device", "cpu", "--no-score",
    ]  # fmt: skip
    (tmp_path / "ranks.py").write_text(RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "ranks.py"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
    for _ in range(2):
        subprocess.run(
            [*launch, *arguments, "--output-path", "two"],
            cwd=tmp_path, env=environment, check=True, timeout=500,
        )  # fmt: skip
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
