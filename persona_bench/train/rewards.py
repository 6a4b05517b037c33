"""The reward of rlvr and permix: the benchmark's verifier, and optional parts beside it.

The reward of a completion is

    correct * (1 + information + voice) + format_weight * boxed - overlong

where `information` is `information_weight` times the answer's persona information, within
+-INFORMATION_CAP, and `voice` the judge's score times its weight: a right answer is worth more than
a wrong one whatever its voice. A right answer without a persona gets the mean of the right answers
to its question under one, so that the voice is compared only among answers that have a persona.
`overlong` grows from 0 to 1 over the last `overlong_buffer` tokens before a completion's limit.

One function gives all of it, as TRL would add up the parts that there are: a completion that could
not be graded would be rewarded like a wrong one for its form alone. Here it gives no signal.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persona_bench.benchmarks.base import Grader
from persona_bench.grading import Verdict
from persona_bench.train.config import Reward as Settings
from persona_bench.train.config import TrainError
from persona_bench.train.data import NONE

if TYPE_CHECKING:
    from persona_bench.train.information import Information
    from persona_bench.train.judging import JudgeScores  # needs lm-eval, which the verifiers lack

INFORMATION_CAP = 0.5
"""The most that persona information adds to a right answer's reward, or takes from it."""

INSTRUMENT_GONE = ("grader_error", "no_sandbox")
"""Reasons after which nothing more can be graded, where they hold for every completion."""

log = logging.getLogger("persona_bench")


@dataclass(frozen=True)
class Rewarded:
    """What one completion got.

    Attributes:
        persona: The persona of its prompt; `none` where there was none.
        verdict: The grader's.
        reward: None where the completion is unscored.
        information: Persona information in nats per token; None where it is not rewarded.
        tokens: Length of the completion.
        question: The id of the question.
        problem: The question itself.
        text: The completion.
        answer: The reference answer.
        voice: The judge's score from 0 to 1; None where it was not asked or gave none.
    """

    persona: str
    verdict: Verdict
    reward: float | None
    information: float | None
    tokens: int
    question: str = ""
    problem: str = ""
    text: str = ""
    answer: str = ""
    voice: float | None = None


class Reward:
    """A reward function as TRL calls it.

    Args:
        grade: The verifier.
        settings: Weights, and how long grading may take.
        information: What measures persona information, where it is rewarded.
        judge: What scores the voice of right answers, where that is rewarded.

    Attributes:
        ends: Token ids that end a completion; one that ends otherwise was cut off. None: no
            completion counts as cut off.
        longest: Tokens that a completion may have.
        seen: The completions that were rewarded since the list was last emptied.
    """

    __name__ = "reward"

    def __init__(
        self,
        grade: Grader,
        settings: Settings,
        information: Information | None = None,
        judge: JudgeScores | None = None,
    ) -> None:
        self.grade, self.settings = grade, settings
        self.information, self.judge = information, judge
        self.ends: frozenset[int] | None = None
        self.longest = 0
        self.seen: list[Rewarded] = []

    def ready(self, trainer: Any) -> None:
        """Takes over from the trainer which tokens end a completion, and the models' device."""
        self.ends = frozenset(trainer.eos_token_ids)
        self.longest = trainer.max_completion_length
        if self.information:
            self.information.model.to(trainer.accelerator.device)

    def __call__(
        self,
        prompts: list[Any],
        completions: list[list[dict[str, str]]],
        completion_ids: list[list[int]],
        answer: list[str],
        problem: list[str],
        persona: list[str],
        question: Sequence[str] = (),
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """The reward of each completion; None where it gives no signal."""
        texts = [completion[-1]["content"] for completion in completions]
        ends = self.ends
        cut = [ends is not None and (not ids or ids[-1] not in ends) for ids in completion_ids]
        verdicts = graded(self.grade, texts, answer, cut, self.settings.timeout)
        information: list[float] | list[None] = [None] * len(texts)
        if self.information:
            information = self.information(texts, problem, persona)
        if verdicts and all(verdict.reason in INSTRUMENT_GONE for verdict in verdicts):
            raise TrainError(
                f"the grader failed on every completion of a step ({verdicts[0].reason}; the log "
                "has its errors): nothing can be learnt; mend the grader, then start the same "
                "command again"
            )
        voices = self._voices(verdicts, texts, problem, persona, log_metric)
        bonus = self._bonus(verdicts, information, voices, problem, persona)
        rewards: list[float | None] = []
        for i, verdict in enumerate(verdicts):
            reward = verdict.correct
            if reward is not None:
                reward += self.settings.format_weight * ("\\boxed{" in texts[i])
                reward += bonus[i] - self._overlong(len(completion_ids[i]))
            rewards.append(reward)
            self.seen.append(
                Rewarded(
                    persona[i],
                    verdict,
                    reward,
                    information[i],
                    len(completion_ids[i]),
                    question[i] if question else "",
                    problem[i],
                    texts[i],
                    answer[i],
                    voices[i],
                )
            )
        if log_extra:  # columns of the table that TRL's log_completions writes
            log_extra("persona", list(persona))
            log_extra("verdict", [verdict.verdict for verdict in verdicts])
            log_extra("reason", [verdict.reason for verdict in verdicts])
        return rewards

    def _overlong(self, tokens: int) -> float:
        """DAPO's soft overlong punishment, equation 13 (arXiv 2503.14476), as a positive number."""
        buffer = self.settings.overlong_buffer
        return min(max(tokens - self.longest + buffer, 0) / buffer, 1.0) if buffer else 0.0

    def _bonus(
        self,
        verdicts: Sequence[Verdict],
        information: Sequence[float | None],
        voices: Sequence[float | None],
        problems: Sequence[str],
        personas: Sequence[str],
    ) -> list[float]:
        """What persona information and a judge add to each reward; 0 for answers not right.

        A right answer without a persona, or without the judge's verdict, gets the mean of the
        right answers to its question that have both.
        """
        weight, judge = self.settings.information_weight, self.settings.judge
        of_right_answers: dict[int, float] = {}
        for i, verdict in enumerate(verdicts):
            if verdict.correct and personas[i] != NONE and (not judge or voices[i] is not None):
                from_information = weight * (information[i] or 0.0)
                of_right_answers[i] = min(max(from_information, -INFORMATION_CAP), INFORMATION_CAP)
                of_right_answers[i] += judge.weight * (voices[i] or 0.0) if judge else 0.0
        bonuses = []
        for i, verdict in enumerate(verdicts):
            same = [bonus for j, bonus in of_right_answers.items() if problems[j] == problems[i]]
            mean = sum(same) / len(same) if same else 0.0
            bonuses.append(of_right_answers.get(i, mean) if verdict.correct else 0.0)
        return bonuses

    def _voices(
        self,
        verdicts: Sequence[Verdict],
        texts: Sequence[str],
        problems: Sequence[str],
        personas: Sequence[str],
        log_metric: Callable[[str, float], None] | None,
    ) -> list[float | None]:
        """The judge's scores, from 0 to 1, of right answers under a persona."""
        voices: list[float | None] = [None] * len(verdicts)
        if not self.judge:
            return voices
        chosen = [
            i
            for i, verdict in enumerate(verdicts)
            if verdict.correct and personas[i] in self.judge.prompts
        ]
        judged = self.judge(*([each[i] for i in chosen] for each in (texts, problems, personas)))
        for i, score in zip(chosen, judged.scores, strict=True):
            voices[i] = score
        scores = [score for score in judged.scores if score is not None]
        if log_metric:  # every process logs the same names
            log_metric("judge/score", sum(scores) / len(scores) if scores else math.nan)
            log_metric("judge/unscored", float(len(chosen) - len(scores)))
            log_metric("judge/calls", float(judged.calls))
            log_metric("judge/tokens", float(judged.tokens))
            if judged.cost is not None:
                log_metric("judge/cost_usd", judged.cost)
        return voices


def graded(
    grade: Grader,
    responses: Sequence[str],
    answers: Sequence[str],
    truncated: Sequence[bool],
    timeout: float,
) -> list[Verdict]:
    """The verdicts, `unscored` where the grader raised or took too long.

    A step goes on whatever the grader does: one that raises is asked again for each response by
    itself, so that only those it can't take are lost; one that hangs is left behind.

    Args:
        grade: The grader.
        responses, answers, truncated: As it takes them.
        timeout: Seconds for all of them.
    """
    end = time.monotonic() + timeout
    together = _within(timeout, grade, responses, answers, truncated)
    if isinstance(together, list):
        return together
    if together == "timeout":
        log.warning("grading %d completions took over %g s: unscored", len(responses), timeout)
        return [Verdict("unscored", "timeout")] * len(responses)
    verdicts = []
    for response, answer, cut in zip(responses, answers, truncated, strict=True):
        left = max(end - time.monotonic(), 0.0)
        alone = _within(left, grade, [response], [answer], [cut]) if left else "timeout"
        verdict = alone[0] if isinstance(alone, list) else Verdict("unscored", alone)
        verdicts.append(verdict)
    return verdicts


def _within(
    timeout: float,
    grade: Grader,
    responses: Sequence[str],
    answers: Sequence[str],
    truncated: Sequence[bool],
) -> list[Verdict] | str:
    """The verdicts, or why there are none: `timeout` or `grader_error`."""
    results: list[list[Verdict] | str] = []

    def work() -> None:
        try:
            results.append(grade(responses, answers, truncated=truncated))
        except BaseException as error:  # SystemExit too: it is the grader that ends
            log.warning("the grader raised %s: %s", type(error).__name__, error)
            results.append("grader_error")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    return results[0] if results else "timeout"
