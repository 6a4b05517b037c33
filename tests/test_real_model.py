"""lm_eval itself, as a user types it, on the real SmolLM2-135M-Instruct."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_bench import load_persona_set, read_outcomes, stability
from persona_bench.benchmarks import arithmetic, math500
from persona_bench.harness.run import run
from persona_bench.personas import PersonaSet
from persona_bench.rendering import MissingPersonaError
from persona_bench.results.schema import COLUMNS

LmEval = Callable[..., subprocess.CompletedProcess[str]]

DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def run_task(
    lm_eval: LmEval, model: Path, tmp_path: Path, task: str, *more: str, **knobs: object
) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The samples, the results file and the printed table of one run."""
    arguments = ["--model", "hf", "--model_args", f"pretrained={model},dtype=float32"]
    arguments += ["--tasks", task, "--apply_chat_template", "--metadata", json.dumps(knobs)]
    arguments += ["--batch_size", "32", "--log_samples", "--output_path", "out", *more]
    done = lm_eval(*arguments, cwd=tmp_path)
    (samples,) = tmp_path.glob(f"out/*/samples_{task}_*.jsonl")
    (results,) = tmp_path.glob("out/*/results_*.json")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    return rows, json.loads(results.read_text()), done.stdout


def assert_personas_are_where_they_belong(rows: list[dict[str, Any]], personas: PersonaSet) -> None:
    """Each persona's text is in its own prompts, as the system message, and in no other."""
    assert {row["doc"]["persona"] for row in rows} == {p.id for p in personas}
    for row in rows:
        prompt = row["arguments"]["gen_args_0"]["arg_0"]
        assert row["doc"]["prompt"] in prompt
        for persona in personas:
            own = row["doc"]["persona"] == persona.id
            if persona.prompt:
                assert (f"<|im_start|>system\n{persona.prompt}<|im_end|>" in prompt) == own
                assert (persona.prompt in prompt) == own
            elif own:
                assert prompt.startswith(f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>")
        assert (DEFAULT_SYSTEM in prompt) == (row["doc"]["persona"] == "none")


def test_arithmetic_under_the_demo_personas(lm_eval: LmEval, smollm2: Path, tmp_path: Path) -> None:
    rows, results, table = run_task(
        lm_eval,
        smollm2,
        tmp_path,
        "persona_arithmetic",
        "--gen_kwargs",
        "max_gen_toks=40",
        persona_set="demo",
        n_questions=5,
    )
    assert len(rows) == 30
    assert_personas_are_where_they_belong(rows, load_persona_set("demo"))
    record = results["configs"]["persona_arithmetic"]["metadata"]["persona_bench"]
    assert record["default_system"] == DEFAULT_SYSTEM
    assert record["template_system_role"] == "system"
    assert record["personas"] == [p.id for p in load_persona_set("demo")]
    assert "noise_floor" in table

    # the verdicts, held against the answers read by eye-simple means
    golds = {q.id: q.answer for q in arithmetic.load(None, 0)}
    for row in rows:
        assert row["doc"]["answer"] == golds[row["doc"]["question"]]
        if row["acc"]["verdict"] == "correct":
            assert row["doc"]["answer"] in row["resps"][0][0].replace(",", "")

    outcomes = read_outcomes(tmp_path / "out")
    assert tuple(outcomes.columns) == COLUMNS
    assert list(outcomes["response"]) == [row["resps"][0][0] for row in rows]
    scored = stability(outcomes, resamples=100)
    assert scored.mean == pytest.approx(results["results"]["persona_arithmetic"]["acc,none"])
    assert scored.pss == pytest.approx(results["results"]["persona_arithmetic"]["pss,none"])


def test_real_math500_under_the_core_personas(
    lm_eval: LmEval, smollm2: Path, data_dir: Path, tmp_path: Path
) -> None:
    rows, results, _ = run_task(
        lm_eval,
        smollm2,
        tmp_path,
        "persona_math500",
        "--limit",
        "16",
        "--gen_kwargs",
        "max_gen_toks=24",
        data_dir=str(data_dir),
    )
    core = load_persona_set("core")
    assert len(rows) == len(core) == 16
    assert_personas_are_where_they_belong(rows, core)
    (question,) = {row["doc"]["question"] for row in rows}
    assert question == math500.load(data_dir)[0].id
    # 24 tokens are too few to finish: what was cut off is told apart from a wrong answer
    assert any(row["acc"]["reason"] == "truncated" for row in rows)
    assert all(0 < row["acc"]["tokens"] <= 26 for row in rows)
    assert results["results"]["persona_math500"]["unscored,none"] == 0


REFUSES_SYSTEM = """{% for message in messages %}{% if message['role'] == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def no_system_role(smollm2: Path, tmp_path: Path) -> Path:
    """The model with a template that refuses system messages."""
    checkpoint = tmp_path / "no-system-role"
    checkpoint.mkdir()
    for file in smollm2.iterdir():
        (checkpoint / file.name).symlink_to(file)
    (checkpoint / "chat_template.jinja").unlink()
    (checkpoint / "chat_template.jinja").write_text(REFUSES_SYSTEM)
    return checkpoint


def test_a_checkpoint_whose_template_refuses_system_messages(smollm2: Path, tmp_path: Path) -> None:
    """lm-eval's hf backend drops the system message there, with a warning: personas vanish."""
    checkpoint = no_system_role(smollm2, tmp_path)
    settings: dict[str, Any] = {
        "model": "hf",
        "model_args": {"pretrained": str(checkpoint), "dtype": "float32"},
        "tasks": ["persona_arithmetic"],
        "output_path": tmp_path / "out",
        "gen_kwargs": {"max_gen_toks": 8},
        "batch_size": "6",
    }
    knobs = {"persona_set": "demo", "n_questions": 1}
    with pytest.raises(MissingPersonaError, match=r"no-system-role.*system_role.*merge"):
        run(metadata=knobs, **settings)
    assert not list((tmp_path / "out").rglob("samples_*"))

    run(metadata={**knobs, "system_role": "merge"}, **settings)
    (samples,) = (tmp_path / "out").rglob("samples_*.jsonl")
    for row in map(json.loads, samples.read_text().splitlines()):
        prompt = row["arguments"]["gen_args_0"]["arg_0"]
        persona = row["doc"]["persona_prompt"]
        assert prompt.startswith(f"<|im_start|>user\n{persona}")


@pytest.mark.slow
def test_the_reasoning_of_a_real_model_is_kept_apart(smollm2: Path, tmp_path: Path) -> None:
    """A full stop stands for the end of the reasoning, as this model has none of its own."""
    records: dict[str, list[dict[str, Any]]] = {}
    for name, thinks in (("plain", {}), ("thinks", {"think_end_token": "."})):
        run(
            model="hf",
            model_args={"pretrained": str(smollm2), "dtype": "float32", **thinks},
            tasks=["persona_arithmetic"],
            output_path=tmp_path / name,
            metadata={"persona_set": "demo", "n_questions": 2},
            gen_kwargs={"max_gen_toks": 40},
            batch_size="12",
        )
        (segment,) = tmp_path.glob(f"{name}/store/generations/*/*.jsonl")
        lines = segment.read_text().splitlines()[1:]
        records[name] = sorted(map(json.loads, lines), key=lambda each: str(each["prompt"]))
    kinds = set()
    for plain, thought in zip(records["plain"], records["thinks"], strict=True):
        text, cut = plain["response"], plain["finish"] == "length"
        assert thought["finish"] == plain["finish"]
        assert thought["tokens"] == plain["tokens"]
        assert plain["tokens"] == 40 or not cut
        if "." in text:
            kinds.add("thought")
            assert thought["reasoning"] == text[: text.rindex(".") + 1]
            assert thought["response"] == text[text.rindex(".") + 1 :].lstrip()
        elif cut:
            kinds.add("cut off")
            assert (thought["reasoning"], thought["response"]) == (text, "")
        else:
            kinds.add("did not think")
            assert (thought.get("reasoning"), thought["response"]) == (None, text)
    assert "thought" in kinds
