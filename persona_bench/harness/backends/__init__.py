"""What each of lm-eval's backends needs so that its responses can be stored as they come.

lm-eval hands out plain strings, at the end. Here its models are listened to while they work: its
cache hook says when a response is there, and what the engine said of it (how it ended, how many
tokens, the reasoning) is taken along. Endpoints are asked with the requests that lm-eval makes.
"""

from __future__ import annotations

from lm_eval.api.model import LM
from lm_eval.models.api_models import TemplateAPI

from persona_bench.harness.backends.base import Backend, BackendError, Finished
from persona_bench.harness.backends.endpoint import Endpoint, LiteLLM
from persona_bench.harness.backends.huggingface import HuggingFace
from persona_bench.harness.backends.vllm import VLLM

__all__ = ["Backend", "BackendError", "backend_of"]


def backend_of(lm: LM, finished: Finished) -> Backend:
    """The backend that fits an lm-eval model.

    Args:
        lm: The model; those that compute here have their methods wrapped in place.
        finished: Is called with each response as it comes.
    """
    names = {kind.__name__ for kind in type(lm).__mro__}
    if "LiteLLMChatCompletion" in names:
        return LiteLLM(lm, finished)
    if isinstance(lm, TemplateAPI) and all(
        getattr(type(lm), name) is getattr(TemplateAPI, name)
        for name in ("generate_until", "model_call", "amodel_call")
    ):
        return Endpoint(lm, finished)
    if "HFLM" in names:
        return HuggingFace(lm, finished)
    return VLLM(lm, finished) if "VLLM" in names else Backend(lm, finished)
