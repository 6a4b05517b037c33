"""A faster GRPO step where the completions of a group share their prompt.

TRL computes the prompt once per completion, in generation and in the loss; on a GPU that hardly
matters, on a few CPU cores it is most of the step. Here each distinct prompt is computed once and
its keys and values are repeated for its completions. The numbers are the same but for the order of
floating-point sums; the loss, the sampling and the log-probabilities stay TRL's.

It is used where it is known to be safe: one process on a CPU, a text model whose layers all attend
to everything, no gradient checkpointing. Elsewhere TRL's own way is taken.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from trl import GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import pad


def can_share_prefixes(args: Any, model: Any) -> bool:
    """Whether prompts may be computed once per group.

    Args:
        args: TRL's arguments.
        model: The model, with or without adapters.
    """
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        args.device.type == "cpu"
        and args.world_size == 1
        and not args.gradient_checkpointing
        and not args.use_vllm
        and not args.use_transformers_continuous_batching
        and config is model.config  # a text model
        and layers == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and getattr(config, "num_local_experts", None) is None
    )


class SharedPrefixTrainer(GRPOTrainer):
    """TRL's GRPO trainer that computes each distinct prompt once where that is safe."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.shares_prefixes = can_share_prefixes(self.args, self.model)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **others: Any,
    ) -> Any:
        start = input_ids.shape[1] - logits_to_keep - 1  # of the last prompt token
        shared = None
        if self.shares_prefixes and start >= 1 and not any(others.values()):
            shared = _distinct(input_ids[:, : start + 1], attention_mask)
        if shared is None or len(shared[0]) == len(input_ids):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy,
                **others,
            )  # fmt: skip
        first, member = shared
        with self.accelerator.autocast():
            cache = model(
                input_ids=input_ids[first, :start],
                attention_mask=attention_mask[first, :start],
                use_cache=True,
                past_key_values=DynamicCache(config=model.config),
                logits_to_keep=1,
            ).past_key_values
            cache.batch_select_indices(member)
            completion = input_ids[:, start + 1 :]
            labels = completion.masked_fill(attention_mask[:, start + 1 :] == 0, -100)
            outputs = model(
                input_ids=input_ids[:, start:-1],
                attention_mask=attention_mask[:, :-1],
                past_key_values=cache,
                labels=labels,
                shift_labels=labels,
                fused_lm_head=True,
            )
        return outputs.log_probs, outputs.entropy if compute_entropy else None, None

    def _generate_single_turn(
        self,
        prompt_ids: Any,
        images: Any,
        multimodal_fields: Any,
        num_generations: Any,
        has_tool_images: Any = False,
    ) -> Any:
        if not self.shares_prefixes or multimodal_fields or min(map(len, prompt_ids)) < 2:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        tensors = [torch.tensor(ids) for ids in prompt_ids]
        ids = pad(tensors, padding_value=self._tokenizer.pad_token_id, padding_side="left")
        mask = pad([torch.ones_like(t) for t in tensors], padding_value=0, padding_side="left")
        first, member = _distinct(ids, mask)
        with (
            unwrap_model_for_generation(
                self.model_wrapped, self.accelerator, generation_kwargs=self.generation_kwargs
            ) as model,
            torch.no_grad(),
            self.accelerator.autocast(),
        ):
            shared = mask[first, :-1]
            cache = model(
                input_ids=ids[first, :-1],
                attention_mask=shared,
                position_ids=(shared.cumsum(dim=1) - 1).clamp(min=0),  # as generate counts them
                past_key_values=DynamicCache(config=model.config),
                use_cache=True,
                logits_to_keep=1,
            ).past_key_values
            cache.batch_select_indices(member)
            written = model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                generation_config=self.generation_config,
            )[:, ids.shape[1] :]
        ends = torch.isin(written, torch.tensor(self.eos_token_ids))
        before = ends.cumsum(dim=1) - ends.long() == 0  # up to the first end, it included
        return [row[kept].tolist() for row, kept in zip(written, before, strict=True)], None


def _distinct(
    prompts: torch.Tensor, attention_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first row of each distinct prompt, and for every row which of them it has.

    Args:
        prompts: Token ids, padded on the left, shape (rows, length).
        attention_mask: 0 where they are padding, shape (rows, length or more).
    """
    tokens = torch.where(attention_mask[:, : prompts.shape[1]].bool(), prompts, -1)
    distinct, member = torch.unique(tokens, dim=0, return_inverse=True)
    rows = torch.arange(len(prompts)).expand(len(distinct), -1)
    groups = torch.arange(len(distinct))[:, None]
    return rows.masked_fill(member != groups, len(prompts)).min(dim=1).values, member
