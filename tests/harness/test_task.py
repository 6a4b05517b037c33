"""The task class with a real tokenizer: what it refuses, records and takes for truncated."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from persona_bench.harness.knobs import KnobError
from persona_bench.harness.tasks import PersonaTask
from persona_bench.rendering import MissingPersonaError
from persona_bench.resources import resource_folder
from tests.test_rendering import CHATML, GEMMA3, REFUSES, as_lm_eval


class Backend:
    """What a task sees of lm-eval's hf backend: a tokenizer, a template, a context length."""

    tokenizer_name = "org__model"
    max_gen_toks = 256

    def __init__(self, tokenizer: Any, template: str = CHATML, max_length: int = 8192) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._apply = as_lm_eval(template)

    def apply_chat_template(self, messages: Any, add_generation_prompt: bool = True) -> str:
        return self._apply(messages)

    def tok_encode(self, text: str, **kwargs: Any) -> list[int]:
        encoded: list[int] = self.tokenizer.encode(text, **kwargs)
        return encoded


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2)


def task(**metadata: Any) -> PersonaTask:
    manager = TaskManager(
        include_path=str(resource_folder("tasks")),
        include_defaults=False,
        metadata={"persona_set": "demo", "n_questions": 5, **metadata},
    )
    loaded = manager.load(["persona_arithmetic"])["tasks"]["persona_arithmetic"]
    assert isinstance(loaded, PersonaTask)
    loaded.set_config("num_fewshot", 0)
    return loaded


def build(loaded: PersonaTask, backend: Backend, **more: Any) -> dict[str, Any]:
    loaded.build_all_requests(
        apply_chat_template=True, chat_template=backend.apply_chat_template, **more
    )
    record: dict[str, Any] = loaded.config.metadata["persona_bench"]
    return record


def test_the_record_says_how_it_was_done(tokenizer: Any) -> None:
    loaded = task(persona_seed=3)
    record = build(loaded, Backend(tokenizer))
    assert record["default_system"] == "You are a default."
    assert record["template_system_role"] == "system"
    assert record["persona_seed"] == 3
    assert len(record["personas"]) == 6
    assert len(loaded.instances) == 30
    assert "persona_bench" in loaded.dump_config()["metadata"]


def test_the_record_names_the_training_of_the_checkpoint(tokenizer: Any, tmp_path: Path) -> None:
    assert "training" not in build(task(pretrained="ORG/MODEL"), Backend(tokenizer))
    (tmp_path / "train.yaml").write_text("method: permix\nseed: 3\n")
    record = build(task(pretrained=str(tmp_path)), Backend(tokenizer))
    assert record["training"] == {"method": "permix", "seed": 3}


def test_a_template_that_drops_the_persona_stops_the_run(tokenizer: Any) -> None:
    with pytest.raises(MissingPersonaError, match=r"chat template of org/model.*merge"):
        build(task(), Backend(tokenizer, REFUSES))
    record = build(task(system_role="merge"), Backend(tokenizer, REFUSES))
    assert record["template_system_role"] == "dropped"


def test_a_template_that_folds_the_persona_passes_unless_that_is_an_error(tokenizer: Any) -> None:
    assert build(task(), Backend(tokenizer, GEMMA3))["template_system_role"] == "folded"
    with pytest.raises(MissingPersonaError, match="system_role is 'error'"):
        build(task(system_role="error"), Backend(tokenizer, GEMMA3))
    build(task(system_role="error"), Backend(tokenizer, CHATML))


@pytest.mark.parametrize("alias", ["max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_a_length_under_any_of_its_names_replaces_the_yaml_s(tokenizer: Any, alias: str) -> None:
    loaded = task()
    loaded.set_config("generation_kwargs", {alias: 16}, update=True)
    build(loaded, Backend(tokenizer))
    gen = loaded.instances[0].args[1]
    assert gen["max_gen_toks"] == 16
    assert alias not in gen


def test_ranks_that_hold_the_same_prompts_draw_from_seeds_of_their_own(tokenizer: Any) -> None:
    """lm-eval seeds every rank alike, and deals out the samples of a cell one to each."""
    import torch

    drawn, prompts = [], []
    for rank in range(2):
        torch.manual_seed(1234)  # as simple_evaluate does
        loaded = task(samples=2)
        loaded.set_config("generation_kwargs", {"do_sample": True, "temperature": 1.0}, update=True)
        build(loaded, Backend(tokenizer), rank=rank, world_size=2)
        prompts.append([instance.args[0] for instance in loaded.instances])
        drawn.append(torch.rand(1).item())
    assert prompts[0] == prompts[1]
    assert drawn[0] != drawn[1]


def test_a_template_whose_error_comes_through_can_still_be_merged(tokenizer: Any) -> None:
    """sglang and tokenized API backends don't catch a template that refuses."""

    def apply(messages: list[dict[str, str]], **_: Any) -> str:
        if messages[0]["role"] == "system":
            raise RuntimeError("System role not supported")
        return messages[0]["content"]

    backend = Backend(tokenizer)
    backend._apply = apply
    assert build(task(system_role="merge"), backend)["template_system_role"] == "dropped"


def test_a_prompt_that_would_be_cut_from_the_left_is_refused(tokenizer: Any) -> None:
    with pytest.raises(MissingPersonaError, match=r"max_gen_toks=\d+"):
        build(task(), Backend(tokenizer, max_length=200))


def test_without_a_chat_template_a_warning_says_what_is_measured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loaded = task()
    with caplog.at_level(logging.WARNING, logger="persona_bench"):
        loaded.build_all_requests()
    assert "measures a text completion" in caplog.text
    pirate = next(i for i in loaded.instances if i.doc["persona"] == "pirate")
    assert pirate.args[0] == f"{pirate.doc['persona_prompt']}\n\n{pirate.doc['prompt']}"


def test_cached_requests_are_not_used_as_their_key_lacks_the_personas(
    tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="persona_bench"):
        build(task(), Backend(tokenizer), cache_requests=True)
    assert "--cache_requests is not used" in caplog.text


@pytest.mark.parametrize(
    ("sampling", "refused"),
    [
        ({"do_sample": False}, True),
        ({"temperature": 0.0}, True),
        ({"do_sample": True, "temperature": 0.0}, True),
        ({"temperature": 0.7}, True),  # the task's own do_sample: false makes it greedy
        ({"do_sample": True, "temperature": 0.7}, False),
        ({"do_sample": True}, True),  # greedy on vllm and API backends
    ],
)
def test_samples_that_would_all_be_the_same_are_refused(
    tokenizer: Any, sampling: dict[str, Any], refused: bool
) -> None:
    loaded = task(samples=2)
    loaded.set_config("generation_kwargs", sampling, update=True)
    if refused:
        with pytest.raises(KnobError, match="greedy"):
            build(loaded, Backend(tokenizer))
    else:
        build(loaded, Backend(tokenizer))
        assert len(loaded.instances) == 60


def test_truncated_is_told_by_the_model_s_own_tokens(tokenizer: Any) -> None:
    loaded = task()
    loaded.set_config("generation_kwargs", {"max_gen_toks": 40}, update=True)
    build(loaded, Backend(tokenizer))
    rambling = "so we add the numbers, and then we add them once more, and then " * 20
    ids = tokenizer.encode(rambling, add_special_tokens=False)
    responses = {
        "cut": tokenizer.decode(ids[:40]),
        "short": tokenizer.decode(ids[:30]),
        "answered": "The answer is \\boxed{10}. " + tokenizer.decode(ids[:40]),
    }
    for instance, text in zip(loaded.instances, responses.values(), strict=False):
        instance.resps = [text]
    for instance in loaded.instances[3:]:
        instance.resps = [None]
    loaded.apply_filters()
    found = [loaded.process_results(i.doc, [])["acc"] for i in loaded.instances]
    assert [f["reason"] for f in found[:2]] == ["truncated", "no_answer"]
    assert (found[2]["verdict"] == "correct") == (loaded.instances[2].doc["answer"] == "10")
    assert found[2]["reason"] in ("", "wrong_answer")
    assert {(f["verdict"], f["reason"]) for f in found[3:]} == {("unscored", "api_error")}


@pytest.mark.parametrize("end", [None, "</think>"])
def test_reasoning_that_began_in_the_prompt_is_not_graded(tokenizer: Any, end: str | None) -> None:
    """As DeepSeek-R1's template has it; with an end token lm-eval takes off what it finds it in."""
    backend = Backend(tokenizer, CHATML + "<think>\n")
    backend.think_end_token = end  # type: ignore[attr-defined]
    loaded = task()
    loaded.set_config("generation_kwargs", {"max_gen_toks": 40}, update=True)
    build(loaded, backend)
    right = [instance.doc["answer"] for instance in loaded.instances]
    draft = f"maybe \\boxed{{{right[0]}}} or not, so we add the numbers once more and then " * 20
    cut = tokenizer.decode(tokenizer.encode(draft, add_special_tokens=False)[:40])
    ended = f"\\boxed{{{right[1]}}}" if end else f"is it 999?</think>\\boxed{{{right[1]}}}"
    for instance in loaded.instances:
        instance.resps = [ended]
    loaded.instances[0].resps = [cut]
    loaded.apply_filters()
    found = [loaded.process_results(i.doc, [])["acc"] for i in loaded.instances]
    assert (found[0]["verdict"], found[0]["reason"]) == ("wrong", "truncated")
    assert found[0]["reasoning_start"] == "<think>"
    assert found[1]["verdict"] == "correct"
    assert found[1]["route"] == "boxed"


def test_a_sample_that_only_predicts_is_not_graded() -> None:
    loaded = task()
    loaded.build_all_requests()
    loaded.override_metric("bypass")
    for instance in loaded.instances:
        instance.resps = ["The answer is 3."]
    loaded.apply_filters()
    assert loaded.process_results(loaded.instances[0].doc, ["x"]) == {"bypass": 999}
