"""Chat templates that print today's date: a run of two days is one run."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from persona_bench import read_outcomes
from persona_bench.harness import chat_date
from persona_bench.harness.dry_run import plan_run
from persona_bench.harness.merge import MergeError, merge
from persona_bench.harness.run import Asked, run
from tests.support.tiny_model import tiny_model

# as published models write them, shortened: a date in front of the system message, one in a default
# system message with yesterday worked out from its parts, one as an ISO date
LIKE_LLAMA = """\
{%- if not date_string is defined %}{%- if strftime_now is defined %}\
{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}\
{%- set date_string = "26 Jul 2024" %}{%- endif %}{%- endif %}\
{%- if messages[0].role == "system" %}{%- set system = messages[0].content %}\
{%- set messages = messages[1:] %}{%- else %}{%- set system = "" %}{%- endif %}\
<|system|>Today Date: {{ date_string }}\n\n{{ system }}<|end|>\
{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{%- endfor %}\
{%- if add_generation_prompt %}<|assistant|>{%- endif %}"""
LIKE_MISTRAL = """\
{%- set today = strftime_now("%Y-%m-%d") %}\
{%- set yesterday = strftime_now("%d") | int - 1 %}\
{%- set default = "You are Small. It is " + today + ", a day after the " + yesterday|string %}\
{%- if messages[0].role == "system" %}{%- set system = messages[0].content %}\
{%- set messages = messages[1:] %}{%- else %}{%- set system = default %}{%- endif %}\
[SYSTEM]{{ system }}[/SYSTEM]{%- for m in messages %}[INST]{{ m.content }}[/INST]{%- endfor %}"""
LIKE_GPT_OSS = """\
{%- macro about() %}{{- "Current date: " + strftime_now("%Y-%m-%d") }}{%- endmacro %}\
<|start|>system<|message|>{{ about() }}<|end|>\
{%- if messages[0].role == "system" %}<|start|>developer<|message|>{{ messages[0].content }}<|end|>\
{%- set messages = messages[1:] %}{%- endif %}\
{%- for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{%- endfor %}\
<|start|>assistant"""
UNDATED = """\
{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{%- endfor %}<|assistant|>"""

TEMPLATES = {"llama": LIKE_LLAMA, "mistral": LIKE_MISTRAL, "gpt-oss": LIKE_GPT_OSS}
N_QUESTIONS = 2
PROMPTS = 6 * N_QUESTIONS


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dated")
    every = {**TEMPLATES, "undated": UNDATED}
    return {name: tiny_model(folder / name, text) for name, text in every.items()}


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the clock: that of transformers' templates and our own."""
    from transformers.utils import chat_template_utils

    def on(day: str) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Clock:
                return cls.fromisoformat(f"{day}T09:30:00")

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)
        monkeypatch.setattr(chat_date, "datetime", Clock)

    return on


def ask(model: Path, folder: Path, **knobs: Any) -> list[str]:
    """Runs the model; returns what was said to the person who waits."""
    said: list[str] = []
    run(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32"},
        tasks=["persona_arithmetic"],
        output_path=folder,
        metadata={"persona_set": "demo", "n_questions": N_QUESTIONS, **knobs},
        gen_kwargs={"max_gen_toks": 2},
        batch_size="12",
        device="cpu",
        say=said.append,
    )
    return said


def stored(folder: Path) -> list[str]:
    """The prompts of all responses in a store."""
    return [
        json.loads(line)["prompt"]
        for segment in sorted(folder.glob("store/generations/*/*.jsonl"))
        for line in segment.read_bytes().splitlines()[1:]
    ]


def recorded(folder: Path) -> dict[str, Any]:
    (file, *_) = sorted(folder.rglob("results_*.json"), reverse=True)
    configuration = json.loads(file.read_text())["configs"]["persona_arithmetic"]
    return dict(configuration["metadata"]["persona_bench"])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_run_resumed_on_another_day_asks_nothing_again(
    models: dict[str, Path], tmp_path: Path, on: Any, name: str
) -> None:
    on("2026-11-27")
    ask(models[name], tmp_path)
    assert len(stored(tmp_path)) == PROMPTS
    on("2026-12-03")
    said = ask(models[name], tmp_path)
    assert len(stored(tmp_path)) == PROMPTS
    assert any("date: 2026-11-27, as in this folder's first run" in line for line in said)
    assert recorded(tmp_path)["chat_dates"] == ["2026-11-27"]
    assert [day.isoformat() for day in chat_date.recorded_dates(tmp_path / "store")] == [
        "2026-11-27"
    ]
    # what is new is asked under the date of the first run
    ask(models[name], tmp_path, n_questions=3)
    prompts = stored(tmp_path)
    assert len(prompts) == PROMPTS + 6
    if name == "llama":
        assert all("Today Date: 27 Nov 2026" in prompt for prompt in prompts)
    assert not any("2026-12-03" in prompt or "Dec 2026" in prompt for prompt in prompts)


def test_the_pinned_date_is_what_the_template_would_have_printed(
    models: dict[str, Path], tmp_path: Path, on: Any
) -> None:
    from transformers import AutoTokenizer

    on("2026-11-27")
    messages = [{"role": "user", "content": "What is 1 + 1?"}]
    for name, model in models.items():
        tokenizer = AutoTokenizer.from_pretrained(model)
        wanted = tokenizer.apply_chat_template(messages, tokenize=False)

        class Model:
            pass

        lm = Model()
        lm.tokenizer = tokenizer  # type: ignore[attr-defined]
        dated = chat_date.pin_date(lm, date(2026, 11, 27))
        assert (dated is None) == (name == "undated")
        on("2027-01-01")
        assert tokenizer.apply_chat_template(messages, tokenize=False) == wanted
        on("2026-11-27")


def test_a_date_that_the_user_gives_counts(
    models: dict[str, Path], tmp_path: Path, on: Any
) -> None:
    on("2026-11-27")
    run(
        model="hf",
        model_args={
            "pretrained": str(models["llama"]),
            "dtype": "float32",
            "chat_template_args": {"date_string": "1 Jan 2020"},
        },
        tasks=["persona_arithmetic"],
        output_path=tmp_path,
        metadata={"persona_set": "demo", "n_questions": 1},
        gen_kwargs={"max_gen_toks": 2},
        device="cpu",
    )
    assert all("Today Date: 1 Jan 2020" in prompt for prompt in stored(tmp_path))


def test_a_template_without_a_date_leaves_no_trace(models: dict[str, Path], tmp_path: Path) -> None:
    ask(models["undated"], tmp_path)
    assert "chat_dates" not in recorded(tmp_path)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["generations"]


def test_a_dry_run_on_another_day_finds_all_done_and_writes_nothing(
    models: dict[str, Path], tmp_path: Path, on: Any
) -> None:
    asked = [
        Asked(
            "persona_arithmetic",
            {"persona_set": "demo", "n_questions": N_QUESTIONS},
            {"max_gen_toks": 2},
        )
    ]
    arguments = {"pretrained": str(models["llama"]), "dtype": "float32"}
    on("2026-11-26")
    (before,) = plan_run("hf", arguments, asked, tmp_path / "store")
    assert before.done == 0
    assert not (tmp_path / "store").exists()
    on("2026-11-27")
    ask(models["llama"], tmp_path)
    on("2026-11-28")
    (after,) = plan_run("hf", arguments, asked, tmp_path / "store")
    assert after.done == after.prompts == PROMPTS


@pytest.mark.parametrize("name", TEMPLATES)
def test_shards_of_two_days_are_joined_and_the_joined_store_holds_all(
    models: dict[str, Path], tmp_path: Path, on: Any, name: str
) -> None:
    for number, day in enumerate(("2026-11-27", "2026-11-28"), start=1):
        on(day)
        ask(models[name], tmp_path / str(number), shard=f"{number}/2")
    done = merge([tmp_path / "1", tmp_path / "2"], tmp_path / "joined")
    assert [count for *_, count in done.tasks] == [PROMPTS]
    assert recorded(tmp_path / "joined")["chat_dates"] == ["2026-11-27", "2026-11-28"]
    assert len(read_outcomes(tmp_path / "joined")) == PROMPTS
    on("2026-12-24")
    ask(models[name], tmp_path / "joined")
    assert len(stored(tmp_path / "joined")) == PROMPTS  # both days' responses were found


def test_shards_whose_default_system_differs_by_more_than_the_date_are_refused(
    models: dict[str, Path], tmp_path: Path, on: Any
) -> None:
    other = tiny_model(tmp_path / "other", LIKE_MISTRAL.replace("You are Small", "You are Large"))
    other = other.rename(tmp_path / "mistral")
    on("2026-11-27")
    ask(models["mistral"], tmp_path / "1", shard="1/2")
    ask(other, tmp_path / "2", shard="2/2")
    for file in (tmp_path / "2").rglob("results_*.json"):  # under the first one's name
        text = file.read_text().replace(str(other), str(models["mistral"]))
        file.write_text(text)
    with pytest.raises(MergeError, match="the shards differ in default_system"):
        merge([tmp_path / "1", tmp_path / "2"], tmp_path / "joined")


def test_the_earliest_date_of_a_store_counts(tmp_path: Path, on: Any) -> None:
    on("2026-11-28")
    assert chat_date.first_date(tmp_path, record=False) == date(2026, 11, 28)
    assert list(tmp_path.iterdir()) == []
    for day in (date(2026, 11, 28), date(2026, 11, 27)):
        chat_date.record_date(tmp_path, day)
    (tmp_path / "chat-date-none").touch()
    assert chat_date.first_date(tmp_path, record=True) == date(2026, 11, 27)
    assert chat_date.first_date(None, record=True) == date(2026, 11, 28)
