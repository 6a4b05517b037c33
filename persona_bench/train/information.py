"""Persona information of completions, while training."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class Information:
    """Persona information of completions, by the likelihoods of a model.

    For a completion r to (persona p, question q), with n other personas p' drawn for the question:

        (LL(r | p, q) - logmeanexp over p' of LL(r | p', q)) / tokens of r

    in nats per token, as `persona-bench trace` has it (docs/trace.md), 0 without a persona. For a
    reward the likelihoods must be a frozen model's: the policy could raise its own with a code that
    no reader knows.

    Args:
        model: A transformers causal language model, in evaluation mode.
        tokenizer: Its tokenizer, with a chat template.
        prompts: From a persona's id to its prompt.
        messages: From a persona's prompt and a problem to chat messages.
        others: How many personas a completion is held against.
        seed: Seed of their draw.
        batch_size: Sequences at a time.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: dict[str, str],
        messages: Callable[[str, str], list[dict[str, str]]],
        *,
        others: int,
        seed: int,
        batch_size: int = 16,
    ) -> None:
        self.model = model
        self.tokenizer, self.prompts, self.messages = tokenizer, prompts, messages
        self.others, self.seed, self.batch_size = others, seed, batch_size

    def __call__(self, texts: list[str], problems: list[str], personas: list[str]) -> list[float]:
        """Nats a token, one a completion."""
        pairs: list[tuple[list[int], list[int]]] = []
        for text, problem, persona in zip(texts, problems, personas, strict=True):
            if persona in self.prompts:
                pool = [each for each in self.prompts if each != persona]
                draw = random.Random(f"information/{self.seed}/{problem}/{persona}")
                against = draw.sample(pool, min(self.others, len(pool)))
                for each in (persona, *against):
                    pairs.append(self._tokens(self.prompts[each], problem, text))
        likelihoods = iter(self._likelihoods(pairs))
        values = []
        for persona in personas:
            if persona not in self.prompts:
                values.append(0.0)
                continue
            own, tokens = next(likelihoods)
            rest = [next(likelihoods)[0] for _ in range(min(self.others, len(self.prompts) - 1))]
            values.append((own - _logmeanexp(rest)) / tokens if rest and tokens else 0.0)
        return values

    def _tokens(self, persona: str, problem: str, text: str) -> tuple[list[int], list[int]]:
        prompt = self.tokenizer.apply_chat_template(
            self.messages(persona, problem), add_generation_prompt=True, tokenize=False
        )
        encode = self.tokenizer.encode
        return encode(prompt, add_special_tokens=False), encode(text, add_special_tokens=False)

    def _likelihoods(self, pairs: list[tuple[list[int], list[int]]]) -> list[tuple[float, int]]:
        """The log-likelihood in nats of each second part after its first, and its tokens."""
        import torch

        order = sorted(range(len(pairs)), key=lambda i: sum(map(len, pairs[i])))
        sums = [(0.0, 0)] * len(pairs)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            rows = [pairs[i][0] + pairs[i][1] for i in chosen]
            width, keep = max(map(len, rows)), max(len(pairs[i][1]) for i in chosen) + 1
            pad = self.tokenizer.pad_token_id or 0
            ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            ids, mask = ids.to(self.model.device), mask.to(self.model.device)
            with torch.inference_mode():
                logits = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                    logits_to_keep=keep,
                ).logits[:, :-1]
                logs = torch.log_softmax(logits.float(), -1)
                of_tokens = logs.gather(-1, ids[:, width - keep + 1 :, None])[..., 0]
            for place, i in enumerate(chosen):
                count = len(pairs[i][1])
                total = float(of_tokens[place, -count:].sum()) if count else 0.0
                sums[i] = (total, count)
        return sums


def _logmeanexp(values: Sequence[float]) -> float:
    return float(np.logaddexp.reduce(values) - np.log(len(values)))
