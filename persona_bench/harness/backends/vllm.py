"""vLLM's engine, response by response."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.utils import postprocess_generated_text

from persona_bench.harness.backends.base import Backend, Finished
from persona_bench.harness.backends.request import Generated, Request, TaggedText, split_reasoning


class ReportingVLLM:
    """A base to put before lm-eval's `VLLM`: tells the backend the prompts and the responses.

    Attributes:
        backend_of_store: Who is told; None before there is a store.
    """

    backend_of_store: VLLM | None = None

    def tok_encode(self, string: Any, *args: Any, **kwargs: Any) -> Any:
        """As lm-eval's."""
        tokens = super().tok_encode(string, *args, **kwargs)  # type: ignore[misc]
        if self.backend_of_store is not None and not isinstance(string, str):
            self.backend_of_store.encoded(string, tokens)
        return tokens

    def _model_generate(self, requests: Any, generate: bool = False, **kwargs: Any) -> Any:
        outputs = super()._model_generate(  # type: ignore[misc]
            requests, generate=generate, **kwargs
        )
        if self.backend_of_store is not None and generate:
            self.backend_of_store.generated(outputs)
        return outputs


class VLLM(Backend):
    """vLLM: everything at once, and each response stored as the engine finishes it.

    lm-eval hands out vLLM's responses when the last one is there, hours later for a thinking
    model: here the engine is listened to, step by step.
    """

    tells_finish = True

    def __init__(self, lm: LM, finished: Finished) -> None:
        super().__init__(lm, finished)
        self.lm.backend_of_store = self
        self._waiting: dict[tuple[int, ...], deque[Request]] = {}
        engine = getattr(getattr(self.lm, "model", None), "llm_engine", None)
        if engine is not None:  # several engines run in processes of their own
            # lm-eval and vLLM make the engine, with no place for a class of ours
            self._step = engine.step
            engine.step = self._stepping

    def ask(self, requests: Sequence[Request], **kwargs: Any) -> None:
        """As every backend; nothing waits from before."""
        self._waiting.clear()
        super().ask(requests, **kwargs)

    def tagged(self, request: Request) -> Any:
        """lm-eval's request, with a seed of its own where decoding samples."""
        if request.seed is None:
            return request.tagged()
        return request.tagged({**request.given, "seed": request.seed})

    def encoded(self, prompts: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
        """Notes which requests have these tokens: by them the engine's outputs are known."""
        for text, each in zip(prompts, tokens, strict=True):
            if isinstance(text, TaggedText):
                self._waiting.setdefault(tuple(each), deque()).append(text.request)

    def generated(self, outputs: Sequence[Any]) -> None:
        """Notes how each response ended, in the order in which lm-eval hands them out."""
        self.engine_outputs = deque(self._output(output.outputs[0]) for output in outputs)

    def _stepping(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self._step(*args, **kwargs)
        for output in outputs:
            waiting = self._waiting.get(tuple(output.prompt_token_ids or ()))
            # samples of one prompt are draws alike; else it is known only at the end whose it is
            if output.finished and waiting and _alike(waiting):
                request, completion = waiting.popleft(), output.outputs[0]
                until = list(request.gen_kwargs.get("until") or [])
                end = getattr(self.lm, "think_end_token", None)
                response = postprocess_generated_text(completion.text, until, end)
                self.finish(request, self.completed(self._output(completion), response))
        return outputs

    def _output(self, output: Any) -> Generated:
        finish = "length" if output.finish_reason == "length" else "stop"
        end = getattr(self.lm, "think_end_token", None)
        answer, reasoning = split_reasoning(output.text, end, finish)
        return Generated(answer, finish, reasoning, len(output.token_ids))


def _alike(requests: deque[Request]) -> bool:
    return all(each.gen_kwargs == requests[0].gen_kwargs for each in requests)
