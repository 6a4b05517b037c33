"""PerMix as an environment of the `verifiers` library, for prime-rl and other trainers.

    import verifiers as vf

    env = vf.load_environment("persona_bench.train.environment", source="math", mix_ratio=0.5)

The prompts are permix's, the rubric is the verifier. For versions of `verifiers` with
`SingleTurnEnv` (tested with 0.2.1; 0.3 has none). Install it in an environment of its own: it wants
other versions of openai and antlr4 than lm-eval.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from persona_bench.grading import Verdict
from persona_bench.train.parts import permix_dataset
from persona_bench.train.rewards import graded
from persona_bench.train.sources import grader


def load_environment(
    source: str | Sequence[Mapping[str, Any]] = "arithmetic",
    persona_set: str = "train",
    mix_ratio: float = 0.5,
    epochs: int = 1,
    seed: int = 0,
    kind: str = "",
    timeout: float = 120.0,
    **more: Any,
) -> Any:
    """A `verifiers.SingleTurnEnv`.

    Args:
        source, persona_set, mix_ratio, epochs, seed, more: As `permix_dataset`.
        kind: As `verifiable_reward`; by default the source decides.
        timeout: Seconds that grading a group may take.

    The rubric's `correct` is 1 or 0. A completion that could not be had or graded gets the mean of
    its group, so that it has no advantage, and is counted in the metric `unscored`.
    """
    import verifiers as vf

    dataset = permix_dataset(
        source, persona_set=persona_set, mix_ratio=mix_ratio, epochs=epochs, seed=seed, **more
    )
    dataset = dataset.map(lambda row: {"info": {"persona": row["persona"]}})
    dataset = dataset.select_columns(["prompt", "answer", "info"])
    grade = grader(kind or (source if isinstance(source, str) else "math"))

    async def correct(completions: list[Any], answers: list[str], states: list[Any]) -> list[float]:
        texts = [_text(completion) for completion in completions]
        cut = [bool(state.get("is_truncated")) for state in states]
        graded_verdicts = await asyncio.to_thread(graded, grade, texts, answers, cut, timeout)
        verdicts = [
            Verdict("unscored", "api_error") if state.get("error") else verdict
            for state, verdict in zip(states, graded_verdicts, strict=True)
        ]
        scored = [verdict.correct for verdict in verdicts if verdict.correct is not None]
        mean = sum(scored) / len(scored) if scored else 0.0
        for state, verdict in zip(states, verdicts, strict=True):
            state["unscored"] = float(verdict.correct is None)
        return [mean if verdict.correct is None else verdict.correct for verdict in verdicts]

    async def unscored(state: Any) -> float:
        return float(state.get("unscored", 0.0))

    rubric = vf.Rubric(funcs=[correct, unscored], weights=[1.0, 0.0])
    return vf.SingleTurnEnv(dataset=dataset, rubric=rubric)


def _text(completion: Any) -> str:
    """What the model said last; its messages are mappings or objects."""
    if isinstance(completion, str):
        return completion
    last = completion[-1] if completion else {}
    content = last.get("content") if isinstance(last, dict) else getattr(last, "content", "")
    return content if isinstance(content, str) else ""
