"""The classes of models that report to the store."""

from __future__ import annotations

from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model

from persona_bench.harness.backends import backend_of, model_class
from persona_bench.harness.backends.request import Generated, Request
from persona_bench.harness.caching_lm import CachingLM
from persona_bench.harness.store import RecordLog
from persona_bench.harness.tasks import model_of


class Echo(LM):
    """A model of somebody else's, which answers with the prompt."""

    max_gen_toks = 16

    def generate_until(self, requests: list[Instance], **_: Any) -> list[str]:
        return [str(each.args[0]) for each in requests]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError

    def apply_chat_template(self, history: list[dict[str, str]], **_: Any) -> str:
        return history[-1]["content"]


@pytest.mark.parametrize("name", ["hf", "dummy", "local-chat-completions"])
def test_a_model_that_reports_is_of_the_class_that_lm_eval_registers(name: str) -> None:
    kind = model_class(name)
    assert issubclass(kind, get_model(name))
    assert kind.__name__ == get_model(name).__name__


def test_a_model_of_another_class_keeps_its_methods_and_its_responses_are_reported() -> None:
    lm, finished = Echo(), dict[str, Generated]()
    before = {name for name in vars(lm) if name != "cache_hook"}
    backend = backend_of(lm, lambda request, made: finished.update({request.key: made}))
    instance = Instance("generate_until", {}, ("What is 1 + 1?", {"until": []}), 0)
    request = Request("key", "What is 1 + 1?", "What is 1 + 1?", {}, {}, None, instance)
    backend.generate([request], {"key"})
    assert finished == {"key": Generated("What is 1 + 1?")}
    assert set(vars(lm)) - {"cache_hook"} == before
    assert not backend.tells_finish


def test_a_task_finds_the_model_with_its_store_by_the_method_that_lm_eval_passes(
    tmp_path: Any,
) -> None:
    lm = CachingLM(Echo(), RecordLog(tmp_path, {}), "0" * 64, seed=0)
    assert model_of(lm.apply_chat_template) is lm
    assert lm.apply_chat_template([{"role": "user", "content": "Hello"}]) == "Hello"
    assert lm.max_gen_toks == Echo.max_gen_toks
    assert model_of(None) is None
