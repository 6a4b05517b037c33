"""A model of lm-eval's that does sums, right or wrong by the hash of its prompt: quick, and alike
in every run."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

WORDINGS = ("The answer is {}.", "{}", "It is {}, or is it {}?", "I would not know.")


@register_model("answering")
class Answering(LM):
    """Answers the last sum of its prompt; a prompt that is asked again gets another answer.

    Args:
        salt: Another text makes another model of it.
    """

    tokenizer_name = "answering"
    max_gen_toks = 64

    def __init__(self, salt: str = "", **settings: Any) -> None:
        super().__init__()
        self.salt = salt

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """ChatML."""
        turns = [f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in chat_history]
        return "".join(turns) + ("<|im_start|>assistant\n" if add_generation_prompt else "")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Its name in the results."""
        return "chatml"

    def generate_until(self, requests: list[Instance], **kwargs: Any) -> list[str]:
        """A sentence with the sum, or with another number."""
        asked: Counter[str] = Counter()
        said = []
        for request in requests:
            prompt = str(request.args[0])
            draw = _hash(prompt, str(asked[prompt]), *filter(None, [self.salt]))
            asked[prompt] += 1
            a, b = map(int, re.findall(r"(\d+) \+ (\d+)", prompt)[-1])
            right = a + b
            numbers = (right, right + 1) if draw % 3 else (right + draw % 5, right)
            said.append(WORDINGS[draw % len(WORDINGS)].format(*numbers))
        return said

    def loglikelihood(self, requests: list[Instance], **kwargs: Any) -> list[tuple[float, bool]]:
        """A number between -20 and 0; one in three is what it would have said."""
        found = []
        for request in requests:
            draw = _hash(*map(str, request.args[:2]))
            found.append((-(draw % 1000) / 50, draw % 3 == 0))
        return found

    def loglikelihood_rolling(self, requests: list[Instance], **kwargs: Any) -> list[float]:
        """No task under test asks for it."""
        raise NotImplementedError


def _hash(*texts: str) -> int:
    return int(hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8], 16)
