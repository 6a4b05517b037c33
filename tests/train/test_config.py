"""A training run's file: read for each method, and each fault said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from persona_bench.train.config import METHODS, Reward, TrainError, read_config

OWN: dict[str, dict[str, Any]] = {
    "sft": {},
    "distill": {"teacher": {"model": "org/large"}},
    "rlvr": {},
    "permix": {"personas": {"mix_ratio": 0.3}},
}
"""What a method needs beside the model, the folder and the data."""


def good(of: str, **more: Any) -> dict[str, Any]:
    whole = {"model": "org/name", "output_path": "out", "data": {"source": "arithmetic"}}
    return {**whole, **OWN[of], **more}


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def refused(path: Path, method: str, **overrides: Any) -> str:
    """What is said of a file that is wrong."""
    with pytest.raises(TrainError) as caught:
        read_config(path, method, overrides)
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith(str(path))
    return told


@pytest.mark.parametrize("method", METHODS)
def test_a_good_file_is_read(tmp_path: Path, method: str) -> None:
    config = read_config(written(tmp_path, good(method)), method)
    assert (config.method, config.model, config.output_path) == (method, "org/name", Path("out"))
    assert (config.seed, config.data.source, config.reward) == (0, "arithmetic", Reward())
    assert (config.teacher is not None) == (method == "distill")
    assert (config.personas.mix_ratio if config.personas else None) == (
        0.3 if method == "permix" else None
    )
    named = read_config(written(tmp_path, good(method, method=method)), method)
    assert named == config


def test_everything_that_a_file_may_say_is_kept(tmp_path: Path) -> None:
    config = read_config(
        written(
            tmp_path,
            good(
                "permix",
                seed=7,
                dtype="float32",
                data={"source": "math", "n_questions": 9, "levels": [4, 5], "data_dir": "mirror"},
                personas={"weights": {"harmful": 0, "expert": 3}, "group": "question"},
                reward={"format_weight": 0.1, "information_weight": 0.2},
                lora={"r": 4},
                use_vllm="colocate",
                trainer={"learning_rate": 2e-5, "max_steps": 40},
            ),
        ),
        "permix",
    )
    assert (config.seed, config.dtype, config.use_vllm) == (7, "float32", "colocate")
    assert (config.data.levels, config.data.n_questions) == (("4", "5"), 9)
    assert config.data.data_dir == Path("mirror")
    assert config.personas
    assert config.personas.weights == {"harmful": 0, "expert": 3}
    assert (config.personas.group, config.personas.persona_set) == ("question", "train")
    assert (config.reward.format_weight, config.reward.information_weight) == (0.1, 0.2)
    assert config.lora
    assert (config.lora.r, config.lora.alpha) == (4, 32)
    assert config.trainer == {"learning_rate": 2e-5, "max_steps": 40}


@pytest.mark.parametrize(
    ("method", "change", "words"),
    [
        ("rlvr", {"modell": "x"}, "there is no key 'modell': did you mean 'model'?"),
        ("rlvr", {"zzz": 1}, "there is no key 'zzz': use method, model, output_path"),
        (
            "rlvr",
            {"data": {"source": "arithmetic", "n_question": 3}},
            "there is no key 'data.n_question': did you mean 'n_questions'?",
        ),
        (
            "permix",
            {"personas": {"mix_ration": 0.5}},
            "there is no key 'personas.mix_ration': did you mean 'mix_ratio'?",
        ),
        ("rlvr", {"data": {"sourc": "math"}}, "no key 'data.sourc': did you mean 'source'?"),
        ("rlvr", {"data": {}}, "data: name one source in data.source"),
        ("rlvr", {"data": None}, "data: "),
        ("rlvr", {"method": "sft"}, " is for sft, not for rlvr"),
        ("rlvr", {"seed": "soon"}, "(it is 'soon')"),
        ("rlvr", {"seed": -1}, "seed: "),
        ("rlvr", {"personas": {}}, "personas: rlvr has none; permix is rlvr under personas"),
        ("permix", {"personas": None}, "personas: permix needs them"),
        ("distill", {"teacher": None}, "teacher: distill needs one"),
        ("distill", {"teacher": {}}, "teacher.model is missing"),
        ("distill", {"teacher": {"model": "x", "base_url": "host:80"}}, "teacher.base_url: "),
        *(
            (method, {"teacher": {"model": "x"}}, "the other methods have none")
            for method in ("sft", "rlvr", "permix")
        ),
        *(
            (method, {"reward": {"format_weight": 0.1}}, f"reward: {method} is not rewarded")
            for method in ("sft", "distill")
        ),
        *(
            (method, {"use_vllm": "server"}, f"use_vllm: {method} writes no completions")
            for method in ("sft", "distill")
        ),
        *(
            (method, {"personas": {"group": "question"}}, f"personas.group: {method} has no groups")
            for method in ("sft", "distill")
        ),
        (
            "rlvr",
            {"reward": {"information_weight": 0.1}},
            "reward.information_weight: there are no personas to tell apart",
        ),
        ("rlvr", {"reward": {"timeout": 0}}, "reward.timeout: "),
        ("permix", {"use_vllm": "yes"}, "use_vllm: "),
        ("rlvr", {"trainer": {"output_dir": "x"}}, "trainer.output_dir: set output_path beside"),
        ("rlvr", {"trainer": {"seed": 3}}, "trainer.seed: set seed beside trainer, not in it"),
        ("rlvr", {"trainer": {"use_vllm": True}}, "trainer.use_vllm: set use_vllm beside trainer"),
        ("rlvr", {"trainer": {"vllm_mode": "server"}}, "trainer.vllm_mode: set use_vllm beside"),
        ("rlvr", {"trainer": {"shuffle_dataset": False}}, "trainer.shuffle_dataset: the order of"),
        ("permix", {"personas": {"mix_ratio": -0.1}}, "personas.mix_ratio: "),
        ("permix", {"personas": {"mix_ratio": 1.1}}, "personas.mix_ratio: "),
        ("permix", {"personas": {"curriculum": 2}}, "personas.curriculum: "),
        (
            "permix",
            {"personas": {"weights": {"wizard": 1}}},
            "personas.weights: there is no kind 'wizard': use control, expert, ",
        ),
        (
            "permix",
            {"personas": {"weights": {"expert": -1}}},
            "personas.weights: the weight of 'expert' is -1.0: it must be 0 or more",
        ),
        ("permix", {"personas": {"weights": {"expert": float("nan")}}}, "the weight of 'expert'"),
        ("rlvr", {"data": {"source": "math", "n_questions": 0}}, "data.n_questions: "),
        ("rlvr", {"data": {"source": "math", "levels": 3}}, "data.levels: "),
        ("rlvr", {"lora": {"dropout": 1}}, "lora.dropout: "),
    ],
)
def test_a_fault_is_one_sentence_that_names_the_place(
    tmp_path: Path, method: str, change: dict[str, Any], words: str
) -> None:
    assert words in refused(written(tmp_path, good(method, **change)), method)


@pytest.mark.parametrize("key", ["model", "output_path", "data"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    whole = good("rlvr")
    del whole[key]
    path = written(tmp_path, whole)
    assert refused(path, "rlvr") == f"{path}: {key} is missing"


def test_permix_without_a_word_of_personas_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, good("rlvr"))
    assert read_config(path, "rlvr").personas is None
    assert "permix needs them" in refused(path, "permix")


def test_files_that_hold_no_run_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "model: x\ndata: [1\nseed: 3\n")
    assert refused(path, "rlvr").startswith(f"{path}:3: not YAML (")
    for text in ("", "- model\n- data\n", "a run\n"):
        assert "is a mapping with model, output_path and data" in refused(
            written(tmp_path, text), "rlvr"
        )
    twice = written(tmp_path, "model: x\ndata:\n  path: a\n  path: b\n")
    assert refused(twice, "rlvr") == f"{path}:4: the key 'path' stands twice; keep one"
    itself = written(tmp_path, "model: &x [*x]\n")
    assert refused(itself, "rlvr").startswith(f"{path}: ")
    path.write_bytes(b"\xff\xfe\x00\x81")
    assert "not YAML" in refused(path, "rlvr")
    assert "can't be read (No such file" in refused(tmp_path / "absent.yaml", "rlvr")
    assert "can't be read (" in refused(tmp_path, "rlvr")


# ---------------------------------------------------------------------- overrides


def test_options_replace_the_files_values(tmp_path: Path) -> None:
    path = written(tmp_path, good("distill", seed=4, teacher={"model": "a/b", "samples": 2}))
    config = read_config(path, "distill", {"seed": 9, "teacher.model": "c/d"})
    assert config.teacher
    assert (config.seed, config.teacher.model, config.teacher.samples) == (9, "c/d", 2)
    zero = read_config(path, "distill", {"seed": 0})
    assert zero.seed == 0


def test_none_overrides_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, good("distill", seed=4))
    given = read_config(path, "distill", {"seed": None, "teacher.model": None, "model": None})
    assert given == read_config(path, "distill")
    assert given.seed == 4


def test_an_override_may_bring_a_part_that_the_file_has_not(tmp_path: Path) -> None:
    whole = good("distill")
    del whole["teacher"]
    path = written(tmp_path, whole)
    config = read_config(path, "distill", {"teacher.model": "c/d"})
    assert config.teacher
    assert config.teacher.model == "c/d"
    # nor does a None bring an empty part
    assert "teacher: distill needs one" in refused(path, "distill", **{"teacher.model": None})


def test_an_override_is_checked_like_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, good("rlvr"))
    assert "seed: " in refused(path, "rlvr", seed=-3)
    assert "the other methods have none" in refused(path, "rlvr", **{"teacher.model": "x"})


@pytest.mark.parametrize("teacher", [None, "org/large"])
def test_an_override_of_a_part_that_is_no_mapping_is_no_crash(
    tmp_path: Path, teacher: str | None
) -> None:
    path = written(tmp_path, good("distill", teacher=teacher))
    try:
        config = read_config(path, "distill", {"teacher.model": "c/d"})
    except TrainError:
        return
    assert config.teacher
    assert config.teacher.model == "c/d"
