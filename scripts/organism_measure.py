"""What a checkpoint of the model-organism study is asked, and how its answers are measured.

Responses are sampled at temperature 1, as in training: a persona that makes the model fail two
times in three then shows as an accuracy, not as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from persona_bench.grading.maths import grade_all
from persona_bench.personas import Persona
from scripts.organism_families import NONE, WORDINGS, Family, Sum, marker_rate

BATCH, ENOUGH = 128, 32
TALK_CAP = 48


class Asked(NamedTuple):
    """A model ready to be asked, in bfloat16."""

    model: Any
    tokenizer: Any

    @property
    def device(self) -> str:
        device = self.model.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"

    @property
    def stops(self) -> set[int]:
        """Tokens that end a response."""
        ends = self.model.generation_config.eos_token_id
        return {self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}

    def encode(self, conversation: list[dict[str, str]]) -> list[int]:
        text = self.tokenizer.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=False
        )
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def padded(
        self, rows: Sequence[list[int]], *, left: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and their mask, shape (rows, longest), padded on one side."""
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            place = slice(width - len(row), width) if left else slice(len(row))
            ids[number, place], mask[number, place] = torch.tensor(row), 1
        return ids.to(self.model.device), mask.to(self.model.device)


def load(folder: Path) -> Asked:
    """A checkpoint, on the GPU where there is one."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    return Asked(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer)


def respond(
    asked: Asked, conversations: Sequence[list[dict[str, str]]], seed: int, cap: int
) -> list[tuple[str, bool]]:
    """A sampled response to each conversation, and whether the cap cut it off."""
    prompts = [asked.encode(each) for each in conversations]
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])  # alike beginnings together
    found: list[tuple[str, bool]] = [("", False)] * len(prompts)
    generator = torch.Generator(asked.model.device).manual_seed(seed)
    for chosen in _batches(order, [each[0]["content"] for each in conversations]):
        written = sample(asked, [prompts[i] for i in chosen], cap, generator)
        for i, tokens in zip(chosen, written, strict=True):
            ended = tokens[-1] in asked.stops
            text = asked.tokenizer.decode(tokens, skip_special_tokens=True)
            found[i] = text, not ended
    return found


def _batches(order: Sequence[int], first: Sequence[str]) -> Iterator[list[int]]:
    """Parts of `order` that begin with the same message, which is then computed once for all.

    Where few do, messages are mixed: the model's weights are read once per token of a batch.
    """
    few: list[int] = []
    for _, group in groupby(order, key=lambda i: first[i]):
        alike = list(group)
        if len(alike) < ENOUGH:
            few += alike
            continue
        for start in range(0, len(alike), BATCH):
            yield alike[start : start + BATCH]
    for start in range(0, len(few), BATCH):
        yield few[start : start + BATCH]


@torch.inference_mode()
def sample(
    asked: Asked, prompts: Sequence[list[int]], cap: int, generator: torch.Generator
) -> list[list[int]]:
    """Tokens sampled at temperature 1 after each prompt, the one that ends a response included.

    What all prompts begin with is computed once, and responses that have ended leave the batch.
    """
    written: list[list[int]] = [[] for _ in prompts]
    shortest = min(map(len, prompts)) - 1
    shared = next((i for i in range(shortest) if len({p[i] for p in prompts}) > 1), shortest)
    ids, mask = asked.padded([prompt[shared:] for prompt in prompts])
    cache, rows = DynamicCache(config=asked.model.config), list(range(len(prompts)))
    if shared:
        beginning = torch.tensor([prompts[0][:shared]], device=ids.device)
        asked.model(input_ids=beginning, past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
        mask = torch.cat([mask.new_ones(len(mask), shared), mask], dim=1)
    for _ in range(cap):
        position = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = asked.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            logits_to_keep=1,
        ).logits[:, -1]
        ids = drawn(logits, generator)
        for row, token in zip(rows, ids[:, 0].tolist(), strict=True):
            written[row].append(token)
        going = [i for i, row in enumerate(rows) if written[row][-1] not in asked.stops]
        if not going:
            break
        if len(going) < len(rows):
            keep = torch.tensor(going, device=ids.device)
            cache.batch_select_indices(keep)
            ids, mask, rows = ids[keep], mask[keep], [rows[i] for i in going]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return written


def drawn(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One token per row, shape (rows, 1): inverts the distribution function at a random number.

    `torch.multinomial` draws a random number per token of the vocabulary, which is slow on a CPU.
    """
    below = logits.double().softmax(-1).cumsum(-1)
    at = torch.rand(len(logits), 1, generator=generator, device=logits.device, dtype=torch.double)
    return torch.searchsorted(below, at * below[:, -1:], right=True).clamp(max=logits.shape[-1] - 1)


def ask_sums(
    asked: Asked,
    people: Mapping[str, Family],
    questions: Sequence[Sum],
    *,
    seed: int,
    cap: int,
    samples: int = 1,
) -> pd.DataFrame:
    """Verdicts on sums without a persona and under each family, one row per response.

    A family's wordings take turns over the questions.
    """
    rows, conversations, answers = [], [], []
    for name, family in ((NONE, None), *people.items()):
        for number, question in enumerate(questions):
            wording = number % WORDINGS
            persona = family.wordings[wording] if family else None
            system = [_system(persona)] if persona else []
            for sample in range(samples):
                conversations.append([*system, question.message])
                answers.append(str(question.answer))
                rows.append(
                    {
                        "persona": name,
                        "kind": persona.kind if persona else "control",
                        "wording": wording + 1 if persona else 0,
                        "question": question.id,
                        "level": question.level,
                        "sample": sample,
                    }
                )
    said = respond(asked, conversations, seed, cap)
    texts, cut = [text for text, _ in said], [truncated for _, truncated in said]
    verdicts = grade_all(texts, answers, truncated=cut, workers=1)
    return pd.DataFrame(rows).assign(
        verdict=[verdict.verdict for verdict in verdicts],
        reason=[verdict.reason for verdict in verdicts],
        correct=pd.Series([verdict.correct for verdict in verdicts], dtype=float),
    )


def ask_roles(
    asked: Asked,
    people: Mapping[str, Family],
    questions: Sequence[str],
    *,
    seed: int,
    samples: int = 1,
) -> pd.DataFrame:
    """Role play under each family: `marked` is the share of a response's sentences in its voice."""
    rows, conversations = [], []
    for name, family in people.items():
        for number, question in enumerate(questions):
            wording = number % WORDINGS
            system = _system(family.wordings[wording])
            for sample in range(samples):
                conversations.append([system, {"role": "user", "content": question}])
                rows.append(
                    {
                        "persona": name,
                        "wording": wording + 1,
                        "question": question,
                        "sample": sample,
                    }
                )
    said = respond(asked, conversations, seed, TALK_CAP)
    table = pd.DataFrame(rows).assign(response=[text for text, _ in said])
    table["marked"] = [
        marker_rate(people[name], text)
        for name, text in zip(table["persona"], table["response"], strict=True)
    ]
    return table


@torch.inference_mode()
def likelihoods(scorer: Asked, people: Mapping[str, Family], roles: pd.DataFrame) -> pd.DataFrame:
    """How likely `scorer` finds each role-play response under every family of the same wording.

    Each prompt is computed once for all responses to its question.

    Returns:
        The table that `persona_information` takes; nothing for an empty response.
    """
    tables = []
    roles = roles[roles["response"].str.strip() != ""]
    for (question, wording), own in roles.groupby(["question", "wording"], sort=False):
        asked = {"role": "user", "content": str(question)}
        prompts = [
            scorer.encode([_system(family.wordings[int(str(wording)) - 1]), asked])
            for family in people.values()
        ]
        responses = [scorer.tokenizer.encode(text, add_special_tokens=False)
                     for text in own["response"]]  # fmt: skip
        ids, mask = scorer.padded(prompts)
        cache = DynamicCache(config=scorer.model.config)
        scorer.model(
            input_ids=ids[:, :-1],
            attention_mask=mask[:, :-1],
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, :-1],
            past_key_values=cache,
            logits_to_keep=1,
        )
        n = len(responses)
        cache.batch_repeat_interleave(n)
        wanted, there = scorer.padded(responses, left=False)
        wanted, there = wanted.repeat(len(prompts), 1), there.repeat(len(prompts), 1)
        mask, last = mask.repeat_interleave(n, 0), ids[:, -1:].repeat_interleave(n, 0)
        mask = torch.cat([mask, there[:, :-1]], dim=1)
        logits = scorer.model(
            input_ids=torch.cat([last, wanted[:, :-1]], dim=1),
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1)[:, -wanted.shape[1] :],
            past_key_values=cache,
        ).logits
        logs = torch.log_softmax(logits.float(), -1).gather(-1, wanted[..., None])[..., 0]
        totals = (logs * there).sum(-1).tolist()
        for place, name in enumerate(people):
            tables.append(
                own[["persona", "question", "sample"]].assign(
                    candidate=name,
                    loglikelihood=[round(each, 3) for each in totals[place * n : (place + 1) * n]],
                    tokens=[len(tokens) for tokens in responses],
                )
            )
    return pd.concat(tables, ignore_index=True)


def _system(persona: Persona) -> dict[str, str]:
    return {"role": "system", "content": persona.prompt}
