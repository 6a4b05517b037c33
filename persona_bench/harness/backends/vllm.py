"""vLLM's engine, response by response."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.utils import postprocess_generated_text

from persona_bench.harness.backends.base import Backend, Finished
from persona_bench.harness.backends.request import Generated, Request, split_reasoning


class VLLM(Backend):
    """vLLM: everything at once, and each response stored as the engine finishes it.

    lm-eval hands out vLLM's responses when the last one is there, hours later for a thinking
    model: here the engine is listened to, step by step.
    """

    tells_finish = True

    def __init__(self, lm: LM, finished: Finished) -> None:
        super().__init__(lm, finished)
        self._encode, self._generate = self.lm.tok_encode, self.lm._model_generate
        self.lm.tok_encode, self.lm._model_generate = self._encoding, self._generating
        self._waiting: dict[tuple[int, ...], deque[Request]] = {}
        engine = getattr(getattr(self.lm, "model", None), "llm_engine", None)
        if engine is not None:  # several engines run in processes of their own
            self._step = engine.step
            engine.step = self._stepping

    def ask(self, requests: Sequence[Request], **kwargs: Any) -> None:
        """As every backend; nothing waits from before."""
        self._waiting.clear()
        super().ask(requests, **kwargs)

    def tagged(self, request: Request) -> Any:
        """With a seed of its own where decoding samples."""
        if request.seed is None:
            return request.tagged()
        return request.tagged({**request.given, "seed": request.seed})

    def _encoding(self, string: Any, *args: Any, **kwargs: Any) -> Any:
        tokens = self._encode(string, *args, **kwargs)
        if not isinstance(string, str):
            for text, each in zip(string, tokens, strict=True):
                if hasattr(text, "request"):
                    self._waiting.setdefault(tuple(each), deque()).append(text.request)
        return tokens

    def _stepping(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self._step(*args, **kwargs)
        for output in outputs:
            waiting = self._waiting.get(tuple(output.prompt_token_ids or ()))
            # samples of one prompt are draws alike; else it is known only at the end whose it is
            if output.finished and waiting and _alike(waiting):
                request, said = waiting.popleft(), output.outputs[0]
                until = list(request.gen_kwargs.get("until") or [])
                end = getattr(self.lm, "think_end_token", None)
                response = postprocess_generated_text(said.text, until, end)
                self.finish(request, self.made(self._tell(said), response))
        return outputs

    def _generating(self, requests: Any, generate: bool = False, **kwargs: Any) -> Any:
        outputs = self._generate(requests, generate=generate, **kwargs)
        if generate:
            self.told = deque(self._tell(output.outputs[0]) for output in outputs)
        return outputs

    def _tell(self, output: Any) -> Generated:
        finish = "length" if output.finish_reason == "length" else "stop"
        end = getattr(self.lm, "think_end_token", None)
        answer, reasoning = split_reasoning(output.text, end, finish)
        return Generated(answer, finish, reasoning, len(output.token_ids))


def _alike(requests: deque[Request]) -> bool:
    return all(each.gen_kwargs == requests[0].gen_kwargs for each in requests)
