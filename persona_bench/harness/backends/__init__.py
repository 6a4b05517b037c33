"""What each of lm-eval's backends needs so that its responses can be stored as they come.

lm-eval hands out plain strings, at the end. Here its models are listened to while they work: its
cache hook says when a response is there, and what the engine said of it (how it ended, how many
tokens, the reasoning) is taken along.
"""

from __future__ import annotations

from lm_eval.api.model import LM
from lm_eval.models.api_models import TemplateAPI

from persona_bench.harness.backends.base import Backend, BackendError, Finished
from persona_bench.harness.backends.endpoint import Endpoint
from persona_bench.harness.backends.huggingface import HuggingFace
from persona_bench.harness.backends.vllm import VLLM

__all__ = ["Backend", "BackendError", "backend_of"]


def backend_of(lm: LM, finished: Finished) -> Backend:
    """The backend that fits an lm-eval model.

    Args:
        lm: The model; its methods are wrapped in place.
        finished: Is called with each response as it comes.
    """
    asks_as_usual = type(lm).generate_until is TemplateAPI.generate_until
    if isinstance(lm, TemplateAPI) and asks_as_usual:
        return Endpoint(lm, finished)
    names = {kind.__name__ for kind in type(lm).__mro__}
    if "HFLM" in names:
        return HuggingFace(lm, finished)
    return VLLM(lm, finished) if "VLLM" in names else Backend(lm, finished)
