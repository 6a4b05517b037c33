"""What each of lm-eval's backends needs so that its responses can be stored as they come.

lm-eval hands out plain strings, at the end. Here its models are listened to while they work: its
cache hook says when a response is there, and what the engine said of it (how it ended, how many
tokens, the reasoning) is taken along.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.utils import postprocess_generated_text
from tqdm import tqdm

from persona_bench.harness.request import Generated, Request, split_reasoning

Finished = Callable[[Request, Generated], None]


class BackendError(RuntimeError):
    """A backend that can't be run with the store; one sentence says what to do."""


def backend_of(lm: LM, finished: Finished) -> Backend:
    """The backend that fits an lm-eval model.

    Args:
        lm: The model; its methods are wrapped in place.
        finished: Is called with each response as it comes.
    """
    from lm_eval.models.api_models import TemplateAPI

    if isinstance(lm, TemplateAPI):
        from persona_bench.harness.endpoint import Endpoint

        return Endpoint(lm, finished)
    names = {kind.__name__ for kind in type(lm).__mro__}
    if "HFLM" in names:
        return HuggingFace(lm, finished)
    return VLLM(lm, finished) if "VLLM" in names else Backend(lm, finished)


class Backend:
    """Any model of lm-eval's: asked once for everything that is missing.

    Attributes:
        tells_finish: Whether it says how a response ended.
    """

    tells_finish = False

    def __init__(self, lm: LM, finished: Finished) -> None:
        self.lm: Any = lm
        self.told: deque[Generated] = deque()
        self._finished = finished
        self._done: set[str] = set()
        self.lm.set_cache_hook(self)
        self.lm.persona_bench = self  # the task asks it for seeds and finishes

    def generate(self, requests: Sequence[Request], missing: set[str]) -> None:
        """Asks what is missing and reports each response as it comes.

        Args:
            requests: All of the run, in order.
            missing: The keys of those to ask.
        """
        self.ask([request for request in requests if request.key in missing])

    def ask(self, requests: Sequence[Request], **kwargs: Any) -> None:
        """Asks these requests in one call of lm-eval's."""
        if not requests:
            return
        self._done.clear()
        responses = self.lm.generate_until([self.tagged(each) for each in requests], **kwargs)
        for request, response in zip(requests, responses, strict=True):
            if request.key not in self._done:  # a backend that does not call the hook
                self.finish(request, Generated(response))

    def tagged(self, request: Request) -> Any:
        """lm-eval's request for one of ours."""
        return request.tagged()

    def add_partial(self, method: str, arguments: Iterable[Any], response: Any) -> None:
        """lm-eval's cache hook: a response is there."""
        request = getattr(next(iter(arguments)), "request", None)
        if method == "generate_until" and request is not None:
            told = self.told.popleft() if self.told else Generated("")
            if request.key not in self._done:
                self.finish(request, self.made(told, str(response)))

    def made(self, told: Generated, response: str) -> Generated:
        """What the engine said of a response, with the text that lm-eval made of it."""
        end = getattr(self.lm, "think_end_token", None)
        unfinished = end is not None and told.reasoning and not told.response
        return Generated(
            response="" if unfinished else response,
            finish=told.finish,
            reasoning=told.reasoning,
            tokens=told.tokens,
        )

    def finish(self, request: Request, made: Generated) -> None:
        """Reports a response."""
        self._done.add(request.key)
        self._finished(request, made)


class HuggingFace(Backend):
    """transformers: batches whose make-up depends on the whole run alone.

    A batch is asked again in the make-up it had before, so that a run that was killed gives the
    same responses as one that was not, also where padding changes the last digits, and with
    sampling too: the generator is seeded for each batch by what is in it.
    """

    tells_finish = True

    def __init__(self, lm: LM, finished: Finished) -> None:
        super().__init__(lm, finished)
        accelerator = getattr(lm, "accelerator", None)
        if "FSDP" in str(getattr(accelerator, "distributed_type", "")):
            raise BackendError(
                "with FSDP every process must take part in every step, and here each has its own "
                "share left to do: use parallelize=True in --model-args, or vllm with "
                "tensor_parallel_size"
            )
        here = int(os.environ.get("LOCAL_WORLD_SIZE", lm.world_size))
        if here < lm.world_size:
            raise BackendError(
                f"lm-eval numbers processes by machine, so that over several machines most prompts "
                f"would not be asked ({here} of {lm.world_size} processes are here): run each "
                "machine by itself with --shard i/n, then persona-bench merge"
            )
        self._encode, self._generate = self.lm.tok_batch_encode, self.lm._model_generate
        self.lm.tok_batch_encode, self.lm._model_generate = self._encoding, self._generating
        self._batch: list[Request] = []
        self.tells_finish = self.lm.backend == "causal"

    def generate(self, requests: Sequence[Request], missing: set[str]) -> None:
        """Batch for batch; a batch of which anything is missing is asked whole."""
        size = self.lm.batch_size
        if not isinstance(size, int) or size < 1:  # found out by lm-eval, for all at once
            super().generate(requests, missing)
            return
        batches = [
            batch
            for batch in fixed_batches(requests, size)
            if any(request.key in missing for request in batch)
        ]
        with tqdm(
            total=len(requests),
            initial=len(requests) - sum(map(len, batches)),
            desc="Generating",
            disable=self.lm.rank != 0,
        ) as bar:
            for batch in batches:
                self.ask(batch, disable_tqdm=True)
                bar.update(len(batch))

    def _encoding(self, strings: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        self._batch = [text.request for text in strings if hasattr(text, "request")]
        return self._encode(strings, *args, **kwargs)

    def _generating(self, context: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
        if any(request.seed is not None for request in self._batch):
            import torch

            keys = "".join(request.key for request in self._batch)
            torch.manual_seed(int(hashlib.sha256(keys.encode()).hexdigest()[:15], 16))
        rows = self._generate(context=context, max_length=max_length, stop=stop, **kwargs)
        if self.tells_finish:
            start = context.shape[1]
            allowed = max_length - start
            self.told = deque(self._tell(row[start:], allowed, stop) for row in rows.tolist())
        return rows

    def _tell(self, row: list[int], allowed: int, stop: Sequence[str]) -> Generated:
        ends = self._ends()
        length = next((n for n, token in enumerate(row) if token in ends), None)
        tokens = row if length is None else row[: length + 1]
        text = self.lm.tok_decode(row if length is None else row[:length])
        stopped = length is not None or any(word and word in text for word in stop)
        finish = "stop" if stopped or len(row) < allowed else "length"
        end = getattr(self.lm, "think_end_token", None)
        if isinstance(end, int):
            places = [n for n, token in enumerate(tokens) if token == end]
            reasoning = self.lm.tok_decode(tokens[: places[-1] + 1]) if places else ""
            answer = "x" if places or finish != "length" else ""
            return Generated(answer, finish, reasoning or ("" if answer else text), len(tokens))
        answer, reasoning = split_reasoning(text, end, finish)
        return Generated(answer, finish, reasoning, len(tokens))

    def _ends(self) -> set[int]:
        settings = getattr(self.lm.model, "generation_config", None)
        given = getattr(settings, "eos_token_id", None)
        found = [given] if isinstance(given, int) else list(given or [])
        return {*found, self.lm.eot_token_id} - {None}


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
            if output.finished and waiting:  # samples of one prompt are draws alike
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


def fixed_batches(requests: Sequence[Request], size: int) -> list[list[Request]]:
    """Batches of one set of generation arguments and of nearly one length, the longest first."""
    settings = {request.key: str(sorted(request.gen_kwargs.items())) for request in requests}
    ordered = sorted(
        requests, key=lambda each: (settings[each.key], -len(each.text), each.text, each.key)
    )
    batches = []
    for _, same in groupby(ordered, key=lambda each: settings[each.key]):
        group = list(same)
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches
