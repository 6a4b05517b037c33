"""A teacher's responses: from a checkpoint loaded here, or from an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from persona_bench.benchmarks.base import Question
from persona_bench.harness.backends.answers import Answer
from persona_bench.judge.client import CallFailed, Judge, JudgeError, JudgeSettings
from persona_bench.train.config import Teacher, TrainConfig, TrainError
from persona_bench.train.data import Prepared, messages
from persona_bench.train.folder import begin, write_sources
from persona_bench.train.rewards import graded

FILE = "teacher.jsonl"
LONGEST_CALL = 600.0
"""Seconds that a request to an endpoint may take."""

Asked = tuple[Question, int]
Said = tuple[str, bool]
"""A response, and whether it was cut off."""


@dataclass(frozen=True)
class Response:
    """One of a teacher's responses.

    Attributes:
        question: Its id.
        sample: From 0 on.
        text: What the teacher said.
        truncated: Whether it was cut off.
        verdict, reason: The verifier's.
    """

    question: str
    sample: int
    text: str
    truncated: bool
    verdict: str
    reason: str


def sample(config: TrainConfig, data: Prepared, say: Callable[[str], None]) -> list[Response]:
    """The teacher's responses to all questions, those of an earlier start among them.

    Raises:
        TrainError: the teacher can't be loaded or reached, or the file is of another one.
    """
    teacher = config.teacher
    assert teacher
    path = config.output_path / FILE
    begin(config)
    if os.environ.get("RANK", "0") == "0":
        write_sources(config.output_path, data.sources)
    asked = [(question, k) for question in data.questions for k in range(teacher.samples)]
    stored = _stored(path, teacher)
    todo = [(question, k) for question, k in asked if (question.id, k) not in stored]
    if todo and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainError(
            f"{len(todo)} of {len(asked)} responses of the teacher are not there yet: sample them "
            "with one process first (persona-bench train distill ... --teacher-only), then train"
        )
    if todo:
        say(f"Sampling {teacher.model}: {len(todo)} responses, {len(stored)} are there")
        source = _endpoint if teacher.base_url else _checkpoint
        with path.open("a", encoding="utf-8") as file:
            if not stored and not path.stat().st_size:
                file.write(json.dumps({"teacher": _identity(teacher)}) + "\n")
            for batch, answers in source(config, data, todo):
                for response in _graded(config, data, batch, answers):
                    stored[response.question, response.sample] = response
                    file.write(json.dumps(asdict(response), ensure_ascii=False) + "\n")
                file.flush()
    return [stored[question.id, k] for question, k in asked]


def _identity(teacher: Teacher) -> dict[str, Any]:
    return teacher.model_dump(mode="json", include={"model", "temperature", "max_new_tokens"})


def _stored(path: Path, teacher: Teacher) -> dict[tuple[str, int], Response]:
    if not path.is_file():
        return {}
    responses = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")):
        try:
            row = json.loads(line)
        except ValueError:  # the line that a kill cut off
            continue
        if number == 0:
            if row.get("teacher") != _identity(teacher):
                raise TrainError(
                    f"{path} holds responses of another teacher ({row.get('teacher')}): delete it, "
                    "or choose another output_path"
                )
            continue
        responses[row["question"], row["sample"]] = Response(**row)
    return responses


def _graded(
    config: TrainConfig, data: Prepared, batch: Sequence[Asked], replies: Sequence[Said]
) -> list[Response]:
    texts, cut = [text for text, _ in replies], [truncated for _, truncated in replies]
    answers = [question.answer for question, _ in batch]
    verdicts = graded(data.benchmark.grade, texts, answers, cut, config.reward.timeout)
    return [
        Response(question.id, k, text, truncated, verdict.verdict, verdict.reason)
        for (question, k), (text, truncated), verdict in zip(batch, replies, verdicts, strict=True)
    ]


def _batches(asked: Sequence[Asked], size: int) -> Iterator[list[Asked]]:
    for start in tqdm(range(0, len(asked), size), desc="Teacher", unit="batch"):
        yield list(asked[start : start + size])


def _checkpoint(
    config: TrainConfig, data: Prepared, asked: Sequence[Asked]
) -> Iterator[tuple[list[Asked], list[Said]]]:
    import torch
    from transformers import set_seed

    from persona_bench.train import running
    from persona_bench.train.generation import end_tokens, generate

    teacher = config.teacher
    assert teacher
    tokenizer = running.load_tokenizer(config, teacher.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = running.load_model(config, teacher.model).eval()
    if torch.cuda.is_available():
        model = model.to("cuda")
    ends = end_tokens(model, tokenizer)
    for batch in _batches(asked, teacher.batch_size):
        set_seed(_seed(config, batch[0]))
        written = generate(
            model,
            tokenizer,
            [messages(data.benchmark, question.problem, "", "native") for question, _ in batch],
            temperature=teacher.temperature,
            max_new_tokens=teacher.max_new_tokens,
        )
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        cut = [not ids or ids[-1] not in ends for ids in written]
        yield batch, list(zip(texts, cut, strict=True))


def _seed(config: TrainConfig, first: Asked) -> int:
    """The seed of a batch, from its first question: the same in a resumed run."""
    import random

    return random.Random(f"teacher/{config.seed}/{first[0].id}/{first[1]}").randrange(2**31)


def _endpoint(
    config: TrainConfig, data: Prepared, asked: Sequence[Asked]
) -> Iterator[tuple[list[Asked], list[Said]]]:
    """Asks as a judge is asked, with its retries and its reading of odd answers.

    Raises:
        TrainError: requests failed for good; what was answered is yielded before.
    """
    teacher = config.teacher
    assert teacher
    settings = JudgeSettings(
        teacher.model,
        teacher.base_url,
        gen_kwargs={"temperature": teacher.temperature, "max_tokens": teacher.max_new_tokens},
        key_variable=teacher.api_key_variable,
        timeout=LONGEST_CALL,
        role="teacher",
        address="teacher.base_url",
        kept="the responses that are there are kept",
    )

    async def together(batch: Sequence[Asked]) -> list[Answer | BaseException]:
        async with Judge(settings) as client:
            calls = [
                client.write(
                    messages(data.benchmark, question.problem, "", "native"),
                    seed=_seed(config, (question, k)),
                )
                for question, k in batch
            ]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    name = f"teacher {teacher.model!r} at {settings.url}"
    failures: list[CallFailed] = []
    for batch in _batches(asked, teacher.batch_size):
        answers = asyncio.run(together(batch))
        answered = [
            (each, a) for each, a in zip(batch, answers, strict=True) if isinstance(a, Answer)
        ]
        yield [each for each, _ in answered], [_said(answer) for _, answer in answered]
        for error in answers:
            if isinstance(error, CallFailed):
                failures.append(error)
            elif isinstance(error, JudgeError):
                raise TrainError(f"{name}: {error}") from None
            elif isinstance(error, BaseException):
                raise error
    if failures:
        raise TrainError(
            f"{name}: {len(failures)} of {len(asked)} requests failed (last: {failures[-1]}); the "
            "other responses are kept: start the same command again to ask for the rest"
        )


def _said(answer: Any) -> Said:
    """What can be learnt of an answer: nothing where the provider withheld it."""
    withheld = answer.finish == "content_filter"
    return "" if withheld else answer.text, answer.finish == "length"
