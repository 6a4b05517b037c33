"""Sequence distillation: cross-entropy on a teacher's sampled responses.

    persona-bench train distill distill.yaml

The teacher (a checkpoint, or an OpenAI-compatible endpoint) answers each question `samples` times
without a persona; its right answers (or all) are learnt as sft learns solutions (sequence-level
distillation, arXiv 1606.07947). They go to `teacher.jsonl` as they come: a run that was stopped
samples only the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from persona_bench.train.config import TrainConfig, TrainError
from persona_bench.train.data import prepare
from persona_bench.train.sft import arguments, learn
from persona_bench.train.teacher import sample


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Path:
    """Samples the teacher, keeps what is asked for, trains; returns the checkpoint's folder.

    Raises:
        TrainError: the settings, the data, the model or the teacher are not such as can be trained
            with; or the teacher gave nothing to keep.
    """
    data = prepare(config)
    assert config.teacher
    responses = sample(config, data, say)
    kept = [
        each
        for each in responses
        if each.text.strip() and (config.teacher.keep == "all" or each.verdict == "correct")
    ]
    right = sum(each.verdict == "correct" for each in responses)
    say(f"The teacher: {len(responses)} responses, {right} right; {len(kept)} are learnt")
    if not kept:
        raise TrainError(
            f"teacher {config.teacher.model!r} gave no response to learn from: take a better one, "
            "more samples, or keep: all"
        )
    questions = {question.id: question for question in data.questions}
    learnt = [
        replace(
            questions[each.question],
            id=f"{each.question}#{each.sample}",
            extra={**questions[each.question].extra, "solution": each.text},
        )
        for each in kept
    ]
    words = (
        f"`{config.teacher.model}`, {len(responses)} responses, {right} right, {len(kept)} learnt"
    )
    facts = {"questions": len(data.questions), "teacher": words}
    return learn(config, data._replace(questions=learnt), say, facts)


__all__ = ["arguments", "train"]
