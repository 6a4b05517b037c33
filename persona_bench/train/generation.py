"""Responses of a transformers model to chat messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

Messages = list[dict[str, str]]


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that end a response."""
    ends = model.generation_config.eos_token_id
    several = ends if isinstance(ends, list) else [ends]
    return frozenset({tokenizer.eos_token_id, *several} - {None})


def generate(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Messages],
    *,
    temperature: float,
    max_new_tokens: int,
) -> list[list[int]]:
    """Writes one response to each conversation.

    Args:
        model: A transformers causal language model, in evaluation mode.
        tokenizer: With a chat template, padding on the left.
        conversations: Their messages; the last one is the user's.
        temperature: 0 is greedy decoding.
        max_new_tokens: After these a response is cut off.

    Returns:
        Token ids, the ending one included; a response without one was cut off.
    """
    texts = [
        tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        for messages in conversations
    ]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_k": None}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0}
    with torch.no_grad():  # inference_mode would spoil the weights that FSDP2 gathers
        ids = model.generate(
            **inputs.to(model.device),
            **sampling,
            top_p=1.0 if temperature else None,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            use_cache=True,
        )[:, inputs["input_ids"].shape[1] :]
    ends, responses = end_tokens(model, tokenizer), []
    for row in ids.tolist():
        end = next((place for place, token in enumerate(row) if token in ends), len(row))
        responses.append(row[: end + 1])
    return responses
