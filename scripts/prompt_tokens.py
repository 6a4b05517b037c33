"""How many tokens the study's prompts have, and how many of them a prefix cache lacks.

    python -m scripts.prompt_tokens --data ../shared/data --tokenizer FOLDER

Renders the prompts of the project's own tasks under the persona set `core`, and PersonaGym's as its
own code puts them, through the tokenizer's chat template. `scripts/scale.py` holds what it printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

BLOCK = 16  # tokens a block of vLLM's prefix cache; only whole blocks are found again
ROLE = (
    "Adopt the identity of {persona}. Answer the questions while staying in strict accordance "
    "with the nature of this identity."
)

Encode = Callable[[str, str], list[int]]


class Prompts(NamedTuple):
    """Means over the prompts of a task, tokens.

    Attributes:
        questions: How many the task asks.
        tokens: Of a prompt, chat template and all.
        fresh: Those not in the prefix cache, where the prompt is asked for the first time.
        again: Those not in the prefix cache for a further sample of the same prompt.
    """

    questions: int
    tokens: float
    fresh: float
    again: float


def uncached(prompts: Iterable[Sequence[int]], block: int = BLOCK) -> list[int]:
    """How many tokens of each prompt a prefix cache lacks that forgets nothing.

    vLLM finds again the longest run of whole blocks from the start, and always computes the
    last token (vLLM, docs/design/prefix_caching.md).
    """
    seen: set[int] = set()
    out = []
    for prompt in prompts:
        chain, found, hit = 0, 0, True
        for start in range(0, whole(prompt, block), block):
            chain = hash((chain, tuple(prompt[start : start + block])))
            hit = hit and chain in seen
            found += hit
            seen.add(chain)
        out.append(len(prompt) - found * block)
    return out


def whole(prompt: Sequence[int], block: int = BLOCK) -> int:
    """Tokens of a prompt in whole blocks, its last token apart."""
    return (len(prompt) - 1) // block * block


def shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two prompts share from the start."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def summary(questions: int, prompts: Sequence[Sequence[int]], fresh: Sequence[int]) -> Prompts:
    """Means over the prompts of a task, of which `fresh` are the tokens not cached."""
    n = len(prompts)
    again = sum(len(prompt) - whole(prompt) for prompt in prompts)
    tokens = sum(map(len, prompts))
    return Prompts(questions, round(tokens / n, 1), round(sum(fresh) / n, 1), round(again / n, 1))


TASKS = ("math500", "aime24", "livecodebench")


def tasks(data: Path, encode: Encode, names: Iterable[str] = TASKS) -> dict[str, Prompts]:
    """The project's own tasks; as the cache forgets nothing, the order hardly matters."""
    from persona_bench.harness.tasks import load

    out = {}
    for name in names:
        own = {"release": "v1"} if name == "livecodebench" else {}
        test = load(benchmark=name, data_dir=str(data), **own)["test"]
        prompts = list(map(encode, test["system"], test["prompt"]))
        out[name] = summary(len(set(test["question"])), prompts, uncached(prompts))
    return out


def personagym(data: Path, encode: Encode) -> dict[str, Prompts]:
    """PersonaGym's questions; its judges' prompts, score examples and response still empty; and
    the prompts that the score examples are written by.

    Of a judge's prompt only the rubric's head is found again: the examples come next.
    """
    folder = data / "personagym"
    writer = (folder / "prompts/score_examples/prompt.txt").read_text(encoding="utf-8")
    asked, judged, fresh, examples = [], [], [], []
    for file in sorted((folder / "questions/benchmark-v1").glob("*.json")):
        for task, questions in json.loads(file.read_text(encoding="utf-8")).items():
            rubric = (folder / "rubrics" / f"{task}.txt").read_text(encoding="utf-8")
            head = encode("", rubric.partition("{score_example}")[0])
            for question in questions:
                known = {"persona": file.stem, "question": question}
                asked.append(encode(put(ROLE, known), question))
                examples.append(encode("", put(writer, {**known, "rubric": rubric})))
                judge = encode("", put(rubric, {"score_example": "", "response": "", **known}))
                judged.append(judge)
                fresh.append(len(judge) - shared(head, judge) // BLOCK * BLOCK)
    n = len(asked)
    return {
        "personagym": summary(n, asked, uncached(asked)),
        "judge": summary(n, judged, fresh),
        "examples": summary(n, examples, uncached(examples)),
    }


def put(template: str, values: Mapping[str, str]) -> str:
    """Fills in `{name}`; other braces stay."""
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return template


def encoder(tokenizer: Path) -> Encode:
    """System and user message to tokens, through the tokenizer's own chat template."""
    from transformers import AutoTokenizer

    known = AutoTokenizer.from_pretrained(str(tokenizer))

    def encode(system: str, user: str) -> list[int]:
        chat = [{"role": "system", "content": system}] if system else []
        chat.append({"role": "user", "content": user})
        text = known.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        tokens: list[int] = known.encode(text, add_special_tokens=False)
        return tokens

    return encode


def rows(measured: Mapping[str, Prompts]) -> list[tuple[str, ...]]:
    """The rows of a table."""
    return [
        (name, f"{p.questions:,}", f"{p.tokens:.1f}", f"{p.fresh:.1f}", f"{p.again:.1f}")
        for name, p in measured.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="mirror folder")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a model's folder")
    args = parser.parse_args()
    encode = encoder(args.tokenizer)
    for row in rows(tasks(args.data, encode) | personagym(args.data, encode)):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
