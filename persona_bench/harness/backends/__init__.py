"""What each of lm-eval's backends needs so that its responses can be stored as they come.

lm-eval hands out plain strings, at the end. Here its models report while they work: lm-eval's cache
hook says when a response is there, and a class derived from lm-eval's says how it ended, how many
tokens it has and what the reasoning was. Endpoints are asked with the requests that lm-eval makes.
"""

from __future__ import annotations

from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.models.api_models import TemplateAPI

from persona_bench.harness.backends.base import Backend, BackendError, Finished, is_one_of
from persona_bench.harness.backends.endpoint import Endpoint, LiteLLM
from persona_bench.harness.backends.huggingface import HuggingFace, ReportingHFLM
from persona_bench.harness.backends.vllm import VLLM, ReportingVLLM

__all__ = ["Backend", "BackendError", "backend_of", "model_class"]


def model_class(name: str) -> Any:
    """The class of lm-eval's backend `name`, derived so that it reports to the store."""
    kind = get_model(name)
    if is_one_of(kind, "huggingface", "HFLM"):
        base: type = ReportingHFLM
    elif is_one_of(kind, "vllm_causallms", "VLLM"):
        base = ReportingVLLM
    else:
        return kind
    return type(kind.__name__, (base, kind), {"__module__": kind.__module__})


def backend_of(lm: LM, finished: Finished) -> Backend:
    """The backend that fits a model.

    Args:
        lm: The model; one that computes here is of a `model_class`, or how its responses ended
            stays unknown.
        finished: Is called with each response as it comes.
    """
    if is_one_of(type(lm), "litellm_llms", "LiteLLMChatCompletion"):
        return LiteLLM(lm, finished)
    if isinstance(lm, TemplateAPI) and all(
        getattr(type(lm), name) is getattr(TemplateAPI, name)
        for name in ("generate_until", "model_call", "amodel_call")
    ):
        return Endpoint(lm, finished)
    if isinstance(lm, ReportingHFLM):
        return HuggingFace(lm, finished)
    return VLLM(lm, finished) if isinstance(lm, ReportingVLLM) else Backend(lm, finished)
