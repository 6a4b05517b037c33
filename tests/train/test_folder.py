"""A run's output folder belongs to one run, and its card says what was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from persona_bench.provenance import versions
from persona_bench.train.card import METHODS, model_card
from persona_bench.train.config import METHODS as METHOD_NAMES
from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.folder import FINISHED, SETTINGS, as_data, begin, finished


def config(folder: Path, **more: Any) -> TrainConfig:
    whole = {
        "method": "permix",
        "model": "org/name",
        "output_path": folder,
        "seed": 3,
        "data": {"source": "arithmetic", "levels": ["2", "3"]},
        "personas": {"mix_ratio": 0.25, "weights": {"expert": 2}},
        "trainer": {"learning_rate": 2e-5, "max_steps": 40, "report_to": "none"},
    }
    return TrainConfig(**{**whole, **more})


def test_a_run_with_the_same_settings_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "out"
    begin(config(run))
    (run / "checkpoint-10").mkdir()
    begin(config(run))
    assert (run / "checkpoint-10").is_dir()
    noted = yaml.safe_load((run / SETTINGS).read_text())
    assert noted == as_data(config(run))
    assert (noted["seed"], noted["trainer"]["learning_rate"]) == (3, 2e-5)
    assert "output_path" not in noted


def test_a_folder_that_was_moved_goes_on(tmp_path: Path) -> None:
    begin(config(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    begin(config(tmp_path / "there"))


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"seed": 4}, "seed"),
        ({"trainer": {"max_steps": 41}, "dtype": "float32"}, "dtype, trainer"),
        ({"personas": {"mix_ratio": 0.26, "weights": {"expert": 2}}}, "personas"),
        ({"method": "rlvr", "personas": None}, "method, personas"),
        ({"lora": {}}, "lora"),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], keys: str
) -> None:
    begin(config(tmp_path))
    before = (tmp_path / SETTINGS).read_text()
    with pytest.raises(TrainError) as caught:
        begin(config(tmp_path, **change))
    assert str(caught.value).startswith(f"{tmp_path} holds a run with other settings ({keys}): ")
    assert (tmp_path / SETTINGS).read_text() == before


def test_a_folder_with_other_files_is_refused_and_an_empty_one_taken(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    begin(config(foreign))
    (foreign / SETTINGS).unlink()
    (foreign / "thesis.tex").write_text("do not lose")
    with pytest.raises(TrainError, match="is not empty and holds no training run"):
        begin(config(foreign))
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


def test_a_run_is_finished_when_it_has_ended_with_these_settings(tmp_path: Path) -> None:
    run = tmp_path / "out"
    assert not finished(config(run))
    begin(config(run))
    assert not finished(config(run))
    (run / FINISHED).write_text("{}")
    assert finished(config(run))
    assert not finished(config(run, seed=4))
    (run / SETTINGS).unlink()
    assert not finished(config(run))


@pytest.mark.parametrize("broken", ["cut off", "a file"])
def test_a_folder_that_cannot_be_one_is_refused_in_words(tmp_path: Path, broken: str) -> None:
    run = tmp_path / "out"
    if broken == "cut off":  # killed while the settings were written
        run.mkdir()
        (run / SETTINGS).write_text("")
    else:
        run.write_text("")
    with pytest.raises(TrainError):
        begin(config(run))


# ---------------------------------------------------------------------- the card


def card(**more: Any) -> str:
    made = {
        "settings": as_data(config(Path("out"))),
        "versions": {**versions(()), "trl": "1.2.3"},
        "steps": 40,
        "questions": 400,
        "sources": [
            {"source": "hub:org/data", "commit": "c" * 40, "questions": 400, "prompts": 30},
            {"source": "arithmetic", "questions": 10, "prompts": 10},
        ],
        "personas": ["a", "b", "c"],
    }
    return model_card({**made, **more})


def front_of(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_the_card_says_how_the_checkpoint_was_made() -> None:
    text = card()
    for words in (
        "# name, permix\n",
        METHODS["permix"],
        "40 steps from `org/name`, seed 3,",
        "- **Data:** 400 questions of levels 2, 3: `hub:org/data` at cccccccccccc (400 questions, "
        "30 prompts); `arithmetic` (10 questions, 10 prompts)\n",
        "- **Personas:** set `train` (3 personas), mix_ratio 0.25, a persona a group\n",
        *(f"{name} {version}" for name, version in versions(()).items()),
        "trl 1.2.3\n",
    ):
        assert words in text, words
    assert "Teacher" not in text


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("model", ["org/name", "/deep: a/#folder/checkpoint-5/"])
def test_its_front_matter_and_its_settings_are_yaml(method: str, model: str) -> None:
    more = {"teacher": {"model": "org/large"}} if method == "distill" else {}
    personas = {"group": "question"} if method == "permix" else None
    settings = as_data(config(Path("out"), method=method, model=model, personas=personas, **more))
    text = card(settings=settings) if personas else _without_personas(settings)
    assert front_of(text) == {
        "base_model": model,
        "library_name": "transformers",
        "tags": ["persona-bench", "trl", method],
    }
    assert yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]) == settings
    assert METHODS[method] in text
    assert ("- **Personas:** none" in text) == (personas is None)
    assert ("a question a group" in text) == (personas is not None)


def _without_personas(settings: dict[str, Any]) -> str:
    made = {"settings": settings, "versions": {}, "steps": 1, "questions": 1, "sources": []}
    return model_card(made)


def test_a_teacher_is_named() -> None:
    assert "- **Teacher:** org/large, 4 samples\n" in card(teacher="org/large, 4 samples")
