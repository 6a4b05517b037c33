"""transformers' models, batch by batch."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lm_eval.api.model import LM
from tqdm import tqdm

from persona_bench.harness.backends.base import Backend, BackendError, Finished
from persona_bench.harness.backends.request import Generated, Request, TaggedText, split_reasoning


class ReportingHFLM:
    """A base to put before `HFLM`: tells the backend what is in a batch, and what came of it.

    Attributes:
        backend_of_store: Who is told; None before there is a store.
    """

    backend_of_store: HuggingFace | None = None

    def tok_batch_encode(self, strings: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """As lm-eval's."""
        if self.backend_of_store is not None:
            self.backend_of_store.batch_begins(strings)
        return super().tok_batch_encode(strings, *args, **kwargs)  # type: ignore[misc]

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
        rows = super()._model_generate(  # type: ignore[misc]
            context=context, max_length=max_length, stop=stop, **kwargs
        )
        if self.backend_of_store is not None:
            self.backend_of_store.batch_ends(rows, context.shape[1], max_length, stop)
        return rows


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
        on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE", lm.world_size))
        if on_this_machine < lm.world_size:
            raise BackendError(
                f"lm-eval numbers processes by machine, so that over several machines most prompts "
                f"would not be asked ({on_this_machine} of {lm.world_size} processes are here): "
                "run each machine by itself with --shard i/n, then persona-bench merge"
            )
        self.lm.backend_of_store = self
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
            desc="Generating" if requests[0].continuation is None else "Likelihoods",
            unit=" responses" if requests[0].continuation is None else " continuations",
            disable=self.lm.rank != 0,
        ) as bar:
            for batch in batches:
                self.ask(batch, disable_tqdm=True)
                bar.update(len(batch))

    def batch_begins(self, strings: Sequence[str]) -> None:
        """Seeds the draws of a batch by its prompts, where any of it is sampled."""
        batch = [text.request for text in strings if isinstance(text, TaggedText)]
        if any(request.seed is not None for request in batch):
            import torch

            keys = "".join(request.key for request in batch)
            torch.manual_seed(int(hashlib.sha256(keys.encode()).hexdigest()[:15], 16))

    def batch_ends(self, rows: Any, start: int, max_length: int, stop: Sequence[str]) -> None:
        """Notes how each response of a batch ended.

        Args:
            rows: Tokens of prompts and responses, shape (prompts, length).
            start: Where the responses begin.
            max_length: Where they end at the latest.
            stop: Texts that end one.
        """
        if self.tells_finish:
            allowed = max_length - start
            self.engine_outputs = deque(
                self._output(row[start:], allowed, stop) for row in rows.tolist()
            )

    def _output(self, row: list[int], allowed: int, stop: Sequence[str]) -> Generated:
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
        end_tokens = [given] if isinstance(given, int) else list(given or [])
        return {*end_tokens, self.lm.eot_token_id} - {None}


def fixed_batches(requests: Sequence[Request], size: int) -> list[list[Request]]:
    """Batches of one set of generation arguments and of nearly one length, the longest first.

    Args:
        requests: What is asked.
        size: Prompts in a batch; one whose continuations are compared brings all of them along.
    """
    settings = {request.key: str(sorted(request.gen_kwargs.items())) for request in requests}
    ordered = sorted(
        requests, key=lambda each: (settings[each.key], -len(each.text), each.text, each.key)
    )
    batches = []
    for _, same in groupby(ordered, key=lambda each: settings[each.key]):
        # lm-eval computes the likelihoods of several continuations of one prompt together
        by_prompt = [list(group) for _, group in groupby(same, key=_prompt_or_key)]
        for start in range(0, len(by_prompt), size):
            batches.append([each for group in by_prompt[start : start + size] for each in group])
    return batches


def _prompt_or_key(request: Request) -> str:
    return request.key if request.continuation is None else request.text
